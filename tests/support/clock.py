"""A clock that a test moves: boot-time only forward, UTC anywhere."""

from __future__ import annotations

import secrets

from recorder.clock import SYNCHRONISED, Instant

SECOND_NS = 1_000_000_000


class FakeClock:
    """Stands still until it is moved."""

    def __init__(self, utc_ns: int = 1_790_000_000 * SECOND_NS, quality: str = SYNCHRONISED) -> None:
        self.boot = secrets.token_bytes(16)
        self.boot_ns = 100 * SECOND_NS
        self.utc_ns = utc_ns
        self.quality = quality
        self.floor_utc_ns = 0

    def now(self) -> Instant:
        return Instant(self.boot_ns, self.utc_ns, self.boot, self.quality)

    def boottime_ns(self) -> int:
        return self.boot_ns

    def raise_floor(self, utc_ns: int) -> None:
        self.floor_utc_ns = max(self.floor_utc_ns, utc_ns)

    def advance(self, seconds: float) -> None:
        """Let time pass on both clocks."""
        self.boot_ns += round(seconds * SECOND_NS)
        self.utc_ns += round(seconds * SECOND_NS)

    def step(self, seconds: float) -> None:
        """Somebody sets the clock: UTC moves, boot-time does not."""
        self.utc_ns += round(seconds * SECOND_NS)

    def reboot(self) -> None:
        """Another kernel boot: a new id, boot-time from near zero."""
        self.boot = secrets.token_bytes(16)
        self.boot_ns = 10 * SECOND_NS
