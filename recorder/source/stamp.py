"""Time and device number, drawn into pictures that are encoded here; never into those of a camera that encodes itself.

The stamp is for people who see one frame; what counts is the signed time of the records. So it says no more than they
do: the source asks the same clock as the recorder, by itself, once a second, because a word that came over the
link would still be believed when the recorder is gone or the clock has been set meanwhile.

========================  ==========================================================================================
synchronised              the time to the second, in Beijing time, with its zone
synchronised earlier      the same, carried on from then by the boot-time clock, which nobody can set, and the word
                          *holdover*; where this process has not seen the clock synchronised, the system's own time
unset                     *time not set*, and no time: one that looks right would be believed
========================  ==========================================================================================
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from recorder.evidence import texts
from recorder.source import glyphs

if TYPE_CHECKING:
    from collections.abc import Sequence

PAPER: Final = 16
INK: Final = 235
"""Brightness of the box and of the text: black and white of video."""
_NEUTRAL: Final = 128
_ROWS: Final = 240
"""A dot is one of so many parts of the picture's height: a sign is as high as a 34th of the picture."""
_LONGEST: Final = 34
"""Signs of the longest line: the time with zone and word, or a device number."""
_TRUST_NS: Final = 1_000_000_000
"""A reading of the clock serves for pictures taken so close to it: asking for each would cost most of all. Time and
quality are of one reading, so a clock that is set meanwhile is not followed before its quality is known."""
_SYNCHRONISED: Final = "synchronised"
_UNSET: Final = "unset"
ZONE: Final = "+08:00"


class Reading(Protocol):
    """What the stamp needs of :class:`recorder.clock.Instant`."""

    @property
    def boottime_ns(self) -> int:
        """CLOCK_BOOTTIME."""

    @property
    def utc_ns(self) -> int:
        """Nanoseconds since 1970."""

    @property
    def quality(self) -> str:
        """``synchronised``, ``holdover`` or ``unset``."""


class Clock(Protocol):
    """What the stamp needs of :class:`recorder.clock.Clock`."""

    def now(self) -> Reading:
        """Return one reading of all clocks."""


class Plane(NamedTuple):
    """One plane of a picture in memory: brightness, or one of colour with half the width and height."""

    data: memoryview
    """Writable bytes."""
    line_size: int


class Stamp:
    """Says what is drawn, and draws it."""

    def __init__(self, device: str, language: str, clock: Clock) -> None:
        """Make one for a source.

        Args:
            device: Number of the device.
            language: ``zh`` or ``en``.
            clock: Of this machine.
        """
        self._device = device
        self._language = language
        self._clock = clock
        self._offset_ns: int | None = None
        """UTC less boot-time when the clock was last seen synchronised."""
        self._reading: Reading | None = None
        self._drawn: tuple[tuple[str, ...], int, int, tuple[int, ...]] | None = None
        self._strokes: list[list[tuple[slice, bytes]]] = []

    def words(self, taken_ns: int) -> tuple[str, ...]:
        """Return the lines for a picture that was taken at this boot-time."""
        now = self._reading
        if now is None or not -_TRUST_NS < taken_ns - now.boottime_ns < _TRUST_NS:
            now = self._reading = self._clock.now()
        offset_ns = now.utc_ns - now.boottime_ns
        if now.quality == _UNSET:
            return texts.text("stamp.clock_unset", self._language), self._device
        if now.quality == _SYNCHRONISED:
            self._offset_ns = offset_ns
        elif self._offset_ns is not None:
            offset_ns = self._offset_ns
        moment = texts.moment(taken_ns + offset_ns)
        if moment is None:
            return texts.text("stamp.clock_unset", self._language), self._device
        word = "" if now.quality == _SYNCHRONISED else f" {texts.text('state.clock.holdover', self._language)}"
        return f"{moment} {ZONE}{word}", self._device

    def draw(self, planes: Sequence[Plane], width_px: int, height_px: int, taken_ns: int) -> None:
        """Draw into the top left corner of a picture in YUV 4:2:0.

        Args:
            planes: Brightness and two of colour.
            width_px: Of the picture.
            height_px: Of the picture.
            taken_ns: Boot-time at which it was taken.
        """
        wanted = self.words(taken_ns), width_px, height_px, tuple(plane.line_size for plane in planes)
        if wanted != self._drawn:
            self._drawn, self._strokes = wanted, _strokes(*wanted)
        for plane, strokes in zip(planes, self._strokes, strict=True):
            data = plane.data
            for place, pixels in strokes:
                data[place] = pixels

    def draw_frame(self, frame: Any, taken_ns: int) -> None:
        """Draw into an ``av.VideoFrame``, YUV 4:2:0; a decoder that still needs it keeps its own copy."""
        frame.make_writable()
        planes = [Plane(memoryview(plane), plane.line_size) for plane in frame.planes]
        self.draw(planes, frame.width, frame.height, taken_ns)


def dot_px(width_px: int, height_px: int) -> int:
    """Return the size of a dot: by the height, smaller where the longest line would not fit."""
    fits = width_px // ((glyphs.WIDTH + 1) * _LONGEST + 8)
    return max(1, min(max(2, height_px // _ROWS), fits))


def margin_px(width_px: int, height_px: int) -> int:
    """Return how far from the edges the box stands; even, as the planes of colour need it."""
    return 2 * dot_px(width_px, height_px)


def box(lines: Sequence[str], width_px: int, height_px: int) -> list[bytes]:
    """Return the box with these lines as rows of brightness, cut to the picture; their number and length are even."""
    scale = pad = dot_px(width_px, height_px)
    drawn = [glyphs.rows(line, scale, PAPER, INK) for line in lines]
    inner = max(len(rows[0]) for rows in drawn)
    paper = bytes([PAPER])
    empty = [paper * (inner + 2 * pad)] * pad
    made = list(empty)
    for rows in drawn:
        made += [paper * pad + row.ljust(inner + pad, paper) for row in rows]
        made += empty
    edge = margin_px(width_px, height_px)
    width = min(len(made[0]), width_px - edge) & ~1
    height = min(len(made), height_px - edge) & ~1
    return [row[:width] for row in made[:height]] if width > 0 and height > 0 else []


def _strokes(
    lines: Sequence[str], width_px: int, height_px: int, line_sizes: Sequence[int]
) -> list[list[tuple[slice, bytes]]]:
    """Return, for each plane, what is to be written where."""
    rows = box(lines, width_px, height_px)
    grey = [bytes([_NEUTRAL]) * (len(row) // 2) for row in rows[::2]]
    edge = margin_px(width_px, height_px)
    made = []
    for pixels, line_size, left in zip((rows, grey, grey), line_sizes, (edge, edge // 2, edge // 2), strict=True):
        begins = [(left + index) * line_size + left for index in range(len(pixels))]
        made.append([(slice(at, at + len(row)), row) for at, row in zip(begins, pixels, strict=True)])
    return made
