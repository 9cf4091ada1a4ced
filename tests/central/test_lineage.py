from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from recorder.evidence import records, statements
from recorder.evidence.statements import Attestation
from tests.central.conftest import open_store
from tests.central.support import Log, log_of, signer_of
from uplink.central import export

if TYPE_CHECKING:
    from pathlib import Path

    from tests.central.conftest import Store


@pytest.mark.parametrize("seed", range(5))
def test_records_in_any_order_give_the_same_log(store: Store, seed: int) -> None:
    log = log_of(store.site, files=12)
    messages = log.messages()
    random.Random(seed).shuffle(messages)
    for message in messages:
        store.records(log, [message])
    position = store.archive.position(log.device, log.log)
    assert position == (len(messages), log.records[-1].sha256, [], None)
    assert store.archive.branches(log.device, log.log, 0, 99) == []


def test_holes_are_named_and_filled(store: Store) -> None:
    log = log_of(store.site, files=8)
    store.records(log, [*log.messages(0, 1), *log.messages(4, 4), *log.messages(7, 8)])
    position = store.archive.position(log.device, log.log)
    assert position.next_sequence == 2
    assert position.head_sha256 == log.records[1].sha256
    assert position.holes == [(2, 3), (5, 6)]
    assert position.highest_sequence == 8
    store.records(log, log.messages(2, 6))
    assert store.archive.position(log.device, log.log).next_sequence == 9


def test_a_log_whose_first_record_has_not_come_is_held_up_to_nothing(store: Store) -> None:
    log = log_of(store.site)
    store.records(log, log.messages(3, 4))
    assert store.archive.position(log.device, log.log) == (0, None, [(0, 2)], 4)


def test_a_device_that_lost_its_tail_is_believed_and_the_branch_classed(store: Store) -> None:
    log = log_of(store.site, files=4)
    store.records(log, log.messages())
    old = log.copy()
    log.cut(3)
    boot = log.boot()
    log.marker()
    store.records(log, log.messages(boot.sequence))
    position = store.archive.position(log.device, log.log)
    assert position[:2] == (len(log.records), log.records[-1].sha256)
    (branch,) = store.archive.branches(log.device, log.log, 0, 99)
    assert branch == (boot.sequence, boot.sha256, "tail-lost")
    for record in (*old.records, *log.records):
        assert store.archive.holds(log.device, log.log, record.sequence, record.sha256), "both pasts are kept"
    assert "tail-lost" in [alarm.code for alarm in store.archive.alarms()]


def test_another_past_without_a_boot_is_a_fork(store: Store) -> None:
    log = log_of(store.site, files=4)
    store.records(log, log.messages())
    log.cut(3)
    first = log.marker(marker="second past")
    log.marker()
    store.records(log, log.messages(first.sequence))
    (branch,) = store.archive.branches(log.device, log.log, 0, 99)
    assert branch.classed == "fork"
    second = log.file(None)
    store.records(log, log.messages(second))
    store.piece(log, second, 0, log.files[second])
    file = store.archive.file(log.device, log.log, second)
    assert file is not None
    assert file.held
    assert file.standing == "quarantined"


def test_records_that_contradict_what_is_held_send_the_device_back_until_they_link(store: Store) -> None:
    log = log_of(store.site, files=20)
    store.records(log, log.messages())
    log.cut(10)
    log.boot()
    for _ in range(12):
        log.marker()
    store.records(log, log.messages(len(log.records) - 1))
    for turns in range(8):  # noqa: B007
        position = store.archive.position(log.device, log.log)
        if not position.holes:
            break
        for first, last in position.holes:
            store.records(log, log.messages(first, last))
    assert position[:2] == (len(log.records), log.records[-1].sha256)
    assert turns <= 6


def test_lost_records_stay_a_hole_but_the_log_goes_on(store: Store) -> None:
    log = log_of(store.site, files=8)
    lost = log.add(records.Lost(first_sequence=3, last_sequence=4, reason="unreadable"))
    store.records(log, [*log.messages(0, 2), *log.messages(5)])
    position = store.archive.position(log.device, log.log)
    assert position.next_sequence == 3
    assert position.head_sha256 == log.records[2].sha256
    assert position.holes == [(3, 4)]
    assert position.highest_sequence == lost.sequence
    state = store.archive.session(b"SSSS")
    assert state.complete_utc_ns is None
    store.records(log, log.messages(3, 4))
    assert store.archive.position(log.device, log.log)[:3] == (len(log.records), log.records[-1].sha256, [])


