"""How the device stands with handing over (R12, R13), from its own records and the receipts that it has verified.

The same judgement as at the store (:mod:`recorder.evidence.deadlines`), asked by the one who must act: it needs no
network. A device whose clock was unset knows no deadline; then nothing is called late.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from recorder.advice import Uploads
from recorder.clock import UNSET
from recorder.evidence import deadlines
from recorder.evidence.deadlines import HOUR_NS

if TYPE_CHECKING:
    from collections.abc import Callable

    from recorder.clock import Instant
    from recorder.evidence.deadlines import Deadline, HandoverRule
    from recorder.spool.spool import Spool

MOST: Final = 100
"""So many deferrals and returns are looked back at."""


def uploads(spool: Spool, rule: Callable[[bytes], HandoverRule], now: Instant) -> Uploads:
    """Return how many sessions wait for hand-over, and how urgently.

    Args:
        spool: records and receipts.
        rule: the agency's rule for the sessions of a log.
        now: the device's clocks.

    Raises:
        DiskFullError: the index is behind, and has no room to catch up.
    """
    waiting = spool.past.waiting()
    if not waiting or now.quality == UNSET:
        return Uploads(pending=len(waiting))
    away = spool.past.newest("deferral", limit=MOST)
    back = deadlines.returns_of(spool.past.newest("return", limit=MOST))
    judged = [
        deadlines.judge(
            rule(row.log),
            closed=True,
            end_utc_ns=None if newest.clock == UNSET else row.closed_utc_ns,
            now_utc_ns=now.utc_ns,
            deferrals=deadlines.deferrals_of(away, row.session),
            returns=back,
        )
        for row, newest in waiting
    ]
    return _counted(judged, now.utc_ns)


def _counted(judged: list[Deadline], now_utc_ns: int) -> Uploads:
    late = [one for one in judged if one.late]
    after_return = sum(1 for one in late if one.returned is not None)
    due = sorted(one.due_utc_ns for one in judged if not one.late and one.due_utc_ns is not None)
    soon = sum(1 for one in judged if one.soon)
    return Uploads(
        pending=len(judged),
        soon=soon,
        soon_hours=max(1, -(-(due[0] - now_utc_ns) // HOUR_NS)) if soon else 0,
        overdue=len(late) - after_return,
        overdue_return=after_return,
        first_due_utc_ns=due[0] if due else None,
    )
