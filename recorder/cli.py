"""The one command ``liuhen``: subcommands of all roles, each loaded only when it is called."""

from __future__ import annotations

import importlib
import os
import sys

import click

from keys.errors import KeysError
from recorder.errors import RecorderError
from recorder.evidence.errors import EvidenceError

COMMANDS = {
    "record": ("recorder.commands:record", "运行记录服务  Run the recorder"),
    "start": ("recorder.commands:start", "开始记录  Begin a recording"),
    "press": ("recorder.commands:press", "按一下  Press the button: begin, go on, point out a moment"),
    "stop": ("recorder.commands:stop", "结束记录  End a recording"),
    "unsuitable": ("recorder.commands:unsuitable", "不适宜记录  Unsuitable content: say why, record nothing"),
    "mark": ("recorder.commands:mark", "标记  Point out a moment"),
    "photo": ("recorder.commands:photo", "拍照  Take a photograph"),
    "details": ("recorder.commands:details", "登记  Put particulars on record"),
    "not-recorded": ("recorder.declare_commands:not_recorded", "不予记录  State that an act is lawfully not recorded"),
    "unable": ("recorder.declare_commands:unable", "未能记录  State that an act could not be recorded"),
    "defer": ("recorder.declare_commands:defer", "延期移交  Hand-over waits for the return to the unit"),
    "returned": ("recorder.declare_commands:returned", "返回本单位  Back at the unit"),
    "code": ("recorder.commands:code", "核验码  Number and check code for the written record"),
    "again": ("recorder.commands:again", "再次告知  Announce again, for a party that arrives"),
    "doctor": ("recorder.doctor_command:doctor", "勤前检查  Check this device before duty"),
    "status": ("recorder.commands:status", "设备状态  State of this device"),
    "check": ("recorder.spool.commands:check", "检查存储  Check the spool"),
    "source": ("recorder.source.commands:source", "运行摄录部件  Run one camera or microphone"),
    "voice": ("recorder.voice.commands:voice", "运行语音服务  Run the voice of this device"),
    "position": ("recorder.position.commands:position", "运行定位服务  Ask gpsd where this device is"),
    "panel": ("recorder.panel.commands:panel", "运行按键和指示灯服务  Run buttons and lights of this device"),
    "uplink": ("uplink.device.commands:uplink", "运行上传服务  Run the uplink"),
    "central": ("uplink.central.commands:central", "中心端  The central store"),
    "export": ("uplink.central.commands:export", "导出复制件  Export a package from the store"),
    "verify": ("recorder.verify:verify", "核验  Verify a package, spool or store"),
    "report": ("recorder.report_command:report", "情况报告  Report on a package or spool"),
    "keys": ("keys.commands:keys", "证书与密钥  Keys and certificates"),
}
"""Subcommand to (``module:function``, help). Names, not imports: a recorder must not load what a store needs."""

EXIT_USAGE = 64
"""Exit code for a refused request or bad input; 0, 1 and 2 are verdicts of ``verify``."""


class LazyGroup(click.Group):
    """A click group that imports a subcommand when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all subcommands."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return one subcommand."""
        del ctx
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name][0].partition(":")
        command = getattr(importlib.import_module(module), name)
        return command if isinstance(command, click.Command) else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the subcommands without importing any."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="liuhen")
def liuhen() -> None:
    """Liuhen 留痕: a law-enforcement recorder that can be believed."""


def main() -> None:
    """Entry point: errors that a person caused or can mend are one sentence, not a traceback."""
    os.umask(0o027)
    try:
        liuhen.main(standalone_mode=False)
    except click.exceptions.Abort:
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(EXIT_USAGE)
    except (RecorderError, EvidenceError, KeysError) as error:
        click.echo(f"liuhen: {error}", err=True)
        sys.exit(EXIT_USAGE)


if __name__ == "__main__":
    main()
