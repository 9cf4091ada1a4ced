"""``liuhen check``: is the spool what its own log says?"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import click

from recorder.errors import RecorderError
from recorder.spool.check import LEVELS, Report
from recorder.spool.check import check as check_spool
from recorder.spool.layout import Layout

EXIT_DAMAGED = 1


@click.command()
@click.argument("spool", type=click.Path(path_type=Path))
@click.option(
    "--level",
    type=click.Choice(LEVELS),
    default="digest",
    show_default=True,
    help="检查深度：有无、大小、摘要  How deep: presence, size, digest",
)
@click.option(
    "--rebuild", is_flag=True, help="重建索引（须先停止记录服务）  Make the index again (stop the recorder first)"
)
@click.option("--json", "as_json", is_flag=True, help="输出 JSON  Print JSON")
@click.option("--lang", type=click.Choice(["zh", "en"]), default="zh", show_default=True, help="语言  Language")
def check(spool: Path, level: str, lang: str, *, rebuild: bool, as_json: bool) -> None:
    """检查存储  Check logs and media of a spool. 退出码 Exit code: 0 完好 sound, 1 有问题 damaged."""
    if not Layout(spool).logs.is_dir():
        raise RecorderError(f"{spool}: not a spool: it has no folder 'logs'")
    try:
        if rebuild:
            from recorder.spool.spool import rebuild_index

            rebuild_index(spool)
        report = check_spool(spool, level)
    except OSError as error:
        raise RecorderError(f"{spool}: cannot be read: {os.strerror(error.errno or 0)}") from error
    click.echo(json.dumps(_as_map(report), ensure_ascii=False) if as_json else _as_text(report, lang, rebuilt=rebuild))
    if report.findings:
        sys.exit(EXIT_DAMAGED)


def _as_map(report: Report) -> dict[str, Any]:
    return {
        "sound": not report.findings,
        "level": report.level,
        "logs": report.logs,
        "records": report.records,
        "files": report.files,
        "size_bytes": report.size_bytes,
        "freed": report.freed,
        "unrecorded": report.unrecorded,
        "findings": [
            {"code": one.code, **one.values, "zh": one.text("zh"), "en": one.text("en")} for one in report.findings
        ],
    }


def _as_text(report: Report, lang: str, *, rebuilt: bool) -> str:
    mib = f"{report.size_bytes / (1 << 20):.1f} MiB"
    chinese = lang == "zh"
    lines = []
    if rebuilt:
        lines.append("索引已重建。" if chinese else "The index was made again.")
    counts = "日志{0}份，记录{1}条，文件{2}个（{3}），已移交并释放{4}个。"
    if not chinese:
        counts = "{0} logs, {1} records, {2} files ({3}), {4} handed over and freed."
    lines.append(counts.format(report.logs, report.records, report.files, mib, report.freed))
    if report.unrecorded:
        lines.append(
            f"尚无记录的文件{report.unrecorded}个：正在写入，或者待下次启动时恢复。"
            if chinese
            else f"{report.unrecorded} files have no record yet: being written, or to be recovered at the next start."
        )
    lines += [one.text(lang) for one in report.findings]
    if report.findings:
        count = len(report.findings)
        lines.append(f"发现{count}处问题。" if chinese else f"{count} problems found.")
    else:
        lines.append("完好。" if chinese else "All sound.")
    return "\n".join(lines)
