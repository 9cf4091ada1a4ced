"""A real gpsd that is fed a logged NMEA track by gpsfake; and a server that only pretends to be gpsd."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import threading
import time
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path
    from types import TracebackType

START_E7 = (411_081_000, 1_229_949_000)
"""Where the track begins: Anshan."""
STEP_E7 = 1000
"""Each second of the track leads so far to the north: eleven metres."""


def sentence(body: str) -> str:
    """Return an NMEA sentence with its checksum."""
    checksum = 0
    for sign in body:
        checksum ^= ord(sign)
    return f"${body}*{checksum:02X}"


def track(seconds: int, *, first: int = 0, valid: bool = True) -> list[str]:
    """Return a walk to the north as a receiver logs it, two sentences a second; without a fix where not valid."""
    lines = []
    for second in range(first, first + seconds):
        at = f"{1 + second // 3600:02}{second // 60 % 60:02}{second % 60:02}.00"
        latitude, longitude = (START_E7[0] + second * STEP_E7) / 1e7, START_E7[1] / 1e7
        north = f"{int(latitude):02}{latitude % 1 * 60:08.5f}"
        east = f"{int(longitude):03}{longitude % 1 * 60:08.5f}"
        if valid:
            lines.append(sentence(f"GPRMC,{at},A,{north},N,{east},E,0.5,0.0,211126,,,A"))
            lines.append(sentence(f"GPGGA,{at},{north},N,{east},E,1,08,0.9,30.0,M,5.0,M,,"))
        else:
            lines.append(sentence(f"GPRMC,{at},V,,,,,,,211126,,,N"))
            lines.append(sentence(f"GPGGA,{at},,,,,0,00,,,M,,M,,"))
    return lines


class Gps:
    """gpsd behind gpsfake; use as a context manager. Needs gpsd and gpsd-clients."""

    def __init__(self, folder: Path, *, cycle_s: float = 0.1) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        self._folder = folder
        self._cycle_s = cycle_s
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, lines: Sequence[str]) -> Gps:
        """Start it with a track, which is played again and again."""
        log = self._folder / f"track-{self.port}.nmea"
        log.write_text("\n".join(lines) + "\n")
        self._process = subprocess.Popen(
            ["gpsfake", "-q", "-n", "-P", str(self.port), "-c", str(self._cycle_s), str(log)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        until = time.monotonic() + 20
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
            except OSError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.1)
            else:
                return self

    def stop(self) -> None:
        """Kill gpsd and whatever feeds it."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


class FalseGpsd:
    """Listens where gpsd should, and treats each connection as it is told; use as a context manager."""

    def __init__(self, treat: Callable[[socket.socket], None]) -> None:
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        self.connections = 0
        self._treat = treat
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            self.connections += 1
            with connection:
                try:
                    self._treat(connection)
                except OSError:
                    continue  # it was cut off, as it should be

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
