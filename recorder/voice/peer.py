"""The recorder's end of the voice's socket: it never waits for the voice."""

from __future__ import annotations

import contextlib
import socket
from typing import Final

from recorder.voice.messages import Lines, Order, Reply, VoiceError, encode

READ_SIZE_BYTES: Final = 64 << 10


class VoicePeer:
    """One connected voice."""

    def __init__(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        self.socket = connection
        self._lines = Lines(Reply)

    def receive(self) -> list[Reply]:
        """Return what it has said.

        Raises:
            VoiceError: it is gone, or is to be cut off.
        """
        try:
            data = self.socket.recv(READ_SIZE_BYTES)
        except BlockingIOError:
            return []
        except OSError as error:
            raise VoiceError(f"the voice is gone: {error.strerror}") from error
        if not data:
            raise VoiceError("the voice closed the connection")
        return self._lines.feed(data)

    def hang_up(self) -> None:
        """End the connection; the loop reads its end and closes it."""
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)

    def send(self, order: Order) -> None:
        """Send an order. One at a time is given, so a socket that does not take it has nobody at its other end.

        Raises:
            VoiceError: it does not read, or is gone.
        """
        data = encode(order)
        try:
            sent = self.socket.send(data)
        except OSError as error:
            raise VoiceError(f"the voice does not take orders: {error.strerror}") from error
        if sent != len(data):
            raise VoiceError("the voice does not read what it is sent")
