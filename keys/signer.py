"""Signers by URI: callers sign, and never see a key.

``file:/path/key.pem`` reads a PKCS#8 PEM with an Ed25519 key. Other schemes (``tpm2:``, ``pkcs11:``) join by adding
one entry to :data:`SCHEMES`.
"""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from nacl import bindings

from keys.errors import SignerError

if TYPE_CHECKING:
    from collections.abc import Callable

_PKCS8_ED25519 = bytes.fromhex("302e020100300506032b657004220420")
"""DER prefix of an Ed25519 private key (RFC 8410, 7); the 32 bytes of the seed follow."""

SEED_SIZE_BYTES = 32
MAX_PEM_SIZE_BYTES = 4096


class Signer(Protocol):
    """A key that signs, known to others by its certificate."""

    @property
    def certificate(self) -> bytes:
        """The DER certificate of this key."""

    @property
    def kid(self) -> bytes:
        """SHA-256 of :attr:`certificate`, 32 bytes: the name by which messages call this key."""

    def sign(self, data: bytes) -> bytes:
        """Return the 64-byte Ed25519 signature over ``data``."""


class SeedSigner:
    """Signs with an Ed25519 seed held in memory. Made by the schemes below, or by tests."""

    __slots__ = ("_certificate", "_kid", "_secret", "public_key")

    def __init__(self, seed: bytes, certificate: bytes) -> None:
        self.public_key, self._secret = bindings.crypto_sign_seed_keypair(seed)
        self._certificate = certificate
        self._kid = hashlib.sha256(certificate).digest()

    @property
    def certificate(self) -> bytes:
        """The DER certificate of this key."""
        return self._certificate

    @property
    def kid(self) -> bytes:
        """SHA-256 of the certificate."""
        return self._kid

    def sign(self, data: bytes) -> bytes:
        """Return the 64-byte Ed25519 signature over ``data``."""
        return bindings.crypto_sign(data, self._secret)[: bindings.crypto_sign_BYTES]


def open_signer(uri: str, certificate: bytes) -> Signer:
    """Open the signing key that ``uri`` names.

    Args:
        uri: ``scheme:rest``, for example ``file:/etc/liuhen/keys/signing.pem``.
        certificate: DER certificate of the same key.

    Raises:
        SignerError: unknown scheme, or the key cannot be read, or it is not the certificate's.
    """
    scheme, _, rest = uri.partition(":")
    if scheme not in SCHEMES:
        raise SignerError(f"key {uri!r}: unknown scheme {scheme!r}; known: {', '.join(sorted(SCHEMES))}")
    return SCHEMES[scheme](rest, certificate)


def _file_signer(path: str, certificate: bytes) -> Signer:
    try:
        with Path(path).open("rb") as file:
            pem = file.read(MAX_PEM_SIZE_BYTES)
    except OSError as error:
        raise SignerError(f"the signing key cannot be read: {error.strerror}: {path}") from error
    signer = SeedSigner(seed_from_pem(pem, path), certificate)
    # Whether the key fits the certificate is told from the raw public key inside the DER: no X.509 library needed here.
    if signer.public_key not in certificate:
        raise SignerError(f"the key in {path} is not the one that its certificate names")
    return signer


def seed_from_pem(pem: bytes, name: str) -> bytes:
    """Return the 32-byte seed from an unencrypted PKCS#8 PEM.

    Raises:
        SignerError: another form of key.
    """
    lines = [line.strip() for line in pem.splitlines() if line.strip()]
    if len(lines) < 3 or lines[0] != b"-----BEGIN PRIVATE KEY-----" or lines[-1] != b"-----END PRIVATE KEY-----":  # noqa: PLR2004
        raise SignerError(f"{name}: not an unencrypted PKCS#8 PEM file")
    try:
        der = base64.b64decode(b"".join(lines[1:-1]), validate=True)
    except ValueError as error:
        raise SignerError(f"{name}: damaged PEM") from error
    if not der.startswith(_PKCS8_ED25519) or len(der) != len(_PKCS8_ED25519) + SEED_SIZE_BYTES:
        raise SignerError(f"{name}: not an Ed25519 key")
    return der[len(_PKCS8_ED25519) :]


SCHEMES: dict[str, Callable[[str, bytes], Signer]] = {"file": _file_signer}
