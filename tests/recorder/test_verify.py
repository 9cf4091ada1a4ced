"""``liuhen verify`` on a package, a spool and a store, as a process and with its exit codes."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from keys.certificates import Anchors, read_identity
from recorder import verify
from recorder.evidence import checkcode, records, statements
from recorder.evidence.package import write_package
from recorder.spool.layout import Layout
from recorder.spool.logfile import LogFile
from tests.support import forge
from tests.support.commands import liuhen
from tests.support.forge import SECOND, Recording, Site
from uplink.central import attest, embedded

if TYPE_CHECKING:
    from pathlib import Path

    from recorder.evidence.verdict import Verdict


@pytest.fixture(scope="module")
def site() -> Site:
    return Site.make()


@pytest.fixture(scope="module")
def recording(site: Site) -> Recording:
    return forge.record(site, gap=True)


def write(recording: Recording, folder: Path) -> Path:
    write_package(
        folder,
        records=recording.records,
        attestation=recording.attestation,
        certificates=recording.site.certificates,
        media=lambda record: recording.media.get(record.sequence),
    )
    return folder


def authority(site: Site, folder: Path) -> Path:
    path = folder / "authority.der"
    path.write_bytes(site.authority.der)
    return path


def receipt(recording: Recording) -> bytes:
    head = recording.parsed[-1]
    return statements.sign(
        statements.RecordsReceipt(
            store="store-1",
            utc_ns=head.utc_ns + SECOND,
            device=head.device,
            log=head.log,
            next_sequence=head.sequence + 1,
            head_sha256=head.sha256,
        ),
        recording.site.store,
    )


def spool(recording: Recording, folder: Path) -> Path:
    """Lay a device's spool out as the recorder does."""
    layout = Layout(folder)
    layout.make()
    log = LogFile.create(layout.log(b"L" * 16), records.MAX_RECORD_SIZE_BYTES)
    log.append([*recording.before, *recording.records])
    log.close()
    receipts = LogFile.create(layout.receipts_log, statements.MAX_RECEIPT_SIZE_BYTES)
    receipts.append([receipt(recording)])
    receipts.close()
    layout.media_folder(b"L" * 16).mkdir()
    for record in recording.parsed:
        if record.file is not None:
            layout.media_file(record.log, record.file.media).write_bytes(forge.STORED[record.file.stored_sha256])
    return folder


def store(recording: Recording, folder: Path) -> Path:
    """Fill a store as its worker does."""
    embedded.make(folder, "store-1")
    archive = embedded.EmbeddedArchive(folder)
    archive.begin()
    archive.add_certificate(read_identity(recording.site.device.certificate), [])
    parsed = [records.parse(message) for message in [*recording.before, *recording.records]]
    for record in parsed:
        archive.place(record, "believed", record.utc_ns + SECOND)
    for file in list(archive.files("sy-0001", b"L" * 16, 0, 1000)):
        assert archive.put_piece(file, 0, forge.STORED[file.stored_sha256])
        archive.complete(file, "believed", None, forge.UTC0 + 90 * SECOND)
    archive.commit()
    archive.begin()
    (state,) = archive.sessions()
    at = forge.UTC0 + 3600 * SECOND
    archive.keep_attestation(state, attest.attest(archive, state, recording.site.store, "store-1", at), at)
    archive.commit()
    archive.close()
    return folder


def judge(path: Path, site: Site) -> list[Verdict]:
    return list(verify.judge_path(path, site.anchors, site.certificates))


def codes(verdicts: list[Verdict]) -> set[str]:
    return {finding.code for one in verdicts for finding in one.findings}


def test_package_from_the_command_line(recording: Recording, site: Site, tmp_path: Path) -> None:
    package = write(recording, tmp_path / "package")
    anchor = authority(site, tmp_path)
    done = liuhen("verify", package, "--authority", anchor)
    assert done.returncode == 0, done.stderr
    assert "存在已签名记录的中断1处" in done.stdout
    told = json.loads(liuhen("verify", package, "--authority", anchor, "--json").stdout)
    assert (told["exit_code"], told["verdicts"][0]["witness"]) == (0, "attested")
    assert told["verdicts"][0]["checked"]["media"] == 13
    without = liuhen("verify", package, "--lang", "en")
    assert without.returncode == 2
    assert "Cannot be judged" in without.stdout
    film = package / "session.mp4"
    film.write_bytes(film.read_bytes()[:-1])
    damaged = liuhen("verify", package, "--authority", anchor)
    assert damaged.returncode == 1
    assert "[film-differs]" in damaged.stdout
    nothing = liuhen("verify", tmp_path)
    assert nothing.returncode == 64
    assert "no package" in nothing.stderr
    assert "Traceback" not in nothing.stderr


def test_spool(recording: Recording, site: Site, tmp_path: Path) -> None:
    folder = spool(recording, tmp_path / "spool")
    verdicts = judge(folder, site)
    assert codes(verdicts) == set()
    assert verify.worst(verdicts) == 0
    assert [one.session for one in verdicts] == [None, b"S" * 16]
    assert (verdicts[1].completeness, verdicts[1].witness, verdicts[1].checked.media) == ("gaps", "attested", 13)


