"""The plan against a store that may lose, repeat, forget and lie: nothing livelocks, nothing is done unreceipted."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recorder.evidence.statements import RecordsReceipt
from uplink.device import plan as planning
from uplink.device.logs import LogState, without
from uplink.device.plan import Ask, Plan, SendHello, SendPiece, SendRecords
from uplink.device.transfers import Candidate, Key, Transfer
from uplink.protocol import Holdings, Missing

LOG = bytes(16)
RECORD_SIZE = 500


@dataclass
class Store:
    """What a store holds, and what it answers."""

    sizes: dict[int, int]
    records: set[int] = field(default_factory=set)
    bytes_held: dict[int, list[tuple[int, int]]] = field(default_factory=dict)
    grant_size_bytes: int = 1 << 20
    grant_seconds: int = 60
    clock_ns: int = 1

    def receipt(self, nonce: bytes | None = None) -> RecordsReceipt:
        following = 0
        while following in self.records:
            following += 1
        highest = max(self.records, default=-1)
        holes = [(one, one) for one in range(following, highest) if one not in self.records]
        self.clock_ns += 1
        return RecordsReceipt(
            store="store-1",
            utc_ns=self.clock_ns,
            device="d",
            log=LOG,
            next_sequence=following,
            holes=holes,
            highest_sequence=highest if holes else None,
            nonce=nonce,
        )

    def missing(self, sequence: int) -> list[tuple[int, int]]:
        return without([(0, self.sizes[sequence])], sorted(self.bytes_held.get(sequence, [])))

    def complete(self) -> set[int]:
        return {sequence for sequence in self.sizes if not self.missing(sequence)}


@dataclass
class World:
    """A device's plan, a store, and a network that does what ``fate`` says with each message."""

    records: int
    sizes: dict[int, int]
    seed: int = 0
    in_doubt: bool = False

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.plan = Plan(self.random.random)
        self.store = Store(self.sizes)
        self.now = 0.0
        self.held: set[int] = set()
        self.tokens = 0
        self.sent_media_bytes = 0
        self.sent_records = 0
        self.questions = 0
        self.fate = lambda: "pass"
        self.plan.log_grew(LOG, self.records)
        self.after_done_bytes = 0

    def candidates(self) -> list[Candidate]:
        return [
            Candidate(Key(LOG, sequence), size, self.in_doubt)
            for sequence, size in sorted(self.sizes.items())
            if sequence not in self.held
        ]

    def to_device(self, message: Holdings | None, receipts: list[RecordsReceipt | int]) -> None:
        fate = self.fate()
        for _ in range({"pass": 1, "twice": 2}.get(fate, 0)):
            self.plan.heard(self.now)
            for receipt in receipts:
                if isinstance(receipt, int):
                    assert receipt in self.store.complete()
                    self.held.add(receipt)
                    self.plan.held(Key(LOG, receipt))
                else:
                    self.plan.records_receipt(receipt, self.now, ours=True)
            if message is not None:
                self.plan.holdings(message, self.now)
            elif self.random.random() < 0.5:
                self.plan.grant(self.store.grant_size_bytes, self.store.grant_seconds, self.now)

    def to_store(self, action: object, nonce: bytes) -> None:
        before = self.store.complete()
        if isinstance(action, SendRecords):
            self.store.records |= set(range(action.first, self.end_of(action)))
            self.to_device(None, [self.store.receipt()])
        elif isinstance(action, SendPiece) and action.key.sequence in self.store.records:
            self.store.bytes_held.setdefault(action.key.sequence, []).append((action.offset, action.end))
            done = self.store.complete() - before
            if done or action.key.sequence in before:
                self.to_device(None, [action.key.sequence])
        elif isinstance(action, Ask):
            held = [
                key.sequence for key in action.media if key.sequence in before and key.sequence in self.store.records
            ]
            missing = [
                Missing(
                    log=LOG,
                    sequence=key.sequence,
                    known=key.sequence in self.store.records,
                    ranges=self.store.missing(key.sequence)[:64],
                )
                for key in action.media
            ]
            answer = Holdings(
                nonce=nonce,
                receipts=[],
                missing=missing,
                grant_size_bytes=self.store.grant_size_bytes,
                grant_seconds=self.store.grant_seconds,
            )
            self.to_device(answer, [*(self.store.receipt(nonce) for _ in action.logs), *held])

    def end_of(self, action: SendRecords) -> int:
        return min(action.end, action.first + max(1, action.size_bytes // RECORD_SIZE))

    def turn(self) -> bool:
        """Let the device do one thing; return whether it did."""
        if self.plan.wants_files(self.now):
            self.plan.offer(self.candidates())
        action = self.plan.next(self.now)
        if action is None:
            return False
        self.tokens += 1
        nonce = self.tokens.to_bytes(16, "big")
        size = 200
        if isinstance(action, Ask):
            self.questions += 1
            self.plan.asked(action, nonce, self.tokens, size, self.now)
        elif isinstance(action, SendRecords):
            end = self.end_of(action)
            size = (end - action.first) * RECORD_SIZE
            self.sent_records += end - action.first
            self.plan.published(action, self.tokens, size, self.now, end)
        elif isinstance(action, SendPiece):
            size = action.end - action.offset
            self.sent_media_bytes += size
            self.plan.published(action, self.tokens, size, self.now)
        elif isinstance(action, SendHello):
            self.plan.published(action, self.tokens, size, self.now)
        else:
            self.plan.checked(action.key)
            return True
        token = self.tokens
        self.now += size / 100_000
        fate = self.fate()
        if fate == "cut":
            self.plan.disconnected(self.now)
            self.now += 1.0
            self.plan.connected(self.now)
        elif fate == "deaf":
            self.plan.acknowledged(token, self.now, delivered=False)
        else:
            self.plan.acknowledged(token, self.now, delivered=True)
            for _ in range({"pass": 1, "twice": 2}.get(fate, 0)):
                self.to_store(action, nonce)
        return True

    def run(self, seconds: float, most: int = 20_000) -> None:
        until = self.now + seconds
        for _ in range(most):
            if self.now >= until:
                return
            if not self.turn():
                self.now += 0.5
            if self.plan.fell_back:
                self.plan.fell_back.clear()
                self.held.clear()
                self.in_doubt = True
                self.plan.offer(self.candidates())
        raise AssertionError(f"{most} steps in {seconds} s: it runs in a circle")

    def settled(self) -> bool:
        return self.held == set(self.sizes) and self.plan.logs[LOG].acknowledged == self.records

    def settle(self, limit_s: float) -> None:
        start = self.now
        while not self.settled():
            assert self.now - start < limit_s, (self.held, self.plan.logs[LOG], self.plan.transfers.files)
            self.run(5)


FATES = st.lists(st.sampled_from(["pass", "pass", "lose", "twice", "cut", "deaf"]), min_size=1, max_size=400)


@settings(max_examples=150, deadline=None)
@given(
    FATES,
    st.integers(0, 2**32),
    st.lists(st.integers(1, 300_000), min_size=1, max_size=6),
    st.sampled_from([9_000, 64 << 10, 1 << 20]),
    st.booleans(),
)
def test_whatever_the_network_does_all_arrives_once_it_is_well(
    fates: list[str], seed: int, sizes: list[int], grant: int, in_doubt: bool
) -> None:
    world = World(40, dict(zip(range(3, 40, 6), sizes, strict=False)), seed, in_doubt)
    world.store.grant_size_bytes = grant
    pending = list(fates)
    world.fate = lambda: pending.pop() if pending else "pass"
    world.plan.connected(0.0)
    while pending:
        world.run(5)
    world.settle(7200 if "deaf" in fates or "lose" in fates else 600)
    assert world.held <= world.store.complete()
    # It is done: nothing more is sent but a rare question.
    media, records, questions = world.sent_media_bytes, world.sent_records, world.questions
    world.run(900)
    assert (world.sent_media_bytes, world.sent_records) == (media, records)
    assert world.questions - questions <= 4


def test_on_a_sound_network_nothing_is_sent_twice() -> None:
    world = World(100, dict.fromkeys(range(5, 100, 10), 100_000))
    world.plan.connected(0.0)
    world.settle(120)
    assert world.sent_media_bytes == 1_000_000
    assert world.sent_records == 100


def test_without_receipts_nothing_is_ever_done() -> None:
    world = World(10, {4: 50_000})
    world.plan.connected(0.0)
    world.to_device = lambda message, receipts: World.to_device(  # type: ignore[method-assign]
        world, message, [one for one in receipts if not isinstance(one, int)]
    )
    world.run(4000)
    assert world.held == set()
    assert Key(LOG, 4) in world.plan.transfers.files
    assert world.sent_media_bytes < 5 * 50_000  # and it isn't sent for ever either
    assert 3 < world.questions < 200


def test_a_store_that_never_takes_a_file_makes_the_device_look_at_it() -> None:
    world = World(10, {4: 20_000})
    checks = []
    world.plan.connected(0.0)
    world.plan.checked = lambda key: (checks.append(key), Plan.checked(world.plan, key))  # type: ignore[method-assign]

    def forget(action: object, nonce: bytes) -> None:
        World.to_store(world, action, nonce)
        world.store.bytes_held.clear()

    world.store.complete = set  # type: ignore[method-assign]
    world.to_store = forget  # type: ignore[method-assign]
    world.run(3600)
    assert checks
    assert world.sent_media_bytes < 40 * 20_000  # ten seconds, twenty, forty …: never a circle


def test_a_file_larger_than_the_grant_arrives() -> None:
    world = World(10, {4: 500_000})
    world.store.grant_size_bytes = 40_000
    world.plan.connected(0.0)
    world.settle(120)
    assert world.sent_media_bytes == 500_000


def test_no_grant_no_media() -> None:
    world = World(10, {4: 500_000})
    world.store.grant_size_bytes = 0
    world.plan.connected(0.0)
    world.run(600)
    assert world.sent_media_bytes == 0
    assert world.plan.logs[LOG].acknowledged == 10
    world.store.grant_size_bytes = 1 << 20
    world.settle(300)


def test_records_overtake_media() -> None:
    world = World(10, {4: 5_000_000})
    world.plan.connected(0.0)
    world.run(3)
    assert 0 < world.sent_media_bytes < 5_000_000
    world.plan.log_grew(LOG, 11)
    action = world.plan.next(world.now)
    assert isinstance(action, SendRecords)
    assert (action.first, action.end) == (10, 11)


def test_a_restored_store_gets_everything_again_and_it_is_told() -> None:
    world = World(50, {4: 50_000, 40: 60_000})
    world.plan.connected(0.0)
    world.settle(60)
    world.store.records = set(range(20))
    world.store.bytes_held.clear()
    old = RecordsReceipt(store="store-1", utc_ns=2, device="d", log=LOG, next_sequence=50)
    world.plan.disconnected(world.now)
    world.plan.connected(world.now)
    world.run(1)
    assert world.plan.logs[LOG].floor_utc_ns > 2
    world.plan.records_receipt(old, world.now, ours=True)  # a receipt from before the backup, replayed
    world.settle(300)
    assert world.store.records == set(range(50))
    assert world.store.complete() == {4, 40}


def test_a_replayed_receipt_lowers_nothing() -> None:
    world = World(50, {})
    world.plan.connected(0.0)
    world.settle(60)
    sent = world.sent_records
    for nonce in (None, bytes(16)):
        old = RecordsReceipt(store="s", utc_ns=1, device="d", log=LOG, next_sequence=7, nonce=nonce)
        world.plan.records_receipt(old, world.now, ours=True)
        assert world.plan.logs[LOG].acknowledged == 50
    world.run(200)
    assert world.plan.logs[LOG].acknowledged == 50
    assert world.sent_records == sent


def test_after_a_fall_back_older_receipts_say_nothing() -> None:
    state = LogState(LOG, next_sequence=50, acknowledged=50, sent=50, confirmed=50)
    state.asked()
    fresh = RecordsReceipt(store="s", utc_ns=9, device="d", log=LOG, next_sequence=20, nonce=bytes(16))
    assert state.answer(fresh, ours=True, now_s=1.0, limit_s=10.0)
    assert state.next_range(1.0) == (20, 50)
    state.receipt(RecordsReceipt(store="s", utc_ns=8, device="d", log=LOG, next_sequence=50), ours=True, now_s=1.0)
    assert (state.acknowledged, state.next_range(1.0)) == (20, (20, 50))


def test_what_was_under_way_when_the_connection_ended_is_asked_about_at_once() -> None:
    world = World(10, {4: 300_000})
    world.plan.connected(0.0)
    world.run(2)
    assert 0 < world.sent_media_bytes < 300_000
    world.plan.disconnected(world.now)
    world.plan.connected(world.now)
    assert world.plan.transfers.files[Key(LOG, 4)].in_doubt
    began = world.now
    world.settle(60)
    assert world.sent_media_bytes == 300_000
    assert world.now - began < 9  # no receipt had to be overdue first


def test_records_that_the_disk_lost_stop_nothing() -> None:
    world = World(60, {50: 9_000})
    world.plan.logs[LOG].cannot_read(20, 25)
    skip = World.end_of

    def end_of(action: SendRecords) -> int:
        end = skip(world, action)
        return min(end, 20) if action.first < 20 else end

    world.end_of = end_of  # type: ignore[method-assign]
    world.plan.connected(0.0)
    for _ in range(400):
        state = world.plan.logs[LOG]
        if state.sent == 20:
            state.cannot_read(20, 25)
        if not world.turn():
            world.now += 0.5
    assert world.held == {50}
    assert world.store.records == set(range(60)) - set(range(20, 25))
    assert world.plan.logs[LOG].acknowledged == 20
    assert world.plan.logs[LOG].confirmed == 60
    assert world.sent_records == 55


def test_another_past_at_the_store_is_noticed_and_does_not_stop_the_device() -> None:
    state = LogState(LOG, next_sequence=30)
    state.asked()
    strange = RecordsReceipt(store="s", utc_ns=5, device="d", log=LOG, next_sequence=99, head_sha256=bytes(32))
    assert not state.answer(strange, ours=False, now_s=1.0, limit_s=10.0)
    assert state.foreign
    assert state.acknowledged == 0
    assert state.next_range(2.0) == (0, 30)


@pytest.mark.parametrize("ranges", [[(-5, 3)], [(0, 10**9)], [(5, 5)], [(9, 2)], [(0, 4), (2, 8)], [(50, 60)]])
def test_nonsense_from_the_store_is_never_sent(ranges: list[tuple[int, int]]) -> None:
    transfer = Transfer(Key(LOG, 4), 40, [(0, 40)], in_doubt=True)
    transfer.answer(Missing(log=LOG, sequence=4, known=True, ranges=ranges), 1.0, 10.0)
    for first, end in transfer.missing:
        assert 0 <= first < end <= 40


def test_nobody_listens_then_only_questions_are_asked() -> None:
    world = World(10, {4: 100_000})
    world.fate = lambda: "deaf"
    world.plan.connected(0.0)
    world.run(300)
    assert world.sent_media_bytes == 0
    assert world.tokens < 60
    world.fate = lambda: "pass"
    world.settle(200)


def test_one_question_at_a_time() -> None:
    world = World(10, {4: 100_000})
    world.plan.connected(0.0)
    world.to_store = lambda *_: None  # type: ignore[method-assign]
    world.run(planning.OVERDUE_S - 1)
    assert world.questions == 1
    world.run(600)
    assert world.questions < 20
