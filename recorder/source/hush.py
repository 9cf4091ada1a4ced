"""Whether the microphone delivers sound at all. A state machine: it is told peaks with their times.

A live microphone in a quiet room is louder than :data:`SILENT_PEAK`; one that is muted, unplugged or dead is not. A
muffled one still is: that cannot be told from a quiet room by its level.
"""

from __future__ import annotations

from typing import Final, NamedTuple

SILENT_PEAK: Final = 0.001
"""-60 dB of full scale; the report calls chunks silent by the same level."""
LOUD_PEAK: Final = 0.0014
"""-57 dB: what is between the two ends no silence and begins none."""
SILENT_NS: Final = 10_000_000_000
BREAK_NS: Final = 3_000_000_000
"""Where no sound at all came for so long, there is a gap, which is told otherwise: counting begins anew."""


class Change(NamedTuple):
    """Something began or was over."""

    code: str
    begins: bool
    at_ns: int
    detail: str


class Hush:
    """Watches one microphone."""

    def __init__(self) -> None:
        self._quiet_since_ns: int | None = None
        self._last_ns: int | None = None
        self._silent = False
        self._loudest = 0.0

    def put(self, at_ns: int, peak: float) -> Change | None:
        """Take the loudest value, 0 … 1, of a short piece of sound; return what changed."""
        if self._last_ns is not None and not 0 <= at_ns - self._last_ns <= BREAK_NS and not self._silent:
            self._quiet_since_ns = None
        self._last_ns = at_ns
        if peak > LOUD_PEAK or (peak > SILENT_PEAK and not self._silent):
            self._quiet_since_ns, self._loudest = None, 0.0
            if not self._silent:
                return None
            self._silent = False
            return Change("sound_silent", begins=False, at_ns=at_ns, detail="")
        self._loudest = max(self._loudest, peak)
        if self._quiet_since_ns is None:
            self._quiet_since_ns = at_ns
        if self._silent or at_ns - self._quiet_since_ns < SILENT_NS:
            return None
        self._silent = True
        detail = f"loudest sample {round(self._loudest * 1e6)} millionths"
        return Change("sound_silent", begins=True, at_ns=self._quiet_since_ns, detail=detail)
