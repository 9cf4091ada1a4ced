"""Ranges of bytes, [offset, end), ascending and apart."""

from __future__ import annotations

Ranges = list[tuple[int, int]]


def add(ranges: Ranges, offset: int, end: int) -> Ranges:
    """Return ``ranges`` with [offset, end) in them."""
    before = [one for one in ranges if one[1] < offset]
    after = [one for one in ranges if one[0] > end]
    joined = ranges[len(before) : len(ranges) - len(after)]
    if joined:
        offset, end = min(offset, joined[0][0]), max(end, joined[-1][1])
    return [*before, (offset, end), *after]


def missing(ranges: Ranges, size_bytes: int, limit: int) -> Ranges:
    """Return what of [0, size) is not in ``ranges``, at most ``limit`` ranges from the lowest on."""
    holes: Ranges = []
    at = 0
    for offset, end in ranges:
        if offset > at:
            holes.append((at, offset))
        at = end
    if at < size_bytes:
        holes.append((at, size_bytes))
    return holes[:limit]


def total(ranges: Ranges) -> int:
    """Return how many bytes they cover."""
    return sum(end - offset for offset, end in ranges)