def test_the_same_sequence_and_log_id_of_two_devices_are_two_logs(store: Store) -> None:
    store.hello("sy-0002")
    mine = log_of(store.site)
    other = Log("sy-0002", signer_of(store.site, "sy-0002"), log=mine.log)
    other.genesis()
    store.records(mine, mine.messages())
    store.records(other, other.messages())
    assert store.archive.position("sy-0002", mine.log).next_sequence == 1
    assert store.archive.position("sy-0001", mine.log).next_sequence == len(mine.records)


def attested(store: Store) -> Attestation:
    state = store.archive.session(b"S" * 16)
    return statements.parse(store.writer.attestation(state), Attestation)


def whole_session(store: Store) -> Log:
    log = log_of(store.site)
    store.records(log, log.messages())
    for sequence, data in log.files.items():
        store.piece(log, sequence, 0, data)
    return log


@pytest.mark.parametrize("by", ["fork", "tail-lost"])
def test_a_second_past_does_not_take_the_place_of_a_closed_session(store: Store, by: str) -> None:
    log = whole_session(store)
    first = attested(store)
    past = log.copy()
    past.cut(2)
    if by == "tail-lost":
        past.boot()
    for _ in range(4):
        past.marker(b"S" * 16)
    past.close(b"S" * 16, 1)
    store.records(past, past.messages(4))
    again = attested(store)
    assert (again.last_sequence, again.last_sha256) == (first.last_sequence, first.last_sha256)
    assert [(one.sequence, one.classed) for one in again.branches] == [(4, by)]
    assert store.archive.session(b"S" * 16).last_sequence == first.last_sequence


def test_a_lost_tail_is_told_although_the_session_goes_on_without_it(store: Store) -> None:
    log = Log("sy-0001", signer_of(store.site, "sy-0001"))
    log.genesis()
    opened = log.open(b"S" * 16).sequence
    for _ in range(4):
        log.marker(b"S" * 16)
    gone = log.records[3]
    store.records(log, log.messages())
    log.cut(3)
    log.boot()
    log.close(b"S" * 16, opened)
    store.records(log, log.messages(3))
    said = attested(store)
    assert (said.last_sequence, said.last_sha256) == (4, log.records[4].sha256)
    assert [(one.sequence, one.sha256, one.classed) for one in said.branches] == [(3, gone.sha256, "tail-lost")]


def test_a_session_on_a_fork_is_doubted(store: Store) -> None:
    log = log_of(store.site)
    store.records(log, log.messages())
    log.cut(4)
    log.marker()
    log.session(b"T" * 16, files=1)
    store.records(log, log.messages(2))
    state = store.archive.session(b"T" * 16)
    assert statements.parse(store.writer.attestation(state), Attestation).standing == "quarantined"


def test_a_later_record_on_a_fork_is_not_of_the_session(store: Store) -> None:
    log = whole_session(store)
    thief = log.copy()
    true = log.marker(b"S" * 16, "true")
    store.records(log, log.messages(true.sequence))
    false = thief.marker(b"S" * 16, "false")
    thief.marker(b"S" * 16, "false")
    store.records(thief, thief.messages(false.sequence))
    said = attested(store)
    assert (said.later, said.later_sha256) == ([true.sequence], [true.sha256])
    assert [one.classed for one in said.branches] == ["fork"]
    assert [one[:2] for one in said.received] == [(1, true.sequence)]
    assert said.head_sha256 == true.sha256


def test_a_later_record_signed_again_after_a_lost_tail_is_shown_once(store: Store, tmp_path: Path) -> None:
    log = whole_session(store)
    log.marker(b"S" * 16, "lost")
    store.records(log, log.messages(6))
    log.cut(1)
    boot = log.boot()
    again = log.marker(b"S" * 16, "again")
    store.records(log, log.messages(boot.sequence))
    said = attested(store)
    assert said.later_sha256 == [again.sha256]
    state = store.archive.session(b"S" * 16)
    signer = signer_of(store.site, "sy-0001")
    written = export.export(store.archive, state, signer, "store-1", tmp_path / "p", [], None, None)
    assert written.records == 6


def test_a_later_record_by_a_revoked_key_is_doubted(tmp_path: Path, site: Path) -> None:
    signer = signer_of(site, "sy-0001")
    store = open_store(tmp_path / "store", site)
    store.hello()
    log = whole_session(store)
    store.archive.close()
    store = open_store(tmp_path / "store", site, revoked={signer.kid})
    late = log.marker(b"S" * 16)
    store.records(log, log.messages(late.sequence))
    assert attested(store).standing == "quarantined"
    store.archive.close()
