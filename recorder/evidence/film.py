"""``session.mp4`` as a pure function of bytes: joining is joining bytes, with a subtitle track beside them.

A film is the first chunk's init segment with one track added, then for each chunk one subtitle fragment of ours and
the chunk's own fragments byte for byte. Where the init segment changes (``part``) a new film begins. A chunk that is
not given (withheld, not arrived) leaves its subtitle fragment, which says so, and nothing else.
``docs/evidence-format.md`` lists every byte.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from recorder.evidence import boxes, subtitles
from recorder.evidence.errors import BoxError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from recorder.evidence.timeline import Timeline

TEXT_TIMESCALE: Final = 1000
_MATRIX: Final = struct.pack(">9I", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)
_MAX_DURATION: Final = 0xFFFFFFFF
MAX_TEXT_SIZE_BYTES: Final = 0xFFFF


def file_name(part: int) -> str:
    """Return the film's name in a package: ``session.mp4``, ``session-2.mp4`` and so on."""
    return "session.mp4" if part == 0 else f"session-{part + 1}.mp4"


def box(kind: bytes, *content: bytes) -> bytes:
    """Return one MP4 box."""
    body = b"".join(content)
    return struct.pack(">I4s", 8 + len(body), kind) + body


def with_subtitle_track(init: bytes) -> tuple[bytes, int]:
    """Add an empty 3GPP timed text track (3GPP TS 26.245) to an init segment.

    Returns:
        The new init segment and the id of the track: one more than the highest in ``init``.

    Raises:
        BoxError: ``init`` is not an init segment, or lacks mvhd or mvex.
    """
    track_id = max(boxes.parse_init(init)) + 1
    if track_id >= 1 << 32:
        raise BoxError("no track id is left for the subtitle")
    parts: list[bytes] = []
    for kind, body, end in boxes.boxes(init):
        if kind != b"moov":
            parts.append(init[body - 8 : end])
            continue
        inner: list[bytes] = []
        found = set()
        for child, start, stop in boxes.boxes(init, body, end):
            content = init[start:stop]
            found.add(child)
            if child == b"mvhd":
                # next_track_ID is the last field of either version.
                content = content[:-4] + struct.pack(">I", track_id + 1)
            elif child == b"mvex":
                inner.append(_text_trak(track_id))
                content += box(b"trex", struct.pack(">6I", 0, track_id, 1, 0, 0, 0))
            inner.append(box(child, content))
        if not {b"mvhd", b"mvex"} <= found:
            raise BoxError("an init segment without mvhd or mvex")
        parts.append(box(b"moov", *inner))
    return b"".join(parts), track_id


def _text_trak(track_id: int) -> bytes:
    style = struct.pack(">HHHBBI", 0, 0, 1, 0, 18, 0xFFFFFFFF)
    entry = box(
        b"tx3g",
        bytes(6) + struct.pack(">H", 1),
        struct.pack(">IbbI", 0, 1, -1, 0x00000000),
        struct.pack(">4h", 0, 0, 0, 0),
        style,
        box(b"ftab", struct.pack(">HHB", 1, 1, 5), b"Serif"),
    )
    table = box(
        b"stbl",
        box(b"stsd", struct.pack(">II", 0, 1), entry),
        box(b"stts", bytes(8)),
        box(b"stsc", bytes(8)),
        box(b"stsz", bytes(12)),
        box(b"stco", bytes(8)),
    )
    return box(
        b"trak",
        # Flags 3: enabled and in the film. Players show a text track in the layer above the picture.
        box(
            b"tkhd",
            struct.pack(">I5I", 3, 0, 0, track_id, 0, 0),
            struct.pack(">8xhhhH", -1, 2, 0, 0),
            _MATRIX,
            struct.pack(">II", 0, 0),
        ),
        box(
            b"mdia",
            box(b"mdhd", struct.pack(">IIIIIHH", 0, 0, 0, TEXT_TIMESCALE, 0, _language("zho"), 0)),
            box(b"hdlr", struct.pack(">II4s12x", 0, 0, b"sbtl"), b"Liuhen\0"),
            box(
                b"minf",
                box(b"nmhd", bytes(4)),
                box(b"dinf", box(b"dref", struct.pack(">II", 0, 1), box(b"url ", struct.pack(">I", 1)))),
                table,
            ),
        ),
    )


def _language(code: str) -> int:
    first, second, third = (ord(letter) - 0x60 for letter in code)
    return first << 10 | second << 5 | third


def subtitle_fragment(track_id: int, number: int, cues: list[subtitles.Cue]) -> bytes:
    """Return one moof and mdat with the cues as samples; they must follow each other without holes.

    Args:
        track_id: id of the subtitle track.
        number: sequence number of the fragment.
        cues: at least one.
    """
    samples: list[tuple[int, bytes]] = []
    for cue in cues:
        encoded = cue.text.encode()[:MAX_TEXT_SIZE_BYTES]
        sample = struct.pack(">H", len(encoded)) + encoded
        left = cue.end_ms - cue.start_ms
        while left > 0:
            samples.append((min(left, _MAX_DURATION), sample))
            left -= _MAX_DURATION
    rows = b"".join(struct.pack(">II", length, len(sample)) for length, sample in samples)

    def moof(data_offset: int) -> bytes:
        return box(
            b"moof",
            box(b"mfhd", struct.pack(">II", 0, number)),
            box(
                b"traf",
                box(b"tfhd", struct.pack(">II", 0x020000, track_id)),
                box(b"tfdt", struct.pack(">IQ", 1 << 24, cues[0].start_ms)),
                box(b"trun", struct.pack(">IIi", 0x000301, len(samples), data_offset), rows),
            ),
        )

    head = moof(len(moof(0)) + 8)
    return head + box(b"mdat", *(sample for _, sample in samples))


class FilmComposer:
    """Composes the films of one session, chunk after chunk, without ever holding more than one chunk."""

    def __init__(self, timeline: Timeline) -> None:
        self._timeline = timeline
        self._part: int | None = None
        self._track_id = 0
        self._shown_ms: int | None = None
        self._number = 0
        self._waiting: list[list[subtitles.Cue]] = []
        """Cues of chunks that are not given, at the beginning of a film: the init segment is not known yet."""

    def add(self, index: int, content: bytes | None) -> Iterator[tuple[int, bytes]]:
        """Yield (part, bytes to append to its film) for the next chunk.

        Args:
            index: which of the timeline's pieces; must be called for each in turn.
            content: the whole chunk, or None where it is not given.

        Raises:
            BoxError: the content does not begin with an init segment of the signed length.
        """
        chunk = self._timeline.pieces[index].chunk
        if chunk.part != self._part:
            self._part, self._shown_ms, self._track_id, self._waiting = chunk.part, None, 0, []
        found = subtitles.cues(self._timeline, index, self._shown_ms)
        if found:
            self._shown_ms = found[-1].end_ms
        if content is None:
            if found:
                self._waiting.append(found)
            if self._track_id:
                yield from self._subtitles()
            return
        if not self._track_id:
            init, self._track_id = with_subtitle_track(content[: chunk.init_size_bytes])
            self._number = 0
            yield chunk.part, init
        if found:
            self._waiting.append(found)
        yield from self._subtitles()
        yield chunk.part, content[chunk.init_size_bytes :]

    def _subtitles(self) -> Iterator[tuple[int, bytes]]:
        assert self._part is not None  # noqa: S101 - set by add
        for found in self._waiting:
            self._number += 1
            yield self._part, subtitle_fragment(self._track_id, self._number, found)
        self._waiting = []
