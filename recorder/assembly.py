"""From fragments to chunks: a pure state machine, one for each session of a stream.

Rules it keeps:

* A chunk is the init segment and whole fragments in the order in which they came. Joining chunks is joining bytes.
* A chunk ends before the first fragment that a decoder can begin with, once it is :data:`CHUNK_SHORTEST_NS` long;
  where none comes, it ends anyway at :data:`CHUNK_LONGEST_NS` or :data:`CHUNK_LARGEST_BYTES`, and the next one
  *continues* it.
* Each track's media time only runs on. A fragment that goes back is refused: its source is to be replaced.
* A track that is silent for longer than :data:`HOLE_SIGNED_NS`, whose source was replaced, or whose silence has been
  signed while it lasted, leaves a :class:`Hole`, which the caller signs as a gap. A hole lies between two chunks,
  never inside one.
* When the init changes (a track is new, or a camera came back with another codec), a new *part* begins.
* What a source says it received is taken from it; what was written is counted here, from the boxes. Counts of a track
  that has no sample in the running chunk are carried to its next one.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from recorder.errors import RecorderError
from recorder.evidence import boxes
from recorder.evidence.errors import BoxError
from recorder.evidence.inits import join_inits
from recorder.evidence.records import Track
from recorder.evidence.stored import Account
from recorder.source.link import short

if TYPE_CHECKING:
    from recorder.source.link import Counts

CHUNK_SHORTEST_NS: Final = 2_000_000_000
CHUNK_LONGEST_NS: Final = 6_000_000_000
CHUNK_LARGEST_BYTES: Final = 8 << 20
HOLE_SIGNED_NS: Final = 500_000_000
"""A longer hole between two fragments of a track is signed as a gap; shorter ones are counted in the chunk."""
OVERLAP_ALLOWED_NS: Final = 250_000_000
"""A muxer guesses the last sample's duration; the next fragment may correct it by so much."""
MAX_REASONS: Final = 8
"""A chunk names so many reasons for discarded frames; those of further reasons are counted under :data:`OTHER`."""
MAX_REASON: Final = 32
"""Longest reason, in characters: a record has to hold them all."""
OTHER: Final = "other"
MAX_COUNT: Final = 1 << 53
"""Sums of what a source claims stop here."""


CODECS: Final = {"avc1": "h264", "avc3": "h264", "hvc1": "hevc", "hev1": "hevc", "mp4a": "aac"}
"""Sample entry to the short name of the codec."""


class FragmentRefusedError(RecorderError):
    """A source sent a fragment that cannot be part of the recording; it is to be replaced."""


@dataclass(frozen=True, slots=True)
class Begin:
    """Open the next chunk's file and write its init."""

    number: int
    part: int
    init: bytes


@dataclass(frozen=True, slots=True)
class Append:
    """Write one fragment with the account that includes it, then sync, then acknowledge it to its source."""

    source: str
    tracks: tuple[str, ...]
    """What the fragment holds samples of."""
    account: Account
    fragment: bytes


@dataclass(frozen=True, slots=True)
class End:
    """The chunk is complete: finish its file and sign its record."""

    account: Account
    init_sha256: bytes


@dataclass(frozen=True, slots=True)
class Hole:
    """Nothing is recorded of ``track`` between two moments of media time."""

    track: str
    start_ns: int
    """Media time since the session's zero."""
    end_ns: int


Action = Begin | Append | End | Hole


