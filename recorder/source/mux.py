"""Coded frames into fragments of an MP4 film: exact times, at most half a second each, one track never holding another.

libavformat writes the init segment (:mod:`recorder.source.initsegment`); the fragments are written here, because its
fragment writer puts the first frame after a silence at the end of the frame before it, and shifts the decode times of
cameras with B-frames so that players show their picture late against the sound (both measured). Here a sample's
decode time is the camera's own, its composition offset is never negative, and a silence is a jump of ``tfdt``.
"""

from __future__ import annotations

import math
import struct
from collections import deque
from typing import Final, NamedTuple

from recorder.source.driver import Format, Level, Sample, nanoseconds, ticks
from recorder.source.errors import MuxError
from recorder.source.link import Counts

MAX_FRAGMENT_NS: Final = 500_000_000
"""Longest time that a fragment covers of a track, unless one frame alone is longer."""
MAX_WAIT_NS: Final = 700_000_000
"""Longest time that a frame waits here for its successor or for company."""
MAX_LEAD_NS: Final = 2_000_000_000
"""How long sound waits for the first key frame, which tells whether it belongs to the film, unless told otherwise."""
MAX_FRAGMENT_SIZE_BYTES: Final = 8 << 20
HOLE_FACTOR: Final = 1.5
"""An interval longer than so many usual ones is a hole."""
_USUAL_OVER: Final = 31
_LOOK_NS: Final = 50_000_000
"""How often waiting frames are looked after where frames come thick."""
_SILENCE_MILLIBELS: Final = -12_000
_SYNC: Final = 0x02000000
_NON_SYNC: Final = 0x01010000
_MAX_COMPOSITION: Final = (1 << 31) - 1


class Piece(NamedTuple):
    """One fragment with its account."""

    number: int
    key: bool
    counts: dict[str, Counts]
    data: bytes
    """One moof and one mdat."""
    arrival_ns: int
    """When its newest frame reached this process."""


class _Timed(NamedTuple):
    sample: Sample
    decode: int
    composition: int
    since_ns: int
    """Since when it waits here: a frame may have waited elsewhere before."""


