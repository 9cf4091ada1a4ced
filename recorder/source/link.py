"""What a source and the recorder say to each other, over a Unix stream socket.

A message is ``u32 header length | u32 payload length | header | payload``, big-endian. The header is a CBOR map with
the message's fields and its name under ``type``; the payload is opaque media (an init segment, a fragment) and empty
for all other messages. Neither end trusts the other: every length and number is bounded before it is used.
"""

from __future__ import annotations

import struct
from typing import Final

import msgspec

from keys import cbor
from keys.errors import NotDeterministicError
from recorder.evidence.lens_code import MAX_TEXT_CHARACTERS
from recorder.evidence.records import plain
from recorder.source.errors import LinkError

VERSION: Final = 1
MAX_HEADER_SIZE_BYTES: Final = 16 << 10
MAX_PAYLOAD_SIZE_BYTES: Final = 16 << 20
MAX_TEXT: Final = 1000
"""Longest text in a field, in characters; :func:`short` cuts to it."""
MAX_ENTRIES: Final = 32
"""Most entries in a list or map of a header."""
MAX_PHOTO_SIZE_BYTES: Final = 3 << 20
"""A photograph is coded until it is no larger: the recorder has it in memory as a whole, and has little."""
ID_SIZE_BYTES: Final = 16
"""Length of session and instance ids."""
TRACKS: Final = ("video", "audio")
_HEAD: Final = struct.Struct(">II")
_MAX_NUMBER: Final = 1 << 63


