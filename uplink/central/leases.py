"""Which worker serves which buckets: one at a time, and a late one finds out before it can do harm.

A living worker holds a file lock, so a dead one needs no time-out. Every worker that takes over gets a higher fencing
number, and each batch of the archive checks that its worker's number still stands.
"""

from __future__ import annotations

import fcntl
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

from uplink.central.errors import StoreBusyError

if TYPE_CHECKING:
    import sqlite3
    from pathlib import Path


@dataclass(frozen=True)
class Lease:
    """A range of buckets that this process serves."""

    fence: int
    descriptor: int

    def release(self, database: sqlite3.Connection) -> None:
        """Let another worker take over at once."""
        os.close(self.descriptor)
        database.execute("DELETE FROM lease WHERE fence = ?", (self.fence,))


def acquire(database: sqlite3.Connection, folder: Path, first: int, last: int) -> Lease:
    """Take the buckets ``first`` to ``last``.

    Raises:
        StoreBusyError: a living process serves one of them.
    """
    database.execute("BEGIN IMMEDIATE")
    try:
        rows = database.execute("SELECT first, last, fence, pid FROM lease").fetchall()
        for other_first, other_last, fence, pid in rows:
            if other_first <= last and other_last >= first:
                probe = _lock(folder, other_first, other_last)
                if probe is None:
                    _refuse(folder, other_first, other_last, pid)
                os.close(probe)  # its worker is dead
                database.execute("DELETE FROM lease WHERE fence = ?", (fence,))
        descriptor = _lock(folder, first, last)
        if descriptor is None:
            _refuse(folder, first, last, 0)
        fence = database.execute(
            "INSERT INTO lease (first, last, pid) VALUES (?, ?, ?)", (first, last, os.getpid())
        ).lastrowid
        database.execute("COMMIT")
    except BaseException:
        database.execute("ROLLBACK")
        raise
    return Lease(int(fence or 0), descriptor)


def _refuse(folder: Path, first: int, last: int, pid: int) -> NoReturn:
    who = f"process {pid}" if pid else "another process"
    raise StoreBusyError(f"{folder}: {who} serves buckets {first:02x}-{last:02x}; end it first")


def _lock(folder: Path, first: int, last: int) -> int | None:
    """Return a locked descriptor, None when another process holds the lock."""
    path = folder / f"worker-{first:02x}-{last:02x}.lock"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor
