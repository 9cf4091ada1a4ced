"""The spool as every other process sees it: read-only, and never further than what is durable.

Nothing here writes, locks or opens SQLite, so a reader can neither block the recorder nor be blocked by it.
A record is found by its sequence by halving the log: frames can be found from any offset, and sequences only rise.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from keys.identity import MAX_CERTIFICATE_SIZE_BYTES
from recorder.evidence import records
from recorder.evidence.errors import RecordError
from recorder.evidence.statements import MAX_RECEIPT_SIZE_BYTES
from recorder.spool.layout import Layout, open_descriptor
from recorder.spool.logfile import HEAD_SIZE_BYTES, Damage, Frame, durable_size, walk

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from recorder.evidence.records import Record

MAX_CERTIFICATES = 64
MAX_RECORD_SIZE_BYTES = records.MAX_RECORD_SIZE_BYTES
_LINEAR_SIZE_BYTES = 64 << 10
"""Below this length a search reads on instead of halving."""


class Entry(NamedTuple):
    """One record and where it stands in its log file."""

    offset: int
    end_offset: int
    """Offset to go on from."""
    record: Record


class LogReader:
    """One log of a spool, up to its durable mark."""

    def __init__(self, path: Path, log: bytes) -> None:
        self.path = path
        self.log = log

    def durable_size_bytes(self) -> int:
        """Return the offset up to which the log may be read now."""
        return durable_size(self.path)

    def entries(self, start: int = 0, end: int | None = None) -> Iterator[Entry | Damage]:
        """Yield the records from an offset up to the durable mark (or ``end``), and what cannot be read as damage.

        To follow a log, go on from the last item's ``end_offset``. A frame that holds no record is damage, too.

        Raises:
            OSError: the file cannot be read.
        """
        stop = self.durable_size_bytes()
        stop = stop if end is None else min(stop, end)
        with open_descriptor(self.path, os.O_RDONLY) as descriptor:
            stop = min(stop, os.fstat(descriptor).st_size)
            for item in walk(descriptor, start, stop, MAX_RECORD_SIZE_BYTES):
                yield item if isinstance(item, Damage) else _entry(item)

    def records(self, start: int = 0) -> Iterator[Record]:
        """Yield the readable records from an offset up to the durable mark."""
        for item in self.entries(start):
            if isinstance(item, Entry):
                yield item.record

    def first(self) -> Record | None:
        """Return the oldest readable record, the genesis of a sound log; None for an empty log."""
        return next(self.records(), None)

    def head(self) -> Entry | None:
        """Return the newest record, or None for an empty log. Its cost does not grow with the log."""
        stop = self.durable_size_bytes()
        span = 2 * (HEAD_SIZE_BYTES + MAX_RECORD_SIZE_BYTES)
        while True:
            start = max(0, stop - span)
            newest = None
            for item in self.entries(start, stop):
                if isinstance(item, Entry):
                    newest = item
            if newest is not None or start == 0:
                return newest
            span *= 4

    def find(self, sequence: int) -> Entry | None:
        """Return the record with this sequence, or None where the log does not hold it (any more)."""
        end = self.durable_size_bytes()
        low, high = 0, end  # the record, if it is there, begins at or after low and before high
        while high - low > _LINEAR_SIZE_BYTES:
            middle = (low + high) // 2
            entry = self._next_entry(middle, end)
            if entry is None or entry.record.sequence > sequence:
                high = middle
            elif entry.record.sequence == sequence:
                return entry
            else:
                low = entry.end_offset
        for item in self.entries(low, end):
            if isinstance(item, Entry) and item.record.sequence >= sequence:
                return item if item.record.sequence == sequence else None
        return None

    def _next_entry(self, start: int, end: int) -> Entry | None:
        return next((item for item in self.entries(start, end) if isinstance(item, Entry)), None)


class Receipt(NamedTuple):
    """One receipt that the recorder has verified and kept."""

    end_offset: int
    message: bytes
    """COSE_Sign1; parse with :func:`recorder.evidence.statements.parse`."""


class SpoolReader:
    """A spool, read-only, while its recorder runs or when it does not."""

    def __init__(self, root: Path) -> None:
        self.layout = Layout(root)

    def logs(self) -> list[LogReader]:
        """Return all logs, the current and earlier ones of each stream."""
        return [self.log(log) for log in self.layout.log_ids()]

    def log(self, log: bytes) -> LogReader:
        """Return one log by its id."""
        return LogReader(self.layout.log(log), log)

    def media_path(self, log: bytes, media: int) -> Path:
        """Return where a media file lies as long as it is on the device."""
        return self.layout.media_file(log, media)

    def certificates(self) -> list[bytes]:
        """Return the certificates that lie in the spool, DER: claims, to be proved by an authority from outside."""
        found = []
        try:
            names = sorted(self.layout.certificates.glob("*.der"))[:MAX_CERTIFICATES]
        except OSError:
            return []
        for path in names:
            if path.is_file() and not path.is_symlink():
                with path.open("rb") as file:
                    found.append(file.read(MAX_CERTIFICATE_SIZE_BYTES))
        return found

    def receipts(self, start: int = 0) -> Iterator[Receipt]:
        """Yield the receipts that the recorder has verified, oldest first, from an offset on.

        Receipts are kept for ever: a store that was restored from a backup is told by them what it once had.
        """
        path = self.layout.receipts_log
        try:
            with open_descriptor(path, os.O_RDONLY) as descriptor:
                end = min(durable_size(path), os.fstat(descriptor).st_size)
                for item in walk(descriptor, start, end, MAX_RECEIPT_SIZE_BYTES):
                    if isinstance(item, Frame):
                        yield Receipt(item.end_offset, item.message)
        except FileNotFoundError:
            return


def _entry(frame: Frame) -> Entry | Damage:
    try:
        return Entry(frame.offset, frame.end_offset, records.parse(frame.message))
    except RecordError:
        return Damage(frame.offset, frame.end_offset)
