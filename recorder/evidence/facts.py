"""What a session's records and its opened details say, by who says so and when. Judges nothing. Pure.

What was said after the close stands beside what was said before, never in its place (R6): each claim keeps its author,
its time and its basis.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from recorder.evidence import details as details_format
from recorder.evidence.details import DetailsError
from recorder.evidence.records import (
    Announcement,
    Clock,
    Details,
    Fault,
    Marker,
    NotRecorded,
    Photo,
)
from recorder.evidence.timeline import marked

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from recorder.evidence.details import Officer, Person, Position, SessionDetails, TextRecord
    from recorder.evidence.records import Record
    from recorder.evidence.timeline import Piece, Timeline

DEVICE: Final = "device"
DECLARED: Final = "declared"
LATER: Final = "later"
REVIEWED: Final = "reviewed"
NONE: Final = "none"
STORE: Final = "store"
BASES: Final = (DEVICE, STORE, DECLARED, LATER, REVIEWED, NONE)
"""Who stands behind a statement; ``basis.<id>`` in the catalogue."""

SILENT_MILLIBELS: Final = -6000
"""Sound whose loudest sample stays below is silence: a live microphone in a quiet room is louder."""
SILENT_NS: Final = 10 * 10**9
"""Silence for so long is told."""


class Moment(NamedTuple):
    """When something was said or happened."""

    media_ns: int | None
    """Its place in the recording; None where it was said after the end."""
    utc_ns: int | None
    """None where no clock of that boot was ever set."""
    sequence: int


class Claim(NamedTuple):
    """One thing that somebody said of the session."""

    value: str
    basis: str
    moment: Moment


class Statement(NamedTuple):
    """One details file."""

    record: Record
    basis: str
    role: str
    """Who said it: ``officer``, ``code``, ``technician``, ``centre``."""
    moment: Moment
    details: SessionDetails | None
    """None where its content is not at hand."""
    absent: str | None
    """Why not: ``withheld``, ``missing``, ``sealed`` or ``unreadable``."""


class Spoken(NamedTuple):
    """An announcement."""

    text: str
    heard: str
    moment: Moment
    delay_ns: int | None
    level_millibels: int | None


class Marked(NamedTuple):
    """A marker."""

    name: str
    basis: str
    moment: Moment


class Interval(NamedTuple):
    """Something that was not recorded, and why."""

    reason: str
    scope: str
    lawful: bool
    moment: Moment
    start_ns: int | None
    """Media time; None where it concerns the whole act, or no time was given."""
    end_ns: int | None
    length_ns: int | None
    later: bool
    """Signed after the recording had ended."""

    @property
    def open(self) -> bool:
        """An interval that nothing ended."""
        return self.scope == "interval" and self.end_ns is None


class Silence(NamedTuple):
    """A stretch in which the microphone delivered nothing that could be heard."""

    start_ns: int
    end_ns: int


class Impairment(NamedTuple):
    """A stretch in which picture or sound were recorded and show little: covered, dark, frozen, silent."""

    code: str
    moment: Moment
    start_ns: int
    """Media time."""
    end_ns: int
    """Where no record tells the end: the next gap, or the end of the recording."""
    length_ns: int
    """Of all its occurrences together."""
    times: int


class Trouble(NamedTuple):
    """A fault of the device, signed within the session."""

    code: str
    moment: Moment
    times: int


@dataclass(frozen=True)
class Facts:
    """One session."""

    line: Timeline
    statements: tuple[Statement, ...]
    matters: tuple[Claim, ...]
    """Ids of the closed list, the first one first."""
    announcements: tuple[Spoken, ...]
    markers: tuple[Marked, ...]
    intervals: tuple[Interval, ...]
    silences: tuple[Silence, ...]
    impairments: tuple[Impairment, ...]
    troubles: tuple[Trouble, ...]
    steps: tuple[tuple[Moment, int], ...]
    """Moves of the clock: when, and by how many nanoseconds."""
    photos: tuple[Moment, ...]
    start_utc_ns: int | None
    end_utc_ns: int | None
    """The end of the recording by the device's clock, None where that was never set."""

    @property
    def sealed(self) -> bool:
        """Some details are not at hand, so that what is absent may be in them."""
        return any(one.details is None for one in self.statements)

    @property
    def matter(self) -> str | None:
        """What the session is of."""
        return self.matters[0].value if self.matters else None

    @property
    def mode(self) -> str:
        """``video``, ``audio``, ``photo`` or ``continuous``."""
        return self.line.open_body.mode if self.line.open_body else "video"

    @property
    def accidental(self) -> bool:
        """It was started by mistake, as its end states."""
        return self.line.close_body is not None and self.line.close_body.reason == "accidental"

    @property
    def only_stated(self) -> bool:
        """Nothing of the act was recorded, and it says so, with a reason."""
        return not self.line.pieces and not self.photos and any(one.scope == "act" for one in self.intervals)

    def said(self, field: str) -> list[Claim]:
        """Return what was said of ``case``, ``unit``, ``place`` or ``matter_note``; each wording once."""
        found = [
            Claim(value, one.basis, one.moment)
            for one in self.statements
            if one.details is not None and (value := getattr(one.details, field)) is not None
        ]
        return _once(found)

    def people(self) -> list[tuple[Person, Claim]]:
        """Return who is said to have been there, with roles."""
        found: dict[tuple[str, str], tuple[Person, Claim]] = {}
        for one in self.statements:
            for person in one.details.people if one.details else []:
                found.setdefault((person.role, person.name), (person, Claim(person.name, one.basis, one.moment)))
        return list(found.values())

    def officers(self) -> list[tuple[Officer, Claim]]:
        """Return the officers, by the numbers of their certificates."""
        found: dict[str, tuple[Officer, Claim]] = {}
        for one in self.statements:
            for officer in one.details.officers if one.details else []:
                known = found.setdefault(
                    officer.certificate, (officer, Claim(officer.certificate, one.basis, one.moment))
                )
                if known[0].name is None:  # a task tells the number alone, the officer's own card the name
                    found[officer.certificate] = officer, known[1]
        return list(found.values())

    def officers_counted(self) -> Claim | None:
        """Return how many officers the records name: known also where the details are not at hand."""
        counted: list[tuple[int, Claim]] = []
        named: set[str] = set()
        for one in self.statements:
            body = one.record.body
            named |= {officer.certificate for officer in one.details.officers} if one.details else set()
            stated = body.officers_count if isinstance(body, Details) and one.details is None else None
            number = max(stated or 0, len(named))
            if number and (not counted or number > counted[-1][0]):
                counted.append((number, Claim(str(number), one.basis, one.moment)))
        return counted[-1][1] if counted else None

    def text_records(self) -> list[tuple[TextRecord, Claim]]:
        """Return the written records that it accompanies."""
        return [
            (one.details.text_record, Claim(one.details.text_record.number, one.basis, one.moment))
            for one in self.statements
            if one.details is not None and one.details.text_record is not None
        ]

    def positions(self) -> list[tuple[Position, Claim]]:
        """Return positions by satellite."""
        return [
            (
                one.details.position,
                Claim("", DEVICE if one.role == one.details.author == DEVICE else one.basis, one.moment),
            )
            for one in self.statements
            if one.details is not None and one.details.position is not None
        ]

    def marked(self, *names: str) -> list[Marked]:
        """Return the markers of these kinds; a kind takes in its finer ones (``rights`` also ``rights.oral``)."""
        return [
            one for one in self.markers if any(one.name == name or one.name.startswith(name + ".") for name in names)
        ]


