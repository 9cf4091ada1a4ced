"""The rules of a lawful session, one by one and under any sequence of events."""

from __future__ import annotations

from itertools import count

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from recorder.evidence.records import NotRecorded
from recorder.session import (
    AUTOMATIC,
    ENDS,
    GRACE_NS,
    LINK_SOON_NS,
    REMIND_NS,
    SECOND_NS,
    SPOKEN_WITHIN_NS,
    STATED,
    Close,
    Cue,
    Ended,
    GoOn,
    Interrupt,
    NotAllowedError,
    Open,
    Order,
    Policy,
    Say,
    SessionRules,
    Sign,
    State,
)

SECRET = frozenset({"trade_secret", "privacy", "text_sufficient"})
POLICY = Policy(whole=frozenset({"hearing"}), not_recorded=SECRET, reminder_ns=900 * SECOND_NS)


def kinds(orders: list[Order]) -> list[type]:
    return [type(order) for order in orders]


def recording(policy: Policy = POLICY, **more: object) -> SessionRules:
    rules = SessionRules(policy, **more)
    rules.start(0, "button")
    return rules


@pytest.mark.rule("R4")
def test_an_end_waits_ten_seconds_and_a_press_goes_on_as_if_nothing_had_been() -> None:
    rules = recording()
    assert kinds(rules.end(SECOND_NS, "done", statement=True, by="button")) == [Say, Cue]
    assert rules.tick(SECOND_NS + GRACE_NS - 1) == []
    assert rules.press(SECOND_NS + GRACE_NS - 1) == [Say("say.end.cancelled")]
    assert rules.state is State.RECORDING
    assert rules.tick(100 * SECOND_NS) == []
    rules.end(200 * SECOND_NS, "done", statement=True, by="button")
    assert rules.tick(200 * SECOND_NS + GRACE_NS) == [Close("done", "button", statement=True)]


def test_ending_needs_the_statement_that_the_work_is_over() -> None:
    rules = recording()
    for reason in STATED:
        with pytest.raises(NotAllowedError, match="statement"):
            rules.end(0, reason, statement=False, by="command")
    assert rules.state is State.RECORDING


@pytest.mark.rule("R10")
def test_unsuitable_content_is_an_interval_whose_reason_is_spoken_first() -> None:
    rules = recording()
    assert rules.unsuitable(5 * SECOND_NS, "trade_secret") == [
        Say("say.end.unsuitable", {"reason": "notrec.trade_secret"})
    ]
    orders = rules.spoken("say.end.unsuitable", 9 * SECOND_NS)
    assert kinds(orders) == [Sign, Interrupt]
    assert rules.tick(9 * SECOND_NS + REMIND_NS) == [Cue("cue.unsuitable.reminder", {"minutes": "count:1"})]
    assert rules.tick(9 * SECOND_NS + 2 * REMIND_NS) == [Cue("cue.unsuitable.reminder", {"minutes": "count:2"})]
    orders = rules.press(150 * SECOND_NS)
    assert kinds(orders) == [GoOn, Sign, Say]
    over = orders[1].body
    assert isinstance(over, NotRecorded)
    assert (over.start_boottime_ns, over.end_boottime_ns) == (9 * SECOND_NS, 150 * SECOND_NS)


@pytest.mark.rule("R10")
def test_a_reason_that_the_rules_do_not_know_stops_nothing() -> None:
    rules = recording()
    for reason in ("tired", "text_sufficient"):
        with pytest.raises(NotAllowedError):
            rules.unsuitable(0, reason)
    assert rules.state is State.RECORDING


@pytest.mark.rule("R4")
@pytest.mark.parametrize(
    ("reason", "later_ns", "link_class"),
    [
        ("unsuitable", 60 * SECOND_NS, "lawful-unsuitable"),
        ("adjourned", 4 * 3600 * SECOND_NS, "lawful-adjourned"),
        ("handover", 60 * SECOND_NS, "lawful-device"),
        ("moved", 60 * SECOND_NS, None),
        ("done", 60 * SECOND_NS, "intermittent"),
        ("danger", 60 * SECOND_NS, "intermittent"),
        ("done", LINK_SOON_NS + SECOND_NS, None),
        ("battery", 60 * SECOND_NS, "after-fault"),
        ("interrupted", 60 * SECOND_NS, "after-fault"),
    ],
)
def test_a_start_is_never_refused_and_is_linked_as_what_it_is(
    reason: str, later_ns: int, link_class: str | None
) -> None:
    rules = SessionRules(POLICY, Ended(b"s" * 16, reason, 0))
    (opened, *_) = rules.start(later_ns, "button")
    assert isinstance(opened, Open)
    assert opened.link_class == link_class
    assert opened.linked_session == (b"s" * 16 if link_class else None)


