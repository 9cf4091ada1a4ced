"""``liuhen doctor``: the check before duty, in words. Exit code 0: in order; 1: points to note; 2: not fit for duty."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from recorder.commands import CONFIG
from recorder.config import DeviceConfig, load
from recorder.control import RefusedError, ask
from recorder.doctor import FAILED, PASSED, SKIPPED
from recorder.evidence import faults, texts

if TYPE_CHECKING:
    from collections.abc import Callable

EXIT_CODES: Final = {"pass": 0, "warn": 1, "fail": 2}
WAIT_S: Final = 30.0
POLL_S: Final = 0.2


@click.command()
@CONFIG
@click.option("--json", "as_json", is_flag=True, help="机器可读  For programs")
def doctor(config_path: Path, *, as_json: bool) -> None:
    """勤前检查 Check this device before duty.

    The result is signed into the device's log. Exit code 0: in order; 1: fit, with points to note; 2: not fit.
    """
    config = load(config_path, DeviceConfig)
    try:
        answer = _check(Path(config.device.run))
    except RefusedError as error:
        if error.code != "not-running":
            raise click.ClickException(error.zh if config.device.language == "zh" else error.en) from error
        # A recorder that does not answer is a result, not a mistake of whoever asks.
        answer = {"result": "fail", "items": [{"name": "recorder", "state": FAILED, "faults": ["recorder_absent"]}]}
    if as_json:
        shown = {"result": answer["result"], "items": [_with_numbers(item) for item in answer["items"]]}
        click.echo(json.dumps(shown, ensure_ascii=False, indent=2))
    else:
        click.echo("\n".join(lines(answer, config.device.language)))
    sys.exit(EXIT_CODES[answer["result"]])


def _check(run: Path) -> dict[str, Any]:
    number = ask(run, {"command": "check"})["check"]
    until = time.monotonic() + WAIT_S
    while time.monotonic() < until:
        answer = ask(run, {"command": "check", "number": number})
        if answer["done"]:
            return answer
        time.sleep(POLL_S)
    raise RefusedError("not-running", "检查没有结果。", "The check does not come to an end.")


def _with_numbers(item: dict[str, Any]) -> dict[str, Any]:
    known = (faults.find(code) for code in item["faults"])
    return item | {"numbers": [one.number for one in known if one is not None]}


def lines(answer: dict[str, Any], language: str) -> list[str]:
    """Return a check in words, line by line."""
    said = [texts.text("doctor.title", language)]
    for item in answer["items"]:
        state = texts.text(f"doctor.state.{item['state']}", language)
        name = texts.text(f"doctor.{item['name']}", language)
        said.append(texts.text("doctor.line", language, state=state, name=name, words=_words(item, language)).rstrip())
    counts = {state: sum(1 for item in answer["items"] if item["state"] == state) for state in ("noted", FAILED)}
    count = counts[FAILED] if answer["result"] == "fail" else counts["noted"]
    said.append(texts.text(f"doctor.{answer['result']}", language, count=count))
    return said


def _words(item: dict[str, Any], language: str) -> str:
    found = [_fault(code, language) for code in item["faults"]]
    values = item.get("values", {})
    if item["state"] == SKIPPED:
        return ""
    if "offset_ns" in values:
        length = texts.length(abs(values["offset_ns"]), language)
        found.insert(0, texts.text("doctor.satellite", language, length=length))
    if item["state"] == PASSED or item["name"] in _FIGURES:
        found.insert(0, _figures(item["name"], values, language))
    return ("" if language == "zh" else " ").join(one for one in found if one)


def _figures(name: str, values: dict[str, Any], language: str) -> str:
    """Say how an item stands, with figures, where there are any."""
    say = _SAY.get(name)
    return say(values, language) if say is not None else ""


def _battery(values: dict[str, Any], language: str) -> str:
    if "percent" not in values:
        return ""
    return texts.text("doctor.battery_left" if "minutes" in values else "doctor.battery_percent", language, **values)


def _speaker(values: dict[str, Any], language: str) -> str:
    return texts.text("doctor.loop" if values["loop"] == "heard" else "doctor.loop_unchecked", language)


def _keys(values: dict[str, Any], language: str) -> str:
    return texts.text("doctor.keys_left", language, **values) if "days" in values else ""


def _pending(values: dict[str, Any], language: str) -> str:
    said = texts.text("doctor.pending_count", language, count=values["count"])
    due = texts.moment(values["due_utc_ns"]) if "due_utc_ns" in values else None
    return said if due is None else said + texts.text("doctor.pending_due", language, due=due)


_FIGURES: Final = ("battery", "storage", "keys", "pending")
"""Items of which the figures are worth knowing, whatever else is said of them."""
_SAY: Final[dict[str, Callable[[dict[str, Any], str], str]]] = {
    "battery": _battery,
    "storage": lambda values, language: texts.text(
        "doctor.storage_left", language, hours=f"{values['minutes'] / 60:.1f}"
    ),
    "clock": lambda values, language: texts.text(f"state.clock.{values['quality']}", language),
    "speaker": _speaker,
    "keys": _keys,
    "pending": _pending,
    "position": lambda values, language: texts.text(f"doctor.position.{values['position']}", language),
}


def _fault(code: str, language: str) -> str:
    found = faults.find(code)
    if found is None:
        return texts.printable(code)
    return texts.text(
        "doctor.fault",
        language,
        cause=found.cause.of(language),
        todo=found.todo.of(language),
        number=found.number,
    )
