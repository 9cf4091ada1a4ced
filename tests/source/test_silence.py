"""A camera whose sound passes through, and is silence: heard by its source, and told to each recorder that connects."""

from __future__ import annotations

import math
import subprocess
from typing import TYPE_CHECKING, Any

import av
import pytest

from recorder.source.loudness import FAILURES, Loudness, LoudnessGivenUpError
from tests.support.footage import clip, footage

if TYPE_CHECKING:
    from pathlib import Path

    from tests.source.conftest import Device, FakeRecorder


@pytest.fixture
def mute(tmp_path: Path) -> Path:
    """A film of which the sound is digital silence."""
    film = tmp_path / "mute.mp4"
    sound = ("-f", "lavfi", "-i", "anullsrc=r=48000:cl=mono")
    command = ["ffmpeg", "-v", "error", "-nostdin", "-t", "20", "-i", str(clip()), *sound, "-t", "20"]
    command += ["-c:v", "libx264", "-preset", "ultrafast", "-g", "20", "-c:a", "aac", str(film)]
    subprocess.run(command, check=True, timeout=120)
    return film


def test_silence_is_told_and_told_again_to_a_recorder_that_connects_anew(
    device: Device, recorder: FakeRecorder, mute: Path
) -> None:
    device.configure(kind="input", url=str(mute), options={"loop": "yes"})
    device.spawn()
    recorder.accept()
    recorder.start()
    recorder.until(lambda: any(one.cause == "sound_silent" for one in recorder.events))
    first = recorder.events[-1]
    assert (first.event, first.tracks) == ("impaired", ["audio"])
    recorder.vanish()
    recorder.events.clear()
    recorder.listen()
    recorder.accept()
    recorder.start()
    recorder.until(lambda: any(one.cause == "sound_silent" for one in recorder.events))
    assert first in recorder.events


def test_the_loudness_of_sound_that_passes_through_is_what_a_decoder_gives() -> None:
    with av.open(str(footage("plain", 12))) as container:
        stream = container.streams.audio[0]
        parameters = bytes(stream.codec_context.extradata or b"")
        packets = [bytes(packet) for packet in container.demux(stream) if packet.size]
    whole = av.CodecContext.create("aac", "r")
    whole.extradata = parameters
    known = [_peak(frame) for data in packets for frame in whole.decode(av.Packet(data))]
    loudness = Loudness(parameters)
    peaks = [loudness.peak(data) for data in packets]
    assert [at % 48 for at, peak in enumerate(peaks) if peak is not None][:4] == [2, 3, 2, 3]
    # The coding itself makes single frames wrong by much; what is measured is what a player plays.
    assert all(peak is None or math.isclose(peak, at, abs_tol=0.001) for peak, at in zip(peaks, known, strict=False))


def _peak(frame: Any) -> float:
    return max(abs(value) for value in memoryview(frame.planes[0]).cast("f")[: frame.samples])


def test_sound_that_cannot_be_decoded_is_given_up() -> None:
    loudness = Loudness(b"\x11\x88")

    def listen() -> None:
        for _ in range(48 * FAILURES):
            loudness.peak(b"\xff\xff nothing of AAC")

    with pytest.raises(LoudnessGivenUpError):
        listen()