@pytest.mark.rule("R4")
def test_a_policy_may_refuse_a_restart_once_but_never_a_matter_that_must_be_recorded() -> None:
    strict = Policy(refusable=frozenset({"questioning"}))
    rules = SessionRules(strict, Ended(b"s" * 16, "done", 0))
    assert kinds(rules.start(SECOND_NS, "button", "questioning")) == [Say, Cue]
    assert isinstance(rules.start(2 * SECOND_NS, "button", "questioning")[0], Open)
    rules = SessionRules(strict, Ended(b"s" * 16, "done", 0))
    assert isinstance(rules.start(SECOND_NS, "button", "seal_seize")[0], Open)


def test_ten_shops_in_one_street_are_ten_separate_recordings() -> None:
    rules = SessionRules(POLICY)
    for shop in range(10):
        (opened, *_) = rules.start(shop * 300 * SECOND_NS, "button")
        assert isinstance(opened, Open)
        assert opened.linked_session is None
        rules.opened(bytes([shop]) * 16)
        rules.end(shop * 300 * SECOND_NS + SECOND_NS, "moved", statement=True, by="button")
        rules.tick(shop * 300 * SECOND_NS + 20 * SECOND_NS)
        rules.closed(bytes([shop]) * 16, "moved", shop * 300 * SECOND_NS + 20 * SECOND_NS)


def test_the_device_itself_ends_at_once_whatever_was_going_on() -> None:
    for prepare in (
        lambda _rules: None,
        lambda rules: rules.end(0, "done", statement=True, by="button"),
        lambda rules: rules.unsuitable(0, "privacy"),
        lambda rules: (rules.unsuitable(0, "privacy"), rules.tick(SPOKEN_WITHIN_NS)),
    ):
        rules = recording()
        prepare(rules)
        orders = rules.automatic(30 * SECOND_NS, "battery")
        assert orders[-1] == Close("battery", "device", statement=False)
        assert rules.tick(100 * SECOND_NS) == []


@pytest.mark.rule("R4")
def test_a_press_while_the_session_before_is_being_closed_begins_the_next_linked_to_it() -> None:
    rules = recording()
    rules.opened(b"1" * 16)
    rules.end(0, "done", statement=True, by="button")
    rules.tick(GRACE_NS)
    (opened, *_) = rules.press(GRACE_NS + 1)
    assert isinstance(opened, Open)
    assert (opened.linked_session, opened.link_class) == (b"1" * 16, "intermittent")
    rules.opened(b"2" * 16)
    rules.closed(b"1" * 16, "done", GRACE_NS + 2)
    assert rules.state is State.RECORDING


def test_a_hearing_that_was_adjourned_goes_on_as_a_hearing() -> None:
    rules = SessionRules(POLICY)
    rules.start(0, "button", "hearing")
    rules.opened(b"1" * 16)
    rules.end(SECOND_NS, "adjourned", statement=False, by="command")
    rules.tick(SECOND_NS + GRACE_NS)
    rules.closed(b"1" * 16, "adjourned", 20 * SECOND_NS)
    opened, told = rules.press(7200 * SECOND_NS)
    assert isinstance(opened, Open)
    assert (opened.matter, opened.must_be_whole, opened.link_class) == ("hearing", True, "lawful-adjourned")
    assert told == Say("say.resume.hearing")


@pytest.mark.rule("R10")
def test_a_crash_inside_an_interval_of_unsuitable_content_does_not_end_it() -> None:
    rules = SessionRules(POLICY)
    (reminder,) = rules.recovered(b"1" * 16, 300 * SECOND_NS, None, ("privacy", 180 * SECOND_NS))
    assert reminder == Cue("cue.unsuitable.reminder", {"minutes": "count:2"})
    assert rules.state is State.UNSUITABLE
    orders = rules.press(360 * SECOND_NS)
    assert kinds(orders) == [GoOn, Sign, Say]
    assert orders[1].body.start_boottime_ns == 180 * SECOND_NS


