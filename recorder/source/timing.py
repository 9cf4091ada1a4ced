"""The camera's own times onto the boot-time clock, the same for picture and sound. Pure.

A network camera's streams count from points of their own. What relates them is the camera's *sender report* (RFC 3550,
6.4.1), which comes some seconds after the first packets; libavformat then moves one stream's times at once. So the
first packets wait here, at most :data:`HOLD_NS`, until both streams have been reported, and those from before the move
are moved with it: the offset between picture and sound is right from the first frame on.

Boot-time of media is the earliest that fits all arrivals: no frame was taken after it arrived. The camera's intervals
are kept exactly; how its clock drifts against ours shows in the arrival times, which are signed too.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from recorder.source.driver import nanoseconds, ticks
from recorder.source.errors import DeviceError

HOLD_NS: Final = 3_000_000_000
MOVE_NS: Final = 5_000_000
"""A step that differs from the usual one by more, at a sender report, is a move of the whole stream."""
APART_NS: Final = 500_000_000
"""Tracks that no report relates, and whose arrivals say that they are further apart, are related by arrival."""
BACKWARDS_NS: Final = 1_000_000_000
JUMP_NS: Final = 5_000_000_000
"""A camera whose times run back, or ahead of the clock, by more than these is replaced."""


class Raw(NamedTuple):
    """A packet as libavformat gives it; times in ticks of the track's timescale from a point of its own."""

    track: str
    packet: Any
    presentation: int | None
    decode: int | None
    duration: int
    arrival_ns: int
    reported: bool = False
    """A sender report of its stream came just before it."""


class Timed(NamedTuple):
    """A packet with times on the boot-time clock, in ticks of the track's timescale."""

    raw: Raw
    presentation: int
    decode: int


class Moved(NamedTuple):
    """A sender report moved a stream while it was running."""

    track: str
    by_ns: int


class _Track:
    def __init__(self, timescale: int) -> None:
        self.timescale = timescale
        self.offset = 0
        self.last: Timed | None = None
        self.reported = False


class Aligner:
    """Waits for what relates the tracks, then passes packets on with times."""

    def __init__(self, timescales: dict[str, int], *, reports: bool) -> None:
        """Make one for a newly opened device.

        Args:
            timescales: Of each track, ticks a second.
            reports: Sender reports are to be expected.
        """
        self.timescales = timescales
        self._tracks = {track: _Track(scale) for track, scale in timescales.items()}
        self._reports = reports and len(timescales) > 1
        self._held: list[Raw] | None = []
        self.moved: list[Moved] = []
        """Moves since the caller last cleared this."""

    @property
    def holding(self) -> bool:
        """Whether packets still wait for what relates the tracks."""
        return self._held is not None

    def put(self, raw: Raw) -> list[Timed]:
        """Take a packet; return those that now have times, in order of arrival.

        Raises:
            DeviceError: the camera's times jumped.
        """
        self._tracks[raw.track].reported |= raw.reported
        if self._held is None:
            return [self._time(raw)]
        self._held.append(raw)
        if not self._settled(raw.arrival_ns):
            return []
        held, self._held = self._held, None
        for track in self._tracks:
            mine = [index for index, one in enumerate(held) if one.track == track]
            for index, one in zip(mine, self._straighten([held[index] for index in mine]), strict=True):
                held[index] = one
        self._anchor(held)
        return [self._time(one) for one in held]

    def _settled(self, now_ns: int) -> bool:
        held = self._held or []
        if now_ns - held[0].arrival_ns >= HOLD_NS:
            return True
        timed = {one.track for one in held if one.decode is not None and one.presentation is not None}
        if timed != set(self._tracks):
            return False
        return not self._reports or all(track.reported for track in self._tracks.values())

    def _straighten(self, held: list[Raw]) -> list[Raw]:
        """Fill in missing times of one track and undo the move at its first sender report."""
        known = [one.decode for one in held if one.decode is not None]
        if not known:
            return held
        first = next(index for index, one in enumerate(held) if one.decode is not None)
        step = max(1, held[first].duration or (known[1] - known[0] if len(known) > 1 else 1))
        shown = [one.presentation for one in held if one.presentation is not None]
        for index in range(first):
            decode = known[0] - (first - index) * step
            presentation = held[index].presentation
            if presentation is None:
                presentation = max(decode, (min(shown) if shown else known[0]) - step)
            held[index] = held[index]._replace(decode=min(decode, presentation), presentation=presentation)
        report = next((index for index, one in enumerate(held) if one.reported), None)
        if report and self._reports:
            by = self._move(held[report - 1], held[report])
            for index in range(report):
                one = held[index]
                held[index] = one._replace(
                    decode=None if one.decode is None else one.decode + by,
                    presentation=None if one.presentation is None else one.presentation + by,
                )
        return held

    def _move(self, before: Raw, after: Raw) -> int:
        """Return by how many ticks a sender report moved the stream between two packets."""
        if before.decode is None or after.decode is None:
            return 0
        by = after.decode - before.decode - before.duration
        scale = self._tracks[after.track].timescale
        return by if abs(by) * 1_000_000_000 > MOVE_NS * scale and before.duration else 0

    def _anchor(self, held: list[Raw]) -> None:
        earliest: dict[str, int] = {}
        for one in held:
            if one.presentation is not None:
                offset_ns = one.arrival_ns - nanoseconds(one.presentation, self._tracks[one.track].timescale)
                earliest[one.track] = min(offset_ns, earliest.get(one.track, offset_ns))
        if not earliest:
            return
        common = min(earliest.values())
        related = all(track.reported for track in self._tracks.values()) if self._reports else True
        apart = max(earliest.values()) - common > APART_NS
        for name, track in self._tracks.items():
            offset_ns = earliest.get(name, common) if apart and not related else common
            track.offset = ticks(offset_ns, track.timescale)

    def _time(self, raw: Raw) -> Timed:
        track = self._tracks[raw.track]
        last = track.last
        decode, presentation = raw.decode, raw.presentation
        if decode is None:
            if last is not None:
                decode = last.decode - track.offset + (last.raw.duration or 1)
            elif presentation is not None:
                decode = presentation
            else:
                decode = ticks(raw.arrival_ns, track.timescale) - track.offset
        if presentation is None:
            presentation = decode
        timed = Timed(raw, presentation + track.offset, decode + track.offset)
        if last is not None:
            self._check(track, last, timed)
        track.last = timed
        return timed

    def _check(self, track: _Track, last: Timed, timed: Timed) -> None:
        step_ns = nanoseconds(timed.decode - last.decode, track.timescale)
        ahead_ns = nanoseconds(timed.decode, track.timescale) - timed.raw.arrival_ns
        if step_ns < -BACKWARDS_NS or ahead_ns > JUMP_NS:
            raise DeviceError("camera", f"times of {timed.raw.track} jumped by {step_ns // 1_000_000} ms")
        if timed.raw.reported and self._reports and last.raw.duration:
            by_ns = step_ns - nanoseconds(last.raw.duration, track.timescale)
            if abs(by_ns - (timed.raw.arrival_ns - last.raw.arrival_ns)) > MOVE_NS * 4 and abs(by_ns) > MOVE_NS:
                self.moved.append(Moved(timed.raw.track, by_ns))
