"""What an officer may do, and what the machine refuses: a pure state machine for one stream.

It decides; the daemon obeys. Its rules:

1. A start is never refused. Where the agency's policy orders it, the first press at what looks like the same place is
   answered and put on record, and the next one records; never for a matter that must be recorded. A start while the
   session before is being closed begins the next one.
2. A start soon after an end is linked to it, and says as what: lawful (unsuitable content, adjourned hearing, change of
   device), after a fault, or intermittent (R4). Time or position alone never refuse anything. A hearing that was
   adjourned goes on as the same matter.
3. There is no pause. The end of the work on site needs the statement that it is over, and has ten seconds of grace in
   which a press goes on as if nothing had been.
4. Unsuitable content (R10) is an interval inside the session: its reason is spoken and recorded first, a reminder comes
   each minute, one press goes on. The reason must be one that the policy knows.
5. What the device itself must end (battery, storage, shutdown) ends at once and in order.
6. Nothing that was recorded is ever touched: no event leads to anything being discarded.
7. A crash ends neither a session nor an interval of unsuitable content: it goes on as what it was.
8. Everyone present is reminded of the recording as often as the policy says, and told when the device goes on with
   sound or picture alone.

Times are boot-time in nanoseconds. What happens is told by the methods; each returns what the daemon is to do, in
order.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from recorder.errors import RecorderError
from recorder.evidence.records import Body, Marker, NotRecorded

SECOND_NS: Final = 1_000_000_000
GRACE_NS: Final = 10 * SECOND_NS
SPOKEN_WITHIN_NS: Final = 10 * SECOND_NS
"""The reason for an interval is to be spoken; after so long the interval begins, spoken or not."""
REMIND_NS: Final = 60 * SECOND_NS
LINK_LAWFUL_NS: Final = 12 * 3600 * SECOND_NS
"""A hearing may be adjourned until the afternoon."""
LINK_SOON_NS: Final = 15 * 60 * SECOND_NS
"""A start so soon after the end of work is linked, unless the officers said that they moved on."""

STATED: Final = ("done", "moved")
"""Ends that are the officer's statement that the work on site is over."""
ENDS: Final = (*STATED, "unsuitable", "adjourned", "handover", "danger", "accidental", "obstructed")
"""What a person may give as the reason for ending."""
AUTOMATIC: Final = ("battery", "storage", "fault", "shutdown")
_LAWFUL: Final = {"unsuitable": "lawful-unsuitable", "adjourned": "lawful-adjourned", "handover": "lawful-device"}
_FAULTS: Final = ("battery", "storage", "fault", "shutdown", "interrupted")
_SPOKEN_END: Final = {"adjourned": "say.end.adjourned", "battery": "say.end.battery", "storage": "say.end.storage"}


class State(Enum):
    """Where a stream stands."""

    IDLE = "ready"
    RECORDING = "recording"
    CLOSING = "closing"
    """The end has been ordered; everything is still recorded."""
    LEAVING = "leaving"
    """Unsuitable content was announced; its reason is being spoken, and still recorded."""
    UNSUITABLE = "unsuitable"


class NotAllowedError(RecorderError):
    """What was asked has no place here; ``code`` names why."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class Policy:
    """What the agency's rules leave to decide."""

    grace_ns: int = GRACE_NS
    whole: frozenset[str] = frozenset()
    """Matters that must be recorded from beginning to end."""
    not_recorded: frozenset[str] = frozenset()
    """Lawful reasons for an interval that is not recorded."""
    refusable: frozenset[str] = frozenset()
    """Matters for which a restart at the same place is answered once before it is recorded."""
    remind_ns: int = REMIND_NS
    """How often the officer is told that recording is off."""
    reminder_ns: int = 0
    """How often everyone present is reminded that recording is on; 0: never."""


@dataclass(frozen=True, slots=True)
class Ended:
    """The session before."""

    session: bytes
    reason: str
    boottime_ns: int | None
    """When it was closed, on this boot's clock (before this boot it is negative); None where nobody can tell."""
    matter: str | None = None
    detail: str | None = None
    """Why it could not go on: the reason of unsuitable content."""


@dataclass(frozen=True, slots=True)
class Open:
    """Open a session."""

    trigger: str
    matter: str | None = None
    must_be_whole: bool = False
    linked_session: bytes | None = None
    link_class: str | None = None
    mode: str | None = None
    """How the officer chose to record; None: as the stream does."""