def _once(claims: Iterable[Claim]) -> list[Claim]:
    found: dict[str, Claim] = {}
    for claim in claims:
        found.setdefault(claim.value, claim)
    return list(found.values())


class _Clockwork:
    """Media time and true time of any boot-time that a record names."""

    def __init__(self, line: Timeline) -> None:
        self._line = line
        self._pieces: dict[bytes, list[Piece]] = {}
        for piece in line.pieces:
            self._pieces.setdefault(piece.boot, []).append(piece)
        self._offsets: dict[bytes, int] = {}
        for record in line.records:
            if record.clock != "unset":
                self._offsets.setdefault(record.boot, record.utc_ns - record.boottime_ns)
            if isinstance(record.body, Clock) and record.body.source != "step":
                self._offsets.setdefault(record.boot, record.body.bound_utc_ns - record.body.bound_boottime_ns)

    def media_ns(self, record: Record, boottime_ns: int) -> int | None:
        """Return the place in the recording, None outside of it."""
        near = self._pieces.get(record.boot)
        if near:
            place = bisect_left(near, record.sequence, key=lambda piece: piece.record.sequence)
            media = near[min(place, len(near) - 1)].media_ns(boottime_ns)
            return max(media, 0)
        body, opening = self._line.open_body, self._line.opening
        if body is not None and opening is not None and opening.boot == record.boot:
            return max(boottime_ns - body.zero_boottime_ns, 0)
        return None

    def utc_ns(self, record: Record, boottime_ns: int) -> int | None:
        if record.clock != "unset":
            return record.utc_ns + boottime_ns - record.boottime_ns
        offset = self._offsets.get(record.boot)
        return None if offset is None else offset + boottime_ns

    def end_utc_ns(self) -> int | None:
        """Return the end of the last sample; that of a session that recovery closed is of an earlier boot."""
        line = self._line
        if line.pieces:
            offset = self._offsets.get(line.pieces[-1].boot)
            return None if offset is None else offset + line.pieces[-1].chunk.end_boottime_ns
        close = line.close_body
        return self.utc_ns(line.closing, close.end_boottime_ns) if close and line.closing else None

    def moment(self, record: Record, boottime_ns: int | None = None) -> Moment:
        """Return when a record speaks of; by default when it was made."""
        boottime_ns = record.boottime_ns if boottime_ns is None else boottime_ns
        closing = self._line.closing
        media = self.media_ns(record, boottime_ns)
        behind = closing is not None and record.sequence > closing.sequence
        if behind and (media is None or not self._line.pieces or media > self._line.pieces[-1].end_ns):
            media = None
        return Moment(media, self.utc_ns(record, boottime_ns), record.sequence)


