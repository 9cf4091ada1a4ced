"""An append-only file of framed messages, with a mark of what is durable.

::

    frame = length of the message (u32) | CRC-32 of the message (u32) | message        big-endian
    mark  = the length (u64) up to which the file is known to be synced, in a file of its own

The mark is written after the sync and is not synced itself: another process on the same machine always sees it right,
and after a power cut it is at most too low. So recovery reads on behind it, as far as frames are whole, and cuts what
is torn. Damage before the last whole frame is never cut and never jumped silently: it is reported as :class:`Damage`,
and reading goes on at the next whole frame.

The format knows nothing of what the messages are: the device's logs, its receipts and a store's access log use it.
"""

from __future__ import annotations

import errno
import os
import struct
import zlib
from typing import TYPE_CHECKING, Final, NamedTuple

from recorder.spool.errors import DiskFullError, LogFormatError, SpoolFatalError
from recorder.spool.layout import mark_path, open_descriptor, sync_directory
from recorder.spool.steps import step

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

_HEAD: Final = struct.Struct(">II")
_MARK: Final = struct.Struct(">Q")
HEAD_SIZE_BYTES: Final = _HEAD.size
READ_SIZE_BYTES: Final = 256 << 10
"""How much of a log is held in memory at a time while it is read."""
NO_ROOM: Final = (errno.ENOSPC, errno.EDQUOT)


class Frame(NamedTuple):
    """One whole message of a log."""

    offset: int
    end_offset: int
    message: bytes


class Damage(NamedTuple):
    """Bytes of a log that are no whole frame, between whole frames or before the mark."""

    offset: int
    end_offset: int


class Opened(NamedTuple):
    """What was found when a log file was opened for writing."""

    file: LogFile
    damages: list[Damage]
    torn_size_bytes: int
    """Bytes of an unfinished last frame that were cut off."""
    last: Frame | None
    """The newest whole frame; None in an empty log."""


