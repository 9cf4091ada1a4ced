"""As much of JPEG (ITU-T T.81, Annex B) as it takes to say how large a picture is. Pure, bounded, decodes nothing."""

from __future__ import annotations

from typing import Final

from recorder.evidence.errors import EvidenceError

FORMAT: Final = "jpeg"
MAX_SEGMENTS: Final = 1000
_BEGIN: Final = b"\xff\xd8"
_END: Final = b"\xff\xd9"
_FRAMES: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""Markers that say the size: start of frame of whatever kind."""
_SCAN: Final = 0xDA
_ALONE: Final = frozenset({0x01, *range(0xD0, 0xDA)})
"""Markers without a length, or that end the picture: none has a place before the frame."""
_FRAME_SIZE_BYTES: Final = 8


class PictureError(EvidenceError):
    """Bytes that claim to be a JPEG picture are not."""


def size_px(data: bytes) -> tuple[int, int]:
    """Return width and height of a picture.

    Raises:
        PictureError: it has not the form of a JPEG picture.
    """
    if not data.startswith(_BEGIN) or not data.endswith(_END):
        raise PictureError("a photograph does not begin and end as JPEG does")
    at = len(_BEGIN)
    for _ in range(MAX_SEGMENTS):
        if data[at : at + 1] != b"\xff":
            raise PictureError("a photograph has no JPEG marker where one must be")
        while data[at : at + 1] == b"\xff":
            at += 1
        marker = data[at] if at < len(data) else 0
        length = int.from_bytes(data[at + 1 : at + 3], "big")
        if marker in (0, _SCAN) or marker in _ALONE or length < len(_END) or at + 1 + length > len(data):
            break
        if marker in _FRAMES:
            if length < _FRAME_SIZE_BYTES:
                break
            height = int.from_bytes(data[at + 4 : at + 6], "big")
            width = int.from_bytes(data[at + 6 : at + 8], "big")
            if not width or not height:
                break
            return width, height
        at += 1 + length
    raise PictureError("a photograph does not say how large it is")
