"""What device and central store say to each other over MQTT 5, QoS 1.

Topics are ``liuhen/v1/up/<bucket>/<subject>/<what>`` and ``liuhen/v1/down/<subject>/<what>``; the subject is the
common name of the device's transport certificate (``device:<id>``), the bucket two hex digits of its hash. Every
payload is one deterministic CBOR map of a struct below. Nothing depends on MQTT beyond delivery: a PUBACK means "send
the next", never "stored"; only signed receipts (:mod:`recorder.evidence.statements`) change what a device believes.
Any message may be lost or arrive twice.
"""

from __future__ import annotations

import hashlib
from typing import Annotated, Final, TypeVar

import msgspec

from keys import cbor
from keys.errors import NotDeterministicError
from recorder.evidence.records import MAX_SEQUENCE, plain
from uplink.errors import ProtocolError

VERSION: Final = 1
ROOT: Final = "liuhen/v1"

MAX_BATCH_SIZE_BYTES: Final = 64 << 10
"""Most bytes of records in one ``records`` message; a device sends fewer on a thin link."""
MIN_PIECE_SIZE_BYTES: Final = 8 << 10
MAX_PIECE_SIZE_BYTES: Final = 1 << 20
MAX_MESSAGE_SIZE_BYTES: Final = MAX_PIECE_SIZE_BYTES + (16 << 10)
"""The broker's max_packet_size."""
MAX_ASKED: Final = 64
"""Most logs and most media that one ``have`` may ask after."""
NONCE_SIZE_BYTES: Final = 16
Sequence = Annotated[int, msgspec.Meta(ge=0, lt=MAX_SEQUENCE)]
SizeBytes = Annotated[int, msgspec.Meta(ge=0, lt=1 << 62)]
"""A number that no index chokes on, whoever sends it."""


class Message(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What all payloads have in common: nothing but their form."""


class Hello(Message, frozen=True, kw_only=True, omit_defaults=True):
    """Up. Who signs on this device; sent after each connect and whenever the store asks (``who``)."""

    certificates: list[bytes]
    """DER: the signing certificate, then what stands between it and the authority."""
    software: str


class Records(Message, frozen=True, kw_only=True, omit_defaults=True):
    """Up. Some records of one log, in order; they need no grant and overtake pieces."""

    log: bytes
    records: list[bytes]
    outstanding_size_bytes: SizeBytes
    """Stored bytes of media on the device that have no receipt."""


class Piece(Message, frozen=True, kw_only=True, omit_defaults=True):
    """Up. Part of the stored bytes that the record (log, sequence) names; needs a grant."""

    log: bytes
    sequence: Sequence
    offset: SizeBytes
    data: bytes


class Have(Message, frozen=True, kw_only=True, omit_defaults=True):
    """Up. What do you have? Asked after connecting, after silence, and when a receipt is overdue."""

    nonce: bytes
    logs: list[bytes]
    media: list[tuple[bytes, Sequence]] = []
    """[log, sequence] of files whose missing bytes the device wants to know."""
    outstanding_size_bytes: SizeBytes


class Receipts(Message, frozen=True, kw_only=True, omit_defaults=True):
    """Down. Signed receipts (COSE), of records or media."""

    receipts: list[bytes]


class Missing(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the store lacks of one file."""

    log: bytes
    sequence: int
    known: bool
    """The store holds the record; without it no piece can be taken."""
    ranges: list[tuple[int, int]] = []
    """Missing bytes as [offset, end), at most 64 ranges from the lowest on; empty when held."""


class Holdings(Message, frozen=True, kw_only=True, omit_defaults=True):
    """Down. The answer to ``have``; the signed receipts for the logs and held media are in ``receipts``."""

    nonce: bytes
    receipts: list[bytes]
    missing: list[Missing] = []
    grant_size_bytes: int
    grant_seconds: int


class Grant(Message, frozen=True, kw_only=True, omit_defaults=True):
    """Down. A level, not an increment: up to so many unreceipted bytes may be under way, for so long."""

    size_bytes: int
    seconds: int


class Who(Message, frozen=True, kw_only=True, omit_defaults=True):
    """Down. The store does not know the certificate that signed some records; send ``hello``."""

    kid: bytes


class Started(Message, frozen=True, kw_only=True, omit_defaults=True):
    """Down. The store has begun to work, perhaps from a backup: ask it what it has, each device in its own time."""


UP: Final[dict[str, type[Message]]] = {"hello": Hello, "records": Records, "piece": Piece, "have": Have}
DOWN: Final[dict[str, type[Message]]] = {
    "receipts": Receipts,
    "holdings": Holdings,
    "grant": Grant,
    "who": Who,
    "started": Started,
}
_NAME_OF: Final = {struct: name for name, struct in (UP | DOWN).items()}
M = TypeVar("M", bound=Message)


def subject(device: str) -> str:
    """Return the common name of a device's transport certificate."""
    return f"device:{device}"


def bucket(subject_name: str) -> str:
    """Return the bucket of a subject: two hex digits, by which workers share the devices."""
    return hashlib.sha256(subject_name.encode()).hexdigest()[:2]


def up_topic(subject_name: str, message: type[Message]) -> str:
    """Return the topic on which a device sends messages of this type."""
    return f"{ROOT}/up/{bucket(subject_name)}/{subject_name}/{_NAME_OF[message]}"


def down_topic(subject_name: str, message: type[Message]) -> str:
    """Return the topic on which the store sends a device messages of this type."""
    return f"{ROOT}/down/{subject_name}/{_NAME_OF[message]}"


def parse_up_topic(topic: str) -> tuple[str, type[Message]]:
    """Return (subject, message type) of an upward topic.

    Raises:
        ProtocolError: not such a topic, or the bucket is not the subject's own: a device may reach no other worker.
    """
    parts = topic.split("/")
    if len(parts) != 6 or "/".join(parts[:3]) != f"{ROOT}/up" or parts[5] not in UP:  # noqa: PLR2004
        raise ProtocolError(f"not a topic of the protocol: {topic[:120]!r}")
    if parts[3] != bucket(parts[4]):
        raise ProtocolError(f"{parts[4]!r} sent to bucket {parts[3]!r}, which is not its own")
    return parts[4], UP[parts[5]]


def encode(message: Message) -> bytes:
    """Return the payload of a message."""
    return cbor.encode(plain(message) | {"v": VERSION})


def decode(payload: bytes, expected: type[M]) -> M:
    """Parse a payload from the network.

    Raises:
        ProtocolError: too long, not deterministic CBOR, or not of the expected form.
    """
    if len(payload) > MAX_MESSAGE_SIZE_BYTES:
        raise ProtocolError(f"a message of {len(payload)} bytes is not read")
    try:
        fields = cbor.decode_map(payload)
        if fields.pop("v", None) != VERSION:
            raise ProtocolError("a message of another protocol version")
        return msgspec.convert(fields, expected, strict=True)
    except (NotDeterministicError, msgspec.ValidationError) as error:
        raise ProtocolError(f"not a {_NAME_OF[expected]} message: {error}") from error