class LogFile:
    """The one writer of a log file."""

    def __init__(self, path: Path, descriptor: int, mark: int, size_bytes: int, max_message_size_bytes: int) -> None:
        self.path = path
        self.size_bytes = size_bytes
        """All of it durable."""
        self.max_message_size_bytes = max_message_size_bytes
        self._descriptor = descriptor
        self._mark = mark
        self._failed = False

    @classmethod
    def create(cls, path: Path, max_message_size_bytes: int) -> LogFile:
        """Make a new, empty log file and its mark, durable by name.

        Raises:
            FileExistsError: it is there already.
            OSError: it cannot be made.
        """
        mark = os.open(mark_path(path), os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o640)
        os.pwrite(mark, _MARK.pack(0), 0)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640)
        step("log.created")
        sync_directory(path.parent)
        step("log.directory-synced")
        return cls(path, descriptor, mark, 0, max_message_size_bytes)

    @classmethod
    def open(cls, path: Path, max_message_size_bytes: int, start: int = 0) -> Opened:
        """Open a log file that may have been torn by a crash, and make it good to append to.

        Args:
            path: the log file; a missing or unreadable mark counts as 0.
            max_message_size_bytes: the longest message that this log may hold.
            start: offset of a frame up to which the file is known to be good, to read no more than necessary.

        Raises:
            OSError: the file cannot be read or cut.
        """
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        mark = os.open(mark_path(path), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        actual = os.fstat(descriptor).st_size
        durable = min(_read_mark(mark), actual)
        good = min(start, actual)
        last: Frame | None = None
        damages: list[Damage] = []
        for item in walk(descriptor, good, actual, max_message_size_bytes):
            if isinstance(item, Damage):
                damages.append(item)
            else:
                good, last = item.end_offset, item
        size = max(good, durable)
        if damages and damages[-1].offset >= size:
            damages.pop()
        elif damages and damages[-1].end_offset > size:
            damages[-1] = Damage(damages[-1].offset, size)
        if size < actual:
            os.ftruncate(descriptor, size)
            step("recovery.cut")
        os.fsync(descriptor)
        os.pwrite(mark, _MARK.pack(size), 0)
        return Opened(cls(path, descriptor, mark, size, max_message_size_bytes), damages, actual - size, last)

    def append(self, messages: Sequence[bytes]) -> list[Frame]:
        """Append messages with one write and one sync; when it returns, all of them are durable.

        Raises:
            LogFormatError: a message is empty or longer than this log allows; nothing was written.
            DiskFullError: no room; nothing of them remains in the file.
            SpoolFatalError: a write or sync failed otherwise, now or earlier.
        """
        if self._failed:
            raise SpoolFatalError(f"{self.path.name}: an earlier write failed; the process must end")
        frames: list[Frame] = []
        pieces: list[bytes] = []
        end = self.size_bytes
        for message in messages:
            if not 0 < len(message) <= self.max_message_size_bytes:
                raise LogFormatError(f"{self.path.name}: a message of {len(message)} bytes has no place here")
            pieces += (_HEAD.pack(len(message), zlib.crc32(message)), message)
            frames.append(Frame(end, end + HEAD_SIZE_BYTES + len(message), message))
            end = frames[-1].end_offset
        try:
            self._write(b"".join(pieces))
            step("log.written")
            os.fdatasync(self._descriptor)
            step("log.synced")
            os.pwrite(self._mark, _MARK.pack(end), 0)
            step("log.marked")
        except OSError as error:
            self._failed = True
            raise SpoolFatalError(f"{self.path}: cannot be written: {error.strerror}; the process must end") from error
        self.size_bytes = end
        return frames

    def _write(self, data: bytes) -> None:
        done = 0
        try:
            while done < len(data):
                done += os.pwrite(self._descriptor, data[done:], self.size_bytes + done)
        except OSError as error:
            if error.errno not in NO_ROOM:
                raise
            os.ftruncate(self._descriptor, self.size_bytes)
            raise DiskFullError(f"{self.path}: no room for {len(data)} more bytes") from error

    def read(self, offset: int) -> Frame | None:
        """Return the whole frame that begins at ``offset``, or None where there is none."""
        return read_frame(self._descriptor, offset, self.size_bytes, self.max_message_size_bytes)

    def frames(self, start: int = 0) -> Iterator[Frame | Damage]:
        """Yield what is in the file from offset ``start`` on."""
        return walk(self._descriptor, start, self.size_bytes, self.max_message_size_bytes)

    def close(self) -> None:
        """Close the file. Nothing is written."""
        os.close(self._descriptor)
        os.close(self._mark)


def durable_size(path: Path) -> int:
    """Return up to which offset the log file ``path`` may be read and passed on; 0 when it has no mark yet."""
    try:
        with open_descriptor(mark_path(path), os.O_RDONLY) as descriptor:
            return _read_mark(descriptor)
    except FileNotFoundError:
        return 0


def _read_mark(descriptor: int) -> int:
    data = os.pread(descriptor, _MARK.size, 0)
    return int(_MARK.unpack(data)[0]) if len(data) == _MARK.size else 0


def read_frame(descriptor: int, offset: int, end: int, max_message_size_bytes: int) -> Frame | None:
    """Return the frame at ``offset`` if it is whole, good and ends at or before ``end``."""
    if offset + HEAD_SIZE_BYTES > end:
        return None
    data = os.pread(descriptor, min(HEAD_SIZE_BYTES + max_message_size_bytes, end - offset), offset)
    return _frame(data, 0, offset, max_message_size_bytes)


def walk(descriptor: int, start: int, end: int, max_message_size_bytes: int) -> Iterator[Frame | Damage]:
    """Yield every whole frame between two offsets, and what is no frame as :class:`Damage`, in the file's order.

    Memory is bounded by :data:`READ_SIZE_BYTES` and the longest message. ``start`` may be any offset: where it is not
    the start of a frame, the first item is the damage up to the next one.
    """
    window = max(READ_SIZE_BYTES, 2 * (HEAD_SIZE_BYTES + max_message_size_bytes))
    needed = HEAD_SIZE_BYTES + max_message_size_bytes
    data, base = b"", start
    at, bad = start, -1
    while at < end:
        if at + needed > base + len(data) and base + len(data) < end:
            data, base = os.pread(descriptor, min(window, end - at), at), at
            if not data:
                break  # the file is shorter than the caller believed
        frame = _frame(data, at - base, at, max_message_size_bytes)
        if frame is None:
            bad = at if bad < 0 else bad
            at += 1
            continue
        if bad >= 0:
            yield Damage(bad, at)
            bad = -1
        yield frame
        at = frame.end_offset
    if bad >= 0 or at < end:
        yield Damage(bad if bad >= 0 else at, end)


def _frame(data: bytes, at: int, offset: int, max_message_size_bytes: int) -> Frame | None:
    if at + HEAD_SIZE_BYTES > len(data):
        return None
    length, crc = _HEAD.unpack_from(data, at)
    start = at + HEAD_SIZE_BYTES
    if not 0 < length <= max_message_size_bytes or start + length > len(data):
        return None
    message = data[start : start + length]
    if zlib.crc32(message) != crc:
        return None
    return Frame(offset, offset + HEAD_SIZE_BYTES + length, message)
