"""A broker, a device's spool and an agent of its own process."""

from __future__ import annotations

import shutil
import signal
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from keys.authority import write_site
from tests.support.broker import Broker
from tests.support.commands import LIUHEN, environment
from tests.support.link import ThinLink
from tests.uplink.builder import DEVICE, LogBuilder, write_config
from tests.uplink.farside import FarSide
from uplink.device.status import Status, read

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def wait_for(condition: Callable[[], object], what: str, limit_s: float = 20.0) -> None:
    """Wait until ``condition`` holds; fail with ``what`` when it does not in time."""
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, f"not in {limit_s} s: {what}"
        time.sleep(0.02)


@dataclass
class Bench:
    """One device, one broker, one far side."""

    folder: Path
    keys: Path
    broker: Broker
    run: Path
    agents: list[subprocess.Popen[bytes]] = field(default_factory=list)
    links: list[ThinLink] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.far = FarSide(self.broker, self.keys, DEVICE)
        self.state = self.folder / "uplink"
        self.inbox = self.folder / "spool" / "inbox"
        self.config = write_config(self.folder, self.keys, self.broker.device_port, self.run)

    def builder(self, **options: object) -> LogBuilder:
        return LogBuilder(self.folder / "spool", self.keys, **options)  # type: ignore[arg-type]

    def link(self, **options: object) -> ThinLink:
        """Put a link between device and broker."""
        link = ThinLink(self.broker.device_port, **options)  # type: ignore[arg-type]
        self.links.append(link)
        self.config = write_config(self.folder, self.keys, link.port, self.run)
        return link

    def start(self) -> subprocess.Popen[bytes]:
        """Start an agent."""
        with (self.folder / "uplink.log").open("ab") as log:
            process = subprocess.Popen(
                [*LIUHEN, "uplink", "--config", str(self.config)], stdout=log, stderr=log, env=environment()
            )
        self.agents.append(process)
        return process

    def stop(self) -> None:
        """End the newest agent gently."""
        self.agents[-1].send_signal(signal.SIGTERM)
        assert self.agents[-1].wait(15) == 0, self.log()

    def log(self) -> str:
        return (self.folder / "uplink.log").read_text()

    def status(self) -> Status | None:
        return read(self.state)

    def receipts(self) -> list[bytes]:
        return [path.read_bytes() for path in sorted(self.inbox.iterdir()) if not path.name.startswith(".")]

    def close(self) -> None:
        for process in self.agents:
            if process.poll() is None:
                process.kill()
                process.wait()
        self.far.stop()
        for link in self.links:
            link.close()
        self.broker.stop()


@pytest.fixture(scope="session")
def site_keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    write_site(folder, "试点机关", [DEVICE, "test-0002"])
    return folder


@pytest.fixture
def bench(tmp_path: Path, site_keys: Path) -> Iterator[Bench]:
    run = Path(tempfile.mkdtemp(prefix="liuhen-", dir="/tmp"))
    bench = Bench(tmp_path, site_keys, Broker(site_keys, tmp_path / "broker").start(), run)
    try:
        yield bench
    finally:
        bench.close()
        shutil.rmtree(run, ignore_errors=True)
