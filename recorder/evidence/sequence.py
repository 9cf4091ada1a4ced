"""Cuts a CBOR sequence (RFC 8742) of records into its items, bounded, without decoding them.

Only what a record can be made of is walked: definite lengths, no floats, no tag but the outermost. An item that is
anything else ends the walk, since nobody could say where it ends.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from recorder.evidence.errors import RecordError

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_DEPTH: Final = 12


def split(data: bytes, max_item_size_bytes: int) -> Iterator[bytes]:
    """Yield each whole item of ``data``.

    Raises:
        RecordError: at the first item that is torn, too long or of another form; what came before was good.
    """
    at = 0
    while at < len(data):
        end = _end(data, at, min(len(data), at + max_item_size_bytes), 0)
        yield data[at:end]
        at = end


def _end(data: bytes, at: int, limit: int, depth: int) -> int:
    """Return where the item that begins at ``at`` ends."""
    if depth > MAX_DEPTH:
        raise RecordError(f"an item nested deeper than {MAX_DEPTH} at byte {at}")
    if at >= limit:
        raise RecordError(f"an item reaches beyond its bound at byte {at}")
    major, low = data[at] >> 5, data[at] & 31
    width = {24: 1, 25: 2, 26: 4, 27: 8}.get(low, 0)
    if low > 27 or at + 1 + width > limit:  # noqa: PLR2004 - RFC 8949, 3
        raise RecordError(f"an item of a form that no record has at byte {at}")
    value = int.from_bytes(data[at + 1 : at + 1 + width], "big") if width else low
    at += 1 + width
    if major in (2, 3):
        if value > limit - at:
            raise RecordError(f"a string reaches beyond its bound at byte {at}")
        return at + value
    if major in (4, 5, 6):
        # Each element takes a byte at least, so a count beyond the limit ends within it.
        for _ in range({4: value, 5: 2 * value, 6: 1}[major]):
            at = _end(data, at, limit, depth + 1)
    return at
