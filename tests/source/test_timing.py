from __future__ import annotations

import itertools

import pytest

from recorder.source.errors import DeviceError
from recorder.source.pcm import Blocks
from recorder.source.timing import HOLD_NS, Aligner, Raw, Timed

SECOND = 1_000_000_000
SCALES = {"video": 90_000, "audio": 48_000}
EPOCH = 1_000 * SECOND


def picture(index: int, *, shift: int = 0, reported: bool = False, late_ns: int = 0, missing: bool = False) -> Raw:
    at = None if missing else index * 3600 + shift
    return Raw("video", index, at, at, 3600, EPOCH + index * SECOND // 25 + late_ns, reported)


def sound(index: int, *, shift: int = 0, reported: bool = False) -> Raw:
    at = index * 1024 + shift
    return Raw("audio", index, at, at, 1024, EPOCH + index * 1024 * SECOND // 48_000, reported)


def feed(aligner: Aligner, raws: list[Raw]) -> dict[str, list[Timed]]:
    out: dict[str, list[Timed]] = {"video": [], "audio": []}
    for raw in sorted(raws, key=lambda one: one.arrival_ns):
        for timed in aligner.put(raw):
            out[timed.raw.track].append(timed)
    return out


def test_the_sender_report_relates_the_tracks_from_the_first_frame_on() -> None:
    """Sound counts from a point 300 ms off until its report comes after a second; then libavformat moves it."""
    off = 14_400
    pictures = [picture(index, reported=index == 10) for index in range(100)]
    sounds = [sound(index, shift=off if index < 47 else 0, reported=index == 47) for index in range(180)]
    out = feed(Aligner(SCALES, reports=True), pictures + sounds)
    assert len(out["video"]) == 100
    assert len(out["audio"]) == 180
    for track, scale in SCALES.items():
        for timed in out[track]:
            assert abs(timed.presentation / scale - timed.raw.arrival_ns / SECOND) < 0.001
        steps = {after.decode - before.decode for before, after in zip(out[track], out[track][1:], strict=False)}
        assert steps == {3600 if track == "video" else 1024}


def test_without_a_report_it_goes_on_after_a_while() -> None:
    out = feed(Aligner(SCALES, reports=True), [picture(index) for index in range(100)])
    assert len(out["video"]) == 100
    early = feed(Aligner(SCALES, reports=True), [picture(index) for index in range(int(HOLD_NS / SECOND * 25) - 1)])
    assert early["video"] == []


def test_tracks_far_apart_without_a_report_are_related_by_arrival() -> None:
    pictures = [picture(index, shift=90_000 * 500) for index in range(100)]
    out = feed(Aligner(SCALES, reports=True), pictures + [sound(index) for index in range(180)])
    for track, scale in SCALES.items():
        assert all(abs(one.presentation / scale - one.raw.arrival_ns / SECOND) < 0.001 for one in out[track])


def test_missing_times_at_the_start_are_counted_back() -> None:
    raws = [picture(index, missing=index < 3) for index in range(20)]
    out = feed(Aligner({"video": 90_000}, reports=True), raws)["video"]
    assert [one.decode - out[0].decode for one in out] == [index * 3600 for index in range(20)]
    assert all(one.decode <= one.presentation for one in out)


def test_no_frame_is_placed_after_its_arrival() -> None:
    raws = [picture(index, late_ns=(index % 7) * 20_000_000 if index else 100_000_000) for index in range(60)]
    out = feed(Aligner({"video": 90_000}, reports=False), raws)["video"]
    assert len(out) == 60


@pytest.mark.parametrize("jump", [-2 * 90_000, 10 * 90_000])
def test_a_camera_whose_times_jump_is_replaced(jump: int) -> None:
    aligner = Aligner({"video": 90_000}, reports=True)
    feed(aligner, [picture(index) for index in range(10)])
    with pytest.raises(DeviceError, match="jumped") as raised:
        aligner.put(picture(10, shift=jump))
    assert raised.value.cause == "camera"


def test_a_network_that_was_away_is_no_lie() -> None:
    """Packets that waited in the network arrive late, all at once; packets that were lost leave a step."""
    aligner = Aligner({"video": 90_000}, reports=True)
    feed(aligner, [picture(index) for index in range(10)])
    assert aligner.put(picture(10, late_ns=8 * SECOND))
    assert aligner.put(picture(400))


def test_a_late_report_that_moves_a_running_stream_is_told() -> None:
    aligner = Aligner(SCALES, reports=True)
    feed(aligner, [picture(index) for index in range(90)] + [sound(index) for index in range(160)])
    aligner.put(sound(160, shift=4800, reported=True))
    (moved,) = aligner.moved
    assert moved.track == "audio"
    assert abs(moved.by_ns - 100_000_000) < 1_000_000


def test_the_sound_cards_clock_is_followed_without_resampling() -> None:
    """A card 200 millionths too fast: frames keep all their samples; their times stay within two milliseconds."""
    blocks = Blocks(48_000, 1, 1.0)
    true_rate = 48_000 * 1.0002
    found = []
    for index in range(48 * 600):
        taken_ns = EPOCH + round(index * 1000 / true_rate * SECOND) + (index * 7919 % 3_000_000)
        found += blocks.put(bytes(2000), taken_ns, taken_ns)
    assert blocks.jumps == 0
    assert all(len(one.pcm) == 2048 for one in found)
    for number, one in enumerate(found):
        true_s = EPOCH / SECOND + number * 1024 / true_rate
        assert abs(one.at / 48_000 - true_s) < 0.005
    steps = {after.at - before.at for before, after in itertools.pairwise(found)}
    assert steps <= {1023, 1024, 1025}


def test_lost_sound_is_a_hole_of_the_right_length() -> None:
    blocks = Blocks(16_000, 1)
    found = []
    for index in range(200):
        lost_ns = SECOND if index >= 100 else 0
        taken_ns = EPOCH + index * SECOND // 16 + lost_ns
        found += blocks.put(bytes(2000), taken_ns, taken_ns, broken=index == 100)
    steps = sorted({after.at - before.at for before, after in itertools.pairwise(found)})
    assert steps[0] == 1024
    assert 16_000 <= steps[-1] <= 16_000 + 2048
    assert blocks.jumps == 1