def test_spool_with_freed_media_cannot_be_judged(recording: Recording, site: Site, tmp_path: Path) -> None:
    folder = spool(recording, tmp_path / "spool")
    (folder / "media" / (b"L" * 16).hex() / "000000000003").unlink()
    verdicts = judge(folder, site)
    assert (verify.worst(verdicts), codes(verdicts)) == (2, {"media-not-here"})


def test_spool_with_an_altered_file(recording: Recording, site: Site, tmp_path: Path) -> None:
    folder = spool(recording, tmp_path / "spool")
    path = folder / "media" / (b"L" * 16).hex() / "000000000003"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    verdicts = judge(folder, site)
    assert verify.worst(verdicts) == 1
    assert codes(verdicts) == {"stored-altered", "media-altered"}


def test_spool_rolled_back_behind_its_receipt(recording: Recording, site: Site, tmp_path: Path) -> None:
    """The receipt names a record that is here under another hash: the store has seen another past."""
    drafts = forge.session_drafts(gap=True)
    drafts[0] = drafts[0].changed(matter="hearing")
    other = forge.record(site, drafts, attested=False)
    folder = spool(other, tmp_path / "spool")
    receipts = LogFile.open(Layout(folder).receipts_log, statements.MAX_RECEIPT_SIZE_BYTES).file
    receipts.append([receipt(recording)])
    receipts.close()
    verdicts = judge(folder, site)
    assert verify.worst(verdicts) == 1
    assert "witness-contradicts" in codes(verdicts)


def test_spool_without_the_certificate_or_the_authority(recording: Recording, site: Site, tmp_path: Path) -> None:
    folder = spool(recording, tmp_path / "spool")
    assert codes(list(verify.judge_path(folder, site.anchors))) == {"signer-unknown"}
    assert verify.worst(verify.judge_path(folder, Anchors([]), site.certificates)) == 2


def test_store(recording: Recording, site: Site, tmp_path: Path) -> None:
    folder = store(recording, tmp_path / "store")
    log, one = judge(folder, site)
    assert (log.session, log.findings) == (None, ())
    assert (one.exit_code, one.findings, one.completeness, one.witness) == (0, (), "gaps", "attested")
    assert one.checked.media == 13


def test_store_with_an_altered_file(recording: Recording, site: Site, tmp_path: Path) -> None:
    folder = store(recording, tmp_path / "store")
    largest = max((path for path in (folder).rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
    media = [path for path in folder.rglob("*") if path.is_file() and path.read_bytes()[:6] == b"LIUHEN"]
    assert len(media) == 13, largest
    media[5].chmod(0o640)
    data = bytearray(media[5].read_bytes())
    data[-100] ^= 1
    media[5].write_bytes(data)
    assert verify.worst(judge(folder, site)) == 1


def test_unreadable_names_and_files_are_told_not_raised(recording: Recording, site: Site, tmp_path: Path) -> None:
    package = write(recording, tmp_path / "package")
    (package / os.fsdecode(b"\xff\xfe\n.mp4")).write_bytes(b"x")
    done = liuhen("verify", package, "--authority", authority(site, tmp_path))
    assert done.returncode == 1
    assert "[file-unlisted]" in done.stdout
    assert "Traceback" not in done.stderr
    garbage = tmp_path / "garbage.pem"
    garbage.write_text("no certificate")
    refused = liuhen("verify", package, "--authority", garbage)
    assert refused.returncode == 64
    assert "not a certificate" in refused.stderr


def test_nothing_to_judge_is_not_success() -> None:
    assert verify.worst([]) == 2


@pytest.mark.rule("R23")
def test_what_was_written_on_paper_is_checked_by_the_command(site: Site, recording: Recording, tmp_path: Path) -> None:
    package = write(recording, tmp_path / "package")
    trusted = ("--authority", authority(site, tmp_path))
    code = checkcode.of(recording.parsed[-1])
    paper = f"{code.number}：{code.groups.replace(' ', '-')}"
    said = liuhen("verify", package, *trusted, "--code", paper, "--code", str(code))
    assert (said.returncode, said.stderr) == (0, "")
    assert f"核验码相符：编号{code.number}、核验码{code.groups}" in said.stdout
    # A slip of the pen, and a number that the package does not reach.
    wrong = f"{code.number}:{(int(code.digits) + 1) % 10**12:012}"
    said = liuhen("verify", package, *trusted, "--code", wrong, "--json")
    told = json.loads(said.stdout)
    assert (said.returncode, told["exit_code"]) == (1, 1)
    (finding,) = told["verdicts"][0]["findings"]
    assert (finding["code"], finding["sequence"], finding["effect"]) == ("code-differs", code.number, "violation")
    said = liuhen("verify", package, *trusted, "--code", f"99:{code.digits}", "--lang", "en")
    assert said.returncode == 2
    assert "there is no record 99 in this copy" in said.stdout


@pytest.mark.parametrize("written", ["12", "12:123", "12:abcdefghijkl"])
def test_a_malformed_code_is_a_mistake_of_the_caller(recording: Recording, tmp_path: Path, written: str) -> None:
    said = liuhen("verify", write(recording, tmp_path / "package"), "--code", written)
    assert said.returncode == 64
    assert "NUMBER:CODE" in said.stderr
    assert not said.stdout


def test_a_code_is_of_one_recording_not_of_a_spool(recording: Recording, tmp_path: Path) -> None:
    said = liuhen("verify", spool(recording, tmp_path / "spool"), "--code", "1:123456789012")
    assert said.returncode != 0
    assert "export" in said.stderr
