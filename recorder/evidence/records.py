"""Every record kind and its fields: decided here, once.

A record is a COSE_Sign1 message (:mod:`keys.cose`) whose payload is a map with the envelope fields of :class:`Record`
and, under ``body``, the fields of its kind. Optional fields are absent when they have no value, never null.
Fields that this program does not know survive, because the signed bytes are what is kept and passed on; a record of
an unknown kind is kept and marked as not understood.

No record holds personal data: names, case numbers, free text, positions and pictures are files (``details``,
``photo``), of which a record holds digests. The log may be shown to anyone.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from keys import cbor, cose
from keys.errors import MalformedMessageError
from recorder.evidence.errors import RecordError

VERSION: Final = 1
MAX_RECORD_SIZE_BYTES: Final = 4096
ZERO_HASH: Final = bytes(32)
"""``prev`` of the first record of a log."""

CLOCKS: Final = ("synchronised", "holdover", "unset")
"""synchronised now; earlier in this boot, or by an RTC set while synchronised; never."""


class Body(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the bodies of all kinds have in common: nothing but their form."""


class Genesis(Body, frozen=True, kw_only=True, omit_defaults=True):
    """The first record of a log (sequence 0)."""

    certificate_sha256: bytes
    """Digest of the device's signing certificate, DER."""
    stream_name: str
    """Name of the stream in the device's configuration; ``device`` for stream 0."""
    origin: str
    """``enrolled`` (a technician started the log) or ``self-started`` (the device found none and went on)."""
    software: str
    """Name and version of the program."""
    previous_log: bytes | None = None
    """Log id that this one follows on the same device and stream, where known."""
    previous_head_sha256: bytes | None = None


class Boot(Body, frozen=True, kw_only=True, omit_defaults=True):
    """The recorder started and found this log. The first record of every start, in every log."""

    found_sequence: int
    found_sha256: bytes
    """The head that was found: sequence and hash of the newest record on the disk."""
    reason: str
    """``power-on`` (another kernel boot id than the record before) or ``restart`` (the process only)."""
    software: str
    torn_size_bytes: int = 0
    """Bytes of an unfinished last record that were cut off the log file."""
    receipt_sha256: bytes | None = None
    """Hash of the newest receipt of this store that the device had verified: not before it."""


class Heads(Body, frozen=True, kw_only=True, omit_defaults=True):
    """Device log only: where every stream stood, so that a missing stream shows."""

    heads: list[tuple[int, bytes, int, bytes]]
    """One [stream, log id, sequence, record hash] a stream log."""
    off: bool = False
    """The last record before the recorder ended in order, for example because the device is being switched off."""
    receipt_sha256: bytes | None = None
    battery_percent: int | None = None
    battery_minutes: int | None = None
    """Until the battery is empty, as reckoned then; absent on mains and where it is not known."""
    on_mains: bool | None = None
    """Absent where the device cannot tell."""


class Clock(Body, frozen=True, kw_only=True, omit_defaults=True):
    """Binds the boot-time clock of one kernel boot (the envelope's ``boot``) to UTC, or tells that the clock moved."""

    source: str
    """``ntp``, ``rtc``, ``gnss``, ``centre`` or ``step`` (somebody set the clock)."""
    bound_utc_ns: int
    bound_boottime_ns: int
    uncertainty_ns: int | None = None
    step_ns: int | None = None
    """How far UTC moved against the boot-time clock, for ``step``."""


class MediaKey(Body, frozen=True, kw_only=True, omit_defaults=True):
    """A new key epoch: media that name this epoch were stored under it."""

    epoch: bytes
    """16 random bytes that name the epoch."""
    sealing: str
    """``none`` (in clear) or ``xchacha20poly1305-secretstream``."""
    commitment_sha256: bytes | None = None
    """SHA-256 of "liuhen/media-key/1", epoch and key, when sealed."""
    recipients: list[dict[str, Any]] = []
    """One {name, kid, sealed} for each who can open the key; ``sealed`` is a libsodium sealed box."""


