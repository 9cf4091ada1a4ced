"""One session as its records tell it: what follows what, in media time and in true time.

*Media time* is counted in nanoseconds from the session's zero; it runs on through gaps. True time is the device's own
clock, a claim whose quality each record names.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field, replace
from itertools import accumulate
from typing import TYPE_CHECKING, Final

from recorder.evidence.records import WITH_FILE, Chunk, Gap, Marker, Record, SessionClose, SessionOpen

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from recorder.evidence.statements import Attestation, Withholding

SECOND_NS: Final = 10**9
HOLE_NS: Final = 500_000_000
"""A longer time without samples is signed as a gap; shorter ones are counted in the chunk's record."""


@dataclass(frozen=True)
class Piece:
    """A chunk of the session with its place in media time."""

    record: Record
    chunk: Chunk
    start_ns: int
    end_ns: int
    boot: bytes
    """Kernel boot in which it was recorded; its record can be of a later one."""
    utc_offset_ns: int
    """UTC minus boot-time of the device's clock in that boot."""
    clock: str
    """Quality of that clock; ``unset`` also where no record of that boot tells it."""
    absent: str | None = None
    """``withheld`` or ``missing`` when its media is lawfully not given, or had not reached the store."""

    def media_ns(self, boottime_ns: int) -> int:
        """Return the media time of a boot-time, in the boot that this chunk was recorded in."""
        return self.start_ns + boottime_ns - self.chunk.start_boottime_ns

    def utc_ns(self, media_ns: int) -> int:
        """Return the device clock's reading at a media time near this chunk."""
        return self.utc_offset_ns + self.chunk.start_boottime_ns + media_ns - self.start_ns


@dataclass(frozen=True)
class Interruption:
    """A signed gap with its place in media time."""

    cause: str
    tracks: tuple[str, ...]
    start_ns: int
    end_ns: int | None
    """None while no record says that it ended."""
    length_ns: int | None
    record: Record


@dataclass(frozen=True)
class Mark:
    """A marker with its place in media time."""

    name: str
    at_ns: int
    record: Record


@dataclass(frozen=True)
class Timeline:
    """One session."""

    session: bytes | None
    records: tuple[Record, ...]
    """The session's records, in the order of their sequences as they came."""
    opening: Record | None = None
    closing: Record | None = None
    pieces: tuple[Piece, ...] = ()
    interruptions: tuple[Interruption, ...] = ()
    marks: tuple[Mark, ...] = ()
    files: tuple[Record, ...] = ()
    """All records of the session that bring a file, chunks included."""
    withheld: dict[int, str] = field(default_factory=dict)
    """Sequence to ground."""
    missing: frozenset[int] = frozenset()
    """Sequences whose file, the store says, has not arrived."""

    @property
    def open_body(self) -> SessionOpen | None:
        """The body of session-open."""
        body = self.opening.body if self.opening else None
        return body if isinstance(body, SessionOpen) else None

    @property
    def close_body(self) -> SessionClose | None:
        """The body of session-close."""
        body = self.closing.body if self.closing else None
        return body if isinstance(body, SessionClose) else None


