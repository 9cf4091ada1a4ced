"""What an officer may do, and what the machine refuses: a pure state machine for one stream.

It decides; the daemon obeys. Its rules:

1. A start is never refused. Where the agency's policy orders it, the first press at what looks like the same place is
   answered and put on record, and the next one records; never for a matter that must be recorded.
2. A start soon after an end is linked to it, and says as what: lawful (unsuitable content, adjourned hearing, change of
   device), after a fault, or intermittent (R4). Time or position alone never refuse anything.
3. There is no pause. The end of the work on site needs the statement that it is over, and has ten seconds of grace in
   which a press goes on as if nothing had been.
4. Unsuitable content (R10) is an interval inside the session: its reason is spoken and recorded first, a reminder comes
   each minute, one press goes on. The reason must be one that the policy knows.
5. What the device itself must end (battery, storage, shutdown) ends at once and in order.
6. Nothing that was recorded is ever touched: no event leads to anything being discarded.

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
    must: frozenset[str] = frozenset()
    """Matters that must be recorded."""
    whole: frozenset[str] = frozenset()
    """Matters that must be recorded from beginning to end."""
    not_recorded: frozenset[str] = frozenset()
    """Lawful reasons for not recording."""
    refuses_restart: bool = False


@dataclass(frozen=True, slots=True)
class Ended:
    """The session before."""

    session: bytes
    reason: str
    boottime_ns: int | None
    """When it was closed; None where that was in another boot and cannot be told."""


@dataclass(frozen=True, slots=True)
class Open:
    """Open a session."""

    trigger: str
    matter: str | None
    must_be_whole: bool
    linked_session: bytes | None
    link_class: str | None


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
        self._last = last
        self._refused_once = False
        self._ending: tuple[str, str] | None = None
        self._due_ns = 0
        self._reason = ""
        self._left_ns = 0
        self._minutes = 0

    # -- what the daemon tells -----------------------------------------------------------------------------------

    def recovered(self, matter: str | None = None) -> None:
        """A session that a crash interrupted goes on."""
        self.state, self.matter = State.RECORDING, matter

    def closed(self, session: bytes, reason: str, now_ns: int) -> None:
        """The session has been closed, by whatever way."""
        self.state, self.matter, self._ending = State.IDLE, None, None
        self._last = Ended(session, reason, now_ns)

    # -- what people do ------------------------------------------------------------------------------------------

    def start(self, now_ns: int, trigger: str, matter: str | None = None) -> list[Order]:
        """Begin to record; in a session it is a press like any other."""
        if self.state is not State.IDLE:
            return self.press(now_ns, trigger)
        linked, link_class = self._link(now_ns)
        must = matter in self.policy.must
        if link_class == "intermittent" and self.policy.refuses_restart and not must and not self._refused_once:
            self._refused_once = True
            return [Say("say.restart.refused"), Cue("cue.restart.refused.how")]
        self._refused_once = False
        self.state, self.matter = State.RECORDING, matter
        orders: list[Order] = [Open(trigger, matter, matter in self.policy.whole, linked, link_class)]
        if link_class == "intermittent":
            orders += [Say("say.restart.linked"), Cue("cue.restart.linked.explain")]
        return orders

    def press(self, now_ns: int, trigger: str = "button") -> list[Order]:
        """Press the button shortly: what it means depends on the state, and always keeps recording."""
        if self.state is State.IDLE:
            return self.start(now_ns, trigger)
        if self.state is State.CLOSING:
            if self._ending is None:
                return []  # the session is being closed; a press after it begins a new one
            self.state, self._ending = State.RECORDING, None
            return [Say("say.end.cancelled")]
        if self.state is State.LEAVING:
            self.state = State.RECORDING
            return [Say("say.end.cancelled")]
        if self.state is State.UNSUITABLE:
            return self._go_on(now_ns)
        return self.mark(now_ns, "important")

    def mark(self, now_ns: int, marker: str, basis: str = "declared") -> list[Order]:
        """Point out a moment.

        Raises:
            NotAllowedError: nothing is being recorded.
        """
        self._need_session()
        return [Sign(Marker(marker=marker, at_boottime_ns=now_ns, basis=basis)), Cue("cue.mark")]

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
            self.state, self._ending = State.CLOSING, None
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
        if self.state in (State.LEAVING, State.UNSUITABLE) or (self.state is State.CLOSING and self._ending is None):
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
        if self.state is State.IDLE or (self.state is State.CLOSING and self._ending is None):
            return []
        orders: list[Order] = [Sign(self._interval(now_ns))] if self.state is State.UNSUITABLE else []
        self.state, self._ending = State.CLOSING, None
        if reason in _SPOKEN_END:
            orders.append(Say(_SPOKEN_END[reason]))
        return [*orders, Close(reason, "device", statement=False)]

    def tick(self, now_ns: int) -> list[Order]:
        """Time has passed."""
        if self.state is State.CLOSING and self._ending is not None and now_ns >= self._due_ns:
            (reason, by), self._ending = self._ending, None
            return [Close(reason, by, statement=reason in STATED)]
        if self.state is State.LEAVING and now_ns >= self._due_ns:
            return self._leave(now_ns)
        if self.state is State.UNSUITABLE and now_ns >= self._due_ns:
            self._due_ns += REMIND_NS
            self._minutes += 1
            return [Cue("cue.unsuitable.reminder", {"minutes": str(self._minutes)})]
        return []

    # -- inside --------------------------------------------------------------------------------------------------

    def _leave(self, now_ns: int) -> list[Order]:
        self.state, self._left_ns, self._minutes = State.UNSUITABLE, now_ns, 0
        self._due_ns = now_ns + REMIND_NS
        begins = NotRecorded(reason=self._reason, scope="interval", lawful=True, start_boottime_ns=now_ns)
        return [Sign(begins), Interrupt("unsuitable")]

    def _go_on(self, now_ns: int) -> list[Order]:
        self.state = State.RECORDING
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

    def _link(self, now_ns: int) -> tuple[bytes | None, str | None]:
        last = self._last
        if last is None:
            return None, None
        since_ns = now_ns - last.boottime_ns if last.boottime_ns is not None else None
        if last.reason in _LAWFUL:
            soon = since_ns is None or since_ns <= LINK_LAWFUL_NS
            return (last.session, _LAWFUL[last.reason]) if soon else (None, None)
        if last.reason == "moved" or (since_ns is not None and since_ns > LINK_SOON_NS):
            return None, None
        if last.reason in _FAULTS:
            return last.session, "after-fault"
        # After another boot nobody knows how long ago that was: nothing is claimed.
        return (last.session, "intermittent") if since_ns is not None else (None, None)

    def _need_session(self) -> None:
        if self.state is State.IDLE:
            raise NotAllowedError("idle", "nothing is being recorded")
