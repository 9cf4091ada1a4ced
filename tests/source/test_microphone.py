from __future__ import annotations

import io
import itertools
import struct
import time
import wave
from typing import TYPE_CHECKING

import av
import pytest

from recorder.source import link, listen
from recorder.source.runner import EXIT_FAILED
from recorder.source.synthetic import TONE_HZ
from tests.support.babble import babble, pcm
from tests.support.pulse import PulseServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.source.conftest import Device, FakeRecorder

RATE = 16_000


@pytest.fixture
def room(tmp_path: Path) -> Iterator[PulseServer]:
    with PulseServer(tmp_path) as server:
        yield server


def _beep(path: Path) -> Path:
    """Half a second of silence, half a second of tone."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        period = RATE // TONE_HZ
        tone = [12_000 if index % period < period // 2 else -12_000 for index in range(RATE // 2)]
        file.writeframes(struct.pack(f"<{RATE}h", *([0] * (RATE // 2)), *tone))
    return path


def test_what_is_played_is_recorded_at_its_time(
    device: Device, recorder: FakeRecorder, room: PulseServer, tmp_path: Path
) -> None:
    device.configure(kind="pyaudio", tracks=["audio"], audio_rate_hz=RATE)
    device.environment = room.environment
    device.spawn()
    recorder.accept()
    recorder.start(("audio",))
    recorder.until(lambda: len(recorder.fragments) >= 4)
    played_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    player = room.play(_beep(tmp_path / "beep.wav"))
    count = len(recorder.fragments)
    recorder.until(lambda: len(recorder.fragments) >= count + 6)
    player.wait(10)
    with av.open(io.BytesIO(recorder.film())) as film:
        loud = [
            frame.time
            for frame in film.decode(audio=0)
            if frame.time is not None and max(memoryview(frame.planes[0]).cast("B").cast("f")) > 0.1
        ]
    heard_ns = recorder.zero_ns + round(loud[0] * 1e9)
    # Half a second of silence first; a player needs some time to begin, and never begins before it was told to.
    assert 400_000_000 < heard_ns - played_ns < 1_500_000_000
    assert 0.4 < loud[-1] - loud[0] < 0.6
    peaks = [message.tracks["audio"].peak_millibels or 0 for message, _, _ in recorder.fragments]
    assert min(peaks) < -6000
    assert -1200 < max(peaks) < -600
    runs = [run for run, _ in recorder.runs(2)]
    steps = [after.first_decode - before.end_decode for before, after in itertools.pairwise(runs)]
    assert all(abs(step) <= 2 for step in steps)
    written = recorder.total("audio", "written")
    # The newest frame may still be waiting for the next one, which tells how long it lasts.
    assert 0 <= recorder.total("audio", "received") - written - sum(recorder.discarded("audio").values()) <= 1
    arrived_ns = recorder.fragments[-1][0].tracks["audio"].arrival_last_ns or 0
    assert abs(recorder.zero_ns + runs[-1].end_decode * 1_000_000_000 // RATE - arrived_ns) < 500_000_000


def test_a_sound_server_that_dies_is_told(device: Device, recorder: FakeRecorder, room: PulseServer) -> None:
    device.configure(kind="pyaudio", tracks=["audio"], audio_rate_hz=RATE)
    device.environment = room.environment
    process = device.spawn()
    recorder.accept()
    recorder.start(("audio",))
    recorder.until(lambda: len(recorder.fragments) >= 2)
    room.stop()
    recorder.until_gone()
    assert process.wait(10) == EXIT_FAILED
    assert recorder.told()[-1][1:] == (["audio"], "microphone")
    assert recorder.ended


def test_a_microphone_that_is_not_there(device: Device, recorder: FakeRecorder, room: PulseServer) -> None:
    device.configure(kind="pyaudio", tracks=["audio"], device="no such thing")
    device.environment = room.environment
    process = device.spawn()
    recorder.accept()
    recorder.start(("audio",))
    recorder.until_gone()
    assert process.wait(10) == EXIT_FAILED
    assert recorder.told() == [("failed", ["audio"], "microphone")]


def test_it_hears_what_is_played_and_nothing_else(
    device: Device, recorder: FakeRecorder, room: PulseServer, tmp_path: Path
) -> None:
    device.configure(kind="pyaudio", tracks=["audio"], audio_rate_hz=RATE)
    device.environment = room.environment
    device.spawn()
    recorder.accept()
    recorder.start(("audio",))
    recorder.until(lambda: len(recorder.fragments) >= 4)
    sound = pcm(babble(1, 2.0))
    pattern = listen.pattern(sound, RATE).encode()
    wav = tmp_path / "spoken.wav"
    with wave.open(str(wav), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(sound)
    for number, played in enumerate((True, False)):
        now_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        player = room.play(wav) if played else None
        recorder.send(link.Listen(number=number, played_boottime_ns=now_ns), pattern)
        recorder.until(lambda number=number: len(recorder.heard) > number)  # type: ignore[misc]
        if player is not None:
            player.wait(10)
    heard, silent = recorder.heard
    assert (heard.number, heard.heard, heard.companion) == (0, True, False)
    assert heard.delay_ns is not None
    assert -200_000_000 <= heard.delay_ns < 2_000_000_000
    assert heard.score_permille > 500
    # The sound from before is recognised, at its own time.
    assert (silent.number, silent.heard, silent.companion) == (1, False, True)
    assert (silent.delay_ns or 0) < -1_000_000_000
