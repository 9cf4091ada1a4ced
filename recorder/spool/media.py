"""Media files: each is written by one :class:`MediaFile`, frame by frame, and durable up to its last whole fragment."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from keys import cbor
from recorder.evidence import stored
from recorder.evidence.errors import StoredFormatError
from recorder.evidence.records import Chunk
from recorder.spool.errors import DiskFullError, SpoolFatalError
from recorder.spool.layout import DIRECTORY_MODE, MEDIA_FINISHED_MODE, MEDIA_OPEN_MODE, sync_directory
from recorder.spool.logfile import NO_ROOM
from recorder.spool.steps import step

if TYPE_CHECKING:
    from pathlib import Path

    from recorder.evidence.stored import Account, Header
    from recorder.spool.reserve import Reserve


class FileFacts(NamedTuple):
    """What a record signs of a stored file; the fields of :class:`recorder.evidence.records.FileRecord`."""

    media: int
    epoch: bytes
    stored_sha256: bytes
    stored_size_bytes: int
    content_sha256: bytes
    content_size_bytes: int

    def fields(self) -> dict[str, Any]:
        """Return them as keyword arguments of a file's record."""
        return self._asdict()


def chunk_body(facts: FileFacts, account: Account, init_sha256: bytes, recovered: str | None = None) -> Chunk:
    """Return the chunk record of a file: the same for one that was finished and one that was found after a crash."""
    return Chunk(
        **facts.fields(),
        number=account.number,
        part=account.part,
        init_sha256=init_sha256,
        init_size_bytes=account.init_size_bytes,
        fragments=account.fragments,
        continues=account.continues,
        start_boottime_ns=account.start_boottime_ns,
        end_boottime_ns=account.end_boottime_ns,
        tracks=account.tracks,
        recovered=recovered,
    )


def decode_account(encoded: bytes) -> Account:
    """Return an account that this process has encoded itself."""
    return msgspec.convert(cbor.decode_map(encoded), stored.Account, strict=True)


