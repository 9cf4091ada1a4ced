"""Measures how far sound and picture are apart in a film that flashes and beeps together."""

from __future__ import annotations

from typing import TYPE_CHECKING

import av

if TYPE_CHECKING:
    from pathlib import Path

_BRIGHT = 180
_LOUD = 1000
_WINDOW = 48
"""Samples of sound looked at together: a millisecond."""
_QUIET_S = 0.3
"""A beep counts as begun only after so long without one."""


def measure_sync(path: Path | str) -> list[tuple[float, float]]:
    """Find each flash and the beep that belongs to it.

    Args:
        path: A film in which a white field (anywhere in the right lower part, or everywhere) and a tone begin together.

    Returns:
        For each flash its time in the film in seconds, and how much later (+) or earlier (-) the beep begins, in
        milliseconds. A flash begins somewhere between two frames: its first bright frame is meant.
    """
    flashes = _flashes(path)
    beeps = _beeps(path)
    pairs: list[tuple[float, float]] = []
    for flash in flashes:
        nearest = min(beeps, key=lambda beep: abs(beep - flash), default=None)
        if nearest is not None and abs(nearest - flash) < 0.5:
            pairs.append((flash, (nearest - flash) * 1000))
    return pairs


def _flashes(path: Path | str) -> list[float]:
    found: list[float] = []
    before = True
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        for frame in container.decode(stream):
            plane = frame.planes[0]
            # A point in the white field of the synthetic camera, which is white too where the whole picture flashes.
            at = (frame.height * 5 // 8) * plane.line_size + frame.width * 7 // 8
            bright = memoryview(plane)[at] > _BRIGHT
            if bright and not before and frame.time is not None:
                found.append(frame.time)
            before = bright
    return found


def _beeps(path: Path | str) -> list[float]:
    found: list[float] = []
    last_loud = None
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        resampler = av.AudioResampler(format="s16", layout="mono", rate=stream.rate)
        for frame in container.decode(stream):
            for plain in resampler.resample(frame):
                if plain.pts is None or plain.time_base is None:
                    continue
                start = float(plain.pts * plain.time_base)
                values = memoryview(plain.planes[0]).cast("B")[: plain.samples * 2].cast("h")
                for at in range(0, len(values), _WINDOW):
                    part = values[at : at + _WINDOW]
                    if max(abs(max(part)), abs(min(part))) > _LOUD:
                        time = start + at / stream.rate
                        if last_loud is None:
                            found.append(time) if time > _QUIET_S else None
                        elif time - last_loud > _QUIET_S:
                            found.append(time)
                        last_loud = time
    return found
