"""A gesture means what the session's state makes of it, and is taken once, whenever the recorder ends."""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder.evidence.records import Marker
from recorder.panel.messages import Press
from recorder.panel.presses import STALE_NS, Act, Memory, Presses
from recorder.session import Close, Open, Policy, SessionRules, Sign, State

SECOND_NS = 1_000_000_000
NOW_NS = 1_000 * SECOND_NS
PUSH_NS = NOW_NS - SECOND_NS // 10


def press(gesture: str, number: int = 1, push_ns: int = PUSH_NS, at_ns: int | None = None) -> Press:
    at_ns = push_ns if at_ns is None else at_ns
    return Press(instance="one", number=number, gesture=gesture, push_boottime_ns=push_ns, at_boottime_ns=at_ns)


def take(one: Press, state: State, now_ns: int = NOW_NS, presses: Presses | None = None) -> Act | None:
    presses = presses or Presses(Memory(boot="boot"), lambda _: None)
    act = presses.begin(one, state, 0, now_ns, lambda _: False)
    if one.number:
        presses.done(one)
    return act


@pytest.mark.parametrize(
    ("gesture", "idle", "recording", "closing", "unsuitable"),
    [
        ("down", Act.PRESS, None, Act.PRESS, None),
        ("press", Act.PRESS, Act.PRESS, Act.PRESS, Act.PRESS),
        ("again", Act.PRESS, Act.AGAIN, Act.PRESS, Act.PRESS),
        ("cancelled", None, None, None, Act.PRESS),
        ("end", None, Act.END, None, Act.END),
        ("unsuitable", Act.REFUSE, Act.UNSUITABLE, Act.UNSUITABLE, Act.UNSUITABLE),
        ("stuck", Act.STUCK, Act.STUCK, Act.STUCK, Act.STUCK),
    ],
)
def test_a_gesture_means_what_the_state_makes_of_it(
    gesture: str, idle: Act | None, recording: Act | None, closing: Act | None, unsuitable: Act | None
) -> None:
    one = press(gesture)
    assert take(one, State.IDLE) is idle
    assert take(one, State.RECORDING) is recording
    assert take(one, State.CLOSING) is closing
    assert take(one, State.LEAVING) is closing or gesture == "unsuitable"
    assert take(one, State.UNSUITABLE) is unsuitable


@pytest.mark.parametrize("rest", ["press", "cancelled", "end", "unsuitable", "again"])
def test_a_push_that_has_started_means_nothing_more(rest: str) -> None:
    presses = Presses(Memory(boot="boot"), lambda _: None)
    assert take(press("down"), State.IDLE, presses=presses) is Act.PRESS
    assert take(press(rest, 2), State.RECORDING, presses=presses) is None
    # The next push is another one; a double press that began with a start is all of it a start.
    second, third = PUSH_NS + SECOND_NS, PUSH_NS + 2 * SECOND_NS
    for number, (gesture, push_ns, act) in enumerate(
        (("down", second, None), ("again", second, None), ("down", third, None), ("again", third, Act.AGAIN)), 3
    ):
        assert take(press(gesture, number, push_ns), State.RECORDING, presses=presses) is act


def test_a_late_press_still_records_and_a_late_end_does_not() -> None:
    late_ns = NOW_NS + STALE_NS + 1
    assert take(press("down"), State.IDLE, late_ns) is Act.PRESS
    assert take(press("press"), State.RECORDING, late_ns) is Act.PRESS
    assert take(press("press"), State.UNSUITABLE, late_ns) is Act.PRESS
    for gesture in ("end", "unsuitable", "again"):
        assert take(press(gesture), State.RECORDING, late_ns) is None
        assert take(press(gesture, at_ns=NOW_NS - STALE_NS), State.RECORDING, NOW_NS) is not None


def test_what_was_pressed_before_the_session_wanted_its_start() -> None:
    presses = Presses(Memory(boot="boot"), lambda _: None)
    for number, gesture in enumerate(("down", "press", "again", "end"), 1):
        assert presses.begin(press(gesture, number), State.RECORDING, PUSH_NS + 1, NOW_NS, lambda _: False) is None
        presses.done(press(gesture, number))
    assert presses.begin(press("press", 9), State.UNSUITABLE, PUSH_NS + 1, NOW_NS, lambda _: False) is Act.PRESS


