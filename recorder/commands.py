"""``liuhen record``, and what officers and technicians ask of a running recorder."""

from __future__ import annotations

import json
import logging
import time
from pathlib import Path
from typing import Any

import click

from recorder.config import DeviceConfig, load
from recorder.control import RefusedError, ask
from recorder.doctor import SATELLITE_NS
from recorder.evidence import texts
from recorder.session import ENDS

CONFIG = click.option(
    "--config",
    "config_path",
    type=click.Path(path_type=Path),
    envvar="LIUHEN_CONFIG",
    default=Path("/etc/liuhen/device.toml"),
    show_default=True,
    help="设备配置文件  Configuration file of the device",
)

STREAM = click.option("--stream", help="哪一路  Which stream; the first by default")

PHOTO_LONGEST_S = 17.0
"""The recorder gives up a photograph after 15 s."""
STATES = {
    "ready": ("待机", "ready"),
    "starting": ("正在启动", "starting"),
    "recording": ("正在记录", "recording"),
    "audio_only": ("仅录音", "sound only"),
    "video_only": ("仅录像", "picture only"),
    "unsuitable": ("依规定停止记录", "off as the rules require"),
    "closing": ("即将结束（仍在记录）", "ending (still recording)"),
    "recovering": ("正在恢复记录", "recovering"),
}
POSITIONS = {"fix": ("已定位", "found"), "no-fix": ("尚未定位", "not found yet"), "no-gpsd": ("无", "no gpsd")}
CLOCKS = {"synchronised": ("已校准", "synchronised"), "holdover": ("守时", "holdover"), "unset": ("未校准", "unset")}

_MINUTES_SHOWN = 600
"""From so many on, hours are told."""


@click.command()
@CONFIG
def record(config_path: Path) -> None:
    """Run the recorder of this device until it is told to stop."""
    from recorder.service import serve

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    serve(config_path)


@click.command()
@CONFIG
@STREAM
@click.option("--matter", help="执法事项  What is being enforced, for example on_site_inspection")
@click.option(
    "--mode", type=click.Choice(["video", "audio"]), help="录音录像或者仅录音  Sound and picture, or sound only"
)
def start(config_path: Path, stream: str | None, matter: str | None, mode: str | None) -> None:
    """Begin a recording."""
    config, answer = ask_recorder(config_path, {"command": "start", "stream": stream, "matter": matter, "mode": mode})
    if answer["session"] is None:
        language = config.device.language
        click.echo(texts.text("say.restart.refused", language) + texts.text("cue.restart.refused.how", language))
        return
    _say(config, f"已开始记录，编号 {answer['session'][:8]}。", f"Recording has begun, number {answer['session'][:8]}.")


@click.command()
@CONFIG
@STREAM
def press(config_path: Path, stream: str | None) -> None:
    """Press the button shortly: begin, go on, or point out a moment."""
    config, answer = ask_recorder(config_path, {"command": "press", "stream": stream})
    _say(config, f"{STATES[answer['state']][0]}。", f"{STATES[answer['state']][1]}")


@click.command()
@CONFIG
@STREAM
@click.option("--over", is_flag=True, help="声明现场执法活动已经结束  State that the work on site is over")
@click.option(
    "--reason", default="done", show_default=True, help=f"结束的理由  Why: {', '.join(ENDS)}", type=click.Choice(ENDS)
)
def stop(config_path: Path, stream: str | None, reason: str, *, over: bool) -> None:
    """End the recording: the work on site is over. A press within the grace goes on."""
    config, answer = ask_recorder(
        config_path, {"command": "stop", "stream": stream, "reason": reason, "statement": over}
    )
    number = answer["session"][:8]
    if answer["state"] != "closing":
        _say(config, f"记录结束，编号 {number}。", f"Recording ends, number {number}.")
        return
    seconds = answer["grace_s"]
    _say(
        config,
        f"{seconds} 秒后结束，编号 {number}；liuhen press 继续记录。",
        f"Ending in {seconds} s, number {number}; liuhen press goes on recording.",
    )


@click.command()
@CONFIG
@STREAM
@click.argument("reason")
def unsuitable(config_path: Path, stream: str | None, reason: str) -> None:
    """Unsuitable content: the reason is spoken, then nothing is recorded until ``liuhen press``."""
    config, _ = ask_recorder(config_path, {"command": "unsuitable", "stream": stream, "reason": reason})
    _say(
        config,
        f"因{texts.named('notrec', reason)}，口述理由后停止记录；liuhen press 恢复记录。",
        f"Because of {texts.named('notrec', reason, 'en')}: the reason is spoken, then recording is off; "
        "liuhen press goes on.",
    )


