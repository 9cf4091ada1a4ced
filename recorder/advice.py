"""What the device tells the officer by itself: facts in, cues out, none too often. Pure.

Every warning that is not the direct answer to a press is decided here, so that one place says how often a person is
spoken to:

1. Storage, while something is recorded: at each worse level at once, then again each time half the minutes are gone; of
   a full storage once.
2. Clock: that it is unset, at the start of the device and of each session; that it has been set or moved, once.
3. Hand-over, while nothing is recorded (an officer at work has other things to do): soon and overdue, at most hourly;
   that all has been handed over, once.
4. Certificate: from ninety days before its end, once a day, while nothing is recorded.

Times are boot-time in nanoseconds, but where a name says UTC.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, NamedTuple

from recorder.evidence import texts
from recorder.storage import CRITICAL, FULL, LEVELS, LOW, MINUTE_NS, PLENTY

if TYPE_CHECKING:
    from recorder.storage import Room

HOUR_NS: Final = 60 * MINUTE_NS
DAY_NS: Final = 24 * HOUR_NS
UPLOAD_EVERY_NS: Final = HOUR_NS
CERTIFICATE_EVERY_NS: Final = DAY_NS
CERTIFICATE_WITHIN_NS: Final = 90 * DAY_NS
STEP_SMALLEST_NS: Final = 2_000_000_000
"""A clock that is moved by less is on record, and nothing that an officer need know."""


class Uploads(NamedTuple):
    """Sessions that are not handed over."""

    pending: int = 0
    """Closed, and a store has not receipted all of it."""
    soon: int = 0
    """Of these, due soon."""
    soon_hours: int = 0
    """Hours left for the nearest of them, at least one."""
    overdue: int = 0
    """Late since their end."""
    overdue_return: int = 0
    """Deferred, and late since the return."""
    first_due_utc_ns: int | None = None
    """When the time of the nearest one that is not overdue runs out."""


class Facts(NamedTuple):
    """What the device knows of itself."""

    recording: bool
    """A session is open that an officer conducts: a hall's recording without a break has nobody to be told."""
    session: bytes | None
    """The newest open session."""
    room: Room
    clock: str
    """``synchronised``, ``holdover`` or ``unset``."""
    utc_ns: int
    uploads: Uploads | None = None
    """None while that is not known."""
    certificate_not_after_utc_ns: int | None = None


class Advice(NamedTuple):
    """One cue."""

    text: str
    arguments: dict[str, str]
    """As :func:`recorder.voice.sounds.spoken_argument` takes them."""


@dataclass(slots=True)
class Adviser:
    """Remembers what has been said."""

    _level: str = PLENTY
    _minutes: int = 0
    """Said with the last warning of this level."""
    _clock: str | None = None
    _session: bytes | None = None
    _pending: int = 0
    _said_ns: dict[str, int] = field(default_factory=dict)
    _steps_ns: list[int] = field(default_factory=list)

    def stepped(self, step_ns: int) -> None:
        """Somebody moved the clock by so much."""
        if abs(step_ns) >= STEP_SMALLEST_NS:
            self._steps_ns.append(step_ns)

    def look(self, facts: Facts, now_ns: int) -> list[Advice]:
        """Return what is to be said now."""
        advice = [*self._storage(facts), *self._clocks(facts)]
        if not facts.recording:
            advice += self._uploads(facts.uploads, now_ns)
            advice += self._certificate(facts, now_ns)
        return advice

    def _storage(self, facts: Facts) -> list[Advice]:
        level, minutes = facts.room.level, facts.room.minutes
        if not facts.recording and level != FULL:
            self._level = PLENTY  # said again in the next session
            return []
        worse = LEVELS.index(level) > LEVELS.index(self._level)
        halved = level == self._level and level in (LOW, CRITICAL) and minutes <= self._minutes // 2
        if not (worse or (halved and self._minutes)):
            if LEVELS.index(level) < LEVELS.index(self._level):
                self._level, self._minutes = level, minutes
            return []
        self._level, self._minutes = level, minutes
        if level == LOW:
            return [Advice("cue.storage.low", {"minutes": f"count:{minutes}"})]
        return [Advice("cue.storage.critical" if level == CRITICAL else "cue.storage.full", {})]

    def _clocks(self, facts: Facts) -> list[Advice]:
        before, self._clock = self._clock, facts.clock
        begun = facts.recording and facts.session != self._session
        self._session = facts.session
        steps, self._steps_ns = self._steps_ns, []
        if facts.clock == "unset":
            return [Advice("cue.clock.unset", {})] if before != "unset" or begun else []
        if before == "unset":
            return [Advice("cue.clock.set", {})]  # the step that set it is no news of its own
        moved = sum(steps)
        return [Advice("cue.clock.stepped", {"offset": f"length:{abs(moved)}"})] if moved else []

    def _uploads(self, uploads: Uploads | None, now_ns: int) -> list[Advice]:
        if uploads is None:
            return []
        done, self._pending = self._pending > 0 and uploads.pending == 0, uploads.pending
        if done:
            return [Advice("cue.upload.done", {})]
        found = []
        for text, count, arguments in (
            ("cue.upload.overdue", uploads.overdue, {}),
            ("cue.upload.overdue.return", uploads.overdue_return, {}),
            ("cue.upload.soon", uploads.soon, {"hours": f"count:{uploads.soon_hours}"}),
        ):
            if count and self._again(text, UPLOAD_EVERY_NS, now_ns):
                found.append(Advice(text, {"count": f"count:{count}"} | arguments))
        return found

    def _certificate(self, facts: Facts, now_ns: int) -> list[Advice]:
        until = facts.certificate_not_after_utc_ns
        if until is None or facts.clock == "unset" or until - facts.utc_ns > CERTIFICATE_WITHIN_NS:
            return []
        if not self._again("cue.certificate.expiring", CERTIFICATE_EVERY_NS, now_ns):
            return []
        day = datetime.fromtimestamp(until // 10**9, UTC).astimezone(texts.BEIJING).date()
        return [Advice("cue.certificate.expiring", {"date": f"day:{day}"})]

    def _again(self, text: str, every_ns: int, now_ns: int) -> bool:
        said_ns = self._said_ns.get(text)
        if said_ns is not None and now_ns - said_ns < every_ns:
            return False
        self._said_ns[text] = now_ns
        return True
