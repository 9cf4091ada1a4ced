"""Codes that are shown to the lens: a task, or an officer, signed by the centre and printed as a QR code.

A code is one COSE_Sign1 message by a store's key for codes. It is printed as text, ``LIUHEN1:`` and the message in
base45 (RFC 9285), so that a QR code holds it in its alphanumeric form. It may carry its certificate; without it is
smaller, and only a device that was given the certificate can read it. ``docs/lens-codes.md`` tells how to make one.

A code proves that the centre wrote this, for this time. It doesn't prove who holds the paper: a code can be copied.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from keys import cbor, cose
from keys.errors import BadSignatureError, KeysError, MalformedMessageError
from recorder.evidence.details import Officer, Person, SessionDetails
from recorder.evidence.errors import EvidenceError
from recorder.evidence.policy_form import MATTERS
from recorder.evidence.records import plain

if TYPE_CHECKING:
    from keys.identity import Identity
    from keys.signer import Signer

VERSION: Final = 1
PREFIX: Final = "LIUHEN1:"
MAX_MESSAGE_SIZE_BYTES: Final = 960
"""Its text just fits a QR code of version 25 with level M."""
MAX_TEXT_CHARACTERS: Final = len(PREFIX) + MAX_MESSAGE_SIZE_BYTES // 2 * 3
MAX_FIELD_CHARACTERS: Final = 200
MAX_ENTRIES: Final = 16
PERSON_ROLES: Final = ("party", "representative", "witness", "interpreter", "other")
LATEST_UTC_S: Final = 253_402_300_799
"""The end of the year 9999."""
AUTHOR: Final = "code"
"""Who says what a code says: its record and its details name this author."""

_ALPHABET: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ $%*+-./:"
_VALUES: Final = {sign: value for value, sign in enumerate(_ALPHABET)}
_SECOND_NS: Final = 1_000_000_000


class LensCodeError(EvidenceError):
    """A code is not of the form that is read here, or cannot be believed."""


class Code(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What all codes have in common."""

    issuer: str
    """Id of the store that issued it."""
    valid_from_utc_s: int
    """Seconds since 1970."""
    valid_until_utc_s: int
    """The last second in which it counts."""


class TaskCode(Code, frozen=True, kw_only=True, omit_defaults=True):
    """A task: what a session is to be of."""

    matter: str
    """From the closed list of matters."""
    matter_note: str | None = None
    """Which one, for ``other``."""
    case: str | None = None
    unit: str | None = None
    """The department."""
    place: str | None = None
    people: list[Person] = []
    officers: list[str] = []
    """Numbers of the officers' enforcement certificates."""


class OfficerCode(Code, frozen=True, kw_only=True, omit_defaults=True):
    """An officer's card (R8)."""

    certificate: str
    """Number of the enforcement certificate."""
    name: str
    agency: str


TYPES: Final[dict[str, type[TaskCode | OfficerCode]]] = {"task-code": TaskCode, "officer-code": OfficerCode}
_TYPE_OF: Final = {struct: name for name, struct in TYPES.items()}


class Shown(NamedTuple):
    """A code as it was read, not yet believed."""

    message: bytes
    signed: cose.Message
    code: TaskCode | OfficerCode

    @property
    def sha256(self) -> bytes:
        """What tells this code from every other."""
        return hashlib.sha256(self.message).digest()


def sign(code: TaskCode | OfficerCode, signer: Signer, *, carries_certificate: bool) -> bytes:
    """Sign a code.

    Args:
        code: what it says.
        signer: the store's key for codes.
        carries_certificate: put the certificate in, for devices that know nothing but the authority.

    Raises:
        LensCodeError: something in it is out of bounds, or all of it is too much for a QR code.
    """
    _check(code)
    payload = cbor.encode(plain(code) | {"v": VERSION, "type": _TYPE_OF[type(code)]})
    message = cose.sign(payload, signer, (signer.certificate,) if carries_certificate else ())
    if len(message) > MAX_MESSAGE_SIZE_BYTES:
        raise LensCodeError(f"{len(message)} bytes do not fit one code of {MAX_MESSAGE_SIZE_BYTES}: say less in it")
    return message


def to_text(message: bytes) -> str:
    """Return the text that is printed as a QR code."""
    signs: list[str] = []
    for at in range(0, len(message), 2):
        pair = message[at : at + 2]
        value = int.from_bytes(pair, "big")
        for _ in range(len(pair) + 1):
            value, sign_ = divmod(value, 45)
            signs.append(_ALPHABET[sign_])
    return PREFIX + "".join(signs)


