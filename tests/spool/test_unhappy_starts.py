"""What must neither free a file early nor keep a recorder from starting."""

from __future__ import annotations

from typing import TYPE_CHECKING

from recorder.clock import UNSET
from recorder.spool.reader import LogReader
from tests.support.spools import CAMERA, FakeClock, close_session, make_site, open_session, record_chunk

if TYPE_CHECKING:
    from pathlib import Path

YEAR_S = 365 * 24 * 3600


def test_a_clock_that_is_not_set_and_years_ahead_frees_nothing(tmp_path: Path) -> None:
    site = make_site(tmp_path / "site", restore_window_hours=72.0)
    clock = FakeClock()
    spool = site.open(clock)
    record = record_chunk(spool, open_session(spool), 0)
    site.deliver(site.media_receipt(record, clock.utc_ns))
    assert spool.take_receipts().kept == 1
    clock.step(50 * YEAR_S)
    clock.quality = UNSET
    assert spool.collect_garbage().files == 0
    clock.step(-50 * YEAR_S)
    clock.quality = "synchronised"
    assert spool.collect_garbage().files == 0
    clock.advance(73 * 3600)
    assert spool.collect_garbage().files == 1


def test_without_a_window_nothing_lingers_whatever_the_clock_says(tmp_path: Path) -> None:
    site = make_site(tmp_path / "site", restore_window_hours=0.0)
    clock = FakeClock(quality=UNSET)
    spool = site.open(clock)
    record = record_chunk(spool, open_session(spool), 0)
    site.deliver(site.media_receipt(record, clock.utc_ns + YEAR_S * 10**9))
    spool.take_receipts()
    assert spool.collect_garbage().files == 1


def test_a_session_whose_first_record_is_damaged_does_not_keep_the_recorder_from_starting(tmp_path: Path) -> None:
    site = make_site(tmp_path / "site")
    spool = site.open()
    session = open_session(spool)
    record_chunk(spool, session, 0)
    log_id = spool.log_id(CAMERA)
    path = spool.layout.log(log_id)
    entry = LogReader(path, log_id).find(2)
    assert entry is not None
    assert entry.record.kind == "session-open"
    spool.close()
    data = bytearray(path.read_bytes())
    data[entry.offset + 40] ^= 1
    path.write_bytes(data)
    for _ in range(2):
        spool = site.open()
        assert spool.open_sessions() == []
        open_session(spool)
        spool.append(CAMERA, None, [])
        spool.close()
        spool = site.open()
        assert len(spool.open_sessions()) == 1
        opened = spool.open_sessions()[0]
        close_session(spool, opened.session, opened.opened.sequence, 0)
        spool.close()
