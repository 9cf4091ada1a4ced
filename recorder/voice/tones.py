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

CHECK_TEXT: Final = "check.tone"
"""Order to the voice that has no words: the sound of :func:`check`."""
CHECK_PITCHES_HZ: Final = (400, 520, 680, 880, 1150, 1500, 1950, 2500, 3000)
CHECK_CHORDS: Final = 20
CHECK_CHORD_MS: Final = 100

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
    return b"".join(_chord((pitch_hz,), length_ms, rate_hz) for pitch_hz, length_ms in TONES[kind])


def check(rate_hz: int) -> bytes:
    """Return two seconds of chords that a microphone can be told to recognise, as 16-bit samples, one channel.

    A single tone moves too few bands of the spectrum to be told from chance; three that jump at once move enough.
    """
    pitches, count = CHECK_PITCHES_HZ, len(CHECK_PITCHES_HZ)
    chords = (tuple(pitches[step * at % count] for step in (2, 4, 7)) for at in range(1, CHECK_CHORDS + 1))
    return b"".join(_chord(chord, CHECK_CHORD_MS, rate_hz) for chord in chords)


def _chord(pitches_hz: tuple[int, ...], length_ms: int, rate_hz: int) -> bytes:
    count, edge = rate_hz * length_ms // 1000, rate_hz * _EDGE_MS // 1000
    values: list[int] = []
    for index in range(count):
        swell = min(1.0, index / edge, (count - index) / edge) * _PEAK / len(pitches_hz)
        wave = sum(math.sin(2 * math.pi * pitch_hz * index / rate_hz) for pitch_hz in pitches_hz)
        values.append(round(swell * wave))
    return struct.pack(f"<{len(values)}h", *values)