def from_text(text: str) -> bytes:
    """Return the message of a printed text.

    Raises:
        LensCodeError: without the prefix, too long, or not base45.
    """
    if not text.startswith(PREFIX) or len(text) > MAX_TEXT_CHARACTERS:
        raise LensCodeError("not the text of a code")
    try:
        values = [_VALUES[sign] for sign in text[len(PREFIX) :]]
    except KeyError as error:
        raise LensCodeError("a sign that base45 does not know") from error
    message = bytearray()
    for at in range(0, len(values), 3):
        group = values[at : at + 3]
        size = len(group) - 1
        value = sum(one * 45**place for place, one in enumerate(group))
        if not size or value >= 1 << 8 * size:
            raise LensCodeError("not base45")
        message += value.to_bytes(size, "big")
    return bytes(message)


def read(text: str) -> Shown:
    """Read a printed text; its signature is not checked here. An error never repeats what the code says.

    Raises:
        LensCodeError: it is not a code of this version.
    """
    message = from_text(text)
    try:
        signed = cose.parse(message, MAX_MESSAGE_SIZE_BYTES)
        fields = cose.payload_map(signed)
    except MalformedMessageError as error:
        raise LensCodeError("not a signed message of the one form that is read") from error
    name = fields.pop("type", None)
    form = TYPES.get(name) if isinstance(name, str) else None
    if fields.pop("v", None) != VERSION or form is None:
        raise LensCodeError("not a code of this version")
    if len(signed.chain) > 1 or (signed.chain and hashlib.sha256(signed.chain[0]).digest() != signed.kid):
        raise LensCodeError("the code carries another certificate than it was signed with")
    try:
        code = msgspec.convert(fields, form, strict=True)
    except msgspec.ValidationError as error:
        raise LensCodeError("a field is missing or of another type") from error
    _check(code)
    return Shown(message, signed, code)


def believe(shown: Shown, issuer: Identity, utc_ns: int | None) -> None:
    """Check a code against the certificate that its key was proved by.

    Args:
        shown: from :func:`read`.
        issuer: proved to have the role ``CODES`` under a trusted authority.
        utc_ns: now; None where the clock is unset, and no date can be judged.

    Raises:
        LensCodeError: forged, of another issuer, or not valid now.
    """
    try:
        if issuer.kid != shown.signed.kid:
            raise BadSignatureError("it names another key")
        cose.verify(shown.signed, issuer.public_key)
    except KeysError as error:
        raise LensCodeError(f"the code cannot be believed: {error}") from error
    if shown.code.issuer != issuer.id:
        raise LensCodeError("the code speaks for another store than its certificate names")
    if utc_ns is None:
        return
    if utc_ns < shown.code.valid_from_utc_s * _SECOND_NS:
        raise LensCodeError("the code is not valid yet")
    if utc_ns >= (shown.code.valid_until_utc_s + 1) * _SECOND_NS:
        raise LensCodeError("the code is no longer valid")
    if not issuer.valid_at(utc_ns):
        raise LensCodeError("the certificate of the code's issuer is not valid now")


def details_of(shown: Shown, *, dates_judged: bool) -> SessionDetails:
    """Return what a code adds to a session; the code itself goes along, so that anyone can check it later."""
    code = shown.code
    source = {"author": AUTHOR, "code": shown.message, "code_dates_judged": dates_judged}
    if isinstance(code, OfficerCode):
        return SessionDetails(officers=[Officer(certificate=code.certificate, name=code.name)], **source)  # type: ignore[arg-type]
    return SessionDetails(
        matter=code.matter,
        matter_note=code.matter_note,
        case=code.case,
        unit=code.unit,
        place=code.place,
        people=code.people,
        officers=[Officer(certificate=number) for number in code.officers],
        **source,  # type: ignore[arg-type]
    )


def _check(code: TaskCode | OfficerCode) -> None:
    if not 0 <= code.valid_from_utc_s <= code.valid_until_utc_s <= LATEST_UTC_S:
        raise LensCodeError("valid_from_utc_s and valid_until_utc_s do not enclose a time")
    if isinstance(code, TaskCode):
        if code.matter not in MATTERS:
            raise LensCodeError("its matter is none of the closed list")
        if not all(person.role in PERSON_ROLES for person in code.people):
            raise LensCodeError(f"a person's role is one of {', '.join(PERSON_ROLES)}")
    _check_fields(code)


def _check_fields(struct: msgspec.Struct) -> None:
    for name in struct.__struct_fields__:
        value = getattr(struct, name)
        if isinstance(value, list) and len(value) > MAX_ENTRIES:
            raise LensCodeError(f"{name} has more than {MAX_ENTRIES} entries")
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, msgspec.Struct):
                _check_fields(item)
            elif isinstance(item, str) and not (
                0 < len(item) <= MAX_FIELD_CHARACTERS and item.isprintable() and item.strip() == item
            ):
                raise LensCodeError(f"{name} is not a text of 1 to {MAX_FIELD_CHARACTERS} printable characters")
