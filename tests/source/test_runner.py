from __future__ import annotations

import itertools
import signal
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from recorder.evidence.boxes import parse_fragment
from recorder.source import link
from recorder.source.runner import EXIT_FAILED

if TYPE_CHECKING:
    from tests.source.conftest import Device, FakeRecorder

SMALL = {"width_px": 320, "height_px": 240, "frames_per_second": 25, "audio_rate_hz": 16_000}


def _numbers(recorder: FakeRecorder) -> list[int]:
    return [message.number for message, _, _ in recorder.fragments]


def test_from_hello_to_ended(device: Device, recorder: FakeRecorder) -> None:
    device.configure(**SMALL)
    process = device.spawn()
    hello = recorder.accept()
    assert (hello.stream, hello.source, hello.tracks) == ("one", "camera", ["video", "audio"])
    assert hello.pid == process.pid
    recorder.start()
    recorder.until(lambda: len(recorder.fragments) >= 8)
    recorder.send(link.Stop(session=recorder.session))
    recorder.until(lambda: recorder.ended)
    assert recorder.ended[0].next == len(recorder.fragments)
    assert _numbers(recorder) == list(range(len(recorder.fragments)))
    assert recorder.fragments[0][0].key
    for message, payload, received_ns in recorder.fragments:
        runs = parse_fragment(payload, recorder.tracks)
        for run in runs:
            track = "video" if run.track_id == 1 else "audio"
            scale = recorder.tracks[run.track_id].timescale
            assert run.end_decode - run.first_decode <= scale // 2
            assert message.tracks[track].written == len(run.samples)
        newest_ns = max(message.tracks[name].arrival_last_ns or 0 for name in message.tracks)
        assert received_ns - newest_ns < 300_000_000
    for track in ("video", "audio"):
        written = recorder.total(track, "written")
        assert recorder.total(track, "received") == written + sum(recorder.discarded(track).values())
    assert recorder.total("video", "expected") == recorder.total("video", "received")
    # Another session, without a new process: times count from its own zero, and it begins soon, since keys are made
    # when asked for.
    count = len(recorder.fragments)
    recorder.zero_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    recorder.session = bytes(16)
    recorder.begin()
    recorder.until(lambda: len(recorder.fragments) > count)
    assert recorder.inits[-1][0].session == bytes(16)
    assert recorder.fragments[count][0].number == 0
    assert recorder.samples(1, recorder.inits[-1][0].instance)[0][0] < 0.5
    process.send_signal(signal.SIGTERM)
    recorder.until_gone()
    assert process.wait(10) == 0


def test_goes_on_after_the_recorder_was_killed(device: Device, recorder: FakeRecorder) -> None:
    device.configure(**SMALL)
    device.spawn()
    recorder.accept()
    recorder.start()
    recorder.until(lambda: len(recorder.fragments) >= 3)
    recorder.acknowledge = False
    held = len(recorder.fragments)
    recorder.until(lambda: len(recorder.fragments) >= held + 3)
    recorder.vanish()
    # What came after the last acknowledgement is lost with this recorder.
    del recorder.fragments[held:]
    recorder.acknowledge = True
    recorder.listen()
    hello = recorder.accept()
    assert hello.instance == recorder.inits[0][0].instance
    assert hello.session == recorder.session
    assert hello.oldest == held
    recorder.send(link.Welcome(instance=hello.instance, next=held))
    recorder.until(lambda: len(recorder.fragments) >= held + 6)
    assert _numbers(recorder) == list(range(len(recorder.fragments)))
    assert recorder.inits[1][1] == recorder.inits[0][1]
    runs = [run for run, _ in recorder.runs(1)]
    assert all(after.first_decode == before.end_decode for before, after in itertools.pairwise(runs))
    assert recorder.total("video", "expected") == recorder.total("video", "received")


def test_what_the_recorder_does_not_want_is_thrown_away(device: Device, recorder: FakeRecorder) -> None:
    device.configure(**SMALL)
    device.spawn()
    recorder.accept()
    recorder.start()
    recorder.until(lambda: recorder.fragments)
    recorder.vanish()
    recorder.listen()
    recorder.accept()
    recorder.fragments.clear()
    recorder.zero_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    recorder.start()
    recorder.until(lambda: recorder.fragments)
    assert recorder.fragments[0][0].number == 0
    assert recorder.inits[-1][0].instance != recorder.inits[0][0].instance
    assert min(recorder.samples(1))[0] >= 0


def test_a_second_process_is_kept_out(device: Device, recorder: FakeRecorder) -> None:
    device.configure(**SMALL)
    device.spawn()
    recorder.accept()
    second = device.spawn()
    assert second.wait(20) == 64
    assert second.stderr is not None
    assert b"running already" in second.stderr.read()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"kind": "telepathy"}, "telepathy"),
        ({"kind": "input"}, "url"),
        ({"tracks": ["smell"]}, "tracks"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_a_wrong_configuration_is_one_sentence(device: Device, settings: dict[str, object], words: str) -> None:
    device.configure(**settings)
    process = device.spawn()
    assert process.wait(20) == 64
    assert process.stderr is not None
    lines = process.stderr.read().decode().splitlines()
    assert len(lines) == 1
    assert words in lines[0]


def test_a_stopped_device_thread_is_seen_and_the_process_ends(device: Device, recorder: FakeRecorder) -> None:
    """A named pipe that nobody writes to: the driver's thread hangs in open(2), which no timeout of libav ends."""
    pipe = device.folder / "pipe.mp4"
    subprocess.run(["mkfifo", str(pipe)], check=True)
    device.configure(kind="input", url=str(pipe), stall_after_s=1.0, tracks=["video"])
    process = device.spawn()
    recorder.accept()
    recorder.start(("video",))
    recorder.until_gone(10)
    assert process.wait(10) == EXIT_FAILED
    assert [(one.event, one.cause) for one in recorder.events] == [("stalled", "camera")]


def test_a_probe_counts_what_comes_and_keeps_nothing(device: Device, recorder: FakeRecorder) -> None:
    device.configure(**SMALL)
    device.spawn()
    recorder.accept()
    recorder.send(link.Welcome())
    recorder.send(link.Probe(number=7, length_ms=1500))
    recorder.until(lambda: recorder.probed)
    (answer,) = recorder.probed
    assert answer.number == 7
    assert answer.frames["video"] >= 25
    assert answer.frames["audio"] >= 12
    assert answer.peak_millibels is not None
    assert answer.peak_millibels <= 0
    assert not recorder.inits
    assert not recorder.fragments
