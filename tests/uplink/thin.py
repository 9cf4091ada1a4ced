"""Measuring the uplink over a thin link: how soon records arrive, and how much of the link carries evidence."""

from __future__ import annotations

import math
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.uplink.conftest import Bench, wait_for
from uplink.protocol import Hello

if TYPE_CHECKING:
    from tests.uplink.builder import LogBuilder

RECORD_EVERY_S = 0.5


@dataclass(frozen=True)
class Figures:
    """One measurement."""

    bytes_per_s: int
    seconds: float
    delays_s: list[float]
    """From durable on the device to the far side, record by record."""
    media_share: float
    """Media bytes (each counted once) at the far side, of what the link could carry in that time."""
    evidence_share: float
    """Media and records at the far side, of all bytes that passed upward."""
    connections: int

    def percentile_s(self, part: float) -> float:
        """Return the delay that this part of the records did not exceed."""
        ordered = sorted(self.delays_s)
        return ordered[min(len(ordered) - 1, math.ceil(part * len(ordered)) - 1)]


def measure(bench: Bench, bytes_per_s: int, seconds: float, cut_every_s: float | None = None) -> Figures:
    """Upload media over the link for so long, while a record is made every half second.

    With ``cut_every_s`` the time in which there is no connection counts as time of the link.
    """
    log = bench.builder()
    log.open_session()
    size = max(200_000, bytes_per_s * 4)
    for _ in range(math.ceil(bytes_per_s * (seconds + 30) / size)):
        log.add_file(size)
    link = bench.link(bytes_per_s=bytes_per_s, cut_every_s=cut_every_s)
    bench.far.grant_size_bytes = 64 << 20
    bench.far.start()
    bench.start()
    wait_for(lambda: any(isinstance(one, Hello) for one in bench.far.seen), "connection", 30)
    wait_for(lambda: bench.far.received_media_bytes > 3 * bytes_per_s, "media on their way", 60)
    log.wake = bench.run / "uplink.sock"
    first = log.next_sequence
    began, passed = time.monotonic(), link.up.passed_size_bytes
    media, records = _held(bench), _record_bytes(bench)
    pause = threading.Event()
    while time.monotonic() - began < seconds:
        log.mark("arrive")
        pause.wait(RECORD_EVERY_S)
    took = time.monotonic() - began
    passed = link.up.passed_size_bytes - passed
    media, records = _held(bench) - media, _record_bytes(bench) - records
    newest = log.next_sequence - 1
    wait_for(lambda: (log.log, newest) in bench.far.arrived_s, "the newest record", 60)
    return Figures(
        bytes_per_s, took, _delays(bench, log, first), media / (took * bytes_per_s), (media + records) / passed,
        link.connections,
    )  # fmt: skip


def _delays(bench: Bench, log: LogBuilder, first: int) -> list[float]:
    return [bench.far.arrived_s[log.log, one] - log.written_s[one] for one in range(first, log.next_sequence)]


def _held(bench: Bench) -> int:
    with bench.far.lock:
        return sum(end - first for file in bench.far.files.values() for first, end in file.ranges)


def _record_bytes(bench: Bench) -> int:
    with bench.far.lock:
        return sum(len(record.message) for held in bench.far.records.values() for record in held.values())
