"""What the stamp costs, against the coding of the pictures that it is drawn into."""

from __future__ import annotations

import time
from typing import Any

import av

from recorder.clock import Instant, SystemClock
from recorder.source.driver import VIDEO_TIMESCALE, boottime_ns
from recorder.source.encode import VideoEncoder
from recorder.source.stamp import Stamp
from tests.bench import Row


class _Playing(SystemClock):
    """Costs what the device's clock costs, and says the time of the picture: the bench is faster than a camera."""

    at_ns = 0

    def now(self) -> Instant:
        return super().now()._replace(boottime_ns=self.at_ns)


FRAMES = 250
KINDS = 5
RATE = 25


def _scene(width: int, height: int, at: int) -> list[bytes]:
    """Return the planes of a picture with something to code: stripes that move."""
    frame = av.VideoFrame(width, height, "yuv420p")
    row = bytes((3 * (x + 5 * at)) % 200 + 20 for x in range(frame.planes[0].line_size))
    luma = b"".join(row[y % 97 :] + row[: y % 97] for y in range(height))
    return [luma, *(bytes([128]) * plane.buffer_size for plane in frame.planes[1:])]


def _taken(width: int, height: int, planes: list[bytes]) -> Any:
    """Return a picture as a camera gives it: just written."""
    frame = av.VideoFrame(width, height, "yuv420p")
    for plane, data in zip(frame.planes, planes, strict=True):
        plane.update(data)
    return frame


def cost(width: int, height: int) -> tuple[float, float]:
    """Return the CPU seconds of drawing, and of coding without the stamp, for the same pictures."""
    scenes = [_scene(width, height, at) for at in range(KINDS)]
    encoder = VideoEncoder(width, height, RATE, 4_000_000)
    clock = _Playing()
    stamp = Stamp("bench-0001-with-a-long-number", "zh", clock)
    stamp.words(0)  # the catalogue of texts is read once
    drawing = coding = 0.0
    start_ns = boottime_ns()
    for number in range(FRAMES):
        frame = _taken(width, height, scenes[number % KINDS])
        at_ns = clock.at_ns = start_ns + number * 1_000_000_000 // RATE
        began = time.process_time()
        stamp.draw_frame(frame, at_ns)
        drawn = time.process_time()
        for _ in encoder.encode(frame, at_ns * VIDEO_TIMESCALE // 1_000_000_000, key=number % 50 == 0):
            pass
        coding += time.process_time() - drawn
        drawing += drawn - began
    return drawing, coding


def run() -> list[Row]:
    """Measure."""
    rows = []
    for width, height in ((1280, 720), (1920, 1080)):
        drawing, coding = cost(width, height)
        each = (f"{1e6 * drawing / FRAMES:.0f} µs", f"{1e3 * coding / FRAMES:.2f} ms")
        rows.append(Row(f"stamp: CPU a picture, {height}p, against coding it", *each, drawing / coding, "≤ 0.03"))
    return rows
