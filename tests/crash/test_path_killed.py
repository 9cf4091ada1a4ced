"""Uplink, store and broker are killed again and again during an upload: all arrives, nothing is freed early."""

from __future__ import annotations

import hashlib
import random
import sqlite3
import time
from typing import TYPE_CHECKING

import pytest

from recorder.spool.reader import SpoolReader
from tests.crash.test_recorder_killed import SMALL, state
from tests.support.session import chunks, stream_records
from tests.support.site import Site

if TYPE_CHECKING:
    from pathlib import Path

KILLS_EACH = 20
RECORD_S = 12
RATE_BYTES_PER_S = 40_000


def held_by_store(site: Site) -> dict[tuple[str, int, str], bytes]:
    """Return what lies in the store under its final name: (log, sequence, digest in the name) to its real digest."""
    held = {}
    for path in (site.store / "media" / site.device).glob("*/*"):
        sequence, digest = path.name.split("-")
        held[path.parent.name, int(sequence), digest] = hashlib.sha256(path.read_bytes()).digest()
    return held


def assert_nothing_freed_early(site: Site) -> int:
    """Every chunk is on the device, or in the store with its signed digest; return how many are freed."""
    reader = SpoolReader(site.spool)
    freed = 0
    for record, chunk in chunks(site.spool):
        on_device = reader.media_path(record.log, chunk.media).exists()
        if not on_device:
            freed += 1
            name = (record.log.hex(), record.sequence, chunk.stored_sha256.hex()[:16])
            assert held_by_store(site).get(name) == chunk.stored_sha256
    return freed


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.rule("R12")
@pytest.mark.rule("R20")
def test_uplink_store_and_broker_killed_twenty_times_each_lose_and_free_nothing(tmp_path: Path) -> None:
    random.seed(12)
    with Site(tmp_path / "site", streams=SMALL, max_rate_bytes_per_s=RATE_BYTES_PER_S) as site:
        site.start_broker()
        site.central.start()
        site.start_recorder()
        site.wait_for(lambda: state(site) == "ready", "sources connected")
        site.ask("start")
        # The recording has to have some length; nothing is waited for.
        time.sleep(RECORD_S)
        site.ask("stop", statement=True)
        site.wait_for(lambda: state(site) == "ready", "closed")
        site.uplink.start()
        total = len(chunks(site.spool))
        for _ in range(KILLS_EACH):
            for part in (site.uplink, site.central, site.broker):
                time.sleep(random.uniform(0.1, 0.7))  # the random moment
                part.kill()
                assert_nothing_freed_early(site)
                part.start()
        site.wait_for(lambda: assert_nothing_freed_early(site) == total, "all chunks are freed", 240)
        site.wait_for(lambda: site.ask("status")["unreceipted_files"] == 0, "all receipted", 30)
        site.recorder.stop()
        site.uplink.stop()
        site.central.stop()

    with sqlite3.connect(site.store / "index.db") as database:
        rows = database.execute("SELECT count(*), count(DISTINCT sha256) FROM record").fetchone()
    on_device = len(stream_records(site.spool, 0)) + len(stream_records(site.spool, 1))
    print(f"{3 * KILLS_EACH} kills, {total} chunks, {on_device} records on the device, {rows} in the store")
    assert rows[0] == rows[1]
    held = held_by_store(site)
    assert len(held) == total
