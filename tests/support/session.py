"""What a spool holds, read as an outsider would: records of a session, its film, the numbers in its pictures."""

from __future__ import annotations

import io
import struct
from typing import TYPE_CHECKING

import av

from recorder.evidence import records, stored
from recorder.source.listen import Listening, pattern
from recorder.source.synthetic import read_number
from recorder.spool.reader import SpoolReader

if TYPE_CHECKING:
    from pathlib import Path

    from recorder.evidence.records import Record
    from recorder.voice.sounds import Sound


def stream_records(spool: Path, stream: int = 1) -> list[Record]:
    """Return all records of a stream's log, oldest first."""
    for log in SpoolReader(spool).logs():
        first = log.first()
        if first is not None and first.stream == stream:
            return list(log.records())
    raise AssertionError(f"{spool} has no log of stream {stream}")


def chunks(spool: Path, stream: int = 1) -> list[tuple[Record, records.Chunk]]:
    """Return the chunk records of a stream."""
    return [(one, one.body) for one in stream_records(spool, stream) if isinstance(one.body, records.Chunk)]


def joined_film(spool: Path, stream: int = 1) -> bytes:
    """Join the chunks by bytes: the first init and all fragments."""
    reader = SpoolReader(spool)
    film = b""
    for record, chunk in chunks(spool, stream):
        with reader.media_path(record.log, chunk.media).open("rb") as file:
            content = b"".join(stored.content(file.read))
        film += content if not film else content[chunk.init_size_bytes :]
    return film


def frame_numbers(film: bytes) -> list[int | None]:
    """Decode a film of the synthetic camera and read the number in each picture."""
    numbers = []
    with av.open(io.BytesIO(film)) as container:
        for frame in container.decode(video=0):
            plane = frame.planes[0]
            line = bytes(plane)[(frame.height - 2) * plane.line_size : (frame.height - 1) * plane.line_size]
            numbers.append(read_number(line, frame.width))
    return numbers


def heard_in_film(film: bytes, spoken: Sound, at_boottime_ns: int, zero_boottime_ns: int) -> bool:
    """Listen to a film as an outsider would: is this sound in it, about the time at which it was spoken?"""
    listening = Listening(pattern(spoken.pcm, spoken.rate_hz), at_boottime_ns, 48_000)
    with av.open(io.BytesIO(film)) as container:
        for frame in container.decode(audio=0):
            values = memoryview(frame.planes[0]).cast("B").cast("f")[: frame.samples]
            pcm = struct.pack(f"<{len(values)}h", *(max(-32768, min(32767, round(32767 * one))) for one in values))
            listening.put(pcm, zero_boottime_ns + round((frame.time or 0) * 1e9))
    return listening.result().heard


def assert_chain(found: list[Record], public_key: bytes) -> None:
    """Every record is signed, follows the one before it, and no sequence is used twice."""
    previous = records.ZERO_HASH
    for sequence, record in enumerate(found):
        records.verify(record, public_key)
        assert record.sequence == sequence
        assert record.previous_sha256 == previous
        previous = record.sha256
