"""Plays a beep at each full second of boot-time into PulseAudio, in step with the synthetic camera's flashes.

Usage: python -m tests.support.beeps SINK. A process of its own, as any player is. The server says how long a sample
that is written now will take until it is played; from that each sample's own time follows, and with it whether it
belongs to a beep. Prints, once a second, by how many milliseconds that time differed most from an even course: what
the player itself may be wrong by.
"""

from __future__ import annotations

import ctypes
import math
import struct
import sys
import time
from typing import Final

RATE_HZ: Final = 48_000
BEEP_MS: Final = 200
TONE_HZ: Final = 1000
BLOCK: Final = RATE_HZ // 100
BUFFER: Final = RATE_HZ * 6 // 100
_S16_LE, _PLAYBACK = 3, 1
_STEER: Final = 0.02
"""How much of the difference between said and even time each block takes up."""
_JUMP_NS: Final = 30_000_000
_DEFAULT: Final = (1 << 32) - 1


class _Form(ctypes.Structure):
    _fields_ = (("format", ctypes.c_int), ("rate", ctypes.c_uint32), ("channels", ctypes.c_uint8))


class _Buffer(ctypes.Structure):
    _fields_ = tuple((name, ctypes.c_uint32) for name in ("maxlength", "tlength", "prebuf", "minreq", "fragsize"))


def second() -> bytes:
    """Return a second of sound that begins with a beep."""
    loud = RATE_HZ * BEEP_MS // 1000
    values = [round(12_000 * math.sin(2 * math.pi * TONE_HZ * at / RATE_HZ)) for at in range(loud)]
    return struct.pack(f"<{RATE_HZ}h", *values, *([0] * (RATE_HZ - loud)))


def play(sink: str) -> None:
    """Play until killed."""
    pulse = ctypes.CDLL("libpulse-simple.so.0")
    pulse.pa_simple_new.restype = ctypes.c_void_p
    pulse.pa_simple_get_latency.restype = ctypes.c_uint64
    error = ctypes.c_int()
    form = _Form(_S16_LE, RATE_HZ, 1)
    buffer = _Buffer(_DEFAULT, 2 * BUFFER, _DEFAULT, 2 * BLOCK, _DEFAULT)
    stream = ctypes.c_void_p(
        pulse.pa_simple_new(
            None,
            b"beeps",
            _PLAYBACK,
            sink.encode(),
            b"beeps",
            *map(ctypes.byref, (form,)),
            None,
            ctypes.byref(buffer),
            ctypes.byref(error),
        )
    )
    if not stream:
        raise SystemExit(f"no connection to the sound server: error {error.value}")
    loop = second() * 2
    even_ns: float | None = None
    worst_ns, told_s = 0.0, 0
    while True:
        latency_us = pulse.pa_simple_get_latency(stream, ctypes.byref(error))
        now_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        said_ns = now_ns + latency_us * 1000
        if even_ns is None or abs(said_ns - even_ns) > _JUMP_NS:
            even_ns = float(said_ns)
        worst_ns = max(worst_ns, abs(said_ns - even_ns))
        even_ns += (said_ns - even_ns) * _STEER
        start = int(even_ns * RATE_HZ / 1e9) % RATE_HZ
        block = loop[2 * start : 2 * (start + BLOCK)]
        if pulse.pa_simple_write(stream, block, ctypes.c_size_t(len(block)), ctypes.byref(error)) < 0:
            raise SystemExit(f"the sound server is gone: error {error.value}")
        even_ns += BLOCK * 1e9 / RATE_HZ
        if now_ns // 1_000_000_000 != told_s:
            told_s = now_ns // 1_000_000_000
            print(f"{worst_ns / 1e6:.2f}", flush=True)
            worst_ns = 0.0


if __name__ == "__main__":
    play(sys.argv[1])
