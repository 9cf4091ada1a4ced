"""One stream of the recorder: its sources, its session, its log. It obeys :mod:`recorder.assembly` and signs.

A session that is open is in one of three states: *gathering* (the sources' init segments are awaited, at most
:data:`GATHER_NS`, so that a film has both tracks from its first second), *recording*, and *ending* (the sources
flush what they hold, at most :data:`FLUSH_NS`). In an interval of unsuitable content it is *off*: the sources have been
stopped, and what they would send is not taken. Nothing here decides when to end or to be off: that is
:mod:`recorder.session`'s, and :mod:`recorder.conduct` obeys it.
"""

from __future__ import annotations

import logging
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

from recorder import resume
from recorder.assembly import Append, Assembler, Begin, End, FragmentRefusedError, Hole
from recorder.control import RefusedError
from recorder.evidence import records, stored
from recorder.gaps import GapKeeper
from recorder.impairments import Cue, Impairments, Replace, Sign
from recorder.peers import PeerLostError
from recorder.source import link
from recorder.spool.errors import DiskFullError
from recorder.spool.reader import LogReader

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from recorder.assembly import Action
    from recorder.clock import Clock
    from recorder.config import SourceSection, StreamSection
    from recorder.evidence.records import Body
    from recorder.peers import SourcePeer
    from recorder.session import Open
    from recorder.spool.media import FileFacts
    from recorder.spool.spool import ChunkFile, OpenSession, Spool

log = logging.getLogger(__name__)

GATHER_NS: Final = 2_000_000_000
PENDING_LARGEST_BYTES: Final = 32 << 20
"""More than this is not held while init segments are awaited."""
FLUSH_NS: Final = 3_000_000_000
HUNG_NS: Final = 3_000_000_000
"""A source has its own watchdog; so much later the recorder ends it."""
AHEAD_NS: Final = 60_000_000_000
"""A fragment that ends so much later than now has a wrong time; its track could never go on behind it."""
SILENT_NS: Final = 2_000_000_000
"""A track that ended so long before the session did has a gap there."""
TRACK_IDS: Final = {"video": 1, "audio": 2}
LOOK_BACK: Final = 64
"""Records of a session that are read to find each track's end; a track silent for longer begins anew."""
OFF_UNCERTAINTY_NS: Final = 1_000_000_000
"""Two readings of a synchronised clock, before and after a power loss."""
QUIET_EVENTS: Final = ("waiting",)
"""A source that has nothing whole to send says that it lives."""
LOSING_EVENTS: Final = ("stalled", "failed", "discarded", "hole")
"""After these a track may be silent, and this was why."""
MAX_CAUSE: Final = 40
"""Longest id of a cause, in characters."""
LISTENING_KINDS: Final = ("pyaudio",)
"""Sources that have the sound uncoded and can listen to it."""
PAST_SHORTEST_NS: Final = 1_000_000_000
"""Of less before a press no picture could be shown: the recording begins at the press."""
CHECK_HOLDS_NS: Final = 86_400_000_000_000
"""A session names the check before duty of the day before it."""
LOST_CAUSE: Final = {"video": "camera", "audio": "microphone"}
NOT_OPENED: Final = "not-opened"
"""In place of the reason why a session was closed: there was no room even for its first record."""
UNKEPT_ENDS: Final = ("unsuitable", "adjourned")
"""After these, what comes is not to be recorded: no pictures are kept of it for the next recording either."""
TRACKS_OF: Final = {"audio": ("audio",), "photo": ()}
"""Tracks that a session of this mode has; of another mode it has all that the sources deliver."""


class Ending(NamedTuple):
    """How a session is to be closed."""

    reason: str
    closed_by: str
    statement: bool = False
    """The officer stated that the work on site is over."""


class Recovered(NamedTuple):
    """What a session was, that goes on after a crash."""

    session: bytes
    matter: str | None
    interval: tuple[str, int] | None
    """Reason and beginning of the interval of unsuitable content that it is in."""
    power: bool
    """The machine was off; else only the recorder was."""
    off_ns: int | None
    """For how long nothing was recorded, about; None where nobody can tell."""


@dataclass(slots=True)
class Slot:
    """A configured source, connected or not."""

    name: str
    section: SourceSection
    peer: SourcePeer | None = None
    started: bool = False
    """It has been told to begin, and so answers a stop."""
    has_init: bool = False
    flows: bool = False
    """A fragment of its present run is on the disk."""
    ended: bool = False
    heard_boottime_ns: int = 0
    codes: str | None = None
    """What becomes of codes shown to the lens, as its ``hello`` said."""


@dataclass(slots=True)
class Session:
    """A session that is open."""

    id: bytes
    open_sequence: int
    zero_boottime_ns: int
    epoch: bytes
    assembler: Assembler
    gaps: GapKeeper
    gather_until_ns: int | None
    sources: dict[str, tuple[bytes, int]]
    """Per source, the run and newest fragment that is on the disk: where a reconnecting source goes on."""
    pending: list[tuple[Slot, link.Fragment, bytes]] = field(default_factory=list)
    file: ChunkFile | None = None
    chunks: int = 0
    """Chunks signed so far."""
    end_boottime_ns: int = 0
    """End of what is on the disk."""
    begin_ns: int = 0
    """Media time of the start: what comes before is a pre-event buffer's, and nothing is missing there."""
    mode: str = "video"
    matter: str | None = None
    ending: Ending | None = None
    """Once the end has been ordered."""
    from_boottime_ns: int = 0
    """When it went on after it had been off: what a source took before is not recorded."""
    off: str | None = None
    """Why nothing is to be recorded now."""
    off_complete: bool = False
    """The sources have flushed what they held before that."""
    go_on_due: bool = False
    """It is to go on as soon as they have."""
    ordered_boottime_ns: int = 0
    """When it was ordered."""
    flush_until_ns: int = 0
    due: list[records.Gap | records.Fault] = field(default_factory=list)
    """What is known and not signed yet: the next look at the clock does, or the disk had no room even for records."""
    last_bodies: list[records.Gap | records.Fault | records.SessionClose] = field(default_factory=list)
    """What closes the session, once that is decided."""
    waits_for_room: bool = False
    """Nothing could be signed: tried again at each look at the clock."""


class StreamRecorder:
    """Records one stream."""

    def __init__(
        self,
        number: int,
        section: StreamSection,
        spool: Spool,
        clock: Clock,
        policy_sha256: bytes,
        pre_event_ns: int = 0,
    ) -> None:
        """Make one.

        Args:
            number: of its log.
            section: its configuration.
            spool: where it writes.
            clock: the device's.
            policy_sha256: digest of the policy file that sessions are made under.
            pre_event_ns: how long before a press a recording begins, as configured and permitted.
        """
        self.number = number
        self.section = section
        self.slots = {name: Slot(name, source) for name, source in section.sources.items()}
        self.session: Session | None = None
        self.closed: list[tuple[bytes, str]] = []
        """Sessions that have been closed, and why, for whoever takes them away."""
        patience = {name: round(source.replace_frozen_after_s * 1e9) for name, source in section.sources.items()}
        self.impairments = Impairments(patience)
        self.cues: list[str] = []
        """What the officer is to be told, for whoever takes it away."""
        self._next: tuple[bytes, Open, Ending | None] | None = None
        """A session that begins as soon as the present one is closed, and its end, if that has been ordered too."""
        self.checked: tuple[str, int] | None = None
        """Result and UTC of the newest check before duty."""
        self.written_size_bytes = 0
        """Media written since the recorder started."""
        self._idle_since_ns = clock.boottime_ns()
        """Since when nothing has been recorded."""
        self._spool = spool
        self._clock = clock
        self._policy_sha256 = policy_sha256
        self._pre_event_ns = pre_event_ns
        self._ended_boottime_ns = clock.boottime_ns() if pre_event_ns else None
        """Since when pictures may have been kept, which is the end of the last session; None: they are not."""

    @property
    def mode(self) -> str:
        """How the open session records; without one, how this stream does unless it is told otherwise."""
        return self.session.mode if self.session is not None else self.section.mode

    @property
    def tracks(self) -> list[str]:
        """The tracks that a recording in the present mode is to have."""
        return sorted({track for slot in self.slots.values() for track in self.wanted(slot)}, reverse=True)

    def _recorded(self) -> frozenset[str]:
        """Return the names of the sources that are recorded in the present mode."""
        return frozenset(name for name, slot in self.slots.items() if self.wanted(slot))

    def wanted(self, slot: Slot) -> list[str]:
        """Return the tracks that a recording in the present mode takes from a source."""
        return [track for track in slot.section.tracks if track in TRACKS_OF.get(self.mode, TRACK_IDS)]

    # -- the session ---------------------------------------------------------------------------------------------

    def open_session(self, order: Open) -> bytes:
        """Begin a recording; return the session's id. While one is ending, it begins as soon as that is closed.

        Raises:
            RefusedError: one is open already.
            DiskFullError: there is no room even for records.
        """
        session_id = secrets.token_bytes(16)
        if self.session is not None:
            if self.session.ending is None or self._next is not None:
                raise RefusedError("already", "正在记录，无需再次开始。", "A recording is already under way.")
            self._next = session_id, order, None
        else:
            self._open(session_id, order)
        return session_id

    def _open(self, session_id: bytes, order: Open) -> None:
        epoch = secrets.token_bytes(16)
        now = self._clock.boottime_ns()
        mode = order.mode or self.section.mode
        past_ns = self._past_ns(now) if mode == "video" else 0
        zero = now - past_ns
        opened = self._opening(order, zero, past_ns)
        written = self._spool.append(self.number, session_id, [opened, _media_key(epoch)])
        self.session = Session(
            session_id,
            written[0].sequence,
            zero,
            epoch,
            Assembler(zero, begin_ns=past_ns),
            GapKeeper(),
            now + GATHER_NS,
            {},
            begin_ns=past_ns,
            mode=opened.mode,
            matter=order.matter,
        )
        log.info(
            "stream %s: session %s opened (%s, %s%s), record %d",
            self.section.name,
            session_id.hex()[:8],
            opened.mode,
            order.trigger,
            f", {order.link_class}" if order.link_class else "",
            written[0].sequence,
        )
        self._ended_boottime_ns = None
        self._suffer(self.impairments.opened(now, self._recorded()))
        for slot in self.slots.values():
            self._start(slot, past_ns)

    def keep_no_past(self) -> None:
        """The last session ended because of what was not to be recorded: keep no pictures until the next has ended."""
        self._ended_boottime_ns = None

    def _past_ns(self, now_ns: int) -> int:
        """Return for how long pictures may have been kept that the recording begins with."""
        since_ns = self._ended_boottime_ns
        kept_ns = 0 if since_ns is None else min(self._pre_event_ns, now_ns - since_ns)
        return kept_ns if kept_ns >= PAST_SHORTEST_NS else 0

    def _checked_today(self) -> tuple[str | None, int | None]:
        if self.checked is None or not 0 <= self._clock.now().utc_ns - self.checked[1] < CHECK_HOLDS_NS:
            return None, None
        return self.checked

    def sign(self, bodies: Sequence[Body]) -> list[records.Record]:
        """Sign records into the open session.

        Raises:
            RefusedError: nothing is being recorded.
            DiskFullError: there is no room even for records.
        """
        return self._spool.append(self.number, self._need_session().id, bodies)

    def sign_file(self, kind: str, content: bytes, body: Callable[[FileFacts], Body]) -> None:
        """Write a small file (details, a photograph) and sign what makes it part of the open session.

        Args:
            kind: ``details`` or ``photo``.
            content: what the file holds.
            body: makes the record's body from the facts of the file.

        Raises:
            RefusedError: nothing is being recorded.
            DiskFullError: there is no room.
        """
        session = self._need_session()
        facts = self._spool.write_file(self.number, kind, session.id, session.epoch, content)
        self._spool.append(self.number, session.id, [body(facts)])

    def put_on_record(self, order: Open, content: bytes, bodies: Callable[[FileFacts], Sequence[Body]]) -> bytes:
        """Open a session and close it at once, with a details file and no media; return its id.

        Args:
            order: what is to stand in its opening.
            content: of the details file.
            bodies: makes what is signed between the two from the facts of the file.

        Raises:
            RefusedError: a session is open.
            DiskFullError: there is no room.
        """
        if self.session is not None:
            raise RefusedError("already", "正在记录。", "A recording is under way.")
        session_id, epoch = secrets.token_bytes(16), secrets.token_bytes(16)
        now = self._clock.boottime_ns()
        facts = self._spool.write_file(self.number, "details", session_id, epoch, content)
        close = self._close_body(
            self._spool.head(self.number)[0] + 1, 0, now, Ending("done", "command", statement=True)
        )
        # All at once: a crash must not leave a session open that would then be recorded.
        self._spool.append(
            self.number, session_id, [self._opening(order, now), _media_key(epoch), *bodies(facts), close]
        )
        return session_id

    def add_file_to(
        self, session: bytes, kind: str, content: bytes, body: Callable[[FileFacts], Body], *more: Body
    ) -> None:
        """Write a small file and sign it, and ``more``, as later records of a session that is over; none may be open.

        Raises:
            DiskFullError: there is no room.
        """
        epoch = secrets.token_bytes(16)
        facts = self._spool.write_file(self.number, kind, session, epoch, content)
        self._spool.append(self.number, session, [_media_key(epoch), body(facts), *more])

    def marker_at(self, session: bytes, sequence: int) -> records.Marker:
        """Return a marker of a session, by the sequence of its record.

        Raises:
            RefusedError: that record is none.
        """
        log_id = self._spool.log_id(self.number)
        head, _ = self._spool.head(self.number)
        entry = LogReader(self._spool.layout.log(log_id), log_id).find(sequence) if 0 <= sequence <= head else None
        if entry is None or entry.record.session != session or not isinstance(entry.record.body, records.Marker):
            raise RefusedError(
                "marker", f"第 {sequence} 号不是本次记录的标记。", f"Record {sequence} is no marker of this recording."
            )
        return entry.record.body

    def _need_session(self) -> Session:
        if self.session is None:
            raise _idle()
        return self.session

    def interrupt(self, cause: str) -> None:
        """Record nothing more until :meth:`go_on`: the sources flush what they hold and are stopped."""
        session = self.session
        if session is None or session.ending is not None:
            return
        if session.off is not None:
            session.go_on_due = False  # it was to go on, and is not any more
            return
        self._stop_sources(session, keep=False)
        session.off, session.off_complete, session.go_on_due = cause, False, False
        session.due += self.impairments.closed(self._clock.boottime_ns())
        self._settle()

    def go_on(self) -> None:
        """Record again, in the same session."""
        session = self.session
        if session is None or session.ending is not None or session.off is None:
            return
        if session.off_complete:
            self._go_on(session)
        else:
            session.go_on_due = True

    def _go_on(self, session: Session) -> None:
        log.info("stream %s: session %s is recorded again", self.section.name, session.id.hex()[:8])
        session.off, session.off_complete, session.go_on_due = None, False, False
        session.from_boottime_ns = self._clock.boottime_ns()
        session.gather_until_ns = session.from_boottime_ns + GATHER_NS
        session.assembler.expect_holes(self.tracks)
        self._suffer(self.impairments.opened(self._clock.boottime_ns(), self._recorded()))
        for slot in self.slots.values():
            self._start(slot)

    def recover(self, found: OpenSession) -> Recovered | None:
        """Go on with a session that a crash interrupted, or close it and return None."""
        assert isinstance(found.opened.body, records.SessionOpen)  # noqa: S101 - the spool looked it up by its kind
        if self.session is not None:
            # Only the newest can go on; one beside it was forgotten.
            self.session.ending = Ending("interrupted", "recovery")
            self._close(self.session)
        now = self._clock.now()
        newest = self._newest(found)
        known = resume.past(found.opened, newest)
        how = resume.decide(known, now)
        if how is None or found.opened.body.mode == "photo":
            end = known.zero_boottime_ns + known.end_ns
            close = self._close_body(found.opened.sequence, found.chunks, end, Ending("interrupted", "recovery"))
            self._sign_close(found.session, [close])
            return None
        begin_ns = found.opened.body.pre_event_ns
        assembler = Assembler(how.zero_boottime_ns, resume.position(known, found.last_chunk_path), begin_ns)
        epoch = secrets.token_bytes(16)
        self._spool.append(self.number, found.session, [_media_key(epoch)])
        self.session = Session(
            found.session,
            found.opened.sequence,
            how.zero_boottime_ns,
            epoch,
            assembler,
            GapKeeper(),
            now.boottime_ns + GATHER_NS,
            assembler.sources,
            chunks=found.chunks,
            end_boottime_ns=how.zero_boottime_ns + known.end_ns,
            begin_ns=begin_ns,
            mode=found.opened.body.mode,
            matter=found.opened.body.matter,
        )
        interval = resume.open_interval(newest, now)
        if interval is not None:
            self.session.off, self.session.off_complete = "unsuitable", True
        else:
            self._suffer(self.impairments.opened(now.boottime_ns, self._recorded()))
        if how.off_ns is None:
            self.session.gaps.because(self.tracks, "unsuitable" if interval else "restart")
        else:
            self.session.gaps.across_boot(
                self.tracks,
                "unsuitable" if interval else "power",
                known.boot,
                how.off_ns + OFF_UNCERTAINTY_NS,
                start_shift_ns=known.zero_boottime_ns - how.zero_boottime_ns,
            )
        log.info(
            "stream %s: session %s goes on%s",
            self.section.name,
            found.session.hex()[:8],
            ", in its interval of unsuitable content" if interval else "",
        )
        off_ns = now.boottime_ns - self.session.end_boottime_ns
        return Recovered(found.session, self.session.matter, interval, how.off_ns is not None, off_ns)

    def _newest(self, found: OpenSession) -> list[records.Record]:
        """Return the session's newest records, newest first: enough to see each track's end."""
        log_id = self._spool.log_id(self.number)
        reader = LogReader(self._spool.layout.log(log_id), log_id)
        oldest = max(found.opened.sequence, found.last.sequence - LOOK_BACK)
        entries = (reader.find(sequence) for sequence in range(found.last.sequence, oldest - 1, -1))
        return [entry.record for entry in entries if entry is not None and entry.record.session == found.session]

    def end(self, reason: str, closed_by: str, *, statement: bool = False) -> None:
        """Order the end: the sources flush what they hold, then the session is closed.

        Raises:
            RefusedError: nothing is being recorded.
        """
        ending = Ending(reason, closed_by, statement)
        if self._next is not None:
            self._next = *self._next[:2], ending
            return
        session = self._need_session()
        if session.ending is not None:
            raise _idle()
        self._stop_sources(session, keep=reason not in UNKEPT_ENDS)
        session.ending = ending
        session.ordered_boottime_ns = self._clock.boottime_ns()
        self._settle()

    def _stop_sources(self, session: Session, *, keep: bool) -> None:
        """Let the sources send what they hold and stop, unless they are about it already.

        Args:
            session: the one that is open.
            keep: whether pictures may be kept from now on, for the recording that comes next.
        """
        # In an interval of unsuitable content nothing is kept either, whatever ends it.
        keep = keep and self._pre_event_ns > 0 and session.off is None
        self._ended_boottime_ns = self._clock.boottime_ns() if keep else None
        if session.off is not None and not session.off_complete:
            self._ended_boottime_ns = None
            return
        message = link.Stop(session=session.id, keep_ns=self._pre_event_ns if keep else 0)
        session.flush_until_ns = self._clock.boottime_ns() + FLUSH_NS
        for slot in self.slots.values():
            slot.ended = slot.peer is None or not slot.started
            if slot.peer is not None:
                self._send(slot, message)

    def _settle(self) -> None:
        """When the sources have sent what they held, close the session, or let it be off."""
        session = self.session
        if session is None or session.waits_for_room:
            return
        if session.ending is None and (session.off is None or session.off_complete):
            return
        if not all(slot.ended for slot in self.slots.values()) and self._clock.boottime_ns() < session.flush_until_ns:
            return
        self._release_pending(session)
        self._run(session.assembler.finish())
        if session.ending is not None:
            self._close(session)
        elif session.off is not None:
            session.off_complete = True
            session.gaps.instead(self.tracks, session.off)
            for slot in self.slots.values():
                slot.started = slot.has_init = slot.flows = False
            log.info("stream %s: session %s is off (%s)", self.section.name, session.id.hex()[:8], session.off)
            if session.go_on_due:
                self._go_on(session)

    def _close(self, session: Session) -> None:
        """Sign what closes the session; where there is no room for it, all stays as it is, to be tried again."""
        ending = session.ending or Ending("fault", "device")
        if not session.last_bodies:
            end = max(session.end_boottime_ns, session.zero_boottime_ns)
            if session.ordered_boottime_ns - end > SILENT_NS:
                end = session.ordered_boottime_ns  # until then more was wanted, and nothing came
            faults = self.impairments.closed(end)
            gaps = session.gaps.over(self._unfinished(session, end))
            close = self._close_body(session.open_sequence, session.chunks, end, ending)
            session.last_bodies = [*session.due, *faults, *gaps, close]
        self._sign_close(session.id, session.last_bodies)
        self.session = None
        self._idle_since_ns = self._clock.boottime_ns()
        for slot in self.slots.values():
            slot.started = slot.has_init = slot.flows = False
        if self._next is not None:
            (session_id, order, next_ending), self._next = self._next, None
            try:
                self._open(session_id, order)
            except DiskFullError:
                self.closed.append((session_id, NOT_OPENED))
                raise
            if next_ending is not None:
                self.end(next_ending.reason, next_ending.closed_by, statement=next_ending.statement)

    def _opening(self, order: Open, zero_boottime_ns: int, pre_event_ns: int = 0) -> records.SessionOpen:
        sequence, sha256 = self._spool.head(0)
        checked, checked_utc_ns = self._checked_today()
        return records.SessionOpen(
            mode=order.mode or self.section.mode,
            zero_boottime_ns=zero_boottime_ns,
            policy_sha256=self._policy_sha256,
            device_head_sequence=sequence,
            device_head_sha256=sha256,
            trigger=order.trigger,
            matter=order.matter,
            must_be_whole=order.must_be_whole,
            linked_session=order.linked_session,
            link_class=order.link_class,
            pre_event_ns=pre_event_ns,
            idle_since_boottime_ns=self._idle_since_ns,
            checked=checked,
            checked_utc_ns=checked_utc_ns,
            receipt_sha256=self._spool.newest_receipt_sha256,
        )

    def _close_body(
        self, open_sequence: int, chunks: int, end_boottime_ns: int, ending: Ending
    ) -> records.SessionClose:
        sequence, sha256 = self._spool.head(0)
        return records.SessionClose(
            reason=ending.reason,
            closed_by=ending.closed_by,
            statement=ending.statement,
            open_sequence=open_sequence,
            chunks=chunks,
            end_boottime_ns=max(end_boottime_ns, 0),
            device_head_sequence=sequence,
            device_head_sha256=sha256,
            receipt_sha256=self._spool.newest_receipt_sha256,
        )

    def _sign_close(
        self, session_id: bytes, bodies: Sequence[records.Gap | records.Fault | records.SessionClose]
    ) -> None:
        written = self._spool.append(self.number, session_id, bodies)
        close = bodies[-1]
        assert isinstance(close, records.SessionClose)  # noqa: S101 - the callers put it last
        self.closed.append((session_id, close.reason))
        self._tell_gaps([body for body in bodies if isinstance(body, records.Gap)])
        log.info(
            "stream %s: session %s closed (%s, by %s), %d chunks, record %d",
            self.section.name,
            session_id.hex()[:8],
            close.reason,
            close.closed_by,
            close.chunks,
            written[-1].sequence,
        )

    def disk_full(self) -> None:
        """No room for media: sign what is on the disk and close the session in order.

        Where there is no room for that either, it is tried again until there is.
        """
        session = self.session
        if session is None:
            return
        if not session.waits_for_room:
            session.ending = Ending("storage", "device")
            session.pending = []
            for slot in self.slots.values():
                self._send(slot, link.Stop(session=session.id))
        try:
            if session.file is not None:
                session.file.finish()
                if self._spool.sign_chunk(session.file) is not None:
                    session.chunks += 1
                session.file = None
            self._close(session)
        except DiskFullError as error:
            if not session.waits_for_room:
                log.error("stream %s: its end waits to be signed: %s", self.section.name, error)  # noqa: TRY400
            session.waits_for_room = True

    def close_what_waits(self) -> None:
        """Try again to sign the end of a session that had no room for it; what begins now is another one."""
        if self.session is not None and self.session.waits_for_room:
            self.disk_full()

    def _unfinished(self, session: Session, end_boottime_ns: int) -> dict[str, tuple[int, int]]:
        """Tracks that had stopped, or never came, by the end of the session."""
        ends = self._ends(session)
        return {track: (end, end_boottime_ns) for track, end in ends.items() if end_boottime_ns - end > SILENT_NS}

    def _ends(self, session: Session) -> dict[str, int]:
        known = session.assembler.ends_ns
        return {track: session.zero_boottime_ns + known.get(track, session.begin_ns) for track in self.tracks}

    # -- the sources ---------------------------------------------------------------------------------------------

    def connected(self, peer: SourcePeer, hello: link.Hello) -> Slot:
        """A source has said who it is: tell it where to go on, or to begin.

        Raises:
            PeerLostError: no such source is configured, or it is connected already.
        """
        slot = self.slots.get(hello.source)
        if slot is None:
            raise PeerLostError(f"stream {self.section.name} has no source {hello.source!r}")
        if slot.peer is not None:
            if not slot.peer.gone:
                raise PeerLostError(f"source {self.section.name}/{slot.name} is connected already, by {slot.peer.name}")
            self.lost(slot, "connected anew")
        slot.peer, slot.has_init, slot.flows, slot.codes = peer, False, False, hello.codes
        slot.heard_boottime_ns = self._clock.boottime_ns()
        log.info("source %s/%s connected, pid %d", self.section.name, slot.name, peer.pid)
        session = self.session
        held = session.sources.get(slot.name) if session else None
        if (
            session is not None
            and session.ending is None
            and session.off is None
            and hello.instance is not None
            and hello.session == session.id
        ):
            newest = held[1] if held and held[0] == hello.instance else -1
            if newest >= 0 or hello.oldest == 0:
                self._send(slot, link.Welcome(instance=hello.instance, next=newest + 1))
                slot.started, slot.ended = True, False
                return slot
        keeps = session is None and self._ended_boottime_ns is not None
        self._send(slot, link.Welcome(keep_ns=self._pre_event_ns if keeps else 0))
        self._start(slot)
        return slot

    def _start(self, slot: Slot, past_ns: int = 0) -> None:
        session = self.session
        if session is None or session.ending is not None or session.off is not None or slot.peer is None:
            return
        track_ids = {track: TRACK_IDS[track] for track in self.wanted(slot)}
        if not track_ids:
            return
        slot.has_init = slot.flows = slot.ended = False
        slot.started = True
        slot.heard_boottime_ns = self._clock.boottime_ns()
        self._send(
            slot,
            link.Start(
                session=session.id,
                zero_boottime_ns=session.zero_boottime_ns,
                track_ids=track_ids,
                wait_ms=GATHER_NS // 2_000_000,
                past_ns=past_ns,
                # Only what is asked for the past is given from before the press.
                from_boottime_ns=max(session.from_boottime_ns, 0 if past_ns else self._pressed_ns(session)),
            ),
        )

    @staticmethod
    def _pressed_ns(session: Session) -> int:
        return session.zero_boottime_ns + session.begin_ns

    def received(self, slot: Slot, message: link.Message, payload: bytes) -> None:
        """Take one message of a source.

        Raises:
            PeerLostError: what it sent cannot be part of the recording; it is to be replaced.
        """
        session = self.session
        slot.heard_boottime_ns = self._clock.boottime_ns()
        if isinstance(message, link.Event):
            self._event(slot, message)
        elif session is None:
            return  # late messages of a session that has been closed
        elif isinstance(message, link.Init):
            if message.session == session.id and not session.waits_for_room and not session.off_complete:
                self._init(session, slot, message, payload)
        elif isinstance(message, link.Fragment):
            if not slot.has_init or session.waits_for_room:
                return  # of an instance that this recorder has not begun, or nothing can be written
            if session.gather_until_ns is not None:
                session.pending.append((slot, message, payload))
                if sum(len(waiting) for _, _, waiting in session.pending) > PENDING_LARGEST_BYTES:
                    self._release_pending(session)
            else:
                self._fragment(session, slot, message, payload)
        elif isinstance(message, link.Ended) and message.session == session.id:
            slot.ended = True
            self._settle()

    def _init(self, session: Session, slot: Slot, message: link.Init, payload: bytes) -> None:
        self._release_of(session, slot)
        allowed = {track: TRACK_IDS[track] for track in self.wanted(slot)}
        self._guard(slot, lambda: self._run(session.assembler.init(slot.name, message.instance, payload, allowed)))
        slot.has_init = True
        if all(one.has_init for one in self.slots.values() if self.wanted(one)):
            self._release_pending(session)

    def lost(self, slot: Slot, why: str) -> None:
        """A source's connection is gone."""
        log.warning("source %s/%s lost: %s", self.section.name, slot.name, why)
        slot.peer, slot.started, slot.flows, slot.ended = None, False, False, True
        self.impairments.gone(slot.name, self._clock.boottime_ns())
        if self.session is not None:
            self._release_of(self.session, slot)
            slot.has_init = False
            for track in self.wanted(slot):
                self.session.gaps.because([track], LOST_CAUSE[track], link.short(why))
            self._settle()

    @property
    def camera(self) -> SourcePeer | None:
        """The camera that can be asked for a photograph; None where it is not connected."""
        return next((slot.peer for slot in self.slots.values() if "video" in slot.section.tracks), None)

    def tell_camera(self, message: link.Take) -> None:
        """Ask the camera for a photograph; one that is not there will not answer."""
        for slot in self.slots.values():
            if "video" in slot.section.tracks:
                self._send(slot, message)

    @property
    def keeps_photos(self) -> bool:
        """Whether a photograph that comes now is part of what is being recorded."""
        session = self.session
        return session is not None and session.off is None and not session.waits_for_room

    @property
    def silent(self) -> frozenset[str]:
        """Tracks that have been silent for so long that it has been signed, other than on purpose."""
        session = self.session
        return session.gaps.begun if session is not None and session.off is None else frozenset()

    def probe(self, order: link.Probe) -> list[str]:
        """Have the connected sources count what they deliver; return which were asked."""
        asked = [slot for slot in self.slots.values() if slot.peer is not None]
        for slot in asked:
            self._send(slot, order)
        return [slot.name for slot in asked]

    @property
    def has_ear(self) -> bool:
        """Whether a microphone is configured that can be told to listen."""
        return any(slot.section.kind in LISTENING_KINDS for slot in self.slots.values())

    @property
    def can_listen(self) -> bool:
        """Whether a microphone is recording that can listen for an announcement."""
        return self.session is not None and self.session.off is None and self.has_ear

    @property
    def sounds(self) -> bool:
        """Whether sound of the present session is coming: what is spoken now will be in it."""
        return any("audio" in slot.section.tracks and slot.has_init for slot in self.slots.values())

    def listen_for(self, message: link.Listen, pattern: bytes) -> None:
        """Tell the microphone to listen; one that is not there will not answer."""
        for slot in self.slots.values():
            if slot.section.kind in LISTENING_KINDS:
                self._send(slot, message, pattern)

    def dismiss_sources(self) -> None:
        """The recorder ends in order: so do the sources that are its own, also those of a recorder before it."""
        for slot in self.slots.values():
            if slot.peer is not None and slot.section.spawn:
                slot.peer.dismiss()

    def tick(self) -> None:
        """Look at the clock: overdue init segments, hung sources, gaps that last, an end that is due."""
        session = self.session
        if session is None:
            return
        if session.waits_for_room:
            self.disk_full()
            return
        now = self._clock.boottime_ns()
        if session.gather_until_ns is not None and now >= session.gather_until_ns:
            self._release_pending(session)
        records_now = session.ending is None and session.off is None
        for slot in self.slots.values():
            silent_ns = now - slot.heard_boottime_ns
            wanted = self.wanted(slot) if records_now else []
            if slot.peer is not None and silent_ns > slot.section.stall_after_s * 1e9 + HUNG_NS and wanted:
                session.gaps.because(wanted, LOST_CAUSE[wanted[0]], "source hung")
                log.warning(
                    "source %s/%s has been silent for %d ms and is ended",
                    self.section.name,
                    slot.name,
                    silent_ns // 1_000_000,
                )
                slot.peer.kill()
                slot.heard_boottime_ns = now
        if session.gather_until_ns is None and (records_now or (session.off_complete and session.ending is None)):
            begun = session.gaps.begins(self._ends(session), now)
            self._sign_gaps(session, begun)
            session.assembler.expect_holes([track for gap in begun for track in gap.tracks])
        self._suffer(self.impairments.tick(now))
        self._sign_due(session)
        self._settle()

    def _event(self, slot: Slot, event: link.Event) -> None:
        if event.event in QUIET_EVENTS:
            return
        log.warning(
            "source %s/%s: %s of %s, %s: %s (%d)",
            self.section.name,
            slot.name,
            event.event,
            "+".join(event.tracks),
            event.cause,
            event.detail,
            event.count,
        )
        at_ns = min(event.boottime_ns, self._clock.boottime_ns())
        if event.event in ("impaired", "unwatched"):
            self._suffer(self.impairments.begins(slot.name, event.cause, at_ns, link.short(event.detail or "")))
        elif event.event == "unimpaired":
            self.impairments.ends(slot.name, event.cause, at_ns)
        if self.session is not None and event.event in LOSING_EVENTS:
            tracks = [track for track in event.tracks if track in self.wanted(slot)]
            detail = link.short(event.detail) if event.detail else None
            self.session.gaps.because(tracks, link.short(event.cause, MAX_CAUSE), detail)

    def _suffer(self, actions: list[Sign | Cue | Replace]) -> None:
        """Take note of what the recording suffers from, or no longer; it is signed at the next look at the clock."""
        for action in actions:
            if isinstance(action, Sign) and self.session is not None:
                self.session.due.append(action.body)
            elif isinstance(action, Cue):
                self.cues.append(action.text)
            elif isinstance(action, Replace):
                self._replace(self.slots[action.source])

    def _replace(self, slot: Slot) -> None:
        """The picture of a source is frozen: another process may do better."""
        log.warning("source %s/%s shows a frozen picture and is ended", self.section.name, slot.name)
        if self.session is not None:
            self.session.gaps.because(slot.section.tracks, "frozen", "the picture was frozen")
        if slot.peer is not None:
            slot.peer.kill()

    # -- fragments to the disk -----------------------------------------------------------------------------------

    def _release_pending(self, session: Session) -> None:
        session.gather_until_ns = None
        pending, session.pending = session.pending, []
        refused: set[str] = set()
        for slot, message, payload in pending:
            if slot.name in refused:
                continue
            try:
                self._fragment(session, slot, message, payload)
            except PeerLostError as error:
                refused.add(slot.name)
                if slot.peer is not None:
                    slot.peer.kill()
                log.warning("%s", error)

    def _release_of(self, session: Session, slot: Slot) -> None:
        """The run of a source is over: what waits of it is written before another one begins."""
        if any(one is slot for one, _, _ in session.pending):
            self._release_pending(session)

    def _fragment(self, session: Session, slot: Slot, message: link.Fragment, payload: bytes) -> None:
        held = session.sources.get(slot.name)
        if held is not None and held[0] == message.instance and message.number <= held[1]:
            self._send(slot, link.Ack(instance=message.instance, number=held[1]))
            return  # sent again after a lost acknowledgement
        self._guard(
            slot,
            lambda: self._run(
                session.assembler.fragment(
                    slot.name,
                    message.instance,
                    message.number,
                    message.tracks,
                    payload,
                    latest_ns=self._clock.boottime_ns() - session.zero_boottime_ns + AHEAD_NS,
                )
            ),
        )
        session.sources[slot.name] = (message.instance, message.number)
        slot.flows = True
        self._send(slot, link.Ack(instance=message.instance, number=message.number))

    def _guard(self, slot: Slot, action: object) -> None:
        try:
            action()  # type: ignore[operator]
        except FragmentRefusedError as error:
            if self.session is not None:
                for track in self.wanted(slot):
                    self.session.gaps.because([track], LOST_CAUSE[track], link.short(str(error)))
            raise PeerLostError(str(error)) from error

    def _run(self, actions: list[Action]) -> None:
        session = self.session
        assert session is not None  # noqa: S101 - the assembler belongs to it
        zero = session.zero_boottime_ns
        holes = {one.track: (zero + one.start_ns, zero + one.end_ns) for one in actions if isinstance(one, Hole)}
        gaps = session.gaps.over(holes)
        for action in actions:
            if isinstance(action, Begin):
                # Before the media behind the hole: a crash between the two must not leave a hole that nobody signed.
                self._sign_gaps(session, gaps)
                gaps = []
                session.file = self._spool.begin_chunk(self.number, session.id, session.epoch, action.init)
            elif isinstance(action, Append):
                assert session.file is not None  # noqa: S101 - begun before
                session.file.append(stored.encode_account(action.account), action.fragment)
                self.written_size_bytes += len(action.fragment)
                session.end_boottime_ns = max(session.end_boottime_ns, action.account.end_boottime_ns)
                session.gaps.flows([track for track in action.tracks if track not in holes])
            elif isinstance(action, End):
                assert session.file is not None  # noqa: S101
                session.file.finish()
                self._spool.sign_chunk(session.file, action.account, action.init_sha256)
                session.file = None
                session.chunks += 1
        self._sign_gaps(session, gaps)

    def _sign_gaps(self, session: Session, gaps: list[records.Gap]) -> None:
        session.due += gaps
        self._sign_due(session)

    def _sign_due(self, session: Session) -> None:
        if not session.due:
            return
        self._spool.append(self.number, session.id, list(session.due))
        signed, session.due = session.due, []
        self._tell_gaps([body for body in signed if isinstance(body, records.Gap)])

    def _tell_gaps(self, gaps: list[records.Gap]) -> None:
        for gap in gaps:
            length = "unknown" if gap.length_min_ns is None else f"{gap.length_min_ns // 1_000_000} ms"
            log.warning(
                "stream %s: gap %s of %s, %s, length %s",
                self.section.name,
                gap.state,
                "+".join(gap.tracks),
                gap.cause,
                length,
            )

    def _send(self, slot: Slot, message: link.Message, payload: bytes = b"") -> None:
        if slot.peer is None:
            return
        try:
            slot.peer.send(message, payload)
        except PeerLostError as error:
            log.warning("%s", error)
            slot.peer.kill()


def _media_key(epoch: bytes) -> records.MediaKey:
    return records.MediaKey(epoch=epoch, sealing=stored.SEALING_NONE)


def _idle() -> RefusedError:
    return RefusedError("idle", "没有正在进行的记录。", "Nothing is being recorded.")
