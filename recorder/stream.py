"""One stream of the recorder: its session, and the sources that record it.

A session that is open is in one of three states: *gathering* (the sources' init segments are awaited, at most
:data:`GATHER_NS`, so that a film has both tracks from its first second), *recording*, and *ending* (the sources
flush what they hold, at most :data:`FLUSH_NS`). In an interval of unsuitable content it is *off*: the sources have been
stopped, and what they would send is not taken. Nothing here decides when to end or to be off: that is
:mod:`recorder.session`'s, and :mod:`recorder.conduct` obeys it.
"""

from __future__ import annotations

import logging
import secrets
from typing import TYPE_CHECKING, Final

from recorder import resume
from recorder.assembly import Assembler
from recorder.control import RefusedError
from recorder.evidence import records
from recorder.gaps import GapKeeper
from recorder.opened import Ending, Session
from recorder.peers import PeerLostError
from recorder.slots import TRACK_IDS, Slots
from recorder.source import link
from recorder.spool.errors import DiskFullError
from recorder.streamlog import StreamLog
from recorder.troubles import Troubles
from recorder.writing import Writing

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from recorder.clock import Clock
    from recorder.config import StreamSection
    from recorder.evidence.records import Body
    from recorder.opened import Recovered
    from recorder.peers import SourcePeer
    from recorder.session import Open
    from recorder.slots import Slot
    from recorder.spool.media import FileFacts
    from recorder.spool.spool import OpenSession, Spool

log = logging.getLogger(__name__)

