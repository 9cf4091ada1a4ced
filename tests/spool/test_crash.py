"""The recorder is killed at every named step of the lifecycle; the next start finds everything that was promised."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from recorder.evidence.records import Boot, Chunk, Fault, Genesis
from recorder.evidence.statements import MediaReceipt
from recorder.spool.check import check
from recorder.spool.keeper import parse_receipt
from recorder.spool.steps import STEPS
from tests.spool.scenario import SETTINGS
from tests.support.spools import CAMERA, FakeClock, Site, check_chain

if TYPE_CHECKING:
    from recorder.evidence.records import Record

ROOT = Path(__file__).parents[2]


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site.make(tmp_path / "site", SETTINGS)


def run(site: Site, step: str, occurrence: int) -> tuple[int, list[list[str]]]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.spool.scenario", str(site.folder), step, str(occurrence)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    return done.returncode, [line.split() for line in done.stdout.splitlines()]


def chunks_by_number(found: list[Record]) -> dict[tuple[str, int], Chunk]:
    return {
        (record.session.hex(), record.body.number): record.body
        for record in found
        if isinstance(record.body, Chunk) and record.session is not None
    }


def judge(site: Site, promises: list[list[str]]) -> list[Record]:
    """Start again and hold the disk against the promises; return the camera's records."""
    spool = site.open(FakeClock())
    for chunk in list(spool.recovered):
        spool.sign_recovered(chunk)
    log = spool.log_id(CAMERA)
    spool.take_receipts()
    outstanding = spool.outstanding()
    spool.close()
    for reader in site.reader.logs():
        check_chain(list(reader.records()), site.certificate)
    found = site.records(log)
    by_sequence = {record.sequence: record for record in found}
    chunks = chunks_by_number(found)
    receipted = {
        parsed.sequence
        for parsed in map(parse_receipt, (one.message for one in site.reader.receipts()))
        if isinstance(parsed, MediaReceipt)
    }
    for kind, *values in promises:
        if kind == "record":
            assert by_sequence[int(values[1])].sha256.hex() == values[2]
        elif kind == "fragment":
            assert chunks[values[0], int(values[1])].fragments >= int(values[2]), "a fragment was lost"
        elif kind == "receipt":
            assert int(values[0]) in receipted
    # Nothing is missing but what was receipted, and all that is here has the digests that were signed.
    report = check(site.root)
    assert report.findings == []
    assert report.unrecorded == 0
    here = [record for record in found if record.file and record.sequence not in receipted]
    assert outstanding.files == len(here)
    return found


@pytest.mark.parametrize("occurrence", [1, 3])
@pytest.mark.parametrize("step", [step for step in STEPS if not step.startswith("recovery.")])
def test_killed_at_each_step(site: Site, step: str, occurrence: int) -> None:
    code, promises = run(site, step, occurrence)
    if code == 0:
        assert occurrence > 1, f"the scenario never comes to {step}"
    judge(site, promises)
    # The device goes on with its work as if nothing had been.
    code, more = run(site, "none", 1)
    assert code == 0
    found = judge(site, promises + more)
    assert sum(isinstance(record.body, Genesis) for record in found) == 1


@pytest.mark.parametrize(("step", "before"), [("recovery.cut", "media.synced"), ("recovery.removed", "media.created")])
@pytest.mark.parametrize("occurrence", [1, 2])
def test_killed_during_recovery(site: Site, step: str, before: str, occurrence: int) -> None:
    code, promises = run(site, before, 2)
    assert code != 0
    for log in site.reader.logs():
        with log.path.open("ab") as file:
            file.write(b"\x00\x00\x00\x40torn")
    for media in site.root.glob("media/*/*"):
        if media.stat().st_mode & 0o200:
            with media.open("ab") as file:
                file.write(b"torn")
    code, _ = run(site, step, occurrence)
    if code == 0:
        assert occurrence > 1
    found = judge(site, promises)
    if step == "recovery.removed":
        assert not list(site.root.glob("media/*/*")) or code == 0
    else:
        assert any(isinstance(record.body, Chunk) and record.body.recovered == "torn" for record in found)


def test_what_is_recovered_says_why(site: Site) -> None:
    code, _ = run(site, "media.finished", 1)
    assert code != 0
    found = judge(site, [])
    assert [r.body.recovered for r in found if isinstance(r.body, Chunk)] == ["not-logged"]
    boots = [record.body for record in found if isinstance(record.body, Boot)]
    assert boots[-1].reason == "power-on"  # the fake clock of each start is of another boot
    chunk = next(record.body for record in found if isinstance(record.body, Chunk))
    assert chunk.media_boot is not None


def test_a_removed_file_is_signed(site: Site) -> None:
    run(site, "media.created", 1)
    found = judge(site, [])
    faults = [record.body for record in found if isinstance(record.body, Fault)]
    assert [fault.code for fault in faults] == ["media_removed"]


def test_a_torn_record_is_cut_and_its_size_signed(site: Site) -> None:
    run(site, "log.marked", 9)
    log = next(log for log in site.reader.logs() if log.first().stream == CAMERA)  # type: ignore[union-attr]
    with log.path.open("ab") as file:
        file.write(b"\x00\x00\x01\x00half a record")
    found = judge(site, [])
    assert [r.body.torn_size_bytes for r in found if isinstance(r.body, Boot)] == [0, 17]
