"""Handing receipts to the recorder: one file each in the spool's inbox, whole or not there at all."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Final

from uplink.errors import UplinkError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

MAX_FILES: Final = 4096
"""More than a recorder that runs ever lets lie."""
_UNFINISHED: Final = "."
"""What the name of an unfinished file begins with."""


class InboxFullError(UplinkError):
    """The recorder does not take the receipts away: start it, or make room."""


class Inbox:
    """The folder ``inbox`` of a spool. The recorder verifies what it finds, keeps it and removes the file."""

    def __init__(self, folder: Path, max_files: int = MAX_FILES) -> None:
        """Take away what an earlier run left unfinished."""
        self._folder = folder
        self._max_files = max_files
        self._number = 0
        for name in _names(folder):
            if name.startswith(_UNFINISHED):
                (folder / name).unlink(missing_ok=True)

    def room(self) -> int:
        """Return how many receipts can be put now."""
        return max(0, self._max_files - len(_names(self._folder)))

    def put(self, receipts: Sequence[bytes]) -> None:
        """Write receipts, durably and in their order.

        Raises:
            InboxFullError: no room for all of them, on the disk or by number; some may have been written.
        """
        if not receipts:
            return
        if self.room() < len(receipts):
            raise InboxFullError(f"{self._folder} is full: the recorder takes no receipts away")
        try:
            for receipt in receipts:
                self._number += 1
                name = f"{time.time_ns():020d}-{os.getpid():08d}-{self._number:012d}"
                path = self._folder / f"{_UNFINISHED}{name}"
                with path.open("xb") as file:
                    file.write(receipt)
                    file.flush()
                    os.fsync(file.fileno())
                path.rename(self._folder / name)
            descriptor = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise InboxFullError(f"{self._folder} takes no receipts: {error.strerror}") from error


def _names(folder: Path) -> list[str]:
    try:
        return [path.name for path in folder.iterdir()]
    except FileNotFoundError:
        return []
