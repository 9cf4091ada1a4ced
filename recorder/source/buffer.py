"""Fragments that the recorder has not acknowledged: ten seconds of them, so that its crash loses nothing."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from recorder.source.link import Counts

if TYPE_CHECKING:
    from collections.abc import Iterable

    from recorder.source.mux import Piece

KEEP_NS: Final = 10_000_000_000
MAX_KEPT_SIZE_BYTES: Final = 48 << 20
ABSENT: Final = "recorder-absent"


class Kept:
    """Unacknowledged fragments of one instance, oldest first. Pure.

    When there is too much, whole groups of pictures are dropped from the oldest on: half a group would decode to
    nothing. Their frames are counted as discarded in the fragment that is sent next, unless the recorder turns out to
    hold them after all. What has been sent on the present connection is never dropped: it may be on the disk already.
    """

    def __init__(self, keep_ns: int = KEEP_NS) -> None:
        self._keep_ns = keep_ns
        self._pieces: deque[Piece] = deque()
        self._size_bytes = 0
        self._dropped: list[tuple[int, dict[str, Counts]]] = []
        self._key_wanted = False
        self._sent = -1

    @property
    def oldest(self) -> int | None:
        """Number of the oldest fragment that is kept."""
        return self._pieces[0].number if self._pieces else None

    @property
    def size_bytes(self) -> int:
        """Bytes kept."""
        return self._size_bytes

    @property
    def all_sent(self) -> bool:
        """Whether every kept fragment has been sent on the present connection."""
        return not self._pieces or self._pieces[-1].number <= self._sent

    def append(self, piece: Piece) -> int:
        """Keep a new fragment; return the number of fragments that had to be dropped for it."""
        if self._key_wanted and not piece.key:
            self._dropped.append((piece.number, piece.counts))
            return 1
        self._key_wanted = False
        self._pieces.append(piece)
        self._size_bytes += len(piece.data)
        dropped = 0
        while self._too_much():
            count = self._group()
            if not count:
                break
            dropped += count
            for _ in range(count):
                old = self._pieces.popleft()
                self._size_bytes -= len(old.data)
                self._dropped.append((old.number, old.counts))
        self._key_wanted = bool(dropped) and not self._pieces
        return dropped

    def acknowledge(self, number: int) -> None:
        """Forget the fragments up to ``number``: the recorder has them on its disk."""
        while self._pieces and self._pieces[0].number <= number:
            self._size_bytes -= len(self._pieces.popleft().data)
        self._dropped = [(one, counts) for one, counts in self._dropped if one > number]

    def connection_lost(self) -> None:
        """Nothing counts as sent any more."""
        self._sent = -1

    def next_to_send(self) -> Piece | None:
        """Return the next fragment for the present connection, or None; it then counts as sent."""
        for index, piece in enumerate(self._pieces):
            if piece.number > self._sent:
                earlier = [counts for number, counts in self._dropped if number < piece.number]
                if earlier:
                    piece = piece._replace(counts=merge(earlier, piece.counts))  # noqa: PLW2901
                    self._pieces[index] = piece
                    self._dropped = [one for one in self._dropped if one[0] > piece.number]
                self._sent = piece.number
                return piece
        return None

    def _too_much(self) -> bool:
        if len(self._pieces) < 2:  # noqa: PLR2004
            return False
        age_ns = self._pieces[-1].arrival_ns - self._pieces[0].arrival_ns
        return age_ns > self._keep_ns or self._size_bytes > MAX_KEPT_SIZE_BYTES

    def _group(self) -> int:
        """Return how many fragments the oldest group has, if it may be dropped; 0 when nothing may."""
        if self._pieces[0].number <= self._sent:
            return 0
        for index in range(1, len(self._pieces)):
            if self._pieces[index].key:
                return index
        return len(self._pieces) if self._size_bytes > MAX_KEPT_SIZE_BYTES else 0


def merge(dropped: Iterable[dict[str, Counts]], counts: dict[str, Counts]) -> dict[str, Counts]:
    """Return the counts of a fragment with those of dropped ones before it, whose written frames are discarded."""
    result = dict(counts)
    for lost in dropped:
        for track, one in lost.items():
            base = result.get(track, Counts())
            reasons = dict(base.discarded)
            gone = one.discarded | {ABSENT: one.discarded.get(ABSENT, 0) + one.written}
            for reason, count in gone.items():
                if count:
                    reasons[reason] = reasons.get(reason, 0) + count
            expected = None if one.expected is None and base.expected is None else 0
            if expected is not None:
                expected = (one.expected or 0) + (base.expected or 0)
            result[track] = Counts(
                received=base.received + one.received,
                written=base.written,
                discarded=reasons,
                expected=expected,
                holes=base.holes + one.holes,
                holes_ns=base.holes_ns + one.holes_ns,
                arrival_first_ns=base.arrival_first_ns,
                arrival_last_ns=base.arrival_last_ns,
                sensor_first_ns=base.sensor_first_ns,
                sensor_last_ns=base.sensor_last_ns,
                peak_millibels=base.peak_millibels,
                rms_millibels=base.rms_millibels,
            )
    return result
