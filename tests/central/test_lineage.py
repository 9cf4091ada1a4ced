from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from recorder.evidence import records
from tests.central.support import Log, log_of

if TYPE_CHECKING:
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
    from tests.central.support import signer_of

    store.hello("sy-0002")
    mine = log_of(store.site)
    other = Log("sy-0002", signer_of(store.site, "sy-0002"), log=mine.log)
    other.genesis()
    store.records(mine, mine.messages())
    store.records(other, other.messages())
    assert store.archive.position("sy-0002", mine.log).next_sequence == 1
    assert store.archive.position("sy-0001", mine.log).next_sequence == len(mine.records)
