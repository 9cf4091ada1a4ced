"""The agent as a process, over a real broker with TLS 1.3, against a far side that does what a test says."""

from __future__ import annotations

import json
import os
import time
from typing import TypeVar

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding

from keys.authority import Authority
from keys.certificates import Role
from keys.signer import SeedSigner
from recorder.evidence import statements
from recorder.evidence.statements import MediaReceipt, RecordsReceipt
from tests.uplink.conftest import Bench, wait_for
from uplink.protocol import Have, Hello, Holdings, Message, Piece, Receipts, Records, Who

S = TypeVar("S", bound=msgspec.Struct)

CROSSED: list[dict[str, object]] = [
    {"device": "test-0002"},
    {"log": bytes(16)},
    {"sequence": 1},
    {"record_sha256": bytes(32)},
    {"stored_sha256": bytes(32)},
    {"content_sha256": bytes(32)},
    {"stored_size_bytes": 1},
    {"storage": "somewhere"},
    {"store": "store-2"},
]
"""What a receipt of another file, device or store would say."""


def test_records_and_files_arrive_and_receipts_come_back(bench: Bench) -> None:
    log = bench.builder()
    log.open_session()
    for _ in range(5):
        log.add_file(100_000)
    log.close_session()
    bench.far.start()
    bench.start()
    wait_for(lambda: bench.far.receipted() == set(log.files), "all files at the far side")
    wait_for(lambda: len(bench.receipts()) >= 6, "receipts in the inbox")
    kinds = [statements.type_of(message) for message in bench.receipts()]
    assert kinds.count("media-receipt") == 5
    assert kinds.count("records-receipt") >= 1
    assert isinstance(bench.far.seen[0], Hello)
    assert bench.far.seen[0].certificates == [log.certificate]
    assert bench.far.received_media_bytes == 500_000
    wait_for(lambda: (status := bench.status()) and status.outstanding_size_bytes == 0, "status", 12)
    status = bench.status()
    assert status is not None
    assert status.outstanding_records == 0
    assert status.connected_since_utc_ns
    bench.stop()


def test_a_new_record_is_there_at_once(bench: Bench) -> None:
    log = bench.builder(wake=None)
    bench.far.start()
    bench.start()
    wait_for(lambda: bench.far.arrived_s, "first record")
    log.wake = bench.run / "uplink.sock"
    log.open_session()
    wait_for(lambda: (log.log, 1) in bench.far.arrived_s, "new record", 5)
    assert bench.far.arrived_s[log.log, 1] - log.written_s[1] < 0.5


def test_a_record_without_a_wake_up_is_found(bench: Bench) -> None:
    log = bench.builder()
    bench.far.start()
    bench.start()
    wait_for(lambda: bench.far.arrived_s, "first record")
    log.open_session()
    wait_for(lambda: (log.log, 1) in bench.far.arrived_s, "new record", 4)


def test_incident_first_then_oldest_then_late(bench: Bench) -> None:
    late = bench.builder(utc_offset_ns=-100 * 3600 * 10**9)
    late.open_session()
    late.add_file(30_000)
    late.close_session()
    old = bench.builder(utc_offset_ns=-3600 * 10**9)
    old.open_session()
    old.add_file(30_000)
    old.close_session()
    new = bench.builder()
    new.open_session()
    new.add_file(30_000)
    new.close_session()
    marked = bench.builder()
    marked.open_session()
    marked.add_file(30_000)
    marked.mark("important")
    bench.far.start()
    bench.start()
    wait_for(lambda: len(bench.far.receipted()) and bench.far.received_media_bytes == 120_000, "all files")
    order = list(dict.fromkeys(one.log for one in bench.far.seen if isinstance(one, Piece)))
    expected = [marked.log, old.log, new.log, late.log]
    # Where this machine's clock is not synchronised nothing counts as late, and the oldest deadline goes first.
    assert order in (expected, [marked.log, late.log, old.log, new.log])


def test_the_store_asks_who_and_is_told(bench: Bench) -> None:
    bench.builder()
    bench.far.start()
    bench.start()
    wait_for(lambda: bench.far.arrived_s, "records")
    bench.far.send(Who(kid=bytes(32)))
    wait_for(lambda: sum(isinstance(one, Hello) for one in bench.far.seen) == 2, "a second hello")


