"""The stamp in the picture: read back from coded frames, through changes of the clock, on light and dark scenes."""

from __future__ import annotations

import io
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import av
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recorder.evidence import texts
from recorder.source import glyphs
from recorder.source.driver import VIDEO_TIMESCALE
from recorder.source.encode import VideoEncoder
from recorder.source.picamera import planes_of
from recorder.source.stamp import INK, PAPER, Stamp, box
from tests.support.pictures import export_session, keep_recording
from tests.support.session import stream_records
from tests.support.site import SYNTHETIC, Site
from tests.support.stamps import read

if TYPE_CHECKING:
    from pathlib import Path

DEVICE = "jqx-0418-klmvw"
UTC_NS = 1_790_000_000 * 10**9
"""2026-09-21 22:13:20 in Beijing."""
SECOND = 10**9


@dataclass
class Clock:
    """A clock that a test sets."""

    boottime_ns: int = 100 * SECOND
    utc_ns: int = UTC_NS
    quality: str = "synchronised"

    def now(self) -> Clock:
        return replace(self)

    def pass_ns(self, length_ns: int) -> int:
        self.boottime_ns += length_ns
        self.utc_ns += length_ns
        return self.boottime_ns


def scene(width: int, height: int, luma: int) -> Any:
    frame = av.VideoFrame(width, height, "yuv420p")
    frame.planes[0].update(bytes((luma + 3 * (at % 5)) % 256 for at in range(frame.planes[0].buffer_size)))
    for plane in frame.planes[1:]:
        plane.update(bytes([60]) * plane.buffer_size)
    return frame


