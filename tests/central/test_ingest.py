from __future__ import annotations

import hashlib
import os
from contextlib import nullcontext
from typing import TYPE_CHECKING

import pytest

from keys import cbor, cose
from keys.certificates import Anchors
from recorder.evidence import records, statements
from recorder.evidence.statements import Attestation
from tests.central.conftest import open_store
from tests.central.support import Log, log_of, signer_of
from uplink import protocol
from uplink.central import attest
from uplink.central.embedded import MAX_PARTS
from uplink.central.errors import NoSuchSessionError, RefusedError, UnknownSignerError
from uplink.central.ingest import Answers
from uplink.errors import ProtocolError
from uplink.protocol import Have, Piece, Records

if TYPE_CHECKING:
    from pathlib import Path

    from tests.central.conftest import Store


def held(store: Store, log: Log, sequence: int) -> bool:
    file = store.archive.file(log.device, log.log, sequence)
    return file is not None and file.held


def test_records_and_files_arrive_once_however_often_they_are_sent(store: Store) -> None:
    log = log_of(store.site)
    for _ in range(2):
        store.records(log, log.messages())
        for sequence, data in log.files.items():
            answers = store.piece(log, sequence, 0, data)
            assert (log.log, sequence) in answers.media
    state = store.archive.session(b"S" * 16)
    assert (state.records, state.files, state.held, state.missing_size_bytes) == (5, 3, 3, 0)
    for sequence, data in log.files.items():
        file = store.archive.file(log.device, log.log, sequence)
        assert file is not None
        assert store.archive.path(file).read_bytes() == data


def test_a_complete_session_is_attested(store: Store) -> None:
    log = log_of(store.site)
    store.records(log, log.messages())
    for sequence, data in log.files.items():
        assert store.archive.session(b"S" * 16).complete_utc_ns is None
        store.piece(log, sequence, 0, data)
    state = store.archive.session(b"S" * 16)
    message = store.archive.attestation(state)
    assert message is not None
    statements.verify(message, Anchors.load([store.site / "authority.crt"]))
    said = statements.parse(message, Attestation)
    assert (said.first_sequence, said.last_sequence, said.closed) == (1, 5, True)
    assert said.media_held == [(1, 5)]
    assert said.media_missing == []
    assert [one[:2] for one in said.received] == [(1, 5)]
    assert said.head_sha256 == log.records[-1].sha256


def test_an_incomplete_session_is_attested_as_far_as_it_hangs_together(store: Store) -> None:
    log = log_of(store.site, files=6)
    store.records(log, [*log.messages(0, 3), *log.messages(5)])
    store.piece(log, 2, 0, log.files[2])
    said = attest.statement(store.archive, store.archive.session(b"S"), "store-1", 1)
    assert (said.first_sequence, said.last_sequence, said.closed) == (1, 3, False)
    assert said.media_missing == [3]


def test_unknown_signer_is_asked_who_it_is(store: Store) -> None:
    log = log_of(store.site, "sy-0002")
    with pytest.raises(UnknownSignerError):
        store.records(log, log.messages())
    store.hello("sy-0002")
    store.records(log, log.messages())
    assert store.archive.position("sy-0002", log.log).next_sequence == 6


def test_a_device_cannot_introduce_itself_as_another(store: Store) -> None:
    with pytest.raises(RefusedError, match="introduced itself"):
        store.hello("sy-0001", certificate_of="sy-0002")


def tampered(log: Log) -> bytes:
    data = bytearray(log.records[1].message)
    data[-1] ^= 1
    return bytes(data)


def foreign_log(log: Log) -> bytes:
    other = Log(log.device, log.signer)
    return other.genesis().message


def foreign_device(log: Log) -> bytes:
    other = Log("sy-0002", log.signer, log=log.log)
    return other.genesis().message


def statement(log: Log) -> bytes:
    return cose.sign(cbor.encode({"v": 1, "type": "receipt"}), log.signer)


def oversized(log: Log) -> bytes:
    return cose.sign(cbor.encode({"v": 1, "type": "record", "pad": bytes(5000)}), log.signer)


