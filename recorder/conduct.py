"""Lets a stream obey the rules of a lawful session: between :mod:`recorder.session`, the stream and the voice.

Every method may raise :class:`recorder.spool.errors.DiskFullError`: there was no room for what had to be signed.
"""

from __future__ import annotations

import logging
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol

from recorder import lawful
from recorder.control import RefusedError
from recorder.evidence import details as particulars
from recorder.evidence import faults, records
from recorder.photos import Photos
from recorder.session import ENDS, Close, Cue, GoOn, Interrupt, NotAllowedError, Open, Say, SessionRules, Sign, State
from recorder.stream import NOT_OPENED, UNKEPT_ENDS

if TYPE_CHECKING:
    from collections.abc import Callable

    from recorder.clock import Clock
    from recorder.evidence.details import SessionDetails
    from recorder.evidence.policy import Policy as AgencyPolicy
    from recorder.opened import Recovered
    from recorder.recital import Given
    from recorder.session import Order
    from recorder.spool.media import FileFacts
    from recorder.spool.spool import Spool
    from recorder.stream import StreamRecorder

log = logging.getLogger(__name__)

MOMENTS: Final = 64
"""So many of the newest markers are shown, for whoever tells their kind later."""
PHOTO_SESSION_NS: Final = 20_000_000_000
"""A session for photographs alone ends so long after the last of them: its announcement has been heard by then."""


class Speaks(Protocol):
    """What tells everyone, and the officer."""

    def say(self, stream: StreamRecorder, text: str, arguments: dict[str, str] | None = None) -> None:
        """Speak to everyone present."""

    def cue(self, stream: StreamRecorder, text: str, arguments: dict[str, str] | None = None) -> None:
        """Tell the officer."""

    def say_after(
        self, stream: StreamRecorder, session: bytes, text: str, arguments: dict[str, str] | None = None
    ) -> None:
        """Speak to everyone present about a session that is over."""

    def set_quiet(self, stream: StreamRecorder, *, quiet: bool) -> None:
        """Say whether a quiet matter is recorded."""


class Teller:
    """A device without a voice, and a hall, where a sign tells: the log alone, and the panel."""

    def __init__(self, cued: Callable[[int, str], None]) -> None:
        self._cued = cued

    def say(self, stream: StreamRecorder, text: str, arguments: dict[str, str] | None = None) -> None:
        """Log it; what is filled in may be a name."""
        del arguments
        log.info("stream %s: not spoken: %s", stream.section.name, text)

    def cue(self, stream: StreamRecorder, text: str, arguments: dict[str, str] | None = None) -> None:
        """Log it, and let the panel tell it by its rhythm."""
        self.say(stream, text, arguments)
        self._cued(stream.number, text)

    def say_after(
        self, stream: StreamRecorder, session: bytes, text: str, arguments: dict[str, str] | None = None
    ) -> None:
        """Log it."""
        self.say(stream, text, {"session": session.hex()} | (arguments or {}))

    def set_quiet(self, stream: StreamRecorder, *, quiet: bool) -> None:
        """Nothing sounds anyway."""


