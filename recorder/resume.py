"""After a crash: what a session that was not closed is to become. Pure, but for :func:`position`, which reads a file.

The same session goes on when only the process died, or when the machine was off for a length that is known and short;
otherwise recovery closes it as interrupted, so that no device wakes up on a charger and records a bedroom.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from recorder.assembly import Assembler, Position
from recorder.clock import UNSET
from recorder.evidence import stored
from recorder.evidence.errors import StoredFormatError
from recorder.evidence.records import Chunk, NotRecorded, SessionOpen
from recorder.gaps import GapKeeper
from recorder.opened import Recovered, Session

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from recorder.clock import Instant
    from recorder.evidence.records import Record
    from recorder.spool.spool import OpenSession

OFF_LONGEST_NS: Final = 600_000_000_000
"""A machine that was off for longer does not go on with the session by itself."""
OFF_UNCERTAINTY_NS: Final = 1_000_000_000
"""Two readings of a synchronised clock, before and after a power loss."""


class Past(NamedTuple):
    """What the log says of the session before the crash."""

    boot: bytes
    """Kernel boot id in which its newest media were recorded."""
    zero_boottime_ns: int
    """Media time zero on that boot's clock."""
    ends_ns: dict[str, int]
    """Per track, the media time at which it ends."""
    number: int
    """Chunks begun so far."""
    part: int
    end_utc_ns: int | None
    """UTC at the end of its media; None where the clock was unset."""

    @property
    def end_ns(self) -> int:
        """Media time at which the recording ends."""
        return max(self.ends_ns.values(), default=0)


class Resumption(NamedTuple):
    """How the session goes on."""

    zero_boottime_ns: int
    off_ns: int | None
    """How long the machine was off, about; None where only the process died."""


def past(opened: Record, before: Iterable[Record]) -> Past:
    """Gather what is known of a session.

    Args:
        opened: its session-open.
        before: its newest records, newest first.
    """
    body = opened.body
    assert isinstance(body, SessionOpen)  # noqa: S101 - the caller looked it up by its kind
    ends: dict[str, int] = {}
    newest: tuple[Record, Chunk] | None = None
    reference: Record = opened
    for record in before:
        if isinstance(record.body, Chunk):
            newest = newest or (record, record.body)
            for kind, track in record.body.tracks.items():
                ends.setdefault(kind, track.end_decode * 1_000_000_000 // track.timescale)
    if newest is None:
        return Past(opened.boot, body.zero_boottime_ns, {}, 0, -1, _utc(opened, body.zero_boottime_ns))
    record, chunk = newest
    boot = chunk.media_boot or record.boot
    first_ns = min(track.first_decode * 1_000_000_000 // track.timescale for track in chunk.tracks.values())
    reference = next((one for one in before if one.boot == boot), opened)
    return Past(
        boot,
        chunk.start_boottime_ns - first_ns,
        ends,
        chunk.number + 1,
        chunk.part,
        _utc(reference, chunk.end_boottime_ns) if reference.boot == boot else None,
    )


def decide(known: Past, now: Instant) -> Resumption | None:
    """Return how the session goes on, or None when it is to be closed as interrupted."""
    if known.boot == now.boot:
        return Resumption(known.zero_boottime_ns, None)
    if known.end_utc_ns is None or now.quality == UNSET:
        return None
    off_ns = now.utc_ns - known.end_utc_ns
    if not 0 <= off_ns <= OFF_LONGEST_NS:
        return None
    return Resumption(now.boottime_ns - known.end_ns - off_ns, off_ns)


def open_interval(before: Iterable[Record], now: Instant) -> tuple[str, int] | None:
    """Return reason and beginning of the interval of unsuitable content in which a session was, None for none.

    Its beginning is on this boot's clock; before this boot nobody was there to end it, so it begins with it.
    """
    for record in before:
        body = record.body
        if isinstance(body, NotRecorded) and body.scope == "interval":
            if body.end_boottime_ns is not None:
                return None
            began_ns = body.start_boottime_ns if record.boot == now.boot else None
            return body.reason, now.boottime_ns if began_ns is None else began_ns
    return None


def position(known: Past, chunk_path: Path | None) -> Position:
    """Return where the assembler goes on; what the newest chunk's file tells of the sources is read from it."""
    init, sources = b"", {}
    if chunk_path is not None:
        try:
            with chunk_path.open("rb", buffering=1 << 16) as file:
                for frame in stored.frames(file.read)[1]:
                    if frame.type == stored.INIT:
                        init = frame.payload
                    elif frame.type == stored.ACCOUNT:
                        sources = stored.decode_account(frame.payload).sources
        except (OSError, StoredFormatError):
            init, sources = b"", {}
    return Position(known.number, known.part, init, known.ends_ns, sources)


def reopen(
    found: OpenSession,
    known: Past,
    how: Resumption,
    interval: tuple[str, int] | None,
    now: Instant,
    *,
    epoch: bytes,
    gather_until_ns: int,
    tracks: list[str],
) -> tuple[Session, Recovered]:
    """Return the session as it goes on, and what it was.

    Args:
        found: the session in the spool.
        known: what the log says of it.
        how: it goes on.
        interval: of unsuitable content in which it is.
        now: the device's clocks.
        epoch: of the media files to come.
        gather_until_ns: until when init segments are awaited.
        tracks: what was being recorded.
    """
    opened = found.opened.body
    assert isinstance(opened, SessionOpen)  # noqa: S101 - the spool looked it up by its kind
    assembler = Assembler(how.zero_boottime_ns, position(known, found.last_chunk_path), opened.pre_event_ns)
    session = Session(
        found.session,
        found.opened.sequence,
        how.zero_boottime_ns,
        epoch,
        assembler,
        GapKeeper(),
        gather_until_ns,
        assembler.sources,
        chunks=found.chunks,
        end_boottime_ns=how.zero_boottime_ns + known.end_ns,
        begin_ns=opened.pre_event_ns,
        mode=opened.mode,
        matter=opened.matter,
    )
    if interval is not None:
        session.off, session.off_complete = "unsuitable", True
    if how.off_ns is None:
        session.gaps.because(tracks, "unsuitable" if interval else "restart")
    else:
        session.gaps.across_boot(
            tracks,
            "unsuitable" if interval else "power",
            known.boot,
            how.off_ns + OFF_UNCERTAINTY_NS,
            start_shift_ns=known.zero_boottime_ns - how.zero_boottime_ns,
        )
    off_ns = now.boottime_ns - session.end_boottime_ns
    return session, Recovered(found.session, session.matter, interval, how.off_ns is not None, off_ns)


def _utc(record: Record, boottime_ns: int) -> int | None:
    return None if record.clock == UNSET else record.utc_ns + boottime_ns - record.boottime_ns
