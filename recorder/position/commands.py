"""``liuhen position``: ask gpsd where the device is, for the recorder."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import click

from recorder.commands import CONFIG
from recorder.config import DeviceConfig, load
from recorder.errors import ConfigError


@click.command()
@CONFIG
def position(config_path: Path) -> None:
    """运行定位服务 Tell the recorder of this device where it is, until it is gone."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    from recorder.position.process import PositionProcess
    from recorder.source.runner import lock

    config = load(config_path, DeviceConfig)
    if config.position is None:
        raise ConfigError(f"{config_path}: has no [position], so this device does not ask where it is")
    run_folder = Path(config.device.run)
    lock(run_folder / "position.lock")
    PositionProcess(config.position, run_folder).run()
