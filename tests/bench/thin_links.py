"""``python -m tests.bench.thin_links [SECONDS]``: 20, 200 and 2,000 kB/s, cut once a minute."""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

from keys.authority import write_site
from tests.bench import Row
from tests.support.broker import Broker
from tests.uplink.builder import DEVICE
from tests.uplink.conftest import Bench
from tests.uplink.thin import Figures, measure

RATES_BYTES_PER_S = (20_000, 200_000, 2_000_000)
CUT_EVERY_S = 60.0
SECONDS = 125.0


def measure_link(bytes_per_s: int, seconds: float, cut_every_s: float | None = CUT_EVERY_S) -> Figures:
    """Measure one rate with a broker, a far side and an agent of its own."""
    folder = Path(tempfile.mkdtemp(prefix="thin-"))
    keys = folder / "keys"
    write_site(keys, "试点机关", [DEVICE])
    short = Path(tempfile.mkdtemp(prefix="liuhen-", dir="/tmp"))
    bench = Bench(folder, keys, Broker(keys, folder / "broker").start(), short)
    try:
        return measure(bench, bytes_per_s, seconds, cut_every_s)
    finally:
        bench.close()
        shutil.rmtree(folder, ignore_errors=True)
        shutil.rmtree(short, ignore_errors=True)


def run() -> list[Row]:
    """Measure all rates: delay of records against two seconds, media against what the link could carry."""
    rows = []
    for bytes_per_s in RATES_BYTES_PER_S:
        found = measure_link(bytes_per_s, SECONDS)
        name = f"{bytes_per_s // 1000} kB/s, cut every minute"
        delay_s = found.percentile_s(0.99)
        rows.append(Row(f"records at the far side, p99, {name}", f"{delay_s:.2f} s", "2 s", delay_s / 2, "≤ 1.0"))
        share = f"{found.evidence_share:.2f}"
        rows.append(Row(f"evidence of all bytes sent, {name}", share, "1", found.evidence_share, "≥ 0.9"))
    return rows


def table(rows: list[Figures]) -> str:
    """Return the figures as a table for people."""
    head = "| link kB/s | s | connections | records p50 s | p99 s | worst s | media / link | evidence / bytes |"
    lines = [head, "|" + "---|" * 8]
    lines += [
        f"| {one.bytes_per_s / 1000:g} | {one.seconds:.0f} | {one.connections} | {one.percentile_s(0.5):.2f} |"
        f" {one.percentile_s(0.99):.2f} | {max(one.delays_s):.2f} | {one.media_share:.2f} | {one.evidence_share:.2f} |"
        for one in rows
    ]
    return "\n".join(lines)


def main(seconds: float = SECONDS) -> None:
    """Measure all rates and print the table."""
    rows = []
    for bytes_per_s in RATES_BYTES_PER_S:
        rows.append(measure_link(bytes_per_s, seconds))
        print(table(rows[-1:]), file=sys.stderr)
    print(table(rows))


if __name__ == "__main__":
    main(*(float(argument) for argument in sys.argv[1:2]))
