"""Watches that frames keep coming. Pure: it is told the time."""

from __future__ import annotations

from typing import Final, NamedTuple

OPENING_NS: Final = 2_500_000_000
"""A device may take so much longer than its stall limit until its first frame. The recorder's patience ends at 3 s."""


class Stall(NamedTuple):
    """A track without frames."""

    track: str
    silent_ns: int
    fatal: bool
    """The source is to be replaced: the picture stands, or nothing comes at all."""


class Vigil:
    """A source whose sound alone falls silent goes on for its picture; one whose picture stands is replaced."""

    def __init__(self, tracks: list[str], stall_after_ns: int, now_ns: int) -> None:
        self._stall_after_ns = stall_after_ns
        self._tracks = tracks
        self._seen = dict.fromkeys(tracks, now_ns)
        self._flowing: set[str] = set()
        self._stalled: set[str] = set()

    def seen(self, track: str, now_ns: int) -> bool:
        """A frame has come; return whether the track had been stalled."""
        self._seen[track] = now_ns
        self._flowing.add(track)
        restored = track in self._stalled
        self._stalled.discard(track)
        return restored

    def without(self, track: str) -> None:
        """The device turned out not to have this track."""
        self._seen.pop(track, None)

    def stalls(self, now_ns: int) -> list[Stall]:
        """Return the tracks that have stalled since the last look."""
        found: list[Stall] = []
        for track, last_ns in self._seen.items():
            silent_ns = now_ns - last_ns
            limit_ns = self._stall_after_ns + (0 if track in self._flowing else OPENING_NS)
            if silent_ns > limit_ns and track not in self._stalled:
                self._stalled.add(track)
                fatal = track == "video" or self._stalled >= set(self._seen)
                found.append(Stall(track, silent_ns, fatal))
        return found
