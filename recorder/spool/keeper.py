"""Keeps the index level with the logs, and makes it again when it is not good any more.

A record is never refused because of the index: when SQLite fails, the index falls behind, and the next question first
brings it level again, from the logs if it must.
"""

from __future__ import annotations

import hashlib
import logging
import sqlite3
from typing import TYPE_CHECKING, Final, TypeVar

from recorder.evidence import records, statements
from recorder.evidence.errors import RecordError, StatementError
from recorder.evidence.statements import MediaReceipt, RecordsReceipt
from recorder.spool import index as index_module
from recorder.spool.errors import DiskFullError, SpoolFatalError
from recorder.spool.index import Index
from recorder.spool.layout import free_bytes
from recorder.spool.logfile import Damage, Frame
from recorder.spool.steps import step

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from recorder.evidence.records import Record
    from recorder.spool.layout import Layout
    from recorder.spool.logfile import LogFile

log = logging.getLogger(__name__)

BATCH: Final = 500
"""Records or receipts taken in with one commit while catching up."""
SHORT_OF_ROOM_BYTES: Final = 256 << 10
"""With less room, an input or output error of SQLite is taken for a full disk."""
T = TypeVar("T")


def parse_receipt(message: bytes) -> RecordsReceipt | MediaReceipt:
    """Parse a receipt of either kind; its signature is not checked here.

    Raises:
        StatementError: it is neither.
    """
    size = statements.MAX_RECEIPT_SIZE_BYTES
    if statements.type_of(message, size) == "media-receipt":
        return statements.parse(message, MediaReceipt, size)
    return statements.parse(message, RecordsReceipt, size)


