"""What a recording suffers from: signed when it begins and when it is over, told at once, and never in a flood."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from recorder.evidence.records import Fault
from recorder.impairments import CUES, TOGETHER_NS, Cue, Impairments, Replace, Sign

if TYPE_CHECKING:
    from collections.abc import Iterable

S = 1_000_000_000
CODES = tuple(CUES)


def _keeper(patience_s: float = 0) -> Impairments:
    return Impairments({"camera": round(patience_s * S)})


def _signed(actions: Iterable[object]) -> list[Fault]:
    return [action.body for action in actions if isinstance(action, Sign)]


def test_a_covered_lens_is_signed_and_told_at_once_and_its_end_after_a_minute() -> None:
    keeper = _keeper()
    keeper.opened(100 * S)
    begun = keeper.begins("camera", "lens_blocked", 110 * S, "structure 0.2")
    assert begun == [
        Sign(Fault(code="lens_blocked", detail="structure 0.2", start_boottime_ns=110 * S)),
        Cue("cue.lens.blocked"),
    ]
    assert keeper.lasting == ["lens_blocked"]
    keeper.ends("camera", "lens_blocked", 122 * S)
    assert keeper.lasting == []
    assert keeper.tick(122 * S + TOGETHER_NS - 1) == []
    over = Fault(code="lens_blocked", start_boottime_ns=110 * S, end_boottime_ns=122 * S, length_ns=12 * S)
    assert keeper.tick(122 * S + TOGETHER_NS) == [Sign(over)]
    assert keeper.closed(300 * S) == []


def test_what_comes_again_within_a_minute_is_one_record_with_a_count() -> None:
    keeper = _keeper()
    keeper.opened(0)
    actions: list[object] = []
    for number in range(20):
        actions += keeper.begins("camera", "lens_blocked", (10 + 30 * number) * S)
        keeper.ends("camera", "lens_blocked", (15 + 30 * number) * S)
        actions += keeper.tick((20 + 30 * number) * S)
    assert len(_signed(actions)) == len(actions) - 1 == 1
    (over,) = keeper.closed(700 * S)
    assert (over.start_boottime_ns, over.end_boottime_ns) == (10 * S, 585 * S)
    assert (over.count, over.length_ns) == (20, 100 * S)


def test_what_was_so_before_the_start_counts_from_the_start() -> None:
    keeper = _keeper()
    assert keeper.begins("camera", "picture_dark", 5 * S) == []
    assert keeper.lasting == []
    (signed, told) = keeper.opened(50 * S)
    assert isinstance(signed, Sign)
    assert signed.body.start_boottime_ns == 50 * S
    assert told == Cue("cue.picture.dark")
    (over,) = keeper.closed(60 * S)
    assert over.length_ns == 10 * S


def test_outside_a_recording_nothing_is_signed_and_nobody_is_told() -> None:
    keeper = _keeper()
    keeper.opened(0)
    keeper.closed(S)
    assert keeper.begins("camera", "lens_blocked", 2 * S) == []
    assert keeper.tick(200 * S) == []
    keeper.ends("camera", "lens_blocked", 3 * S)
    assert keeper.opened(300 * S) == []


def test_a_source_that_ends_takes_along_what_it_saw_and_not_what_another_did() -> None:
    keeper = _keeper()
    keeper.opened(0)
    keeper.begins("camera", "lens_blocked", 10 * S)
    keeper.begins("microphone", "sound_silent", 11 * S)
    keeper.gone("camera", 20 * S)
    assert keeper.lasting == ["sound_silent"]
    keeper.ends("camera", "sound_silent", 21 * S)
    assert keeper.lasting == ["sound_silent"]
    assert [fault.code for fault in keeper.closed(30 * S)] == ["lens_blocked", "sound_silent"]


def test_a_frozen_picture_is_a_source_to_be_replaced_with_doubling_patience() -> None:
    keeper = _keeper(30)
    keeper.opened(0)
    begun = keeper.begins("camera", "picture_frozen", 100 * S)
    assert Cue("cue.picture.frozen") in begun
    assert keeper.tick(129 * S) == []
    assert keeper.tick(130 * S) == [Replace("camera")]
    assert keeper.tick(131 * S) == []
    keeper.gone("camera", 131 * S)
    assert keeper.begins("camera", "picture_frozen", 135 * S) == []  # the same minute, the same record
    assert keeper.tick(194 * S) == []
    assert keeper.tick(195 * S) == [Replace("camera")]  # after 60 s
    # It helped: the next time is a first time.
    assert [fault.count for fault in _signed(keeper.tick(300 * S))] == [2]
    keeper.begins("camera", "picture_frozen", 400 * S)
    assert keeper.tick(430 * S) == [Replace("camera")]


def test_without_patience_set_nothing_is_replaced() -> None:
    keeper = _keeper(0)
    keeper.opened(0)
    keeper.begins("camera", "picture_frozen", S)
    assert keeper.tick(10**15) == []


def test_a_code_that_is_not_known_is_passed_over() -> None:
    keeper = _keeper()
    keeper.opened(0)
    assert keeper.begins("camera", "nonsense", S) == []


_STEPS = st.lists(
    st.tuples(
        st.sampled_from(("begins", "ends", "gone", "opened", "closed", "tick")),
        st.sampled_from(CODES),
        st.sampled_from(("camera", "microphone")),
        st.integers(0, 100 * S),
    ),
    max_size=60,
)


@given(_STEPS)
def test_whatever_happens_each_beginning_has_one_end_and_no_flood(steps: list[tuple[str, str, str, int]]) -> None:
    keeper = Impairments({"camera": 30 * S, "microphone": 0})
    now, recording = 0, False
    signed: list[tuple[int, Fault]] = []
    for what, code, source, later in steps:
        now += later
        actions: list[object] = []
        if what == "begins":
            actions = [*keeper.begins(source, code, now)]
        elif what == "ends":
            keeper.ends(source, code, now)
        elif what == "gone":
            keeper.gone(source, now)
        elif what == "opened" and not recording:
            recording, actions = True, [*keeper.opened(now)]
        elif what == "closed" and recording:
            recording, actions = False, [Sign(body) for body in keeper.closed(now)]
        elif what == "tick":
            actions = [*keeper.tick(now)]
        assert recording or what == "closed" or not actions
        signed += [(now, body) for body in _signed(actions)]
    if recording:
        signed += [(now, body) for body in keeper.closed(now)]
    open_: dict[str, int | None] = {}
    for _, body in signed:
        if body.end_boottime_ns is None:
            assert body.code not in open_
            open_[body.code] = body.start_boottime_ns
        else:
            assert open_.pop(body.code) == body.start_boottime_ns
            assert body.start_boottime_ns is not None
            assert body.length_ns is not None
            assert 0 <= body.length_ns <= body.end_boottime_ns - body.start_boottime_ns
    assert open_ == {}
