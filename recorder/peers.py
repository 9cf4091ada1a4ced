"""The recorder's end of its sockets: non-blocking connections that never make the recorder wait."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import signal
import socket
import stat
import struct
from typing import TYPE_CHECKING, Final

from recorder.errors import RecorderError
from recorder.source import link
from recorder.source.errors import LinkError

if TYPE_CHECKING:
    from pathlib import Path

log = logging.getLogger(__name__)

READ_SIZE_BYTES: Final = 256 << 10
MAX_UNSENT_SIZE_BYTES: Final = 1 << 20
"""A peer that does not read its acknowledgements is cut off."""


class PeerLostError(RecorderError):
    """The other end of a connection is gone, or is to be cut off."""


class SourcePeer:
    """One connected source process."""

    def __init__(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        self.socket = connection
        self.pid, _, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        """Process id as the kernel says, not as the peer does."""
        self.name = f"pid {self.pid}"
        self._decoder = link.Decoder()
        self._unsent = bytearray()

    def receive(self) -> list[tuple[link.Message, bytes]]:
        """Return the messages that have come.

        Raises:
            PeerLostError: it closed the connection, or sent what the link does not allow.
        """
        try:
            data = self.socket.recv(READ_SIZE_BYTES)
        except BlockingIOError:
            return []
        except OSError as error:
            raise PeerLostError(f"{self.name}: {error.strerror}") from error
        if not data:
            raise PeerLostError(f"{self.name}: closed the connection")
        try:
            return self._decoder.feed(data)
        except LinkError as error:
            raise PeerLostError(f"{self.name}: {error}") from error

    def send(self, message: link.Message, payload: bytes = b"") -> None:
        """Queue a message and send what the socket takes.

        Raises:
            PeerLostError: it has not read for too long, or is gone.
        """
        data = link.encode(message, payload)
        if len(self._unsent) + len(data) > MAX_UNSENT_SIZE_BYTES:
            raise PeerLostError(f"{self.name}: does not read what it is sent")
        self._unsent += data
        self.flush()

    def flush(self) -> None:
        """Send what the socket takes now.

        Raises:
            PeerLostError: it is gone.
        """
        while self._unsent:
            try:
                sent = self.socket.send(self._unsent)
            except BlockingIOError:
                return
            except OSError as error:
                raise PeerLostError(f"{self.name}: {error.strerror}") from error
            del self._unsent[:sent]

    @property
    def gone(self) -> bool:
        """The other end has closed the connection, and all that it sent has been read."""
        try:
            return not self.socket.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except OSError:
            return True

    @property
    def wants_to_send(self) -> bool:
        """Whether something waits for the socket to take it."""
        return bool(self._unsent)

    def dismiss(self) -> None:
        """Ask the process behind the connection to end."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """End the process behind the connection at once; a driver stuck in the kernel heeds nothing less.

        The connection ends in any case: a source of another user, or of another process namespace, cannot be killed.
        """
        self._signal(signal.SIGKILL)
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)

    def _signal(self, number: int) -> None:
        if self.pid <= 0 or self.pid == os.getpid():
            return  # 0: a process that this namespace cannot name; as a target it would mean this whole process group
        try:
            os.kill(self.pid, number)
        except (ProcessLookupError, PermissionError) as error:
            log.warning("source %s cannot be ended: %s", self.name, error.strerror)


def listen(path: Path, mode: int = 0o660) -> socket.socket:
    """Listen on a Unix stream socket, in place of one that a dead process left.

    Raises:
        RecorderError: the socket cannot be made, or something else than a socket is there.
    """
    server = _bind(path, socket.SOCK_STREAM, mode)
    server.listen(32)
    return server


def listen_datagrams(path: Path, mode: int = 0o660) -> socket.socket:
    """Take datagrams on a Unix socket; an empty one says "look".

    Raises:
        RecorderError: the socket cannot be made, or something else than a socket is there.
    """
    return _bind(path, socket.SOCK_DGRAM, mode)


def accept(server: socket.socket) -> socket.socket | None:
    """Accept the next connection; None where it is gone again, or cannot be had now."""
    try:
        connection, _ = server.accept()
    except OSError as error:
        if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
            log.warning("a connection cannot be accepted: %s", error.strerror)
        return None
    return connection


def wake(path: Path) -> None:
    """Tell whoever listens on a datagram socket to look; nobody listening, or too busy, is no error."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.setblocking(False)
            sender.sendto(b"", str(path))
    except OSError:
        return  # the other side also looks by itself every two seconds


def _bind(path: Path, kind: int, mode: int) -> socket.socket:
    try:
        if stat.S_ISSOCK(path.lstat().st_mode):
            path.unlink()
    except FileNotFoundError:
        pass
    except OSError as error:
        raise RecorderError(f"the socket {path} cannot be made: {error.strerror}") from error
    server = socket.socket(socket.AF_UNIX, kind)
    server.setblocking(False)
    try:
        server.bind(str(path))
        path.chmod(mode)
    except OSError as error:
        server.close()
        raise RecorderError(f"the socket {path} cannot be made: {error.strerror or error}") from error
    return server
