"""Photographs that have been asked for, of one stream: asked of its camera, checked, signed into the open session.

A photograph never costs a recording: what a camera sends in place of one is refused, put on record as a fault, and the
camera goes on. The recorder opens no picture; it reads from the bytes how large it is, and believes the camera nothing
but the moment, which must lie between the order and the arrival.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from recorder.control import RefusedError
from recorder.evidence import jpeg, records
from recorder.source import link

if TYPE_CHECKING:
    from collections.abc import Callable

    from recorder.clock import Clock
    from recorder.peers import SourcePeer
    from recorder.spool.media import FileFacts
    from recorder.stream import StreamRecorder

log = logging.getLogger(__name__)

WITHIN_NS: Final = 15_000_000_000
"""A camera that encodes itself gives a picture with its next key frame, up to ten seconds later."""
MAX_WAITING: Final = 4


class Photos:
    """The photographs of one stream."""

    def __init__(self, stream: StreamRecorder, clock: Clock, failed: Callable[[], None]) -> None:
        """Make it; ``failed`` is called for each photograph that cannot be had."""
        self._stream = stream
        self._tell_failed = failed
        self._clock = clock
        self._waiting: dict[int, SourcePeer] = {}
        """By number, which is the boot-time of the order: whom it was asked of."""
        self.signed = 0
        """Since the recorder started."""
        self.failed = 0

    @property
    def waiting(self) -> int:
        """How many have been asked for and have not come."""
        return len(self._waiting)

    def camera(self) -> SourcePeer:
        """Return the camera to ask.

        Raises:
            RefusedError: there is none now, or it has been asked for too many already.
        """
        peer = self._stream.slots.camera
        if peer is None:
            raise RefusedError("camera", "没有可用的摄像部件，无法拍照。", "No camera is there to take a photograph.")
        if len(self._waiting) >= MAX_WAITING:
            raise RefusedError("busy", "照片正在处理，请稍候。", "Photographs are still being taken; wait a moment.")
        return peer

    def ask(self) -> None:
        """Have a photograph taken now; what it was ordered of may be gone by now, and that is told like any failure.

        Raises:
            DiskFullError: the failure cannot be signed.
        """
        try:
            peer = self.camera()
        except RefusedError as error:
            self._fail(str(error))
            return
        number = self._clock.boottime_ns()
        while number in self._waiting:
            number += 1
        self._waiting[number] = peer
        self._stream.slots.tell_camera(link.Take(number=number))

    def taken(self, message: link.Taken, data: bytes) -> None:
        """A camera has sent a photograph.

        Raises:
            DiskFullError: there is no room for it.
        """
        if self._waiting.pop(message.number, None) is None:
            log.warning("stream %s: a photograph that nobody waits for", self._stream.section.name)
            return
        if not self._stream.keeps_photos:
            self._fail("nothing is being recorded any more")
            return
        try:
            width_px, height_px = jpeg.size_px(data)
        except jpeg.PictureError as error:
            self._fail(str(error))
            return
        taken_ns = min(max(message.taken_boottime_ns, message.number), self._clock.boottime_ns())

        def body(facts: FileFacts) -> records.Body:
            return records.Photo(
                **facts.fields(),
                format=jpeg.FORMAT,
                width_px=width_px,
                height_px=height_px,
                taken_boottime_ns=taken_ns,
            )

        self._stream.sign_file("photo", data, body)
        self.signed += 1
        log.info("stream %s: a photograph of %d x %d is signed", self._stream.section.name, width_px, height_px)

    def not_taken(self, message: link.NotTaken) -> None:
        """A camera says that there will be none."""
        if self._waiting.pop(message.number, None) is not None:
            self._fail(message.detail)

    def tick(self) -> None:
        """Give up those whose camera is gone or silent, and all where recording is off: what is around is not taken."""
        now, peer = self._clock.boottime_ns(), self._stream.slots.camera
        for number, asked in list(self._waiting.items()):
            if asked is not peer or now - number > WITHIN_NS or not self._stream.keeps_photos:
                del self._waiting[number]
                self._fail("the camera failed before it gave a picture")

    def _fail(self, detail: str) -> None:
        self.failed += 1
        log.warning("stream %s: no photograph: %s", self._stream.section.name, link.short(detail))
        if self._stream.keeps_photos:
            self._stream.sign([records.Fault(code="photo_failed", detail=link.short(detail))])
        self._tell_failed()
