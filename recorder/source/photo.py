"""Photographs: a frame, or a camera's coded key frame, as JPEG, made beside the driver's thread: no frame waits.

What is recorded goes on untouched: the photograph is made of a frame that is being recorded, at the size at which the
camera delivers. One of our own frames bears the stamp already; one of a camera that encodes itself bears whatever that
camera wrote into it, which we do not cover.
"""

from __future__ import annotations

import logging
import threading
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final

from recorder.source.errors import SourceError
from recorder.source.link import MAX_PHOTO_SIZE_BYTES, Taken

if TYPE_CHECKING:
    from collections.abc import Callable

    from recorder.source.driver import Sink

log = logging.getLogger(__name__)

QUALITIES: Final = (2, 4, 8, 16, 31)
"""Quantisers of JPEG, best first; the next is tried where a picture is too large."""


def take(sink: Sink, number: int, frame: Any, taken_ns: int) -> None:
    """Make a photograph of a frame (``av.VideoFrame``), which the caller may use again on return."""
    picture = frame.reformat(format="yuvj420p")
    _beside(sink, number, taken_ns, lambda: picture)


def take_coded(sink: Sink, number: int, codec: str, extradata: bytes, data: bytes, taken_ns: int) -> None:
    """Make a photograph of a camera's key frame."""
    _beside(sink, number, taken_ns, lambda: decode(codec, extradata, data).reformat(format="yuvj420p"))


def decode(codec: str, extradata: bytes, data: bytes) -> Any:
    """Return the picture of a key frame that stands alone.

    Raises:
        SourceError: there is none in it.
    """
    import av

    decoder: Any = av.CodecContext.create(codec, "r")
    decoder.extradata = extradata
    decoder.thread_count = 1
    for frame in [*decoder.decode(av.Packet(data)), *decoder.decode(None)]:
        return frame
    raise SourceError("the key frame could not be decoded")


def encode(picture: Any, largest_bytes: int = MAX_PHOTO_SIZE_BYTES) -> bytes:
    """Return a picture (``yuvj420p``) as JPEG.

    Raises:
        SourceError: it is too large even at the lowest quality.
    """
    import av

    for quality in QUALITIES:
        encoder: Any = av.CodecContext.create("mjpeg", "w")
        encoder.width, encoder.height, encoder.pix_fmt = picture.width, picture.height, "yuvj420p"
        encoder.time_base = Fraction(1, 25)
        encoder.qmin = encoder.qmax = quality
        encoder.thread_count = 1
        picture.pts = None
        data = b"".join(bytes(packet) for packet in [*encoder.encode(picture), *encoder.encode(None)])
        if len(data) <= largest_bytes:
            return data
    raise SourceError(f"a picture of {picture.width} x {picture.height} does not fit into a photograph")


def _beside(sink: Sink, number: int, taken_ns: int, picture: Callable[[], Any]) -> None:
    def make() -> None:
        try:
            jpeg = encode(picture())
        except Exception as error:  # whatever a decoder makes of hostile bytes: there is no photograph
            log.exception("the photograph could not be made")
            sink.no_photo(number, f"{type(error).__name__}: {error}")
        else:
            sink.photo(Taken(number=number, taken_boottime_ns=taken_ns), jpeg)

    threading.Thread(target=make, name="photo", daemon=True).start()
