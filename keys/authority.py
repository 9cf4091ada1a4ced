"""An agency's authority: it alone says which key belongs to which device, store or broker.

The authority's key is an Ed25519 key in a PKCS#8 file, meant to stay off line. :func:`write_site` makes every key of
one small site at once, for the demonstration and the tests.
"""

from __future__ import annotations

import datetime as dt
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.x509.oid import NameOID

from keys.certificates import ID_PATTERN, Role
from keys.errors import CertificateError

if TYPE_CHECKING:
    import ipaddress
    from collections.abc import Iterable
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

AUTHORITY_YEARS = 20
DEVICE_YEARS = 3


@dataclass(frozen=True)
class Authority:
    """A certificate authority with its key."""

    certificate: x509.Certificate
    key: Ed25519PrivateKey

    @classmethod
    def create(cls, name: str) -> Authority:
        """Make a new authority called ``name`` (the agency's name, any language)."""
        key = Ed25519PrivateKey.generate()
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        start = _now() - dt.timedelta(minutes=5)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(start)
            .not_valid_after(start + dt.timedelta(days=365 * AUTHORITY_YEARS))
            .add_extension(x509.BasicConstraints(ca=True, path_length=1), critical=True)
            .add_extension(_usage(certificates=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .sign(key, None)
        )
        return cls(certificate, key)

    @property
    def der(self) -> bytes:
        """The authority's own certificate, DER: what others are given as their anchor."""
        return self.certificate.public_bytes(serialization.Encoding.DER)

    def issue(
        self,
        public_key: Ed25519PublicKey,
        role: Role,
        identifier: str,
        hosts: Iterable[str | ipaddress.IPv4Address | ipaddress.IPv6Address] = (),
        start: dt.datetime | None = None,
        days: int = 365 * DEVICE_YEARS,
    ) -> x509.Certificate:
        """Certify ``public_key`` for one role.

        Args:
            public_key: the key to certify.
            role: what it may do; decides the common name's prefix and the key usage.
            identifier: device, store or broker id, ``[a-z0-9-]{3,32}``.
            hosts: host names and addresses, for a broker.
            start: first moment of validity; now by default.
            days: length of validity in days.

        Raises:
            CertificateError: ``identifier`` is not of that form.
        """
        if not ID_PATTERN.fullmatch(identifier):
            raise CertificateError(f"{identifier!r} is not an id: 3 to 32 of a-z, 0-9 and -")
        start = start or _now() - dt.timedelta(minutes=5)
        names: list[x509.GeneralName] = [
            x509.DNSName(host) if isinstance(host, str) else x509.IPAddress(host) for host in hosts
        ]
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{role.prefix}:{identifier}")]))
            .issuer_name(self.certificate.subject)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(start)
            .not_valid_after(start + dt.timedelta(days=days))
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([x509.ObjectIdentifier(role.usage)]), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False)
        )
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return builder.sign(self.key, None)


def write_pair(folder: Path, stem: str, authority: Authority, role: Role, identifier: str, **options: object) -> None:
    """Make a key and its certificate as ``<stem>.key`` (mode 0600) and ``<stem>.crt`` (PEM) in ``folder``."""
    key = Ed25519PrivateKey.generate()
    certificate = authority.issue(key.public_key(), role, identifier, **options)  # type: ignore[arg-type]
    folder.mkdir(parents=True, exist_ok=True)
    write_private(folder / f"{stem}.key", key)
    (folder / f"{stem}.crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))


def write_private(path: Path, key: Ed25519PrivateKey) -> None:
    """Write a private key as unencrypted PKCS#8 PEM, readable by its owner only; never over an existing file."""
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(pem)


def write_site(
    folder: Path,
    name: str,
    devices: Iterable[str],
    store: str = "store-1",
    hosts: Iterable[str | ipaddress.IPv4Address | ipaddress.IPv6Address] = ("localhost",),
) -> Authority:
    """Make the keys of a whole small site below ``folder``.

    ``authority.crt``; ``devices/<id>/{signing,transport}.{key,crt}``; ``central/{receipt,codes,transport}.{key,crt}``;
    ``broker/broker.{key,crt}``. The authority's own key is not written: a site made this way cannot grow.
    """
    authority = Authority.create(name)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "authority.crt").write_bytes(authority.certificate.public_bytes(serialization.Encoding.PEM))
    for device in devices:
        write_pair(folder / "devices" / device, "signing", authority, Role.SIGNING, device)
        write_pair(folder / "devices" / device, "transport", authority, Role.TRANSPORT, device)
    write_pair(folder / "central", "receipt", authority, Role.RECEIPT, store)
    write_pair(folder / "central", "codes", authority, Role.CODES, store)
    write_pair(folder / "central", "transport", authority, Role.CENTRAL, store)
    write_pair(folder / "broker", "broker", authority, Role.BROKER, "broker-1", hosts=hosts)
    return authority


def _now() -> dt.datetime:
    return dt.datetime.now(tz=dt.UTC).replace(microsecond=0)


def _usage(*, certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=certificates,
        crl_sign=certificates,
        encipher_only=False,
        decipher_only=False,
    )
