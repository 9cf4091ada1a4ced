from __future__ import annotations

from recorder.gaps import BEGINS_AFTER_NS, GapKeeper

S = 1_000_000_000


def test_a_short_hole_is_one_whole_gap_with_its_first_cause() -> None:
    keeper = GapKeeper()
    keeper.because(["video", "audio"], "camera_network", "timed out")
    keeper.because(["video"], "camera")
    (gap,) = keeper.over({"video": (10 * S, 12 * S), "audio": (10 * S, 12 * S)})
    assert (gap.cause, gap.state, gap.tracks) == ("camera_network", "whole", ["video", "audio"])
    assert (gap.start_boottime_ns, gap.end_boottime_ns, gap.length_max_ns) == (10 * S, 12 * S, 2 * S)


def test_a_lasting_silence_is_signed_while_it_lasts_and_once_more_when_it_is_over() -> None:
    keeper = GapKeeper()
    keeper.because(["audio"], "microphone")
    assert keeper.begins({"video": 10 * S, "audio": 10 * S}, 10 * S + BEGINS_AFTER_NS) == []
    (begun,) = keeper.begins({"video": 15 * S, "audio": 10 * S}, 11 * S + BEGINS_AFTER_NS)
    assert (begun.state, begun.tracks, begun.end_boottime_ns) == ("begins", ["audio"], None)
    assert keeper.begins({"video": 60 * S, "audio": 10 * S}, 60 * S) == []
    (ended,) = keeper.over({"audio": (10 * S, 70 * S)})
    assert (ended.state, ended.cause, ended.length_min_ns) == ("ends", "microphone", 60 * S)


def test_a_hole_without_a_known_cause_is_signed_as_unknown() -> None:
    (gap,) = GapKeeper().over({"video": (S, 2 * S)})
    assert gap.cause == "unknown"


def test_tracks_with_different_causes_are_different_gaps() -> None:
    keeper = GapKeeper()
    keeper.because(["audio"], "microphone")
    keeper.because(["video"], "frozen")
    gaps = keeper.over({"video": (S, 2 * S), "audio": (S, 3 * S)})
    assert {(gap.cause, *gap.tracks) for gap in gaps} == {("microphone", "audio"), ("frozen", "video")}


def test_a_warning_that_came_to_nothing_is_not_the_cause_of_a_later_hole() -> None:
    keeper = GapKeeper()
    keeper.because(["video"], "overload")
    keeper.flows(["video"])
    (gap,) = keeper.over({"video": (S, 2 * S)})
    assert gap.cause == "unknown"


def test_length_across_a_power_loss_is_an_interval_that_may_be_open() -> None:
    keeper = GapKeeper()
    keeper.across_boot(["video"], "power", b"b" * 16, None)
    (gap,) = keeper.over({"video": (500 * S, 3 * S)})
    assert (gap.start_boot, gap.length_min_ns, gap.length_max_ns) == (b"b" * 16, 0, None)
