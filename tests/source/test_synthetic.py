from __future__ import annotations

import io
import itertools
from typing import TYPE_CHECKING

import av

from recorder.config import SourceSection
from recorder.source.driver import Format, Sample, boottime_ns
from recorder.source.encode import VideoEncoder
from recorder.source.initsegment import init_segment
from recorder.source.mux import Muxer
from recorder.source.nal import split_annex_b, split_length_prefixed
from recorder.source.picamera import HardwarePackets, planar_frame, sensor_time_ns
from recorder.source.synthetic import Picture, read_number
from tests.support.sync import measure_sync

if TYPE_CHECKING:
    from pathlib import Path

    from tests.source.conftest import Device, FakeRecorder

WIDTH, HEIGHT = 640, 360


def _numbers(film: bytes) -> list[int | None]:
    with av.open(io.BytesIO(film)) as container:
        return [
            read_number(bytes(frame.planes[0])[(HEIGHT - 4) * frame.planes[0].line_size :][:WIDTH], WIDTH)
            for frame in container.decode(video=0)
        ]


def test_numbers_flashes_and_tones(device: Device, recorder: FakeRecorder, tmp_path: Path) -> None:
    device.configure(width_px=WIDTH, height_px=HEIGHT)
    device.spawn()
    recorder.accept()
    recorder.start()
    recorder.until(lambda: len(recorder.fragments) >= 16)
    numbers = _numbers(recorder.film())
    assert None not in numbers
    assert numbers == list(range(numbers[0] or 0, (numbers[0] or 0) + len(numbers)))
    # The number is the time: seconds since boot at 25 frames a second.
    shown_ns = recorder.zero_ns + round(recorder.samples(1)[0][0] * 1e9)
    assert abs(shown_ns - (numbers[0] or 0) * 40_000_000) < 100_000
    keys = [at for at, _, key in recorder.samples(1) if key]
    assert all(abs(after - before - 2) < 0.05 for before, after in itertools.pairwise(keys))
    film = tmp_path / "film.mp4"
    film.write_bytes(recorder.film())
    pairs = measure_sync(film)
    assert len(pairs) >= 4
    assert max(abs(offset) for _, offset in pairs) < 40


def test_the_measure_of_sync_sees_a_shift(device: Device, recorder: FakeRecorder, tmp_path: Path) -> None:
    """The helper is only worth something if it finds a wrong offset: sound moved by 100 ms."""
    device.configure(width_px=WIDTH, height_px=HEIGHT)
    device.spawn()
    recorder.accept()
    recorder.start()
    recorder.until(lambda: len(recorder.fragments) >= 12)
    film = tmp_path / "shifted.mp4"
    with av.open(io.BytesIO(recorder.film())) as given, av.open(str(film), "w") as made:
        streams = {one.index: made.add_stream_from_template(one, opaque=True) for one in given.streams}
        for packet in given.demux():
            if packet.dts is None or packet.pts is None or packet.time_base is None:
                continue
            if packet.stream.type == "audio":
                packet.pts += round(0.1 / packet.time_base)
                packet.dts += round(0.1 / packet.time_base)
            packet.stream = streams[packet.stream.index]
            made.mux(packet)
    offsets = [offset for _, offset in measure_sync(film)]
    assert offsets
    assert all(60 < offset < 140 for offset in offsets)


class _Sink:
    def __init__(self) -> None:
        self.given: dict[str, Format] = {}
        self.samples: list[Sample] = []

    def formats(self, formats: dict[str, Format]) -> None:
        self.given = formats

    def put(self, sample: Sample) -> None:
        self.samples.append(sample)

    def event(self, event: str, tracks: list[str], cause: str, detail: str, count: int = 1) -> None:
        raise AssertionError((event, tracks, cause, detail, count))

    def stopping(self) -> bool:
        return False

    def key_frame_wanted(self) -> bool:
        return False

    def wait(self, seconds: float) -> None:
        del seconds


def _access_units(count: int, key_every: int) -> list[tuple[bytes, bool]]:
    """What a hardware encoder gives: Annex B, with parameter sets before each key frame."""
    encoder, picture = VideoEncoder(WIDTH, HEIGHT, 25, 1_000_000), Picture(WIDTH, HEIGHT)
    sets = split_annex_b(bytes(encoder.format.template.codec_context.extradata))
    units = []
    for number in range(count):
        for sample in encoder.encode(picture.draw(number, 0), number * 3600, key=number % key_every == 0):
            nals = (sets if sample.key else []) + split_length_prefixed(sample.data)
            units.append((b"".join(b"\x00\x00\x00\x01" + one for one in nals), sample.key))
    return units


def test_packets_of_a_hardware_encoder_become_a_film() -> None:
    section = SourceSection(kind="picamera2", tracks=["video"], encoder="hardware", key_frame_interval_s=1.0)
    sink = _Sink()
    packets = HardwarePackets(section, sink)
    units = list(_access_units(40, 30))
    start_us = boottime_ns() // 1000 - 1_900_000  # what was taken long ago is not believed
    asked = []
    for index, (data, key) in enumerate(units):
        if packets.put(data, start_us + index * 40_000, keyframe=key):
            asked.append(index)
    assert asked == [25]  # a second after the key frame
    assert all(one.sensor_ns == (start_us + index * 40_000) * 1000 for index, one in enumerate(sink.samples))
    muxer = Muxer(sink.given, {"video": 1}, (start_us - 1000) * 1000)
    pieces = [piece for sample in sink.samples for piece in muxer.put(sample)] + muxer.finish()
    film = init_segment(sink.given, {"video": 1}) + b"".join(piece.data for piece in pieces)
    assert _numbers(film) == list(range(40))


def test_hardware_packets_before_a_key_frame_ask_for_one() -> None:
    section = SourceSection(kind="picamera2", tracks=["video"], encoder="hardware")
    sink = _Sink()
    packets = HardwarePackets(section, sink)
    (_, _), (data, key) = _access_units(2, 10)
    assert packets.put(data, 0, keyframe=key)
    assert sink.samples == []


def test_camera_buffers_with_wider_lines() -> None:
    width, height, stride = 60, 4, 64
    luma = b"".join(bytes([row]) * width + bytes([255]) * (stride - width) for row in range(height))
    chroma = bytes([128]) * (stride // 2 * height // 2)
    frame = planar_frame(memoryview(luma + chroma * 2), "YUV420", (width, height), stride)
    lines = frame.planes[0].line_size
    data = bytes(frame.planes[0])
    assert [data[row * lines : row * lines + width] for row in range(height)] == [
        bytes([row]) * width for row in range(height)
    ]
    interleaved = planar_frame(memoryview(luma + chroma * 2), "NV12", (width, height), stride)
    assert interleaved.format.name == "yuv420p"


def test_sensor_times_that_cannot_be_are_not_believed() -> None:
    assert sensor_time_ns(99, 100) == 99
    assert sensor_time_ns(101, 100) == 100
    assert sensor_time_ns(1, 10_000_000_000) == 10_000_000_000