class SessionOpen(Body, frozen=True, kw_only=True, omit_defaults=True):
    """A recording begins."""

    mode: str
    """``video``, ``audio``, ``photo`` or ``continuous``."""
    zero_boottime_ns: int
    """Boot-time of media time zero: media times of this session count from here."""
    policy_sha256: bytes
    """Digest of the policy file that the session is made under."""
    device_head_sequence: int
    device_head_sha256: bytes
    """The device log's newest record at this moment."""
    trigger: str
    """What opened it: ``command``, ``button``, ``start-up``, ``schedule`` or ``day``."""
    matter: str | None = None
    """A matter from the closed list, for example ``on_site_inspection``."""
    must_be_whole: bool = False
    linked_session: bytes | None = None
    """The session that this one continues or repeats."""
    link_class: str | None = None
    """``lawful-unsuitable``, ``lawful-adjourned``, ``lawful-device``, ``after-fault``, ``intermittent`` or ``day``."""
    pre_event_ns: int = 0
    """Media time zero lies so long before the start: pictures without sound may have been kept from there on."""
    idle_since_boottime_ns: int | None = None
    """Since then the recorder had been running, and nothing of this stream was recorded."""
    checked: str | None = None
    """Result of the newest check before duty in the day before: ``pass``, ``warn`` or ``fail``."""
    checked_utc_ns: int | None = None
    """When that was, by the device's clock of then."""
    receipt_sha256: bytes | None = None


class FileRecord(Body, frozen=True, kw_only=True, omit_defaults=True):
    """What every record that brings a file says of it."""

    media: int
    """The file's number in this log; never used twice. On the device the file is ``<log id>/<media>``."""
    epoch: bytes
    """The key epoch it was stored under."""
    stored_sha256: bytes
    """Of the bytes as they lie on the disk and are sent."""
    stored_size_bytes: int
    content_sha256: bytes
    """Of the content as a person opens it: the MP4, the picture, the text."""
    content_size_bytes: int


class Details(FileRecord, frozen=True, kw_only=True, omit_defaults=True):
    """A file of particulars: case, parties, officers, place, text record. Its content is deterministic CBOR."""

    when: str
    """``start``, ``during`` or ``after`` the session."""
    author: str
    """Who says so, as a role: ``officer``, ``code``, ``technician``, ``centre``; ``device`` for a position."""
    officers_count: int | None = None
    secrecy: str | None = None


class Photo(FileRecord, frozen=True, kw_only=True, omit_defaults=True):
    """A photograph."""

    format: str
    width_px: int
    height_px: int
    taken_boottime_ns: int


