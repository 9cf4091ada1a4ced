"""A small real file system runs full: nothing recorded is lost, and the end of it is on record."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from recorder.evidence import stored
from recorder.evidence.records import Chunk, Fault, Gap
from recorder.spool.check import check
from recorder.spool.errors import DiskFullError
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
    make_site,
    open_session,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from recorder.spool.media import MediaFile
    from recorder.spool.spool import Spool

SIZE_MIB = 8
FRAGMENT_SIZE_BYTES = 50_000


def _mount(kind: str, folder: Path, image: Path) -> None:
    if kind == "tmpfs":
        command = ["mount", "-t", "tmpfs", "-o", f"size={SIZE_MIB}m", "tmpfs", str(folder)]
    else:
        if shutil.which("mkfs.ext4") is None:
            pytest.skip("mkfs.ext4 is not installed")
        with image.open("wb") as file:
            file.truncate(SIZE_MIB << 20)
        subprocess.run(["mkfs.ext4", "-q", "-m", "0", str(image)], check=True, capture_output=True)
        command = ["mount", "-o", "loop", str(image), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"a {kind} cannot be mounted here: {done.stderr.strip()}")


@pytest.fixture(params=["tmpfs", "ext4"])
def small(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Site]:
    site = make_site(tmp_path / "site", restore_window_hours=1000.0)
    site.root.mkdir()
    _mount(request.param, site.root, tmp_path / "image")
    try:
        yield site
    finally:
        subprocess.run(["umount", "-l", str(site.root)], check=True)


def fill(spool: Spool, session: bytes) -> tuple[list[tuple[int, int]], MediaFile | None]:
    """Record until the disk is full; return what was promised, and the file that was open."""
    promised: list[tuple[int, int]] = []
    for number in range(1000):
        file: MediaFile | None = None
        try:
            file = spool.begin_chunk(CAMERA, session, EPOCH, INIT)
            for index in range(4):
                file.append(
                    stored.encode_account(account(number, index + 1)), fragment(number, index, FRAGMENT_SIZE_BYTES)
                )
                promised.append((number, index + 1))
            file.finish()
            spool.sign_chunk(file)
        except DiskFullError:
            return promised, file
    raise AssertionError("the disk never ran full")


def _fill_up(path: Path) -> None:
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(bytes(4096)):
            pass


def _refused(spool: Spool) -> bool:
    try:
        spool.append(0, None, [Fault(code="storage_full", detail="x" * 2000)])
    except DiskFullError:
        return True
    return False


def test_a_full_disk(small: Site) -> None:
    clock = FakeClock()
    spool = small.open(clock)
    session = open_session(spool)
    opened = spool.head(CAMERA)[0] - 1
    promised, file = fill(spool, session)
    assert len(promised) > 20
    assert spool.full
    # What was open is finished at its last whole fragment and signed, then the fault and the end.
    if file is not None:
        file.finish()
        spool.sign_chunk(file)
    spool.append(0, None, [Fault(code="storage_full")])
    chunks = len({number for number, _ in promised})
    spool.append(
        CAMERA,
        session,
        [Gap(cause="storage", tracks=["video"], state="begins", start_boottime_ns=clock.boottime_ns())],
    )
    close_session(spool, session, opened, chunks)
    # Records go on for long; media are refused.
    for _ in range(200):
        spool.append(0, None, [Fault(code="storage_full")])
    with pytest.raises(DiskFullError):
        spool.begin_chunk(CAMERA, session, EPOCH, INIT)
    log = spool.log_id(CAMERA)
    signed = {r.body.number: r.body.fragments for r in small.records(log) if isinstance(r.body, Chunk)}
    assert all(signed[number] >= count for number, count in promised)
    report = check(small.root)
    assert report.findings == []
    assert report.unrecorded == 0
    assert spool.outstanding().files == len(signed)

    # The store takes everything in: there is room again, whatever the window says, and recording goes on.
    for record in small.records(log):
        if record.file is not None:
            small_inbox = small.media_receipt(record, clock.now().utc_ns)
            small.deliver(small_inbox)
    spool.take_receipts()
    spool.collect_garbage()
    assert not spool.full
    session = open_session(spool)
    again = spool.begin_chunk(CAMERA, session, EPOCH, INIT)
    again.append(stored.encode_account(account(0, 1)), fragment(0, 0))
    again.finish()
    assert spool.sign_chunk(again) is not None
    spool.close()
    small.open(clock).close()
    for reader in small.reader.logs():
        check_chain(list(reader.records()), small.certificate)


def test_without_any_room_a_record_is_refused_and_no_sequence_is_used(small: Site) -> None:
    spool = small.open()
    session = open_session(spool)
    fill(spool, session)
    filler = small.root / "filler"
    _fill_up(filler)
    before, refused = spool.head(0), False
    while not refused:
        before = spool.head(0)
        refused = _refused(spool)
    head = spool.head(0)
    assert head == before
    file = spool.logs[0].file
    assert file.path.stat().st_size == file.size_bytes
    filler.unlink()
    (record,) = spool.append(0, None, [Fault(code="storage_full")])
    assert (record.sequence, record.previous_sha256) == (head[0] + 1, head[1])
    spool.close()
    small.open().close()
    for reader in small.reader.logs():
        check_chain(list(reader.records()), small.certificate)


@pytest.mark.parametrize("index_lost", [False, True])
def test_a_start_on_a_full_disk(small: Site, index_lost: bool) -> None:
    spool = small.open()
    session = open_session(spool)
    if index_lost:
        fill(spool, session)
    else:
        begin(spool, session, 0)
    spool.close()
    _fill_up(small.root / "filler")
    if index_lost:
        (small.root / "index.db").unlink()
    spool = small.open()
    assert spool.full
    for chunk in list(spool.recovered):
        spool.sign_recovered(chunk)
    assert spool.open_sessions()[0].session == session
    spool.close()
    assert check(small.root).findings == []
