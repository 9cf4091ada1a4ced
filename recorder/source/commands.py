"""``liuhen source``: run one camera or microphone."""

from __future__ import annotations

import importlib.metadata
import logging
import os
import sys
from pathlib import Path

import click

from recorder.config import DeviceConfig, load
from recorder.errors import ConfigError


@click.command()
@click.option("--config", type=click.Path(path_type=Path), required=True, help="配置文件  Configuration of the device")
@click.argument("stream")
@click.argument("source")
def source(config: Path, stream: str, source: str) -> None:
    """运行一个摄像部件或录音部件 Run one camera or microphone of this device.

    STREAM and SOURCE are the names in the configuration. The process ends when its device fails; the recorder, or
    systemd, starts it anew.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    from recorder.clock import MEMORY_NAME, SystemClock
    from recorder.source import drivers
    from recorder.source.runner import Runner, lock
    from recorder.source.stamp import Stamp

    device = load(config, DeviceConfig)
    section = next((one.sources.get(source) for one in device.streams if one.name == stream), None)
    if section is None:
        raise ConfigError(f"{config}: no source {source!r} in a stream {stream!r}")
    run_folder = Path(device.device.run)
    clock = SystemClock(memory=run_folder / MEMORY_NAME)
    driver = drivers.make(section, Stamp(device.device.id, device.device.language, clock))
    lock(run_folder / f"source-{stream}-{source}.lock")
    software = f"liuhen {importlib.metadata.version('liuhen')}"
    code = Runner(stream, source, section, run_folder, driver, software).run()
    logging.shutdown()
    # A device thread may hang in the kernel: only this ends the process for certain.
    os._exit(code)
