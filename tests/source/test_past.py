"""Pictures kept from before a press: so long and so much, never sound, and nothing from before a stop."""

from __future__ import annotations

import time
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder.source import link
from recorder.source.driver import VIDEO_TIMESCALE, Sample
from recorder.source.past import MAX_PAST_SIZE_BYTES, Past

if TYPE_CHECKING:
    from tests.source.conftest import Device, FakeRecorder

S = 1_000_000_000


def frame(at_ns: int, *, key: bool = False, track: str = "video", size: int = 10) -> Sample:
    at = at_ns * VIDEO_TIMESCALE // S
    return Sample(track, bytes(size), at, at, 1, key, at_ns)


@given(
    keep=st.integers(0, 5),
    frames=st.lists(
        st.tuples(st.integers(0, 2), st.booleans(), st.sampled_from(["video", "audio"]), st.integers(0, 9 << 20))
    ),
    since=st.integers(0, 20),
)
def test_so_long_so_much_and_from_a_key_frame_on(
    keep: int, frames: list[tuple[int, bool, str, int]], since: int
) -> None:
    past, at = Past(), 0
    past.keep_ns = keep * S
    put = []
    for step, key, track, size in frames:
        at += step * S
        put.append(frame(at, key=key, track=track, size=size))
        past.put(put[-1])
    taken = past.take(since * S)
    assert all(one.track == "video" and one.arrival_ns >= since * S for one in taken)
    assert not taken or taken[0].key
    assert not taken or taken[-1].arrival_ns - taken[0].arrival_ns <= keep * S
    assert sum(len(one.data) for one in taken) <= MAX_PAST_SIZE_BYTES
    assert taken == ([one for one in put if one.track == "video"][-len(taken) :] if taken else [])
    assert past.take(0) == []


def press(recorder: FakeRecorder, past_s: int) -> int:
    """Begin as the recorder does at a press; return its boot-time."""
    now = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    recorder.zero_ns = now - past_s * S
    ids = {"video": 1, "audio": 2}
    start = link.Start(
        session=recorder.session, zero_boottime_ns=recorder.zero_ns, track_ids=ids, wait_ms=1000, past_ns=past_s * S
    )
    recorder.send(start)
    return now


@pytest.mark.rule("R3")
def test_a_recording_begins_before_the_press_without_sound_and_without_a_hole(
    device: Device, recorder: FakeRecorder
) -> None:
    device.configure(width_px=320, height_px=240, key_frame_interval_s=0.5)
    device.spawn()
    recorder.accept()
    recorder.send(link.Welcome(keep_ns=20 * S))
    time.sleep(14)  # longer than what is kept for an absent recorder
    before_s = (press(recorder, 12) - recorder.zero_ns) / 1e9
    recorder.until(lambda: recorder.total("audio", "written") > 40)
    pictures, sounds = recorder.samples(1), recorder.samples(2)
    assert pictures[0][0] < 1.5
    assert pictures[0][2]
    assert all(after[0] - before[0] < 0.06 for before, after in pairwise(pictures))
    assert sounds[0][0] >= before_s - 0.001  # nothing of the sound that waited in the source then
    assert recorder.total("video", "written") == recorder.total("video", "expected")
    assert recorder.discarded("video").get("recorder-absent") is None
    # What came before the end of a recording does not come again.
    recorder.send(link.Stop(session=recorder.session, keep_ns=0))
    recorder.until(lambda: recorder.ended)
    time.sleep(2)
    count = len(recorder.fragments)
    pressed = press(recorder, 12)
    recorder.until(lambda: len(recorder.fragments) >= count + 4)
    first = recorder.samples(1, recorder.fragments[-1][0].instance)[0][0]
    assert first * 1e9 + recorder.zero_ns > pressed - 200_000_000


def test_nothing_is_kept_unless_the_recorder_says_so(device: Device, recorder: FakeRecorder) -> None:
    device.configure(width_px=320, height_px=240, key_frame_interval_s=0.5)
    device.spawn()
    recorder.accept()
    recorder.send(link.Welcome())
    time.sleep(3)
    pressed = press(recorder, 3)
    recorder.until(lambda: len(recorder.fragments) >= 3)
    assert recorder.samples(1)[0][0] * 1e9 + recorder.zero_ns > pressed - 200_000_000


@pytest.mark.rule("R1")
def test_what_was_around_while_only_sound_was_recorded_is_forgotten(device: Device, recorder: FakeRecorder) -> None:
    device.configure(width_px=320, height_px=240, key_frame_interval_s=0.5)
    device.spawn()
    recorder.accept()
    recorder.send(link.Welcome(keep_ns=20 * S))
    time.sleep(3)
    stopped = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    recorder.send(link.Stop(session=bytes(16), keep_ns=20 * S))  # of a session that had no pictures
    time.sleep(2)
    press(recorder, 12)
    recorder.until(lambda: len(recorder.fragments) >= 3)
    first_ns = recorder.samples(1)[0][0] * 1e9 + recorder.zero_ns
    assert stopped - 200_000_000 < first_ns < stopped + 1_500_000_000
