"""When a recording must have been handed over (R12), and what a deferral changes (R13): from records alone. Pure.

The clock starts at the end of the session; a file's arrival is not needed to know that it is late. A deferral counts
only on a ground that the agency's rule knows, and only where it was signed before the time had run out: it moves the
start of the clock to the return, and the return is the earliest sign of it. Where the device's clock was unset there is
nothing to count from: then the hand-over is urgent, and never called late.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, NamedTuple

from recorder.evidence.records import Deferral, Return

if TYPE_CHECKING:
    from collections.abc import Iterable

    from recorder.evidence.policy import Policy
    from recorder.evidence.records import Record

HOUR_NS: Final = 3600 * 10**9
SOON_NS: Final = 4 * HOUR_NS
"""A hand-over is due soon for so long before its time runs out."""


class HandoverRule(NamedTuple):
    """What the agency's rule says of hand-over; the default is what all five agree on."""

    hours: int = 24
    deferral_reasons: frozenset[str] = frozenset()
    """Grounds on which the rule lets hand-over wait for the return; empty where it knows no exception."""
    hours_after_return: int = 24
    from_capture: bool = False
    """Footage of a hall counts from when it was taken, not from the end of the day's session."""


class Deferred(NamedTuple):
    """A deferral, as signed."""

    reason: str
    max_days: int
    utc_ns: int | None
    """None where the clock was unset."""


class Returned(NamedTuple):
    """A sign of the return to the unit, as signed."""

    sign: str
    utc_ns: int | None


@dataclass(frozen=True)
class Deadline:
    """How one session stands."""

    state: str
    """``unclosed``, ``urgent``, ``pending``, ``soon``, ``deferred``, ``late``, ``handed-over``, ``handed-over-late``,
    ``handed-over-untimed`` (it is here, and no clock tells whether in time), or ``unknown`` (nobody who can be
    believed says whether it was handed over)."""
    due_utc_ns: int | None = None
    """When the time runs out; None where it has not begun to run, or cannot be known."""
    late_ns: int = 0
    """How long after ``due_utc_ns`` it was, or is now."""
    deferral: Deferred | None = None
    """The one that counts."""
    returned: Returned | None = None
    refused: tuple[Deferred, ...] = ()
    """Deferrals that change nothing: on a ground that the rule does not know, or signed too late."""
    open_too_long: bool = False
    """Deferred for more days than the deferral itself allowed, and no return on record."""

    soon: bool = False
    """Its time runs out soon."""

    @property
    def late(self) -> bool:
        """It is, or was, too late."""
        return self.state in ("late", "handed-over-late")


def judge(
    rule: HandoverRule,
    *,
    closed: bool,
    end_utc_ns: int | None,
    now_utc_ns: int,
    handed_over: bool = False,
    handed_over_utc_ns: int | None = None,
    deferrals: Iterable[Deferred] = (),
    returns: Iterable[Returned] = (),
) -> Deadline:
    """Say how the hand-over of one session stands.

    Args:
        rule: the agency's.
        closed: the session has ended.
        end_utc_ns: from when the time runs; None where the device's clock was unset.
        now_utc_ns: the clock of the one who asks.
        handed_over: a store of the unit has all of it.
        handed_over_utc_ns: since when, None where that is not known.
        deferrals: those that speak of this session.
        returns: signs of the device's return, at any time.
    """
    if not closed and not handed_over:
        return Deadline("unclosed")
    if end_utc_ns is None:
        return Deadline("handed-over-untimed" if handed_over else "urgent")
    due = end_utc_ns + rule.hours * HOUR_NS
    back = list(returns)
    counted, refused = _sort(rule, [one for one in deferrals if _lasts(one, back, end_utc_ns)], due)
    returned: Returned | None = None
    if counted is not None:
        returned = _earliest(back, end_utc_ns)
        if returned is None or returned.utc_ns is None:
            return _away(counted, returned, refused, handed_over=handed_over, now_utc_ns=now_utc_ns, due=due)
        due = max(due, returned.utc_ns + rule.hours_after_return * HOUR_NS)
    return _counted(
        due,
        handed_over_utc_ns if handed_over else now_utc_ns,
        handed_over=handed_over,
        deferral=counted,
        returned=returned,
        refused=refused,
    )


