"""Fragmented MP4, as far as evidence needs it: bounded, in pure Python (ISO/IEC 14496-12).

Nothing is decoded. An *init segment* is ``ftyp`` and ``moov``; a *fragment* is ``moof`` and ``mdat``. The writer has a
box splitter that turns the muxer's output into these; the recorder and every verifier walk the same boxes to count
samples and times, so that what a record says can be checked against the bytes.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from recorder.evidence.errors import BoxError

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_BOX_SIZE_BYTES: Final = 16 << 20
MAX_SAMPLES: Final = 100_000
"""Most samples a fragment may claim, all its tracks together: a sample without bytes costs its writer nothing."""
MAX_INIT_SIZE_BYTES: Final = 64 << 10
MAX_DECODE_TIME: Final = 1 << 62
"""tfdt has no sign; a muxer that starts before zero writes a number near 2^64."""
_HEAD = struct.Struct(">I4s")

SAMPLE_IS_NON_SYNC: Final = 0x00010000


class TrackInit(NamedTuple):
    """A track as the init segment describes it."""

    track_id: int
    kind: str
    """``video``, ``audio`` or ``text``."""
    timescale: int
    codec: str
    """Sample entry, for example ``avc1``, ``hvc1``, ``mp4a``."""
    default_duration: int
    default_size_bytes: int
    default_flags: int


class Sample(NamedTuple):
    """One sample of a fragment."""

    decode: int
    """Decode time in the track's timescale."""
    composition_offset: int
    duration: int
    offset: int
    """Where its bytes are, counted from the first byte of the fragment."""
    size_bytes: int
    sync: bool
    """A decoder may start here."""


class Run(NamedTuple):
    """What a fragment holds of one track."""

    track_id: int
    first_decode: int
    end_decode: int
    samples: list[Sample]


def boxes(data: bytes, start: int = 0, end: int | None = None) -> Iterator[tuple[bytes, int, int]]:
    """Yield (type, start of body, end) of each box between ``start`` and ``end``.

    Raises:
        BoxError: a box reaches beyond its parent.
    """
    end = len(data) if end is None else end
    while start < end:
        if end - start < _HEAD.size:
            raise BoxError("a box ends inside its head")
        size, kind = _HEAD.unpack_from(data, start)
        body = start + _HEAD.size
        if size == 1:
            if end - body < 8:  # noqa: PLR2004
                raise BoxError("a box ends inside its head")
            (size,) = struct.unpack_from(">Q", data, body)
            body += 8
        if size < body - start or start + size > end:
            raise BoxError(f"box {kind!r} reaches beyond its parent")
        yield kind, body, start + size
        start += size


def find(data: bytes, path: tuple[bytes, ...], start: int = 0, end: int | None = None) -> tuple[int, int] | None:
    """Return (start of body, end) of the first box at ``path``, or None."""
    for kind, body, stop in boxes(data, start, end):
        if kind == path[0]:
            return (body, stop) if len(path) == 1 else find(data, path[1:], body, stop)
    return None


def parse_init(init: bytes) -> dict[int, TrackInit]:
    """Read the tracks of an init segment, by track id.

    Raises:
        BoxError: not an init segment of the allowed form.
    """
    if len(init) > MAX_INIT_SIZE_BYTES:
        raise BoxError(f"an init segment of {len(init)} bytes")
    kinds = [kind for kind, _, _ in boxes(init)]
    if kinds != [b"ftyp", b"moov"]:
        raise BoxError("an init segment is one ftyp and one moov")
    moov = find(init, (b"moov",))
    assert moov is not None  # noqa: S101 - just seen
    defaults: dict[int, tuple[int, int, int]] = {}
    mvex = find(init, (b"mvex",), *moov)
    if mvex is not None:
        for kind, body, _ in boxes(init, *mvex):
            if kind == b"trex":
                track_id, _, duration, size, flags = _unpack(">4x5I", init, body)
                defaults[track_id] = (duration, size, flags)
    tracks: dict[int, TrackInit] = {}
    for kind, body, stop in boxes(init, *moov):
        if kind == b"trak":
            track = _track(init, body, stop, defaults)
            if track.track_id in tracks:
                raise BoxError("two tracks have the same id")
            tracks[track.track_id] = track
    if not tracks:
        raise BoxError("an init segment without tracks")
    return tracks


