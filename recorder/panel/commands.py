"""``liuhen panel``: buttons, lights, buzzer and vibration of this device."""

from __future__ import annotations

import logging
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from recorder.commands import CONFIG
from recorder.config import DeviceConfig, load
from recorder.errors import ConfigError

if TYPE_CHECKING:
    from recorder.panel.process import PanelProcess


@click.command()
@CONFIG
def panel(config_path: Path) -> None:
    """运行按键和指示灯服务 Run buttons and lights for the recorder of this device."""
    serve(make(config_path))


def make(config_path: Path) -> PanelProcess:
    """Return the panel of a configuration, its pins taken and its lock held.

    Raises:
        ConfigError: the device has no panel.
        PanelError: the pins cannot be had.
    """
    from recorder.clock import boot_id
    from recorder.panel.outbox import Outbox
    from recorder.panel.process import PanelProcess
    from recorder.source.runner import lock

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    config = load(config_path, DeviceConfig)
    if config.panel is None:
        raise ConfigError(f"{config_path}: has no [panel], so this device has neither buttons nor lights")
    run_folder = Path(config.device.run)
    lock(run_folder / "panel.lock")
    return PanelProcess(config.panel, run_folder, Outbox(run_folder, boot_id().hex()))


def serve(process: PanelProcess) -> None:
    """Run a panel; when it is told to end, its lights go out."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        process.run()
    finally:
        process.close()
