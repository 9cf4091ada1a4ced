"""Tones for those who know the device: one kind for the start, a marker, a warning and the end. Pure."""

from __future__ import annotations

import math
import struct
from typing import Final

TONES: Final[dict[str, tuple[tuple[int, int], ...]]] = {
    "start": ((660, 120), (0, 40), (990, 220)),
    "marker": ((1320, 90),),
    "warning": ((880, 110), (0, 60), (880, 110), (0, 60), (880, 110)),
    "end": ((990, 140), (0, 40), (660, 260)),
}
"""Kind to a row of (pitch in Hz, milliseconds); pitch 0 is a pause. They differ in rhythm too."""

_EDGE_MS: Final = 8
"""Tones swell and fade over so long, so that they do not click."""
_PEAK: Final = 14_000


def kind_of(text: str) -> str | None:
    """Return the tone that goes before a text (id of the catalogue), or None."""
    if text.startswith(("say.start", "say.resume", "say.restart.linked", "say.restart.lawful")):
        return "start"
    if text.startswith("say.end") and text != "say.end.cancelled":
        return "end"
    if text.startswith("cue.mark"):
        return "marker"
    if text.startswith("cue."):
        return "warning"
    return None


def tone(kind: str, rate_hz: int) -> bytes:
    """Return a tone as 16-bit samples, one channel."""
    values: list[int] = []
    for pitch_hz, length_ms in TONES[kind]:
        count, edge = rate_hz * length_ms // 1000, rate_hz * _EDGE_MS // 1000
        for index in range(count):
            swell = min(1.0, index / edge, (count - index) / edge)
            values.append(round(_PEAK * swell * math.sin(2 * math.pi * pitch_hz * index / rate_hz)))
    return struct.pack(f"<{len(values)}h", *values)
