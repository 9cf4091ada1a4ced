"""A synthetic camera and microphone, for demonstrations and tests: every frame says what and when it is.

The picture shows the time (UTC), the seconds since boot and the frame's number; below, the number once more as a row
of black and white squares for programs to read; a bar that moves; and, for the first fifth of every second, a white
field, with which a tone of 1 kHz sounds. Frames are numbered by boot-time (number / rate = seconds since boot), so that
a frame that was never made is missing in the count.
"""

from __future__ import annotations

import datetime as dt
import math
import struct
from typing import TYPE_CHECKING, Any, Final

from recorder.source import glyphs
from recorder.source.driver import VIDEO_TIMESCALE, Format, boottime_ns
from recorder.source.encode import AAC_FRAME, AudioEncoder, VideoEncoder
from recorder.source.pictures import Pictures

if TYPE_CHECKING:
    from recorder.config import SourceSection
    from recorder.source.driver import Sink

NUMBER_BITS: Final = 40
"""Squares in the row; the most significant bit is on the left, a white square at each end frames the row."""
FLASH_MS: Final = 200
"""The flash and the tone take the first so many milliseconds of every second of boot-time."""
TONE_HZ: Final = 1000
_BLACK, _GREY, _WHITE = 16, 96, 235
_SECOND_NS: Final = 1_000_000_000
_MAX_LATE_NS: Final = 250_000_000


class Synthetic:
    """Makes picture and sound in step with CLOCK_BOOTTIME."""

    cause = "camera"
    ear = None

    def __init__(self, section: SourceSection) -> None:
        self._section = section
        self.pictures = Pictures(section.looks_per_second)

    def run(self, sink: Sink) -> None:
        """Capture until the sink is stopping."""
        section = self._section
        rate = section.frames_per_second
        video = _Camera(section, self.pictures) if "video" in section.tracks else None
        audio = _Microphone(section) if "audio" in section.tracks else None
        formats: dict[str, Format] = {}
        if video is not None:
            formats["video"] = video.encoder.format
        if audio is not None:
            formats["audio"] = audio.encoder.format
        sink.formats(formats)
        self.pictures.begin(sink)
        number = boottime_ns() * rate // _SECOND_NS + 1
        while not sink.stopping():
            due_ns = number * _SECOND_NS // rate
            now_ns = boottime_ns()
            if now_ns < due_ns:
                sink.wait((due_ns - now_ns) / _SECOND_NS)
                continue
            if now_ns - due_ns > _MAX_LATE_NS:
                next_number = now_ns * rate // _SECOND_NS
                sink.event("slow", section.tracks, "overload", "frames were not made in time", next_number - number)
                number = next_number
            if video is not None:
                video.capture(sink, number)
            if audio is not None:
                audio.capture(sink, now_ns)
            number += 1


class _Camera:
    def __init__(self, section: SourceSection, pictures: Pictures) -> None:
        self._pictures = pictures
        self._rate = section.frames_per_second
        self._key_every_ns = round(section.key_frame_interval_s * _SECOND_NS)
        self._key_due_ns = 0
        self._picture = Picture(section.width_px, section.height_px)
        self.encoder = VideoEncoder(
            section.width_px, section.height_px, section.frames_per_second, section.video_bitrate_bps
        )

    def capture(self, sink: Sink, number: int) -> None:
        at_ns = number * _SECOND_NS // self._rate
        key = sink.key_frame_wanted() or at_ns >= self._key_due_ns
        if key:
            self._key_due_ns = at_ns + self._key_every_ns
        frame = self._picture.draw(number, at_ns)
        if self._pictures.due(at_ns):
            plane = frame.planes[0]
            self._pictures.offer(at_ns, frame.width, frame.height, plane.line_size, plane)
        at = number * VIDEO_TIMESCALE // self._rate
        for sample in self.encoder.encode(frame, at, key=key, sensor_ns=at_ns, number=number):
            sink.put(sample)