class Conduct:
    """One stream's sessions, as officers, the device and time make them."""

    def __init__(
        self,
        stream: StreamRecorder,
        agency: AgencyPolicy,
        spool: Spool,
        clock: Clock,
        speaker: Speaks,
        closed: Callable[[Conduct, bytes, str], None],
        shown_matter: Callable[[], str | None] = lambda: None,
    ) -> None:
        """Make one.

        Args:
            stream: The stream.
            agency: Its agency's policy.
            spool: Where the log is.
            clock: Boot-time.
            speaker: Tells everyone, and the officer.
            closed: Called when a session has been closed, with its id and the reason.
            shown_matter: Tells the matter of a task that was shown to the lens before a start.
        """
        self.stream = stream
        self._shown_matter = shown_matter
        self.agency = agency
        self._rules = SessionRules(lawful.session_policy(agency, stream.section.mode))
        self._spool = spool
        self._clock = clock
        self._speaker = speaker
        self.moments: deque[tuple[int, str, int]] = deque(maxlen=MOMENTS)
        """Markers of the newest session: number of the record, kind, boot-time."""
        self.photos = Photos(stream, clock, self._photo_failed)
        self._photo_session: bytes | None = None
        """Photographs out of a session have one of their own, which the rules of a recording do not know."""
        self._photo_due: Open | None = None
        self._photo_until_ns = 0
        self._closed = closed
        self._awaited: list[Callable[[], None]] = []
        """What is for the session that begins when the one before is closed, in order."""

    @property
    def state(self) -> State:
        """Where the stream stands."""
        return self._rules.state

    @property
    def matter(self) -> str | None:
        """What is being recorded, as far as it has been said."""
        return self._rules.matter

    @property
    def session(self) -> bytes | None:
        """The session that is open, or begins as soon as the one before is closed."""
        return self._rules.session

    @property
    def name(self) -> str:
        """What the stream is called."""
        return self.stream.section.name

    @property
    def open_session(self) -> bytes | None:
        """The session that particulars can be added to now."""
        return self.stream.session.id if self._recording() and self.stream.session is not None else None

    @property
    def off(self) -> bool:
        """Whether an interval of unsuitable content is going on: nothing is recorded."""
        session = self.stream.session
        return self.state is State.UNSUITABLE or (session is not None and session.off is not None)

    @property
    def photographs(self) -> bool:
        """Whether a session for photographs alone is open."""
        return self._photo_session is not None

    def cue(self, text: str, arguments: dict[str, str] | None = None) -> None:
        """Tell the officer."""
        self._speaker.cue(self.stream, text, arguments)

    # -- what happens --------------------------------------------------------------------------------------------

    def recovered(self, found: Recovered | None) -> None:
        """The log has been looked through after a start; ``found`` is the session that goes on."""
        while self.stream.closed:
            self._closed(self, *self.stream.closed.pop(0))
        now = self._clock.now()
        last = lawful.last_ended(self._spool, self.stream.number, now)
        self._rules.remember(last)
        # One that had an interval of unsuitable content may have ended in it.
        if last is not None and (last.reason in UNKEPT_ENDS or last.detail is not None):
            self.stream.keep_no_past()
        if found is None:
            return
        self._set_quiet(found.matter)
        self._obey(self._rules.recovered(found.session, now.boottime_ns, found.matter, found.interval))
        if found.interval is None:
            cause = "gap.power" if found.power else "gap.restart"
            if found.off_ns is None:
                self._speaker.say(self.stream, "say.resume.gap.unknown_length", {"cause": cause})
            else:
                self._speaker.say(
                    self.stream, "say.resume.gap", {"cause": cause, "duration": f"length:{max(found.off_ns, 0)}"}
                )

    def tick(self) -> None:
        """Time has passed."""
        now = self._look()
        self._set_quiet(self._rules.matter)
        self._obey(self._rules.tick(now))
        self._obey(self._rules.silent(self.stream.silent, frozenset(self.stream.tracks)))
        self.photos.tick()
        self._look_after_photos(now)
        while self.stream.troubles.cues:
            self._speaker.cue(self.stream, self.stream.troubles.cues.pop(0))

    def spoken(self, text: str) -> None:
        """A text has been spoken to its end."""
        self._obey(self._rules.spoken(text, self._look()))

    def automatic(self, reason: str) -> None:
        """The device itself must end: ``battery``, ``storage``, ``fault`` or ``shutdown``."""
        self._photo_due = None
        self._end_photos(reason)
        self._obey(self._rules.automatic(self._look(), reason))

    # -- what people do ------------------------------------------------------------------------------------------

    def start(
        self,
        trigger: str,
        matter: str | None = None,
        details: SessionDetails | None = None,
        mode: str | None = None,
    ) -> None:
        """Begin to record; in a session it is a press like any other."""
        self.stream.close_what_waits()
        self._end_photos("done")
        now = self._look()
        if matter is None and details is not None:
            matter = details.matter
        if matter is None:
            matter = self._shown_matter()
        self._obey(self._rules.start(now, trigger, matter, mode))
        if details is not None and self.session is not None:
            self._for_session(lambda: self.add_details(details, when="start"))

    def press(self, trigger: str, at_ns: int | None = None) -> None:
        """Press the button shortly: what it means depends on the state, and always keeps recording.

        ``at_ns`` is when it was pressed on the boot-time clock, where that is known better than by now.
        """
        self.stream.close_what_waits()
        now = self._look()
        if self.state is State.IDLE:
            self.start(trigger)
        else:
            self._obey(self._rules.press(now, trigger, None if at_ns is None else min(at_ns, now)))

    def end(self, reason: str, *, statement: bool, by: str) -> None:
        """Order the end; it comes after the grace.

        Raises:
            RefusedError: nothing is being recorded, an unknown reason, or no statement that the work is over.
        """
        if reason in ENDS and self._end_photos(reason):
            return
        now = self._look()
        self._ask(lambda: self._rules.end(now, reason, statement=statement, by=by))

    def unsuitable(self, reason: str) -> None:
        """Unsuitable content comes up (R10).

        Raises:
            RefusedError: nothing is being recorded, or the policy does not know the reason.
        """
        now = self._look()
        self._ask(lambda: self._rules.unsuitable(now, reason))

    def mark(self, marker: str) -> int | None:
        """Point out a moment.

        Returns:
            The number of its record, by which its kind can be told later; None where it waits for its session to begin.

        Raises:
            RefusedError: nothing is being recorded.
        """
        now = self._look()
        self._ask(lambda: self._rules.mark(now, marker))
        return self.moments[-1][0] if self.moments else None

    def classify(self, marker: str, sequence: int, author: str) -> None:
        """Say later what a moment was that was only pointed out: the earlier marker stays, this one stands beside it.

        Raises:
            RefusedError: nothing is being recorded, or that record is no marker of this recording.
        """
        self._look()
        session = self.stream.session
        if session is None:
            raise RefusedError("idle", _REFUSALS["idle"], "Nothing is being recorded; name the recording with --after.")
        moment = self.stream.log.marker_at(session.id, sequence)
        self.add_details(particulars.SessionDetails(author=author))
        self.stream.sign([classified(moment, marker, sequence)])

    def photo(self, trigger: str, matter: str | None = None) -> bytes | None:
        """Take a photograph (R1): part of the session that is open, else of one of its own.

        Returns:
            That session's id; None while the one before is still being closed.

        Raises:
            RefusedError: there is no camera, or recording is off as the rules require.
        """
        now = self._look()
        if self.off:
            raise RefusedError(
                "unsuitable",
                "依规定停止记录期间不能拍照；按键恢复记录后再拍。",
                "Recording is off as the rules require: no photograph is taken. A press goes on recording.",
            )
        self.photos.camera()
        self._photo_due = Open(trigger, matter, mode="photo")
        self._look_after_photos(now)
        return self._photo_session or (self.session if self._recording() else None)

    def add_details(self, stated: SessionDetails, *, when: str = "during", author: str = "officer") -> None:
        """Put particulars on record (R2, R6): a file of their own; the record beside it tells nothing personal.

        Raises:
            RefusedError: nothing is being recorded.
        """

        def body(facts: FileFacts) -> records.Body:
            count = len(stated.officers) or None
            return records.Details(**facts.fields(), when=when, author=author, officers_count=count)

        self.stream.sign_file("details", particulars.encode(stated), body)
        log.info("stream %s: details (%s, by %s) are on record", self.stream.section.name, when, author)
        if stated.matter is not None:
            self._rules.matter = stated.matter
            self._set_quiet(stated.matter)

    def recite(self, given: Given) -> None:
        """Speak a record's number and its check code (R23)."""
        arguments = {"number": f"digits:{given.code.number}", "code": f"digits:{given.code.groups}"}
        if self.stream.session is None:
            self._speaker.say_after(self.stream, given.session, given.text, arguments)
        else:
            self._speaker.say(self.stream, given.text, arguments)

    # -- inside --------------------------------------------------------------------------------------------------

    def _recording(self) -> bool:
        return self.stream.session is not None and self.stream.session.ending is None

    def _look_after_photos(self, now_ns: int) -> None:
        """Ask for what is due as soon as its session is open, and end a session for photographs when it is over."""
        session = self.stream.session
        if self._photo_due is not None:
            if session is None and self.session is None:
                self._photo_until_ns = now_ns + PHOTO_SESSION_NS
                order, self._photo_due = self._photo_due, None
                self._photo_session = self.stream.open_session(order)
                self.photos.ask()
            elif session is not None and session.ending is None:
                self._photo_due, self._photo_until_ns = None, now_ns + PHOTO_SESSION_NS
                if session.off is None:
                    self.photos.ask()
            session = self.stream.session
        if self._photo_session is None or session is None or session.id != self._photo_session:
            return
        if now_ns >= self._photo_until_ns and not self.photos.waiting and session.ending is None:
            self._end_photos("done")

    def _photo_failed(self) -> None:
        text = "cue.fault.recording_goes_on" if self._photo_session is None else "cue.fault"
        self.cue(text, {"code": f"digits:{faults.table()['photo_failed'].number}"})

    def _end_photos(self, reason: str) -> bool:
        """End a session for photographs alone; return whether there was one.

        A photograph that is still coming is then part of the recording that begins.
        """
        session = self.stream.session
        if self._photo_session is None or session is None or session.id != self._photo_session:
            return False
        if session.ending is None:
            self.stream.end(reason, "device")
        return True

    def _look(self) -> int:
        """Take up what has happened to the stream by itself; return the boot-time clock."""
        now = self._clock.boottime_ns()
        while self.stream.closed:
            session, reason = self.stream.closed.pop(0)
            if reason == NOT_OPENED:
                self._obey(self._rules.never_opened(session))
                continue
            if session == self._photo_session:
                self._photo_session = None
                self._closed(self, session, reason)
                continue
            self._obey(self._rules.closed(session, reason, now))
            self._closed(self, session, reason)
        if self._awaited and not self._begins_later():
            awaited, self._awaited = self._awaited, []
            for what in awaited if self.stream.session is not None else ():
                what()
        return now

    def _begins_later(self) -> bool:
        """Tell whether the session that the rules speak of begins when another one has been closed."""
        open_now = self.stream.session
        return open_now is not None and self.session is not None and self.session != open_now.id

    def _for_session(self, what: Callable[[], None]) -> None:
        """Do what concerns the session that the rules speak of: now, or as soon as it begins."""
        if self._begins_later():
            self._awaited.append(what)
        else:
            what()

    def _close(self, order: Close) -> None:
        if self._recording() or self._begins_later():  # else a full disk has ordered its end already
            self.stream.end(order.reason, order.closed_by, statement=order.statement)

    def _set_quiet(self, matter: str | None) -> None:
        self._speaker.set_quiet(self.stream, quiet=self.agency.duty(matter).quiet)

    def _ask(self, what: Callable[[], list[Order]]) -> None:
        try:
            orders = what()
        except NotAllowedError as error:
            raise RefusedError(error.code, _REFUSALS[error.code], f"Not done: {error}.") from error
        self._obey(orders)

    def _obey(self, orders: list[Order]) -> None:
        for order in orders:
            if isinstance(order, Open):
                self._open(order)
            elif isinstance(order, Close):
                close = partial(self._close, order)
                self._for_session(close) if self._awaited else close()
            elif isinstance(order, Interrupt):
                self._for_session(partial(self.stream.interrupt, order.cause))
            elif isinstance(order, GoOn):
                self._for_session(self.stream.go_on)
            elif isinstance(order, Sign):
                self._for_session(partial(self._sign, order.body))
            elif isinstance(order, Say):
                self._speaker.say(self.stream, order.text, order.arguments)
            elif isinstance(order, Cue):
                self._speaker.cue(self.stream, order.text, order.arguments)

    def _sign(self, body: records.Body) -> None:
        (record,) = self.stream.sign([body])
        if isinstance(body, records.Marker):
            self.moments.append((record.sequence, body.marker, body.at_boottime_ns))

    def _open(self, order: Open) -> None:
        try:
            session = self.stream.open_session(order)
        except BaseException:
            self._rules.not_opened()
            raise
        self._rules.opened(session)
        self.moments.clear()
        self._set_quiet(order.matter)


def classified(moment: records.Marker, marker: str, sequence: int) -> records.Marker:
    """Return what says of which kind an earlier marker is."""
    return records.Marker(marker=marker, at_boottime_ns=moment.at_boottime_ns, basis="later", classifies=sequence)


_REFUSALS = {
    "idle": "没有正在进行的记录。",
    "reason": "没有这个理由，记录未停止。",
    "statement": "结束记录须声明现场执法活动已经结束，记录未停止。",
}
