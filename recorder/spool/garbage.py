"""Freeing media that a store has receipted: the only code that removes a file which a record brings."""

from __future__ import annotations

import hashlib
import logging
from typing import TYPE_CHECKING, Final, NamedTuple

from recorder.evidence.errors import StatementError
from recorder.evidence.statements import MediaReceipt
from recorder.spool import index as index_module
from recorder.spool.errors import SpoolFatalError
from recorder.spool.keeper import parse_receipt
from recorder.spool.layout import sync_directory
from recorder.spool.steps import step

if TYPE_CHECKING:
    from collections.abc import Mapping

    from recorder.spool.index import MediaRow
    from recorder.spool.keeper import IndexKeeper
    from recorder.spool.layout import Layout
    from recorder.spool.logfile import LogFile

log = logging.getLogger(__name__)

BATCH: Final = 64
"""Most files removed at a time, so that recording never waits long."""


class Freed(NamedTuple):
    """What was removed."""

    files: int
    size_bytes: int


def collect(
    layout: Layout,
    keeper: IndexKeeper,
    logs: Mapping[bytes, LogFile],
    receipts: LogFile,
    *,
    older_than_utc_ns: int,
    wanted_bytes: int,
    free_on: str,
) -> Freed:
    """Remove lingering files, those receipted longest ago first.

    Args:
        layout: the spool.
        keeper: its index.
        logs: its log files.
        receipts: receipts.log.
        older_than_utc_ns: files receipted before this moment have lingered long enough.
        wanted_bytes: room that is missing; later ones go, too, until it is made.
        free_on: class of receipt that permits freeing.

    Raises:
        SpoolFatalError: the disk failed; the process must end.
    """
    due: list[MediaRow] = []
    missing = wanted_bytes
    for row in keeper.ask(lambda index: index.lingering(BATCH)):
        if row.receipt_utc_ns is not None and row.receipt_utc_ns >= older_than_utc_ns and missing <= 0:
            break
        missing -= row.stored_size_bytes
        due.append(row)
    proved = [row for row in due if _proved(row, logs, receipts, free_on)]
    doubtful = [row for row in due if row not in proved]
    if doubtful:
        log.error("%d files are not freed: their receipts cannot be read; the index is made again", len(doubtful))
        keeper.rebuild()
        return Freed(0, 0)
    if not proved:
        return Freed(0, 0)
    try:
        for row in proved:
            layout.media_file(row.log, row.media).unlink(missing_ok=True)
            step("garbage.unlinked")
        for folder in {layout.media_folder(row.log) for row in proved}:
            if folder.is_dir():
                sync_directory(folder)
        step("garbage.directory-synced")
    except OSError as error:
        raise SpoolFatalError(f"media cannot be freed: {error}; the process must end") from error
    keeper.ask(lambda index: index.set_state(proved, index_module.GONE))
    step("garbage.indexed")
    freed = Freed(len(proved), sum(row.stored_size_bytes for row in proved))
    log.info("%d receipted files freed, %d bytes", freed.files, freed.size_bytes)
    return freed


def _proved(row: MediaRow, logs: Mapping[bytes, LogFile], receipts: LogFile, free_on: str) -> bool:
    """Tell whether receipts.log and the log themselves, not only the index, say that the file may go."""
    record = logs[row.log].read(row.record_offset) if row.log in logs else None
    frame = receipts.read(row.receipt_offset) if row.receipt_offset is not None else None
    if record is None or frame is None:
        return False
    try:
        receipt = parse_receipt(frame.message)
    except StatementError:
        return False
    return (
        isinstance(receipt, MediaReceipt)
        and (receipt.log, receipt.sequence) == (row.log, row.sequence)
        and receipt.record_sha256 == hashlib.sha256(record.message).digest()
        and free_on in ("stored", receipt.storage)
    )