def test_forged_replayed_and_crossed_receipts_free_nothing(bench: Bench) -> None:
    log = bench.builder()
    log.open_session()
    for _ in range(3):
        log.add_file(50_000)
    stranger = Authority.create("another agency")
    key = Ed25519PrivateKey.generate()
    certificate = stranger.issue(key.public_key(), Role.RECEIPT, "store-1").public_bytes(Encoding.DER)
    foreign = SeedSigner(key.private_bytes_raw(), certificate)

    def only_bad(answer: Message) -> list[Message]:
        if isinstance(answer, Holdings):
            return [_changed(answer, receipts=[one for one in answer.receipts if _is_records(one)])]
        if not isinstance(answer, Receipts):
            return [answer]
        bad: list[bytes] = []
        for message in answer.receipts:
            if _is_records(message):
                real = statements.parse(message, RecordsReceipt)
                bad.append(statements.sign(_changed(real, next_sequence=99), foreign))
                bad.append(bench.far.sign(_changed(real, device="test-0002")))
                bad.append(message[:-1] + bytes([message[-1] ^ 1]))
                bad.append(bench.far.sign(_changed(real, log=bytes(16))))
                bad.append(message)
                continue
            media = statements.parse(message, MediaReceipt)
            bad.append(statements.sign(media, foreign))
            bad.append(message[:-1] + bytes([message[-1] ^ 1]))
            bad.extend(bench.far.sign(_changed(media, **change)) for change in CROSSED)
            bad.append(bench.far.sign(_changed(media, sequence=media.sequence + 1)))
        return [Receipts(receipts=bad)]

    bench.far.tamper = only_bad
    bench.far.start()
    bench.start()
    wait_for(lambda: bench.far.received_media_bytes >= 150_000, "the pieces")
    wait_for(lambda: (status := bench.status()) and status.refused_receipts > 30, "refusals counted", 15)
    status = bench.status()
    assert status is not None
    assert status.outstanding_size_bytes == 150_000
    assert all(_is_records(one) for one in bench.receipts())
    # The honest store is asked in the end, and then all is well; nothing was sent a second time.
    bench.far.tamper = lambda answer: [answer]
    wait_for(lambda: sum(not _is_records(one) for one in bench.receipts()) == 3, "receipts", 40)
    assert bench.far.received_media_bytes == 150_000


def _is_records(message: bytes) -> bool:
    return statements.type_of(message) == "records-receipt"


def _changed(struct: S, **fields: object) -> S:
    return msgspec.structs.replace(struct, **fields)


def test_the_index_can_be_deleted(bench: Bench) -> None:
    log = bench.builder()
    log.open_session()
    for _ in range(4):
        log.add_file(60_000)
    bench.far.start()
    bench.start()
    wait_for(lambda: bench.far.receipted() == set(log.files), "files")
    wait_for(lambda: len(bench.receipts()) >= 5, "receipts")
    bench.stop()
    for path in bench.state.glob("uplink.db*"):
        path.unlink()
    for path in bench.inbox.iterdir():
        path.unlink()
    bench.start()
    wait_for(lambda: (status := bench.status()) and status.outstanding_size_bytes == 0, "status", 15)
    wait_for(lambda: len(bench.receipts()) >= 4, "the receipts once more")
    assert bench.far.received_media_bytes == 240_000  # asked, not sent again
    bench.stop()
    (bench.state / "uplink.db").write_bytes(b"not a database" * 100)
    bench.start()
    wait_for(lambda: "made anew" in bench.log(), "a note")
    log.add_file(10_000)
    wait_for(lambda: len(bench.far.receipted()) == 5, "goes on")


def test_a_store_restored_from_a_backup_gets_everything_again(bench: Bench) -> None:
    log = bench.builder()
    log.open_session()
    for _ in range(4):
        log.add_file(40_000)
    bench.far.start()
    bench.start()
    wait_for(lambda: len(bench.receipts()) >= 5, "receipts")
    bench.stop()
    bench.far.forget(3)
    bench.start()
    wait_for(lambda: bench.far.receipted() == set(log.files), "all files again", 30)
    assert len(bench.far.records[log.log]) == log.next_sequence
    assert "the store has lost what it had receipted" in bench.log()
    wait_for(lambda: (status := bench.status()) and "store-fell-back" in status.warnings, "a warning", 12)


def test_lost_and_repeated_messages(bench: Bench) -> None:
    log = bench.builder()
    log.open_session()
    for _ in range(6):
        log.add_file(200_000)
    seen: dict[type, int] = {}

    def lossy(message: Message) -> bool:
        seen[type(message)] = seen.get(type(message), 0) + 1
        return (isinstance(message, Piece) and seen[Piece] in (2, 5)) or (
            isinstance(message, Records) and seen[Records] == 1
        )

    bench.far.drop = lossy
    bench.far.tamper = lambda answer: [answer, answer]
    bench.far.start()
    bench.start()
    wait_for(lambda: bench.far.receipted() == set(log.files), "all files", 60)
    assert bench.far.received_media_bytes < 1_200_000 + 3 * 200_000


