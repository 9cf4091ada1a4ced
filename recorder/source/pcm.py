"""Sound in pieces of any size into AAC frames, each with its time on the boot-time clock. Pure.

The sound card's clock and ours differ by some millionths. Evidence is never resampled: the time of a frame follows the
measured time by at most one tick a frame. Where sound is missing, time jumps, and that is a hole.
"""

from __future__ import annotations

from collections import deque
from typing import Final, NamedTuple

from recorder.source.encode import AAC_FRAME

STEER_NS: Final = 1_000_000
"""A smaller difference between counted and measured time is left alone."""
JUMP_NS: Final = 40_000_000
"""A larger one, lasting, means that sound is missing, or that the clock was mistaken: time jumps at once."""
_OVER: Final = 50
"""Measurements that the middle one is taken of."""
_SETTLE: Final = 8
"""The newest measurements before the first frame is timed, of which the middle one is believed."""


class Block(NamedTuple):
    """1024 samples a channel, and when the first was taken, in samples on the boot-time clock."""

    pcm: bytes
    at: int
    arrival_ns: int


class Blocks:
    """Cuts and times."""

    def __init__(self, rate_hz: int, channels: int, settle_s: float = 0.0) -> None:
        """Make one for a newly opened device.

        Args:
            rate_hz: Sampling rate.
            channels: 1 or 2.
            settle_s: So much sound is held back at the start, until the device's times can be believed; none is lost.
        """
        self._rate_hz = rate_hz
        self._settle_samples = settle_s * rate_hz
        self._width = 2 * channels
        self._pcm = bytearray()
        self._held: deque[tuple[bytes, int]] = deque()
        self._errors: deque[int] = deque(maxlen=_OVER)
        self._at: int | None = None
        """Time of the first sample in ``_pcm``."""
        self._end = 0
        """Time at which the next piece is expected, in samples."""
        self.jumps = 0
        """How often time has jumped."""

    def put(self, pcm: bytes, taken_ns: int, arrival_ns: int, *, broken: bool = False) -> list[Block]:
        """Take a piece of sound.

        Args:
            pcm: 16-bit samples, interleaved.
            taken_ns: Boot-time at which its first sample was taken, as measured: it may jitter.
            arrival_ns: Boot-time at which it reached this process.
            broken: The device says that sound before it was lost.
        """
        measured = taken_ns * self._rate_hz // 1_000_000_000
        if broken:
            self._restart()
        if self._at is None:
            self._held.append((pcm, measured))
            if sum(len(one) for one, _ in self._held) // self._width < self._settle_samples:
                return []
            return self._settle(arrival_ns)
        self._errors.append(measured - self._end)
        self._pcm += pcm
        self._end += len(pcm) // self._width
        return self._cut(arrival_ns)

    def _restart(self) -> None:
        self.jumps += self._at is not None
        self._at = None
        self._pcm.clear()
        self._errors.clear()
        self._held.clear()

    def _settle(self, arrival_ns: int) -> list[Block]:
        counted = 0
        starts: list[int] = []
        for pcm, measured in self._held:
            starts.append(measured - counted)
            self._pcm += pcm
            counted += len(pcm) // self._width
        self._held.clear()
        newest = sorted(starts[-_SETTLE:])
        self._at = newest[len(newest) // 2]
        self._end = self._at + counted
        return self._cut(arrival_ns)

    def _cut(self, arrival_ns: int) -> list[Block]:
        assert self._at is not None  # noqa: S101 - timed before anything is cut
        done: list[Block] = []
        size = AAC_FRAME * self._width
        while len(self._pcm) >= size:
            done.append(Block(bytes(self._pcm[:size]), self._at, arrival_ns))
            del self._pcm[:size]
            self._steer()
            self._at += AAC_FRAME
        return done

    def _steer(self) -> None:
        """Let the counted time follow the measured one."""
        assert self._at is not None  # noqa: S101
        if len(self._errors) < _OVER // 2:
            return
        error = sorted(self._errors)[len(self._errors) // 2]
        if abs(error) * 1_000_000_000 > JUMP_NS * self._rate_hz:
            self.jumps += 1
            self._shift(error)
            self._errors.clear()
        elif abs(error) * 1_000_000_000 > STEER_NS * self._rate_hz:
            self._shift(1 if error > 0 else -1)

    def _shift(self, by: int) -> None:
        assert self._at is not None  # noqa: S101
        self._at += by
        self._end += by
        self._errors = deque((one - by for one in self._errors), maxlen=_OVER)
