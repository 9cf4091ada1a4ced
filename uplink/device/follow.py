"""Following the spool: what the recorder has made durable becomes the uplink's index and plan."""

from __future__ import annotations

import hashlib
import logging
import os
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Final

from recorder.evidence import statements
from recorder.evidence.errors import StatementError
from recorder.evidence.statements import MAX_RECEIPT_SIZE_BYTES, MediaReceipt, RecordsReceipt
from recorder.spool.layout import open_descriptor
from recorder.spool.logfile import Damage, read_frame
from recorder.spool.reader import MAX_RECORD_SIZE_BYTES
from uplink.device.state import receipt_level
from uplink.device.transfers import Key

if TYPE_CHECKING:
    from recorder.evidence.records import Record
    from recorder.spool.reader import Entry, LogReader, SpoolReader
    from uplink.device.plan import Plan
    from uplink.device.state import LogRow, State

log = logging.getLogger(__name__)

STEP_RECORDS: Final = 500
"""So many are indexed before the network has its turn."""


class Follower:
    """Keeps index and plan up with the spool."""

    def __init__(self, reader: SpoolReader, state: State, plan: Plan) -> None:
        self._reader = reader
        self._state = state
        self._plan = plan
        self.rows: dict[bytes, LogRow] = {}
        self._recorded: dict[bytes, int] = {}
        """What the recorder's receipts said of each log so far: a lower number later means that the store fell back."""
        for row in state.logs():
            if self._same(row):
                self.rows[row.log] = row
                self._announce(row)
            else:
                self._forget(row)

    def step(self) -> bool:
        """Take in some of what is new; return whether there is more."""
        more = False
        for reader in self._reader.logs():
            more = self._follow(reader) or more
        return more or self._receipts()

    def head(self, log_id: bytes, sequence: int) -> bytes | None:
        """Return the hash of a record of the log, None when it cannot be read."""
        row = self.rows.get(log_id)
        offset = None if row is None else self._state.offset(row, sequence)
        message = None if offset is None else self._message(log_id, offset)
        return None if message is None else hashlib.sha256(message).digest()

    def _same(self, row: LogRow) -> bool:
        """Tell whether a log file still holds what was indexed."""
        if row.next_sequence == 0:
            return True
        message = self._message(row.log, row.head_offset)
        return message is not None and hashlib.sha256(message).digest() == row.head_sha256

    def _message(self, log_id: bytes, offset: int) -> bytes | None:
        reader = self._reader.log(log_id)
        try:
            with open_descriptor(reader.path, os.O_RDONLY) as descriptor:
                frame = read_frame(descriptor, offset, reader.durable_size_bytes(), MAX_RECORD_SIZE_BYTES)
        except FileNotFoundError:
            return None
        return None if frame is None else frame.message

    def _forget(self, row: LogRow) -> None:
        log.warning("log %s is not the file that was indexed; its index is made anew", row.log.hex())
        self._state.forget_log(row)
        self.rows.pop(row.log, None)
        self._plan.log_replaced(row.log)

    def _announce(self, row: LogRow) -> None:
        self._plan.log_grew(row.log, row.next_sequence, row.acknowledged, row.floor_utc_ns)
        for first, end in self._state.unreadable(row):
            self._plan.logs[row.log].cannot_read(first, end)

    def _follow(self, reader: LogReader) -> bool:
        row = self.rows.get(reader.log)
        size = reader.durable_size_bytes()
        if row is not None and size == row.next_offset:
            return False
        if row is not None and size < row.next_offset:
            self._forget(row)
            row = None
        self._state.begin()
        row = row or self._state.add_log(reader.log)
        found = list(islice(reader.entries(row.next_offset), STEP_RECORDS))
        for item in found:
            if isinstance(item, Damage):
                log.error("log %s: bytes %d to %d are no record", reader.log.hex(), item.offset, item.end_offset)
                self._state.move_log(row, item.end_offset)
                continue
            if item.record.sequence == row.next_sequence and item.record.previous_sha256 != (
                row.head_sha256 or bytes(len(item.record.sha256))
            ):
                # What stood before it is not what we read: the file was replaced while we ran.
                self._state.commit()
                self._forget(row)
                return True
            row = self._add(row, item)
        self._state.commit()
        row = next(one for one in self._state.logs() if one.id == row.id)
        self.rows[row.log] = row
        self._announce(row)
        return len(found) == STEP_RECORDS

    def _add(self, row: LogRow, entry: Entry) -> LogRow:
        record: Record = entry.record
        if record.log != row.log or record.sequence < row.next_sequence:
            log.error("log %s: a record at byte %d has no place there", row.log.hex(), entry.offset)
            self._state.move_log(row, entry.end_offset)
            return row
        if record.sequence > row.next_sequence:
            self._state.add_unreadable(row, row.next_sequence, record.sequence)
        self._state.add_record(row, record, entry.offset, entry.end_offset)
        return replace(
            row,
            next_sequence=record.sequence + 1,
            next_offset=entry.end_offset,
            head_offset=entry.offset,
            head_sha256=record.sha256,
        )

    def _receipts(self) -> bool:
        """Take over what the recorder has verified: after a lost index that is all that is known."""
        start = self._state.receipts_offset()
        found = list(islice(self._reader.receipts(start), STEP_RECORDS))
        if not found:
            return False
        self._state.begin()
        for receipt in found:
            self._recorded_receipt(receipt.message)
        self._state.move_receipts(found[-1].end_offset)
        self._state.commit()
        return len(found) == STEP_RECORDS

    def _recorded_receipt(self, message: bytes) -> None:
        try:
            kind = statements.type_of(message, MAX_RECEIPT_SIZE_BYTES)
            if kind == "records-receipt":
                self._records(statements.parse(message, RecordsReceipt, MAX_RECEIPT_SIZE_BYTES))
            elif kind == "media-receipt":
                self._media(statements.parse(message, MediaReceipt, MAX_RECEIPT_SIZE_BYTES))
        except StatementError as error:
            log.warning("a receipt that the recorder keeps cannot be read: %s", error)

    def _records(self, receipt: RecordsReceipt) -> None:
        row = self.rows.get(receipt.log)
        if row is None or self._plan.connected_s is not None:
            return  # a running uplink has seen it itself, and may have learnt since that the store fell back
        if receipt.utc_ns <= row.floor_utc_ns:
            return
        if receipt.next_sequence and self.head(receipt.log, receipt.next_sequence - 1) != receipt.head_sha256:
            return
        state = self._plan.logs[row.log]
        before = self._recorded.get(row.log, 0)
        self._recorded[row.log] = receipt.next_sequence
        if receipt.next_sequence < before:
            self._state.fell_back(row, receipt.next_sequence, receipt.utc_ns)
            state.floor_utc_ns = receipt.utc_ns
        elif receipt.next_sequence > row.acknowledged:
            self._state.acknowledge(row, receipt.next_sequence)
        else:
            return
        state.acknowledged = state.confirmed = state.sent = receipt.next_sequence
        self.rows[row.log] = next(one for one in self._state.logs() if one.id == row.id)

    def _media(self, receipt: MediaReceipt) -> None:
        key = Key(receipt.log, receipt.sequence)
        media = self._state.media(key)
        level = receipt_level(receipt)
        row = self.rows.get(receipt.log)
        if media is None or row is None or self._plan.connected_s is not None:
            return
        if level <= media.level or not media.fits(receipt) or receipt.utc_ns < row.floor_utc_ns:
            return
        self._state.set_level(key, level)
        self._plan.held(key)
