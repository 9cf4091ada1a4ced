"""Reads codes that are shown to the camera: one watch on its pictures, with zxing-cpp.

It only finds and reads; whether a code is to be believed the recorder says. A QR code that is not ours is passed over:
whatever hangs on a wall is nobody's business here.
"""

from __future__ import annotations

import importlib.util
import logging
from typing import TYPE_CHECKING, Any, Final

from recorder.evidence.lens_code import MAX_TEXT_CHARACTERS, PREFIX

if TYPE_CHECKING:
    from collections.abc import Callable

    from recorder.config import SourceSection
    from recorder.source.driver import Driver
    from recorder.source.pictures import Picture

log = logging.getLogger(__name__)

AGAIN_NS: Final = 30_000_000_000
"""A code that stays before the lens is told once in this time."""
MAX_TOLD: Final = 16
"""So many different codes are told in that time; a flood of others waits."""


def attach(section: SourceSection, driver: Driver, tell: Callable[[int, bytes], None]) -> str | None:
    """Have the pictures of a driver scanned; return what ``hello`` says of it.

    Args:
        section: configuration of the source.
        driver: not running yet.
        tell: see :class:`Scanner`.
    """
    if driver.pictures is None or "video" not in section.tracks:
        return None
    if not section.reads_codes or not section.looks_per_second:
        return "off"
    if importlib.util.find_spec("zxingcpp") is None:
        log.warning("zxing-cpp is not installed: codes that are shown to the lens are not read")
        return "missing"
    driver.pictures.add(Scanner(tell))
    return "read"


class Scanner:
    """Looks for codes in pictures."""

    def __init__(self, tell: Callable[[int, bytes], None]) -> None:
        """Make one.

        Args:
            tell: called with when the picture was taken (boot-time) and the text of a code.
        """
        import zxingcpp

        self._zxing: Any = zxingcpp
        self._tell = tell
        self._told: dict[str, int] = {}

    def look(self, picture: Picture) -> None:
        """Look for codes in one picture, and tell of those not told before."""
        self._told = {text: ns for text, ns in self._told.items() if 0 <= picture.at_boottime_ns - ns < AGAIN_NS}
        for text in self._read(picture):
            if text not in self._told and len(self._told) < MAX_TOLD:
                self._told[text] = picture.at_boottime_ns
                self._tell(picture.at_boottime_ns, text.encode("ascii"))

    def _read(self, picture: Picture) -> list[str]:
        zxing = self._zxing
        # A line's padding is looked at too, which costs nothing: a code never reaches into it.
        lines = picture.luma[: picture.stride_bytes * picture.height_px]
        view = lines.cast("B", (picture.height_px, picture.stride_bytes))
        # Ours are printed dark on light: to look for the reverse too would double what looking costs.
        found = zxing.read_barcodes(
            view, formats=zxing.BarcodeFormat.QRCode, try_invert=False, text_mode=zxing.TextMode.Plain
        )
        return [
            one.text
            for one in found
            if one.text.startswith(PREFIX) and len(one.text) <= MAX_TEXT_CHARACTERS and one.text.isascii()
        ]