def _track(init: bytes, start: int, end: int, defaults: dict[int, tuple[int, int, int]]) -> TrackInit:
    def need(*path: bytes) -> tuple[int, int]:
        found = find(init, path, start, end)
        if found is None:
            raise BoxError(f"a track without {b'/'.join(path).decode()}")
        return found

    tkhd, _ = need(b"tkhd")
    track_id = _unpack(">I", init, tkhd + (20 if init[tkhd] == 1 else 12))[0]
    mdhd, _ = need(b"mdia", b"mdhd")
    timescale = _unpack(">I", init, mdhd + (20 if init[mdhd] == 1 else 12))[0]
    hdlr, _ = need(b"mdia", b"hdlr")
    handler = _unpack(">8x4s", init, hdlr)[0]
    stsd, stsd_end = need(b"mdia", b"minf", b"stbl", b"stsd")
    entries = [entry.decode("latin-1") for entry, _, _ in boxes(init, stsd + 8, stsd_end)]
    if len(entries) != 1:
        raise BoxError("a track must have one sample description")
    kind = {b"vide": "video", b"soun": "audio", b"sbtl": "text", b"text": "text"}.get(handler)
    if kind is None or timescale == 0:
        raise BoxError(f"a track of type {handler!r} and timescale {timescale}")
    return TrackInit(track_id, kind, timescale, entries[0], *defaults.get(track_id, (0, 0, 0)))


def parse_fragment(fragment: bytes, tracks: dict[int, TrackInit]) -> list[Run]:
    """Read what a fragment holds, one :class:`Run` a track that has samples in it, in the fragment's order.

    Raises:
        BoxError: not one moof and one mdat of the allowed form, or a sample outside the mdat.
    """
    outer = list(boxes(fragment))
    if [kind for kind, _, _ in outer] != [b"moof", b"mdat"]:
        raise BoxError("a fragment is one moof and one mdat")
    (_, moof, moof_end), (_, mdat, mdat_end) = outer
    runs: dict[int, Run] = {}
    for kind, body, stop in boxes(fragment, moof, moof_end):
        if kind != b"traf":
            continue
        run = _run(fragment, body, stop, tracks, MAX_SAMPLES - sum(len(one.samples) for one in runs.values()))
        if run is None:
            continue
        if run.track_id in runs:
            raise BoxError("a track has two traf boxes in one fragment")
        runs[run.track_id] = run
        for sample in run.samples:
            if sample.offset < mdat or sample.offset + sample.size_bytes > mdat_end:
                raise BoxError("a sample lies outside the mdat")
    return list(runs.values())


def _run(fragment: bytes, start: int, end: int, tracks: dict[int, TrackInit], most: int) -> Run | None:
    tfhd = find(fragment, (b"tfhd",), start, end)
    if tfhd is None:
        raise BoxError("a traf without tfhd")
    flags, track_id = _unpack(">II", fragment, tfhd[0])
    flags &= 0xFFFFFF
    track = tracks.get(track_id)
    if track is None:
        raise BoxError(f"a fragment of track {track_id}, which the init segment does not have")
    if flags & 0x01 or not flags & 0x020000:
        raise BoxError("sample offsets must count from the moof")
    at = tfhd[0] + 8 + (4 if flags & 0x02 else 0)
    defaults = [track.default_duration, track.default_size_bytes, track.default_flags]
    for index, bit in enumerate((0x08, 0x10, 0x20)):
        if flags & bit:
            defaults[index] = _unpack(">I", fragment, at)[0]
            at += 4
    tfdt = find(fragment, (b"tfdt",), start, end)
    if tfdt is None:
        raise BoxError("a traf without tfdt")
    decode = first = _unpack(">4xQ" if fragment[tfdt[0]] == 1 else ">4xI", fragment, tfdt[0])[0]
    if first >= MAX_DECODE_TIME:
        raise BoxError("a decode time before zero")
    samples: list[Sample] = []
    for kind, body, stop in boxes(fragment, start, end):
        if kind == b"trun":
            decode = _trun(fragment, body, stop, decode, defaults, samples, most)
    return Run(track_id, first, decode, samples) if samples else None