class Message(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What all messages have in common: nothing but their form."""


class Counts(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a source counted of one track since the fragment before: all numbers are deltas.

    ``received`` = ``written`` + ``discarded`` in each fragment: a frame counts when it is known which of the two it is.
    """

    received: int = 0
    """Frames that came from the device, or from our encoder where we encode."""
    written: int = 0
    """Frames in this fragment; the recorder counts them in the boxes too."""
    discarded: dict[str, int] = {}
    """Reason to number of frames, for example ``before-key-frame``, ``recorder-absent``."""
    expected: int | None = None
    """Frames that the device should have delivered; only where it numbers them."""
    holes: int = 0
    """Places where the time between two frames was longer than one and a half times the usual."""
    holes_ns: int = 0
    arrival_first_ns: int | None = None
    """Boot-time at which the first of ``written`` reached the source."""
    arrival_last_ns: int | None = None
    sensor_first_ns: int | None = None
    """Boot-time at which the hardware took the first frame, where it tells."""
    sensor_last_ns: int | None = None
    peak_millibels: int | None = None
    """Loudest sample against full scale, 1/100 dB (0 or less), where we encode the sound."""
    rms_millibels: int | None = None


class TrackForm(msgspec.Struct, frozen=True, kw_only=True):
    """How a track is coded."""

    codec: str
    """Short name: ``h264``, ``hevc``, ``aac``."""
    timescale: int
    """Units a second; 90000 for pictures, the sampling rate for sound."""


class Hello(Message, frozen=True, kw_only=True, omit_defaults=True):
    """Source. Who it is; the first message of a connection."""

    v: int = VERSION
    stream: str
    source: str
    pid: int
    tracks: list[str]
    software: str
    instance: bytes | None = None
    """The muxer instance that is under way, when the recorder was lost meanwhile."""
    session: bytes | None = None
    oldest: int | None = None
    """Number of the oldest fragment of that instance that it still keeps."""
    next: int | None = None
    """Number that its next fragment will have."""
    codes: str | None = None
    """What becomes of codes that are shown to the lens: ``read``, ``off`` (by configuration) or ``missing`` (zxing-cpp
    is not installed); absent where there is no picture."""


class Welcome(Message, frozen=True, kw_only=True, omit_defaults=True):
    """Recorder. The answer to ``hello``."""

    v: int = VERSION
    instance: bytes | None = None
    """Go on with this instance; absent: throw away what you keep and wait for ``start``."""
    next: int | None = None
    """First fragment number that the recorder lacks."""
    keep_ns: int = 0
    """While nothing is recorded, keep the pictures of so long in memory (pre-event buffer); 0: none."""


class Start(Message, frozen=True, kw_only=True, omit_defaults=True):
    """Recorder. Make a new muxer and begin at the next key frame."""

    session: bytes
    zero_boottime_ns: int
    """Boot-time of media time zero."""
    track_ids: dict[str, int]
    """Track to its id in the film, for example {video: 1, audio: 2}."""
    wait_ms: int = 0
    """How long to wait for the track that has not yet delivered anything before the init segment is fixed."""
    past_ns: int = 0
    """Begin with the pictures that were kept, those of the last so long; 0: with the next key frame."""
    from_boottime_ns: int = 0
    """Nothing taken before this moment is to be in the film: recording was off until then. A frame may have waited."""


class Init(Message, frozen=True, kw_only=True, omit_defaults=True):
    """Source. The init segment (payload) of an instance, before its first fragment."""

    instance: bytes
    session: bytes
    tracks: dict[str, TrackForm]


class Fragment(Message, frozen=True, kw_only=True, omit_defaults=True):
    """Source. One moof and one mdat (payload)."""

    instance: bytes
    number: int
    """Counts from 0 in an instance."""
    key: bool
    """It begins with a key frame (of the picture; of any track where there is no picture)."""
    tracks: dict[str, Counts]


class Ack(Message, frozen=True, kw_only=True, omit_defaults=True):
    """Recorder. The fragments of this instance up to this number are on the disk."""

    instance: bytes
    number: int


class Event(Message, frozen=True, kw_only=True, omit_defaults=True):
    """Source. Something happened that a person should learn of."""

    event: str
    """``stalled``, ``failed``, ``restored``, ``discarded``, ``slow``, ``hole``; ``impaired`` and ``unimpaired``: the
    beginning and the end of what a recording suffers from; ``unwatched``: nobody looks for that any more."""
    tracks: list[str]
    cause: str
    """Id of the gap causes, for example ``camera_network``; of ``impaired``, the code: ``lens_blocked``."""
    detail: str | None = None
    """What the source saw, ASCII, no personal data, no passwords."""
    boottime_ns: int
    """When it happened."""
    count: int = 1
    """How many frames or occurrences it stands for."""


class Stop(Message, frozen=True, kw_only=True, omit_defaults=True):
    """Recorder. Finish this session: flush the muxer, send what it holds, say ``ended``."""

    session: bytes
    keep_ns: int = 0
    """From now on, as in ``welcome``; 0 also where what comes now is not to be recorded."""


class Listen(Message, frozen=True, kw_only=True, omit_defaults=True):
    """Recorder. Something is being played: listen for its pattern (payload, see :mod:`recorder.source.listen`)."""

    number: int
    """Comes back in ``heard``."""
    played_boottime_ns: int
    """When the player began."""


class Heard(Message, frozen=True, kw_only=True, omit_defaults=True):
    """Source. What came of listening."""

    number: int
    heard: bool
    """Our own voice, when we spoke."""
    companion: bool = False
    """The same text at another time: another device spoke it."""
    delay_ns: int | None = None
    """From ``played_boottime_ns`` to the beginning of what was heard; below 0 where a companion spoke first."""
    level_millibels: int | None = None
    score_permille: int = 0


class Take(Message, frozen=True, kw_only=True, omit_defaults=True):
    """Recorder. Take a photograph; the recording, if there is one, goes on."""

    number: int
    """Comes back in the answer."""


class Taken(Message, frozen=True, kw_only=True, omit_defaults=True):
    """Source. A photograph (payload: JPEG)."""

    number: int
    taken_boottime_ns: int


class NotTaken(Message, frozen=True, kw_only=True, omit_defaults=True):
    """Source. There will be no such photograph."""

    number: int
    detail: str
    """Why, ASCII."""


class Probe(Message, frozen=True, kw_only=True, omit_defaults=True):
    """Recorder. Count what the device delivers for a while, for the check before duty; nothing of it is kept."""

    number: int
    """Comes back in ``probed``."""
    length_ms: int


class Probed(Message, frozen=True, kw_only=True, omit_defaults=True):
    """Source. What came."""

    number: int
    frames: dict[str, int]
    """Per track; a track that delivered nothing is absent."""
    peak_millibels: int | None = None
    """Loudest sample of the sound against full scale, 1/100 dB, where we encode it."""


class Shown(Message, frozen=True, kw_only=True, omit_defaults=True):
    """Source. A code of ours was read in the picture; its text is the payload, ASCII."""

    taken_boottime_ns: int
    """When the picture was taken."""


class Ended(Message, frozen=True, kw_only=True, omit_defaults=True):
    """Source. All fragments of this instance have been sent."""

    instance: bytes
    session: bytes
    next: int
    """Number of fragments that the instance had."""


MESSAGES: Final[dict[str, type[Message]]] = {
    "hello": Hello,
    "welcome": Welcome,
    "start": Start,
    "init": Init,
    "fragment": Fragment,
    "ack": Ack,
    "event": Event,
    "stop": Stop,
    "ended": Ended,
    "listen": Listen,
    "heard": Heard,
    "take": Take,
    "taken": Taken,
    "not-taken": NotTaken,
    "probe": Probe,
    "probed": Probed,
    "shown": Shown,
}
_NAME_OF: Final = {form: name for name, form in MESSAGES.items()}
_WITH_PAYLOAD: Final = (Init, Fragment, Listen, Taken, Shown)
_SIGNED: Final = ("peak_millibels", "rms_millibels", "zero_boottime_ns", "delay_ns", "level_millibels")


def short(text: str, length: int = 200) -> str:
    """Return ``text`` as a ``detail`` may hold it: ASCII, one line, at most ``length`` characters."""
    return " ".join(text.encode("ascii", "replace").decode("ascii").split())[:length]


def encode(message: Message, payload: bytes = b"") -> bytes:
    """Return the bytes of a message.

    Raises:
        LinkError: it is larger than the other end accepts, or out of bounds.
    """
    _check(message, payload)
    header = cbor.encode(plain(message) | {"type": _NAME_OF[type(message)]})
    if len(header) > MAX_HEADER_SIZE_BYTES:
        raise LinkError(f"a header of {len(header)} bytes cannot be sent")
    return _HEAD.pack(len(header), len(payload)) + header + payload


class Decoder:
    """Turns what arrives, in pieces of any size, into messages.

    It holds at most one unfinished message. After a :class:`~recorder.source.errors.LinkError` the connection has to
    be closed: there is no way to find the next message.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[tuple[Message, bytes]]:
        """Take the next bytes; return the whole (message, payload) that they complete.

        Raises:
            LinkError: not a message of this protocol.
        """
        self._buffer += data
        done: list[tuple[Message, bytes]] = []
        at = 0
        while len(self._buffer) - at >= _HEAD.size:
            header_size, payload_size = _HEAD.unpack_from(self._buffer, at)
            if not 0 < header_size <= MAX_HEADER_SIZE_BYTES or payload_size > MAX_PAYLOAD_SIZE_BYTES:
                raise LinkError(f"a message of {header_size} and {payload_size} bytes is not read")
            start = at + _HEAD.size
            end = start + header_size + payload_size
            if len(self._buffer) < end:
                break
            with memoryview(self._buffer) as view:
                header, payload = bytes(view[start : start + header_size]), bytes(view[start + header_size : end])
            message = _parse(header)
            _check(message, payload)
            done.append((message, payload))
            at = end
        del self._buffer[:at]
        return done


def _parse(header: bytes) -> Message:
    try:
        fields = cbor.decode_map(header)
    except NotDeterministicError as error:
        raise LinkError(f"a header is not CBOR: {error}") from error
    name = fields.pop("type", None)
    form = MESSAGES.get(name) if isinstance(name, str) else None
    if form is None:
        raise LinkError("a message of an unknown type")
    try:
        return msgspec.convert(fields, form, strict=True)
    except msgspec.ValidationError as error:
        raise LinkError(f"not a {_NAME_OF[form]} message: {error}") from error


def _check(message: Message, payload: bytes) -> None:
    if len(payload) > MAX_PAYLOAD_SIZE_BYTES:
        raise LinkError(f"a payload of {len(payload)} bytes cannot be sent")
    if bool(payload) != isinstance(message, _WITH_PAYLOAD):
        raise LinkError(f"{_NAME_OF[type(message)]} must {'not ' if payload else ''}have a payload")
    if isinstance(message, Taken) and len(payload) > MAX_PHOTO_SIZE_BYTES:
        raise LinkError(f"a photograph of {len(payload)} bytes is not read")
    if isinstance(message, Shown) and not (len(payload) <= MAX_TEXT_CHARACTERS and payload.isascii()):
        raise LinkError("what was shown is not the text of a code")
    if isinstance(message, Hello | Welcome) and message.v != VERSION:
        raise LinkError(f"the other end speaks version {message.v} of the link")
    _check_fields(message)
    tracks = getattr(message, "track_ids" if isinstance(message, Start) else "tracks", None)
    if tracks is not None and not (tracks and set(tracks) <= set(TRACKS)):
        raise LinkError("tracks are video and audio")
    if isinstance(message, Start) and not all(0 < number < 1 << 31 for number in message.track_ids.values()):
        raise LinkError("a track id is out of bounds")


def _check_fields(form: msgspec.Struct) -> None:
    """Refuse texts, numbers, ids and collections out of bounds."""
    for name in form.__struct_fields__:
        value: object = getattr(form, name)
        if isinstance(value, bytes) and len(value) != ID_SIZE_BYTES:
            raise LinkError(f"{name} must have {ID_SIZE_BYTES} bytes")
        _check_value(name, value)


def _check_value(name: str, value: object) -> None:
    if isinstance(value, str) and len(value) > MAX_TEXT:
        raise LinkError(f"{name} is too long")
    if isinstance(value, int) and not (-_MAX_NUMBER if name in _SIGNED else 0) <= value < _MAX_NUMBER:
        raise LinkError(f"{name} is out of bounds")
    if isinstance(value, list | dict):
        if len(value) > MAX_ENTRIES:
            raise LinkError(f"{name} has too many entries")
        for item in value:
            _check_value(name, item)
        if isinstance(value, dict):
            for item in value.values():
                _check_value(name, item)
    if isinstance(value, msgspec.Struct):
        _check_fields(value)
