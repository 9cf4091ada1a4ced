"""The process between gpsd and the recorder: asks the one, tells the other, and is thrown away when either fails.

It is a process of its own because gpsd is a network peer and its receiver anybody's radio: what they send is read where
neither keys nor spool are, and the recorder keeps no network at all. If it hangs or dies, a session has no
position from then on, and nothing else.
"""

from __future__ import annotations

import contextlib
import logging
import select
import socket
from typing import TYPE_CHECKING, Final

from recorder.lines import LineTooLongError
from recorder.position.gpsd import WATCH, Fix, Reports
from recorder.position.messages import SOCKET_NAME, encode
from recorder.source.driver import boottime_ns

if TYPE_CHECKING:
    from pathlib import Path

    from recorder.config import PositionSection

log = logging.getLogger(__name__)

PAUSE_SHORTEST_S: Final = 0.5
PAUSE_LONGEST_S: Final = 10.0
TELL_EVERY_NS: Final = 1_000_000_000
"""A receiver may say where it is ten times a second; the recorder need not hear all of it."""
SILENT_NS: Final = 15_000_000_000
"""A receiver reports every second, with a fix or without; for so long gpsd may say nothing."""
CONNECT_WITHIN_S: Final = 5.0
ORPHANED_NS: Final = 60_000_000_000
"""A process that the recorder started ends by itself after so long without one."""
_READ_SIZE_BYTES: Final = 64 << 10


class PositionProcess:
    """Serves one recorder after the other."""

    def __init__(self, section: PositionSection, run_folder: Path) -> None:
        host, _, port = section.gpsd.rpartition(":")
        self._gpsd = host.strip("[]"), int(port)
        self._spawned = section.spawn
        self._path = run_folder / SOCKET_NAME

    def run(self) -> None:
        """Run until there is no recorder for a while, or forever where systemd keeps this process."""
        without_since_ns = boottime_ns()
        while not self._spawned or boottime_ns() - without_since_ns < ORPHANED_NS:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as recorder:
                try:
                    recorder.connect(str(self._path))
                except OSError:
                    select.select([], [], [], PAUSE_SHORTEST_S)
                    continue
                log.info("position: connected to the recorder")
                with contextlib.suppress(_RecorderGoneError):
                    self._serve(recorder)
                log.warning("position: the recorder is gone")
                without_since_ns = boottime_ns()

    def _serve(self, recorder: socket.socket) -> None:
        """Keep asking gpsd as long as the recorder listens."""
        pause_s = PAUSE_SHORTEST_S
        while True:
            try:
                with socket.create_connection(self._gpsd, CONNECT_WITHIN_S) as gpsd:
                    if self._follow(gpsd, recorder):
                        pause_s = PAUSE_SHORTEST_S
            except (OSError, LineTooLongError) as error:
                log.warning("position: gpsd at %s port %d: %s", *self._gpsd, error)
            _tell(recorder, encode(boottime_ns(), "no-gpsd"))
            if select.select([recorder], [], [], pause_s)[0]:
                raise _RecorderGoneError  # it says nothing: this is its end
            pause_s = min(2 * pause_s, PAUSE_LONGEST_S)

    def _follow(self, gpsd: socket.socket, recorder: socket.socket) -> bool:
        """Pass on what gpsd says until it ends or falls silent; return whether it said anything of use."""
        gpsd.sendall(WATCH)
        reports = Reports()
        said_ns, told_ns, told = boottime_ns(), 0, "no-gpsd"
        while boottime_ns() - said_ns < SILENT_NS:
            ready, _, _ = select.select([gpsd, recorder], [], [], SILENT_NS / 1e9)
            if recorder in ready:
                raise _RecorderGoneError
            if gpsd not in ready:
                break
            data = gpsd.recv(_READ_SIZE_BYTES)
            if not data:
                break
            found = reports.feed(data)
            now_ns = boottime_ns()
            if found:
                said_ns = now_ns
                state = "fix" if found[-1] is not None else "no-fix"
                if state != told or now_ns - told_ns >= TELL_EVERY_NS:
                    _log_change(told, state, found[-1])
                    _tell(recorder, encode(now_ns, state, found[-1]))
                    told_ns, told = now_ns, state
        log.warning("position: gpsd has ended or fallen silent")
        return told != "no-gpsd"


class _RecorderGoneError(Exception):
    """Nobody is there to be told."""


def _tell(recorder: socket.socket, line: bytes) -> None:
    try:
        recorder.sendall(line)
    except OSError as error:
        raise _RecorderGoneError from error


def _log_change(before: str, state: str, fix: Fix | None) -> None:
    # Where the device is stands in no log: only how well it is known.
    if state == before:
        return
    if fix is None:
        log.info("position: %s", state)
    else:
        log.info("position: a fix, to %s m", "unknown" if fix.accuracy_mm is None else fix.accuracy_mm // 1000)
