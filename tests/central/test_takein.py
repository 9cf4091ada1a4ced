"""The card of a dead device, and the commands that people give."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from keys.certificates import Anchors, load_der
from keys.signer import open_signer
from recorder.evidence import inspection, records, statements
from recorder.spool.layout import Layout
from recorder.spool.logfile import LogFile
from tests.central.support import Log, log_of
from tests.support.commands import liuhen
from uplink.central import access, embedded, export, takein
from uplink.central.embedded import EmbeddedArchive
from uplink.central.errors import NotAStoreError, RefusedError, StoreError
from uplink.central.verify import judge_store

if TYPE_CHECKING:
    from tests.central.conftest import Store


def spool_of(folder: Path, log: Log) -> Layout:
    layout = Layout(folder)
    layout.make()
    file = LogFile.create(layout.log(log.log), records.MAX_RECORD_SIZE_BYTES)
    file.append(log.messages())
    file.close()
    layout.media_folder(log.log).mkdir()
    for sequence, data in log.files.items():
        body = log.records[sequence].file
        assert body is not None
        layout.media_file(log.log, body.media).write_bytes(data)
    return layout


@pytest.fixture
def config(tmp_path: Path, site: Path) -> Path:
    keys = site / "central"
    path = tmp_path / "central.toml"
    path.write_text(
        f"""
