"""Joining init segments: two sources that each mux one track make one film (ISO/IEC 14496-12, 8.2 and 8.8)."""

from __future__ import annotations

import struct

from recorder.evidence.boxes import boxes, find, parse_init
from recorder.evidence.errors import BoxError


def join_inits(inits: list[bytes]) -> bytes:
    """Return one init segment with the tracks of all, in the order of their ids.

    The file type and movie header are the first one's, with the next track id corrected. One init is returned as it
    is. The tracks must have been made under different ids: nothing of a track is rewritten.

    Args:
        inits: ftyp and moov each.

    Raises:
        BoxError: one is malformed, or two use the same track id.
    """
    if len(inits) == 1:
        parse_init(inits[0])
        return inits[0]
    tracks: dict[int, bytes] = {}
    extends: dict[int, bytes] = {}
    for init in inits:
        for track_id in parse_init(init):
            if track_id in tracks:
                raise BoxError(f"two init segments use track id {track_id}")
            tracks[track_id] = extends[track_id] = b""
        for kind, start, end in _children(init, (b"moov",)):
            if kind == b"trak":
                tracks[_track_id(init, start, end)] = _box(kind, init[start:end])
        for kind, start, end in _children(init, (b"moov", b"mvex")):
            if kind == b"trex":
                extends[struct.unpack_from(">I", init, start + 4)[0]] = _box(kind, init[start:end])
    first = inits[0]
    ftyp = find(first, (b"ftyp",))
    mvhd = find(first, (b"moov", b"mvhd"))
    if ftyp is None or mvhd is None:
        raise BoxError("an init segment without ftyp or mvhd")
    header = bytearray(first[mvhd[0] : mvhd[1]])
    header[-4:] = struct.pack(">I", max(tracks) + 1)
    moov = _box(b"mvhd", bytes(header))
    moov += b"".join(tracks[track_id] for track_id in sorted(tracks))
    moov += _box(b"mvex", b"".join(extends[track_id] for track_id in sorted(extends)))
    return _box(b"ftyp", first[ftyp[0] : ftyp[1]]) + _box(b"moov", moov)


def _children(init: bytes, path: tuple[bytes, ...]) -> list[tuple[bytes, int, int]]:
    found = find(init, path)
    return [] if found is None else list(boxes(init, *found))


def _track_id(init: bytes, start: int, end: int) -> int:
    tkhd = find(init, (b"tkhd",), start, end)
    if tkhd is None:
        raise BoxError("a track without tkhd")
    at = tkhd[0] + (20 if init[tkhd[0]] == 1 else 12)
    return int(struct.unpack_from(">I", init, at)[0])


def _box(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I4s", len(body) + 8, kind) + body