@click.command()
@CONFIG
@STREAM
@click.argument("marker", default="important")
@click.option("--of", type=int, help="补充说明第几号标记是什么  Say of which kind an earlier marker was, by its number")
@click.option("--author", help="执法证件号  Certificate number of whoever says so, with --of")
@click.option(
    "--after", help="记录结束后补充：记录编号（可简写）  After the end: the recording's number, or its beginning"
)
def mark(config_path: Path, marker: str, **asked: Any) -> None:
    """Point out a moment of the recording, or say later what a moment was (``--of``)."""
    config, answer = ask_recorder(config_path, {"command": "mark", "marker": marker, **asked})
    number = asked["of"] if asked["of"] is not None else answer["number"]
    named = [texts.named("marker", marker, language) for language in texts.LANGUAGES]
    if number is None:
        _say(config, f"已标记：{named[0]}。", f"Marked: {named[1]}.")
    else:
        _say(config, f"已标记：{named[0]}（第 {number} 号）。", f"Marked: {named[1]} (number {number}).")


@click.command()
@CONFIG
@STREAM
@click.option("--matter", help="执法事项  What is being enforced, where no recording is under way")
def photo(config_path: Path, stream: str | None, matter: str | None) -> None:
    """Take a photograph: part of the recording, or announced and signed by itself."""
    config, before = ask_recorder(config_path, {"command": "status"})
    config, answer = ask_recorder(config_path, {"command": "photo", "stream": stream, "matter": matter})
    until = time.monotonic() + PHOTO_LONGEST_S
    counts = {one["name"]: one["photos"] for one in before["streams"]}[answer["stream"]]
    while time.monotonic() < until:
        time.sleep(0.1)
        _, now = ask_recorder(config_path, {"command": "status"})
        found = {one["name"]: one["photos"] for one in now["streams"]}[answer["stream"]]
        if found["failed"] > counts["failed"]:
            break
        if found["signed"] > counts["signed"]:
            number = answer["session"][:8]
            _say(config, f"已拍照，编号 {number}。", f"Photograph taken, number {number}.")
            return
    zh = config.device.language == "zh"
    why = "未能拍照，原因已记入日志。" if zh else "No photograph could be taken; the log says why."
    raise click.ClickException(why)


@click.command()
@CONFIG
@STREAM
@click.option("--author", required=True, help="执法证件号  Number of the enforcement certificate of whoever says so")
@click.option("--matter", help="执法事项  What is being enforced")
@click.option("--case", help="案件编号  Number of the case")
@click.option("--unit", help="承办机构  The department")
@click.option("--place", help="执法地点  The place")
@click.option("--officer", "officers", multiple=True, help="执法证件号  Certificate number of an officer; repeatable")
@click.option("--party", "parties", multiple=True, help="当事人  A party; repeatable")
@click.option("--witness", "witnesses", multiple=True, help="见证人  A witness; repeatable")
@click.option("--text-record", nargs=2, help="文字记录的种类和编号  Kind and number of the written record")
@click.option("--note", help="说明  A note")
@click.option("--after", metavar="SESSION", help="已经结束的记录的编号（可简写）  Of a recording that is over: its id")
def details(config_path: Path, stream: str | None, after: str | None, **stated: Any) -> None:
    """Put particulars on record: a sealed file of their own, signed into the recording."""
    request = {"command": "details", "stream": stream, "details": particulars(stated)}
    config, answer = ask_recorder(config_path, request | ({"after": after} if after else {}))
    if after:
        _say(config, f"已登记为事后补充，编号 {answer['session'][:8]}。", f"Added later to {answer['session'][:8]}.")
    else:
        _say(config, "已登记。", "It is on record.")


def particulars(stated: dict[str, Any]) -> dict[str, Any]:
    """Return what the options of a command state, as the control socket takes it."""
    people = [{"role": "party", "name": name} for name in stated.pop("parties")]
    people += [{"role": "witness", "name": name} for name in stated.pop("witnesses")]
    officers = [{"certificate": number} for number in stated.pop("officers")]
    written = stated.pop("text_record")
    said: dict[str, Any] = {key: value for key, value in stated.items() if value}
    said |= {"people": people} if people else {}
    said |= {"officers": officers} if officers else {}
    said |= {"text_record": {"kind": written[0], "number": written[1]}} if written else {}
    return said


@click.command()
@CONFIG
@STREAM
def code(config_path: Path, stream: str | None) -> None:
    """Speak and show the number and check code that go into the written record."""
    config, answer = ask_recorder(config_path, {"command": "code", "stream": stream})
    click.echo(texts.text(answer["text"], config.device.language, number=answer["number"], code=answer["code"]))


@click.command()
@CONFIG
@STREAM
def again(config_path: Path, stream: str | None) -> None:
    """Announce once more that recording is in progress."""
    config, _ = ask_recorder(config_path, {"command": "again", "stream": stream})
    _say(config, "正在再次告知。", "The announcement is being repeated.")


