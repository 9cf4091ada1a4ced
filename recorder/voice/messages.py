"""What the recorder and the voice say to each other: lines of JSON over ``<run>/voice.sock``.

The voice holds nothing that the recorder needs, and the recorder believes nothing that the voice says of being heard:
that is for the microphone to tell.
"""

from __future__ import annotations

from typing import Final, Generic, TypeVar

import msgspec

from recorder.errors import RecorderError
from recorder.lines import LineSplitter, LineTooLongError
from recorder.source.listen import MAX_PATTERN_SIZE_BYTES

SOCKET_NAME: Final = "voice.sock"
MAX_LINE_SIZE_BYTES: Final = 16 << 10
"""A pattern of forty seconds takes 11 KiB as base64."""
MAX_TEXT: Final = 200
_MAX_NS: Final = 1 << 62


class VoiceError(RecorderError):
    """The other end said something that has no place here, or is gone."""


class Order(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Recorder. Speak a text, or sound its tone."""

    number: int
    say: str
    """Id of the text."""
    arguments: dict[str, str] = {}


class Reply(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Voice. What has become of an order."""

    number: int
    state: str
    """``playing``, ``done`` or ``failed``."""
    boottime_ns: int
    """With ``playing``: when the words begin, after the tone."""
    detail: str | None = None
    length_ns: int = 0
    """With ``playing``: how long it will take."""
    pattern: bytes | None = None
    """With ``playing``: what a microphone will recognise it by, unless that is too short."""


M = TypeVar("M", bound=Order | Reply)


def encode(message: Order | Reply) -> bytes:
    """Return a message as a line."""
    return msgspec.json.encode(message) + b"\n"


class Lines(Generic[M]):
    """Turns what arrives, in pieces of any size, into messages of one form."""

    def __init__(self, form: type[M]) -> None:
        self._form = form
        self._lines = LineSplitter(MAX_LINE_SIZE_BYTES)

    def feed(self, data: bytes) -> list[M]:
        """Take the next bytes; return the messages that they complete.

        Raises:
            VoiceError: too long, or not such a message.
        """
        try:
            return [self._parse(line) for line in self._lines.feed(data)]
        except LineTooLongError as error:
            raise VoiceError(str(error)) from error

    def _parse(self, line: bytes) -> M:
        try:
            message = msgspec.json.decode(line, type=self._form, strict=True)
        except (msgspec.DecodeError, ValueError, RecursionError) as error:
            raise VoiceError(f"not a message: {str(error)[:100]}") from error
        _check(message)
        return message


def _check(message: Order | Reply) -> None:
    if not 0 <= message.number < _MAX_NS:
        raise VoiceError("a number is out of bounds")
    if isinstance(message, Order):
        return
    if message.state not in ("playing", "done", "failed"):
        raise VoiceError("a state that there is not")
    if not (0 <= message.boottime_ns < _MAX_NS and 0 <= message.length_ns < _MAX_NS):
        raise VoiceError("a time is out of bounds")
    if message.pattern is not None and not 0 < len(message.pattern) <= MAX_PATTERN_SIZE_BYTES:
        raise VoiceError("a pattern is out of bounds")
