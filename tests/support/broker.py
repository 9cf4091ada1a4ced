"""A real mosquitto with TLS 1.3, on free ports, with the configuration that a site gets."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from uplink.central import broker as rendered
from uplink.central.config import BrokerSection

if TYPE_CHECKING:
    from pathlib import Path


def free_port() -> int:
    """Return a TCP port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until_listening(port: int, process: subprocess.Popen[bytes], timeout_s: float = 10.0) -> None:
    """Wait until something accepts connections on ``port``; fail when the process ends before."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"the broker ended with {process.returncode}")
        with socket.socket() as probe:
            probe.settimeout(0.2)
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise RuntimeError(f"nothing listens on port {port}")


@dataclass
class Broker:
    """A broker of one site (keys from ``keys.authority.write_site``); its state is in ``folder``."""

    site: Path
    folder: Path
    central_names: list[str] = field(default_factory=lambda: ["central:store-1"])
    device_port: int = field(default_factory=free_port)
    central_port: int = field(default_factory=free_port)
    memory_limit_mib: int = 1024
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> Broker:
        """Start it and wait until both listeners are open."""
        section = BrokerSection(
            device_listener=f"127.0.0.1:{self.device_port}",
            central_listener=f"127.0.0.1:{self.central_port}",
            certificate=str(self.site / "broker" / "broker.crt"),
            key=str(self.site / "broker" / "broker.key"),
            authority=str(self.site / "authority.crt"),
            central_names=self.central_names,
            user="root" if os.getuid() == 0 else None,
            memory_limit_mib=self.memory_limit_mib,
        )
        configuration = rendered.write(section, self.folder)[0]
        with (self.folder / "mosquitto.log").open("ab") as log:
            self.process = subprocess.Popen(["mosquitto", "-c", str(configuration)], stdout=log, stderr=log)
        wait_until_listening(self.device_port, self.process)
        wait_until_listening(self.central_port, self.process)
        return self

    def kill(self) -> None:
        """SIGKILL it, as a crash would."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def stop(self) -> None:
        """End it and wait for it."""
        if self.process is not None:
            self.process.terminate()
            self.process.wait(10)

    def log(self) -> str:
        """Return what it has logged so far."""
        return (self.folder / "mosquitto.log").read_text()