@dataclass(slots=True)
class _Counted:
    """What sources said of one track."""

    received: int = 0
    discarded: dict[str, int] = field(default_factory=dict)
    expected: int | None = None
    holes: int = 0
    holes_ns: int = 0
    arrival_first_ns: int | None = None
    arrival_last_ns: int | None = None
    sensor_first_ns: int | None = None
    sensor_last_ns: int | None = None
    peak_millibels: int | None = None
    rms_millibels: int | None = None

    def add(self, counts: Counts) -> None:
        self.received = _sum(self.received, counts.received)
        for claimed, count in counts.discarded.items():
            reason = short(claimed, MAX_REASON)
            if reason not in self.discarded and len(self.discarded) >= MAX_REASONS:
                reason = OTHER
            self.discarded[reason] = _sum(self.discarded.get(reason, 0), count)
        if counts.expected is not None:
            self.expected = _sum(self.expected or 0, counts.expected)
        self.holes = _sum(self.holes, counts.holes)
        self.holes_ns = _sum(self.holes_ns, counts.holes_ns)
        self.arrival_first_ns = _first(self.arrival_first_ns, counts.arrival_first_ns)
        self.arrival_last_ns = _first(counts.arrival_last_ns, self.arrival_last_ns)
        self.sensor_first_ns = _first(self.sensor_first_ns, counts.sensor_first_ns)
        self.sensor_last_ns = _first(counts.sensor_last_ns, self.sensor_last_ns)
        self.peak_millibels = _louder(self.peak_millibels, counts.peak_millibels)
        self.rms_millibels = _louder(self.rms_millibels, counts.rms_millibels)


@dataclass(slots=True)
class _TrackState:
    """One track of the running chunk."""

    codec: str
    timescale: int
    first_decode: int
    end_decode: int
    counted: _Counted
    written: int = 0

    def track(self) -> Track:
        counted = self.counted
        return Track(
            codec=self.codec,
            timescale=self.timescale,
            first_decode=self.first_decode,
            end_decode=self.end_decode,
            frames_received=counted.received,
            frames_written=self.written,
            frames_discarded=dict(counted.discarded),
            frames_expected=counted.expected,
            holes_count=counted.holes,
            holes_duration_ns=counted.holes_ns,
            arrival_first_boottime_ns=counted.arrival_first_ns,
            arrival_last_boottime_ns=counted.arrival_last_ns,
            sensor_first_boottime_ns=counted.sensor_first_ns,
            sensor_last_boottime_ns=counted.sensor_last_ns,
            peak_millibels=counted.peak_millibels,
            rms_millibels=counted.rms_millibels,
        )


@dataclass(slots=True)
class _Chunk:
    """The running chunk."""

    number: int
    part: int
    init: bytes
    start_ns: int
    size_bytes: int
    tracks: dict[str, _TrackState] = field(default_factory=dict)
    fragments: int = 0
    continues: bool = False
    last_picture_ns: int = 0
    """End of the newest picture; where pictures have stopped, any fragment may begin a chunk."""
    account: Account | None = None


@dataclass(frozen=True, slots=True)
class Position:
    """Where a session stood, from the account of its last chunk: what resuming after a restart needs."""

    next_number: int
    part: int
    init: bytes
    ends_ns: dict[str, int]
    """Per track, media time at which it ends."""
    sources: dict[str, tuple[bytes, int]]
    """Per source, its run and the number of its newest fragment that is on the disk."""


