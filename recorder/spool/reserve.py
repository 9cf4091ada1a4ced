"""Room that is kept back, so that a full disk can still be put on record, and be freed again."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

from recorder.spool.errors import DiskFullError
from recorder.spool.layout import free_bytes, sync_directory
from recorder.spool.logfile import NO_ROOM
from recorder.spool.steps import step

if TYPE_CHECKING:
    from pathlib import Path

log = logging.getLogger(__name__)


class Reserve:
    """A preallocated file that is given up when the disk is full.

    While it is given up, only records are written; media wait until :meth:`restore` has found room for it again.
    """

    def __init__(self, path: Path, size_bytes: int) -> None:
        self.path = path
        self.size_bytes = size_bytes
        self.held = size_bytes == 0 or (path.exists() and path.stat().st_blocks * 512 >= size_bytes)

    def restore(self) -> bool:
        """Make the file again when there is room for it twice; return whether it is held."""
        if self.held or free_bytes(self.path.parent) < 2 * self.size_bytes:
            return self.held
        descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o640)
        try:
            os.posix_fallocate(descriptor, 0, self.size_bytes)
            os.fsync(descriptor)
        except OSError as error:
            if error.errno not in NO_ROOM:
                raise
            self.path.unlink()
            return False
        finally:
            os.close(descriptor)
        sync_directory(self.path.parent)
        step("reserve.made")
        self.held = True
        log.info("%d bytes are kept back for a full disk (%s)", self.size_bytes, self.path.name)
        return True

    def release(self) -> None:
        """Give the room to what must still be written."""
        if not self.held:
            return
        self.held = False
        self.path.unlink(missing_ok=True)
        sync_directory(self.path.parent)
        log.error("the disk is full: the %d bytes of %s are released", self.size_bytes, self.path.name)

    def check_media(self) -> None:
        """Refuse media while the reserve is given up.

        Raises:
            DiskFullError: what room there is belongs to the records.
        """
        if not self.held:
            raise DiskFullError(f"{self.path.parent}: the disk is full; what room is left is kept for records")