GATHER_NS: Final = 2_000_000_000
FLUSH_NS: Final = 3_000_000_000
PAST_SHORTEST_NS: Final = 1_000_000_000
"""Of less before a press no picture could be shown: the recording begins at the press."""
NOT_OPENED: Final = "not-opened"
"""In place of the reason why a session was closed: there was no room even for its first record."""
UNKEPT_ENDS: Final = ("unsuitable", "adjourned")
"""After these, what comes is not to be recorded: no pictures are kept of it for the next recording either."""


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
        self.slots = Slots(section.sources)
        self.session: Session | None = None
        self.closed: list[tuple[bytes, str]] = []
        """Sessions that have been closed, and why, for whoever takes them away."""
        self.troubles = Troubles(section.name, self.slots)
        self._next: tuple[bytes, Open, Ending | None] | None = None
        """A session that begins as soon as the present one is closed, and its end, if that has been ordered too."""
        self.log = StreamLog(number, section, spool, clock, policy_sha256)
        self.writing = Writing(number, spool, clock, self.log)
        self._clock = clock
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
        return self.slots.tracks(self.mode)

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
        sequence = self.log.open(session_id, epoch, order, zero, past_ns)
        self.session = Session(
            session_id,
            sequence,
            zero,
            epoch,
            Assembler(zero, begin_ns=past_ns),
            GapKeeper(),
            now + GATHER_NS,
            {},
            begin_ns=past_ns,
            mode=mode,
            matter=order.matter,
        )
        self._ended_boottime_ns = None
        self.troubles.opened(self.session, now)
        for slot in self.slots:
            self._start(slot, past_ns)

    def keep_no_past(self) -> None:
        """The last session ended because of what was not to be recorded: keep no pictures until the next has ended."""
        self._ended_boottime_ns = None

    def _past_ns(self, now_ns: int) -> int:
        """Return for how long pictures may have been kept that the recording begins with."""
        since_ns = self._ended_boottime_ns
        kept_ns = 0 if since_ns is None else min(self._pre_event_ns, now_ns - since_ns)
        return kept_ns if kept_ns >= PAST_SHORTEST_NS else 0

    def sign(self, bodies: Sequence[Body]) -> list[records.Record]:
        """Sign records into the open session.

        Raises:
            RefusedError: nothing is being recorded.
            DiskFullError: there is no room even for records.
        """
        return self.log.sign(self._need_session().id, bodies)

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
        self.log.sign_file(session.id, session.epoch, kind, content, body)

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
        session.due += self.troubles.impairments.closed(self._clock.boottime_ns())
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
        self.troubles.opened(session, self._clock.boottime_ns())
        for slot in self.slots:
            self._start(slot)

    def recover(self, found: OpenSession) -> Recovered | None:
        """Go on with a session that a crash interrupted, or close it and return None."""
        assert isinstance(found.opened.body, records.SessionOpen)  # noqa: S101 - the spool looked it up by its kind
        if self.session is not None:
            # Only the newest can go on; one beside it was forgotten.
            self.session.ending = Ending("interrupted", "recovery")
            self._close(self.session)
        now = self._clock.now()
        newest = self.log.newest(found)
        known = resume.past(found.opened, newest)
        how = resume.decide(known, now)
        mode = found.opened.body.mode
        if how is None or mode == "photo":
            end = known.zero_boottime_ns + known.end_ns
            close = self.log.closing(found.opened.sequence, found.chunks, end, Ending("interrupted", "recovery"))
            self._sign_close(found.session, [close])
            return None
        epoch = secrets.token_bytes(16)
        session, recovered = resume.reopen(
            found,
            known,
            how,
            resume.open_interval(newest, now),
            now,
            epoch=epoch,
            gather_until_ns=now.boottime_ns + GATHER_NS,
            tracks=self.slots.tracks(mode),
        )
        self.log.go_on(found.session, epoch)
        self.session = session
        if session.off is None:
            self.troubles.opened(session, now.boottime_ns)
        log.info(
            "stream %s: session %s goes on%s",
            self.section.name,
            found.session.hex()[:8],
            ", in its interval of unsuitable content" if recovered.interval else "",
        )
        return recovered

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
        for slot in self.slots:
            slot.ended = slot.peer is None or not slot.started
            slot.send(message)

    def _settle(self) -> None:
        """When the sources have sent what they held, close the session, or let it be off."""
        session = self.session
        if session is None or session.waits_for_room:
            return
        if session.ending is None and (session.off is None or session.off_complete):
            return
        if not all(slot.ended for slot in self.slots) and self._clock.boottime_ns() < session.flush_until_ns:
            return
        self.writing.finish(session)
        if session.ending is not None:
            self._close(session)
        elif session.off is not None:
            session.off_complete = True
            session.gaps.instead(self.tracks, session.off)
            for slot in self.slots:
                slot.stopped()
            log.info("stream %s: session %s is off (%s)", self.section.name, session.id.hex()[:8], session.off)
            if session.go_on_due:
                self._go_on(session)

    def _close(self, session: Session) -> None:
        """Sign what closes the session; where there is no room for it, all stays as it is, to be tried again."""
        ending = session.ending or Ending("fault", "device")
        if not session.last_bodies:
            end = session.last_boottime_ns
            faults = self.troubles.impairments.closed(end)
            gaps = session.gaps.over(session.unfinished(self.tracks, end))
            close = self.log.closing(session.open_sequence, session.chunks, end, ending)
            session.last_bodies = [*session.due, *faults, *gaps, close]
        self._sign_close(session.id, session.last_bodies)
        self.session = None
        self.log.idle_since_ns = self._clock.boottime_ns()
        for slot in self.slots:
            slot.stopped()
        if self._next is not None:
            (session_id, order, next_ending), self._next = self._next, None
            try:
                self._open(session_id, order)
            except DiskFullError:
                self.closed.append((session_id, NOT_OPENED))
                raise
            if next_ending is not None:
                self.end(next_ending.reason, next_ending.closed_by, statement=next_ending.statement)

    def _sign_close(
        self, session_id: bytes, bodies: Sequence[records.Gap | records.Fault | records.SessionClose]
    ) -> None:
        self.closed.append((session_id, self.log.close(session_id, bodies).reason))

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
            for slot in self.slots:
                slot.send(link.Stop(session=session.id))
        try:
            self.writing.cut(session)
            self._close(session)
        except DiskFullError as error:
            if not session.waits_for_room:
                log.error("stream %s: its end waits to be signed: %s", self.section.name, error)  # noqa: TRY400
            session.waits_for_room = True

    def close_what_waits(self) -> None:
        """Try again to sign the end of a session that had no room for it; what begins now is another one."""
        if self.session is not None and self.session.waits_for_room:
            self.disk_full()

    # -- the sources ---------------------------------------------------------------------------------------------

    def connected(self, peer: SourcePeer, hello: link.Hello) -> Slot:
        """A source has said who it is: tell it where to go on, or to begin.

        Raises:
            PeerLostError: no such source is configured, or it is connected already.
        """
        slot = self.slots.find(hello.source)
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
        if session is not None and session.runs and hello.instance is not None and hello.session == session.id:
            newest = held[1] if held and held[0] == hello.instance else -1
            if newest >= 0 or hello.oldest == 0:
                slot.send(link.Welcome(instance=hello.instance, next=newest + 1))
                slot.started, slot.ended = True, False
                return slot
        keeps = session is None and self._ended_boottime_ns is not None
        slot.send(link.Welcome(keep_ns=self._pre_event_ns if keeps else 0))
        self._start(slot)
        return slot

    def _start(self, slot: Slot, past_ns: int = 0) -> None:
        session = self.session
        if session is None or not session.runs or slot.peer is None:
            return
        track_ids = {track: TRACK_IDS[track] for track in slot.wanted(self.mode)}
        if not track_ids:
            return
        slot.has_init = slot.flows = slot.ended = False
        slot.started = True
        slot.heard_boottime_ns = self._clock.boottime_ns()
        slot.send(
            link.Start(
                session=session.id,
                zero_boottime_ns=session.zero_boottime_ns,
                track_ids=track_ids,
                wait_ms=GATHER_NS // 2_000_000,
                past_ns=past_ns,
                # Only what is asked for the past is given from before the press.
                from_boottime_ns=max(session.from_boottime_ns, 0 if past_ns else session.pressed_boottime_ns),
            ),
        )

    def received(self, slot: Slot, message: link.Message, payload: bytes) -> None:
        """Take one message of a source.

        Raises:
            PeerLostError: what it sent cannot be part of the recording; it is to be replaced.
        """
        session = self.session
        slot.heard_boottime_ns = self._clock.boottime_ns()
        if isinstance(message, link.Event):
            self.troubles.event(session, slot, message, slot.heard_boottime_ns)
        elif session is None:
            return  # late messages of a session that has been closed
        elif isinstance(message, link.Init):
            if message.session == session.id and not session.waits_for_room and not session.off_complete:
                self.writing.init(session, slot, message, payload)
                if all(one.has_init for one in self.slots if one.wanted(session.mode)):
                    self.writing.release(session)
        elif isinstance(message, link.Fragment):
            if not slot.has_init or session.waits_for_room:
                return  # of an instance that this recorder has not begun, or nothing can be written
            self.writing.fragment(session, slot, message, payload)
        elif isinstance(message, link.Ended) and message.session == session.id:
            slot.ended = True
            self._settle()

    def lost(self, slot: Slot, why: str) -> None:
        """A source's connection is gone."""
        log.warning("source %s/%s lost: %s", self.section.name, slot.name, why)
        slot.peer, slot.started, slot.flows, slot.ended = None, False, False, True
        self.troubles.impairments.gone(slot.name, self._clock.boottime_ns())
        if self.session is not None:
            self.writing.release_of(self.session, slot)
            slot.has_init = False
            self.session.lost(slot, why)
            self._settle()

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

    @property
    def can_listen(self) -> bool:
        """Whether a microphone is recording that can listen for an announcement."""
        return self.session is not None and self.session.off is None and self.slots.has_ear

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
            self.writing.release(session)
        if session.runs:
            self.troubles.end_hung(session, now)
        if session.gather_until_ns is None and (session.runs or (session.off_complete and session.ending is None)):
            begun = session.gaps.begins(session.ends(self.tracks), now)
            self.writing.sign_gaps(session, begun)
            session.assembler.expect_holes([track for gap in begun for track in gap.tracks])
        self.troubles.tick(session, now)
        self.writing.sign_due(session)
        self._settle()


def _idle() -> RefusedError:
    return RefusedError("idle", "没有正在进行的记录。", "Nothing is being recorded.")
