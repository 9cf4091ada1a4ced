"""What a start makes of a spool that is not as it was left: lost index, older copy, damage, failing disk."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest

from recorder.evidence import records, stored
from recorder.evidence.records import Boot, Fault, Genesis, Lost
from recorder.spool.check import check
from recorder.spool.errors import SpoolFatalError, SpoolLockedError
from recorder.spool.layout import mark_path
from recorder.spool.logfile import Frame, LogFile
from recorder.spool.spool import rebuild_index
from tests.support.spools import (
    CAMERA,
    EPOCH,
    INIT,
    FakeClock,
    Site,
    account,
    begin,
    check_chain,
    close_session,
    fragment,
    open_session,
    record_chunk,
)

if TYPE_CHECKING:
    from pathlib import Path

    from recorder.spool.spool import Spool


def recorded(site: Site, clock: FakeClock, chunks: int = 3) -> tuple[Spool, bytes]:
    spool = site.open(clock)
    session = open_session(spool)
    for number in range(chunks):
        record_chunk(spool, session, number)
    return spool, session


def state_of(spool: Spool) -> tuple[object, ...]:
    sessions = [row._replace(last_offset=0) for row in spool.sessions(10)]
    return (spool.outstanding(), spool.held(), spool.lingering(), sessions, spool.received_below(CAMERA))


def test_the_lock_keeps_a_second_recorder_out(site: Site) -> None:
    spool = site.open()
    with pytest.raises(SpoolLockedError):
        site.open()
    with pytest.raises(SpoolLockedError):
        rebuild_index(site.root)
    spool.close()
    site.open().close()


def _delete(path: Path) -> None:
    path.unlink()


def _truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def _cut_to_nothing(path: Path) -> None:
    os.truncate(path, 0)


def _garbage(path: Path) -> None:
    path.write_bytes(os.urandom(40_000))


def _garbage_inside(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(100)
        file.write(os.urandom(path.stat().st_size - 100))


@pytest.mark.parametrize("harm", [_delete, _truncate, _cut_to_nothing, _garbage, _garbage_inside])
def test_the_index_is_made_again_by_itself(site: Site, harm: object) -> None:
    clock = FakeClock()
    spool, session = recorded(site, clock)
    site.deliver(
        *(site.media_receipt(r, clock.utc_ns) for r in site.records(spool.log_id(CAMERA)) if r.file),
    )
    spool.take_receipts()
    clock.advance(100 * 3600)
    assert spool.collect_garbage().files == 3
    record_chunk(spool, session, 3)
    before = state_of(spool)
    spool.close()
    harm(site.root / "index.db")  # type: ignore[operator]
    spool = site.open(clock)
    assert state_of(spool) == before
    assert spool.recovered == []
    record_chunk(spool, session, 4)
    assert spool.outstanding().files == 2
    spool.close()


def test_an_index_that_is_damaged_while_in_use_is_made_again(site: Site) -> None:
    spool, session = recorded(site, FakeClock())
    for name in ("index.db", "index.db-wal"):
        _cut_to_nothing(site.root / name)
    record_chunk(spool, session, 3)
    assert spool.outstanding().files == 4
    spool.close()


def test_an_older_index_is_caught_up_and_one_of_another_past_made_again(site: Site, tmp_path: Path) -> None:
    clock = FakeClock()
    spool, session = recorded(site, clock)
    spool.close()
    shutil.copytree(site.root, tmp_path / "old")
    spool = site.open(clock)
    record_chunk(spool, session, 3)
    spool.close()
    newer = tmp_path / "newer.db"
    shutil.copy(site.root / "index.db", newer)
    shutil.copy(tmp_path / "old" / "index.db", site.root / "index.db")
    spool = site.open(clock)
    assert spool.outstanding().files == 4
    spool.close()
    # The whole spool is rolled back, but for the index.
    shutil.rmtree(site.root)
    shutil.copytree(tmp_path / "old", site.root)
    shutil.copy(newer, site.root / "index.db")
    clock.advance(1)
    spool = site.open(clock)
    assert spool.outstanding().files == 3
    # The new past grows longer than the first one; the index of the first past comes back.
    for number in range(3, 9):
        record_chunk(spool, session, number)
    spool.close()
    shutil.copy(newer, site.root / "index.db")
    spool = site.open(clock)
    assert spool.outstanding().files == 9
    log = spool.log_id(CAMERA)
    for record in site.records(log):
        row = spool._keeper.ask(lambda one, at=record.sequence: one.media(log, at))  # type: ignore[misc]
        assert (row.record_sha256 if row else None) == (record.sha256 if record.file else None)
    spool.close()


def test_a_spool_rolled_back_goes_on_with_a_branch_that_begins_with_boot(site: Site, tmp_path: Path) -> None:
    clock = FakeClock()
    spool, session = recorded(site, clock)
    log, old_head = spool.log_id(CAMERA), spool.head(CAMERA)
    spool.close()
    shutil.copytree(site.root, tmp_path / "yesterday")
    spool = site.open(clock)
    record_chunk(spool, session, 3)
    spool.close()
    first_past = site.records(log)
    shutil.rmtree(site.root)
    shutil.copytree(tmp_path / "yesterday", site.root)
    clock.reboot()
    clock.advance(5)
    spool = site.open(clock)
    record_chunk(spool, session, 3)
    spool.close()
    second_past = site.records(log)
    check_chain(second_past, site.certificate)
    branch = old_head[0] + 1
    assert [r.sha256 for r in first_past[:branch]] == [r.sha256 for r in second_past[:branch]]
    assert first_past[branch].sha256 != second_past[branch].sha256
    boot = second_past[branch].body
    assert isinstance(boot, Boot)
    assert (boot.found_sequence, boot.found_sha256, boot.reason) == (*old_head, "power-on")


def test_records_damaged_in_the_middle_are_signed_as_lost_once(site: Site) -> None:
    clock = FakeClock()
    spool, _ = recorded(site, clock)
    log = spool.log_id(CAMERA)
    path = site.root / "logs" / f"{log.hex()}.log"
    frames = [item for item in spool.logs[CAMERA].file.frames() if isinstance(item, Frame)]
    spool.close()
    with path.open("r+b") as file:
        file.seek(frames[3].offset + 20)
        file.write(bytes(8))
        file.seek(frames[4].offset + 20)
        file.write(bytes(8))
    assert [one.code for one in check(site.root).findings] == ["log-damaged", "records-missing"]
    (site.root / "index.db").unlink()
    for _start in range(3):
        site.open(clock).close()
        (site.root / "index.db").unlink()
    lost = [r.body for r in site.records(log) if isinstance(r.body, Lost)]
    assert [(one.first_sequence, one.last_sequence) for one in lost] == [(3, 4)]


def test_a_damaged_newest_record_is_told_and_the_log_goes_on_behind_it(site: Site) -> None:
    clock = FakeClock()
    spool, _ = recorded(site, clock)
    log = spool.log_id(CAMERA)
    path, size = site.root / "logs" / f"{log.hex()}.log", spool.logs[CAMERA].file.size_bytes
    spool.close()
    with path.open("r+b") as file:
        file.seek(size - 10)
        file.write(bytes(10))
    spool = site.open(clock)
    spool.close()
    assert path.stat().st_size > size, "what had been durable is not cut"
    found = site.records(log)
    assert [type(r.body) for r in found[-2:]] == [Boot, Fault]
    check_chain(found, site.certificate)


def test_a_log_that_cannot_be_read_at_all_is_followed_by_a_new_one(site: Site) -> None:
    clock = FakeClock()
    spool, _ = recorded(site, clock)
    log = spool.log_id(CAMERA)
    spool.close()
    path = site.root / "logs" / f"{log.hex()}.log"
    path.write_bytes(os.urandom(path.stat().st_size))
    spool = site.open(clock)
    assert spool.log_id(CAMERA) != log
    assert path.exists()
    spool.close()
    again = site.open(clock)
    assert len(again.layout.log_ids()) == 3
    again.close()


def test_another_stream_name_begins_a_log_that_names_the_one_before(site: Site) -> None:
    spool = site.open()
    log, head = spool.log_id(CAMERA), spool.head(CAMERA)
    spool.close()
    spool = site.open(streams=("counter",))
    new = spool.log_id(CAMERA)
    assert new != log
    genesis = site.records(new)[0].body
    assert isinstance(genesis, Genesis)
    assert (genesis.previous_log, genesis.previous_head_sha256) == (log, head[1])
    spool.close()
    spool = site.open(streams=("counter",))
    assert spool.log_id(CAMERA) == new
    spool.close()


def test_a_failed_sync_of_media_ends_it(site: Site) -> None:
    """/dev/null takes writes and cannot be synced."""
    spool, session = recorded(site, FakeClock(), 0)
    file = begin(spool, session, 0, 2)
    os.dup2(os.open("/dev/null", os.O_RDWR), file._descriptor)
    with pytest.raises(SpoolFatalError):
        file.append(stored.encode_account(account(0, 3)), fragment(0, 2))
    spool.close()
    spool = site.open(FakeClock())
    assert [chunk.body.fragments for chunk in spool.recovered] == [2]
    spool.close()


def test_a_failed_sync_of_the_log_ends_it_and_no_sequence_is_used_twice(site: Site) -> None:
    spool, session = recorded(site, FakeClock(), 1)
    log = spool.log_id(CAMERA)
    descriptor = spool.logs[CAMERA].file._descriptor
    good = os.dup(descriptor)
    os.dup2(os.open("/dev/null", os.O_RDWR), descriptor)
    for _again in range(2):
        with pytest.raises(SpoolFatalError):
            record_chunk(spool, session, 1)
        os.dup2(good, descriptor)
    spool.close()
    spool = site.open(FakeClock())
    assert [chunk.body.recovered for chunk in spool.recovered] == ["not-logged", "not-logged"]
    for chunk in list(spool.recovered):
        spool.sign_recovered(chunk)
    spool.close()
    check_chain(site.records(log), site.certificate)
    assert check(site.root).findings == []


@pytest.mark.parametrize("cut", [1, 40, 70, 1500, 3100])
def test_a_torn_fragment_costs_itself_only(site: Site, cut: int) -> None:
    spool, session = recorded(site, FakeClock(), 0)
    file = begin(spool, session, 0, 3)
    spool.close()
    os.truncate(file.path, file.path.stat().st_size - cut)
    spool = site.open(FakeClock())
    (chunk,) = spool.recovered
    assert (chunk.body.fragments, chunk.body.recovered, chunk.session) == (2, "torn", session)
    record = spool.sign_recovered(chunk)
    assert spool.recovered == []
    spool.close()
    assert check(site.root).findings == []
    content = b"".join(stored.content(file.path.open("rb").read))
    assert content == INIT + fragment(0, 0) + fragment(0, 1)
    assert records.parse(record.message).body == record.body


def test_open_sessions_say_where_they_stood(site: Site) -> None:
    clock = FakeClock()
    spool, session = recorded(site, clock)
    begin(spool, session, 3, 2)
    closed = open_session(spool)
    close_session(spool, closed, spool.head(CAMERA)[0] - 1, 0)
    spool.close()
    spool = site.open(clock)
    for chunk in list(spool.recovered):
        spool.sign_recovered(chunk)
    (found,) = spool.open_sessions()
    assert (found.stream, found.session, found.chunks) == (CAMERA, session, 4)
    assert found.last_chunk is not None
    assert found.last_chunk.body.recovered == "torn"  # type: ignore[union-attr]
    assert found.last_chunk_path is not None
    assert found.last_chunk_path.exists()
    close_session(spool, session, found.opened.sequence, found.chunks)
    assert spool.open_sessions() == []
    spool.close()


def test_a_media_number_is_never_used_again(site: Site) -> None:
    spool, session = recorded(site, FakeClock(), 2)
    spool.close()
    for path in (site.root / "media").glob("*/*"):
        path.unlink()
    spool = site.open(FakeClock())
    file = spool.begin_chunk(CAMERA, session, EPOCH, INIT)
    assert file.header.media == 3
    file.finish()
    assert not file.path.exists()
    spool.close()


def test_a_start_reads_only_what_is_new(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cost of a start, and of one more record, does not grow with the log."""
    clock = FakeClock()
    spool, session = recorded(site, clock, 1)
    for _batch in range(20):
        spool.append(
            CAMERA, session, [records.Marker(marker="m", at_boottime_ns=n, basis="device") for n in range(100)]
        )
    path = spool.logs[CAMERA].file.path
    spool.close()
    read: list[int] = []
    real = os.pread

    def counted(descriptor: int, size: int, offset: int) -> bytes:
        data = real(descriptor, size, offset)
        read.append(len(data))
        return data

    monkeypatch.setattr(os, "pread", counted)
    spool = site.open(clock)
    starting = sum(read)
    read.clear()
    spool.append(CAMERA, session, [records.Marker(marker="m", at_boottime_ns=1, basis="device")])
    assert read == []
    monkeypatch.undo()
    for question in (
        "SELECT files FROM totals WHERE state = 0",
        "SELECT log FROM logs WHERE log = x''",
        "SELECT log FROM media WHERE log = x'' AND sequence = 1",
        "SELECT log FROM media WHERE log = x'' AND media = 1",
        "SELECT log FROM media WHERE state = 2 ORDER BY receipt_utc_ns LIMIT 1",
        "SELECT session FROM sessions WHERE close_sequence IS NULL",
    ):
        (plan,) = spool._keeper._index._rows(f"EXPLAIN QUERY PLAN {question}")
        assert "SEARCH" in plan[3] or "USING INDEX media_lingering" in plan[3] or "sessions_open" in plan[3], plan
    spool.close()
    assert path.stat().st_size > 500_000
    first_frames = 2 * 256 * 1024 * len(site.reader.logs())
    assert starting < first_frames


def test_a_lost_mark_costs_nothing(site: Site) -> None:
    spool, _ = recorded(site, FakeClock())
    head, path = spool.head(CAMERA), spool.logs[CAMERA].file.path
    spool.close()
    mark_path(path).unlink()
    assert site.reader.log(spool.log_id(CAMERA)).head() is None
    site.open(FakeClock()).close()
    entry = site.reader.log(spool.log_id(CAMERA)).find(head[0])
    assert entry is not None
    assert entry.record.sha256 == head[1]


def test_a_log_file_without_records_is_removed(site: Site) -> None:
    site.open().close()
    LogFile.create(site.root / "logs" / f"{'ab' * 16}.log", 4096).close()
    site.open().close()
    assert len(site.reader.logs()) == 2
