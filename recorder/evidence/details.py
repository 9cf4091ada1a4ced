"""Session details: what a details file holds. Personal data live here and nowhere in a record (R6).

The file's content is the deterministic CBOR of :class:`Details` with a random salt, so that two files with the same
content have different digests and nothing can be guessed from a digest. Each file is one statement by one author at
one time; nothing is ever changed, later statements stand beside earlier ones.
"""

from __future__ import annotations

import secrets
from typing import Final

import msgspec

from keys import cbor
from keys.errors import NotDeterministicError
from recorder.evidence.errors import EvidenceError
from recorder.evidence.records import plain

VERSION: Final = 1
MAX_TEXT: Final = 2000
MAX_ENTRIES: Final = 64


class DetailsError(EvidenceError):
    """A details file does not hold what details are made of."""


class Person(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Somebody who was there."""

    role: str
    """``party``, ``representative``, ``witness``, ``interpreter``, ``other``."""
    name: str


class Officer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An officer, by the number of the enforcement certificate (R8)."""

    certificate: str
    name: str | None = None


class TextRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The written record that the recording accompanies (R23)."""

    kind: str
    number: str


class Position(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A position by satellite. Integers: records know no fractions."""

    latitude_e7: int
    longitude_e7: int
    accuracy_mm: int | None = None
    utc_ns: int | None = None


class SessionDetails(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one statement adds; only what it says is there."""

    author: str
    """Who says so: an officer's certificate number, or ``code``, ``device``."""
    matter: str | None = None
    matter_note: str | None = None
    """Which one, for ``other``."""
    case: str | None = None
    unit: str | None = None
    """The department."""
    place: str | None = None
    people: list[Person] = []
    officers: list[Officer] = []
    text_record: TextRecord | None = None
    position: Position | None = None
    note: str | None = None
    code: bytes | None = None
    """The signed code that was shown to the lens (:mod:`recorder.evidence.lens_code`): anyone can check it."""
    code_dates_judged: bool | None = None
    """Whether the code's dates were held against the clock; False where that was unset."""


def encode(details: SessionDetails) -> bytes:
    """Return the content of a details file, with a fresh salt.

    Raises:
        DetailsError: a text or list is longer than allowed, or a number larger.
    """
    _check(details)
    try:
        return cbor.encode(plain(details) | {"v": VERSION, "salt": secrets.token_bytes(16)})
    except NotDeterministicError as error:
        raise DetailsError(f"not session details: {error}") from error


def decode(content: bytes) -> SessionDetails:
    """Parse the content of a details file.

    Raises:
        DetailsError: it is not one.
    """
    try:
        fields = cbor.decode_map(content)
        salt, version = fields.pop("salt", None), fields.pop("v", None)
        details = msgspec.convert(fields, SessionDetails, strict=True)
    except (NotDeterministicError, msgspec.ValidationError) as error:
        raise DetailsError(f"not session details: {error}") from error
    if version != VERSION or not isinstance(salt, bytes):
        raise DetailsError("not session details of this version")
    _check(details)
    return details


def _check(struct: msgspec.Struct) -> None:
    for name in struct.__struct_fields__:
        value = getattr(struct, name)
        if isinstance(value, str) and len(value) > MAX_TEXT:
            raise DetailsError(f"{name} is longer than {MAX_TEXT} characters")
        if isinstance(value, list) and len(value) > MAX_ENTRIES:
            raise DetailsError(f"{name} has more than {MAX_ENTRIES} entries")
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, msgspec.Struct):
                _check(item)