def collect(line: Timeline, contents: Mapping[int, bytes | None]) -> Facts:
    """Sort out what is said of a session.

    Args:
        line: its records.
        contents: content in clear of its details files by record sequence; None where the file is sealed, absent
            where it is not here.
    """
    clock = _Clockwork(line)
    later = line.closing.sequence if line.closing else None
    statements = tuple(
        _statement(record, line, clock, contents) for record in line.records if isinstance(record.body, Details)
    )
    opening = line.open_body
    matters: list[Claim] = []
    if opening is not None and opening.matter is not None and line.opening is not None:
        matters.append(Claim(opening.matter, DECLARED, clock.moment(line.opening, opening.zero_boottime_ns)))
    matters += [
        Claim(one.details.matter, one.basis, one.moment)
        for one in statements
        if one.details is not None and one.details.matter is not None
    ]
    own = line.records
    return Facts(
        line=line,
        statements=statements,
        matters=tuple(_once(matters)),
        announcements=tuple(
            Spoken(
                record.body.text,
                record.body.heard,
                clock.moment(record, record.body.spoken_boottime_ns),
                record.body.delay_ns,
                record.body.level_millibels,
            )
            for record in own
            if isinstance(record.body, Announcement)
        ),
        markers=tuple(
            Marked(
                record.body.marker,
                LATER if later is not None and record.sequence > later else _basis(record.body.basis),
                clock.moment(at, at.body.at_boottime_ns),
            )
            for record, at in marked(own)
            if isinstance(record.body, Marker) and isinstance(at.body, Marker)
        ),
        intervals=_intervals(line, clock),
        silences=_silences(line.pieces),
        impairments=_impairments(line, clock),
        troubles=tuple(
            Trouble(record.body.code, clock.moment(record), record.body.count)
            for record in own
            if isinstance(record.body, Fault) and record.body.start_boottime_ns is None
        ),
        steps=tuple(
            (clock.moment(record), record.body.step_ns)
            for record in own
            if isinstance(record.body, Clock) and record.body.step_ns
        ),
        photos=tuple(
            clock.moment(record, record.body.taken_boottime_ns) for record in own if isinstance(record.body, Photo)
        ),
        start_utc_ns=clock.utc_ns(line.opening, opening.zero_boottime_ns) if opening and line.opening else None,
        end_utc_ns=clock.end_utc_ns(),
    )


