"""What one more record, a start and a look at the state cost in logs of a thousand to a million records."""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

from keys.authority import write_site
from keys.certificates import load_der
from keys.signer import open_signer
from recorder.clock import SystemClock
from recorder.evidence.records import Marker
from recorder.spool.spool import Spool
from tests.bench import Row

SIZES = (1_000, 100_000, 1_000_000)
DEVICE = "bench-0001"
STREAM = 1
SESSION = b"G" * 16
BATCH = 200
"""Records that are made and synced together while the log is only being filled."""
APPENDS = 300
LOOKS = 50
STARTS = 5


def run() -> list[Row]:
    """Fill one log step by step, and measure at each step."""
    with tempfile.TemporaryDirectory(prefix="liuhen-bench-") as folder:
        write_site(Path(folder) / "keys", "bench", [DEVICE])
        measured = [_measure(Path(folder), size) for size in SIZES]
    first = measured[0]
    return [
        Row(
            f"growth: {name} at {size:,} records, against {SIZES[0]:,}",
            f"{value * 1e6:.0f} µs",
            f"{bare * 1e6:.0f} µs",
            value / bare,
            "≤ 1.5",
        )
        for size, values in zip(SIZES[1:], measured[1:], strict=True)
        for name, value, bare in zip(("one more record", "start-up", "state"), values, first, strict=True)
    ]


def _measure(folder: Path, size: int) -> tuple[float, float, float]:
    """Fill the log to ``size`` and return the seconds of one more record, a start, and a look at the state."""
    spool = _open(folder)
    _fill(spool, size - APPENDS)
    append_s = _append(spool)
    look_s = _look(spool)
    spool.close()
    starts = []
    for _ in range(STARTS):
        began = time.monotonic()
        spool = _open(folder)
        starts.append(time.monotonic() - began)
        spool.close()
    return append_s, statistics.median(starts), look_s


def _open(folder: Path) -> Spool:
    keys = folder / "keys" / "devices" / DEVICE
    return Spool.open(
        folder / "spool",
        device=DEVICE,
        streams=["counter"],
        signer=open_signer(f"file:{keys / 'signing.key'}", load_der(keys / "signing.crt")),
        clock=SystemClock(),
        software="bench",
        authorities=[folder / "keys" / "authority.crt"],
    )


def _marker(number: int) -> Marker:
    return Marker(marker="bench", at_boottime_ns=number, basis="device")


def _fill(spool: Spool, size: int) -> None:
    while (sequence := spool.head(STREAM)[0]) < size:
        spool.append(STREAM, SESSION, [_marker(sequence + index) for index in range(min(BATCH, size - sequence))])


def _append(spool: Spool) -> float:
    times = []
    for number in range(APPENDS):
        began = time.monotonic()
        spool.append(STREAM, SESSION, [_marker(number)])
        times.append(time.monotonic() - began)
    return statistics.median(times)


def _look(spool: Spool) -> float:
    times = []
    for _ in range(LOOKS):
        began = time.monotonic()
        spool.outstanding()
        spool.head(STREAM)
        spool.free_bytes()
        times.append(time.monotonic() - began)
    return statistics.median(times)