def span_ns(chunk: Chunk) -> tuple[int, int]:
    """Return when a chunk begins and ends, in media time: its earliest first and latest last sample."""
    starts = [track.first_decode * SECOND_NS // track.timescale for track in chunk.tracks.values()]
    ends = [track.end_decode * SECOND_NS // track.timescale for track in chunk.tracks.values()]
    return min(starts), max(ends)


def collect(
    records: Iterable[Record],
    attestation: Attestation | None = None,
    withholding: Withholding | None = None,
    session: bytes | None = None,
) -> Timeline:
    """Sort the records of one session out; judges nothing.

    Args:
        records: records of one log, in order.
        attestation: the store's, which names files that had not arrived.
        withholding: the store's statement about parts that are lawfully not given.
        session: which session; by default the first that is named.
    """
    every = tuple(records)
    if session is None:
        session = next((record.session for record in every if record.session is not None), None)
    own = tuple(record for record in every if session is not None and record.session == session)
    files = tuple(record for record in own if record.kind in WITH_FILE and record.file is not None)
    withheld: dict[int, str] = {}
    if withholding is not None:
        covers = _covering(withholding.sequences)
        withheld = {record.sequence: withholding.ground for record in files if covers(record.sequence)}
    missing = frozenset(attestation.media_missing) if attestation is not None else frozenset()
    clocks = {record.boot: record for record in reversed(own)}
    pieces = tuple(_piece(record, clocks, withheld, missing) for record in files if isinstance(record.body, Chunk))
    places = _Places(own, pieces)
    return Timeline(
        session=session,
        records=own,
        opening=next((record for record in own if record.kind == "session-open"), None),
        closing=next((record for record in own if record.kind == "session-close"), None),
        pieces=pieces,
        interruptions=_interruptions(own, places),
        marks=tuple(
            Mark(record.body.marker, places.media_ns(at.body.at_boottime_ns, at), record)
            for record, at in marked(own)
            if isinstance(record.body, Marker) and isinstance(at.body, Marker)
        ),
        files=files,
        withheld=withheld,
        missing=missing,
    )


def marked(own: Iterable[Record]) -> Iterator[tuple[Record, Record]]:
    """Return each marker with the one whose moment it is at: itself, or the earlier one whose kind it tells."""
    earlier: dict[int, Record] = {}
    for record in own:
        if isinstance(record.body, Marker):
            classifies = record.body.classifies
            yield record, record if classifies is None else earlier.get(classifies, record)
            earlier[record.sequence] = record


def spans(timeline: Timeline) -> dict[int, tuple[int, int]]:
    """Return where each record of a session stands in its film, by sequence: from when to when in media time.

    A chunk covers its media, a gap its length; anything else is the moment at which the device made it.
    """
    if not timeline.pieces:
        return {}
    places = _Places(timeline.records, timeline.pieces)
    first, last = timeline.pieces[0].start_ns, timeline.pieces[-1].end_ns
    found: dict[int, tuple[int, int]] = {}
    for record in timeline.records:
        at = min(max(places.media_ns(record.boottime_ns, record), first), last)
        found[record.sequence] = at, at
    for gap in timeline.interruptions:
        found[gap.record.sequence] = gap.start_ns, last if gap.end_ns is None else gap.end_ns
    for piece in timeline.pieces:
        found[piece.record.sequence] = piece.start_ns, piece.end_ns
    return found


def _covering(ranges: Iterable[tuple[int, int]]) -> Callable[[int], bool]:
    """Return what tells whether a number lies in one of the ranges; there may be a million of each."""
    firsts: list[int] = []
    lasts: list[int] = []
    for first, last in sorted(ranges):
        firsts.append(first)
        lasts.append(max(last, lasts[-1]) if lasts else last)

    def covers(number: int) -> bool:
        place = bisect_right(firsts, number)
        return place > 0 and number <= lasts[place - 1]

    return covers


def _piece(record: Record, clocks: dict[bytes, Record], withheld: dict[int, str], missing: frozenset[int]) -> Piece:
    assert isinstance(record.body, Chunk)  # noqa: S101 - the caller has just looked
    start, end = span_ns(record.body)
    absent = "withheld" if record.sequence in withheld else "missing" if record.sequence in missing else None
    boot = record.body.media_boot or record.boot
    told = record if boot == record.boot else clocks.get(boot)
    offset, clock = (told.utc_ns - told.boottime_ns, told.clock) if told is not None else (0, "unset")
    return Piece(record, record.body, start, end, boot, offset, clock, absent)


class _Places:
    """Finds the chunks around a record, without going through all of them each time."""

    def __init__(self, own: tuple[Record, ...], pieces: tuple[Piece, ...]) -> None:
        self._opening = own[0] if own else None
        self._by_boot: dict[bytes, list[Piece]] = {}
        ordered = sorted(pieces, key=_sequence)
        for piece in ordered:
            self._by_boot.setdefault(piece.boot, []).append(piece)
        self._sequences = [piece.record.sequence for piece in ordered]
        self._ends = list(accumulate((piece.end_ns for piece in ordered), max))
        self._starts = list(accumulate((piece.start_ns for piece in reversed(ordered)), min))[::-1]
        self._last_ns = pieces[-1].end_ns if pieces else 0

    def media_ns(self, boottime_ns: int, record: Record) -> int:
        """Media time of a boot-time of ``record``'s boot: by a chunk of that boot, else by the session's zero."""
        found = self.in_boot(boottime_ns, record.boot, record)
        return self._last_ns if found is None else found

    def in_boot(self, boottime_ns: int, boot: bytes, record: Record) -> int | None:
        """Media time of a boot-time of any boot, by its chunk nearest to ``record``; None where nothing tells it."""
        near = self._by_boot.get(boot, [])
        if near:
            place = bisect_left(near, record.sequence, key=_sequence)
            best = min(near[max(place - 1, 0) : place + 1], key=lambda piece: abs(_sequence(piece) - record.sequence))
            return best.media_ns(boottime_ns)
        opening = self._opening
        if opening is not None and isinstance(opening.body, SessionOpen) and opening.boot == boot:
            return boottime_ns - opening.body.zero_boottime_ns
        return None

    def around(self, record: Record) -> tuple[int, int | None]:
        """Latest end of the chunks before a record and earliest start of those behind it, in media time."""
        before = bisect_left(self._sequences, record.sequence)
        after = bisect_right(self._sequences, record.sequence)
        return (
            max(self._ends[before - 1], 0) if before else 0,
            self._starts[after] if after < len(self._starts) else None,
        )


def _sequence(piece: Piece) -> int:
    return piece.record.sequence


def _interruptions(own: tuple[Record, ...], places: _Places) -> tuple[Interruption, ...]:
    found: list[Interruption] = []
    for record in own:
        gap = record.body
        if not isinstance(gap, Gap):
            continue
        tracks = tuple(sorted(gap.tracks))
        if gap.start_boot is not None and gap.start_boot != record.boot:
            # Boot-times of two boots cannot be compared: each end is found by the chunks of its own boot. The other
            # track may have gone on already, so where there is none, the chunks around the record bound the gap.
            before, after = places.around(record)
            start = places.in_boot(gap.start_boottime_ns, gap.start_boot, record)
            start = before if start is None else start
            end = None
            if gap.end_boottime_ns is not None:
                end = places.in_boot(gap.end_boottime_ns, record.boot, record)
                end = after if end is None else end
        else:
            start = places.media_ns(gap.start_boottime_ns, record)
            end = places.media_ns(gap.end_boottime_ns, record) if gap.end_boottime_ns is not None else None
        whole = end - start if end is not None else None
        if gap.length_min_ns is not None and gap.length_min_ns == gap.length_max_ns:
            whole = gap.length_min_ns
        elif gap.start_boot is not None and gap.start_boot != record.boot:
            whole = None
        new = Interruption(gap.cause, tracks, start, end, whole, record)
        if gap.state == "ends":
            found = _without_begun(found, set(tracks))
        found.append(new)
    return tuple(found)


def _without_begun(found: list[Interruption], ended: set[str]) -> list[Interruption]:
    """Drop what an "ends" completes: it tells the whole gap again, so one gap stays one entry."""
    kept: list[Interruption] = []
    for gap in found:
        tracks = tuple(track for track in gap.tracks if gap.end_ns is not None or track not in ended)
        if tracks:
            kept.append(replace(gap, tracks=tracks))
    return kept
