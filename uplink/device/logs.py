"""Replicating one log: what of it the store has, what is under way, what must be sent again; pure.

The store's prefix is raised by any receipt whose head is ours, and lowered only by one that carries the nonce of our
own open question: so replays are harmless, and a store that was restored from a backup is still believed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from recorder.evidence.records import MAX_SEQUENCE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from recorder.evidence.statements import RecordsReceipt

Ranges = list[tuple[int, int]]
"""[first, end) pairs, ascending, disjoint."""


def without(ranges: Iterable[tuple[int, int]], taken: Iterable[tuple[int, int]]) -> Ranges:
    """Return what of ``ranges`` is in none of ``taken``; all are [first, end) and ascending."""
    left: Ranges = list(ranges)
    for first_taken, end_taken in taken:
        rest: Ranges = []
        for first, end in left:
            if first < min(end, first_taken):
                rest.append((first, min(end, first_taken)))
            if max(first, end_taken) < end:
                rest.append((max(first, end_taken), end))
        left = rest
    return left


def held_end(receipt: RecordsReceipt) -> int:
    """Return one behind the highest record that is held: below it, only the holes are missing."""
    end = receipt.next_sequence
    if receipt.highest_sequence is not None:
        return max(end, receipt.highest_sequence + 1)
    return max(end, receipt.holes[-1][1] + 2) if receipt.holes else end


@dataclass
class LogState:
    """Where one log stands on this connection. Sequences; ends are exclusive."""

    log: bytes
    next_sequence: int = 0
    """Records below it are on the disk, synced."""
    acknowledged: int = 0
    """Records below it are receipted."""
    sent: int = 0
    """Records below it were sent on this connection, or had been receipted."""
    again: Ranges = field(default_factory=list)
    """To be sent again."""
    unreadable: Ranges = field(default_factory=list)
    """The disk does not give them back."""
    confirmed: int = 0
    """All readable records below it are known to be held: at least ``acknowledged``."""
    waiting_since_s: float | None = None
    """Since when records that were sent have had no receipt."""
    not_before_s: float = 0.0
    """``again`` waits until then: what was sent again in vain waits ever longer."""
    vain: int = 0
    """Answers in a row that asked for the same records."""
    floor_utc_ns: int = 0
    """When the store last fell back, by its own clock: receipts from before then say nothing any more."""
    foreign: bool = False
    """The store holds another past of this log."""
    _asked_sent: int = 0
    _asked_acknowledged: int = 0
    _last_missing: Ranges = field(default_factory=list)

    def connected(self) -> None:
        """Nothing that was under way counts any more."""
        self.sent = self.confirmed = self.acknowledged
        self.again.clear()
        self.waiting_since_s = None
        self.not_before_s = 0.0
        self.vain = 0

    def next_range(self, now_s: float) -> tuple[int, int] | None:
        """Return [first, end) of what is to be sent next."""
        if self.again and now_s >= self.not_before_s:
            return self.again[0]
        if self.sent < self.next_sequence:
            return self.sent, self.next_sequence
        return None

    def published(self, first: int, end: int, now_s: float) -> None:
        """Records were sent."""
        self.again = without(self.again, [(first, end)])
        self.sent = max(self.sent, end)
        if self.waiting_since_s is None:
            self.waiting_since_s = now_s

    def cannot_read(self, first: int, end: int) -> None:
        """The disk does not give these records back; go on behind them."""
        self.unreadable = [*without(self.unreadable, [(first, end)]), (first, end)]
        self.again = without(self.again, [(first, end)])
        if first <= self.sent < end:
            self.sent = end

    def asked(self) -> None:
        """A question about this log leaves now."""
        self._asked_sent = self.sent
        self._asked_acknowledged = self.acknowledged

    def overdue(self, now_s: float, limit_s: float) -> bool:
        """Tell whether a receipt should have come by now."""
        return self.waiting_since_s is not None and now_s - self.waiting_since_s >= limit_s

    def receipt(self, receipt: RecordsReceipt, *, ours: bool, now_s: float) -> None:
        """Take a verified receipt that answers no open question: it can only raise what is receipted.

        Args:
            receipt: of this log.
            ours: its head is our record of that sequence.
            now_s: the time.
        """
        if receipt.utc_ns < self.floor_utc_ns:
            return
        if not ours:
            self.foreign = self.foreign or receipt.next_sequence > self.acknowledged
            return
        self.foreign = False
        before = self.confirmed
        self.acknowledged = max(self.acknowledged, receipt.next_sequence)
        self.confirmed = max(self.confirmed, self.acknowledged)
        if not self._lacking(receipt):
            # All that is missing there cannot be read here either: the prefix will stay, and nothing is overdue.
            self.confirmed = max(self.confirmed, min(held_end(receipt), self.next_sequence))
        self.sent = max(self.sent, self.confirmed)
        self.again = without(self.again, [(0, self.acknowledged)])
        if self.confirmed >= self.sent:
            self.waiting_since_s = None
        elif self.confirmed > before:
            self.waiting_since_s = now_s

    def _lacking(self, receipt: RecordsReceipt) -> Ranges:
        """Return the store's holes that can be filled from here."""
        return without([(max(0, first), last + 1) for first, last in receipt.holes if last >= first], self.unreadable)

    def answer(self, receipt: RecordsReceipt, *, ours: bool, now_s: float, limit_s: float) -> bool:
        """Take the verified receipt that carries the nonce of our open question; return whether the store fell back.

        Args:
            receipt: of this log.
            ours: its head is our record of that sequence, or it holds none.
            now_s: the time.
            limit_s: how long to wait before sending again what was sent again in vain.
        """
        if not ours:
            # What we have sent lies there beside another past; its prefix will never speak of ours.
            self.foreign = True
            self.confirmed = max(self.confirmed, self._asked_sent)
            self.waiting_since_s = now_s if self.confirmed < self.sent else None
            return False
        fell_back = receipt.next_sequence < self._asked_acknowledged
        if fell_back:
            self.acknowledged = self.confirmed = receipt.next_sequence
            self.floor_utc_ns = receipt.utc_ns
        self.receipt(receipt, ours=True, now_s=now_s)
        end = held_end(receipt)
        tail = without([(end, self._asked_sent)] if end < self._asked_sent else [], self.unreadable)
        missing = [*without(self._lacking(receipt), [(end, end + MAX_SEQUENCE)]), *tail]
        self.sent = max(self.sent, min(end, self.next_sequence))
        self.vain = self.vain + 1 if missing and missing == self._last_missing else 0
        self._last_missing = missing
        self.again = missing
        self.not_before_s = now_s + limit_s * 2.0 ** min(self.vain, 6) if self.vain else 0.0
        self.confirmed = max(self.confirmed, missing[0][0] if missing else self._asked_sent)
        self.waiting_since_s = now_s if self.confirmed < self.sent and not missing else None
        return fell_back