class MediaFile:
    """A media file that is being written.

    What has been given to :meth:`append` is durable when that returns. After a :class:`DiskFullError` the file ends
    behind the last whole fragment and :attr:`facts` say so; it can be finished and signed.
    """

    def __init__(self, path: Path, header: Header, reserve: Reserve) -> None:
        self.path = path
        self.header = header
        self.account: bytes | None = None
        """Account of what is durable, encoded; None before the first fragment."""
        self.init_sha256: bytes | None = None
        self._reserve = reserve
        self._writer = stored.StoredWriter(header)
        self._pending: list[bytes] = [self._writer.header]
        self._size_bytes = 0
        self._facts: FileFacts | None = None
        self._new = True
        self._full = self._finished = False
        self._descriptor = self._create()

    def _create(self) -> int:
        self._reserve.check_media()
        try:
            if not self.path.parent.is_dir():
                self.path.parent.mkdir(mode=DIRECTORY_MODE)
                sync_directory(self.path.parent.parent)
            descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, MEDIA_OPEN_MODE)
        except OSError as error:
            raise self._failed(error) from error
        step("media.created")
        return descriptor

    @property
    def empty(self) -> bool:
        """Nothing whole is in it: there is nothing to sign."""
        return self._facts is None

    @property
    def facts(self) -> FileFacts:
        """What is durable, for the record.

        Raises:
            SpoolFatalError: asked of an empty file, a mistake of the program.
        """
        if self._facts is None:
            raise SpoolFatalError(f"{self.path}: an empty media file cannot be signed")
        return self._facts

    def write_init(self, init: bytes) -> None:
        """Put the init segment before the first fragment, with which it reaches the disk."""
        self._pending += self._writer.frame(stored.INIT, init)
        self.init_sha256 = self._writer.content_sha256

    def append(self, account: bytes, fragment: bytes) -> None:
        """Write one fragment and the account that includes it; durable on return.

        Args:
            account: :func:`recorder.evidence.stored.encode_account` of what the file then holds.
            fragment: moof and mdat.

        Raises:
            DiskFullError: no room; the file ends behind the fragment before.
            SpoolFatalError: a write or sync failed otherwise.
        """
        self._pending += self._writer.frame(stored.ACCOUNT, account)
        self._pending += self._writer.frame(stored.FRAGMENT, fragment)
        self._flush()
        self.account = account

    def write_whole(self, content: bytes) -> None:
        """Write the one frame of a details or photo file; durable on return.

        Raises:
            DiskFullError: no room.
            SpoolFatalError: a write or sync failed otherwise.
        """
        self._pending += self._writer.frame(stored.WHOLE, content)
        self._flush()

    def _flush(self) -> None:
        pending, self._pending = self._pending, []
        if self._full:
            raise DiskFullError(f"{self.path}: was ended by a full disk")
        try:
            self._reserve.check_media()
            self._write(pending)
        except DiskFullError:
            self._cut_back()
            raise
        except OSError as error:
            if error.errno in NO_ROOM:
                self._cut_back()
                self._reserve.release()
            raise self._failed(error) from error
        try:
            step("media.written")
            os.fdatasync(self._descriptor)
            step("media.synced")
            if self._new:
                sync_directory(self.path.parent)
                step("media.directory-synced")
                self._new = False
        except OSError as error:
            raise SpoolFatalError(f"{self.path}: cannot be synced: {error.strerror}; the process must end") from error
        self._size_bytes = self._writer.stored_size_bytes
        self._facts = FileFacts(
            self.header.media,
            self.header.epoch,
            self._writer.stored_sha256,
            self._writer.stored_size_bytes,
            self._writer.content_sha256,
            self._writer.content_size_bytes,
        )

    def _write(self, pieces: list[bytes]) -> None:
        views = [memoryview(piece) for piece in pieces]
        while views:
            done = os.writev(self._descriptor, views)
            while views and done >= len(views[0]):
                done -= len(views.pop(0))
            if done:
                views[0] = views[0][done:]

    def _cut_back(self) -> None:
        self._full = True
        os.ftruncate(self._descriptor, self._size_bytes)

    def _failed(self, error: OSError) -> DiskFullError | SpoolFatalError:
        if error.errno in NO_ROOM:
            self._reserve.release()
            return DiskFullError(f"{self.path}: no room for media")
        return SpoolFatalError(f"{self.path}: cannot be written: {error.strerror}; the process must end")

    def finish(self) -> None:
        """Close the file; from now on it is read-only. An empty one is removed. A second call does nothing.

        Raises:
            SpoolFatalError: a sync failed.
        """
        if self._finished:
            return
        self._finished = True
        try:
            if self.empty:
                self.path.unlink()
            else:
                os.fchmod(self._descriptor, MEDIA_FINISHED_MODE)
                os.fsync(self._descriptor)
        except OSError as error:
            raise SpoolFatalError(f"{self.path}: cannot be finished: {error.strerror}; the process must end") from error
        finally:
            os.close(self._descriptor)
        step("media.finished")


class Torn(NamedTuple):
    """What a crash left of a media file."""

    scan: stored.Scan
    finished: bool
    """It had been finished; only its record is missing."""
    cut_size_bytes: int
    """Bytes behind the last whole fragment, now cut off."""

    @property
    def facts(self) -> FileFacts:
        """What the file holds, for its record."""
        header, scan = self.scan.header, self.scan
        return FileFacts(
            header.media,
            header.epoch,
            scan.stored_sha256,
            scan.keep_size_bytes,
            scan.content_sha256,
            scan.content_size_bytes,
        )


def recover(path: Path) -> Torn | None:
    """Cut a media file without record behind its last whole fragment, and sync it.

    Returns None for a file that holds no whole fragment with an account; the caller removes it. Details and photos are
    such files, too: whoever wrote one had no answer yet, and writes it again.

    Raises:
        OSError: it cannot be read or cut.
    """
    finished = path.stat().st_mode & 0o222 == 0
    with path.open("rb", buffering=1 << 16) as file:
        try:
            scan = stored.scan(file.read)
        except StoredFormatError:
            return None
    if scan.account is None or scan.init_sha256 is None:
        return None
    size = path.stat().st_size
    if size > scan.keep_size_bytes:
        path.chmod(MEDIA_OPEN_MODE)
        finished = False
        os.truncate(path, scan.keep_size_bytes)
    step("recovery.cut")
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return Torn(scan, finished, size - scan.keep_size_bytes)