def test_nobody_listens_then_the_store_comes(bench: Bench) -> None:
    log = bench.builder()
    log.open_session()
    log.add_file(100_000)
    bench.start()
    wait_for(lambda: "connected to the broker" in bench.log(), "connection")
    bench.far.start()
    wait_for(lambda: bench.far.receipted() == set(log.files), "file", 40)


def test_the_broker_is_killed_during_an_upload(bench: Bench) -> None:
    log = bench.builder()
    log.open_session()
    for _ in range(10):
        log.add_file(400_000)
    bench.far.start()
    bench.start()
    for _ in range(2):
        wait_for(lambda before=bench.far.received_media_bytes: bench.far.received_media_bytes > before or
                 len(bench.far.receipted()) == 10, "progress", 30)  # fmt: skip
        bench.broker.kill()
        bench.broker.start()
    wait_for(lambda: bench.far.receipted() == set(log.files), "all files", 60)


@pytest.mark.slow
def test_the_agent_is_killed_twenty_times_during_an_upload(bench: Bench) -> None:
    log = bench.builder()
    log.open_session()
    for _ in range(40):
        log.add_file(150_000)
    bench.link(bytes_per_s=1_000_000)
    bench.far.start()
    for _ in range(20):
        before = bench.far.received_media_bytes
        agent = bench.start()
        wait_for(
            lambda before=before: bench.far.received_media_bytes > before or len(bench.far.receipted()) == 40,
            "progress",
            30,
        )
        agent.kill()
        agent.wait()
        told = {
            statements.parse(message, MediaReceipt).sequence
            for message in bench.receipts()
            if statements.type_of(message) == "media-receipt"
        }
        assert told <= bench.far.receipted()
    bench.start()
    wait_for(lambda: bench.far.receipted() == set(log.files), "all files", 90)
    wait_for(lambda: (status := bench.status()) and status.outstanding_size_bytes == 0, "status", 15)
    # A kill costs what was under way, not the file.
    assert bench.far.received_media_bytes < 40 * 150_000 * 1.5


@pytest.mark.slow
def test_a_connection_that_never_lasts_still_finishes(bench: Bench) -> None:
    log = bench.builder()
    log.open_session()
    for _ in range(3):
        log.add_file(150_000)
    link = bench.link(bytes_per_s=60_000, cut_every_s=3.0)
    bench.far.start()
    started = time.monotonic()
    bench.start()
    wait_for(lambda: bench.far.receipted() == set(log.files), "all files", 120)
    assert link.connections > 2
    assert time.monotonic() - started < 90


def test_a_file_that_is_gone_or_damaged_stops_nothing(bench: Bench) -> None:
    log = bench.builder()
    log.open_session()
    gone, cut, good = (log.add_file(30_000) for _ in range(3))
    log.layout.media_file(log.log, log.media_numbers[gone.sequence]).unlink()
    os.truncate(log.layout.media_file(log.log, log.media_numbers[cut.sequence]), 100)
    bench.far.start()
    bench.start()
    wait_for(lambda: good.sequence in bench.far.receipted(), "the good one")
    wait_for(lambda: json.loads((bench.state / "status.json").read_text())["warnings"], "warnings", 12)
    status = bench.status()
    assert status is not None
    assert {"media-gone", "media-damaged"} <= set(status.warnings)


def test_a_full_inbox_stops_media_and_loses_no_receipt(bench: Bench) -> None:
    log = bench.builder()
    log.open_session()
    log.add_file(10_000)
    for number in range(4096):
        (bench.inbox / f"{number:020d}").write_bytes(b"")
    bench.far.start()
    bench.start()
    wait_for(lambda: "the inbox is full" in bench.log() or "is full" in bench.log(), "a warning", 15)
    assert bench.far.received_media_bytes in (0, 10_000)
    for path in bench.inbox.iterdir():
        path.unlink()
    wait_for(lambda: any(statements.type_of(one) == "media-receipt" for one in bench.receipts()), "the receipt", 60)


def test_a_have_names_what_is_outstanding(bench: Bench) -> None:
    log = bench.builder()
    log.open_session()
    log.add_file(77_000)
    bench.far.grant_size_bytes = 0
    bench.far.start()
    bench.start()
    wait_for(lambda: any(isinstance(one, Have) for one in bench.far.seen), "a question")
    have = next(one for one in bench.far.seen if isinstance(one, Have))
    assert have.logs == [log.log]
    assert have.outstanding_size_bytes == 77_000
    wait_for(lambda: bench.far.arrived_s, "records")
    assert bench.far.received_media_bytes == 0