@pytest.mark.parametrize("forge", [tampered, foreign_log, foreign_device, statement, oversized])
def test_what_does_not_verify_is_refused_and_not_kept(store: Store, forge: object) -> None:
    log = log_of(store.site)
    with pytest.raises(RefusedError):
        store.records(log, [log.records[0].message, forge(log)])  # type: ignore[operator]
    assert store.archive.position(log.device, log.log).next_sequence == 1, "the good record in front is kept"
    assert [entry.sequence for entry in store.archive.entries(log.device, log.log, 0, 99)] == [0]


def test_a_record_signed_by_another_device_is_refused(store: Store) -> None:
    store.hello("sy-0002")
    log = Log("sy-0001", signer_of(store.site, "sy-0002"))
    log.genesis()
    with pytest.raises(RefusedError, match="signed by device:sy-0002"):
        store.records(log, log.messages())


def test_unknown_kinds_are_kept_and_marked(store: Store) -> None:
    log = log_of(store.site)
    payload = cbor.encode(cbor.decode_map(cose.parse(log.records[1].message, 4096).payload) | {"kind": "hologram"})
    message = cose.sign(payload, log.signer)
    store.records(log, [log.records[0].message, message])
    entries = list(store.archive.entries(log.device, log.log, 0, 9))
    assert entries[1].message == message
    assert entries[1].kind == "hologram"
    assert "not-understood" in [alarm.code for alarm in store.archive.alarms()]


def test_a_revoked_key_is_kept_in_quarantine(tmp_path: Path, site: Path) -> None:
    log = log_of(site)
    store = open_store(tmp_path / "s", site, revoked={log.signer.kid})
    store.hello()
    store.records(log, log.messages())
    sequence = next(iter(log.files))
    store.piece(log, sequence, 0, log.files[sequence])
    assert {entry.standing for entry in store.archive.entries(log.device, log.log, 0, 9)} == {"quarantined"}
    file = store.archive.file(log.device, log.log, sequence)
    assert file is not None
    receipt = statements.parse(store.writer.media(file), statements.MediaReceipt)
    assert receipt.standing == "quarantined"
    assert attest.statement(store.archive, store.archive.session(b"S"), "store-1", 1).standing == "quarantined"


def test_an_expired_certificate_is_kept_in_quarantine(store: Store) -> None:
    log = log_of(store.site)
    identity = store.ingest._identity(log.signer.kid)
    assert store.ingest.standing(identity, identity.not_after_utc_ns + 1) == "quarantined"
    assert store.ingest.standing(identity, identity.not_after_utc_ns - 1) == "believed"


def test_pieces_in_any_order_and_overlapping(store: Store) -> None:
    log = log_of(store.site, files=1, size_bytes=50_000)
    store.records(log, log.messages())
    data = log.files[2]
    for offset, end in ((30_000, len(data)), (0, 10_000), (5_000, 20_000)):
        store.piece(log, 2, offset, data[offset:end])
        assert not held(store, log, 2)
    file = store.archive.file(log.device, log.log, 2)
    assert file is not None
    assert store.archive.missing_ranges(file) == [(20_000, 30_000)]
    store.piece(log, 2, 19_000, data[19_000:31_000])
    assert held(store, log, 2)


def test_staged_pieces_survive_a_new_start(store: Store, site: Path) -> None:
    log = log_of(site, files=1, size_bytes=50_000)
    store.records(log, log.messages())
    store.piece(log, 2, 0, log.files[2][:20_000])
    again = open_store(store.folder, site)
    again.archive.sweep()
    file = again.archive.file(log.device, log.log, 2)
    assert file is not None
    assert again.archive.missing_ranges(file) == [(20_000, len(log.files[2]))]
    again.piece(log, 2, 20_000, log.files[2][20_000:])
    assert held(again, log, 2)
    again.archive.close()


def test_a_piece_without_record_or_beyond_its_file_is_refused(store: Store) -> None:
    log = log_of(store.site)
    with pytest.raises(RefusedError, match="no file here"):
        store.piece(log, 2, 0, log.files[2])
    store.records(log, log.messages())
    size = len(log.files[2])
    for sequence, offset, data in (
        (2, size - 1, b"xx"),
        (2, -1, b"x"),
        (2, 0, b""),
        (2, 1 << 62, b"x"),
        (1, 0, b"x"),
        (99, 0, b"x"),
    ):
        with pytest.raises(RefusedError):
            store.piece(log, sequence, offset, data)
    assert list((store.folder / "staging").iterdir()) == []