def test_everyone_is_reminded_and_told_what_is_missing() -> None:
    rules = recording()
    assert rules.tick(899 * SECOND_NS) == []
    assert rules.tick(900 * SECOND_NS) == [Say("say.reminder")]
    both = frozenset({"video", "audio"})
    assert rules.silent(frozenset({"video"}), both) == [Say("say.degraded.audio_only")]
    assert rules.silent(frozenset({"video"}), both) == []
    assert rules.silent(frozenset(), both) == [Say("say.degraded.restored")]
    assert rules.silent(frozenset({"audio"}), both) == [Say("say.degraded.video_only")]


class AnySequence(RuleBasedStateMachine):
    """Whatever people, the device and time do: sessions open and close in turn, and media are off only in intervals."""

    def __init__(self) -> None:
        super().__init__()
        self.now_ns = 0
        self.number = count(1)
        self.current: bytes | None = None
        self.closing: list[tuple[bytes, str]] = []
        """Sessions whose close has been ordered, and is not signed yet."""
        self.media = False
        self.rules = SessionRules(POLICY)

    def obey(self, orders: list[Order]) -> None:
        for order in orders:
            if isinstance(order, Open):
                assert self.current is None
                self.current, self.media = next(self.number).to_bytes(16, "big"), True
                self.rules.opened(self.current)
                assert order.linked_session != self.current
            elif isinstance(order, Close):
                assert self.current is not None
                self.closing.append((self.current, order.reason))
                self.current, self.media = None, False
            elif isinstance(order, Interrupt):
                assert self.current is not None
                assert self.media
                self.media = False
            elif isinstance(order, GoOn):
                assert self.current is not None
                assert not self.media
                self.media = True
            elif isinstance(order, Sign):
                assert self.current is not None

    @rule(seconds=st.integers(0, 2000))
    def time(self, seconds: int) -> None:
        self.now_ns += seconds * SECOND_NS
        self.obey(self.rules.tick(self.now_ns))

    @precondition(lambda self: self.closing)
    @rule()
    def signed(self) -> None:
        session, reason = self.closing.pop(0)
        self.obey(self.rules.closed(session, reason, self.now_ns))

    @precondition(lambda self: self.current is not None)
    @rule()
    def full_disk(self) -> None:
        for session, reason in self.closing:
            self.rules.closed(session, reason, self.now_ns)
        assert self.current is not None
        self.closing, self.media = [], False
        closed, self.current = self.current, None
        assert self.rules.closed(closed, "storage", self.now_ns) == [Say("say.end.storage")]

    @rule(matter=st.sampled_from([None, "hearing", "seal_seize"]))
    def start(self, matter: str | None) -> None:
        was_open = self.current is not None
        self.obey(self.rules.start(self.now_ns, "button", matter))
        assert self.current is not None, "a start is recorded"
        if not was_open:
            assert self.media

    @rule()
    def press(self) -> None:
        self.obey(self.rules.press(self.now_ns))
        assert self.current is not None
        assert self.media, "a press always leads to recording"

    @precondition(lambda self: self.current is not None)
    @rule(reason=st.sampled_from(ENDS))
    def end(self, reason: str) -> None:
        self.obey(self.rules.end(self.now_ns, reason, statement=True, by="button"))

    @precondition(lambda self: self.current is not None)
    @rule()
    def unsuitable(self) -> None:
        self.obey(self.rules.unsuitable(self.now_ns, "privacy"))

    @rule()
    def spoken(self) -> None:
        self.obey(self.rules.spoken("say.end.unsuitable", self.now_ns))

    @precondition(lambda self: self.current is not None)
    @rule()
    def crash(self) -> None:
        interval = ("privacy", self.now_ns) if self.rules.state is State.UNSUITABLE else None
        assert self.current is not None
        self.closing = []
        self.rules = SessionRules(POLICY)
        self.obey(self.rules.recovered(self.current, self.now_ns, None, interval))
        self.media = interval is None

    @rule(reason=st.sampled_from(AUTOMATIC))
    def device(self, reason: str) -> None:
        self.obey(self.rules.automatic(self.now_ns, reason))

    @rule(tracks=st.frozensets(st.sampled_from(["video", "audio"])))
    def silent(self, tracks: frozenset[str]) -> None:
        self.obey(self.rules.silent(tracks, frozenset({"video", "audio"})))

    @invariant()
    def media_are_off_only_in_an_interval(self) -> None:
        assert (self.current is None and not self.closing) == (self.rules.state is State.IDLE)
        if self.current is not None:
            assert self.media == (self.rules.state is not State.UNSUITABLE)


AnySequence.TestCase.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)
TestAnySequence = AnySequence.TestCase