def _basis(stated: str) -> str:
    return stated if stated in (DEVICE, DECLARED, LATER) else DECLARED


def _statement(record: Record, line: Timeline, clock: _Clockwork, contents: Mapping[int, bytes | None]) -> Statement:
    body = record.body
    assert isinstance(body, Details)  # noqa: S101 - the caller has just looked
    behind = line.closing is not None and record.sequence > line.closing.sequence
    basis = LATER if behind or body.when == "after" else DECLARED
    moment = clock.moment(record)
    found: SessionDetails | None = None
    absent: str | None = None
    if record.sequence in line.withheld:
        absent = "withheld"
    elif record.sequence not in contents:
        absent = "missing"
    else:
        content = contents[record.sequence]
        if content is None:
            absent = "sealed"
        elif hashlib.sha256(content).digest() != body.content_sha256:
            absent = "unreadable"
        else:
            try:
                found = details_format.decode(content)
            except DetailsError:
                absent = "unreadable"
    return Statement(record, basis, body.author, moment, found, absent)


def _intervals(line: Timeline, clock: _Clockwork) -> tuple[Interval, ...]:
    """Return what was not recorded; the record that ends an interval tells the whole of it again."""
    found: dict[tuple[str, str, int | None, bytes], Interval] = {}
    for record in line.records:
        body = record.body
        if not isinstance(body, NotRecorded):
            continue
        start, end = body.start_boottime_ns, body.end_boottime_ns
        # An interval is named by its reason and its start; what has no start stands for itself.
        key = (body.reason, body.scope, start if start is not None else -record.sequence, record.boot)
        found[key] = Interval(
            body.reason,
            body.scope,
            body.lawful,
            clock.moment(record, start),
            clock.media_ns(record, start) if start is not None else None,
            clock.media_ns(record, end) if end is not None else None,
            end - start if start is not None and end is not None and end >= start else None,
            line.closing is not None and record.sequence > line.closing.sequence,
        )
    return tuple(found.values())


def _impairments(line: Timeline, clock: _Clockwork) -> tuple[Impairment, ...]:
    """Return what lasted; the record of its end tells the whole of it again."""
    found: dict[tuple[str, int, bytes], Impairment] = {}
    for record in line.records:
        body = record.body
        if not isinstance(body, Fault) or body.start_boottime_ns is None:
            continue
        start_ns = clock.media_ns(record, body.start_boottime_ns)
        if start_ns is None:
            continue
        end_ns = clock.media_ns(record, body.end_boottime_ns) if body.end_boottime_ns is not None else None
        if end_ns is None:
            stops = [gap.start_ns for gap in line.interruptions if gap.start_ns > start_ns]
            end_ns = min([*stops, line.pieces[-1].end_ns]) if line.pieces else start_ns
        end_ns = max(start_ns, end_ns)
        length_ns = end_ns - start_ns if body.length_ns is None else min(body.length_ns, end_ns - start_ns)
        moment = clock.moment(record, body.start_boottime_ns)
        key = (body.code, body.start_boottime_ns, record.boot)
        found[key] = Impairment(body.code, moment, start_ns, end_ns, length_ns, body.count)
    return tuple(found.values())


def _silences(pieces: Iterable[Piece]) -> tuple[Silence, ...]:
    found: list[Silence] = []
    for piece in pieces:
        sound = piece.chunk.tracks.get("audio")
        if sound is None or sound.peak_millibels is None or sound.peak_millibels > SILENT_MILLIBELS:
            continue
        if found and piece.start_ns - found[-1].end_ns < 10**9:
            found[-1] = Silence(found[-1].start_ns, piece.end_ns)
        else:
            found.append(Silence(piece.start_ns, piece.end_ns))
    return tuple(one for one in found if one.end_ns - one.start_ns >= SILENT_NS)