class _Microphone:
    def __init__(self, section: SourceSection) -> None:
        self._rate_hz = section.audio_rate_hz
        self._at = boottime_ns() * self._rate_hz // _SECOND_NS
        self.encoder = AudioEncoder(section.audio_rate_hz, 1, section.audio_bitrate_bps)

    def capture(self, sink: Sink, now_ns: int) -> None:
        while (self._at + AAC_FRAME) * _SECOND_NS // self._rate_hz <= now_ns:
            for sample in self.encoder.encode(tone(self._at, self._rate_hz), self._at, now_ns):
                sink.put(sample)
            self._at += AAC_FRAME


def tone(at_sample: int, rate_hz: int) -> bytes:
    """Return one AAC frame of sound that begins with sample ``at_sample`` since boot."""
    flash = rate_hz * FLASH_MS // 1000
    values = [
        round(12_000 * math.sin(2 * math.pi * TONE_HZ * ((at_sample + index) % rate_hz) / rate_hz))
        if (at_sample + index) % rate_hz < flash
        else 0
        for index in range(AAC_FRAME)
    ]
    return struct.pack(f"<{AAC_FRAME}h", *values)


class Picture:
    """Draws frames, row by row in bytes; 4:2:0 with grey colour planes."""

    def __init__(self, width_px: int, height_px: int) -> None:
        import av

        self._width = width_px
        self._height = height_px
        self._video_frame = av.VideoFrame
        self._scale = max(1, width_px // 200)
        self._square = width_px // (NUMBER_BITS + 2)

    def draw(self, number: int, at_ns: int) -> Any:
        """Return the frame (``av.VideoFrame``) of this number and boot-time."""
        frame = self._video_frame(self._width, self._height, "yuv420p")
        flash = at_ns % _SECOND_NS < FLASH_MS * 1_000_000
        frame.planes[0].update(self._luma(frame.planes[0].line_size, number, at_ns, flash=flash))
        for plane in frame.planes[1:]:
            plane.update(bytes([128]) * plane.buffer_size)
        return frame

    def _luma(self, line: int, number: int, at_ns: int, *, flash: bool) -> bytes:
        width, height, scale = self._width, self._height, self._scale
        ground = bytes([_GREY]) * line
        rows = [ground] * height
        utc = dt.datetime.now(dt.UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        texts = (utc, f"{at_ns / _SECOND_NS:.3f}", f"#{number}")
        top = 4 * scale
        for text in texts:
            rows[top : top + glyphs.HEIGHT * scale] = [
                row.ljust(line, bytes([_GREY]))[:line] for row in glyphs.rows(text, scale, _GREY, _WHITE)
            ]
            top += (glyphs.HEIGHT + 2) * scale
        field = bytes([_WHITE if flash else _BLACK]) * (width // 4)
        for row in range(height // 2, height * 3 // 4):
            at = (number * 7) % max(1, width - scale)
            bar = bytearray(ground)
            bar[at : at + scale] = bytes([_WHITE]) * len(bar[at : at + scale])
            bar[width - len(field) : width] = field
            rows[row] = bytes(bar)
            if row > height // 2:
                rows[row] = rows[height // 2]
        rows[height - self._square :] = [number_row(number, self._square, line)] * self._square
        return b"".join(rows)


def number_row(number: int, square_px: int, line: int) -> bytes:
    """Return one line of the row of squares."""
    bits = f"1{number % (1 << NUMBER_BITS):0{NUMBER_BITS}b}1"
    row = b"".join(bytes([_WHITE if bit == "1" else _BLACK]) * square_px for bit in bits)
    return row.ljust(line, bytes([_BLACK]))[:line]


def read_number(luma_line: bytes, width_px: int) -> int | None:
    """Read a frame's number from a line of the row of squares, or None where there is no such row."""
    square = width_px // (NUMBER_BITS + 2)
    bits = "".join(
        "1" if luma_line[index * square + square // 2] > (_BLACK + _WHITE) // 2 else "0"
        for index in range(NUMBER_BITS + 2)
    )
    return int(bits[1:-1], 2) if bits[0] == bits[-1] == "1" else None
