"""Taking in the spool of a dead device: its card is read as the network would have delivered it.

Every record is verified, every file compared with its record, nothing is looked into. The second time changes nothing.
"""

from __future__ import annotations

import logging
import stat
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from recorder.spool.reader import Entry, SpoolReader
from uplink.central.errors import RefusedError, StoreError, UnknownSignerError
from uplink.central.ingest import Answers

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from keys import cbor
    from recorder.evidence.records import Record
    from recorder.spool.logfile import Damage
    from recorder.spool.reader import LogReader
    from uplink.central.archive import Archive
    from uplink.central.ingest import Ingest
    from uplink.central.receipts import Writer

log = logging.getLogger(__name__)

BATCH: Final = 256
"""Records of one transaction; files are stored one by one."""


@dataclass
class Taken:
    """What a take-in found."""

    records: int = 0
    records_new: int = 0
    files_held: int = 0
    files_new: int = 0
    files_absent: int = 0
    """Named by a record, held nowhere here, and not on the card: freed after an earlier receipt, or lost."""
    files_wrong: int = 0
    """On the card, but not the bytes that their record names."""
    damages: int = 0
    """Places of the logs that hold no readable record."""
    refused: list[str] = field(default_factory=list)
    receipts: list[bytes] = field(default_factory=list)


def take_in(archive: Archive, ingest: Ingest, writer: Writer, spool: Path) -> Taken:
    """Take in all logs and files of a spool.

    Raises:
        StoreError: no spool, or its device's certificate is not known here; what was taken in before stays.
        StoreFullError: no room; doing it again goes on where this ended.
    """
    reader = SpoolReader(spool)
    logs = reader.logs()
    if not logs:
        raise StoreError(f"{spool} holds no logs: it is not the spool of a device")
    taken = Taken()
    for one in logs:
        _take_log(archive, ingest, writer, reader, one, taken)
    return taken


def _take_log(
    archive: Archive, ingest: Ingest, writer: Writer, reader: SpoolReader, one: LogReader, taken: Taken
) -> None:
    waiting: list[Record] = []
    device = ""
    for item in _readable(one, taken):
        if not isinstance(item, Entry):
            taken.damages += 1
            continue
        taken.records += 1
        device = device or item.record.device
        waiting.append(item.record)
        if len(waiting) >= BATCH:
            _keep(archive, ingest, writer, reader, waiting, taken)
            waiting = []
    _keep(archive, ingest, writer, reader, waiting, taken)
    if device:
        archive.begin()
        taken.receipts.append(writer.records(device, one.log))
        archive.commit()


def _readable(one: LogReader, taken: Taken) -> Iterator[Entry | Damage]:
    """Yield what can be read of a log; where a failing card gives nothing more, its other logs still count."""
    try:
        yield from one.entries()
    except OSError as error:
        taken.damages += 1
        taken.refused.append(f"{one.path} cannot be read on: {error.strerror}")


def _keep(
    archive: Archive, ingest: Ingest, writer: Writer, reader: SpoolReader, waiting: list[Record], taken: Taken
) -> None:
    good: list[Record] = []
    archive.begin()
    try:
        for record in waiting:
            now_utc_ns = time.time_ns()
            try:
                verified = ingest.verified(record.device, record.message)
                taken.records_new += ingest.keep(verified, now_utc_ns, fresh=False)
                good.append(verified)
            except UnknownSignerError as error:
                raise StoreError(
                    f"device {record.device}: {error}; give its certificate file with --certificate"
                ) from error
            except RefusedError as error:
                taken.refused.append(str(error))
        ingest.attest_complete(writer)
        archive.commit()
    except BaseException:
        archive.rollback()
        raise
    for record in good:
        if record.file is not None:
            _take_file(archive, ingest, writer, reader, record, taken)


def _take_file(
    archive: Archive, ingest: Ingest, writer: Writer, reader: SpoolReader, record: Record, taken: Taken
) -> None:
    files = archive.files(record.device, record.log, record.sequence, record.sequence)
    file = next(one for one in list(files) if one.record_sha256 == record.sha256)
    archive.begin()
    try:
        if file.held:
            taken.files_held += 1
        else:
            path = reader.media_path(record.log, record.file.media if record.file else 0)
            there = _size_bytes(path)
            if there != file.stored_size_bytes:
                taken.files_absent += there is None
                taken.files_wrong += there is not None
                archive.rollback()
                return
            archive.stage_copy(file, path)
            ingest.finish(file, time.time_ns(), Answers())
            taken.files_new += 1
            file = next(
                one
                for one in list(archive.files(record.device, record.log, record.sequence, record.sequence))
                if one.key == file.key
            )
        taken.receipts.append(writer.media(file))
        ingest.attest_complete(writer)
        archive.commit()
    except RefusedError as error:
        taken.files_wrong += 1
        taken.refused.append(str(error))
        archive.rollback()
    except BaseException:
        archive.rollback()
        raise


def _size_bytes(path: Path) -> int | None:
    """Return the size of a plain file, -1 for anything else; None where nothing is."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return None
    except OSError:
        return -1
    return found.st_size if stat.S_ISREG(found.st_mode) else -1


def write_receipts(path: Path, receipts: list[bytes]) -> None:
    """Write receipts as a sequence of signed messages, one after the other (RFC 8742), into a new file."""
    with path.open("xb") as file:
        file.writelines(receipts)


def summary(taken: Taken) -> dict[str, cbor.Value]:
    """Return the figures of a take-in, for the access log and for people."""
    return {
        "records": taken.records,
        "records_new": taken.records_new,
        "files_held": taken.files_held,
        "files_new": taken.files_new,
        "files_absent": taken.files_absent,
        "files_wrong": taken.files_wrong,
        "damages": taken.damages,
        "refused": len(taken.refused),
    }