def test_wrong_bytes_are_thrown_away_and_the_right_ones_still_fit(store: Store) -> None:
    log = log_of(store.site)
    store.records(log, log.messages())
    data = log.files[2]
    wrong = bytearray(data)
    wrong[len(data) // 2] ^= 1
    for bad in (bytes(wrong), bytes(len(data)), log.files[3]):
        with pytest.raises(RefusedError, match="not those that its record names"):
            store.piece(log, 2, 0, bad)
        assert not held(store, log, 2)
    store.piece(log, 2, 0, data)
    assert held(store, log, 2)


def test_the_same_bytes_of_another_device_do_not_count(store: Store) -> None:
    """B names A's file: what A delivered is not what B delivered."""
    store.hello("sy-0002")
    mine, thief = log_of(store.site), Log("sy-0002", signer_of(store.site, "sy-0002"))
    store.records(mine, mine.messages())
    store.piece(mine, 2, 0, mine.files[2])
    thief.genesis()
    body = mine.records[2].body
    assert isinstance(body, records.Details)
    thief.add(body)
    store.records(thief, thief.messages())
    assert not held(store, thief, 1)
    file = store.archive.file("sy-0002", thief.log, 1)
    assert file is not None
    assert store.archive.missing_ranges(file) == [(0, file.stored_size_bytes)]
    store.piece(thief, 1, 0, mine.files[2])
    file = store.archive.file("sy-0002", thief.log, 1)
    assert file is not None
    assert file.standing == "quarantined", "the bytes say that they are another device's"


def test_a_lie_about_the_content_is_kept_and_doubted(store: Store) -> None:
    log = Log("sy-0001", signer_of(store.site, "sy-0001"))
    log.genesis()
    sequence = log.file(None, content_digest=hashlib.sha256(b"other").digest())
    store.records(log, log.messages())
    store.piece(log, sequence, 0, log.files[sequence])
    file = store.archive.file(log.device, log.log, sequence)
    assert file is not None
    assert (file.held, file.standing) == (True, "quarantined")


def test_unfinished_files_of_one_device_are_bounded(tmp_path: Path, site: Path) -> None:
    log = log_of(site, files=6, size_bytes=40_000)
    store = open_store(tmp_path / "s", site, staging=100_000)
    store.hello()
    store.records(log, log.messages())
    for sequence, data in log.files.items():
        store.piece(log, sequence, 0, data[:1000])
    assert store.archive.staged_size_bytes("sy-0001") <= 100_000
    assert len(list((store.folder / "staging").iterdir())) == 2


def test_a_batch_that_is_rolled_back_leaves_nothing(store: Store) -> None:
    log = log_of(store.site)
    store.records(log, log.messages(0, 1))
    store.archive.begin()
    for record in log.records[2:]:
        store.archive.place(record, "believed", 1)
    store.archive.rollback()
    assert store.archive.position(log.device, log.log).next_sequence == 2
    store.records(log, log.messages())
    assert store.archive.position(log.device, log.log).next_sequence == 6


@pytest.mark.parametrize("device", ["../../etc", "a/b", "sy\0", "SY-0001", "", "x" * 40])
def test_subjects_that_are_no_device(device: str) -> None:
    from uplink.central.ingest import device_of

    with pytest.raises(RefusedError):
        device_of(f"device:{device}")


def test_a_receipt_of_another_time_raises_an_alarm(store: Store) -> None:
    """The device knows a receipt that this store does not: it was restored from a backup."""
    log = log_of(store.site)
    log.boot(receipt_sha256=os.urandom(32))
    store.records(log, log.messages())
    assert [alarm.code for alarm in store.archive.alarms()] == ["unknown-receipt"]
    store.archive.begin()
    given = store.writer.records(log.device, log.log)
    store.archive.commit()
    log.boot(receipt_sha256=cose.digest(given))
    store.records(log, log.messages(6))
    assert [alarm.times for alarm in store.archive.alarms()] == [1]


def test_sessions_are_found_by_the_beginning_of_their_id(store: Store) -> None:
    log = log_of(store.site)
    log.session(b"S" * 15 + b"T", files=0)
    store.records(log, log.messages())
    from uplink.central.commands import find_session
    from uplink.central.errors import NoSuchSessionError

    assert find_session(store.archive, "53" * 15 + "5" + "4").session == b"S" * 15 + b"T"
    for text in ("53", "ab", "zz", "5" * 40, ""):
        with pytest.raises(NoSuchSessionError):
            find_session(store.archive, text)


def test_files_are_the_archives_own_names(store: Store) -> None:
    log = log_of(store.site)
    store.records(log, log.messages())
    store.piece(log, 2, 0, log.files[2])
    file = store.archive.file(log.device, log.log, 2)
    assert file is not None
    path = store.archive.path(file)
    assert path.parent == store.folder / "media" / "sy-0001" / log.log.hex()


@pytest.mark.parametrize(
    "message",
    [
        Records(log=b"L" * 16, records=[], outstanding_size_bytes=2**64 - 1),
        Records(log=b"L" * 16, records=[], outstanding_size_bytes=-1),
        Have(nonce=b"n" * 16, logs=[], outstanding_size_bytes=2**63),
        Have(nonce=b"n" * 16, logs=[], media=[(b"L" * 16, 2**63)], outstanding_size_bytes=0),
        Piece(log=b"L" * 16, sequence=2**63, offset=0, data=b"x"),
        Piece(log=b"L" * 16, sequence=0, offset=-1, data=b"x"),
    ],
)
def test_a_number_that_no_index_holds_is_no_message(message: protocol.Message) -> None:
    with pytest.raises(ProtocolError):
        protocol.decode(protocol.encode(message), type(message))


@pytest.mark.parametrize("clock", [2**63 - 1, -(2**63), 2**63, 2**64 - 1])
def test_any_clock_of_a_device_leaves_the_store_standing(store: Store, clock: int) -> None:
    log = Log("sy-0001", signer_of(store.site, "sy-0001"))
    log.genesis()
    payload = cbor.decode_map(cose.parse(log.open(b"S" * 16).message, 4096).payload) | {"utc_ns": clock}
    with pytest.raises(RefusedError, match="out of bounds") if clock >= 2**63 else nullcontext():
        store.records(log, [log.records[0].message, cose.sign(cbor.encode(payload), log.signer)])
    assert store.archive.position(log.device, log.log).next_sequence == (2 if clock < 2**63 else 1)


def test_a_loss_of_absurd_length_leaves_the_store_standing(store: Store) -> None:
    log = log_of(store.site)
    log.add(records.Lost(first_sequence=50, last_sequence=2**63 - 1, reason="unreadable"))
    log.add(records.Lost(first_sequence=0, last_sequence=2**64 - 1, reason="unreadable"))
    store.records(log, log.messages())
    assert store.archive.position(log.device, log.log).next_sequence == 8


def test_a_session_id_used_twice_does_not_hide_a_session(store: Store) -> None:
    store.hello("sy-0002")
    mine = log_of(store.site)
    other = log_of(store.site, "sy-0002")
    again = log_of(store.site)
    for log in (mine, other, again):
        store.records(log, log.messages())
    with pytest.raises(NoSuchSessionError, match=f"of sy-0002, log {other.log.hex()[:8]}"):
        store.archive.session(b"S" * 16)
    assert store.archive.session(b"S" * 16, device="sy-0002").log == other.log
    assert store.archive.session(b"S" * 16, log=mine.log.hex()[:10]).log == mine.log


def test_a_file_in_a_million_parts_is_refused(store: Store) -> None:
    log = log_of(store.site, files=1, size_bytes=20_000)
    store.records(log, log.messages())
    store.archive.begin()
    for offset in range(0, 2 * MAX_PARTS, 2):
        part = Piece(log=log.log, sequence=2, offset=offset, data=b"x")
        store.ingest.piece(log.device, part, 1, Answers())
    store.archive.commit()
    with pytest.raises(RefusedError, match="separate parts"):
        store.piece(log, 2, 2 * MAX_PARTS, b"x")
    assert not held(store, log, 2)
    store.piece(log, 2, 0, log.files[2])
    assert held(store, log, 2)
