"""What other processes see: only what is durable, any record by its sequence, and how to go on from there."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from recorder.evidence.records import Fault
from recorder.spool.logfile import Damage, Frame
from recorder.spool.reader import Entry
from tests.support.spools import CAMERA, FakeClock, Site, open_session, record_chunk

if TYPE_CHECKING:
    from recorder.spool.reader import LogReader
    from recorder.spool.spool import Spool


@pytest.fixture
def spool(site: Site) -> Spool:
    return site.open(FakeClock())


def grown(spool: Spool, count: int) -> None:
    for start in range(0, count, 50):
        size = min(50, count - start)
        spool.append(CAMERA, None, [Fault(code="noise", detail="x" * (n * 37 % 900)) for n in range(size)])


def camera(site: Site, spool: Spool) -> LogReader:
    return site.reader.log(spool.log_id(CAMERA))


def test_every_record_is_found_by_its_sequence(site: Site, spool: Spool) -> None:
    grown(spool, 1200)
    log = camera(site, spool)
    newest = spool.head(CAMERA)[0]
    for sequence in (0, 1, 2, *range(3, newest, 61), newest - 1, newest):
        entry = log.find(sequence)
        assert entry is not None
        assert entry.record.sequence == sequence
    assert log.find(newest + 1) is None
    assert log.find(1 << 40) is None
    spool.close()


def test_damage_hides_only_what_it_hit(site: Site, spool: Spool) -> None:
    grown(spool, 600)
    log = camera(site, spool)
    frames = [item for item in spool.logs[CAMERA].file.frames() if isinstance(item, Frame)]
    hit = range(250, 330)
    with log.path.open("r+b") as file:
        file.seek(frames[hit[0]].offset + 9)
        file.write(os.urandom(frames[hit[-1]].end_offset - frames[hit[0]].offset - 20))
    items = list(log.entries())
    assert sum(isinstance(item, Damage) for item in items) == 1
    found = {item.record.sequence for item in items if isinstance(item, Entry)}
    assert found == set(range(spool.head(CAMERA)[0] + 1)) - set(hit)
    for sequence in (0, 100, 249, 250, 300, 329, 330, 331, 500, spool.head(CAMERA)[0]):
        assert (log.find(sequence) is not None) == (sequence not in hit), sequence
    spool.close()


def test_following_goes_on_where_it_stopped_and_never_beyond_the_mark(site: Site, spool: Spool) -> None:
    log = camera(site, spool)
    seen = [item for item in log.entries() if isinstance(item, Entry)]
    at = seen[-1].end_offset
    assert list(log.entries(at)) == []
    with log.path.open("ab") as file:
        file.write(b"not yet durable")
    assert list(log.entries(at)) == []
    os.truncate(log.path, at)
    for _round in range(3):
        grown(spool, 7)
        new = [item for item in log.entries(at) if isinstance(item, Entry)]
        assert [one.record.sequence for one in new] == list(range(new[0].record.sequence, spool.head(CAMERA)[0] + 1))
        assert len(new) == 7
        at = new[-1].end_offset
    head = log.head()
    assert head is not None
    assert (head.record.sequence, head.record.sha256) == spool.head(CAMERA)
    spool.close()


def test_logs_media_and_receipts(site: Site, spool: Spool) -> None:
    session = open_session(spool)
    record = record_chunk(spool, session, 0)
    assert record.file is not None
    reader = site.reader
    firsts = [log.first() for log in reader.logs()]
    assert {(first.stream, first.kind) for first in firsts if first} == {(0, "genesis"), (1, "genesis")}
    assert reader.media_path(record.log, record.file.media).stat().st_size == record.file.stored_size_bytes
    assert list(reader.receipts()) == []
    receipts = [site.media_receipt(record, 1), site.media_receipt(record, 2, storage="secured")]
    for count, receipt in enumerate(receipts, 1):
        site.deliver(receipt)
        spool.take_receipts()
        assert [one.message for one in reader.receipts()] == receipts[:count]
    first = next(reader.receipts())
    assert [one.message for one in reader.receipts(first.end_offset)] == receipts[1:]
    spool.close()


def test_an_empty_folder_is_a_spool_without_logs(site: Site) -> None:
    assert site.reader.logs() == []
    assert list(site.reader.receipts()) == []
