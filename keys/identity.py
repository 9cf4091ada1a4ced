"""Who a certificate is for. Without the X.509 library, so that processes that only compare pay nothing for it."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final

from keys.errors import CertificateError

if TYPE_CHECKING:
    from pathlib import Path

_ARC: Final = "2.25.210416912813288927070753189776651052865"
"""Our object identifiers stand under a UUID (ITU-T X.667), so they need no registration."""
_CLIENT_AUTH: Final = "1.3.6.1.5.5.7.3.2"
_SERVER_AUTH: Final = "1.3.6.1.5.5.7.3.1"

ID_PATTERN: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{1,30})[a-z0-9]")
MAX_CERTIFICATE_SIZE_BYTES: Final = 4096
_BEGIN: Final = b"-----BEGIN CERTIFICATE-----"
_END: Final = b"-----END CERTIFICATE-----"


class Role(Enum):
    """What a key may do: (prefix of the common name, extended key usage)."""

    SIGNING = ("device", f"{_ARC}.1")
    """Signs the records of one device."""
    TRANSPORT = ("device", _CLIENT_AUTH)
    """Logs one device in at the broker."""
    RECEIPT = ("store", f"{_ARC}.2")
    """Signs receipts and attestations of one central store."""
    OPENING = ("store", f"{_ARC}.3")
    """Opens sealed media at one central store."""
    CODES = ("store", f"{_ARC}.4")
    """Signs the codes that are shown to a recorder's lens: tasks and officers' cards of one central store."""
    CENTRAL = ("central", _CLIENT_AUTH)
    """Logs a central worker in at the broker."""
    BROKER = ("broker", _SERVER_AUTH)
    """The broker's own TLS identity."""

    @property
    def prefix(self) -> str:
        """What the common name begins with."""
        return self.value[0]

    @property
    def usage(self) -> str:
        """The extended key usage, dotted."""
        return self.value[1]


@dataclass(frozen=True, slots=True)
class Identity:
    """A certificate as the rest of Liuhen sees it."""

    role: Role
    id: str
    """The part of the common name behind the colon, for example a device number."""
    public_key: bytes
    """Raw Ed25519 public key, 32 bytes."""
    kid: bytes
    """SHA-256 of the DER certificate."""
    certificate: bytes
    """DER."""
    not_before_utc_ns: int
    not_after_utc_ns: int

    @property
    def subject(self) -> str:
        """The common name, for example ``device:sy-0001``."""
        return f"{self.role.prefix}:{self.id}"

    def valid_at(self, utc_ns: int) -> bool:
        """Tell whether ``utc_ns`` lies between the certificate's dates."""
        return self.not_before_utc_ns <= utc_ns <= self.not_after_utc_ns


def fingerprint(certificate: bytes) -> str:
    """Return the SHA-256 of a DER certificate in groups that two people can compare aloud."""
    digits = hashlib.sha256(certificate).hexdigest().upper()
    return " ".join(digits[start : start + 4] for start in range(0, len(digits), 4))


def read_der(path: Path) -> bytes:
    """Read the DER bytes of one certificate from a PEM or DER file; what they say is not looked at.

    Raises:
        CertificateError: missing, unreadable, too large, or damaged PEM; the message names the file.
    """
    try:
        with path.open("rb") as file:
            data = file.read(2 * MAX_CERTIFICATE_SIZE_BYTES)
    except OSError as error:
        raise CertificateError(f"the certificate cannot be read: {error.strerror}: {path}") from error
    if _BEGIN in data:
        block, end, _ = data.partition(_BEGIN)[2].partition(_END)
        try:
            data = base64.b64decode(b"".join(block.split()), validate=True) if end else b""
        except ValueError as error:
            raise CertificateError(f"damaged PEM: {path}") from error
    if not data.startswith(b"\x30") or len(data) > MAX_CERTIFICATE_SIZE_BYTES:
        raise CertificateError(f"not a certificate: {path}")
    return data
