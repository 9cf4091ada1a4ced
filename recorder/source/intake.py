"""Between the driver's threads and the runner's loop: a bounded queue that wakes the loop."""

from __future__ import annotations

import os
import threading
from collections import deque
from typing import TYPE_CHECKING, Final, NamedTuple

from recorder.source.driver import Sample, boottime_ns
from recorder.source.link import Event, Heard, Shown, short

if TYPE_CHECKING:
    from typing import TypeAlias

    from recorder.source.driver import Format

    Item: TypeAlias = "Sample | Event | Heard | Code | Failed | Discarded | dict[str, Format]"

MAX_QUEUED_SIZE_BYTES: Final = 32 << 20
_URGENT_SIZE_BYTES: Final = 1 << 20
_URGENT_NS: Final = 100_000_000
"""The loop is woken for so much of frames, or of time between them: waking it for each costs more than all the rest."""
_MAX_QUEUED_EVENTS: Final = 100


class Failed(NamedTuple):
    """The driver has ended."""

    cause: str
    detail: str


class Code(NamedTuple):
    """A code was shown to the lens."""

    message: Shown
    text: bytes


class Discarded(NamedTuple):
    """Frames that the queue had no room for."""

    track: str
    frames: int


class Intake:
    """A :class:`recorder.source.driver.Sink` whose other side is read by one loop."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._items: deque[Item] = deque()
        self._size_bytes = 0
        self._oldest_ns: int | None = None
        self._events = 0
        self._overflow: dict[str, int] = {}
        self._stop = threading.Event()
        self._key = threading.Event()
        self.fileno = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        """Readable when there is something to take that should not wait for the loop's next turn."""

    def formats(self, formats: dict[str, Format]) -> None:
        """Take what the driver says of its tracks."""
        with self._lock:
            self._items.append(formats)
        os.eventfd_write(self.fileno, 1)

    def put(self, sample: Sample) -> None:
        """Take a frame, or count it as lost when the loop does not keep up."""
        with self._lock:
            if self._size_bytes + len(sample.data) > MAX_QUEUED_SIZE_BYTES:
                self._overflow[sample.track] = self._overflow.get(sample.track, 0) + 1
                return
            self._size_bytes += len(sample.data)
            self._items.append(sample)
            if self._oldest_ns is None:
                self._oldest_ns = sample.arrival_ns
            urgent = self._size_bytes > _URGENT_SIZE_BYTES or sample.arrival_ns - self._oldest_ns > _URGENT_NS
        if urgent:
            os.eventfd_write(self.fileno, 1)

    def event(
        self, event: str, tracks: list[str], cause: str, detail: str, count: int = 1, at_ns: int | None = None
    ) -> None:
        """Take an event."""
        message = Event(
            event=event,
            tracks=tracks,
            cause=cause,
            detail=short(detail),
            boottime_ns=boottime_ns() if at_ns is None else max(at_ns, 0),
            count=count,
        )
        with self._lock:
            if self._events < _MAX_QUEUED_EVENTS:
                self._events += 1
                self._items.append(message)
        os.eventfd_write(self.fileno, 1)

    def heard(self, answer: Heard) -> None:
        """Take what came of listening."""
        with self._lock:
            self._items.append(answer)
        os.eventfd_write(self.fileno, 1)

    def shown(self, at_boottime_ns: int, text: bytes) -> None:
        """Take the text of a code that was read in a picture."""
        with self._lock:
            self._items.append(Code(Shown(taken_boottime_ns=at_boottime_ns), text))
        os.eventfd_write(self.fileno, 1)

    def failed(self, cause: str, detail: str) -> None:
        """The driver has ended, and why."""
        with self._lock:
            self._items.append(Failed(cause, short(detail)))
        os.eventfd_write(self.fileno, 1)

    def stopping(self) -> bool:
        """Say whether the driver should return."""
        return self._stop.is_set()

    def wait(self, seconds: float) -> None:
        """Sleep, but not longer than until the driver should return."""
        self._stop.wait(seconds)

    def pause(self, seconds: float) -> None:
        """Wake the loop for what has been put, then sleep as :meth:`wait` does."""
        os.eventfd_write(self.fileno, 1)
        self._stop.wait(seconds)

    def key_frame_wanted(self) -> bool:
        """Say, once for each time it was asked for, that the next frame should be a key frame."""
        wanted = self._key.is_set()
        self._key.clear()
        return wanted

    def ask_key_frame(self) -> None:
        """Ask the driver for a key frame, where it encodes."""
        self._key.set()

    def stop(self) -> None:
        """Ask the driver to return."""
        self._stop.set()

    def take(self) -> list[Item]:
        """Return what has come since the last call."""
        with self._lock:
            items: list[Item] = list(self._items)
            items += [Discarded(track, count) for track, count in self._overflow.items()]
            self._items.clear()
            self._overflow.clear()
            self._size_bytes = self._events = 0
            self._oldest_ns = None
        try:
            os.eventfd_read(self.fileno)
        except BlockingIOError:
            return items
        return items