class _Track:
    def __init__(self, track: str, track_id: int, timescale: int, zero: int, earliest: int) -> None:
        self.track = track
        self.id = track_id
        self.timescale = timescale
        self.zero = zero
        self.earliest = earliest
        """What was taken before is not in the film."""
        self.open: _Timed | None = None
        self.pending: list[tuple[_Timed, int]] = []
        self.end = 0
        self.last_decode: int | None = None
        """Of the newest frame, as the camera gave it."""
        self._intervals: deque[int] = deque(maxlen=_USUAL_OVER)
        self._usual: int | None = None
        self.counts = _Tally()

    def passed(self, interval: int) -> None:
        """The time between two frames was so long."""
        self._intervals.append(interval)
        if interval != self._usual:  # one more of the middle value leaves it the middle one
            self._usual = sorted(self._intervals)[len(self._intervals) // 2]

    def usual(self, stated: int) -> int:
        """Return the usual time between two frames, in ticks."""
        return self._usual or stated or self.timescale // 25

    def close(self, duration: int) -> None:
        if self.open is not None:
            self.pending.append((self.open, duration))
            self.end = self.open.decode + duration
            self.open = None

    def discard(self, sample: Sample, reason: str) -> None:
        """The frame is in no fragment."""
        self.counts.expect(sample.number)
        self.counts.discard(reason)


class _Tally:
    """Counts of one track since the last fragment.

    A frame counts when its fate is known: so each fragment balances, and what dies with this process is in no count.
    """

    def __init__(self) -> None:
        self._number: int | None = None
        self._clear()

    def _clear(self) -> None:
        self.discarded: dict[str, int] = {}
        self.expected: int | None = None
        self.holes = 0
        self.holes_ns = 0

    def discard(self, reason: str, count: int = 1) -> None:
        """Count frames that are in no fragment."""
        self.discarded[reason] = self.discarded.get(reason, 0) + count

    def expect(self, number: int | None) -> None:
        """Count from the device's own number of the next frame how many it should have delivered."""
        if number is None:
            return
        self.expected = (self.expected or 0) + (1 if self._number is None else max(1, number - self._number))
        self._number = number

    def take(self, samples: list[Sample]) -> Counts | None:
        """Return the counts with the samples that are written now; begin again from nothing."""
        if not (samples or self.discarded):
            return None
        for one in samples:
            self.expect(one.number)
        sensor = [one.sensor_ns for one in samples if one.sensor_ns is not None]
        levels = [one.level for one in samples if one.level is not None]
        counts = Counts(
            received=len(samples) + sum(self.discarded.values()),
            written=len(samples),
            discarded=self.discarded,
            expected=self.expected,
            holes=self.holes,
            holes_ns=self.holes_ns,
            arrival_first_ns=samples[0].arrival_ns if samples else None,
            arrival_last_ns=samples[-1].arrival_ns if samples else None,
            sensor_first_ns=sensor[0] if sensor else None,
            sensor_last_ns=sensor[-1] if sensor else None,
            peak_millibels=millibels(max(one.peak for one in levels)) if levels else None,
            rms_millibels=millibels(math.sqrt(_mean_square(levels))) if levels else None,
        )
        self._clear()
        return counts


class Muxer:
    """One instance: from a ``start`` to an ``ended``, or to the end of the process. Pure; it knows no clock.

    Rules:
        1. With picture, the film begins with a key frame; frames before it are counted as ``before-key-frame``, and
           so is sound from before it. If sound has waited ``wait_for_picture_ns`` for one, it begins alone.
        2. Nothing from before media time zero, nor from before recording went on (``from_boottime_ns``), is in the film
           (``before-zero``), and no sound from before ``sound_from_boottime_ns``. Only decode times, which nobody sees,
           may be moved up to it.
        3. A frame's duration is the time to the next one; over half a second it is a silence: the frame lasts as
           usual, and the next one begins a new fragment at its own time.
        4. Decode times that do not grow are moved on by a tick (and counted in :attr:`corrected`): a picture is never
           thrown away for the number on it.
    """

    def __init__(
        self,
        formats: dict[str, Format],
        track_ids: dict[str, int],
        zero_boottime_ns: int,
        wait_for_picture_ns: int = MAX_LEAD_NS,
        from_boottime_ns: int = 0,
        sound_from_boottime_ns: int = 0,
    ) -> None:
        self._tracks = {
            track: _Track(
                track,
                track_ids[track],
                form.timescale,
                ticks(zero_boottime_ns, form.timescale),
                ticks(
                    max(from_boottime_ns, zero_boottime_ns, sound_from_boottime_ns if track == "audio" else 0),
                    form.timescale,
                ),
            )
            for track, form in formats.items()
        }
        self._begun = "video" not in formats
        self._wait_for_picture_ns = wait_for_picture_ns
        self._pictured = False
        self._waiting: deque[Sample] = deque()
        self._number = 0
        self._size_bytes = 0
        """Of all frames that are in no fragment yet."""
        self._told_ns = 0
        self.corrected = 0
        """Decode times that had to be moved on since the start."""

    @property
    def next_number(self) -> int:
        """Number that the next fragment will have."""
        return self._number

    def put(self, sample: Sample) -> list[Piece]:
        """Take a frame; return the fragments that it completes.

        Raises:
            MuxError: a track that the instance does not have, or a frame or time that MP4 cannot hold.
        """
        track = self._tracks.get(sample.track)
        if track is None:
            raise MuxError(f"a frame of {sample.track}, which this film does not have")
        if sample.track == "video" and not self._pictured:
            if not sample.key or sample.presentation < track.earliest:
                track.discard(sample, "before-zero" if sample.key else "before-key-frame")
                return self.tick(sample.arrival_ns)
            self._pictured = True
            return self._begin(sample) + self._add(track, sample)
        if not self._begun:
            self._waiting.append(sample)
            return self.tick(sample.arrival_ns)
        return self._add(track, sample)

    def tick(self, now_ns: int) -> list[Piece]:
        """Tell the time (boot-time); return fragments that have waited long enough."""
        self._told_ns = max(self._told_ns, now_ns)
        out: list[Piece] = []
        if not self._begun and self._waiting and now_ns - self._waiting[0].arrival_ns >= self._wait_for_picture_ns:
            self._begun = True
            waiting, self._waiting = self._waiting, deque()
            for sample in waiting:
                out += self._add(self._tracks[sample.track], sample)
        for track in self._tracks.values():
            if track.open is not None and now_ns - track.open.since_ns > MAX_WAIT_NS:
                track.close(track.usual(track.open.sample.duration))
        oldest = min((one.pending[0][0].since_ns for one in self._tracks.values() if one.pending), default=None)
        if oldest is not None and now_ns - oldest > MAX_WAIT_NS:
            out += self._emit()
        return out

    def discard(self, track: str, reason: str, count: int = 1) -> None:
        """Count frames that were received but never reached this muxer."""
        if track in self._tracks:
            self._tracks[track].counts.discard(reason, count)

    def cut(self, track: str) -> list[Piece]:
        """Frames of a track are known to be missing now: return what came before them, so that it is told first."""
        one = self._tracks.get(track)
        if one is None or (one.open is None and not one.pending):
            return []
        if one.open is not None:
            one.close(one.usual(one.open.sample.duration))
        return self._emit()

    def finish(self) -> list[Piece]:
        """Return what is left as a last fragment. The account of frames that no fragment can carry ends with it."""
        for track in self._tracks.values():
            if track.open is not None:
                track.close(track.usual(track.open.sample.duration))
        return self._emit()

    def _begin(self, first: Sample) -> list[Piece]:
        """The first key frame is here: sound from it on belongs to the film."""
        self._begun = True
        out: list[Piece] = []
        waiting, self._waiting = self._waiting, deque()
        start_ns = nanoseconds(first.presentation, self._tracks["video"].timescale)
        for sample in waiting:
            track = self._tracks[sample.track]
            if nanoseconds(sample.presentation, track.timescale) < start_ns:
                track.discard(sample, "before-key-frame")
            else:
                out += self._add(track, sample)
        return out

    def _add(self, track: _Track, sample: Sample) -> list[Piece]:
        presentation = sample.presentation - track.zero
        if sample.presentation < track.earliest:
            track.discard(sample, "before-zero")
            return []
        decode = sample.decode - track.zero  # a first one before zero is moved up to it, below
        earliest = track.open.decode + 1 if track.open is not None else track.end
        # Holes are looked for in the camera's own times: ours are moved where they begin before zero.
        interval = None if track.last_decode is None else sample.decode - track.last_decode
        if decode < earliest:
            decode = earliest
            self.corrected += interval is not None and interval <= 0
        track.last_decode = sample.decode
        presentation = max(presentation, decode)
        if presentation - decode > _MAX_COMPOSITION:
            raise MuxError(f"a {track.track} frame is shown {presentation - decode} ticks after it is decoded")
        out = self._follow(track, decode, interval, sample)
        usual = track.usual(sample.duration)
        first = track.pending[0][0].decode if track.pending else decode
        if (
            (sample.track == "video" and sample.key and track.pending)
            or nanoseconds(decode + usual - first, track.timescale) > MAX_FRAGMENT_NS
            or self._size_bytes + len(sample.data) > MAX_FRAGMENT_SIZE_BYTES
        ):
            out += self._emit()
        track.open = _Timed(sample, decode, presentation - decode, max(sample.arrival_ns, self._told_ns))
        self._size_bytes += len(sample.data)
        return out + self.tick(sample.arrival_ns) if sample.arrival_ns >= self._told_ns + _LOOK_NS else out

    def _follow(self, track: _Track, decode: int, interval: int | None, sample: Sample) -> list[Piece]:
        """Close the frame before the one at ``decode``, which the camera says came ``interval`` later; count a hole."""
        if interval is None:
            return []
        usual = track.usual(sample.duration)
        if interval > HOLE_FACTOR * usual:
            track.counts.holes += 1
            track.counts.holes_ns += nanoseconds(interval - usual, track.timescale)
        if nanoseconds(interval, track.timescale) <= MAX_FRAGMENT_NS:
            if interval > 0:
                track.passed(interval)
            if track.open is not None:
                track.close(decode - track.open.decode)
                return []
        track.close(usual)
        return self._emit() if decode != track.end else []

    def _emit(self) -> list[Piece]:
        held = [track for track in self._tracks.values() if track.pending]
        if not held:
            return []
        data = fragment(self._number + 1, [(track.id, track.track, track.pending) for track in held])
        counts: dict[str, Counts] = {}
        for name, track in self._tracks.items():
            one = track.counts.take([timed.sample for timed, _ in track.pending])
            if one is not None:
                counts[name] = one
        video = self._tracks.get("video")
        key = video is None or not self._pictured or bool(video.pending and video.pending[0][0].sample.key)
        arrival_ns = max(track.pending[-1][0].sample.arrival_ns for track in held)
        piece = Piece(self._number, key, counts, data, arrival_ns)
        for track in held:
            track.pending = []
        self._size_bytes = sum(len(track.open.sample.data) for track in self._tracks.values() if track.open is not None)
        self._number += 1
        return [piece]


def fragment(sequence: int, tracks: list[tuple[int, str, list[tuple[_Timed, int]]]]) -> bytes:
    """Return one moof and one mdat (ISO/IEC 14496-12, 8.8).

    Args:
        sequence: Number for ``mfhd``.
        tracks: For each track its id, kind, and its samples with their durations in ticks.
    """
    moof_size = 8 + 16 + sum(_traf_size(kind, len(samples)) for _, kind, samples in tracks)
    parts = [_box(b"mfhd", struct.pack(">II", 0, sequence))]
    offset = moof_size + 8
    for track_id, kind, samples in tracks:
        parts.append(_traf(track_id, kind, samples, offset))
        offset += sum(len(one.sample.data) for one, _ in samples)
    media = [one.sample.data for _, _, samples in tracks for one, _ in samples]
    mdat = struct.pack(">I4s", offset - moof_size, b"mdat")
    return b"".join([_box(b"moof", b"".join(parts)), mdat, *media])


def _traf_size(kind: str, count: int) -> int:
    return 8 + 20 + 20 + 20 + count * (16 if kind == "video" else 8)


def _traf(track_id: int, kind: str, samples: list[tuple[_Timed, int]], offset: int) -> bytes:
    # tfhd: offsets count from the moof (0x020000), one default for the flags of all samples (0x20).
    head = _box(b"tfhd", struct.pack(">III", 0x020020, track_id, _SYNC))
    time = _box(b"tfdt", struct.pack(">IQ", 0x01000000, samples[0][0].decode))
    if kind == "video":
        rows = b"".join(
            struct.pack(
                ">IIII", duration, len(one.sample.data), _SYNC if one.sample.key else _NON_SYNC, one.composition
            )
            for one, duration in samples
        )
        run = _box(b"trun", struct.pack(">IIi", 0x000F01, len(samples), offset) + rows)
    else:
        rows = b"".join(struct.pack(">II", duration, len(one.sample.data)) for one, duration in samples)
        run = _box(b"trun", struct.pack(">IIi", 0x000301, len(samples), offset) + rows)
    return _box(b"traf", head + time + run)


def _box(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(body), kind) + body


def millibels(value: float) -> int:
    """Return an amplitude, 0 … 1, against full scale in 1/100 dB."""
    return max(_SILENCE_MILLIBELS, round(2000 * math.log10(value))) if value > 0 else _SILENCE_MILLIBELS


def _mean_square(levels: list[Level]) -> float:
    return sum(one.mean_square for one in levels) / len(levels)
