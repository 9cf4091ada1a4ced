"""What was missed, and why: holes in the media become signed gaps with a cause. Pure.

A hole is known for certain when a track goes on after it. A hole that lasts is signed twice: when it has lasted
:data:`BEGINS_AFTER_NS` (``begins``), so that the log tells of it while it lasts, and when it is over (``ends``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from recorder.evidence.records import Gap

BEGINS_AFTER_NS: Final = 5_000_000_000
"""A track silent for so long is signed as a gap that begins."""
UNKNOWN: Final = "unknown"


@dataclass(slots=True)
class _Cause:
    cause: str
    detail: str | None
    start_boot: bytes | None = None
    length_max_ns: int | None = None
    length_known: bool = True
    start_shift_ns: int = 0


class GapKeeper:
    """Remembers, for one session, why each track is silent, and says what is to be signed."""

    def __init__(self) -> None:
        self._causes: dict[str, _Cause] = {}
        self._begun: set[str] = set()

    def because(self, tracks: list[str], cause: str, detail: str | None = None) -> None:
        """A source said, or the recorder saw, why these tracks will be silent; the first cause of a hole counts."""
        for track in tracks:
            self._causes.setdefault(track, _Cause(cause, detail))

    def instead(self, tracks: list[str], cause: str) -> None:
        """These tracks are silent on purpose from now on, whatever else befalls them; signed causes stay."""
        for track in tracks:
            if track not in self._begun:
                self._causes[track] = _Cause(cause, None)

    @property
    def begun(self) -> frozenset[str]:
        """Tracks whose silence has been signed and lasts."""
        return frozenset(self._begun)

    def across_boot(
        self,
        tracks: list[str],
        cause: str,
        start_boot: bytes,
        length_max_ns: int | None,
        *,
        start_shift_ns: int = 0,
    ) -> None:
        """The machine was off: start and end of the hole are on two boot-time clocks.

        Args:
            tracks: what was being recorded.
            cause: id of the cause.
            start_boot: kernel boot id of the time at which the hole starts.
            length_max_ns: upper bound of its length, None where nothing bounds it.
            start_shift_ns: how much later the clock of that boot stood, at the same media time, than this boot's.
        """
        for track in tracks:
            self._causes[track] = _Cause(
                cause, None, start_boot, length_max_ns, length_known=False, start_shift_ns=start_shift_ns
            )

    def begins(self, ends_boottime_ns: dict[str, int], now_boottime_ns: int) -> list[Gap]:
        """Return the gaps that have lasted long enough to be signed while they go on.

        Args:
            ends_boottime_ns: per track of the session, the boot-time at which it ends so far.
            now_boottime_ns: the boot-time clock.
        """
        silent = {
            track: end
            for track, end in ends_boottime_ns.items()
            if track not in self._begun and now_boottime_ns - end > BEGINS_AFTER_NS
        }
        self._begun |= set(silent)
        return [
            self._gap(tracks, "begins", min(silent[track] for track in tracks), None)
            for tracks in self._by_cause(list(silent))
        ]

    def over(self, holes: dict[str, tuple[int, int]]) -> list[Gap]:
        """Return what is to be signed now that tracks go on.

        Args:
            holes: per track, boot-time at which it stopped and at which it goes on.
        """
        gaps: list[Gap] = []
        for tracks in self._by_cause(list(holes)):
            start = min(holes[track][0] for track in tracks)
            end = max(holes[track][1] for track in tracks)
            state = "ends" if any(track in self._begun for track in tracks) else "whole"
            gaps.append(self._gap(tracks, state, start, end))
        for track in holes:
            self._causes.pop(track, None)
            self._begun.discard(track)
        return gaps

    def flows(self, tracks: list[str]) -> None:
        """These tracks came without a hole: an earlier warning came to nothing."""
        for track in tracks:
            self._causes.pop(track, None)

    def _by_cause(self, tracks: list[str]) -> list[list[str]]:
        groups: dict[tuple[str, bool], list[str]] = {}
        for track in tracks:
            cause = self._causes.get(track)
            groups.setdefault((cause.cause if cause else UNKNOWN, track in self._begun), []).append(track)
        return list(groups.values())

    def _gap(self, tracks: list[str], state: str, start_ns: int, end_ns: int | None) -> Gap:
        cause = self._causes.get(tracks[0]) or _Cause(UNKNOWN, None)
        length_ns = max(end_ns - start_ns, 0) if end_ns is not None and cause.length_known else None
        return Gap(
            cause=cause.cause,
            tracks=sorted(tracks, reverse=True),
            state=state,
            start_boottime_ns=max(start_ns + cause.start_shift_ns, 0),
            end_boottime_ns=end_ns,
            start_boot=cause.start_boot,
            length_min_ns=length_ns if cause.length_known else 0,
            length_max_ns=length_ns if cause.length_known else cause.length_max_ns,
            detail=cause.detail,
        )