class Assembler:
    """Makes chunks from the fragments of one session. All times are media times in ns since the session's zero."""

    def __init__(self, zero_boottime_ns: int, position: Position | None = None, begin_ns: int = 0) -> None:
        """Begin, or go on with, a session.

        Args:
            zero_boottime_ns: boot-time of media time zero.
            position: where it stood before a restart.
            begin_ns: media time from which each track is to be recorded; what comes before is a pre-event buffer's.
        """
        self._begin_ns = begin_ns
        self._zero_boottime_ns = zero_boottime_ns
        self._inits: dict[str, bytes] = {}
        self._joined: bytes | None = None
        self._tracks: dict[int, boxes.TrackInit] = {}
        self._own: dict[str, dict[int, boxes.TrackInit]] = {}
        """Per source, the tracks of its own init: it delivers no others."""
        self._allowed: dict[str, dict[str, int] | None] = {}
        self._number = position.next_number if position else 0
        self._part = position.part if position else -1
        self._part_init = position.init if position else b""
        self._ends: dict[str, int] = dict(position.ends_ns) if position else {}
        self._instances: dict[str, bytes] = {}
        self._chunk: _Chunk | None = None
        self._expect_hole: set[str] = set(self._ends)
        self._carried: dict[str, _Counted] = {}
        """Counts of tracks that have no sample in the running chunk."""
        self._sources: dict[str, tuple[bytes, int]] = dict(position.sources) if position else {}

    @property
    def chunks(self) -> int:
        """Chunks begun so far in the session."""
        return self._number

    @property
    def sources(self) -> dict[str, tuple[bytes, int]]:
        """Per source, its run and the number of its newest fragment."""
        return dict(self._sources)

    @property
    def ends_ns(self) -> dict[str, int]:
        """Per track that has come, the media time at which it ends so far."""
        return dict(self._ends)

    @property
    def end_ns(self) -> int:
        """Media time at which the recording ends so far."""
        return max(self._ends.values(), default=0)

    def init(self, source: str, instance: bytes, init: bytes, allowed: dict[str, int] | None = None) -> list[Action]:
        """Take a source's init segment: it is a new run of that source.

        Args:
            source: name of the source.
            instance: id of the run.
            init: its init segment.
            allowed: kinds of track that it may deliver, and their track ids; None for any.

        Raises:
            FragmentRefusedError: it is not an init segment of the allowed form.
        """
        actions: list[Action] = []
        try:
            own = boxes.parse_init(init)
            if allowed is not None and any(allowed.get(track.kind) != track_id for track_id, track in own.items()):
                raise FragmentRefusedError(f"{source}: its init segment has tracks that are not its own")
            inits = self._inits | {source: init}
            joined = join_inits([inits[name] for name in sorted(inits)])
            tracks = boxes.parse_init(joined)
        except BoxError as error:
            raise FragmentRefusedError(f"{source}: its init segment is refused: {error}") from error
        if joined != self._joined:
            actions += self._end()
        self._inits, self._joined, self._tracks = inits, joined, tracks
        self._own[source], self._allowed[source] = own, allowed
        kinds = {track.kind for track in own.values()}
        if source in self._instances and self._instances[source] != instance:
            self._expect_hole |= kinds
        self._instances[source] = instance
        return actions

    def fragment(
        self,
        source: str,
        instance: bytes,
        number: int,
        counts: dict[str, Counts],
        fragment: bytes,
        *,
        latest_ns: int | None = None,
    ) -> list[Action]:
        """Take the next fragment of a source and say what is to be done.

        Args:
            source: name of the source.
            instance: id of its run.
            number: of the fragment in the run.
            counts: what the source counted since the fragment before.
            fragment: moof and mdat.
            latest_ns: media time that no fragment can reach yet.

        Raises:
            FragmentRefusedError: it belongs to another run, is malformed, goes back in time, or is from the future.
        """
        if self._joined is None or self._instances.get(source) != instance:
            raise FragmentRefusedError(f"{source}: a fragment of a run whose init segment did not come")
        try:
            runs = boxes.parse_fragment(fragment, self._own[source])
        except BoxError as error:
            raise FragmentRefusedError(f"{source}: a fragment is refused: {error}") from error
        if not runs:
            raise FragmentRefusedError(f"{source}: a fragment without samples")
        actions: list[Action] = []
        times = self._times(source, runs, actions, latest_ns)
        start_ns = min(start for start, _ in times.values())
        if self._chunk is not None and (actions or self._cuts(self._chunk, start_ns, runs)):
            actions += self._end()
        if self._chunk is None:
            actions.append(self._begin(start_ns))
        chunk = self._chunk
        assert chunk is not None  # noqa: S101 - begun above
        allowed = self._allowed[source]
        self._count(chunk, runs, {kind: one for kind, one in counts.items() if allowed is None or kind in allowed})
        for run in runs:
            track = self._tracks[run.track_id]
            if track.kind == "video":
                if chunk.tracks["video"].written == len(run.samples):
                    chunk.continues = not run.samples[0].sync
                chunk.last_picture_ns = times["video"][1]
        for kind, (_, end) in times.items():
            self._ends[kind] = end
            self._expect_hole.discard(kind)
        chunk.fragments += 1
        chunk.size_bytes += len(fragment)
        self._sources[source] = (instance, number)
        chunk.account = self._account(chunk)
        actions.append(Append(source, tuple(times), chunk.account, fragment))
        return actions

    def expect_holes(self, tracks: list[str]) -> None:
        """The silence of these tracks has been signed while it lasts: where they go on, or begin, is its end."""
        self._expect_hole |= set(tracks)

    def finish(self) -> list[Action]:
        """The session ends, or its media must be closed now."""
        return self._end()

    def _times(
        self, source: str, runs: list[boxes.Run], actions: list[Action], latest_ns: int | None
    ) -> dict[str, tuple[int, int]]:
        times: dict[str, tuple[int, int]] = {}
        for run in runs:
            track = self._tracks[run.track_id]
            start = _to_ns(run.first_decode, track.timescale)
            before = self._ends.get(track.kind, self._begin_ns if track.kind in self._expect_hole else None)
            if before is not None:
                if start < before - OVERLAP_ALLOWED_NS:
                    raise FragmentRefusedError(
                        f"{source}: {track.kind} goes back by {(before - start) // 1_000_000} ms"
                    )
                if start - before > HOLE_SIGNED_NS or track.kind in self._expect_hole:
                    actions.append(Hole(track.kind, before, max(start, before)))
            times[track.kind] = start, _to_ns(run.end_decode, track.timescale)
            if latest_ns is not None and times[track.kind][1] > latest_ns:
                raise FragmentRefusedError(f"{source}: {track.kind} of the future")
        return times

    def _cuts(self, chunk: _Chunk, start_ns: int, runs: list[boxes.Run]) -> bool:
        length_ns = start_ns - chunk.start_ns
        if length_ns >= CHUNK_LONGEST_NS or chunk.size_bytes >= CHUNK_LARGEST_BYTES:
            return True
        if length_ns < CHUNK_SHORTEST_NS:
            return False
        video = next((run for run in runs if self._tracks[run.track_id].kind == "video"), None)
        if video is not None:
            return video.samples[0].sync
        return start_ns - max(chunk.last_picture_ns, chunk.start_ns) >= CHUNK_SHORTEST_NS

    def _begin(self, start_ns: int) -> Begin:
        assert self._joined is not None  # noqa: S101 - checked by the caller
        if self._joined != self._part_init:
            self._part += 1
            self._part_init = self._joined
        self._chunk = _Chunk(self._number, self._part, self._joined, start_ns, len(self._joined))
        self._number += 1
        return Begin(self._chunk.number, self._chunk.part, self._joined)

    def _end(self) -> list[Action]:
        chunk, self._chunk = self._chunk, None
        if chunk is None or chunk.account is None:
            return []
        return [End(chunk.account, hashlib.sha256(chunk.init).digest())]

    def _count(self, chunk: _Chunk, runs: list[boxes.Run], counts: dict[str, Counts]) -> None:
        for run in runs:
            track = self._tracks[run.track_id]
            state = chunk.tracks.get(track.kind)
            if state is None:
                state = _TrackState(
                    CODECS.get(track.codec, track.codec),
                    track.timescale,
                    run.first_decode,
                    run.end_decode,
                    self._carried.pop(track.kind, _Counted()),
                )
                chunk.tracks[track.kind] = state
            state.written += len(run.samples)
            state.end_decode = run.end_decode
        for kind, delta in counts.items():
            state = chunk.tracks.get(kind)
            counted = self._carried.setdefault(kind, _Counted()) if state is None else state.counted
            counted.add(delta)

    def _account(self, chunk: _Chunk) -> Account:
        starts = [_to_ns(state.first_decode, state.timescale) for state in chunk.tracks.values()]
        ends = [_to_ns(state.end_decode, state.timescale) for state in chunk.tracks.values()]
        return Account(
            sources=dict(self._sources),
            number=chunk.number,
            part=chunk.part,
            continues=chunk.continues,
            init_size_bytes=len(chunk.init),
            fragments=chunk.fragments,
            start_boottime_ns=self._zero_boottime_ns + min(starts),
            end_boottime_ns=self._zero_boottime_ns + max(ends),
            tracks={kind: state.track() for kind, state in chunk.tracks.items()},
        )


def _to_ns(decode: int, timescale: int) -> int:
    return decode * 1_000_000_000 // timescale


def _sum(first: int, second: int) -> int:
    return min(first + second, MAX_COUNT)


def _first(first: int | None, second: int | None) -> int | None:
    return second if first is None else first


def _louder(first: int | None, second: int | None) -> int | None:
    return second if first is None else first if second is None else max(first, second)
