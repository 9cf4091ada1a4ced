"""Watches the clock while the recorder runs, and says what is to be signed of it. Pure but for the clock it is given.

A change of UTC against the boot-time clock is a step; quality that rises to synchronised binds this boot to UTC.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from recorder.clock import SYNCHRONISED
from recorder.evidence.records import Clock as ClockRecord

if TYPE_CHECKING:
    from recorder.clock import Clock

log = logging.getLogger(__name__)

STEP_NS: Final = 500_000_000
"""UTC may drift against the boot-time clock; a change by more than this between two looks is a step."""
LOOK_NS: Final = 1_000_000_000


class ClockWatch:
    """Remembers how UTC stood against the boot-time clock."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._offset_ns: int | None = None
        self._quality = ""
        self._due_ns = 0

    def tick(self) -> list[ClockRecord]:
        """Look at the clock, once a second at most; return the records that are due."""
        if self._clock.boottime_ns() < self._due_ns:
            return []
        boottime, utc, _, quality = self._clock.now()
        self._due_ns = boottime + LOOK_NS
        offset = utc - boottime
        due: list[ClockRecord] = []
        if self._offset_ns is not None and abs(offset - self._offset_ns) > STEP_NS:
            step = offset - self._offset_ns
            log.warning("the clock was moved by %.3f s", step / 1e9)
            due.append(ClockRecord(source="step", bound_utc_ns=utc, bound_boottime_ns=boottime, step_ns=step))
        if quality == SYNCHRONISED and quality != self._quality:
            log.info("the clock is synchronised")
            due.append(ClockRecord(source="ntp", bound_utc_ns=utc, bound_boottime_ns=boottime))
        elif quality != self._quality:
            log.info("the clock is %s", quality)
        self._offset_ns, self._quality = offset, quality
        return due
