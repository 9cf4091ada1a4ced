"""When a position is put on record (R6): at the start of a session, when the device moves, and every few minutes. Pure.

1. A session gets the newest fix that is not older than a minute; where there is none, the first that comes.
2. After that one for each move of more than fifty metres, but not more often than every half a minute; and one every
   five minutes. A move that the receiver's own error could be is none.
3. Outside of a session nothing is kept but the newest fix: nobody follows the officers.

Times are boot-time in nanoseconds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from recorder.position.gpsd import Fix

FRESH_NS: Final = 60_000_000_000
MOVED_M: Final = 50.0
SOONEST_NS: Final = 30_000_000_000
EVERY_NS: Final = 300_000_000_000
_METRES_A_DEGREE: Final = 111_195.0
"""Of latitude, on a sphere of the earth's mean radius: half a per cent is enough here."""


@dataclass(slots=True)
class Places:
    """What one device knows of where it is, and what its sessions have of it."""

    newest: Fix | None = None
    newest_ns: int = 0
    """When :attr:`newest` came."""
    satellite_offset_ns: int | None = None
    """Satellite time less the device's UTC, when the newest fix came."""
    _given: dict[bytes, tuple[Fix, int]] = field(default_factory=dict)
    """The position that each session was given last, and when."""

    def fixed(self, fix: Fix, boottime_ns: int, utc_ns: int) -> None:
        """Take a fix.

        Args:
            fix: where the device is.
            boottime_ns: when it came; UTC at the same moment is ``utc_ns``.
            utc_ns: the device's clock.
        """
        self.newest, self.newest_ns = fix, boottime_ns
        self.satellite_offset_ns = None if fix.utc_ns is None else fix.utc_ns - utc_ns

    def fresh(self, now_ns: int) -> Fix | None:
        """Return where the device is now, as far as it knows."""
        return self.newest if self.newest is not None and now_ns - self.newest_ns <= FRESH_NS else None

    def due(self, session: bytes, now_ns: int) -> Fix | None:
        """Return the position that a session is to be given now, if any; it counts as given."""
        fix = self.fresh(now_ns)
        if fix is None:
            return None
        given = self._given.get(session)
        if given is not None:
            before, at_ns = given
            if self.newest_ns <= at_ns or now_ns - at_ns < SOONEST_NS:
                return None
            if now_ns - at_ns < EVERY_NS and not moved(before, fix):
                return None
        self._given[session] = fix, now_ns
        return fix

    def closed(self, open_sessions: set[bytes]) -> None:
        """Forget the sessions that are not open any more."""
        self._given = {session: given for session, given in self._given.items() if session in open_sessions}


def moved(before: Fix, after: Fix) -> bool:
    """Tell whether two fixes are certainly more than fifty metres apart."""
    error_m = max(before.accuracy_mm or 0, after.accuracy_mm or 0) / 1000
    return distance_m(before, after) > max(MOVED_M, error_m)


def distance_m(one: Fix, other: Fix) -> float:
    """Return the distance between two fixes in metres; meant for short ones."""
    north = (other.latitude_e7 - one.latitude_e7) / 1e7
    east = (other.longitude_e7 - one.longitude_e7) / 1e7
    east = (east + 180) % 360 - 180  # the short way over the date line
    east *= math.cos(math.radians((one.latitude_e7 + other.latitude_e7) / 2e7))
    return math.hypot(north, east) * _METRES_A_DEGREE
