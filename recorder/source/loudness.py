"""How loud sound is that passes through coded: a few frames of each second are decoded, and thrown away again."""

from __future__ import annotations

import logging
from typing import Any, Final

log = logging.getLogger(__name__)

_EVERY: Final = 48
"""Frames: about a second."""
_DECODED: Final = 4
_WARM: Final = 2
"""Each frame is half of its neighbour: the first ones after a leap are not what was heard."""
FAILURES: Final = 20
"""So many frames in a row that cannot be decoded: given up."""


class LoudnessGivenUpError(Exception):
    """Frames could not be decoded, many times in a row."""


class Loudness:
    """Listens to one track of AAC."""

    def __init__(self, parameters: bytes) -> None:
        """Make one for a stream with these parameters (AudioSpecificConfig)."""
        self._parameters = parameters
        self._context: Any = None
        self._number = -1
        self._failures = 0

    def peak(self, data: bytes) -> float | None:
        """Take the next frame; return the largest absolute value in it, where it was decoded.

        Raises:
            LoudnessGivenUpError: decoding has failed too often.
        """
        self._number = (self._number + 1) % _EVERY
        if self._number >= _DECODED:
            return None
        import av

        try:
            if self._context is None:
                self._context = av.CodecContext.create("aac", "r")
                self._context.extradata = self._parameters
            frames = self._context.decode(av.Packet(data))
        except (av.FFmpegError, ValueError) as error:
            self._context = None
            self._failures += 1
            if self._failures >= FAILURES:
                raise LoudnessGivenUpError(f"sound cannot be decoded: {error}") from error
            return None
        self._failures = 0
        if self._number < _WARM or not frames or frames[-1].format.name != "fltp":
            return None
        count = frames[-1].samples
        return max(abs(value) for plane in frames[-1].planes for value in memoryview(plane).cast("f")[:count])
