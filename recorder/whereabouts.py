"""Wires the position: between the position process's socket, :mod:`recorder.places` and the log.

A position is personal data: it goes into a details file of the device, never into a record in clear. Everything here
is at once; whatever gpsd does, recording goes on.
"""

from __future__ import annotations

import contextlib
import logging
import socket
from typing import TYPE_CHECKING, Any, Final

from recorder.evidence.details import Position, SessionDetails
from recorder.evidence.facts import DEVICE
from recorder.places import Places
from recorder.position.messages import PositionError, Reports

if TYPE_CHECKING:
    from collections.abc import Iterable

    from recorder.clock import Clock
    from recorder.conduct import Conduct
    from recorder.position.gpsd import Fix

log = logging.getLogger(__name__)

READ_SIZE_BYTES: Final = 16 << 10
START_NS: Final = 60_000_000_000
"""A position that comes within a minute belongs to the start."""
LATE_NS: Final = 5_000_000_000
"""A report that claims to have come longer ago, or later than now, is dated by its arrival."""


class Whereabouts:
    """What one device knows of its position."""

    def __init__(self, conducts: Iterable[Conduct], clock: Clock) -> None:
        self._conducts = list(conducts)
        self._clock = clock
        self._places = Places()
        self._connection: socket.socket | None = None
        self._reports = Reports()
        self._state = "no-gpsd"

    def accept(self, connection: socket.socket) -> None:
        """Take a new position process; the one before it is closed when the loop reads from it next."""
        if self._connection is not None:
            with contextlib.suppress(OSError):
                self._connection.shutdown(socket.SHUT_RDWR)
        connection.setblocking(False)
        self._connection, self._reports = connection, Reports()

    def receive(self, connection: socket.socket) -> bool:
        """Take what it says; return False when its connection is to be closed.

        Raises:
            DiskFullError: a position cannot be signed.
        """
        if connection is not self._connection:
            return False
        try:
            found = self._reports.feed(_read(connection))
        except BlockingIOError:
            return True  # woken for nothing
        except (OSError, PositionError) as error:
            log.warning("position: %s", error)
            self._connection, self._state = None, "no-gpsd"
            return False
        now = self._clock.now()
        for report in found:
            self._state = report.state
            if report.fix is not None:
                age_ns = now.boottime_ns - report.boottime_ns
                age_ns = age_ns if 0 <= age_ns < LATE_NS else 0
                self._places.fixed(report.fix, now.boottime_ns - age_ns, now.utc_ns - age_ns)
        self.tick()
        return True

    def tick(self) -> None:
        """Put on record what is due.

        Raises:
            DiskFullError: it cannot be.
        """
        now_ns = self._clock.boottime_ns()
        open_sessions = set()
        for conduct in self._conducts:
            session = conduct.stream.session
            if session is None:
                continue
            open_sessions.add(session.id)
            if session.ending is not None or session.off is not None:
                continue  # in an interval of unsuitable content nothing is recorded, this neither
            fix = self._places.due(session.id, now_ns)
            if fix is not None:
                first = now_ns - session.zero_boottime_ns < START_NS
                conduct.add_details(_said(fix), when="start" if first else "during", author=DEVICE)
        self._places.closed(open_sessions)

    def status(self) -> dict[str, Any]:
        """Return what ``liuhen status`` tells: how well the device knows where it is, never where."""
        now_ns, places = self._clock.boottime_ns(), self._places
        fix = places.fresh(now_ns)
        return {
            "state": self._state,
            "age_ns": None if places.newest is None else now_ns - places.newest_ns,
            "accuracy_mm": None if fix is None else fix.accuracy_mm,
            "satellite_offset_ns": None if fix is None else places.satellite_offset_ns,
        }


def _read(connection: socket.socket) -> bytes:
    data = connection.recv(READ_SIZE_BYTES)
    if not data:
        raise PositionError("the position process closed the connection")
    return data


def _said(fix: Fix) -> SessionDetails:
    return SessionDetails(author=DEVICE, position=Position(**fix._asdict()))