def test_guidance_is_given_while_it_helps() -> None:
    holding = press("holding", 0)
    assert take(holding, State.RECORDING) is Act.GUIDE
    assert take(holding, State.IDLE) is None
    assert take(holding, State.RECORDING, NOW_NS + 2 * SECOND_NS) is None


@dataclass
class Recorder:
    """The rules of a session with the panel's presses, which may end at any point of taking one."""

    memory: bytes = b""
    rules: SessionRules = field(default_factory=lambda: SessionRules(Policy(not_recorded=frozenset({"privacy"}))))
    opened: int = 0
    closed: int = 0
    markers: list[int] = field(default_factory=list)
    acknowledged: int = 0

    def __post_init__(self) -> None:
        self.start()

    def start(self) -> None:
        memory = msgspec.json.decode(self.memory, type=Memory) if self.memory else Memory(boot="boot")
        self.presses = Presses(memory, self._keep)
        if self.rules.state in (State.CLOSING, State.LEAVING):
            # The end had not come, so the session goes on.
            self.rules.recovered(b"session", 0)

    def _keep(self, memory: Memory) -> None:
        self.memory = msgspec.json.encode(memory)

    def take(self, one: Press, now_ns: int, ends_at: int) -> None:
        """Take one press; ``ends_at`` is the step at which the process ends, 9 for none of them."""
        if ends_at == 0:
            return
        act = self.presses.begin(one, self.rules.state, 0, now_ns, lambda at_ns: at_ns in self.markers)
        if ends_at == 1:
            return
        if act is not None:
            self._do(act, one, now_ns)
        if ends_at == 2:
            return
        self.presses.done(one)
        if ends_at == 3:
            return
        self.acknowledged = self.presses.newest[1]

    def _do(self, act: Act, one: Press, now_ns: int) -> None:
        orders = []
        if act is Act.PRESS:
            orders = self.rules.press(now_ns)
        elif act is Act.END:
            orders = self.rules.end(now_ns, "done", statement=True, by="button")
        elif act is Act.UNSUITABLE:
            orders = self.rules.unsuitable(now_ns, "privacy")
        for order in orders:
            if isinstance(order, Open):
                self.opened += 1
                self.rules.opened(b"session")
            elif isinstance(order, Sign) and isinstance(order.body, Marker):
                self.markers.append(one.push_boottime_ns)
            elif isinstance(order, Close):
                self.closed += 1


def run(gestures: list[str], ends: list[int], pause_s: int = 3) -> Recorder:
    """Tell a recorder the gestures of one push each; it ends as told, and what is not acknowledged is told again."""
    recorder, now_ns, number = Recorder(), NOW_NS, 0
    waiting: list[Press] = []
    ends = list(ends)
    for gesture in gestures:
        now_ns += pause_s * SECOND_NS
        for kind in ("down", gesture):
            number += 1
            waiting.append(press(kind, number, now_ns))
            while waiting:
                ends_at = ends.pop() if ends else 9
                recorder.take(waiting[0], now_ns, ends_at)
                if ends_at < 4:
                    recorder.start()
                waiting = [one for one in waiting if one.number > recorder.acknowledged]
        recorder.rules.tick(now_ns + (pause_s - 2) * SECOND_NS)
    return recorder


ENDS = st.lists(st.integers(0, 9), max_size=60)


@given(st.integers(1, 12), ENDS)
def test_short_presses_are_neither_lost_nor_doubled_however_the_recorder_ends(count: int, ends: list[int]) -> None:
    recorder = run(["press"] * count, ends)
    assert recorder.opened == 1
    assert len(recorder.markers) == count - 1
    assert len(set(recorder.markers)) == count - 1


@given(st.lists(st.sampled_from(["press", "again", "cancelled", "end", "unsuitable", "stuck"]), max_size=12), ENDS)
def test_no_push_has_two_meanings_however_the_recorder_ends(gestures: list[str], ends: list[int]) -> None:
    recorder = run(gestures, ends)
    assert len(set(recorder.markers)) == len(recorder.markers)
    assert recorder.opened == (1 if gestures else 0)
    last = gestures[-1] if gestures else None
    if last in ("press", "again", "cancelled"):
        assert recorder.rules.state is State.RECORDING


@given(ENDS)
def test_a_press_that_goes_on_does_not_leave_a_marker_too(ends: list[int]) -> None:
    recorder = run(
        ["press", "unsuitable", "press"], [*ends, 9, 9, 9, 9], pause_s=20
    )  # it ends only while the last push is taken
    assert recorder.rules.state is State.RECORDING
    assert not recorder.markers
