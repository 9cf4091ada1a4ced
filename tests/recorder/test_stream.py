"""A stream with sources that come late, die early or lie: nothing that was recorded is lost, every hole is signed."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest

from recorder.control import RefusedError
from recorder.evidence.records import Chunk, Gap, SessionClose, SessionOpen
from recorder.peers import PeerLostError
from recorder.session import Open
from recorder.source import link
from recorder.source.link import Counts
from tests.support.spools import Site, make_site
from tests.support.stream_bench import StreamBench

if TYPE_CHECKING:
    from pathlib import Path

S = 1_000_000_000


@pytest.fixture
def bench(tmp_path: Path) -> StreamBench:
    return StreamBench(make_site(tmp_path / "site"))


def gathered(bench: StreamBench) -> tuple:
    """Both sources connected, started and with their init segments."""
    camera, microphone = bench.connect("camera"), bench.connect("microphone")
    bench.stream.open_session(Open("command"))
    for line in (camera, microphone):
        line.far.begin()
        bench.take(line)
    return camera, microphone


def play(bench: StreamBench, seconds: float, *lines: object) -> None:
    """Let the sources deliver as time passes."""
    for _ in range(round(2 * seconds)):
        bench.clock.advance(0.5)
        for line in lines:
            line.far.fragment()  # type: ignore[attr-defined]
            bench.take(line)  # type: ignore[arg-type]
        bench.stream.tick()


def end(bench: StreamBench, *lines: object) -> None:
    bench.stream.end("done", "command")
    for line in lines:
        line.far.ended()  # type: ignore[attr-defined]
        bench.take(line)  # type: ignore[arg-type]


def test_both_tracks_are_recorded_and_closed(bench: StreamBench) -> None:
    lines = gathered(bench)
    play(bench, 4, *lines)
    end(bench, *lines)
    assert bench.stream.session is None
    (close,) = bench.bodies(SessionClose)
    assert close.chunks == len(bench.bodies(Chunk)) == 2
    assert bench.bodies(Gap) == []


# -- starting and ending ----------------------------------------------------------------------------------------------


def test_a_stop_before_the_first_fragment_still_gets_what_the_source_holds(bench: StreamBench) -> None:
    camera, microphone = bench.connect("camera"), bench.connect("microphone")
    bench.stream.open_session(Open("command"))
    bench.clock.advance(0.4)
    bench.stream.end("done", "command")
    for line in (camera, microphone):
        line.far.begin()
        line.far.fragment()
        line.far.ended()
        bench.take(line)
    assert bench.stream.session is None
    (chunk,) = bench.bodies(Chunk)
    assert set(chunk.tracks) == {"video", "audio"}


def test_a_source_that_does_not_answer_the_stop_is_waited_for_only_so_long(bench: StreamBench) -> None:
    bench.connect("camera")
    bench.stream.open_session(Open("command"))
    bench.stream.end("done", "command")
    bench.clock.advance(3.1)
    bench.stream.tick()
    assert bench.stream.session is None


def test_a_start_while_the_last_session_is_ending_begins_a_new_one(bench: StreamBench) -> None:
    camera, microphone = gathered(bench)
    play(bench, 2, camera, microphone)
    first = bench.stream.session.id
    bench.stream.end("done", "command")
    second = bench.stream.open_session(Open("command"))
    assert second != first
    with pytest.raises(RefusedError):
        bench.stream.open_session(Open("command"))
    for line in (camera, microphone):
        line.far.fragment()
        line.far.ended()
        bench.take(line)
    assert bench.stream.session is not None
    assert bench.stream.session.id == second
    assert [body.trigger for body in bench.bodies(SessionOpen)] == ["command", "command"]
    # What is still sent of the old session has no part in the new one.
    camera.far.fragment()
    bench.take(camera)
    assert bench.stream.session.file is None
    for line in (camera, microphone):
        line.far.begin()
        bench.take(line)
    camera.far.fragment()
    bench.take(camera)
    assert bench.stream.session.file is not None


def test_a_start_that_was_ended_before_it_could_begin_is_on_record_all_the_same(bench: StreamBench) -> None:
    lines = gathered(bench)
    play(bench, 2, *lines)
    bench.stream.end("done", "command")
    bench.stream.open_session(Open("command"))
    bench.stream.end("battery", "device")
    for line in lines:
        line.far.ended()
        bench.take(line)
    bench.clock.advance(3.1)
    bench.stream.tick()
    assert bench.stream.session is None
    assert [body.reason for body in bench.bodies(SessionClose)] == ["done", "battery"]
    assert len(bench.bodies(SessionOpen)) == 2


# -- gathering --------------------------------------------------------------------------------------------------------


def test_sound_alone_is_recorded_within_the_gather_time(bench: StreamBench) -> None:
    microphone = bench.connect("microphone")
    bench.stream.open_session(Open("command"))
    microphone.far.begin()
    bench.take(microphone)
    play(bench, 2.5, microphone)
    assert microphone.far.expect(link.Ack).number == 0
    play(bench, 1.5, microphone)
    end(bench, microphone)
    chunks = bench.bodies(Chunk)
    assert sum(chunk.fragments for chunk in chunks) == 8
    (gap,) = [gap for gap in bench.bodies(Gap) if gap.end_boottime_ns is not None]
    assert gap.tracks == ["video"]


def test_a_source_that_dies_while_the_others_are_awaited_loses_nothing(bench: StreamBench) -> None:
    camera = bench.connect("camera")
    bench.stream.open_session(Open("command"))
    camera.far.begin()
    for _ in range(2):
        bench.clock.advance(0.5)
        camera.far.fragment()
    bench.take(camera)
    camera.far.close()
    bench.stream.lost(camera.slot, "gone")
    again = bench.connect("camera")
    again.far.begin()
    again.far.fragment(at=3)
    bench.take(again)
    bench.clock.advance(2)
    bench.stream.tick()
    again.far.send(link.Event(event="waiting", tracks=["video"], cause="camera", boottime_ns=1))
    bench.take(again)  # its connection still stands
    end(bench, again)
    assert sum(chunk.fragments for chunk in bench.bodies(Chunk)) == 3


def test_what_waits_while_gathering_is_bounded(bench: StreamBench) -> None:
    camera = bench.connect("camera")
    bench.stream.open_session(Open("command"))
    camera.far.begin()
    bench.take(camera)
    # One large and false fragment after another, faster than time.
    payload = bytes(8 << 20)
    held = 0
    for number in range(12):
        message = link.Fragment(
            instance=camera.far.instance, number=number, key=True, tracks={"video": Counts(received=1)}
        )
        with contextlib.suppress(PeerLostError):  # once it is looked at, it is refused
            bench.stream.received(camera.slot, message, payload)
        held = max(held, sum(len(one) for _, _, one in bench.stream.session.pending))
    assert 0 < held <= 40 << 20


# -- sources that lie or are mistaken ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "counts",
    [
        Counts(received=1, discarded={f"{number}" + "x" * 500: 1 for number in range(30)}),
        Counts(received=(1 << 63) - 1, holes=(1 << 63) - 1, holes_ns=(1 << 63) - 1),
        Counts(received=1, discarded={"理由" * 400: (1 << 63) - 1}),
        Counts(received=1, peak_millibels=-(1 << 62), expected=(1 << 63) - 1),
    ],
)
def test_counts_beyond_reason_do_not_end_the_recorder(bench: StreamBench, counts: Counts) -> None:
    camera, microphone = gathered(bench)
    for _ in range(8):
        bench.clock.advance(0.5)
        camera.far.fragment(counts)
        microphone.far.fragment()
        bench.take_and_lose(camera)
        bench.take(microphone)
    end(bench, microphone)
    bench.clock.advance(4)
    bench.stream.tick()
    assert bench.stream.session is None
    assert all(record.problem is None for record in bench.records())
    assert sum("audio" in chunk.tracks for chunk in bench.bodies(Chunk)) >= 1


def test_many_reasons_in_many_fragments_do_not_end_the_recorder(bench: StreamBench) -> None:
    camera, microphone = gathered(bench)
    for number in range(20):
        bench.clock.advance(0.5)
        camera.far.fragment(Counts(received=2, discarded={f"reason-{number}-{index}": 1 for index in range(31)}))
        microphone.far.fragment()
        bench.take(camera, microphone)
    end(bench, camera, microphone)
    chunks = bench.bodies(Chunk)
    assert sum(sum(chunk.tracks["video"].frames_discarded.values()) for chunk in chunks) == 20 * 31


def test_an_event_with_too_much_to_say_is_cut(bench: StreamBench) -> None:
    camera, microphone = gathered(bench)
    play(bench, 2, camera, microphone)
    camera.far.event(cause="原因" * 500, detail="字" * 1000)
    bench.take(camera)
    camera.far.number += 4
    bench.clock.advance(2)
    play(bench, 1, camera)
    bench.clock.advance(4)
    bench.stream.tick()
    gaps = bench.bodies(Gap)
    assert gaps
    assert all(record.problem is None for record in bench.records())


def test_a_camera_cannot_speak_for_the_sound(bench: StreamBench) -> None:
    camera = bench.connect("camera")
    microphone = bench.connect("microphone")
    bench.stream.open_session(Open("command"))
    camera.far.session = camera.far.expect(link.Start).session
    camera.far.init, camera.far.fragments = microphone.far.init, microphone.far.fragments
    camera.far.send_init()
    assert bench.take_and_lose(camera) is not None
    microphone.far.begin()
    bench.take(microphone)
    play(bench, 3, microphone)
    end(bench, microphone)
    assert sum(chunk.fragments for chunk in bench.bodies(Chunk)) == 6


def test_a_fragment_from_the_future_is_refused(bench: StreamBench) -> None:
    camera, microphone = gathered(bench)
    play(bench, 1, camera, microphone)
    camera.far.fragments = camera.far.fragments[:2] + _moved(camera.far.fragments[2], 400 * 24 * 3600)
    camera.far.fragment()
    assert bench.take_and_lose(camera) is not None
    again = bench.connect("camera")
    again.far.begin()
    again.far.number = 3
    again.far.fragment()
    bench.clock.advance(1)
    bench.take(again)
    assert again.far.expect(link.Ack).number == 3


def _moved(fragment: bytes, seconds: int) -> tuple[bytes]:
    at = fragment.index(b"tfdt")
    assert fragment[at + 4] == 1
    decode = int.from_bytes(fragment[at + 8 : at + 16], "big") + seconds * 90000
    return (fragment[: at + 8] + decode.to_bytes(8, "big") + fragment[at + 16 :],)


def test_a_second_connection_of_a_source_that_lives_is_refused(bench: StreamBench) -> None:
    camera, microphone = gathered(bench)
    play(bench, 2, camera, microphone)
    with pytest.raises(PeerLostError, match="connected already"):
        bench.connect("camera")
    play(bench, 1, camera, microphone)
    camera.far.close()
    again = bench.connect("camera")
    again.far.begin()
    again.far.fragment(at=7)
    bench.clock.advance(1)
    bench.take(again)
    assert bench.stream.slots["camera"].peer is again.peer
    assert again.far.expect(link.Ack).number == 0


# -- holes ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dead_s", [3, 30])
def test_both_sources_dead_at_the_end_is_a_signed_gap(bench: StreamBench, dead_s: int) -> None:
    camera, microphone = gathered(bench)
    play(bench, 4, camera, microphone)
    for line in (camera, microphone):
        bench.stream.lost(line.slot, "gone")
    for _ in range(dead_s):
        bench.clock.advance(1)
        bench.stream.tick()
    bench.stream.end("done", "command")
    bench.clock.advance(4)
    bench.stream.tick()
    assert bench.stream.session is None
    ended = [gap for gap in bench.bodies(Gap) if gap.end_boottime_ns is not None]
    assert {track for gap in ended for track in gap.tracks} == {"video", "audio"}
    assert all(abs(gap.length_min_ns - dead_s * S) < 0.6 * S for gap in ended)


def test_no_source_at_all_is_a_signed_gap(bench: StreamBench) -> None:
    bench.stream.open_session(Open("command"))
    for _ in range(10):
        bench.clock.advance(1)
        bench.stream.tick()
    bench.stream.end("done", "command")
    assert bench.stream.session is None
    ended = [gap for gap in bench.bodies(Gap) if gap.end_boottime_ns is not None]
    assert [(gap.tracks, gap.length_min_ns) for gap in ended] == [(["video", "audio"], 10 * S)]


# -- restarts ---------------------------------------------------------------------------------------------------------


def test_the_gap_of_a_power_loss_begins_on_the_clock_of_the_boot_before(bench: StreamBench) -> None:
    lines = gathered(bench)
    play(bench, 4, *lines)
    end_ns = bench.stream.session.end_boottime_ns
    before = bench.clock.boot
    bench.spool.close()
    bench.clock.reboot()
    bench.clock.utc_ns += 60 * S
    bench.start()
    assert bench.stream.session is not None
    camera = bench.connect("camera")
    camera.far.begin()
    bench.stream.tick()
    bench.clock.advance(2.5)
    camera.far.fragments = _moved(camera.far.fragments[0], 68)
    camera.far.fragment()
    bench.take(camera)
    bench.stream.tick()
    (gap,) = [gap for gap in bench.bodies(Gap) if gap.tracks == ["video"]]
    assert gap.cause == "power"
    assert gap.start_boot == before
    assert abs(gap.start_boottime_ns - end_ns) < S
    assert all(record.problem is None for record in bench.records())


def test_a_session_that_was_left_open_beside_a_newer_one_is_closed(tmp_path: Path) -> None:
    site: Site = make_site(tmp_path / "site")
    bench = StreamBench(site)
    bench.stream.open_session(Open("command"))
    bench.stream.session = None  # a program that forgot
    bench.stream.open_session(Open("command"))
    bench.spool.close()
    bench.start()
    assert [body.closed_by for body in bench.bodies(SessionClose)] == ["recovery"]
    assert len(bench.spool.open_sessions()) == 1


# -- sound alone -----------------------------------------------------------------------------------------------------


def asked(line: object) -> list[link.Start]:
    """What a source was told to begin."""
    return [one for one in line.far.told() if isinstance(one, link.Start)]  # type: ignore[attr-defined]


@pytest.mark.rule("R1")
def test_in_sound_only_no_camera_is_started_or_missed(bench: StreamBench) -> None:
    camera, microphone = bench.connect("camera"), bench.connect("microphone")
    bench.stream.open_session(Open("command", mode="audio"))
    assert bench.bodies(SessionOpen)[0].mode == "audio"
    assert [one.track_ids for one in asked(microphone)] == [{"audio": 2}]
    assert asked(camera) == []
    microphone.far.begin()
    bench.take(microphone)
    play(bench, 7, microphone)
    assert camera.slot.peer is camera.peer  # nobody expects it to say anything
    bench.stream.lost(camera.slot, "unplugged")
    play(bench, 4, microphone)
    again = bench.connect("camera")
    assert asked(again) == []
    end(bench, microphone)
    assert bench.stream.session is None
    assert bench.bodies(Gap) == []
    assert {track for chunk in bench.bodies(Chunk) for track in chunk.tracks} == {"audio"}


@pytest.mark.rule("R1")
def test_in_sound_only_missing_sound_is_a_gap_of_sound(bench: StreamBench) -> None:
    bench.connect("camera")
    bench.stream.open_session(Open("command", mode="audio"))
    play(bench, 8)
    bench.stream.end("done", "command")
    assert {tuple(gap.tracks) for gap in bench.bodies(Gap)} == {("audio",)}


@pytest.mark.rule("R1")
def test_sound_only_stays_so_after_a_crash(bench: StreamBench) -> None:
    microphone = bench.connect("microphone")
    bench.stream.open_session(Open("command", mode="audio"))
    microphone.far.begin()
    bench.take(microphone)
    play(bench, 4, microphone)
    bench.spool.close()
    bench.start()
    assert bench.stream.mode == "audio"
    camera, microphone = bench.connect("camera"), bench.connect("microphone")
    assert asked(camera) == []
    assert [one.track_ids for one in asked(microphone)] == [{"audio": 2}]
    bench.stream.end("done", "command")
    bench.clock.advance(4)
    bench.stream.tick()
    assert bench.stream.mode == "video"
