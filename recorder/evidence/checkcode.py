"""Check code: twelve digits that stand for a recording up to one record, to be written by hand (R23). Pure.

The device speaks a record's number and its code, and both go into the paper record that the party signs. That fixes the
recording up to that record outside of all machines of the agency, with no network: another past would need a record of
the same number and the same code. Each try costs an Argon2id of 64 MiB, so that twelve digits cannot be ground cheaply.
``docs/evidence-format.md``, section 13, is enough to compute one without this program.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from typing import TYPE_CHECKING, Final, NamedTuple

from nacl.pwhash import argon2id

from recorder.evidence.errors import EvidenceError

if TYPE_CHECKING:
    from recorder.evidence.records import Record

DIGITS: Final = 12
GROUP: Final = 4
PASSES: Final = 2
MEMORY_SIZE_BYTES: Final = 64 << 20
"""Both are for ever: another value is another code."""
MAX_NUMBER: Final = (1 << 48) - 1
_OUTPUT_SIZE_BYTES: Final = 16
_SALT: Final = "liuhen/check-code/1"
_BETWEEN: Final = re.compile(r"[\s\u2010-\u2015-]")


class CheckCodeError(EvidenceError):
    """What was given is not a number and a check code."""


class CheckCode(NamedTuple):
    """A record's number and its code, as they are spoken and written down."""

    number: int
    """The record's sequence in its log."""
    digits: str
    """Twelve of them."""

    @property
    def groups(self) -> str:
        """The digits as people write them, four and four."""
        return " ".join(self.digits[start : start + GROUP] for start in range(0, DIGITS, GROUP))

    def __str__(self) -> str:
        """As ``liuhen verify --code`` takes it."""
        return f"{self.number}:{self.groups}"


def make(log: bytes, number: int, record_sha256: bytes) -> CheckCode:
    """Compute a record's code: some tens of milliseconds and :data:`MEMORY_SIZE_BYTES` for as long.

    Args:
        log: id of the log.
        number: sequence of the record in it.
        record_sha256: digest of the whole signed record, as the next one names it.
    """
    salt = hashlib.sha256(f"{_SALT}/{log.hex()}/{number}".encode()).hexdigest()[: argon2id.SALTBYTES]
    stretched = argon2id.kdf(
        _OUTPUT_SIZE_BYTES, record_sha256.hex().encode(), salt.encode(), opslimit=PASSES, memlimit=MEMORY_SIZE_BYTES
    )
    return CheckCode(number, f"{int.from_bytes(stretched) % 10**DIGITS:0{DIGITS}}")


def of(record: Record) -> CheckCode:
    """Compute the code of a parsed record."""
    return make(record.log, record.sequence, record.sha256)


def parse(written: str) -> CheckCode:
    """Read ``NUMBER:CODE`` as somebody copied it from paper; blanks and dashes between digits do not matter.

    Raises:
        CheckCodeError: not a number, a colon and twelve digits.
    """
    number, colon, digits = _BETWEEN.sub("", unicodedata.normalize("NFKC", written)).partition(":")
    if not (colon and re.fullmatch(r"[0-9]{1,15}", number) and re.fullmatch(rf"[0-9]{{{DIGITS}}}", digits)):
        raise CheckCodeError(f"{written[:60]!r} is not NUMBER:CODE, a record's number and {DIGITS} digits")
    if int(number) > MAX_NUMBER:
        raise CheckCodeError(f"{number} is higher than any record's number")
    return CheckCode(int(number), digits)


def differing(one: CheckCode, other: CheckCode) -> int:
    """Return in how many places the digits of two codes differ: one or two hint at a slip of the pen."""
    return sum(a != b for a, b in zip(one.digits, other.digits, strict=True))
