"""Who read or took what out of the store, and why: signed entries in a chain, in a file that only grows.

An entry is written and synced before what it is about is done. One process at a time appends, under a lock; the chain
goes on from the last whole entry. The file has the format of a device's log (:mod:`recorder.spool.logfile`).
"""

from __future__ import annotations

import fcntl
import getpass
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from keys import cose
from recorder.evidence import statements
from recorder.evidence.records import ZERO_HASH
from recorder.evidence.statements import Access
from recorder.spool.layout import open_descriptor
from recorder.spool.logfile import Damage, Frame, LogFile, durable_size, walk
from uplink.central.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from keys.signer import Signer

NAME: Final = "access.log"
MAX_ENTRY_SIZE_BYTES: Final = 16 << 10
MAX_REASON_CHARACTERS: Final = 1000


class AccessLogError(StoreError):
    """The access log is damaged, or cannot be written: nothing may be read out of the store."""


def person(claimed: str | None) -> str:
    """Return who is asking: the user of the operating system, and whom they say they act as."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError):
        user = f"uid-{os.getuid()}"
    return user if claimed is None else f"{user} ({claimed})"


def note(
    folder: Path, signer: Signer, store: str, utc_ns: int, action: str, who: str, reason: str, subject: dict[str, Any]
) -> Access:
    """Append one signed entry; when it returns, the entry is on the disk.

    Raises:
        AccessLogError: no reason was given, or the log is damaged, or cannot be written.
    """
    if not reason.strip() or len(reason) > MAX_REASON_CHARACTERS:
        raise AccessLogError("a reason is needed (--reason), of at most 1000 characters")
    path = folder / NAME
    with _locked(folder / "access.lock"):
        try:
            log = _open(path)
            try:
                entry, message = _next(path, signer, store, utc_ns, action, who, reason, subject)
                log.append([message])
            finally:
                log.close()
        except OSError as error:
            raise AccessLogError(f"the access log cannot be written: {error.strerror}: {path}") from error
    return entry


def entries(folder: Path) -> Iterator[tuple[bytes, Access]]:
    """Yield (signed message, entry) from the first entry on.

    Raises:
        AccessLogError: the file is damaged, or the chain is broken.
    """
    path = folder / NAME
    if not path.exists():
        return
    sequence, previous = 0, ZERO_HASH
    with open_descriptor(path, os.O_RDONLY) as descriptor:
        for item in walk(descriptor, 0, durable_size(path), MAX_ENTRY_SIZE_BYTES):
            if isinstance(item, Damage):
                raise AccessLogError(f"{path} is damaged at byte {item.offset}: keep it as it is and find out why")
            entry = statements.parse(item.message, Access, MAX_ENTRY_SIZE_BYTES)
            if entry.sequence != sequence or entry.previous_sha256 != previous:
                raise AccessLogError(f"{path}: entry {entry.sequence} does not follow the one before it")
            sequence, previous = sequence + 1, cose.digest(item.message)
            yield item.message, entry


def _open(path: Path) -> LogFile:
    try:
        return LogFile.create(path, MAX_ENTRY_SIZE_BYTES)
    except FileExistsError:
        opened = LogFile.open(path, MAX_ENTRY_SIZE_BYTES, _last_start(path))
    if opened.damages:
        opened.file.close()
        raise AccessLogError(f"{path} is damaged at byte {opened.damages[0].offset}: keep it as it is and find out why")
    return opened.file


def _last(path: Path) -> Frame | None:
    """Return the newest whole entry; its cost does not grow with the log."""
    end = path.stat().st_size
    with open_descriptor(path, os.O_RDONLY) as descriptor:
        start = max(0, end - 4 * MAX_ENTRY_SIZE_BYTES)
        newest = None
        for item in walk(descriptor, start, end, MAX_ENTRY_SIZE_BYTES):
            if isinstance(item, Frame):
                newest = item
    return newest


def _last_start(path: Path) -> int:
    newest = _last(path)
    return 0 if newest is None else newest.offset


def _next(
    path: Path, signer: Signer, store: str, utc_ns: int, action: str, who: str, reason: str, subject: dict[str, Any]
) -> tuple[Access, bytes]:
    newest = _last(path)
    sequence, previous = 0, ZERO_HASH
    if newest is not None:
        before = statements.parse(newest.message, Access, MAX_ENTRY_SIZE_BYTES)
        sequence, previous = before.sequence + 1, cose.digest(newest.message)
    entry = Access(
        store=store,
        utc_ns=utc_ns,
        sequence=sequence,
        previous_sha256=previous,
        action=action,
        who=who,
        reason=reason,
        subject=subject,
    )
    return entry, statements.sign(entry, signer)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
