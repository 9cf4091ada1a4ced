"""Lines out of what arrives in pieces of any size, never longer than what is allowed."""

from __future__ import annotations

from recorder.errors import RecorderError


class LineTooLongError(RecorderError):
    """The other end sends a line without end; the connection is to be given up."""


class LineSplitter:
    """Holds at most one unfinished line."""

    def __init__(self, max_size_bytes: int) -> None:
        self._max_size_bytes = max_size_bytes
        self._rest = b""

    def feed(self, data: bytes) -> list[bytes]:
        """Take the next bytes; return the lines that they complete, without their ends.

        Raises:
            LineTooLongError: a line is longer than allowed, whether it has ended or not.
        """
        *lines, self._rest = (self._rest + data).split(b"\n")
        if any(len(line) > self._max_size_bytes for line in (*lines, self._rest)):
            raise LineTooLongError("a line is too long")
        return lines
