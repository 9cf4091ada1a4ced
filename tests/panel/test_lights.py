"""What is shown is true, can be told apart, and never claims a recording that nobody knows of."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder.evidence.texts import ids
from recorder.panel import lights
from recorder.panel.lights import DARK, LIT, RECORDS, RHYTHMS, STATES
from recorder.panel.messages import Show


def test_every_state_of_the_catalogue_has_its_lights() -> None:
    states = {name.removeprefix("state.") for name in ids() if name.startswith("state.") and "clock" not in name}
    assert states == set(STATES)


def test_red_means_recording_and_nothing_else_does() -> None:
    steady = {state for state, one in STATES.items() if one.red == LIT}
    assert steady == {"recording", "video_only"}
    assert {state for state, one in STATES.items() if one.yellow == LIT} == {"audio_only"}
    assert all(STATES[state].red == DARK for state in STATES if state not in (*RECORDS, "recovering"))
    assert all(STATES[state].green == DARK for state in RECORDS)


def test_without_a_recorder_a_fault_is_shown() -> None:
    assert lights.shown(None) == STATES["fault"]
    assert lights.shown(Show(state="from-another-version")) == STATES["fault"]
    assert STATES["fault"].red == STATES["fault"].green == DARK


def test_states_can_be_told_apart() -> None:
    same = {"uploaded": "ready"}  # both are: nothing to do
    for one, other in combinations(STATES, 2):
        assert STATES[one] != STATES[other] or same.get(other) == one or same.get(one) == other, (one, other)
    rhythms = list(RHYTHMS.values())
    assert len(set(rhythms)) == len(rhythms)


@pytest.mark.parametrize("state", STATES)
def test_faults_and_warnings_never_hide_the_state(state: str) -> None:
    for show in (Show(state=state, fault=True), Show(state=state, battery_minutes=10)):
        assert lights.shown(show).red == STATES[state].red
        assert lights.shown(show).green == STATES[state].green


def test_changes_that_matter_are_felt() -> None:
    assert lights.rhythm_of("ready", "recording") == "start"
    assert lights.rhythm_of("unsuitable", "recording") == "start"
    assert lights.rhythm_of("recording", "unsuitable") == "end"
    assert lights.rhythm_of("closing", "ready") == "end"
    assert lights.rhythm_of("recording", "audio_only") == "warning"
    assert lights.rhythm_of("recording", "fault") == "warning"
    assert lights.rhythm_of("recording", "closing") is None, "the cue of the grace comes by itself"
    assert lights.rhythm_of(None, "recording") is None


PATTERNS = st.sampled_from(sorted({one for row in STATES.values() for one in row} | set(RHYTHMS.values())))


@given(PATTERNS, st.integers(0, 10_000_000_000))
def test_a_pattern_stands_still_until_its_next_change(pattern: lights.Pattern, elapsed_ns: int) -> None:
    after_ns = lights.change_after_ns(pattern, elapsed_ns)
    if after_ns is None:
        assert lights.is_lit(pattern, elapsed_ns) == bool(pattern)
        return
    assert after_ns > 0
    now = lights.is_lit(pattern, elapsed_ns)
    assert lights.is_lit(pattern, elapsed_ns + after_ns - 1) == now
    if len(pattern) % 2 == 0:
        assert lights.is_lit(pattern, elapsed_ns + after_ns) != now
