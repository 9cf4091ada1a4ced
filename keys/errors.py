"""The error tree of the ``keys`` package."""

from __future__ import annotations


class KeysError(Exception):
    """Something about an identity or a signature is not as it must be."""


class NotDeterministicError(KeysError):
    """The bytes are not the one deterministic CBOR encoding of their content (RFC 8949, 4.2.1)."""


class MalformedMessageError(KeysError):
    """The bytes are not a COSE_Sign1 message of the form that Liuhen writes (RFC 9052, 4.2)."""


class BadSignatureError(KeysError):
    """The signature does not fit the message and the key."""


class CertificateError(KeysError):
    """A certificate is unreadable, of the wrong role, or does not chain to a given authority."""


class SignerError(KeysError):
    """A signing key cannot be used: the file is missing, unreadable or of another form."""
