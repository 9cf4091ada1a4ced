"""The pictures of the last seconds while nothing is recorded: a pre-event buffer, where the policy has one. Pure.

It is in memory alone, without sound, bounded in time and bytes, and forgotten when a recording ends: what was not to be
recorded then must not come back with the next press.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from recorder.source.driver import VIDEO_TIMESCALE, nanoseconds

if TYPE_CHECKING:
    from recorder.source.driver import Sample

MAX_PAST_SIZE_BYTES: Final = 24 << 20


class Past:
    """Coded frames of the picture, oldest first."""

    def __init__(self) -> None:
        self.keep_ns = 0
        """So long they are kept; 0: not at all, as it is until the recorder says otherwise."""
        self._samples: deque[Sample] = deque()
        self._size_bytes = 0

    def put(self, sample: Sample) -> None:
        """Keep a frame of the picture, and no sound; forget what is too old or too much."""
        if not self.keep_ns or sample.track != "video":
            return
        self._samples.append(sample)
        self._size_bytes += len(sample.data)
        while self._size_bytes > MAX_PAST_SIZE_BYTES or sample.arrival_ns - self._samples[0].arrival_ns > self.keep_ns:
            self._size_bytes -= len(self._samples.popleft().data)

    def take(self, from_ns: int) -> list[Sample]:
        """Return the frames from the first key frame on that was taken at or after this boot-time; forget all."""
        frames = list(self._samples)
        self.forget()
        first = next((index for index, one in enumerate(frames) if one.key and _taken_ns(one) >= from_ns), len(frames))
        return frames[first:]

    def forget(self) -> None:
        """Forget everything."""
        self._samples.clear()
        self._size_bytes = 0


def _taken_ns(sample: Sample) -> int:
    return nanoseconds(sample.presentation, VIDEO_TIMESCALE)