@click.command()
@CONFIG
@click.option("--json", "as_json", is_flag=True, help="机器可读  For programs")
def status(config_path: Path, *, as_json: bool) -> None:
    """Say what this device is doing."""
    config, answer = ask_recorder(config_path, {"command": "status"})
    if as_json:
        click.echo(json.dumps(answer, ensure_ascii=False, indent=2))
        return
    zh = config.device.language == "zh"
    pick = 0 if zh else 1
    _say(
        config,
        f"设备 {answer['device']}，时间{CLOCKS[answer['clock']][0]}",
        f"Device {answer['device']}, clock {CLOCKS[answer['clock']][1]}",
    )
    for stream in answer["streams"]:
        line = f"  {stream['name']}: {STATES[stream['state']][pick]}"
        if stream["session"]:
            seconds = stream["length_ns"] // 1_000_000_000
            line += (
                f"，编号 {stream['session'][:8]}，{seconds} 秒"
                if zh
                else f", number {stream['session'][:8]}, {seconds} s"
            )
        click.echo(line)
        if stream["last_code"]:
            last = stream["last_code"]
            _say(
                config,
                f"    上次记录编号 {last['number']}，核验码 {last['code']}",
                f"    last recording: number {last['number']}, check code {last['code']}",
            )
        for name, source in stream["sources"].items():
            if not source["connected"]:
                _say(config, f"    {name}：未连接", f"    {name}: not connected")
            elif source["codes"] == "missing":
                _say(
                    config,
                    f"    {name}：未安装 zxing-cpp，不能读取二维码",
                    f"    {name}: zxing-cpp is not installed, so codes are not read",
                )
    _say_battery(config, answer["battery"])
    _say_health(config, answer)
    if answer["unreceipted_files"] is None:
        _say(config, "  存储空间已满。", "  The disk is full.")
        return
    mib = answer["unreceipted_size_bytes"] / (1 << 20)
    free = answer["free_size_bytes"] / (1 << 30)
    _say(
        config,
        f"  未移交 {answer['unreceipted_files']} 个文件（{mib:.1f} MiB），可用空间 {free:.1f} GiB",
        f"  {answer['unreceipted_files']} files not handed over ({mib:.1f} MiB), {free:.1f} GiB free",
    )
    if answer["sources_run_by_the_recorder"]:
        _say(
            config,
            "  摄录部件由记录服务自行启动，隔离较弱；正式使用请由 systemd 启动。",
            "  Sources are run by the recorder itself: isolation is weak. In service let systemd run them.",
        )


def _say_health(config: DeviceConfig, answer: dict[str, Any]) -> None:
    room, waiting, position = answer["storage"], answer["hand_over"], answer["position"]
    if room is not None:
        minutes = room["minutes"]
        if minutes < _MINUTES_SHOWN:
            _say(config, f"  约可再记录 {minutes} 分钟", f"  Room for about {minutes} minutes of recording")
        else:
            _say(config, f"  约可再记录 {minutes // 60} 小时", f"  Room for about {minutes // 60} hours of recording")
    if waiting is not None and waiting["pending"]:
        pending, late = waiting["pending"], waiting["overdue"] + waiting["overdue_return"]
        _say(
            config,
            f"  未移交 {pending} 段，其中逾期 {late} 段",
            f"  {pending} recordings not handed over, {late} of them late",
        )
    if position is not None:
        _say(config, f"  定位：{POSITIONS[position['state']][0]}", f"  Position: {POSITIONS[position['state']][1]}")
        offset_ns = position["satellite_offset_ns"]
        if offset_ns is not None and abs(offset_ns) > SATELLITE_NS:
            length = texts.length(abs(offset_ns), config.device.language)
            _say(config, f"  设备时间与卫星时间相差{length}", f"  Satellite time differs by {length}")


def _say_battery(config: DeviceConfig, battery: dict[str, Any]) -> None:
    if battery["percent"] is None:
        return
    if battery["on_mains"]:
        zh, en = "，外接电源", ", on mains"
    elif battery["minutes"] is None:
        zh, en = "，可用时间未知", ", for how long is not known"
    else:
        zh, en = f"，约可用 {battery['minutes']} 分钟", f", for about {battery['minutes']} minutes"
    _say(config, f"  电池 {battery['percent']}%{zh}", f"  Battery {battery['percent']} %{en}")


def ask_recorder(config_path: Path, request: dict[str, Any]) -> tuple[DeviceConfig, dict[str, Any]]:
    """Return the device's configuration and its recorder's answer.

    Raises:
        ClickException: it refused, or does not answer.
    """
    config = load(config_path, DeviceConfig)
    try:
        return config, ask(Path(config.device.run), request)
    except RefusedError as error:
        raise click.ClickException(error.zh if config.device.language == "zh" else error.en) from error


def _say(config: DeviceConfig, zh: str, en: str) -> None:
    click.echo(zh if config.device.language == "zh" else en)
