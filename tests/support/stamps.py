"""Reads the stamp off a decoded picture, sign by sign, by comparing bitmaps."""

from __future__ import annotations

from typing import Any

from recorder.source import glyphs, stamp

SIGNS = "0123456789-:+ abcdefghijklmnopqrstuvwxyzT"
HAN = "时间未校准守"
CLEAR = 0.93
"""Part of a sign's pixels that must be on the right side of grey."""


def read(frame: Any) -> tuple[str, str] | None:
    """Return the two lines of a picture's stamp, None where there is none."""
    luma = frame.planes[0]
    data, line = bytes(luma), luma.line_size
    bits = [[value > 125 for value in data[row * line : row * line + frame.width]] for row in range(frame.height)]
    scale = stamp.dot_px(frame.width, frame.height)
    at = stamp.margin_px(frame.width, frame.height) + scale
    for height in (glyphs.height_px("0", scale), glyphs.height_px("时", scale)):
        first = _line(bits, at, at, height, scale)
        second = _line(bits, at, at + height + scale, glyphs.height_px("0", scale), scale)
        if first and second:
            return first, second
    return None


def _line(bits: list[list[bool]], left: int, top: int, height: int, scale: int) -> str:
    text = ""
    while True:
        found = []
        for sign in SIGNS + HAN:
            rows = glyphs.rows(sign, scale, 0, 1)
            above = (height - len(rows)) // 2
            width = len(rows[0])
            if len(rows) > height or left + width > len(bits[0]) or top + height > len(bits):
                continue
            same = sum(
                bool(ink) == bits[top + above + y][left + x] for y, row in enumerate(rows) for x, ink in enumerate(row)
            )
            found.append((same / (width * len(rows)), sign, width))
        best, sign, width = max(found, default=(0.0, "", 0))
        if best < CLEAR or text.endswith("  "):
            return text.strip()
        text += sign
        left += width
