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
    "record": "recorder.commands:record",
    "start": "recorder.commands:start",
    "stop": "recorder.commands:stop",
    "status": "recorder.commands:status",
    "check": "recorder.spool.commands:check",
    "source": "recorder.source.commands:source",
    "uplink": "uplink.device.commands:uplink",
    "central": "uplink.central.commands:central",
    "export": "uplink.central.commands:export",
    "verify": "recorder.evidence.commands:verify",
    "keys": "keys.commands:keys",
}
"""Subcommand to ``module:function``. Names, not imports: a recorder must not load what a store needs."""

EXIT_USAGE = 64
"""Exit code for a refused request or bad input; 0, 1 and 2 are verdicts of ``verify``."""


class LazyGroup(click.Group):
    """A click group that imports a subcommand when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all subcommands."""
        return sorted({*COMMANDS, *super().list_commands(ctx)})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return one subcommand."""
        target = COMMANDS.get(cmd_name)
        if target is None:
            return super().get_command(ctx, cmd_name)
        module, _, name = target.partition(":")
        command = getattr(importlib.import_module(module), name)
        return command if isinstance(command, click.Command) else None


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
