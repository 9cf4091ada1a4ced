"""H.264 and H.265 byte streams, as far as putting them into MP4 needs it (ISO/IEC 14496-10 and 23008-2, Annex B)."""

from __future__ import annotations

import struct
from typing import Final

_START: Final = b"\x00\x00\x01"
_SEQUENCE_SETS: Final = {"h264": 7, "hevc": 33}
_KEY: Final = {"h264": (5,), "hevc": (16, 17, 18, 19, 20, 21)}
"""IDR slices of H.264; BLA, IDR and CRA pictures of H.265."""


def split_annex_b(data: bytes) -> list[bytes]:
    """Return the NAL units of a byte stream, without start codes and the zero bytes around them."""
    units: list[bytes] = []
    start = data.find(_START)
    while start >= 0:
        start += len(_START)
        end = data.find(_START, start)
        unit = data[start : end if end >= 0 else len(data)].rstrip(b"\x00")
        if unit:
            units.append(unit)
        start = end
    return units


def split_length_prefixed(data: bytes, prefix_size_bytes: int = 4) -> list[bytes]:
    """Return the NAL units of a sample as it lies in MP4; a last unit that is cut short is returned as it is."""
    units: list[bytes] = []
    at = 0
    while at + prefix_size_bytes <= len(data):
        size = int.from_bytes(data[at : at + prefix_size_bytes], "big")
        at += prefix_size_bytes
        units.append(data[at : at + size])
        at += size
    return units


def length_prefixed(units: list[bytes]) -> bytes:
    """Return NAL units as MP4 holds them: each after its length in four bytes."""
    return b"".join(part for unit in units for part in (struct.pack(">I", len(unit)), unit))


def unit_type(unit: bytes, codec: str) -> int:
    """Return the type number of a NAL unit."""
    return unit[0] & 0x1F if codec == "h264" else unit[0] >> 1 & 0x3F


def sequence_sets(units: list[bytes], codec: str) -> list[bytes]:
    """Return the units that say size and form of the picture; they change only when the camera's settings change."""
    return [unit for unit in units if unit and unit_type(unit, codec) == _SEQUENCE_SETS[codec]]


def is_key(units: list[bytes], codec: str) -> bool:
    """Say whether a decoder may start at the frame that these units are."""
    return any(unit and unit_type(unit, codec) in _KEY[codec] for unit in units)
