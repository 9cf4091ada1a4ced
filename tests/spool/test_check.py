"""``liuhen check`` as a technician types it: what is damaged is found at its level, and nothing else is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from recorder.spool.check import TEXTS, Finding, check
from recorder.spool.logfile import Frame
from tests.support.spools import CAMERA, FakeClock, Site, begin, open_session, record_chunk

if TYPE_CHECKING:
    from recorder.evidence.records import Record
    from recorder.spool.spool import Spool

ROOT = Path(__file__).parents[2]


class Recorded:
    def __init__(self, site: Site) -> None:
        self.site = site
        self.spool: Spool = site.open(FakeClock())
        self.session = open_session(self.spool)
        self.records: list[Record] = [record_chunk(self.spool, self.session, number) for number in range(3)]
        self.log_path = self.spool.logs[CAMERA].file.path
        self.frames = [item for item in self.spool.logs[CAMERA].file.frames() if isinstance(item, Frame)]

    def media(self, number: int) -> Path:
        return self.spool.media_path(CAMERA, self.records[number].file.media)  # type: ignore[union-attr]


@pytest.fixture
def recorded(site: Site) -> Recorded:
    return Recorded(site)


def run(site: Site, *options: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "recorder.cli", "check", str(site.root), *options],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def codes(site: Site, level: str) -> list[str]:
    return [finding.code for finding in check(site.root, level).findings]


def overwrite(path: Path, at: int) -> None:
    path.chmod(0o640)
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)
        file.seek(at)
        file.write(bytes([byte[0] ^ 1]))


def test_a_sound_spool_in_use_has_nothing_to_find(recorded: Recorded) -> None:
    begin(recorded.spool, recorded.session, 3, 2)
    for level in ("presence", "size", "digest"):
        report = check(recorded.site.root, level)
        assert report.findings == []
        assert (report.logs, report.files, report.unrecorded, report.freed) == (2, 3, 1, 0)
    assert report.size_bytes == sum(record.file.stored_size_bytes for record in recorded.records)  # type: ignore[union-attr]


def test_a_changed_bit_is_found_by_digest(recorded: Recorded) -> None:
    overwrite(recorded.media(1), 5000)
    assert codes(recorded.site, "size") == []
    assert codes(recorded.site, "digest") == ["file-digest"]


def test_a_shortened_file_is_found_by_size(recorded: Recorded) -> None:
    os.truncate(recorded.media(1), 5000)
    assert codes(recorded.site, "presence") == []
    assert codes(recorded.site, "size") == ["file-size"]


def test_two_chunks_changed_for_each_other_are_found(recorded: Recorded) -> None:
    first, second = recorded.media(0), recorded.media(1)
    first.rename(first.with_name("x"))
    second.rename(first)
    first.with_name("x").rename(second)
    assert set(codes(recorded.site, "digest")) <= {"file-digest", "file-size"}
    assert len(codes(recorded.site, "digest")) == 2


def test_a_missing_file_is_found_unless_a_store_has_receipted_it(recorded: Recorded) -> None:
    recorded.media(0).unlink()
    recorded.media(1).unlink()
    assert codes(recorded.site, "presence") == ["file-missing", "file-missing"]
    recorded.site.deliver(recorded.site.media_receipt(recorded.records[0], 1))
    recorded.spool.take_receipts()
    report = check(recorded.site.root, "presence")
    assert [finding.values["sequence"] for finding in report.findings] == [recorded.records[1].sequence]
    assert report.freed == 1


def test_damage_of_the_log_is_found(recorded: Recorded) -> None:
    overwrite(recorded.log_path, recorded.frames[4].offset + 30)
    assert codes(recorded.site, "presence") == ["log-damaged", "records-missing"]


def test_a_shortened_log_is_found(recorded: Recorded) -> None:
    os.truncate(recorded.log_path, recorded.frames[-1].offset)
    assert codes(recorded.site, "presence") == ["log-short"]


def test_a_record_cut_out_is_found(recorded: Recorded) -> None:
    content = recorded.log_path.read_bytes()
    cut = recorded.frames[4]
    recorded.log_path.write_bytes(content[: cut.offset] + content[cut.end_offset :])
    assert "records-missing" in codes(recorded.site, "presence")


def test_a_record_of_another_past_breaks_the_chain(site: Site) -> None:
    recorded = Recorded(site)
    recorded.spool.close()
    content = recorded.log_path.read_bytes()
    at = recorded.frames[-1].offset
    os.truncate(recorded.log_path, at)
    recorded.log_path.with_suffix(".durable").write_bytes(at.to_bytes(8, "big"))
    spool = site.open(FakeClock())
    spool.close()
    # The newest record of the first past is put behind the boot record of the second one.
    other = recorded.log_path.read_bytes() + content[at:]
    recorded.log_path.write_bytes(other)
    recorded.log_path.with_suffix(".durable").write_bytes(len(other).to_bytes(8, "big"))
    assert "chain-broken" in codes(site, "digest")


def test_the_command_says_it_in_words_and_by_exit_code(recorded: Recorded) -> None:
    code, out = run(recorded.site)
    assert (code, out.splitlines()[-1]) == (0, "完好。")
    overwrite(recorded.media(1), 5000)
    code, out = run(recorded.site, "--lang", "en")
    assert code == 1
    assert "is not the one that was recorded" in out
    assert out.splitlines()[-1] == "1 problems found."
    code, out = run(recorded.site, "--json")
    found: dict[str, Any] = json.loads(out)
    assert code == 1
    assert found["sound"] is False
    assert [one["code"] for one in found["findings"]] == ["file-digest"]


def test_rebuild_needs_the_recorder_to_be_stopped(recorded: Recorded) -> None:
    code, out = run(recorded.site, "--rebuild")
    assert code == 64
    assert "another process writes this spool" in out
    recorded.spool.close()
    (recorded.site.root / "index.db").unlink()
    code, out = run(recorded.site, "--rebuild", "--lang", "en")
    assert code == 0
    assert out.splitlines()[0] == "The index was made again."
    spool = recorded.site.open(FakeClock())
    assert spool.outstanding().files == 3
    spool.close()


def test_what_is_no_spool_is_refused(tmp_path: Path) -> None:
    site = Site.make(tmp_path / "site")
    code, out = run(site)
    assert code == 64
    assert "not a spool" in out


@pytest.mark.parametrize("code", TEXTS)
def test_every_text_can_be_filled(code: str) -> None:
    values = dict.fromkeys(("log", "offset", "size_bytes", "sequence", "last", "media", "expected_bytes"), 7)
    for language in ("zh", "en"):
        assert "7" in Finding(code, values).text(language)
