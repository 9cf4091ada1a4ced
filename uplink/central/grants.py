"""How many media bytes each device may have under way: levels, not increments, so a lost grant harms nothing.

The device decides what it sends; the store only how much. When there is not enough for all, those whose deadline is
nearest come first, and others get less at their next renewal. What was granted to a device that fell silent lapses.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

SHORT_SECONDS: Final = 10
"""How long a refusal holds: then the device may ask again."""


@dataclass(frozen=True)
class Level:
    """Up to so many bytes without receipt, for so long."""

    size_bytes: int
    seconds: int


@dataclass(frozen=True)
class _Standing:
    level: Level
    until_s: float
    deadline_utc_ns: int


class GrantBook:
    """The grants of one worker. Times are of a monotonic clock, in seconds."""

    def __init__(self, device_size_bytes: int, total_size_bytes: int, seconds: int) -> None:
        self._device_size_bytes = device_size_bytes
        self._total_size_bytes = total_size_bytes
        self._seconds = seconds
        self._standing: dict[str, _Standing] = {}

    def level(self, device: str, deadline_utc_ns: int, now_s: float, *, room: bool) -> Level:
        """Decide anew what a device may have under way.

        Args:
            device: its id.
            deadline_utc_ns: when its most urgent missing media must be here.
            now_s: the monotonic clock.
            room: False while the store's disk is nearly full: then nothing is granted to anyone.
        """
        self._standing = {name: one for name, one in self._standing.items() if one.until_s > now_s}
        more_urgent = sum(
            one.level.size_bytes
            for name, one in self._standing.items()
            if name != device and one.deadline_utc_ns <= deadline_utc_ns
        )
        size = min(self._device_size_bytes, self._total_size_bytes - more_urgent) if room else 0
        level = Level(size, self._seconds) if size > 0 else Level(0, SHORT_SECONDS)
        self._standing[device] = _Standing(level, now_s + level.seconds, deadline_utc_ns)
        return level

    def renewal_due(self, device: str, now_s: float) -> bool:
        """Tell whether a device has no grant, or one whose half time is over."""
        one = self._standing.get(device)
        return one is None or one.until_s - now_s < one.level.seconds / 2
