"""Media accounting: do the files of a session hold what its records say, and does time run on without a hole?"""

from __future__ import annotations

import hashlib
from io import BytesIO
from itertools import pairwise
from typing import TYPE_CHECKING, Final, NamedTuple

from recorder.evidence import boxes, stored
from recorder.evidence.errors import BoxError, StoredFormatError
from recorder.evidence.findings import found
from recorder.evidence.timeline import HOLE_NS, SECOND_NS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from recorder.evidence.findings import Finding
    from recorder.evidence.records import Chunk, FileRecord, Record, Track
    from recorder.evidence.timeline import Piece, Timeline

JITTER_NS: Final = 250_000_000
"""Cameras do not deliver to the tick: the length of a chunk's last frame is an estimate."""
UNSIGNED_HOLE_NS: Final = HOLE_NS + 50_000_000
GAP_EDGE_NS: Final = 1_000_000_000
"""A gap is signed from the last moment known to be recorded to the first one recorded again: to the second."""
MAX_SAMPLES: Final = 4 * boxes.MAX_SAMPLES
"""Most samples of a chunk."""
TIME_NS: Final = 500_000_000
"""How exactly a chunk's boot-times must agree with its media times."""


class Content(NamedTuple):
    """A file as a verifier got it, its digests computed by whoever read it."""

    data: bytes | None
    """The content in clear; None where it is not here or is sealed."""
    content_sha256: bytes | None = None
    stored_sha256: bytes | None = None
    """Digest of the stored form, where that is what was read."""
    sealed: bool = False

    @property
    def here(self) -> bool:
        """Tell whether anything was there to read."""
        return self.content_sha256 is not None or self.stored_sha256 is not None


NOT_HERE: Final = Content(None)


def from_stored(data: bytes) -> Content:
    """Take a stored file apart; both digests are computed, nothing is compared.

    A file that is not of the stored form has no content; its stored digest tells of it.
    """
    digest = hashlib.sha256(data).digest()
    try:
        header, _ = stored.read_header(BytesIO(data).read)
        if header.sealing != stored.SEALING_NONE:
            return Content(None, None, digest, sealed=True)
        content = b"".join(stored.payloads(data))
    except StoredFormatError:
        return Content(b"", hashlib.sha256().digest(), digest)
    return Content(content, hashlib.sha256(content).digest(), digest)


def check_file(record: Record, file: FileRecord, content: Content) -> Iterator[Finding]:
    """Compare a file's digests with its record."""
    if content.stored_sha256 is not None and content.stored_sha256 != file.stored_sha256:
        yield found("stored-altered", record)
    if content.data is not None and (
        content.content_sha256 != file.content_sha256 or len(content.data) != file.content_size_bytes
    ):
        yield found("media-altered", record)


def check_chunk(piece: Piece, content: bytes) -> Iterator[Finding]:
    """Compare a chunk's boxes with its record: init, fragments, samples and times of each track."""
    record, chunk = piece.record, piece.chunk
    init = content[: chunk.init_size_bytes]
    if hashlib.sha256(init).digest() != chunk.init_sha256:
        yield found("init-altered", record, piece.start_ns)
        return
    try:
        tracks = boxes.parse_init(init)
        runs, fragments = _runs(content, chunk.init_size_bytes, tracks)
    except BoxError as error:
        yield found("media-unreadable", record, piece.start_ns, error=error)
        return
    if fragments != chunk.fragments:
        yield found("account-wrong", record, piece.start_ns, what="fragments", signed=chunk.fragments, is_=fragments)
    kinds = {tracks[track_id].kind for track_id in runs}
    if kinds != set(chunk.tracks) or len(kinds) != len(runs):
        yield found(
            "account-wrong", record, piece.start_ns, what="tracks", signed=sorted(chunk.tracks), is_=sorted(kinds)
        )
        return
    for track_id, own in runs.items():
        kind = tracks[track_id].kind
        yield from _track(piece, kind, chunk.tracks[kind], tracks[track_id].timescale, own)
        if kind == "video" and own[0].samples[0].sync == chunk.continues:
            yield found(
                "account-wrong",
                record,
                piece.start_ns,
                what="continues",
                signed=chunk.continues,
                is_=not chunk.continues,
            )


def _runs(content: bytes, start: int, tracks: dict[int, boxes.TrackInit]) -> tuple[dict[int, list[boxes.Run]], int]:
    view: dict[int, list[boxes.Run]] = {}
    begins, fragments, samples = start, 0, 0
    for kind, _, end in boxes.boxes(content, start):
        if kind == b"mdat":
            for run in boxes.parse_fragment(content[begins:end], tracks):
                view.setdefault(run.track_id, []).append(run)
                samples += len(run.samples)
            begins, fragments = end, fragments + 1
            if samples > MAX_SAMPLES:
                raise BoxError(f"a chunk of more than {MAX_SAMPLES} samples")
    if begins != len(content):
        raise BoxError("something stands behind the last fragment")
    return view, fragments


