"""Where things lie in a spool, and the few file system acts that all parts share."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LOG_ID_SIZE_BYTES: Final = 16
MEDIA_DIGITS: Final = 12
DIRECTORY_MODE: Final = 0o750
INBOX_MODE: Final = 0o2770
"""The uplink, another user of the same group, puts receipts there; they belong to the group, too."""
MEDIA_OPEN_MODE: Final = 0o640
MEDIA_FINISHED_MODE: Final = 0o440
"""A finished file is read-only; the mode also tells a recovery whether the file was finished."""


class Layout:
    """The paths of one spool."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.lock = root / "lock"
        self.index = root / "index.db"
        self.reserve = root / "reserve"
        self.last_reserve = root / "reserve-receipts"
        self.logs = root / "logs"
        self.media = root / "media"
        self.receipts = root / "receipts"
        self.receipts_log = self.receipts / "receipts.log"
        self.inbox = root / "inbox"
        self.certificates = root / "certificates"
        """The device's own signing certificates, so that a card can be verified and taken in by itself."""

    def make(self) -> None:
        """Make the folders that are missing, and sync them into their parents."""
        for folder in (self.root, self.logs, self.media, self.receipts, self.inbox, self.certificates):
            if not folder.is_dir():
                folder.mkdir(mode=DIRECTORY_MODE, parents=True)
                if folder == self.inbox:
                    folder.chmod(INBOX_MODE)  # whatever the umask
                sync_directory(folder.parent)

    def log(self, log: bytes) -> Path:
        """Return the path of a log file."""
        return self.logs / f"{log.hex()}.log"

    def media_folder(self, log: bytes) -> Path:
        """Return the folder of a log's media files."""
        return self.media / log.hex()

    def media_file(self, log: bytes, media: int) -> Path:
        """Return the path of one media file."""
        return self.media_folder(log) / f"{media:0{MEDIA_DIGITS}d}"

    def log_ids(self) -> list[bytes]:
        """Return the ids of all log files, in the order of their names."""
        try:
            names = sorted(path.name for path in self.logs.iterdir())
        except FileNotFoundError:
            return []
        return [bytes.fromhex(name[:-4]) for name in names if _is_log_name(name)]

    def media_numbers(self, log: bytes) -> list[int]:
        """Return the numbers of a log's media files that are on the disk, ascending."""
        try:
            with os.scandir(self.media_folder(log)) as entries:
                names = [entry.name for entry in entries]
        except FileNotFoundError:
            return []
        return sorted(int(name) for name in names if len(name) == MEDIA_DIGITS and name.isascii() and name.isdigit())


def _is_log_name(name: str) -> bool:
    stem, dot, suffix = name.partition(".")
    if not dot or suffix != "log" or len(stem) != 2 * LOG_ID_SIZE_BYTES:
        return False
    return all(character in "0123456789abcdef" for character in stem)


def mark_path(log: Path) -> Path:
    """Return the path of the durable mark of a log file: the same name, ending in ``.durable``."""
    return log.with_suffix(".durable")


def sync_directory(folder: Path) -> None:
    """Make the names in ``folder`` durable."""
    with open_descriptor(folder, os.O_RDONLY | os.O_DIRECTORY) as descriptor:
        os.fsync(descriptor)


@contextmanager
def open_descriptor(path: Path, flags: int) -> Iterator[int]:
    """Open a file as a descriptor that is closed again; a pipe in its place holds nobody up."""
    descriptor = os.open(path, flags | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def free_bytes(folder: Path) -> int:
    """Return how many bytes an unprivileged process can still write on the file system of ``folder``."""
    state = os.statvfs(folder)
    return state.f_bavail * state.f_frsize
