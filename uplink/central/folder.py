"""Media files of the embedded store: staged in pieces, then synced under their final name.

A name says whose file it is (device, log, sequence) before it says what is in it: equal bytes of two devices are two
files. Every step that a receipt rests on is synced: the bytes, then the name, then the folder that holds the name.
"""

from __future__ import annotations

import errno
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from uplink.central.errors import RefusedError, StoreFailedError, StoreFullError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_COPY_SIZE_BYTES: Final = 1 << 20


@contextmanager
def disk_errors(what: str) -> Iterator[None]:
    """Turn an operating system's error into one that says whether waiting can help.

    Raises:
        StoreFullError: there is no room.
        StoreFailedError: anything else.
    """
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StoreFullError(f"no room: {what}") from error
        raise StoreFailedError(f"{what}: {error.strerror or error}") from error


class MediaFolder:
    """The folders ``media`` and ``staging`` of one store."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._media = root / "media"
        self._staging = root / "staging"
        self._unsynced: set[Path] = set()

    def make(self) -> None:
        """Make both folders where they are missing."""
        with disk_errors(f"{self._root} cannot be written"):
            for folder in (self._media, self._staging):
                folder.mkdir(exist_ok=True)

    def staged(self, key: int) -> Path:
        """Where the pieces of a file lie."""
        return self._staging / f"{key}.part"

    def path(self, device: str, log: bytes, sequence: int, stored_sha256: bytes) -> Path:
        """Where a held file lies."""
        return self._media / device / log.hex() / f"{sequence:012d}-{stored_sha256.hex()[:16]}"

    def write_piece(self, key: int, offset: int, data: bytes) -> None:
        """Write a piece into the staged file."""
        with disk_errors("a piece could not be staged"):
            descriptor = os.open(self.staged(key), os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o640)
            try:
                view = memoryview(data)
                while view:
                    written = os.pwrite(descriptor, view, offset)
                    view, offset = view[written:], offset + written
            finally:
                os.close(descriptor)

    def copy(self, source: Path, key: int) -> None:
        """Stage a whole file from elsewhere.

        Raises:
            RefusedError: ``source`` cannot be read: a card may be failing, and that is no failure of the store.
            StoreError: see :func:`disk_errors`.
        """
        with disk_errors(f"{source} could not be copied"), self.staged(key).open("wb") as write:
            for data in _read_through(source):
                write.write(data)

    def finish(self, key: int, final: Path) -> None:
        """Sync the staged bytes and give them their final name; the name is safe after :meth:`sync`."""
        with disk_errors(f"{final.name} could not be stored"):
            self._make(final.parent)
            descriptor = os.open(self.staged(key), os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fdatasync(descriptor)
            finally:
                os.close(descriptor)
            self.staged(key).rename(final)
            self._unsynced.add(final.parent)

    def sync(self) -> None:
        """Make all final names safe that were given since the last time."""
        with disk_errors("a media folder could not be synced"):
            for folder in self._unsynced:
                _sync_folder(folder)
        self._unsynced.clear()

    def discard(self, key: int) -> None:
        """Throw staged bytes away."""
        self.staged(key).unlink(missing_ok=True)

    def staged_keys(self) -> list[int]:
        """Return the keys of all staged files."""
        return [int(path.stem) for path in self._staging.glob("*.part") if path.stem.isdecimal()]

    def free_size_bytes(self) -> int:
        """Return the room that is left for us."""
        found = os.statvfs(self._root)
        return found.f_bavail * found.f_frsize

    def _make(self, folder: Path) -> None:
        """Make a folder below ``media``; each new name is synced in the folder above."""
        if folder.is_dir():
            return
        self._make(folder.parent)
        folder.mkdir(exist_ok=True)
        _sync_folder(folder.parent)


def _read_through(source: Path) -> Iterator[bytes]:
    try:
        descriptor = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as read:
            while data := read.read(_COPY_SIZE_BYTES):
                yield data
    except OSError as error:
        raise RefusedError(f"{source} cannot be read: {error.strerror}") from error


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