def _track(piece: Piece, kind: str, track: Track, timescale: int, runs: list[boxes.Run]) -> Iterator[Finding]:
    found_values = {
        "timescale": timescale,
        "first_decode": runs[0].first_decode,
        "end_decode": runs[-1].end_decode,
        "frames_written": sum(len(run.samples) for run in runs),
    }
    for name, value in found_values.items():
        if getattr(track, name) != value:
            signed = getattr(track, name)
            yield found("account-wrong", piece.record, piece.start_ns, what=f"{kind}.{name}", signed=signed, is_=value)
    for before, after in pairwise(runs):
        start, end = (one * SECOND_NS // timescale for one in (before.end_decode, after.first_decode))
        if after.first_decode <= before.samples[-1].decode:
            yield found("media-overlap", piece.record, end, track=kind)
        elif end - start > UNSIGNED_HOLE_NS + track.holes_duration_ns:
            yield found("hole-without-gap", piece.record, start, track=kind, seconds=f"{(end - start) / 1e9:.1f}")


class Accountant:
    """Goes through the chunks of a session in order, from their records alone."""

    def __init__(self, timeline: Timeline) -> None:
        self._timeline = timeline
        self._number = 0
        self._part = 0
        self._init: bytes | None = None
        self._media: set[int] = set()
        self._ends: dict[str, tuple[int, Piece]] = {}
        self._counts: dict[str, list[int]] = {}

    def file(self, record: Record, file: FileRecord) -> Iterator[Finding]:
        """Check the number of any file."""
        if file.media in self._media:
            yield found("media-number-repeated", record, media=file.media)
        self._media.add(file.media)

    def chunk(self, piece: Piece) -> Iterator[Finding]:
        """Check the next chunk against the ones before."""
        record, chunk = piece.record, piece.chunk
        if chunk.number != self._number:
            yield found("chunk-number", record, piece.start_ns, expected=self._number, number=chunk.number)
        self._number = chunk.number + 1
        yield from self._parts(piece, chunk)
        yield from self._boottimes(piece, chunk)
        for kind, track in chunk.tracks.items():
            start = track.first_decode * SECOND_NS // track.timescale
            if kind in self._ends:
                yield from self._runs_on(piece, kind, track, start)
            self._ends[kind] = track.end_decode * SECOND_NS // track.timescale, piece
            counts = self._counts.setdefault(kind, [0, 0])
            counts[0] += track.frames_received
            counts[1] += track.frames_written + sum(track.frames_discarded.values())

    def _parts(self, piece: Piece, chunk: Chunk) -> Iterator[Finding]:
        if chunk.part not in (self._part, self._part + 1) or (self._init is None and chunk.part != 0):
            yield found("part-wrong", piece.record, piece.start_ns)
        elif chunk.part == self._part and self._init not in (None, chunk.init_sha256):
            yield found("init-changed", piece.record, piece.start_ns)
        self._part, self._init = chunk.part, chunk.init_sha256

    def _boottimes(self, piece: Piece, chunk: Chunk) -> Iterator[Finding]:
        length = piece.end_ns - piece.start_ns
        wrong = abs(chunk.end_boottime_ns - chunk.start_boottime_ns - length) > TIME_NS
        opening = self._timeline.opening
        body = self._timeline.open_body
        if body is not None and opening is not None and opening.boot == piece.boot:
            wrong = wrong or abs(chunk.start_boottime_ns - body.zero_boottime_ns - piece.start_ns) > TIME_NS
        if wrong:
            yield found("time-wrong", piece.record, piece.start_ns)

    def _runs_on(self, piece: Piece, kind: str, track: Track, start: int) -> Iterator[Finding]:
        end, before = self._ends[kind]
        if end - start > JITTER_NS:
            yield found("media-overlap", piece.record, start, track=kind)
        hole = start - end
        disclosed = UNSIGNED_HOLE_NS + track.holes_duration_ns + before.chunk.tracks[kind].holes_duration_ns
        if hole > disclosed and not self._covered(kind, end, start):
            yield found("hole-without-gap", piece.record, end, track=kind, seconds=f"{hole / 1e9:.1f}")

    def _covered(self, kind: str, start: int, end: int) -> bool:
        """Tell whether signed gaps of the track cover a hole, to the second at each edge."""
        at = start
        for gap in sorted(self._timeline.interruptions, key=lambda one: one.start_ns):
            if kind in gap.tracks and gap.start_ns <= at + GAP_EDGE_NS:
                at = end if gap.end_ns is None else max(at, gap.end_ns)
        return at + GAP_EDGE_NS >= end

    def finish(self) -> Iterator[Finding]:
        """Check what only the end of the session shows."""
        for kind, (received, accounted) in self._counts.items():
            if received != accounted and self._timeline.closing is not None:
                last = self._timeline.pieces[-1].record
                yield found("frames-unaccounted", last, track=kind, received=received, accounted=accounted)
        close = self._timeline.close_body
        if close is None or not self._timeline.pieces:
            return
        latest = max(end for end, _ in self._ends.values())
        for kind, (end, piece) in self._ends.items():
            if latest - end > 5 * SECOND_NS and not self._covered(kind, end, latest):
                seconds = f"{(latest - end) / 1e9:.1f}"
                yield found("hole-without-gap", piece.record, end, track=kind, seconds=seconds)