class Track(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a chunk holds of one track. Media times are in units of the track's timescale since the session's zero."""

    codec: str
    """RFC 6381 style short name: ``h264``, ``hevc``, ``aac``."""
    timescale: int
    """Units a second."""
    first_decode: int
    """Decode time of the first sample: the first fragment's tfdt."""
    end_decode: int
    """Decode time at which the last sample ends."""
    frames_received: int
    """Frames that came from the device or camera during this chunk."""
    frames_written: int
    """Samples in the chunk; equals the samples of its trun boxes."""
    frames_discarded: dict[str, int] = {}
    """Reason to count. received = written + discarded, over a session."""
    frames_expected: int | None = None
    """Only where the source numbers its frames."""
    holes_count: int = 0
    """Places where the time between two frames was longer than one and a half times the usual."""
    holes_duration_ns: int = 0
    arrival_first_boottime_ns: int | None = None
    """When the first frame reached the source."""
    arrival_last_boottime_ns: int | None = None
    sensor_first_boottime_ns: int | None = None
    """When the first frame was taken, where the hardware tells."""
    sensor_last_boottime_ns: int | None = None
    peak_millibels: int | None = None
    """Loudest sample against full scale, 1/100 dB, for sound that we encode."""
    rms_millibels: int | None = None


class Chunk(FileRecord, frozen=True, kw_only=True, omit_defaults=True):
    """A self-contained fragmented MP4 of some seconds."""

    number: int
    """Counts the chunks of the session from 0."""
    part: int
    """Counts the timeline parts of the session from 0: a new one where the init segment changes."""
    init_sha256: bytes
    """Of the init segment (ftyp, moov), the first ``init_size_bytes`` of the content."""
    init_size_bytes: int
    fragments: int
    continues: bool = False
    """It doesn't begin with a key frame: it decodes only after the chunk before it."""
    start_boottime_ns: int
    """Boot-time of its first sample: the session's zero plus media time."""
    end_boottime_ns: int
    media_boot: bytes | None = None
    """Kernel boot id of its boot-times, where it is not this record's (recovered after a power loss)."""
    tracks: dict[str, Track]
    """``video`` and ``audio``, whichever it holds."""
    recovered: str | None = None
    """``torn`` (cut at its last whole fragment) or ``not-logged`` (whole, but its record had not been written)."""


class Marker(Body, frozen=True, kw_only=True, omit_defaults=True):
    """A moment pointed out."""

    marker: str
    at_boottime_ns: int
    basis: str
    """``device``, ``declared`` or ``later``."""
    classifies: int | None = None
    """Sequence of the marker of this session whose kind this one tells; the moment is that one's."""


class Announcement(Body, frozen=True, kw_only=True, omit_defaults=True):
    """The spoken announcement, and whether the device heard itself."""

    text: str
    """Id of the text."""
    spoken_boottime_ns: int
    heard: str
    """``heard``, ``not-heard``, ``companion`` or ``not-checked``."""
    delay_ns: int | None = None
    level_millibels: int | None = None


class Gap(Body, frozen=True, kw_only=True, omit_defaults=True):
    """Nothing was recorded of one or both tracks for a while, and why."""

    cause: str
    """An id from the list of causes, for example ``camera``, ``restart``, ``power``, ``unsuitable``."""
    tracks: list[str]
    """``video``, ``audio``."""
    state: str
    """``begins`` (still going on when written), ``ends`` or ``whole``."""
    start_boottime_ns: int
    """Last moment known to be recorded, in the boot named by ``start_boot``."""
    end_boottime_ns: int | None = None
    """First moment recorded again, in the boot of this record."""
    start_boot: bytes | None = None
    """Kernel boot id of ``start_boottime_ns`` where it is not this record's."""
    length_min_ns: int | None = None
    length_max_ns: int | None = None
    """Bounds of the length; the upper one is absent where the device cannot know it."""
    detail: str | None = None
    """What the source said, ASCII, no personal data."""
    count: int = 1
    """How many of the same cause within a minute this record stands for."""


class Fault(Body, frozen=True, kw_only=True, omit_defaults=True):
    """Something of the device failed, or failed no longer.

    What lasts (a covered lens) is signed when it begins, and again, with the same code and start, when it is over.
    """

    code: str
    detail: str | None = None
    count: int = 1
    """How many of the same code within a minute of each other this record stands for."""
    start_boottime_ns: int | None = None
    """When what lasts began."""
    end_boottime_ns: int | None = None
    """When it was over; absent while it lasts."""
    length_ns: int | None = None
    """How long it was, all ``count`` together."""


class Check(Body, frozen=True, kw_only=True, omit_defaults=True):
    """Device log only: the check before duty (R15). Each item is named once, in one of the four."""

    passed: list[str]
    """``battery``, ``storage``, ``clock``, ``camera``, ``microphone``, ``speaker``, ``keys``, ``uplink``, ``pending``,
    ``position``; what was in order."""
    noted: dict[str, str] = {}
    """Item to code of the fault; the device is fit for duty all the same."""
    failed: dict[str, str] = {}
    """Item to code of the fault: the device is not fit for duty."""
    skipped: list[str] = []
    """Could not be looked at, or there is none of it here."""

    @property
    def result(self) -> str:
        """``pass``, ``warn`` or ``fail``."""
        return "fail" if self.failed else "warn" if self.noted else "pass"


class Lost(Body, frozen=True, kw_only=True, omit_defaults=True):
    """Records of this log that the device can no longer read from its own disk."""

    first_sequence: int
    last_sequence: int
    reason: str
    log: bytes | None = None
    """The log they are of, where it is not this one."""


class NotRecorded(Body, frozen=True, kw_only=True, omit_defaults=True):
    """Lawfully not recorded (R10), or could not be recorded."""

    reason: str
    scope: str
    """``act``, ``interval`` or ``end``."""
    lawful: bool
    start_boottime_ns: int | None = None
    end_boottime_ns: int | None = None


class Deferral(Body, frozen=True, kw_only=True, omit_defaults=True):
    """Hand-over is put off on a ground that the agency's rule knows (R13)."""

    reason: str
    max_days: int


class Return(Body, frozen=True, kw_only=True, omit_defaults=True):
    """The device is back at its unit: the deferred 24 hours begin."""

    sign: str
    """``dock``, ``network``, ``statement``, ``supervisor`` or ``duty``."""


class SessionClose(Body, frozen=True, kw_only=True, omit_defaults=True):
    """A recording has ended."""

    reason: str
    """An id from the list of reasons, for example ``done``, ``battery``, ``fault``, ``interrupted``."""
    closed_by: str
    """``command``, ``button``, ``device`` or ``recovery``."""
    open_sequence: int
    """Sequence of this session's session-open."""
    chunks: int
    """Chunks of the session, the recovered ones included."""
    end_boottime_ns: int
    """End of the last sample."""
    statement: bool = False
    """The officer stated that the work on site is over."""
    device_head_sequence: int
    device_head_sha256: bytes
    receipt_sha256: bytes | None = None


class KeyChange(Body, frozen=True, kw_only=True, omit_defaults=True):
    """Later records are signed by another key. Counts only when the authority's certificate names the old one."""

    certificate_sha256: bytes
    previous_certificate_sha256: bytes


KINDS: Final[dict[str, type[Body]]] = {
    "genesis": Genesis,
    "boot": Boot,
    "heads": Heads,
    "clock": Clock,
    "media-key": MediaKey,
    "session-open": SessionOpen,
    "details": Details,
    "announcement": Announcement,
    "chunk": Chunk,
    "photo": Photo,
    "marker": Marker,
    "gap": Gap,
    "fault": Fault,
    "check": Check,
    "lost": Lost,
    "not-recorded": NotRecorded,
    "deferral": Deferral,
    "return": Return,
    "session-close": SessionClose,
    "key-change": KeyChange,
}
_KIND_OF: Final = {body: kind for kind, body in KINDS.items()}

WITH_FILE: Final = ("chunk", "details", "photo")
"""Kinds that bring a media file."""


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """One record, parsed; :attr:`message` are the signed bytes it came from."""

    device: str
    log: bytes
    """Random id of the log, 16 bytes."""
    stream: int
    """0 for the device log, from 1 for streams."""
    sequence: int
    previous_sha256: bytes
    """SHA-256 of the whole record before; 32 zero bytes at sequence 0."""
    kind: str
    session: bytes | None
    """Session id, 16 bytes; absent for records outside sessions."""
    utc_ns: int
    """The device's clock, nanoseconds since 1970; a claim, see ``clock``."""
    boottime_ns: int
    """CLOCK_BOOTTIME when the record was made."""
    boot: bytes
    """Kernel boot id, 16 bytes."""
    clock: str
    """Quality of ``utc_ns``: one of :data:`CLOCKS`."""
    body: Body | None
    """None when the kind is unknown, or the body is not what the kind asks (then :attr:`problem` says why)."""
    kid: bytes
    message: bytes
    sha256: bytes
    """Hash of the whole message, the ``prev`` of the next record."""
    problem: str | None = None

    @property
    def file(self) -> FileRecord | None:
        """The body as a file's record, for kinds that bring a file."""
        return self.body if isinstance(self.body, FileRecord) else None


class _Envelope(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    v: int
    type: str
    device: str
    log: bytes
    stream: int
    seq: int
    prev: bytes
    kind: str
    session: bytes | None = None
    utc_ns: int
    boottime_ns: int
    boot: bytes
    clock: str
    body: dict[str, Any]


def encode_payload(
    *,
    device: str,
    log: bytes,
    stream: int,
    sequence: int,
    previous_sha256: bytes,
    session: bytes | None,
    utc_ns: int,
    boottime_ns: int,
    boot: bytes,
    clock: str,
    body: Body,
) -> bytes:
    """Return the payload of a record, ready for :func:`keys.cose.sign`; units and meanings as in :class:`Record`."""
    envelope = _Envelope(
        v=VERSION,
        type="record",
        device=device,
        log=log,
        stream=stream,
        seq=sequence,
        prev=previous_sha256,
        kind=_KIND_OF[type(body)],
        session=session,
        utc_ns=utc_ns,
        boottime_ns=boottime_ns,
        boot=boot,
        clock=clock,
        body=plain(body),
    )
    return cbor.encode(plain(envelope))


def plain(struct: msgspec.Struct) -> dict[str, Any]:
    """Return a struct as a map of CBOR values, without the fields that have no value."""
    result: dict[str, Any] = msgspec.to_builtins(struct, builtin_types=(bytes,))
    return result


def parse(message: bytes) -> Record:
    """Parse one record; its signature is not checked here.

    Raises:
        RecordError: not a record of this version at all. A record of unknown kind, or whose body does not fit its
            kind, is returned with ``body`` None and ``problem`` set: it is kept, and marked.
    """
    try:
        parsed = cose.parse(message, MAX_RECORD_SIZE_BYTES)
        payload = cose.payload_map(parsed)
    except MalformedMessageError as error:
        raise RecordError(f"not a record: {error}") from error
    try:
        envelope = msgspec.convert(payload, _Envelope, strict=True)
    except msgspec.ValidationError as error:
        raise RecordError(f"not a record: {error}") from error
    _check_envelope(envelope)
    body, problem = _body(envelope.kind, envelope.body)
    return Record(
        device=envelope.device,
        log=envelope.log,
        stream=envelope.stream,
        sequence=envelope.seq,
        previous_sha256=envelope.prev,
        kind=envelope.kind,
        session=envelope.session,
        utc_ns=envelope.utc_ns,
        boottime_ns=envelope.boottime_ns,
        boot=envelope.boot,
        clock=envelope.clock,
        body=body,
        kid=parsed.kid,
        message=message,
        sha256=cose.digest(message),
        problem=problem,
    )


def verify(record: Record, public_key: bytes) -> None:
    """Check the record's signature with a raw Ed25519 public key.

    Raises:
        keys.errors.BadSignatureError: it does not fit.
    """
    cose.verify(cose.parse(record.message, MAX_RECORD_SIZE_BYTES), public_key)


_LENGTHS: Final = {"epoch": 16, "log": 16, "previous_log": 16, "linked_session": 16, "start_boot": 16, "media_boot": 16}
MAX_MEDIA_SIZE_BYTES: Final = 64 << 20
"""No chunk, photo or details file is larger."""
MAX_SEQUENCE: Final = 1 << 48
MAX_INTEGER: Final = 1 << 63
"""Numbers of a record stay below: an index has no more bits (and nanoseconds reach to the year 2262)."""
MAX_MEDIA_TIME_S: Final = 10 * 366 * 86_400
"""No session lasts ten years; whoever claims so would make programs count that far."""


def _check_envelope(envelope: _Envelope) -> None:
    if envelope.v != VERSION:
        raise RecordError(f"record version {envelope.v} is not known here")
    if envelope.type != "record":
        raise RecordError(f"a signed {envelope.type!r} is not a record")
    for name, value, length in (
        ("log", envelope.log, 16),
        ("prev", envelope.prev, 32),
        ("boot", envelope.boot, 16),
        ("session", envelope.session, 16),
    ):
        if value is not None and len(value) != length:
            raise RecordError(f"{name} must have {length} bytes")
    if not 0 <= envelope.seq < MAX_SEQUENCE or not 0 <= envelope.stream < 1 << 16:
        raise RecordError("sequence or stream out of bounds")
    if not (0 <= envelope.boottime_ns < MAX_INTEGER and -MAX_INTEGER <= envelope.utc_ns < MAX_INTEGER):
        raise RecordError("boottime_ns or utc_ns out of bounds")
    if envelope.clock not in CLOCKS:
        raise RecordError(f"unknown clock quality {envelope.clock!r}")
    if not envelope.device or len(envelope.device) > 32 or not envelope.device.isascii():  # noqa: PLR2004
        raise RecordError("the device id is not of the allowed form")


def _body(kind: str, fields: dict[str, Any]) -> tuple[Body | None, str | None]:
    struct = KINDS.get(kind)
    if struct is None:
        return None, f"unknown kind {kind!r}"
    try:
        body = msgspec.convert(fields, struct, strict=True)
    except msgspec.ValidationError as error:
        return None, f"{kind}: {error}"
    problem = _bounds(body)
    return (None, f"{kind}: {problem}") if problem else (body, None)


_SIGNED: Final = ("step_ns", "level_millibels")


def _bounds(body: Body) -> str | None:
    """Say what is out of bounds: digests have 32 bytes, ids 16, numbers are not negative and have 63 bits."""
    for name in body.__struct_fields__:
        value = getattr(body, name)
        if isinstance(value, bytes):
            length = 32 if name.endswith("sha256") else _LENGTHS.get(name)
            if length is not None and len(value) != length:
                return f"{name} must have {length} bytes"
        elif isinstance(value, int) and (value >= MAX_INTEGER or (value < 0 and name not in _SIGNED)):
            return f"{name} is negative or too large"
    if isinstance(body, FileRecord) and not (
        0 < body.stored_size_bytes <= MAX_MEDIA_SIZE_BYTES and body.content_size_bytes <= MAX_MEDIA_SIZE_BYTES
    ):
        return f"a file must have between 1 and {MAX_MEDIA_SIZE_BYTES} bytes"
    if isinstance(body, Chunk) and not (body.tracks and all(_sane(track) for track in body.tracks.values())):
        return "a track must have a timescale and end where it begins or later"
    return None


def _sane(track: Track) -> bool:
    last = track.timescale * MAX_MEDIA_TIME_S
    return 0 < track.timescale < 1 << 32 and 0 <= track.first_decode <= track.end_decode <= last
