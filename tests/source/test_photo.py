"""Photographs at the source: of frames that we encode, of a camera's key frames, and none where there is no picture."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import av
import pytest

from recorder.evidence.jpeg import size_px
from recorder.source import link
from recorder.source.errors import SourceError
from recorder.source.photo import encode
from tests.support.footage import footage
from tests.support.stamps import read

if TYPE_CHECKING:
    from tests.source.conftest import Device, FakeRecorder


def picture(jpeg: bytes) -> Any:
    with av.open(io.BytesIO(jpeg), format="mjpeg") as container:
        return next(container.decode(video=0))


@pytest.mark.rule("R1")
def test_a_photograph_of_our_own_frame_bears_the_stamp_and_no_frame_is_missing(
    device: Device, recorder: FakeRecorder
) -> None:
    device.configure(tracks=["video"], width_px=1280, height_px=720)
    device.spawn()
    recorder.accept()
    recorder.start(("video",))
    recorder.until(lambda: len(recorder.fragments) >= 2)
    for number in (7, 8):
        recorder.send(link.Take(number=number))
    recorder.until(lambda: len(recorder.photos) == 2)
    recorder.until(lambda: len(recorder.fragments) >= 6)
    assert sorted(one.number for one, _ in recorder.photos) == [7, 8]
    for message, jpeg in recorder.photos:
        assert size_px(jpeg) == (1280, 720)
        stamped = read(picture(jpeg).reformat(format="yuv420p"))
        assert stamped is not None
        assert stamped[1] == "test-1"
        assert message.taken_boottime_ns > recorder.zero_ns
    assert recorder.total("video", "holes") == 0
    assert recorder.total("video", "written") == recorder.total("video", "expected")


@pytest.mark.rule("R1")
def test_of_a_camera_that_encodes_itself_the_next_key_frame(device: Device, recorder: FakeRecorder) -> None:
    film = footage("plain")
    device.configure(kind="input", url=str(film), tracks=["video"], options={"loop": "yes"})
    device.spawn()
    recorder.accept()
    recorder.send(link.Welcome())  # nothing is being recorded
    recorder.send(link.Take(number=3))
    recorder.until(lambda: recorder.photos or recorder.not_taken)
    if recorder.not_taken:  # it was asked before the camera was open
        recorder.send(link.Take(number=3))
        recorder.until(lambda: recorder.photos)
    jpeg = recorder.photos[0][1]
    with av.open(str(film)) as container:
        stream = container.streams.video[0]
        assert size_px(jpeg) == (stream.width, stream.height)
    assert read(picture(jpeg).reformat(format="yuv420p")) is None


def test_a_microphone_takes_none(device: Device, recorder: FakeRecorder) -> None:
    device.configure(tracks=["audio"])
    device.spawn()
    recorder.accept()
    recorder.start(("audio",))
    recorder.send(link.Take(number=1))
    recorder.until(lambda: recorder.not_taken)
    assert recorder.not_taken[0].number == 1


def test_more_than_a_few_at_once_are_refused(device: Device, recorder: FakeRecorder) -> None:
    device.configure(tracks=["video"], frames_per_second=1)
    device.spawn()
    recorder.accept()
    recorder.start(("video",))
    recorder.until(lambda: recorder.inits)
    for number in range(12):
        recorder.send(link.Take(number=number))
    recorder.until(lambda: len(recorder.photos) + len(recorder.not_taken) == 12, 40)
    assert recorder.not_taken
    assert recorder.photos


def test_a_photograph_is_coded_until_it_is_small_enough() -> None:
    frame = av.VideoFrame(640, 480, "yuvj420p")
    for plane in frame.planes:
        plane.update(bytes(value * 7919 % 251 for value in range(plane.buffer_size)))
    best = len(encode(frame))
    assert len(encode(frame, best - 1)) < best
    with pytest.raises(SourceError, match="does not fit"):
        encode(frame, 1000)