def _trun(
    fragment: bytes, start: int, end: int, decode: int, defaults: list[int], samples: list[Sample], most: int
) -> int:
    word, count = _unpack(">II", fragment, start)
    version, flags = word >> 24, word & 0xFFFFFF
    at = start + 8
    offset = samples[-1].offset + samples[-1].size_bytes if samples else 0
    if flags & 0x01:
        offset = _unpack(">i", fragment, at)[0]
        at += 4
    first_flags = None
    if flags & 0x04:
        first_flags = _unpack(">I", fragment, at)[0]
        at += 4
    columns = [bit for bit in (0x100, 0x200, 0x400, 0x800) if flags & bit]
    if len(samples) + count > most or at + 4 * len(columns) * count > end:
        raise BoxError("a trun claims more samples than it holds")
    form = struct.Struct(">" + "".join("i" if bit == 0x800 and version else "I" for bit in columns))  # noqa: PLR2004
    for index in range(count):
        row = dict(zip(columns, form.unpack_from(fragment, at), strict=True))
        at += form.size
        duration = row.get(0x100, defaults[0])
        size = row.get(0x200, defaults[1])
        sample_flags = row.get(0x400, first_flags if index == 0 and first_flags is not None else defaults[2])
        samples.append(Sample(decode, row.get(0x800, 0), duration, offset, size, not sample_flags & SAMPLE_IS_NON_SYNC))
        decode += duration
        offset += size
    return decode


def _unpack(form: str, data: bytes, at: int) -> tuple[Any, ...]:
    try:
        return struct.unpack_from(form, data, at)
    except struct.error as error:
        raise BoxError("a box ends too early") from error


class BoxSplitter:
    """Turns a muxer's output, which comes in pieces of any size, into init segments and fragments.

    Boxes that hold no media of their own (``styp``, ``sidx``, ``prft``, ``mfra``) are left out.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._open: list[tuple[bytes, bytes]] = []

    def feed(self, data: bytes) -> list[tuple[str, bytes]]:
        """Take the next piece; return the whole ("init" or "fragment", bytes) that it completes.

        Raises:
            BoxError: the output is not fragmented MP4 of the allowed form.
        """
        self._buffer += data
        done: list[tuple[str, bytes]] = []
        while len(self._buffer) >= _HEAD.size:
            size, kind = _HEAD.unpack_from(self._buffer)
            if not _HEAD.size <= size <= MAX_BOX_SIZE_BYTES:
                raise BoxError(f"the muxer wrote a box {kind!r} of {size} bytes")
            if len(self._buffer) < size:
                break
            box = bytes(self._buffer[:size])
            del self._buffer[:size]
            self._take(kind, box, done)
        return done

    def _take(self, kind: bytes, box: bytes, done: list[tuple[str, bytes]]) -> None:
        if kind in (b"ftyp", b"moof"):
            self._open = [(kind, box)]
        elif kind in (b"moov", b"mdat"):
            wanted = b"ftyp" if kind == b"moov" else b"moof"
            if [one for one, _ in self._open] != [wanted]:
                raise BoxError(f"the muxer wrote {kind!r} without {wanted!r} before it")
            done.append(("init" if kind == b"moov" else "fragment", self._open[0][1] + box))
            self._open = []
        elif kind not in (b"styp", b"sidx", b"prft", b"mfra", b"free", b"emsg"):
            raise BoxError(f"the muxer wrote an unexpected box {kind!r}")