def coded(encoder: VideoEncoder, frames: list[tuple[Any, int]]) -> list[Any]:
    """Code pictures taken at these boot-times, and decode them again."""
    decoder = av.CodecContext.create("h264", "r")
    decoder.extradata = encoder.format.template.codec_context.extradata
    found: list[Any] = []
    for index, (frame, at_ns) in enumerate(frames):
        for sample in encoder.encode(frame, at_ns * VIDEO_TIMESCALE // SECOND, key=index == 0):
            found += decoder.decode(av.Packet(b"".join(_annex_b(sample.data))))
    return found + decoder.decode(None)


def _annex_b(data: bytes) -> list[bytes]:
    units, at = [], 0
    while at < len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        units.append(b"\0\0\0\1" + data[at + 4 : at + 4 + size])
        at += 4 + size
    return units


@pytest.mark.rule("R1")
@pytest.mark.parametrize("size", [(640, 480), (1280, 720), (1920, 1080)])
@pytest.mark.parametrize("luma", [16, 128, 235])
def test_time_with_zone_and_device_are_legible_after_coding(size: tuple[int, int], luma: int) -> None:
    clock = Clock()
    encoder = VideoEncoder(*size, 25, 2_000_000, Stamp(DEVICE, "zh", clock))
    seen = [read(one) for one in coded(encoder, [(scene(*size, luma), clock.pass_ns(SECOND)) for _ in range(3)])]
    assert seen == [(f"2026-09-21 22:13:2{second} +08:00", DEVICE) for second in (1, 2, 3)]


@pytest.mark.rule("R1")
@pytest.mark.parametrize(("language", "words"), [("zh", "时间未校准"), ("en", "Time not set")])
def test_an_unset_clock_shows_no_time(language: str, words: str) -> None:
    clock = Clock(quality="unset")
    encoder = VideoEncoder(1280, 720, 25, 2_000_000, Stamp(DEVICE, language, clock))
    (frame,) = coded(encoder, [(scene(1280, 720, 235), clock.boottime_ns)])
    assert read(frame) == (words, DEVICE)


def test_the_time_is_that_of_the_picture_not_of_its_coding() -> None:
    assert Stamp(DEVICE, "zh", Clock()).words(97 * SECOND)[0] == "2026-09-21 22:13:17 +08:00"


def test_the_clock_is_set_during_a_session() -> None:
    clock = Clock(utc_ns=5 * SECOND, quality="unset")
    stamp = Stamp(DEVICE, "zh", clock)
    assert stamp.words(clock.boottime_ns)[0] == "时间未校准"
    clock.utc_ns, clock.quality = UTC_NS, "synchronised"
    assert stamp.words(clock.pass_ns(SECOND))[0] == "2026-09-21 22:13:21 +08:00"


def test_somebody_sets_the_clock_and_the_stamp_does_not_follow() -> None:
    clock = Clock()
    stamp = Stamp(DEVICE, "zh", clock)
    stamp.words(clock.boottime_ns)
    clock.utc_ns += 86_400 * SECOND  # the kernel then no longer calls its clock synchronised
    clock.quality = "holdover"
    assert stamp.words(clock.pass_ns(SECOND))[0] == "2026-09-21 22:13:21 +08:00 守时"
    clock.quality = "synchronised"  # a time service has moved it
    assert stamp.words(clock.pass_ns(SECOND))[0] == "2026-09-22 22:13:22 +08:00"


def test_a_time_out_of_all_years_is_no_time() -> None:
    assert Stamp(DEVICE, "zh", Clock(utc_ns=-(10**18))).words(0)[0] == "时间未校准"


def test_a_picture_that_the_decoder_still_needs_is_not_touched() -> None:
    """A camera's coded frames refer to those before: what we draw must not come back in them."""
    encoder = VideoEncoder(640, 480, 25, 2_000_000)
    stamp = Stamp(DEVICE, "zh", Clock())
    packets = [
        av.Packet(b"".join(_annex_b(sample.data)))
        for number in range(3)
        for sample in encoder.encode(scene(640, 480, 128), number * 3600, key=number == 0)
    ]
    decoder = av.CodecContext.create("h264", "r")
    decoder.extradata = encoder.format.template.codec_context.extradata
    for packet in packets:
        for frame in decoder.decode(packet):
            assert isinstance(frame, av.VideoFrame)
            assert read(frame) is None
            stamp.draw_frame(frame, 0)
            assert read(frame) is not None


def test_a_camera_buffer_with_wider_lines() -> None:
    """As the hardware encoder's buffers are: the box is drawn, and nothing beside it."""
    width, height, stride = 500, 300, 512
    buffer = bytearray([77]) * (stride * height * 3 // 2)
    Stamp(DEVICE, "zh", Clock()).draw(planes_of(memoryview(buffer), (width, height), stride), width, height, 0)
    rows = [bytes(buffer[row * stride : (row + 1) * stride]) for row in range(height)]
    drawn = box(Stamp(DEVICE, "zh", Clock()).words(0), width, height)
    edge = next(index for index, row in enumerate(rows) if set(row) != {77})
    assert [row[edge : edge + len(drawn[0])] for row in rows[edge : edge + len(drawn)]] == drawn
    assert all(set(row[:edge] + row[edge + len(drawn[0]) :]) == {77} for row in rows)
    assert set(buffer[stride * height :]) == {77, 128}


@given(
    width=st.integers(2, 4096).map(lambda value: value * 2),
    height=st.integers(2, 2200).map(lambda value: value * 2),
    device=st.text("abcdefghijklmnopqrstuvwxyz0123456789-", min_size=3, max_size=32),
)
@settings(max_examples=40, deadline=None)
def test_the_box_is_inside_every_picture(width: int, height: int, device: str) -> None:
    rows = box((texts.text("stamp.clock_unset"), device), width, height)
    assert len({len(row) for row in rows}) <= 1
    assert len(rows) < height
    assert all(len(row) < width for row in rows)
    assert len(rows) % 2 == 0
    assert not rows or set(b"".join(rows)) <= {PAPER, INK}


def test_whatever_is_to_be_drawn_has_its_bitmaps() -> None:
    for language in texts.LANGUAGES:
        for text_id in ("stamp.clock_unset", "state.clock.holdover"):
            assert glyphs.rows(texts.text(text_id, language), 2, PAPER, INK)
    assert glyphs.rows("abcdefghijklmnopqrstuvwxyz0123456789-+: ", 2, PAPER, INK)
    drawn = {b"".join(glyphs.rows(sign, 1, 0, 1)) for sign in "abcdefghijklmnopqrstuvwxyz0123456789-+: 时间未校准守T"}
    assert len(drawn) == 36 + 4 + 6 + 1  # no two alike


@pytest.mark.rule("R1")
@pytest.mark.timeout(120)
def test_the_stamp_is_in_the_exported_package(tmp_path: Path) -> None:
    """This machine's own clock decides what it says; the records say the same."""
    with Site(tmp_path / "site", device="body-0418", streams=SYNTHETIC) as site:
        site.start()
        site.wait_for(lambda: site.ask("status")["streams"][0]["state"] == "ready", "camera and microphone are there")
        site.ask("start")
        keep_recording(site, 3)
        recorded = export_session(site, tmp_path / "package")
    with av.open(io.BytesIO(recorded.film.read_bytes())) as film:
        seen = [read(frame) for frame in film.decode(video=0)][::10]
    assert len(seen) > 4
    unset = {record.clock == "unset" for record in stream_records(site.spool)}
    assert all(one is not None and one[1] == "body-0418" for one in seen)
    assert {one[0] == "时间未校准" for one in seen if one} == unset
