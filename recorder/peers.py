"""The recorder's end of its sockets: non-blocking connections that never make the recorder wait."""

from __future__ import annotations

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

    def send(self, message: link.Message) -> None:
        """Queue a message and send what the socket takes.

        Raises:
            PeerLostError: it has not read for too long, or is gone.
        """
        self._unsent += link.encode(message)
        if len(self._unsent) > MAX_UNSENT_SIZE_BYTES:
            raise PeerLostError(f"{self.name}: does not read what it is sent")
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
    def wants_to_send(self) -> bool:
        """Whether something waits for the socket to take it."""
        return bool(self._unsent)

    def dismiss(self) -> None:
        """Ask the process behind the connection to end."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """End the process behind the connection at once; a driver stuck in the kernel heeds nothing less."""
        self._signal(signal.SIGKILL)

    def _signal(self, number: int) -> None:
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


def wake(path: Path) -> None:
    """Tell whoever listens on a datagram socket to look; nobody listening, or too busy, is no error."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.setblocking(False)
        try:
            sender.sendto(b"", str(path))
        except OSError:
            return  # the other side also looks by itself every two seconds


def _bind(path: Path, kind: int, mode: int) -> socket.socket:
    try:
        if stat.S_ISSOCK(path.lstat().st_mode):
            path.unlink()
    except FileNotFoundError:
        pass
    server = socket.socket(socket.AF_UNIX, kind)
    server.setblocking(False)
    try:
        server.bind(str(path))
        path.chmod(mode)
    except OSError as error:
        server.close()
        raise RecorderError(f"the socket {path} cannot be made: {error.strerror or error}") from error
    return server
