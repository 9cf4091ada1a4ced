"""``liuhen uplink``."""

from __future__ import annotations

import logging
import signal
import threading
from pathlib import Path

import click


@click.command()
@click.option(
    "--config",
    "config_path",
    required=True,
    type=click.Path(path_type=Path),
    help="设备配置文件  Configuration of the device",
)
@click.option("--verbose", is_flag=True, help="详细日志  Log more")
def uplink(config_path: Path, verbose: bool) -> None:
    """Hand over what the recorder has signed, bring back receipts: 运行上传服务，移交音像记录并取回回执."""
    from recorder.config import DeviceConfig, load
    from uplink.device.agent import Agent

    logging.basicConfig(
        level=logging.DEBUG if verbose else logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    Agent(load(config_path, DeviceConfig)).run(stop)
