"""What a start finds: log files to mend, logs to choose from, media files without a record."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, NamedTuple

from recorder.evidence import records
from recorder.evidence.errors import RecordError
from recorder.evidence.records import Chunk, Genesis
from recorder.spool import media
from recorder.spool.layout import mark_path, open_descriptor, sync_directory
from recorder.spool.logfile import Damage, LogFile, read_frame
from recorder.spool.reader import MAX_RECORD_SIZE_BYTES
from recorder.spool.steps import step

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from recorder.evidence.records import Record
    from recorder.evidence.stored import Header
    from recorder.spool.keeper import IndexKeeper
    from recorder.spool.layout import Layout
    from recorder.spool.logfile import Frame

log = logging.getLogger(__name__)


class FoundLog(NamedTuple):
    """A log file that was there at start, mended."""

    log: bytes
    file: LogFile
    first: Record
    """Oldest readable record."""
    head: Record
    """Newest readable record."""
    torn_size_bytes: int
    """Bytes of an unfinished last record that were cut off."""
    unreadable_size_bytes: int
    """Bytes behind the head that had been durable and cannot be read any more."""

    @property
    def stream_name(self) -> str | None:
        """The stream's name, None where the genesis cannot be read."""
        return self.first.body.stream_name if isinstance(self.first.body, Genesis) else None


class RecoveredChunk(NamedTuple):
    """A media file that had no record: to be signed as recovered."""

    log: bytes
    stream: int
    session: bytes | None
    header: Header
    body: Chunk
    path: Path
    cut_size_bytes: int
    """Bytes behind its last whole fragment that were cut off."""


class MediaFound(NamedTuple):
    """What was found of media files without a record, in one log."""

    chunks: list[RecoveredChunk]
    removed: list[int]
    """Numbers of files that held nothing whole."""
    next_number: int


def open_logs(layout: Layout, keeper: IndexKeeper) -> list[FoundLog]:
    """Open and mend every log file; ones that never held a record are removed."""
    found = []
    for log_id in layout.log_ids():
        one = _open_log(layout, keeper, log_id)
        if one is not None:
            found.append(one)
    return found


def _open_log(layout: Layout, keeper: IndexKeeper, log_id: bytes) -> FoundLog | None:
    path = layout.log(log_id)
    with open_descriptor(path, os.O_RDONLY) as descriptor:
        size = os.fstat(descriptor).st_size
        start = keeper.hint(log_id, lambda at: read_frame(descriptor, at, size, MAX_RECORD_SIZE_BYTES))
    opened = LogFile.open(path, MAX_RECORD_SIZE_BYTES, start)
    file = opened.file
    first, head = _first(file), _parse(opened.last)
    if first is not None and head is None:
        head = _newest(file)
    if first is None or head is None:
        file.close()
        if file.size_bytes == 0:
            log.warning("log %s never held a record and is removed", log_id.hex()[:8])
            path.unlink()
            mark_path(path).unlink(missing_ok=True)
            sync_directory(path.parent)
        else:
            log.error("log %s holds no readable record; it is left as it is", log_id.hex())
        return None
    for damage in opened.damages:
        log.error("%s: %d bytes at %d are unreadable", path.name, damage.end_offset - damage.offset, damage.offset)
    if opened.torn_size_bytes:
        log.warning("%s: %d bytes of an unfinished record were cut off", path.name, opened.torn_size_bytes)
    behind = opened.last.end_offset if opened.last else 0
    return FoundLog(log_id, file, first, head, opened.torn_size_bytes, file.size_bytes - behind)


def _first(file: LogFile) -> Record | None:
    return next((record for record in map(_parse, file.frames()) if record is not None), None)


def _newest(file: LogFile) -> Record | None:
    newest = None
    for frame in file.frames():
        newest = _parse(frame) or newest
    return newest


def _parse(frame: Frame | Damage | None) -> Record | None:
    if frame is None or isinstance(frame, Damage):
        return None
    try:
        return records.parse(frame.message)
    except RecordError:
        return None


def choose(found: Iterable[FoundLog], device: str, stream: int, name: str) -> tuple[FoundLog | None, FoundLog | None]:
    """Return the log that a stream goes on with, and else the one that a new log follows.

    A log belongs to a stream by device, number and name. Where there are several (one was replaced), it is the one
    that no other names as its predecessor, and of those the one begun last.
    """
    same = [one for one in found if one.first.stream == stream and one.first.device == device]
    replaced = {one.first.body.previous_log for one in same if isinstance(one.first.body, Genesis)}
    newest_first = sorted(same, key=lambda one: (one.log not in replaced, one.first.utc_ns, one.log), reverse=True)
    for one in newest_first:
        if one.log not in replaced and one.stream_name in (name, None):
            return one, None
    return None, newest_first[0] if newest_first else None


def find_media(layout: Layout, keeper: IndexKeeper, log_id: bytes, stream: int) -> MediaFound:
    """Look after the media files of a log that a crash may have left without a record.

    Each is cut behind its last whole fragment and synced, or removed when it holds none.
    """
    state = keeper.ask(lambda index: index.log_state(log_id))
    numbers = layout.media_numbers(log_id)
    next_number = max([state.media_next if state else 1, *(number + 1 for number in numbers)])
    settled = state.media_settled if state else 1
    chunks: list[RecoveredChunk] = []
    removed: list[int] = []
    for number in numbers:
        if number < settled or keeper.ask(lambda index, one=number: index.has_record(log_id, one)):  # type: ignore[misc]
            continue
        path = layout.media_file(log_id, number)
        torn = media.recover(path)
        chunk = _chunk(torn, log_id, stream, path) if torn else None
        if chunk is None:
            log.warning("media %d of log %s held nothing whole and is removed", number, log_id.hex()[:8])
            path.unlink()
            removed.append(number)
            step("recovery.removed")
        else:
            log.warning(
                "media %d of log %s has no record: %d fragments recovered, %d bytes cut off",
                number,
                log_id.hex()[:8],
                chunk.body.fragments,
                chunk.cut_size_bytes,
            )
            chunks.append(chunk)
    if layout.media_folder(log_id).is_dir():
        # Names of files that were found may not have been durable yet; what is signed must be.
        sync_directory(layout.media_folder(log_id))
    keeper.ask(
        lambda index: index.settle(log_id, min([next_number, *(chunk.header.media for chunk in chunks)])),
    )
    return MediaFound(chunks, removed, next_number)


def _chunk(torn: media.Torn, log_id: bytes, stream: int, path: Path) -> RecoveredChunk | None:
    scan = torn.scan
    if scan.account is None or scan.init_sha256 is None or path != path.with_name(f"{scan.header.media:012d}"):
        return None
    reason = "not-logged" if torn.finished else "torn"
    body = media.chunk_body(torn.facts, scan.account, scan.init_sha256, reason)
    return RecoveredChunk(log_id, stream, scan.header.session, scan.header, body, path, torn.cut_size_bytes)
