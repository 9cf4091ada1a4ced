"""What the central store signs: receipts, session attestations, withholding statements, entries of its access log.

Each is a COSE_Sign1 message by the store's receipt key, carrying its certificate chain, with a payload map that names
its ``type``. Fields and units are those of the structs below. A receipt is the only thing that changes what a device
believes; an attestation is what ties a package to what the store had received, and when.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec

from keys import cbor, cose
from keys.errors import KeysError, MalformedMessageError
from recorder.evidence.errors import StatementError
from recorder.evidence.records import plain

if TYPE_CHECKING:
    from keys.certificates import Anchors, Identity
    from keys.signer import Signer

VERSION: Final = 1


class Statement(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What all statements have in common."""

    store: str
    """Id of the store that speaks."""
    utc_ns: int
    """The store's clock when it signed."""


class RecordsReceipt(Statement, frozen=True, kw_only=True, omit_defaults=True):
    """The store holds, synced to its disk, the records of one log up to a point."""

    device: str
    log: bytes
    next_sequence: int
    """All records below this one are held; 0 where none is."""
    head_sha256: bytes | None = None
    """Hash of record ``next_sequence - 1``."""
    holes: list[tuple[int, int]] = []
    """First and last sequence of ranges at or above ``next_sequence`` that are missing below the highest held one."""
    highest_sequence: int | None = None
    """The highest held one, where there are holes: what is neither in a hole nor above it need not be sent again."""
    nonce: bytes | None = None
    """The device's own, 16 bytes, when it asked: then ``utc_ns`` is no older than the question."""


class MediaReceipt(Statement, frozen=True, kw_only=True, omit_defaults=True):
    """The store holds, synced to its disk, the stored bytes that one record names."""

    device: str
    log: bytes
    sequence: int
    record_sha256: bytes
    stored_sha256: bytes
    content_sha256: bytes
    stored_size_bytes: int
    storage: str
    """``stored`` (synced here) or ``secured`` (on a second copy too, as the site's policy says)."""
    standing: str
    """``believed``, or ``quarantined``: kept, but the key was revoked, expired or the branch is in doubt."""


