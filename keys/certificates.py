"""X.509 certificates: who a key belongs to, and what it may sign.

The authority sets the subject, never the request. A common name is ``<kind>:<id>`` with ``id`` of ``[a-z0-9-]{3,32}``;
what the key is for stands in the extended key usage. Both must fit, or the certificate has no role here.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from keys.errors import CertificateError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_ARC = "2.25.210416912813288927070753189776651052865"
"""Our object identifiers stand under a UUID (ITU-T X.667), so they need no registration."""

ID_PATTERN = re.compile(r"[a-z0-9](?:[a-z0-9-]{1,30})[a-z0-9]")
MAX_CERTIFICATE_SIZE_BYTES = 4096
MAX_CHAIN_LENGTH = 4


class Role(Enum):
    """What a key may do: (prefix of the common name, extended key usage)."""

    SIGNING = ("device", f"{_ARC}.1")
    """Signs the records of one device."""
    TRANSPORT = ("device", ExtendedKeyUsageOID.CLIENT_AUTH.dotted_string)
    """Logs one device in at the broker."""
    RECEIPT = ("store", f"{_ARC}.2")
    """Signs receipts and attestations of one central store."""
    OPENING = ("store", f"{_ARC}.3")
    """Opens sealed media at one central store."""
    CENTRAL = ("central", ExtendedKeyUsageOID.CLIENT_AUTH.dotted_string)
    """Logs a central worker in at the broker."""
    BROKER = ("broker", ExtendedKeyUsageOID.SERVER_AUTH.dotted_string)
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


def load_der(path: Path) -> bytes:
    """Read one certificate, PEM or DER, and return it as DER.

    Raises:
        CertificateError: missing, unreadable or not a certificate; the message names the file.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_CERTIFICATE_SIZE_BYTES * 2)
    except OSError as error:
        raise CertificateError(f"the certificate cannot be read: {error.strerror}: {path}") from error
    try:
        if b"-----BEGIN CERTIFICATE-----" in data:
            return x509.load_pem_x509_certificate(data).public_bytes(serialization.Encoding.DER)
        return x509.load_der_x509_certificate(data).public_bytes(serialization.Encoding.DER)
    except ValueError as error:
        raise CertificateError(f"not a certificate: {path}") from error


def read_identity(certificate: bytes) -> Identity:
    """Say what a DER certificate claims to be. It proves nothing before :meth:`Anchors.identify` has said so.

    Raises:
        CertificateError: unreadable, not Ed25519, or without a role.
    """
    parsed = _parse(certificate)
    key = parsed.public_key()
    if not isinstance(key, Ed25519PublicKey):
        raise CertificateError("the certificate's key is not Ed25519")
    names = parsed.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    if len(names) != 1:
        raise CertificateError("the certificate must have one common name")
    prefix, _, name = str(names[0].value).partition(":")
    if not ID_PATTERN.fullmatch(name):
        raise CertificateError(f"the common name {names[0].value!r} is not of the form kind:id")
    usages = _usages(parsed)
    roles = [role for role in Role if role.prefix == prefix and role.usage in usages]
    if len(roles) != 1 or len(usages) != 1:
        raise CertificateError(f"the certificate of {names[0].value!r} has no single role")
    return Identity(
        role=roles[0],
        id=name,
        public_key=key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw),
        kid=hashlib.sha256(certificate).digest(),
        certificate=certificate,
        not_before_utc_ns=_utc_ns(parsed.not_valid_before_utc),
        not_after_utc_ns=_utc_ns(parsed.not_valid_after_utc),
    )


class Anchors:
    """The authorities that someone outside has named as trusted. Nothing from a package or message ever joins them."""

    def __init__(self, authorities: Iterable[bytes]) -> None:
        self._authorities = [_parse(certificate) for certificate in authorities]
        for authority in self._authorities:
            if not _is_authority(authority):
                raise CertificateError(f"{authority.subject.rfc4514_string()} is not an authority's certificate")

    @classmethod
    def load(cls, paths: Iterable[Path]) -> Anchors:
        """Read the authorities from PEM or DER files.

        Raises:
            CertificateError: a file is unreadable or not an authority's certificate.
        """
        return cls([load_der(path) for path in paths])

    def __bool__(self) -> bool:
        return bool(self._authorities)

    @property
    def fingerprints(self) -> list[str]:
        """The fingerprints of the trusted authorities, for people to compare."""
        return [fingerprint(authority.public_bytes(serialization.Encoding.DER)) for authority in self._authorities]

    def identify(self, certificate: bytes, role: Role, material: Iterable[bytes] = ()) -> Identity:
        """Prove that ``certificate`` chains to a trusted authority and has ``role``.

        Dates are not judged here: whether a certificate was valid is a question of when a record was received, and
        that the caller knows (:meth:`Identity.valid_at`).

        Args:
            certificate: DER.
            role: the role that is needed.
            material: DER certificates that may stand between it and the authority; not trusted by themselves.

        Raises:
            CertificateError: wrong role, or no chain to a trusted authority.
        """
        identity = read_identity(certificate)
        if identity.role is not role:
            raise CertificateError(f"{identity.subject} holds a certificate for {identity.role.name}, not {role.name}")
        current = _parse(certificate)
        pool = [_parse(der) for der in list(material)[: MAX_CHAIN_LENGTH * 2]]
        for _ in range(MAX_CHAIN_LENGTH):
            if any(_issued(current, authority) for authority in self._authorities):
                return identity
            issuer = next((one for one in pool if _is_authority(one) and _issued(current, one)), None)
            if issuer is None:
                break
            current = issuer
        raise CertificateError(f"{identity.subject} does not chain to a trusted authority")


def _parse(certificate: bytes) -> x509.Certificate:
    if len(certificate) > MAX_CERTIFICATE_SIZE_BYTES:
        raise CertificateError(f"a certificate of {len(certificate)} bytes is not read")
    try:
        return x509.load_der_x509_certificate(certificate)
    except ValueError as error:
        raise CertificateError("not an X.509 certificate") from error


def _usages(certificate: x509.Certificate) -> set[str]:
    try:
        extension = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage)
    except (x509.ExtensionNotFound, ValueError):
        return set()
    return {usage.dotted_string for usage in extension.value}


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except (x509.ExtensionNotFound, ValueError):
        return False


def _issued(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _utc_ns(moment: datetime) -> int:
    return int(moment.astimezone(UTC).timestamp()) * 1_000_000_000
