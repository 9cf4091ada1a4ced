"""``liuhen central code``: issue codes that officers show to the lens."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from uplink.central.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable

    from recorder.evidence.lens_code import OfficerCode, TaskCode


def _issuing(function: Callable[..., None]) -> Callable[..., None]:
    for option in (
        click.option("--lang", type=click.Choice(["zh", "en"]), help="语言  Language"),
        click.option("--as", "claimed", help="签发人（工号）  On whose behalf"),
        click.option(
            "--bare",
            is_flag=True,
            help="不含签发证书，图案较小；设备须已装入该证书  Smaller, for devices that have the issuer's certificate",
        ),
        click.option("--list", "list_path", type=click.Path(path_type=Path), help="名单（CSV、TOML）  Many at once"),
        click.option("--from", "start", help="生效时间（北京时间），默认为现在  From when, in Beijing time; now"),
        click.option("--until", "end", required=True, help="失效时间（北京时间）  Until when, in Beijing time"),
        click.option("--out", type=click.Path(path_type=Path), required=True, help="输出目录  Folder to write to"),
        click.option("--reason", required=True, help="事由  Why"),
        click.option(
            "--config", "config_path", type=click.Path(path_type=Path), required=True, help="配置文件  Configuration"
        ),
    ):
        function = option(function)
    return function


@click.group()
def code() -> None:
    """签发向镜头出示的二维码  Issue codes to be shown to the lens."""


@code.command()
@_issuing
@click.option("--matter", help="执法事项  Matter, from the closed list, e.g. on_site_inspection")
@click.option("--matter-note", help="其他事项的说明  Which one, for other")
@click.option("--case", help="案件（任务）编号  Case number")
@click.option("--unit", help="承办科室  Department")
@click.option("--place", help="执法地点  Place")
@click.option("--person", "people", multiple=True, help="在场人员，如 party:某公司  Role and name; repeatable")
@click.option("--officer", "officers", multiple=True, help="执法证件编号，可重复  Certificate number; repeatable")
def task(people: tuple[str, ...], officers: tuple[str, ...], **options: Any) -> None:
    """任务二维码  The code of a task."""
    from recorder.evidence.lens_code import TaskCode

    named = []
    for one in people:
        role, _, name = one.partition(":")
        named.append({"role": role, "name": name})
    fields = {name: options.pop(name) for name in ("matter", "matter_note", "case", "unit", "place")}
    _issue("task", TaskCode, fields | {"people": named, "officers": list(officers)}, **options)


@code.command()
@_issuing
@click.option("--certificate", help="执法证件编号  Number of the enforcement certificate")
@click.option("--name", help="姓名  Name")
@click.option("--agency", help="执法机关  Agency")
def officer(**options: Any) -> None:
    """执法人员二维码  The code of an officer's card."""
    from recorder.evidence.lens_code import OfficerCode

    fields = {name: options.pop(name) for name in ("certificate", "name", "agency")}
    _issue("officer", OfficerCode, fields, **options)


def _issue(
    kind: str,
    form: type[TaskCode | OfficerCode],
    fields: dict[str, Any],
    *,
    config_path: Path,
    reason: str,
    out: Path,
    start: str | None,
    end: str,
    list_path: Path | None,
    bare: bool,
    claimed: str | None,
    lang: str | None,
) -> None:
    from keys.cose import digest
    from uplink.central import issuing, overview
    from uplink.central.commands import opened

    fields = {name: value for name, value in fields.items() if value}
    if list_path is not None and fields:
        raise StoreError("give particulars by --list or by options, not both")
    rows = [fields] if list_path is None else issuing.read_list(list_path, kind)
    with opened(config_path, claimed) as store:
        issuer = issuing.Issuer.open(store.config, store.anchors)
        valid = issuing.validity(start, end, int(time.time()))
        printed = [issuing.sign(issuer, form, row, valid, carries_certificate=not bare) for row in rows]
        for one in printed:
            subject = {"kind": kind, "code": digest(one.message), "valid_until_utc_s": valid[1]}
            store.note("code", reason, subject)
        language = lang or store.config.store.language
        for path in issuing.write(out, printed, language):
            click.echo(overview.word("written", language, out=path))