class IndexKeeper:
    """The index of a spool, level with what is on the disk whenever it is asked."""

    def __init__(self, layout: Layout, free_on: str) -> None:
        self._layout = layout
        self._free_on = free_on
        self._logs: dict[bytes, LogFile] = {}
        self._receipts: LogFile | None = None
        self._behind = True
        self._index = self._open()
        self.holes: dict[bytes, list[tuple[int, int]]] = {}
        """Per log, first and last sequences of records found missing while catching up, not yet signed as lost."""

    def _open(self) -> Index:
        try:
            return Index(self._layout.index)
        except sqlite3.DatabaseError as error:
            self._damaged(error)
            return self._anew()

    def _anew(self) -> Index:
        for suffix in ("", "-wal", "-shm"):
            self._layout.index.with_name(self._layout.index.name + suffix).unlink(missing_ok=True)
        try:
            return Index(self._layout.index)
        except sqlite3.DatabaseError as error:
            self._damaged(error)
            raise SpoolFatalError(f"{self._layout.index}: no index can be made: {error}") from error

    def close(self) -> None:
        """Close the index."""
        self._index.close()

    def hint(self, log_id: bytes | None, read: Callable[[int], Frame | None]) -> int:
        """Return an offset up to which a file needs no reading at start, because the index knows what is there.

        Args:
            log_id: the log; None for receipts.log.
            read: returns the frame at an offset of the file.
        """
        try:
            if log_id is None:
                offset, sha256 = self._index.meta("receipts_head_offset"), self._index.meta("receipts_head_sha256")
            else:
                state = self._index.log_state(log_id)
                offset, sha256 = (state.head_offset, state.head_sha256) if state else (None, None)
        except sqlite3.DatabaseError:
            return 0
        frame = read(offset) if offset is not None else None
        return frame.offset if frame is not None and hashlib.sha256(frame.message).digest() == sha256 else 0

    def attach(self, logs: dict[bytes, LogFile], receipts: LogFile) -> None:
        """Name the files that the index is to be level with, and bring it level."""
        self._logs, self._receipts = logs, receipts
        self._level()

    def attach_log(self, log_id: bytes, file: LogFile) -> None:
        """Name one more log."""
        self._logs[log_id] = file

    def appended(self, log_id: bytes, entries: list[tuple[Frame, Record]]) -> None:
        """Take in records that have just become durable."""
        self._try(lambda: self._index.add(log_id, entries, entries[-1][0].end_offset))
        step("index.committed")

    def receipted(self, receipts: list[tuple[Frame, bytes, RecordsReceipt | MediaReceipt]]) -> None:
        """Take in receipts that have just become durable."""
        self._try(lambda: self._index.add_receipts(receipts, free_on=self._free_on))
        step("receipts.indexed")

    def _try(self, write: Callable[[], None]) -> None:
        if self._behind:
            return
        try:
            write()
        except sqlite3.DatabaseError as error:
            self._behind = True
            log.warning("the index falls behind: %s", error)

    def ask(self, question: Callable[[Index], T]) -> T:
        """Return the answer of the index, which is level with the logs.

        Raises:
            DiskFullError: the index is behind, and there is no room to bring it level.
        """
        for last in (False, True):
            try:
                if self._behind:
                    self._level()
                return question(self._index)
            except sqlite3.DatabaseError as error:
                self._damaged(error)
                if last:
                    raise SpoolFatalError(f"{self._layout.index}: a new index fails, too: {error}") from error
                self.rebuild()
        raise AssertionError

    def rebuild(self) -> None:
        """Make the index again from the logs, the receipts and the files that are there."""
        self._index.close()
        self._index = self._anew()
        self._behind = True
        self._level()

    def _level(self) -> None:
        try:
            fits = self._fits()
        except sqlite3.DatabaseError as error:
            self._damaged(error)
            fits = False
        for last in (False, True):
            if not fits:
                self._index.close()
                self._index = self._anew()
            try:
                self._catch_up_all()
            except sqlite3.DatabaseError as error:
                self._damaged(error)
                if last:
                    raise SpoolFatalError(f"{self._layout.index}: a new index fails, too: {error}") from error
                fits = False
            else:
                self._behind = False
                return

    def _catch_up_all(self) -> None:
        self.holes = {}
        anew = self._index.meta("receipts_size_bytes") is None
        for log_id, file in self._logs.items():
            self._catch_up(log_id, file)
        if self._receipts is not None:
            self._catch_up_receipts(self._receipts)
        if anew:
            self._find_gone()

    def _damaged(self, error: sqlite3.DatabaseError) -> None:
        """Tell a damaged index, which is made again, from a full disk.

        Raises:
            DiskFullError: it is the disk.
        """
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        short = free_bytes(self._layout.root) < SHORT_OF_ROOM_BYTES
        if code == sqlite3.SQLITE_FULL or (code in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN) and short):
            raise DiskFullError("no room for the index") from error
        log.warning("the index cannot be used and is made again: %s", error)

    def _fits(self) -> bool:
        """Tell whether what the index holds is a beginning of what the logs hold."""
        for log_id in self._index.log_ids():
            state, file = self._index.log_state(log_id), self._logs.get(log_id)
            if state is None or file is None or file.size_bytes < state.indexed_size_bytes:
                return False
            frame = file.read(state.head_offset)
            if frame is None or hashlib.sha256(frame.message).digest() != state.head_sha256:
                log.warning("the index is of another past of log %s and is made again", log_id.hex()[:8])
                return False
        if self._index.meta("free_on") not in (None, self._free_on):
            return False
        size = self._index.meta("receipts_size_bytes")
        if size is None:
            return True
        if self._receipts is None or self._receipts.size_bytes < size:
            return False
        frame = self._receipts.read(self._index.meta("receipts_head_offset"))
        return frame is not None and hashlib.sha256(frame.message).digest() == self._index.meta("receipts_head_sha256")

    def _catch_up(self, log_id: bytes, file: LogFile) -> None:
        state = self._index.log_state(log_id)
        start = state.indexed_size_bytes if state else 0
        if start == file.size_bytes:
            return
        previous = state.head_sequence if state else -1
        lost: list[tuple[int, int]] = []
        signed: list[tuple[int, int]] = []
        batch: list[tuple[Frame, Record]] = []
        count = 0
        for frame, record in _records(file, start):
            if record.sequence > previous + 1:
                lost.append((previous + 1, record.sequence - 1))
            if isinstance(record.body, records.Lost) and record.body.log in (None, log_id):
                signed.append((record.body.first_sequence, record.body.last_sequence))
            previous = record.sequence
            batch.append((frame, record))
            count += 1
            if len(batch) == BATCH:
                self._index.add(log_id, batch, frame.end_offset)
                batch = []
        self._index.add(log_id, batch, file.size_bytes)
        open_holes = [hole for hole in lost if not any(first <= hole[0] and hole[1] <= last for first, last in signed)]
        if open_holes:
            self.holes[log_id] = open_holes
        log.info("the index has taken in %d records of log %s", count, log_id.hex()[:8])

    def _catch_up_receipts(self, file: LogFile) -> None:
        start = self._index.meta("receipts_size_bytes") or 0
        batch: list[tuple[Frame, bytes, RecordsReceipt | MediaReceipt]] = []
        for item in file.frames(start):
            if isinstance(item, Damage):
                log.error("receipts.log: %d bytes at %d are unreadable", item.end_offset - item.offset, item.offset)
                continue
            try:
                batch.append((item, hashlib.sha256(item.message).digest(), parse_receipt(item.message)))
            except StatementError as error:
                log.error("receipts.log: what stands at %d is no receipt: %s", item.offset, error)  # noqa: TRY400
            if len(batch) == BATCH:
                self._index.add_receipts(batch, free_on=self._free_on)
                batch = []
        if batch:
            self._index.add_receipts(batch, free_on=self._free_on)

    def _find_gone(self) -> None:
        """After a rebuild: receipted files that are not there any more have been freed."""
        present = {log_id: set(self._layout.media_numbers(log_id)) for log_id in self._logs}
        everything = self._index.lingering(-1)
        gone = [row for row in everything if row.media not in present.get(row.log, set())]
        self._index.set_state(gone, index_module.GONE)


def _records(file: LogFile, start: int) -> Iterator[tuple[Frame, Record]]:
    for item in file.frames(start):
        if isinstance(item, Damage):
            log.error("%s: %d bytes at %d are unreadable", file.path.name, item.end_offset - item.offset, item.offset)
            continue
        try:
            yield item, records.parse(item.message)
        except RecordError as error:
            log.error("%s: what stands at %d is no record: %s", file.path.name, item.offset, error)  # noqa: TRY400
