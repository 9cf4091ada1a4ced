"""What every camera and microphone driver gives, and what it is given: the only door between devices and the runner."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from recorder.source.ear import Ear
    from recorder.source.link import Heard
    from recorder.source.pictures import Pictures

VIDEO_TIMESCALE = 90_000
"""Ticks a second of every picture track, whatever the camera counts in."""


class Level(NamedTuple):
    """Loudness of the sound in one sample, against full scale."""

    peak: float
    """Largest absolute value, 0 … 1."""
    mean_square: float


class Sample(NamedTuple):
    """One coded frame as it came from the device.

    Times are ticks of the track's timescale on the boot-time clock (CLOCK_BOOTTIME): integers, so that the camera's own
    intervals stay exact.
    """

    track: str
    data: bytes
    """As MP4 holds it: NAL units after their length, AAC without ADTS."""
    decode: int
    presentation: int
    duration: int
    """Usual length of a frame; the muxer replaces it by the time to the next one."""
    key: bool
    arrival_ns: int
    """Boot-time at which it reached this process."""
    sensor_ns: int | None = None
    """Boot-time at which the hardware took it, where it tells."""
    number: int | None = None
    """The device's own number of the frame, where it has one: what is missing between two is then known."""
    level: Level | None = None
    peak: float | None = None
    """Loudest value of the sound, 0 … 1, where its level is not measured; only of some frames."""


class Format(NamedTuple):
    """How a track is coded, for as long as the driver runs."""

    codec: str
    """``h264``, ``hevc`` or ``aac``."""
    timescale: int
    template: Any
    """``av`` stream that holds the codec's parameters, for the init segment."""


class Sink(Protocol):
    """Where a driver puts what it captures. Every method may be called from the driver's threads."""

    def formats(self, formats: dict[str, Format]) -> None:
        """Tell how the tracks are coded; called once, before the first sample."""

    def put(self, sample: Sample) -> None:
        """Hand over a frame."""

    def event(
        self, event: str, tracks: list[str], cause: str, detail: str, count: int = 1, at_ns: int | None = None
    ) -> None:
        """Tell of something that a person should learn of; see :class:`recorder.source.link.Event`.

        ``at_ns`` is when it happened, where that is not now.
        """

    def heard(self, answer: Heard) -> None:
        """Tell what came of listening for an announcement."""

    def stopping(self) -> bool:
        """Say whether the driver should return."""

    def key_frame_wanted(self) -> bool:
        """Say, once for each time it was asked for, that the next frame should be a key frame."""

    def wait(self, seconds: float) -> None:
        """Sleep, but not longer than until the driver should return."""

    def pause(self, seconds: float) -> None:
        """Have what was put taken at once, then sleep; for drivers that put much and then nothing for a while."""


class Driver(Protocol):
    """A camera or microphone."""

    cause: str
    """Id of the gap cause when it falls silent without a reason given."""

    @property
    def ear(self) -> Ear | None:
        """What can be told to listen for an announcement; None where the driver has no uncoded sound."""

    @property
    def pictures(self) -> Pictures | None:
        """Where pictures can be looked at while they are recorded; None where the driver has no pictures."""

    def run(self, sink: Sink) -> None:
        """Capture until ``sink.stopping()``; called in a thread of its own.

        Raises:
            recorder.source.errors.DeviceError: the device failed; the process will be replaced.
        """


def boottime_ns() -> int:
    """Return CLOCK_BOOTTIME, the one clock of sources: it runs on in suspend and nobody can set it."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def ticks(nanoseconds: int, timescale: int) -> int:
    """Return a time in ticks, rounded to the nearest."""
    return (nanoseconds * timescale + 500_000_000) // 1_000_000_000


def nanoseconds(ticks_: int, timescale: int) -> int:
    """Return ticks as a time, rounded to the nearest."""
    return (ticks_ * 1_000_000_000 + timescale // 2) // timescale
