"""Uploading files: which bytes of which file the store still lacks, as far as the device knows; pure.

A file is done when its receipt has been verified, never before and never for another reason. What was under way when a
connection ended, or when the program did, is in doubt: the store is asked, and only what it lacks is sent.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from uplink.device.logs import Ranges, without
from uplink.protocol import MIN_PIECE_SIZE_BYTES, Missing

MAX_WAIT_S = 3600.0


class Key(NamedTuple):
    """A file by the record that brings it."""

    log: bytes
    sequence: int


@dataclass(frozen=True, slots=True)
class Candidate:
    """A file that has no receipt, as the index offers it."""

    key: Key
    size_bytes: int
    in_doubt: bool
    """An earlier run of the program may have sent some of it."""


@dataclass
class Transfer:
    """One file on its way."""

    key: Key
    size_bytes: int
    missing: Ranges
    """Bytes to send, [offset, end)."""
    in_doubt: bool
    """The store has to be asked before anything is sent."""
    under_way_size_bytes: int = 0
    """Sent, and neither receipted nor answered for."""
    sent_s: float | None = None
    """When its last piece was sent."""
    not_before_s: float = 0.0
    vain: int = 0
    """Answers in a row after which nothing more was held than before."""
    suspected: bool = False
    """The store did not take it although all was sent twice: the file on the disk is to be checked."""
    asked: bool = False
    """In the open question."""
    _missing_when_asked: Ranges = field(default_factory=list)
    _sent_since_asked_bytes: int = 0
    _sent_bytes: int = 0
    _lacked_bytes: int | None = None

    @property
    def complete(self) -> bool:
        """All was sent; the receipt is awaited."""
        return not self.missing and not self.in_doubt

    def published(self, offset: int, end: int, now_s: float) -> None:
        """A piece was sent."""
        self.missing = without(self.missing, [(offset, end)])
        self.under_way_size_bytes += end - offset
        self._sent_since_asked_bytes += end - offset
        self._sent_bytes += end - offset
        self.sent_s = now_s

    def ask(self) -> None:
        """A question about this file leaves now."""
        self.asked = True
        self._missing_when_asked = list(self.missing)
        self._sent_since_asked_bytes = 0

    def found_sound(self) -> None:
        """The file on the disk is as its record says: go on sending it."""
        self.suspected = False
        self._sent_bytes = 0

    def doubt(self) -> None:
        """What was under way may be lost; ask before sending more."""
        if self.under_way_size_bytes or self.complete:
            self.in_doubt = True
        self.under_way_size_bytes = 0
        self.asked = False

    def overdue_s(self, limit_s: float) -> float | None:
        """Return the time at which its receipt is overdue, None while there are bytes to send."""
        if self.in_doubt:
            return self.not_before_s
        if self.complete and self.sent_s is not None:
            return max(self.sent_s + limit_s, self.not_before_s)
        return None

    def answer(self, missing: Missing | None, now_s: float, limit_s: float) -> None:
        """Take what the store says that it lacks; None when it said nothing of this file.

        Args:
            missing: the store's word. It is not signed, so it decides only what is sent, never what is done.
            now_s: the time.
            limit_s: first wait after an answer that brought nothing forward; it doubles.
        """
        self.asked = False
        ranges = [] if missing is None else _sound(missing.ranges, self.size_bytes)
        if missing is None or not missing.known or not ranges:
            # Not known there yet, or said to be held without a receipt that we could believe: ask again, later.
            self._wait(now_s, limit_s)
            self.in_doubt = True
            self.under_way_size_bytes = 0
            return
        lacked = sum(end - offset for offset, end in ranges)
        if self._lacked_bytes is not None and lacked >= self._lacked_bytes and self.complete:
            self._wait(now_s, limit_s)
        else:
            self.vain = 0
            self.not_before_s = 0.0
        self.suspected = lacked == self.size_bytes and self._sent_bytes >= 2 * self.size_bytes
        self._lacked_bytes = lacked
        self.in_doubt = False
        # What was sent behind the question is under way, not lost.
        self.under_way_size_bytes = min(self.under_way_size_bytes, self._sent_since_asked_bytes)
        self.missing = without(ranges, without(self._missing_when_asked, self.missing))

    def _wait(self, now_s: float, limit_s: float) -> None:
        self.not_before_s = now_s + min(MAX_WAIT_S, limit_s * 2.0**self.vain)
        self.vain = min(self.vain + 1, 12)


def _sound(ranges: list[tuple[int, int]], size_bytes: int) -> Ranges:
    """Return the ranges that lie in the file, ascending and disjoint; nonsense is left out."""
    result: Ranges = []
    behind = 0
    for first, end in sorted(ranges):
        offset = max(first, behind)
        limit = min(end, size_bytes)
        if first >= 0 and offset < limit:
            result.append((offset, limit))
            behind = limit
    return result


@dataclass
class Grant:
    """How much may be under way without a receipt: a level with an end."""

    size_bytes: int = 0
    until_s: float = 0.0

    def left(self, under_way_size_bytes: int, now_s: float) -> int:
        """Return how many more bytes may be sent now."""
        return max(0, self.size_bytes - under_way_size_bytes) if now_s < self.until_s else 0


@dataclass
class Transfers:
    """All files under way, in the order in which they are to be sent."""

    files: dict[Key, Transfer] = field(default_factory=dict)
    order: list[Key] = field(default_factory=list)

    @property
    def under_way_size_bytes(self) -> int:
        """Bytes that count against the grant."""
        return sum(one.under_way_size_bytes for one in self.files.values())

    def offer(self, candidates: list[Candidate]) -> None:
        """Take over the files to send first, in their order; what is under way of others is not forgotten."""
        for one in candidates:
            if one.key not in self.files:
                self.files[one.key] = Transfer(one.key, one.size_bytes, [(0, one.size_bytes)], one.in_doubt)
        self.order = [one.key for one in candidates]
        wanted = set(self.order)
        for key in [key for key, one in self.files.items() if key not in wanted and _untouched(one)]:
            del self.files[key]

    def remove(self, key: Key) -> None:
        """A file needs nothing more."""
        self.files.pop(key, None)
        if key in self.order:
            self.order.remove(key)

    def sendable(self, now_s: float) -> list[Transfer]:
        """Return the files of which something may be sent now, in their order."""
        return [
            one
            for one in (self.files[key] for key in self.order)
            if one.missing and not one.in_doubt and not one.suspected and one.not_before_s <= now_s
        ]

    def counted(self) -> list[Transfer]:
        """Return the unfinished files that count against the grant."""
        return [one for one in self.files.values() if one.under_way_size_bytes and one.missing and not one.asked]

    def awaiting(self) -> set[Key]:
        """Return the files that await an answer or a receipt and so leave room for others."""
        return {key for key, one in self.files.items() if one.complete or one.asked or one.not_before_s > 0}

    def to_ask(self, now_s: float, limit_s: float) -> list[Transfer]:
        """Return the files that the store should be asked about, the overdue ones first."""
        due: list[tuple[float, Transfer]] = []
        for one in self.files.values():
            moment = one.overdue_s(limit_s)
            if moment is not None and moment <= now_s and not one.asked:
                due.append((moment, one))
        due.sort(key=lambda pair: pair[0])
        return [one for _, one in due]


def _untouched(one: Transfer) -> bool:
    return not one.under_way_size_bytes and not one.asked and not one.complete and not one.vain and not one.sent_s


def piece_size(transfer: Transfer, wanted_bytes: int, granted_bytes: int) -> int:
    """Return how many bytes of the first missing range to send: 0 when the grant has no room worth a piece."""
    offset, end = transfer.missing[0]
    size = min(wanted_bytes, end - offset, granted_bytes)
    return size if size >= min(MIN_PIECE_SIZE_BYTES, end - offset) else 0
