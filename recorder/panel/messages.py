"""What the panel and the recorder say to each other: lines of JSON over ``<run>/panel.sock``.

The panel tells what was done with its buttons; what that means the recorder decides. A :class:`Press` with a number is
told again after a reconnect until it has been acknowledged, and the recorder takes each number of an instance once.
"""

from __future__ import annotations

from typing import Final, Generic, TypeVar

import msgspec

from recorder.errors import RecorderError
from recorder.lines import LineSplitter, LineTooLongError
from recorder.panel.grammar import GUIDING, TELLING

SOCKET_NAME: Final = "panel.sock"
MAX_LINE_SIZE_BYTES: Final = 4 << 10
SHOW_AT_LEAST_NS: Final = 1_000_000_000
"""So often the recorder says what to show, changed or not: its silence is a fault."""
_MAX_NS: Final = 1 << 62
_MAX_TEXT: Final = 64


class PanelError(RecorderError):
    """The panel cannot work, or the other end said something that has no place here, or is gone."""


class Press(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="press"):
    """Panel. One gesture."""

    instance: str
    """Random, one for each life of a run folder: numbers count within it."""
    number: int
    """From 1; 0 for gestures that are of no use later and need no acknowledgement."""
    gesture: str
    push_boottime_ns: int
    """When the button went down."""
    at_boottime_ns: int


class Acknowledged(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="acknowledged"):
    """Recorder. Presses up to this number have been taken."""

    instance: str
    number: int


class Show(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True, tag="show"):
    """Recorder. What the lights are to say."""

    state: str
    """Id of a state in the catalogue without its prefix: ``ready``, ``recording`` …"""
    quiet: bool = False
    """A quiet matter is being recorded: nothing may sound."""
    battery_minutes: int | None = None
    """When it is low."""
    storage_minutes: int | None = None
    """When it is low."""
    fault: bool = False
    """Something is wrong that a person should look at, whatever else goes on."""


class Cue(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="cue"):
    """Recorder. Tell the officer by vibration, buzzer and light."""

    rhythm: str
    """One of :data:`recorder.panel.lights.RHYTHMS`."""


FromPanel = Press
FromRecorder = Acknowledged | Show | Cue
M = TypeVar("M", bound=Press | Acknowledged | Show | Cue)


def encode(message: FromPanel | FromRecorder) -> bytes:
    """Return a message as a line."""
    return msgspec.json.encode(message) + b"\n"


class Lines(Generic[M]):
    """Turns what arrives, in pieces of any size, into messages of one direction."""

    def __init__(self, decoder: msgspec.json.Decoder[M]) -> None:
        self._decoder = decoder
        self._lines = LineSplitter(MAX_LINE_SIZE_BYTES)

    def feed(self, data: bytes) -> list[M]:
        """Take the next bytes; return the messages that they complete.

        Raises:
            PanelError: too long, or not such a message.
        """
        try:
            return [self._parse(line) for line in self._lines.feed(data)]
        except LineTooLongError as error:
            raise PanelError(str(error)) from error

    def _parse(self, line: bytes) -> M:
        try:
            message = self._decoder.decode(line)
        except (msgspec.DecodeError, ValueError, RecursionError) as error:
            raise PanelError(f"not a message: {str(error)[:100]}") from error
        if isinstance(message, Press):
            _check(message)
        return message


def from_panel() -> Lines[Press]:
    """Return a reader of what a panel says."""
    return Lines(msgspec.json.Decoder(Press))


def from_recorder() -> Lines[Acknowledged | Show | Cue]:
    """Return a reader of what a recorder says."""
    return Lines(msgspec.json.Decoder(Acknowledged | Show | Cue))


def _check(press: Press) -> None:
    if press.gesture not in (*TELLING, *GUIDING):
        raise PanelError("a gesture that there is not")
    if not 0 < len(press.instance) <= _MAX_TEXT:
        raise PanelError("an instance is out of bounds")
    if not all(0 <= value < _MAX_NS for value in (press.number, press.push_boottime_ns, press.at_boottime_ns)):
        raise PanelError("a number is out of bounds")
