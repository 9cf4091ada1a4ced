"""What the sources say of their own picture and sound, in the log of a stream."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from recorder.evidence.records import Fault, Gap, SessionClose
from recorder.impairments import Impairments
from recorder.session import Open
from tests.recorder.test_stream import end, gathered, play
from tests.support.spools import make_site
from tests.support.stream_bench import StreamBench

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.stream_bench import Line

S = 1_000_000_000


@pytest.fixture
def bench(tmp_path: Path) -> StreamBench:
    return StreamBench(make_site(tmp_path / "site"))


def tell(bench: StreamBench, line: Line, event: str, code: str, ago_s: float = 0, **more: object) -> None:
    """A source tells of something; the stream takes it, and looks at the clock."""
    at_ns = bench.clock.boottime_ns() - round(ago_s * S)
    line.far.event(event=event, cause=code, boottime_ns=at_ns, **more)
    bench.take(line)
    bench.stream.tick()


def faults(bench: StreamBench) -> list[tuple[str, bool, int]]:
    """Code, over or not, and how often, of each fault in the log."""
    return [(one.code, one.end_boottime_ns is not None, one.count) for one in bench.bodies(Fault)]


def test_a_covered_lens_is_signed_while_it_lasts_and_closed_before_the_session_is(bench: StreamBench) -> None:
    lines = gathered(bench)
    play(bench, 2, *lines)
    tell(bench, lines[0], "impaired", "lens_blocked", 1, detail="structure 0.20\nedges 0.000")
    (begun,) = bench.bodies(Fault)
    assert begun.start_boottime_ns == bench.clock.boottime_ns() - S
    assert begun.detail == "structure 0.20 edges 0.000"
    assert bench.stream.troubles.cues == ["cue.lens.blocked"]
    assert bench.stream.troubles.impairments.lasting == ["lens_blocked"]
    play(bench, 2, *lines)
    end(bench, *lines)
    assert faults(bench) == [("lens_blocked", False, 1), ("lens_blocked", True, 1)]
    assert isinstance(bench.records()[-1].body, SessionClose)
    assert bench.bodies(Gap) == []


def test_nothing_of_an_interval_that_is_not_recorded_is_signed(bench: StreamBench) -> None:
    lines = gathered(bench)
    play(bench, 2, *lines)
    tell(bench, lines[1], "impaired", "sound_silent")
    bench.stream.interrupt("unsuitable")
    for line in lines:
        line.far.ended()
        bench.take(line)
    bench.stream.tick()
    assert faults(bench) == [("sound_silent", False, 1), ("sound_silent", True, 1)]
    tell(bench, lines[0], "impaired", "lens_blocked")
    bench.clock.advance(300)
    bench.stream.tick()
    assert len(faults(bench)) == 2
    bench.stream.go_on()
    bench.stream.tick()
    # Both still last, and count from now on.
    begun = bench.bodies(Fault)[2:]
    assert [one.code for one in begun] == ["lens_blocked", "sound_silent"]
    assert {one.start_boottime_ns for one in begun} == {bench.clock.boottime_ns()}


def test_a_frozen_picture_ends_its_source_and_the_gap_says_why(bench: StreamBench) -> None:
    bench.stream.troubles.impairments = Impairments({"camera": 2 * S})
    camera, microphone = gathered(bench)
    play(bench, 2, camera, microphone)
    tell(bench, camera, "impaired", "picture_frozen", 1)
    play(bench, 1, camera, microphone)
    camera.far.socket.settimeout(5)
    while camera.far.socket.recv(65536):
        pass  # what was sent before; then the connection is at its end
    bench.stream.lost(camera.slot, "gone")
    assert bench.stream.troubles.impairments.lasting == []
    play(bench, 2, microphone)
    again = bench.connect("camera")
    again.far.begin()
    again.far.fragment(at=10)
    bench.take(again)
    end(bench, again, microphone)
    (gap,) = bench.bodies(Gap)
    assert (gap.cause, gap.tracks) == ("frozen", ["video"])
    assert faults(bench) == [("picture_frozen", False, 1), ("picture_frozen", True, 1)]
    assert bench.stream.troubles.cues == ["cue.picture.frozen"]


def test_what_a_source_saw_ends_with_the_source(bench: StreamBench) -> None:
    lines = gathered(bench)
    play(bench, 1, *lines)
    tell(bench, lines[0], "impaired", "lens_blocked")
    bench.clock.advance(1)
    bench.stream.lost(lines[0].slot, "gone")
    assert bench.stream.troubles.impairments.lasting == []
    bench.clock.advance(1)
    end(bench, lines[1])
    assert bench.bodies(Fault)[-1].length_ns == S


def test_a_recorder_that_starts_anew_is_told_what_lasts(bench: StreamBench) -> None:
    lines = gathered(bench)
    play(bench, 2, *lines)
    tell(bench, lines[0], "impaired", "lens_blocked", 1)
    began_ns = bench.clock.boottime_ns() - S
    bench.spool.close()
    bench.clock.advance(2)
    bench.start()
    line = bench.connect("camera")
    line.far.event(event="impaired", cause="lens_blocked", boottime_ns=began_ns)
    bench.take(line)
    bench.stream.tick()
    first, second = bench.bodies(Fault)
    # From the moment on at which the new one goes on: what was between is a gap.
    assert second.start_boottime_ns == bench.clock.boottime_ns()
    assert first.start_boottime_ns == began_ns


def test_a_source_that_looks_no_more_is_on_record_and_nobody_is_called(bench: StreamBench) -> None:
    lines = gathered(bench)
    tell(bench, lines[0], "unwatched", "unwatched", detail="the picture is not looked at any more")
    play(bench, 1, *lines)
    assert faults(bench) == [("unwatched", False, 1)]
    assert bench.stream.troubles.cues == []


def test_what_a_hostile_source_says_of_the_future_or_of_nonsense_does_no_harm(bench: StreamBench) -> None:
    lines = gathered(bench)
    play(bench, 1, *lines)
    tell(bench, lines[0], "impaired", "nonsense")
    tell(bench, lines[0], "unimpaired", "lens_blocked")
    tell(bench, lines[0], "impaired", "lens_blocked", -1e9)
    (begun,) = bench.bodies(Fault)
    assert begun.start_boottime_ns == bench.clock.boottime_ns()
    tell(bench, lines[0], "unimpaired", "lens_blocked", 50)
    end(bench, *lines)
    over = bench.bodies(Fault)[-1]
    assert over.length_ns == 0


def test_told_again_and_again_it_is_one_record(bench: StreamBench) -> None:
    lines = gathered(bench)
    for _ in range(20):
        play(bench, 0.5, lines[0])
        tell(bench, lines[1], "impaired", "sound_silent")
        tell(bench, lines[1], "unimpaired", "sound_silent")
    assert faults(bench) == [("sound_silent", False, 1)]
    assert bench.stream.troubles.cues == ["cue.sound.silent"]
    bench.clock.advance(61)
    bench.stream.tick()
    assert faults(bench) == [("sound_silent", False, 1), ("sound_silent", True, 20)]


@pytest.mark.rule("R1")
def test_sound_alone_does_not_suffer_from_what_an_idle_camera_sees(bench: StreamBench) -> None:
    camera, microphone = bench.connect("camera"), bench.connect("microphone")
    tell(bench, camera, "impaired", "lens_blocked")
    bench.stream.open_session(Open("command", mode="audio"))
    microphone.far.begin()
    bench.take(microphone)
    tell(bench, camera, "impaired", "picture_dark")
    tell(bench, microphone, "impaired", "sound_silent")
    bench.stream.tick()
    assert faults(bench) == [("sound_silent", False, 1)]
