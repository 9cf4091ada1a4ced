"""Sound that is built like speech, made from a seed."""

from __future__ import annotations

import math
import random
import struct

RATE = 16_000


def babble(seed: int, seconds: float, level: float = 6000.0) -> list[float]:
    """Sound with the structure of speech: syllables of harmonics that glide, with pauses."""
    chance = random.Random(seed)
    values: list[float] = []
    while len(values) < seconds * RATE:
        count = round(RATE * chance.uniform(0.08, 0.22))
        base, glide = chance.uniform(110, 240), chance.uniform(-40, 40)
        weights = [chance.random() ** 3 for _ in range(14)]
        loud = 0.0 if chance.random() < 0.15 else level
        phase = 0.0
        for index in range(count):
            phase += 2 * math.pi * (base + glide * index / count) / RATE
            swell = math.sin(math.pi * index / count)
            values.append(loud * swell * sum(w * math.sin(n * phase) for n, w in enumerate(weights, 1)) / 4)
    return values[: round(seconds * RATE)]


def pcm(values: list[float]) -> bytes:
    return struct.pack(f"<{len(values)}h", *(max(-32768, min(32767, round(one))) for one in values))