[store]
folder = "{tmp_path / "store"}"
language = "en"
[keys]
receipt = "file:{keys / "receipt.key"}"
certificate = "{keys / "receipt.crt"}"
authority = ["{site / "authority.crt"}"]
[intake]
broker = "localhost:1"
key = "{keys / "transport.key"}"
certificate = "{keys / "transport.crt"}"
broker_authority = "{site / "authority.crt"}"
"""
    )
    return path


def test_a_card_is_taken_in_once_however_often(store: Store, tmp_path: Path) -> None:
    log = log_of(store.site, files=4)
    spool_of(tmp_path / "spool", log)
    first = takein.take_in(store.archive, store.ingest, store.writer, tmp_path / "spool")
    assert (first.records_new, first.files_new, first.refused) == (7, 4, [])
    before = store.archive.sessions()
    second = takein.take_in(store.archive, store.ingest, store.writer, tmp_path / "spool")
    assert (second.records_new, second.files_new, second.files_held) == (0, 0, 4)
    assert store.archive.sessions() == before
    assert before[0].complete_utc_ns is not None
    anchors = Anchors.load([store.site / "authority.crt"])
    assert [statements.verify(one, anchors).id for one in second.receipts] == ["store-1"] * 5


def test_what_is_wrong_on_a_card_is_not_taken_for_right(store: Store, tmp_path: Path) -> None:
    log = log_of(store.site, files=4)
    layout = spool_of(tmp_path / "spool", log)
    layout.media_file(log.log, 0).unlink()
    other = layout.media_file(log.log, 1)
    data = bytearray(other.read_bytes())
    data[-1] ^= 1
    other.write_bytes(data)
    target = layout.media_file(log.log, 2)
    target.rename(tmp_path / "elsewhere")
    target.symlink_to(tmp_path / "elsewhere")
    taken = takein.take_in(store.archive, store.ingest, store.writer, tmp_path / "spool")
    assert (taken.files_new, taken.files_absent, taken.files_wrong) == (1, 1, 2)
    assert store.archive.session(b"S" * 16).held == 1
    assert list((store.folder / "staging").iterdir()) == []


def test_a_failing_card_gives_what_it_can(store: Store, tmp_path: Path) -> None:
    """Pipes, links and folders in the place of files and of a log."""
    log = log_of(store.site, files=5)
    layout = spool_of(tmp_path / "spool", log)
    os.mkfifo(layout.logs / f"{'00' * 16}.log")
    (layout.logs / f"{'00' * 16}.durable").write_bytes((1000).to_bytes(8, "big"))
    for media, make in ((1, lambda path: path.symlink_to("/dev/zero")), (2, os.mkfifo), (3, Path.mkdir)):
        path = layout.media_file(log.log, media)
        path.unlink()
        make(path)
    taken = takein.take_in(store.archive, store.ingest, store.writer, tmp_path / "spool")
    assert (taken.records_new, taken.files_new, taken.files_wrong, taken.files_absent) == (8, 2, 3, 0)
    assert taken.refused == []


def test_a_file_that_cannot_be_read_is_not_the_stores_failure(store: Store) -> None:
    log = log_of(store.site, files=1)
    store.records(log, log.messages())
    file = store.archive.file(log.device, log.log, 2)
    assert file is not None
    with pytest.raises(RefusedError, match="cannot be read"):
        store.archive.stage_copy(file, Path("/proc/self/mem"))  # a plain file whose first page gives EIO


def test_an_export_without_a_place_is_one_sentence(config: Path, store: Store, tmp_path: Path) -> None:
    log = log_of(store.site, files=1)
    store.records(log, log.messages())
    common = ("export", "--config", config, "--reason", "r", "--session", "5353")
    done = liuhen(*common, "--out", tmp_path / "nowhere" / "package")
    assert (done.returncode, done.stderr.count("\n")) == (64, 1)
    assert "nothing was exported" in done.stderr


def test_what_arrives_during_an_export_is_not_in_it(store: Store, tmp_path: Path) -> None:
    log = log_of(store.site, files=2)
    store.records(log, log.messages(0, 2))

    class Busy(EmbeddedArchive):
        """A store whose worker takes in more while somebody reads."""

        def followed_branch(self, device: str, log_id: bytes) -> int | None:
            store.records(log, log.messages(3))
            return super().followed_branch(device, log_id)

    archive = Busy(store.folder, "store-1")
    state = archive.session(b"S" * 16)
    certificate = load_der(store.site / "central" / "receipt.crt")
    signer = open_signer(f"file:{store.site / 'central' / 'receipt.key'}", certificate)
    export.export(archive, state, signer, "store-1", tmp_path / "p", [], None, None)
    archive.close()
    result = inspection.judge_package(tmp_path / "p", Anchors.load([store.site / "authority.crt"]))
    assert {one.code for one in result.findings} == {"session-unclosed", "media-not-here"}


def test_a_folder_that_is_no_spool(store: Store, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="holds no logs"):
        takein.take_in(store.archive, store.ingest, store.writer, tmp_path)


def test_a_store_is_not_made_over_other_things_nor_opened_as_another(tmp_path: Path) -> None:
    (tmp_path / "holiday.jpg").touch()
    with pytest.raises(NotAStoreError, match="neither empty nor a store"):
        embedded.make(tmp_path, "store-1")
    embedded.make(tmp_path / "s", "store-1")
    embedded.make(tmp_path / "s", "store-1")
    with pytest.raises(NotAStoreError, match="belongs to"):
        EmbeddedArchive(tmp_path / "s", "store-2")
    with pytest.raises(NotAStoreError, match=r"store\.json"):
        EmbeddedArchive(tmp_path / "nowhere")


def test_the_commands_and_what_they_leave_in_the_access_log(config: Path, site: Path, tmp_path: Path) -> None:
    log = log_of(site, files=3)
    spool_of(tmp_path / "spool", log)
    embedded.make(tmp_path / "store", "store-1")
    common = ("--config", config, "--reason", "case 7")
    card = ("central", "take-in", tmp_path / "spool", *common)
    refused = liuhen(*card)
    assert refused.returncode == 64
    assert "--certificate" in refused.stderr
    certificate = site / "devices" / "sy-0001" / "signing.crt"
    taken = liuhen(*card, "--certificate", certificate, "--receipts", tmp_path / "receipts", "--json")
    assert taken.returncode == 0, taken.stderr
    assert json.loads(taken.stdout)["files_new"] == 3
    assert (tmp_path / "receipts").stat().st_size > 1000

    listed = json.loads(liuhen("central", "sessions", *common, "--json").stdout)
    assert [(one["state"], one["files"], one["late"]) for one in listed] == [("complete", 3, False)]
    assert "complete" in liuhen("central", "sessions", *common).stdout
    assert "已齐全" in liuhen("central", "sessions", *common, "--lang", "zh").stdout
    status = json.loads(liuhen("central", "status", *common, "--json").stdout)
    assert status["devices"][0]["device"] == "sy-0001"

    short = listed[0]["session"][:5]
    exported = liuhen("export", *common, "--session", short, "--out", tmp_path / "package", "--as", "010123")
    assert exported.returncode != 64, exported.stderr
    attested = liuhen("central", "attest", *common, "--session", short, "--out", tmp_path / "a.cose")
    assert attested.returncode == 0, attested.stderr
    said = statements.parse((tmp_path / "a.cose").read_bytes(), statements.Attestation)
    assert said.closed
    nothing = liuhen("export", *common, "--session", "abcd", "--out", tmp_path / "none")
    assert nothing.returncode == 64

    noted = [entry for _, entry in access.entries(tmp_path / "store")]
    assert [entry.action for entry in noted] == [
        "take-in",
        "take-in",
        "take-in-done",
        "list",
        "list",
        "list",
        "status",
        "export",
        "attest",
    ]
    assert {entry.reason for entry in noted} == {"case 7"}
    assert "(010123)" in noted[7].who
    assert noted[7].subject["session"] == b"S" * 16


def test_withheld_files_stay_in_the_store(config: Path, store: Store, tmp_path: Path) -> None:
    log = log_of(store.site, files=3)
    spool_of(tmp_path / "spool", log)
    takein.take_in(store.archive, store.ingest, store.writer, tmp_path / "spool")
    common = ("export", "--config", config, "--reason", "copy for the party", "--session", "5353")
    missing = liuhen(*common, "--out", tmp_path / "p1", "--withhold", "3")
    assert missing.returncode == 64
    assert "--ground" in missing.stderr
    outside = liuhen(*common, "--out", tmp_path / "p1", "--withhold", "0-3", "--ground", "trade_secret")
    assert "not of this session" in outside.stderr
    done = liuhen(*common, "--out", tmp_path / "p1", "--withhold", "3-4", "--ground", "trade_secret", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["absent"] == [3, 4]
    assert len(list((tmp_path / "p1" / "evidence" / "media").iterdir())) == 1
    assert (tmp_path / "p1" / "evidence" / "withheld.cose").exists()


def test_a_session_is_late_by_its_records_alone(store: Store) -> None:
    from recorder.evidence.deadlines import HOUR_NS
    from uplink.central import overview

    log = Log("sy-0001", log_of(store.site).signer)
    log.utc_ns -= 25 * HOUR_NS
    log.genesis()
    log.session(b"L" * 16, 2)
    log.utc_ns += 4 * HOUR_NS
    opened = log.open(b"N" * 16)
    log.file(b"N" * 16)
    store.records(log, log.messages())
    now = log.utc_ns + 21 * HOUR_NS
    late, soon = overview.sessions_map(store.archive, None, now)
    assert (late["state"], late["late"], late["files_missing"]) == ("missing", True, 2)
    assert (soon["state"], soon["late"], soon["soon_late"]) == ("unclosed", False, True)
    status = overview.status_map(store.archive, "store-1", now)
    assert status["late"] == [(b"L" * 16).hex()]
    for language in ("zh", "en"):
        assert overview.status_text(status, language)
    assert opened.session == b"N" * 16


def test_a_store_is_judged_by_what_lies_in_it(store: Store, site: Path, tmp_path: Path) -> None:
    log = log_of(site, files=3)
    spool_of(tmp_path / "spool", log)
    takein.take_in(store.archive, store.ingest, store.writer, tmp_path / "spool")
    anchors = Anchors.load([site / "authority.crt"])
    whole, session = judge_store(store.folder, anchors)
    assert whole.integrity == "intact"
    assert session.session == b"S" * 16
    assert session.witness == "attested"
    assert not [one for one in session.findings if "stored" in one.code or "media" in one.code]

    file = store.archive.file(log.device, log.log, 3)
    assert file is not None
    path = store.archive.path(file)
    data = bytearray(path.read_bytes())
    data[100] ^= 1
    path.write_bytes(data)
    _, session = judge_store(store.folder, anchors)
    assert "stored-altered" in [one.code for one in session.findings]
    assert session.exit_code == 1
    path.unlink()
    _, session = judge_store(store.folder, anchors)
    assert session.exit_code == 1


def test_a_store_whose_device_lost_its_tail_is_judged_by_what_it_attests(store: Store, site: Path) -> None:
    log = log_of(site, files=3)
    store.records(log, log.messages())
    for sequence, data in log.files.items():
        store.piece(log, sequence, 0, data)
    log.cut(3)
    log.boot()
    store.records(log, log.messages(3))
    whole, session = judge_store(store.folder, Anchors.load([site / "authority.crt"]))
    assert "tail-lost-known" in [one.code for one in whole.notes]
    assert (session.session, session.witness) == (b"S" * 16, "attested")
    assert not {one.code for one in session.findings} & {"witness-contradicts", "tail-missing", "session-unclosed"}


def test_a_pipe_in_the_place_of_a_file_holds_nobody_up(store: Store, site: Path) -> None:
    log = log_of(site, files=2)
    store.records(log, log.messages())
    for sequence, data in log.files.items():
        store.piece(log, sequence, 0, data)
    for sequence, make in ((2, os.mkfifo), (3, Path.mkdir)):
        file = store.archive.file(log.device, log.log, sequence)
        assert file is not None
        path = store.archive.path(file)
        path.unlink()
        make(path)  # type: ignore[operator]
    _, session = judge_store(store.folder, Anchors.load([site / "authority.crt"]))
    assert [one.sequence for one in session.findings if one.code == "stored-altered"] == [2, 3]


def test_records_that_come_later_are_attested_again(store: Store, site: Path) -> None:
    log = log_of(site, files=1)
    store.records(log, log.messages())
    store.piece(log, 2, 0, log.files[2])
    state = store.archive.session(b"S" * 16)
    first = store.archive.attestation(state)
    assert first is not None
    later = log.file(b"S" * 16)
    store.records(log, log.messages(later))
    assert store.archive.attestation(state) is None
    store.piece(log, later, 0, log.files[later])
    again = store.archive.attestation(state)
    assert again is not None
    assert statements.parse(again, statements.Attestation).later == [later]
    assert store.archive.session(b"S" * 16).complete_utc_ns == state.complete_utc_ns
