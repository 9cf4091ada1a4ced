"""X.509 certificates: who a key belongs to, and what it may sign.

The authority sets the subject, never the request. A common name is ``<kind>:<id>`` with ``id`` of ``[a-z0-9-]{3,32}``;
what the key is for stands in the extended key usage. Both must fit, or the certificate has no role here.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.x509.oid import NameOID

from keys.errors import CertificateError
from keys.identity import ID_PATTERN, MAX_CERTIFICATE_SIZE_BYTES, Identity, Role, fingerprint, read_der

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

__all__ = ["ID_PATTERN", "Anchors", "Identity", "Role", "fingerprint", "load_der", "read_identity"]

MAX_CHAIN_LENGTH = 4
MAX_MATERIAL = 64
"""Most certificates that are looked through for a chain."""


def load_der(path: Path) -> bytes:
    """Read one certificate, PEM or DER, and return it as DER.

    Raises:
        CertificateError: missing, unreadable or not a certificate; the message names the file.
    """
    der = read_der(path)
    try:
        check_der(der)
    except CertificateError as error:
        raise CertificateError(f"not a certificate: {path}") from error
    return der


def check_der(certificate: bytes) -> None:
    """Check that this is a certificate at all; nothing is said of whose.

    Raises:
        CertificateError: it is none.
    """
    _parse(certificate)


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
            material: DER certificates that may stand between it and the authority; not trusted by themselves. What
                is no certificate of an authority is passed over: anyone may have put it there.

        Raises:
            CertificateError: wrong role, or no chain to a trusted authority.
        """
        identity = read_identity(certificate)
        if identity.role is not role:
            raise CertificateError(f"{identity.subject} holds a certificate for {identity.role.name}, not {role.name}")
        current = _parse(certificate)
        pool = _authorities(material)
        for _ in range(MAX_CHAIN_LENGTH):
            if any(_issued(current, authority) for authority in self._authorities):
                return identity
            issuer = next((one for one in pool if _issued(current, one)), None)
            if issuer is None:
                break
            current = issuer
        raise CertificateError(f"{identity.subject} does not chain to a trusted authority")


def _authorities(material: Iterable[bytes]) -> list[x509.Certificate]:
    found: list[x509.Certificate] = []
    for der in islice(material, MAX_MATERIAL):
        try:
            parsed = _parse(der)
        except CertificateError:
            continue
        if _is_authority(parsed):
            found.append(parsed)
    return found


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
