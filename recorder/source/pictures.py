"""What looks at the pictures while they are recorded: a tap beside the recording, which it can never hold up.

A driver offers what it has anyway: the plain picture where it encodes one, the coded key frame where it passes packets
through. One thread, nicer than the rest of the process, takes the newest, decodes it if it must, and shows it to each
watch in turn; what was offered meanwhile is forgotten. A decoder or a watch that fails is given up, and said so.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from recorder.source.driver import Sink

log = logging.getLogger(__name__)

CODED_EVERY_NS: Final = 900_000_000
"""Key frames are decoded at most about once a second."""
NICE: Final = 10
FAILURES: Final = 5
"""So many key frames in a row that cannot be decoded, or take too long: the decoder is given up."""
SLOW_NS: Final = 500_000_000
"""Time on the processor that one key frame may take."""


class Picture(NamedTuple):
    """The brightness of one picture."""

    at_boottime_ns: int
    """When it was taken."""
    width_px: int
    height_px: int
    stride_bytes: int
    """From one line to the next; a line may be padded."""
    luma: memoryview
    """One byte a pixel, line after line; nobody writes to it any more, so it may be kept."""


class Watch(Protocol):
    """Something that looks at pictures."""

    def look(self, picture: Picture) -> None:
        """Look at a picture; called from the tap's own thread, about twice a second. It may take its time.

        An exception means that this watch is given up.
        """


class Pictures:
    """The tap of one driver; the runner adds the watches before the driver runs."""

    def __init__(self, per_second: float) -> None:
        """Make one.

        Args:
            per_second: So many pictures are looked at; 0: none.
        """
        self._every_ns = round(1e9 / per_second) if per_second > 0 else 0
        self._watches: list[Watch] = []
        self._last_ns: int | None = None
        self._fresh = threading.Condition()
        self._newest: Callable[[], Picture | None] | None = None
        self._sink: Sink | None = None
        self._decoder: _KeyFrames | None = None

    def add(self, watch: Watch) -> None:
        """Show pictures to ``watch`` too."""
        self._watches.append(watch)

    def begin(self, sink: Sink) -> None:
        """Start the thread; it ends with ``sink.stopping()`` or the process. Without watches there is none."""
        if not self._watches or not self._every_ns:
            return
        self._sink = sink
        threading.Thread(target=self._run, name="pictures", daemon=True).start()

    def due(self, at_ns: int, *, coded: bool = False) -> bool:
        """Say whether a picture taken at this boot-time is wanted."""
        if self._sink is None:
            return False
        every_ns = max(self._every_ns, CODED_EVERY_NS) if coded else self._every_ns
        if self._last_ns is not None and self._last_ns <= at_ns < self._last_ns + every_ns:
            return False
        self._last_ns = at_ns
        return True

    def offer(self, at_ns: int, width_px: int, height_px: int, stride_bytes: int, luma: Any) -> None:
        """Offer a plain picture, before anything is drawn into it; it is copied.

        Args:
            at_ns: When it was taken, boot-time.
            width_px: Its width.
            height_px: Its height.
            stride_bytes: From one line to the next.
            luma: Anything that has the brightness as its bytes: a plane of an ``av.VideoFrame``, a camera's buffer.
        """
        with memoryview(luma) as view:
            plain = memoryview(bytes(view[: stride_bytes * height_px]))
        picture = Picture(at_ns, width_px, height_px, stride_bytes, plain)
        self._put(lambda: picture)

    def offer_coded(self, at_ns: int, codec: str, parameters: bytes, data: bytes) -> None:
        """Offer a key frame.

        Args:
            at_ns: When it was taken, boot-time.
            codec: ``h264`` or ``hevc``.
            parameters: The stream's parameter sets, as libavcodec wants them.
            data: The packet as libavformat gave it.
        """
        if self._decoder is None:
            self._decoder = _KeyFrames(codec, parameters)
        decoder = self._decoder
        self._put(lambda: decoder.decode(at_ns, data))

    def _put(self, get: Callable[[], Picture | None]) -> None:
        with self._fresh:
            self._newest = get
            self._fresh.notify()

    def _run(self) -> None:
        sink = self._sink
        assert sink is not None  # noqa: S101 - set before the thread starts
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)
        while self._watches and not sink.stopping():
            with self._fresh:
                if self._newest is None:
                    self._fresh.wait(1.0)
                get, self._newest = self._newest, None
            if get is None:
                continue
            try:
                picture = get()
            except DecoderGivenUpError as error:
                self._given_up(sink, f"the picture is not looked at any more: {error}")
                break
            if picture is not None:
                self._show(picture, sink)
        self._sink = None

    def _show(self, picture: Picture, sink: Sink) -> None:
        for watch in list(self._watches):
            try:
                watch.look(picture)
            except Exception as error:
                log.exception("%s failed at a picture", type(watch).__name__)
                self._watches.remove(watch)
                self._given_up(sink, f"{type(watch).__name__} looks no more: {type(error).__name__}: {error}")

    @staticmethod
    def _given_up(sink: Sink, detail: str) -> None:
        log.warning("%s", detail)
        sink.event("unwatched", ["video"], "unwatched", detail)


class DecoderGivenUpError(Exception):
    """Key frames could not be decoded, or not in time, several times in a row."""


class _KeyFrames:
    """Decodes single key frames, on one thread, without the filter that only smooths the blocks."""

    def __init__(self, codec: str, parameters: bytes) -> None:
        self._codec = codec
        self._parameters = parameters
        self._context: Any = None
        self._failures = 0

    def decode(self, at_ns: int, data: bytes) -> Picture | None:
        """Return the picture; None where this one could not be decoded.

        Raises:
            DecoderGivenUpError: it has failed too often, or is too slow.
        """
        import av

        began_ns = time.thread_time_ns()
        frame: Any = None
        try:
            frame = self._frame(av, data)
        except (av.FFmpegError, ValueError) as error:
            log.debug("a key frame could not be decoded: %s", error)
            self._context = None
        slow = time.thread_time_ns() - began_ns > SLOW_NS
        self._failures = self._failures + 1 if frame is None or slow else 0
        if self._failures >= FAILURES:
            raise DecoderGivenUpError("decoding takes too long" if slow else "key frames cannot be decoded")
        if frame is None:
            return None
        if frame.format.components[0].bits != 8:  # noqa: PLR2004
            frame = frame.reformat(format="gray")
        plane = frame.planes[0]
        return Picture(at_ns, frame.width, frame.height, plane.line_size, memoryview(plane))

    def _frame(self, av: Any, data: bytes) -> Any:
        if self._context is None:
            context = av.CodecContext.create(self._codec, "r")
            context.extradata = self._parameters
            context.thread_count = 1
            context.options = {"skip_loop_filter": "all"}
            self._context = context
        frames = self._context.decode(av.Packet(data))
        # A decoder may hold pictures back for their order: told that nothing follows, it gives them.
        frames += self._context.decode(None)
        self._context.flush_buffers()
        return frames[-1] if frames else None
