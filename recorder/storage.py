"""How long the storage lasts, in minutes at the present rate, and when that is worth a warning. Pure.

Room is what is free on the spool's file system, and what may be freed because a store has it. Nothing else is ever
counted as room: what has no receipt is not overwritten, however full it gets.
The rate is what the recording really wrote over the last minutes; before anything has been written it is what the
configuration asks for. Times are boot-time in nanoseconds.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

    from recorder.config import StreamSection

WINDOW_NS: Final = 300_000_000_000
"""The rate is that of the last five minutes: a scene changes what a camera needs."""
ENOUGH_NS: Final = 20_000_000_000
"""Before so much has been recorded, the beginning of it says too little."""
SAMPLE_NS: Final = 5_000_000_000
OVERHEAD_PERCENT: Final = 3
"""Of the coded media, for boxes and records."""
MINUTE_NS: Final = 60_000_000_000
CALM_PERCENT: Final = 120
"""A warning is over when there is so much more than its threshold."""

PLENTY: Final = "plenty"
LOW: Final = "low"
CRITICAL: Final = "critical"
FULL: Final = "full"
LEVELS: Final = (PLENTY, LOW, CRITICAL, FULL)


class Thresholds(NamedTuple):
    """Minutes below which there is a warning; from the configuration."""

    low_minutes: int = 60
    critical_minutes: int = 10


class Room(NamedTuple):
    """How the storage stands."""

    level: str
    """``plenty``, ``low``, ``critical`` or ``full``."""
    minutes: int
    """How long recording can go on, rounded down."""
    rate_bytes_per_s: int
    measured: bool
    """The rate was measured; else it is that of the configuration."""


def expected_rate_bytes_per_s(streams: Iterable[StreamSection]) -> int:
    """Return what the configuration asks the sources for, all recording at once."""
    bits = 0
    for stream in streams:
        for source in stream.sources.values():
            bits += source.video_bitrate_bps if "video" in source.tracks else 0
            bits += source.audio_bitrate_bps if "audio" in source.tracks else 0
    return max(1, bits * (100 + OVERHEAD_PERCENT) // 800)


@dataclass(slots=True)
class Storage:
    """Watches the room of one spool."""

    thresholds: Thresholds
    expected_rate_bytes_per_s: int
    _level: str = PLENTY
    _points: deque[tuple[int, int]] = field(default_factory=deque)
    """Boot-time and bytes written until then, a few seconds apart, while something is being recorded."""
    _rate_bytes_per_s: int | None = None

    def look(self, now_ns: int, *, room_bytes: int, written_bytes: int, recording: bool, full: bool) -> Room:
        """Say how the storage stands.

        Args:
            now_ns: boot-time.
            room_bytes: free, and what may be freed.
            written_bytes: all that has been recorded since the recorder started; it only grows.
            recording: a session is open and written.
            full: the storage has refused something, and nothing has been freed since.
        """
        self._measure(now_ns, written_bytes, recording=recording)
        rate = self.expected_rate_bytes_per_s if self._rate_bytes_per_s is None else self._rate_bytes_per_s
        minutes = max(0, room_bytes) // max(1, rate) // 60
        self._level = FULL if full else self._next_level(minutes)
        return Room(self._level, minutes, rate, self._rate_bytes_per_s is not None)

    def _measure(self, now_ns: int, written_bytes: int, *, recording: bool) -> None:
        if not recording:
            self._points.clear()  # the rate of the last recording stays: the next one will be like it
            return
        if not self._points or now_ns - self._points[-1][0] >= SAMPLE_NS:
            self._points.append((now_ns, written_bytes))
        while now_ns - self._points[0][0] > WINDOW_NS:
            self._points.popleft()
        (first_ns, first), (last_ns, last) = self._points[0], self._points[-1]
        if last_ns - first_ns >= ENOUGH_NS and last > first:
            self._rate_bytes_per_s = max(1, (last - first) * 1_000_000_000 // (last_ns - first_ns))

    def _next_level(self, minutes: int) -> str:
        low, critical = self.thresholds
        # What is over must be clearly over: a figure that trembles at a threshold warns once.
        if self._level in (CRITICAL, FULL):
            critical = critical * CALM_PERCENT // 100
        if self._level != PLENTY:
            low = low * CALM_PERCENT // 100
        return CRITICAL if minutes < critical else LOW if minutes < low else PLENTY
