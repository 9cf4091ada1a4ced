"""How fast the link is, and so how large a piece may be and how much may be under way; pure.

Only PUBACKs are counted: what the kernel or a proxy has swallowed is not delivered. A piece takes about a quarter of a
second (8 KiB at least), and one is under way besides those that the line itself holds (rate times round trip). A
record that is published behind them so arrives within a round trip and two piece times.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Final

from uplink.protocol import MAX_PIECE_SIZE_BYTES, MIN_PIECE_SIZE_BYTES

START_BYTES_PER_S: Final = 16 << 10
FLOOR_BYTES_PER_S: Final = 4 << 10
PIECE_TIME_S: Final = 0.25
FAST_PIECES_PER_S: Final = 8
FAST_PIECES: Final = 3
"""A link that takes the largest piece in less than an eighth of a second gets so many more at a time."""
SPARE: Final = 0.05
"""A round trip of less than this part of a piece is not worth a second one under way."""
MAX_WINDOW_SIZE_BYTES: Final = 16 * MAX_PIECE_SIZE_BYTES
AROUND_SIZE_BYTES: Final = 1 << 10
"""Room for topic, header and the map around a piece."""
MAX_PACKET_SIZE_BYTES: Final = MAX_PIECE_SIZE_BYTES + AROUND_SIZE_BYTES
_MIN_SAMPLE_SIZE_BYTES: Final = 4 << 10
"""Smaller messages say more about the round trip than about the rate."""
_RISE, _FALL = 0.5, 0.25
_MAX_RISE: Final = 4.0
_GRAIN_SIZE_BYTES: Final = 1 << 10


@dataclass
class _UnderWay:
    size_bytes: int
    sent_s: float
    delivered_before: int
    delivered_before_s: float
    queued_before: int


@dataclass
class LinkRate:
    """Measures one link from PUBACKs; times are seconds of one monotonic clock."""

    bytes_per_s: float = START_BYTES_PER_S
    round_trip_s: float | None = None
    """Shortest time from publish to PUBACK on this connection."""
    under_way_size_bytes: int = 0
    largest_size_bytes: int = MAX_PIECE_SIZE_BYTES
    """What the broker takes at most in one message, less what stands around a piece."""
    _messages: dict[int, _UnderWay] = field(default_factory=dict)
    _delivered: int = 0
    _delivered_s: float = 0.0

    @property
    def piece_size_bytes(self) -> int:
        """How large a piece may be: a quarter of a second of the rate, in whole KiB."""
        size = int(self.bytes_per_s * PIECE_TIME_S) // _GRAIN_SIZE_BYTES * _GRAIN_SIZE_BYTES
        return min(max(MIN_PIECE_SIZE_BYTES, min(MAX_PIECE_SIZE_BYTES, size)), self.largest_size_bytes)

    @property
    def window_size_bytes(self) -> int:
        """How many bytes may be published without a PUBACK: one piece, and pieces enough to cover the round trip."""
        piece = self.piece_size_bytes
        line_pieces = self.bytes_per_s * (self.round_trip_s or 0.0) / piece
        pieces = 1 + math.ceil(max(0.0, line_pieces - SPARE))
        if self.bytes_per_s > FAST_PIECES_PER_S * piece:
            pieces += FAST_PIECES
        return min(pieces * piece, MAX_WINDOW_SIZE_BYTES)

    @property
    def piece_time_s(self) -> float:
        """How long one piece takes at this rate."""
        return self.piece_size_bytes / self.bytes_per_s

    def connected(self, max_packet_size_bytes: int | None = None) -> None:
        """Begin anew on a new connection: carefully, because the line may be another one."""
        room = MAX_PACKET_SIZE_BYTES if max_packet_size_bytes is None else max_packet_size_bytes
        self.largest_size_bytes = max(1, min(MAX_PIECE_SIZE_BYTES, room - AROUND_SIZE_BYTES))
        self._messages.clear()
        self.under_way_size_bytes = 0
        self.round_trip_s = None
        self.bytes_per_s = max(FLOOR_BYTES_PER_S, min(self.bytes_per_s / 2, 2 * MAX_PIECE_SIZE_BYTES))

    def lost(self, now_s: float) -> None:
        """The connection ended: what had no PUBACK bounds the rate from above."""
        if self._messages:
            age_s = now_s - min(message.sent_s for message in self._messages.values())
            if age_s > 2 * PIECE_TIME_S:
                self.bytes_per_s = max(FLOOR_BYTES_PER_S, min(self.bytes_per_s, self.under_way_size_bytes / age_s))
        self._messages.clear()
        self.under_way_size_bytes = 0

    def published(self, token: int, size_bytes: int, now_s: float) -> None:
        """A message was handed to the connection."""
        if not self._messages:
            self._delivered_s = now_s
        self._messages[token] = _UnderWay(
            size_bytes, now_s, self._delivered, self._delivered_s, self.under_way_size_bytes
        )
        self.under_way_size_bytes += size_bytes

    def acknowledged(self, token: int, now_s: float) -> None:
        """The broker has taken a message."""
        message = self._messages.pop(token, None)
        if message is None:
            return
        self.under_way_size_bytes -= message.size_bytes
        self._delivered += message.size_bytes
        self._delivered_s = now_s
        waited_s = max(now_s - message.sent_s, 1e-6)
        self.round_trip_s = waited_s if self.round_trip_s is None else min(self.round_trip_s, waited_s)
        if message.size_bytes < _MIN_SAMPLE_SIZE_BYTES:
            return
        sample = (self._delivered - message.delivered_before) / max(now_s - message.delivered_before_s, 1e-6)
        if sample > self.bytes_per_s:
            self.bytes_per_s += (min(sample, _MAX_RISE * self.bytes_per_s) - self.bytes_per_s) * _RISE
        elif message.queued_before + message.size_bytes >= self.piece_size_bytes:
            # Anything less than a piece under way would measure our own pauses.
            self.bytes_per_s += (max(sample, FLOOR_BYTES_PER_S) - self.bytes_per_s) * _FALL
