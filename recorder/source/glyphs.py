"""Digits and the few other characters of a clock, 5 × 7 dots, as a picture's rows of bytes."""

from __future__ import annotations

from typing import Final

WIDTH: Final = 5
HEIGHT: Final = 7

_DOTS: Final = {
    "0": "01110 10001 10011 10101 11001 10001 01110",
    "1": "00100 01100 00100 00100 00100 00100 01110",
    "2": "01110 10001 00001 00110 01000 10000 11111",
    "3": "01110 10001 00001 00110 00001 10001 01110",
    "4": "00010 00110 01010 10010 11111 00010 00010",
    "5": "11111 10000 11110 00001 00001 10001 01110",
    "6": "00110 01000 10000 11110 10001 10001 01110",
    "7": "11111 00001 00010 00100 01000 01000 01000",
    "8": "01110 10001 10001 01110 10001 10001 01110",
    "9": "01110 10001 10001 01111 00001 00010 01100",
    "U": "10001 10001 10001 10001 10001 10001 01110",
    "T": "11111 00100 00100 00100 00100 00100 00100",
    "C": "01110 10001 10000 10000 10000 10001 01110",
    ":": "00000 00100 00100 00000 00100 00100 00000",
    ".": "00000 00000 00000 00000 00000 01100 01100",
    "-": "00000 00000 00000 11111 00000 00000 00000",
    "#": "01010 01010 11111 01010 11111 01010 01010",
    " ": "00000 00000 00000 00000 00000 00000 00000",
}


def rows(text: str, scale: int, ground: int, ink: int) -> list[bytes]:
    """Return the rows of a line of text, each dot ``scale`` pixels wide and high.

    Args:
        text: Digits and ``:.-#`` and blanks.
        scale: Pixels a dot.
        ground: Brightness of the background.
        ink: Brightness of the text.
    """
    dot = {"0": bytes([ground]) * scale, "1": bytes([ink]) * scale}
    lines: list[bytes] = []
    for row in range(HEIGHT):
        line = dot["0"] + b"".join(
            b"".join(dot[bit] for bit in _DOTS[character].split()[row]) + dot["0"] for character in text
        )
        lines += [line] * scale
    return lines
