"""``liuhen not-recorded``, ``unable``, ``defer`` and ``returned``: statements beside a running recording."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from recorder.commands import CONFIG, STREAM, ask_recorder, particulars
from recorder.evidence import texts
from recorder.evidence.policy import article_number

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

OPTIONS = (
    STREAM,
    click.option("--matter", required=True, help="执法事项  What was enforced, for example on_site_inspection"),
    click.option("--matter-note", help="注明是何事项  Which one, for other"),
    click.option(
        "--officer",
        "officers",
        multiple=True,
        required=True,
        help="执法证件号  Certificate number of an officer; the first one states this; repeatable",
    ),
    click.option("--note", help="说明、经过  What it was, what happened"),
    click.option("--case", help="案件编号  Number of the case"),
    click.option("--unit", help="承办机构  The department"),
    click.option("--place", help="执法地点  The place"),
    click.option("--party", "parties", multiple=True, help="当事人  A party; repeatable"),
    click.option("--witness", "witnesses", multiple=True, help="见证人  A witness; repeatable"),
    click.option("--text-record", nargs=2, help="文字记录的种类和编号  Kind and number of the written record"),
)


def _stating(command: Callable[..., None]) -> Callable[..., None]:
    for option in reversed(OPTIONS):
        command = option(command)
    return command


@click.command()
@CONFIG
@click.argument("reason")
@_stating
def not_recorded(config_path: Path, reason: str, stream: str | None, **stated: Any) -> None:
    """State that a whole act is lawfully not recorded: the reason must be one of the agency's list."""
    answer, language, values = _state(config_path, "not-recorded", reason, stream, stated)
    values |= {"reason": texts.named("notrec", reason, language)}
    rule, articles = answer["rule"][language], answer["articles"]
    if rule and articles:
        article = article_number(articles[0], language)
        said = texts.text("txt.notrec.statement", language, rule=rule, article=article, **values)
    else:
        said = texts.text("txt.notrec.statement.default", language, **values)
    click.echo(said)


@click.command()
@CONFIG
@click.argument("reason")
@_stating
def unable(config_path: Path, reason: str, stream: str | None, **stated: Any) -> None:
    """State that an act could not be recorded: a fault, not a lawful reason."""
    note = stated["note"] or ""
    _, language, values = _state(config_path, "unable", reason, stream, stated)
    values |= {"reason": texts.named("unable", reason, language), "text": note.rstrip("。.")}
    click.echo(texts.text("txt.unable.statement", language, **values))


@click.command()
@CONFIG
@click.option("--reason", required=True, help="理由  The ground: continuous, elsewhere or remote, as the rule knows")
def defer(config_path: Path, reason: str) -> None:
    """State that hand-over must wait for the return to the unit."""
    config, answer = ask_recorder(config_path, {"command": "defer", "reason": reason})
    language = config.device.language
    click.echo(texts.text("txt.defer.statement", language, reason=texts.named("defer", reason, language)))
    click.echo(texts.text("declared.sessions", language, count=len(answer["sessions"])))


@click.command()
@CONFIG
def returned(config_path: Path) -> None:
    """State that the officers are back at their unit."""
    config, answer = ask_recorder(config_path, {"command": "returned"})
    language = config.device.language
    click.echo(texts.text("cue.return.set", language))
    click.echo(texts.text("declared.sessions", language, count=len(answer["sessions"])))


def _state(
    config_path: Path, command: str, reason: str, stream: str | None, stated: dict[str, Any]
) -> tuple[dict[str, Any], str, dict[str, str]]:
    """Send a statement; return the answer, the language, and what its sentence is filled with."""
    officers, matter = stated["officers"], stated["matter"]
    said = particulars(stated) | {"author": officers[0]}
    request = {"command": command, "stream": stream, "reason": reason, "details": said}
    config, answer = ask_recorder(config_path, request)
    language = config.device.language
    moment = texts.moment(answer["utc_ns"]) if answer["clock"] != "unset" else None
    return (
        answer,
        language,
        {
            "matter": said.get("matter_note") or texts.named("matter", matter, language),
            "officers": texts.text("page.comma", language).join(officers),
            "time": moment or texts.text("stamp.clock_unset", language),
        },
    )