@dataclass(frozen=True, slots=True)
class Close:
    """Close the session in order."""

    reason: str
    closed_by: str
    statement: bool


@dataclass(frozen=True, slots=True)
class Interrupt:
    """Write no more media until :class:`GoOn`; the session stays open."""

    cause: str


@dataclass(frozen=True, slots=True)
class GoOn:
    """Write media again, in the same session."""


@dataclass(frozen=True, slots=True)
class Sign:
    """Sign a record into the session."""

    body: Body


@dataclass(frozen=True, slots=True)
class Say:
    """Speak to everyone present."""

    text: str
    arguments: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Cue:
    """Tell the officer."""

    text: str
    arguments: dict[str, str] = field(default_factory=dict)


Order = Open | Close | Interrupt | GoOn | Sign | Say | Cue


class SessionRules:
    """The rules of one stream."""

    def __init__(self, policy: Policy, last: Ended | None = None) -> None:
        self.policy = policy
        self.state = State.IDLE
        self.matter: str | None = None
        self.session: bytes | None = None
        """The session, once it has been opened."""
        self._last = last
        self._refused_once = False
        self._ending: tuple[str, str] | None = None
        """Reason and by whom, during the grace."""
        self._closing: str | None = None
        """Reason of a close that has been ordered."""
        self._due_ns = 0
        self._reminder_due_ns = 0
        self._reason = ""
        self._left_ns = 0
        self._silent: frozenset[str] = frozenset()

    # -- what the daemon tells -----------------------------------------------------------------------------------

    def opened(self, session: bytes) -> None:
        """The session that was ordered has been opened, or will be as soon as the one before is closed."""
        self.session = session

    def not_opened(self) -> None:
        """The session that was ordered could not be opened: there was no room even for its first record."""
        self.state, self.matter = State.IDLE, None
        if self.session is not None and self._last is not None:  # the one before is still being closed
            self.state, self._closing = State.CLOSING, self._last.reason

    def never_opened(self, session: bytes) -> list[Order]:
        """The session that was to begin behind the one before had no room even for its first record."""
        if session != self.session:
            return []
        self.state, self.session, self.matter = State.IDLE, None, None
        self._ending = self._closing = None
        self._reason, self._silent = "", frozenset()
        return [Cue("cue.storage.full")]

    def remember(self, last: Ended | None) -> None:
        """Say which session ended last, as the log has it."""
        self._last = last

    def recovered(
        self, session: bytes, now_ns: int, matter: str | None = None, interval: tuple[str, int] | None = None
    ) -> list[Order]:
        """A session that a crash interrupted goes on.

        Args:
            session: its id.
            now_ns: the boot-time clock.
            matter: what it records.
            interval: reason and beginning of the interval of unsuitable content that it was in.
        """
        self.session, self.matter, self._ending, self._closing = session, matter, None, None
        self._reminder_due_ns = now_ns + self.policy.reminder_ns
        if interval is None:
            self.state = State.RECORDING
            return []
        self.state, self._due_ns = State.UNSUITABLE, now_ns
        self._reason, self._left_ns = interval
        return self.tick(now_ns)

    def closed(self, session: bytes, reason: str, now_ns: int) -> list[Order]:
        """The session has been closed, by whatever way."""
        unasked = self._closing is None
        self._last = Ended(session, reason, now_ns, self.matter, self._reason or None)
        if session != self.session:
            return []  # the next one has been ordered already
        self.state, self.matter, self.session = State.IDLE, None, None
        self._ending = self._closing = None
        self._reason, self._silent = "", frozenset()
        return [Say(_SPOKEN_END[reason])] if unasked and reason in _SPOKEN_END else []

    def silent(self, tracks: frozenset[str], all_tracks: frozenset[str]) -> list[Order]:
        """Say which tracks have been silent for a while: everyone is told of what is missing, and of its return."""
        if tracks == self._silent or self._closing is not None or self.state in (State.IDLE, State.UNSUITABLE):
            return []
        before, self._silent = self._silent, tracks
        if tracks and tracks < all_tracks:
            return [Say("say.degraded.audio_only" if "video" in tracks else "say.degraded.video_only")]
        return [Say("say.degraded.restored")] if before and not tracks else []

    # -- what people do ------------------------------------------------------------------------------------------

    def start(self, now_ns: int, trigger: str, matter: str | None = None, mode: str | None = None) -> list[Order]:
        """Begin to record, in the manner that the officer chooses (R1); in a session it is a press like any other."""
        if self.state is State.CLOSING and self._closing is not None and self.session is not None:
            self._last = Ended(self.session, self._closing, now_ns, self.matter, self._reason or None)
        elif self.state is not State.IDLE:
            return self.press(now_ns, trigger)
        linked, link_class = self._link(now_ns)
        if matter is None and link_class == "lawful-adjourned" and self._last is not None:
            matter = self._last.matter
        if link_class == "intermittent" and matter in self.policy.refusable and not self._refused_once:
            self._refused_once = True
            return [Say("say.restart.refused"), Cue("cue.restart.refused.how")]
        self._refused_once = False
        self.state, self.matter, self._ending, self._closing = State.RECORDING, matter, None, None
        self._silent = frozenset()
        self._reminder_due_ns = now_ns + self.policy.reminder_ns
        opening = Open(trigger, matter, matter in self.policy.whole, linked, link_class, mode)
        return [opening, *self._continued(link_class)]

    def press(self, now_ns: int, trigger: str = "button", at_ns: int | None = None) -> list[Order]:
        """Press the button shortly: what it means depends on the state, and always keeps recording.

        ``at_ns`` is the moment that is marked, where it is not now.
        """
        if self.state is State.IDLE:
            return self.start(now_ns, trigger)
        if self.state is State.CLOSING:
            if self._closing is not None:
                return self.start(now_ns, trigger)
            self.state, self._ending = State.RECORDING, None
            return [Say("say.end.cancelled")]
        if self.state is State.LEAVING:
            self.state = State.RECORDING
            return [Say("say.end.cancelled")]
        if self.state is State.UNSUITABLE:
            return self._go_on(now_ns)
        return self.mark(now_ns if at_ns is None else at_ns, "important")

    def mark(self, now_ns: int, marker: str, basis: str = "declared") -> list[Order]:
        """Point out a moment.

        Raises:
            NotAllowedError: nothing is being recorded.
        """
        self._need_session()
        told = Cue("cue.mark") if marker == "important" or marker.startswith("rights") else _named_mark(marker)
        return [Sign(Marker(marker=marker, at_boottime_ns=now_ns, basis=basis)), told]

    def end(self, now_ns: int, reason: str, *, statement: bool, by: str) -> list[Order]:
        """Order the end; it comes after the grace.

        Raises:
            NotAllowedError: nothing is being recorded, an unknown reason, or no statement that the work is over.
        """
        self._need_session()
        if reason not in ENDS:
            raise NotAllowedError("reason", f"{reason!r} is not a reason for ending")
        if reason in STATED and not statement:
            raise NotAllowedError("statement", "ending needs the statement that the work on site is over")
        if self.state is State.CLOSING:
            return []
        if self.state is State.UNSUITABLE:
            # Nothing is being recorded that a grace could keep whole, and what is around must not be recorded.
            self.state, self._ending, self._closing = State.CLOSING, None, reason
            return [Sign(self._interval(now_ns)), Close(reason, by, statement=reason in STATED)]
        self.state, self._ending, self._due_ns = State.CLOSING, (reason, by), now_ns + self.policy.grace_ns
        return [Say(self._farewell(reason)), Cue("cue.closing"), *self.tick(now_ns)]

    def unsuitable(self, now_ns: int, reason: str) -> list[Order]:
        """Unsuitable content comes up: say why, then record nothing until a press.

        Raises:
            NotAllowedError: nothing is being recorded, or the policy does not know the reason.
        """
        self._need_session()
        if reason not in self.policy.not_recorded or reason == "text_sufficient":
            raise NotAllowedError("reason", f"{reason!r} is not a lawful reason for an interval")
        if self.state in (State.LEAVING, State.UNSUITABLE) or self._closing is not None:
            return []
        self.state, self._ending = State.LEAVING, None
        self._reason, self._due_ns = reason, now_ns + SPOKEN_WITHIN_NS
        return [Say("say.end.unsuitable", {"reason": f"notrec.{reason}"})]

    def spoken(self, text: str, now_ns: int) -> list[Order]:
        """A text has been spoken to its end."""
        if self.state is State.LEAVING and text == "say.end.unsuitable":
            return self._leave(now_ns)
        return []

    def automatic(self, now_ns: int, reason: str) -> list[Order]:
        """The device itself must end: at once, in order, whatever else was going on."""
        if self.state is State.IDLE or self._closing is not None:
            return []
        orders: list[Order] = [Sign(self._interval(now_ns))] if self.state is State.UNSUITABLE else []
        self.state, self._ending, self._closing = State.CLOSING, None, reason
        if reason in _SPOKEN_END:
            orders.append(Say(_SPOKEN_END[reason]))
        return [*orders, Close(reason, "device", statement=False)]

    def tick(self, now_ns: int) -> list[Order]:
        """Time has passed."""
        if self.state is State.CLOSING and self._ending is not None and now_ns >= self._due_ns:
            (reason, by), self._ending = self._ending, None
            self._closing = reason
            return [Close(reason, by, statement=reason in STATED)]
        if self.state is State.LEAVING and now_ns >= self._due_ns:
            return self._leave(now_ns)
        if self.state is State.UNSUITABLE and now_ns >= self._due_ns:
            self._due_ns = now_ns + self.policy.remind_ns
            minutes = max(1, (now_ns - self._left_ns) // (60 * SECOND_NS))
            return [Cue("cue.unsuitable.reminder", {"minutes": f"count:{minutes}"})]
        reminds = self.policy.reminder_ns and self.state is State.RECORDING and now_ns >= self._reminder_due_ns
        if reminds:
            self._reminder_due_ns = now_ns + self.policy.reminder_ns
            return [Say("say.reminder")]
        return []

    # -- inside --------------------------------------------------------------------------------------------------

    def _leave(self, now_ns: int) -> list[Order]:
        self.state, self._left_ns, self._due_ns = State.UNSUITABLE, now_ns, now_ns + self.policy.remind_ns
        begins = NotRecorded(reason=self._reason, scope="interval", lawful=True, start_boottime_ns=now_ns)
        return [Sign(begins), Interrupt("unsuitable")]

    def _go_on(self, now_ns: int) -> list[Order]:
        self.state = State.RECORDING
        self._reminder_due_ns = now_ns + self.policy.reminder_ns
        return [GoOn(), Sign(self._interval(now_ns)), Say("say.resume.unsuitable")]

    def _interval(self, now_ns: int) -> NotRecorded:
        return NotRecorded(
            reason=self._reason,
            scope="interval",
            lawful=True,
            start_boottime_ns=self._left_ns,
            end_boottime_ns=now_ns,
        )

    def _farewell(self, reason: str) -> str:
        if self.matter == "hearing" and reason in STATED:
            return "say.end.hearing"
        return _SPOKEN_END.get(reason, "say.end")

    def _continued(self, link_class: str | None) -> list[Order]:
        """What is said, after the announcement, of a start that is linked to the session before."""
        if link_class == "intermittent":
            return [Say("say.restart.linked"), Cue("cue.restart.linked.explain")]
        if link_class == "lawful-adjourned":
            return [Say("say.resume.hearing")]
        if link_class == "lawful-unsuitable" and self._last is not None and self._last.detail is not None:
            return [Say("say.restart.lawful", {"reason": f"notrec.{self._last.detail}"})]
        return []

    def _link(self, now_ns: int) -> tuple[bytes | None, str | None]:
        last = self._last
        if last is None:
            return None, None
        since_ns = now_ns - last.boottime_ns if last.boottime_ns is not None else None
        if last.reason in _LAWFUL:
            soon = since_ns is None or since_ns <= LINK_LAWFUL_NS
            return (last.session, _LAWFUL[last.reason]) if soon else (None, None)
        # Where nobody can tell how long ago that was, nothing is claimed.
        if last.reason == "moved" or since_ns is None or since_ns > LINK_SOON_NS:
            return None, None
        return last.session, "after-fault" if last.reason in _FAULTS else "intermittent"

    def _need_session(self) -> None:
        if self.state is State.IDLE or self._closing is not None:
            raise NotAllowedError("idle", "nothing is being recorded")


def _named_mark(marker: str) -> Cue:
    return Cue("cue.mark.kind", {"marker": f"marker.{marker}"})