class Branch(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Another record with a sequence that the log already had: two pasts of one log."""

    sequence: int
    sha256: bytes
    classed: str
    """``tail-lost`` (the branch begins with a boot record: the device lost its newest records) or ``fork``."""


class Attestation(Statement, frozen=True, kw_only=True, omit_defaults=True):
    """What the store knows of one session, from records that it had received at the times given."""

    device: str
    log: bytes
    stream: int
    session: bytes
    first_sequence: int
    """Sequence of session-open."""
    first_sha256: bytes
    last_sequence: int
    """Sequence of session-close, or of the newest record of the session when it is not closed."""
    last_sha256: bytes
    closed: bool
    head_sequence: int
    """Newest record of the log that the store holds."""
    head_sha256: bytes
    received: list[tuple[int, int, int]]
    """[first sequence, last sequence, UTC ns by which all of them had been received], ascending; without holes up to
    ``last_sequence``, then the later ones."""
    later: list[int] = []
    """Sequences behind ``last_sequence`` of records that belong to the session."""
    later_sha256: list[bytes] = []
    """Hashes of the same records: no chain leads to them from ``last_sha256`` without what stands between."""
    media_held: list[tuple[int, int]] = []
    """First and last record sequence of runs whose files, where a record brings one, are held."""
    media_missing: list[int] = []
    """Sequences of records whose file has not arrived."""
    branches: list[Branch] = []
    """Other pasts of the same log within the session, as far as known."""
    complete_utc_ns: int | None = None
    """When all of it, files included, was held; absent while something is missing."""
    standing: str = "believed"


class Withholding(Statement, frozen=True, kw_only=True, omit_defaults=True):
    """Parts of a session are lawfully not given in a package; the chain does not need them."""

    device: str
    log: bytes
    session: bytes
    sequences: list[tuple[int, int]]
    """First and last record sequence of runs whose files are withheld."""
    ground: str
    """On what ground, an id from the list of reasons, for example ``trade_secret``."""
    decision: str | None = None
    """Number of the written decision."""


class Access(Statement, frozen=True, kw_only=True, omit_defaults=True):
    """One entry of the store's access log; the entries form a chain like the records of a device."""

    sequence: int
    previous_sha256: bytes
    action: str
    """``export``, ``list``, ``take-in``, ``view`` …"""
    who: str
    reason: str
    subject: dict[str, Any] = {}
    """What it was about: session, log, path …, as text and ids."""


TYPES: Final[dict[str, type[Statement]]] = {
    "records-receipt": RecordsReceipt,
    "media-receipt": MediaReceipt,
    "attestation": Attestation,
    "withholding": Withholding,
    "access": Access,
}
_TYPE_OF: Final = {struct: name for name, struct in TYPES.items()}

MAX_SIZE_BYTES: Final = 4 << 20
"""An attestation of a long session is the largest statement; receipts stay below 4 KiB."""
MAX_RECEIPT_SIZE_BYTES: Final = 8192

S = TypeVar("S", bound=Statement)


def sign(statement: Statement, signer: Signer, chain: tuple[bytes, ...] = ()) -> bytes:
    """Sign a statement and return the message; it carries the signer's certificate and ``chain`` behind it."""
    payload = plain(statement) | {"v": VERSION, "type": _TYPE_OF[type(statement)]}
    return cose.sign(cbor.encode(payload), signer, (signer.certificate, *chain))


def parse(message: bytes, expected: type[S], max_size_bytes: int = MAX_SIZE_BYTES) -> S:
    """Parse a statement; its signature is not checked here.

    Raises:
        StatementError: it is not a statement of the expected type.
    """
    try:
        payload = cose.payload_map(cose.parse(message, max_size_bytes))
    except MalformedMessageError as error:
        raise StatementError(f"not a statement: {error}") from error
    if payload.pop("v", None) != VERSION or payload.pop("type", None) != _TYPE_OF[expected]:
        raise StatementError(f"not a statement of type {_TYPE_OF[expected]!r}, version {VERSION}")
    try:
        return msgspec.convert(payload, expected, strict=True)
    except msgspec.ValidationError as error:
        raise StatementError(f"not a statement: {error}") from error


def type_of(message: bytes, max_size_bytes: int = MAX_SIZE_BYTES) -> str:
    """Return the type that a statement's payload names, "" when it names none.

    Raises:
        StatementError: not a signed message.
    """
    try:
        name = cose.payload_map(cose.parse(message, max_size_bytes)).get("type")
    except MalformedMessageError as error:
        raise StatementError(f"not a statement: {error}") from error
    return name if isinstance(name, str) else ""


def verify(message: bytes, anchors: Anchors, max_size_bytes: int = MAX_SIZE_BYTES) -> Identity:
    """Prove that a store of a trusted authority signed ``message``, by the chain that it carries.

    The statement's ``store`` must be the identity's id: callers get the identity to compare.

    Raises:
        StatementError: the chain, the role or the signature does not hold.
    """
    from keys.certificates import Role  # loads X.509, which a recorder does not need until a receipt comes

    try:
        parsed = cose.parse(message, max_size_bytes)
        if not parsed.chain:
            raise StatementError("the statement carries no certificate")
        identity = anchors.identify(parsed.chain[0], Role.RECEIPT, parsed.chain[1:])
        if identity.kid != parsed.kid:
            raise StatementError("the statement carries another certificate than it was signed with")
        cose.verify(parsed, identity.public_key)
    except KeysError as error:
        raise StatementError(f"the statement cannot be believed: {error}") from error
    if cose.payload_map(parsed).get("store") != identity.id:
        raise StatementError("the statement speaks for another store than its certificate names")
    return identity
