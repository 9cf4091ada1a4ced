"""A look at what a device delivers, for the check before duty: nothing of it is kept, and no recording begins. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from recorder.source.link import Probe, Probed
from recorder.source.mux import millibels

if TYPE_CHECKING:
    from recorder.source.driver import Sample


class Probing:
    """Counts what comes for a while."""

    def __init__(self, order: Probe, now_ns: int) -> None:
        self._number = order.number
        self._until_ns = now_ns + order.length_ms * 1_000_000
        self._frames: dict[str, int] = {}
        self._peak: float | None = None

    def put(self, sample: Sample) -> None:
        """Take notice of a frame."""
        self._frames[sample.track] = self._frames.get(sample.track, 0) + 1
        if sample.level is not None:
            self._peak = max(self._peak or 0.0, sample.level.peak)

    def answer(self, now_ns: int) -> Probed | None:
        """Return what came, once the time is over."""
        if now_ns < self._until_ns:
            return None
        peak = None if self._peak is None else millibels(self._peak)
        return Probed(number=self._number, frames=self._frames, peak_millibels=peak)