def untimed(deadline: Deadline) -> Deadline:
    """Return the same hand-over as one of which nobody can tell whether it was in time."""
    return replace(deadline, state="handed-over-untimed", late_ns=0)


def _lasts(deferral: Deferred, returns: Iterable[Returned], end_utc_ns: int) -> bool:
    """Tell whether a deferral still held when the session ended: a return between the two was the end of it."""
    if deferral.utc_ns is None:
        return True
    return not any(one.utc_ns is not None and deferral.utc_ns < one.utc_ns < end_utc_ns for one in returns)


def _sort(rule: HandoverRule, deferrals: Iterable[Deferred], due: int) -> tuple[Deferred | None, tuple[Deferred, ...]]:
    """Return the deferral that counts, and those that change nothing."""
    known = list(deferrals)
    good = [one for one in known if one.reason in rule.deferral_reasons and (one.utc_ns is None or one.utc_ns <= due)]
    return (good[0] if good else None), tuple(one for one in known if one not in good)


def _earliest(returns: Iterable[Returned], end_utc_ns: int) -> Returned | None:
    """Return the first sign of the return behind the end; one without a time only where there is no other."""
    known = list(returns)
    timed = [one for one in known if one.utc_ns is not None and one.utc_ns >= end_utc_ns]
    if timed:
        return min(timed, key=lambda one: one.utc_ns or 0)
    return next((one for one in known if one.utc_ns is None), None)


def _away(
    deferral: Deferred,
    returned: Returned | None,
    refused: tuple[Deferred, ...],
    *,
    handed_over: bool,
    now_utc_ns: int,
    due: int,
) -> Deadline:
    """Judge what is deferred and whose return has no time on record."""
    state = "handed-over" if handed_over else "deferred" if returned is None else "urgent"
    limit = due + deferral.max_days * 24 * HOUR_NS
    return Deadline(
        state,
        deferral=deferral,
        returned=returned,
        refused=refused,
        open_too_long=state == "deferred" and now_utc_ns > limit,
    )


def _counted(
    due: int,
    moment_utc_ns: int | None,
    *,
    handed_over: bool,
    deferral: Deferred | None,
    returned: Returned | None,
    refused: tuple[Deferred, ...],
) -> Deadline:
    if moment_utc_ns is None:
        return Deadline("handed-over-untimed", due, 0, deferral, returned, refused)
    late_ns = max(moment_utc_ns - due, 0)
    if handed_over:
        state = "handed-over-late" if late_ns else "handed-over"
    elif late_ns:
        state = "late"
    else:
        state = "soon" if due - moment_utc_ns < SOON_NS else "pending"
    return Deadline(state, due, late_ns, deferral, returned, refused, soon=state == "soon")


def rule_of(policy: Policy | None, mode: str = "video") -> HandoverRule:
    """Return what a policy says of hand-over; without one, what all five agencies agree on, and no deferral."""
    if policy is None:
        return HandoverRule(from_capture=mode == "continuous")
    return HandoverRule(
        policy.hand_over.hours,
        frozenset(ground.reason for ground in policy.deferral.reasons),
        policy.deferral.hours_after_return,
        mode == "continuous" and policy.hand_over.continuous_clock == "capture",
    )


def deferrals_of(records: Iterable[Record], session: bytes | None) -> list[Deferred]:
    """Return the deferrals among records that speak of a session: they name it, or none and so the whole device."""
    return [
        Deferred(record.body.reason, record.body.max_days, _utc(record))
        for record in records
        if isinstance(record.body, Deferral) and record.session in (None, session)
    ]


def returns_of(records: Iterable[Record]) -> list[Returned]:
    """Return the signs of a return among records: a device is back with all that it holds."""
    return [Returned(record.body.sign, _utc(record)) for record in records if isinstance(record.body, Return)]


def _utc(record: Record) -> int | None:
    return None if record.clock == "unset" else record.utc_ns
