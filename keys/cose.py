"""COSE_Sign1 with Ed25519, and nothing else of COSE (RFC 9052, 4.2 and 4.4; RFC 9053, 2.2).

Every signed thing of Liuhen is one tagged (18) COSE_Sign1 message::

    18([ protected  = bstr .cbor {1: -8, 4: kid},      alg EdDSA, kid = SHA-256 of the signing certificate (DER)
         unprotected = {} or {33: [DER certificate, …]},   x5chain, receipts and attestations only (RFC 9360)
         payload     = bstr .cbor map,
         signature   = 64 bytes ])

``alg`` and ``kid`` are under the signature; the external data is always :data:`EXTERNAL_AAD`. What a message *means*
(its type, device, log, sequence …) is in the payload, so a signature made for one purpose never serves another.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple, cast

import cbor2
from nacl import bindings
from nacl.exceptions import BadSignatureError as NaclBadSignatureError

from keys import cbor
from keys.errors import BadSignatureError, MalformedMessageError, NotDeterministicError

if TYPE_CHECKING:
    from keys.signer import Signer

EXTERNAL_AAD = b"liuhen/1"
"""The external_aad of every signature: keeps them apart from any other use of the same key."""

TAG_SIGN1 = 18
ALG_EDDSA = -8
LABEL_ALG = 1
LABEL_KID = 4
LABEL_X5CHAIN = 33
SIGNATURE_SIZE_BYTES = 64
MAX_CHAIN = 4
"""Most certificates a message may carry."""


class Message(NamedTuple):
    """A parsed, not yet verified COSE_Sign1 message."""

    kid: bytes
    """SHA-256 of the DER certificate of the key that is said to have signed, 32 bytes."""
    payload: bytes
    """The signed payload, deterministic CBOR."""
    signature: bytes
    protected: bytes
    chain: tuple[bytes, ...]
    """DER certificates carried along, not under the signature: building material only."""


def sign(payload: bytes, signer: Signer, chain: tuple[bytes, ...] = ()) -> bytes:
    """Sign ``payload`` and return the whole tagged message.

    Args:
        payload: deterministic CBOR, as :func:`keys.cbor.encode` returns it.
        signer: the key to sign with; its certificate's digest becomes the kid.
        chain: DER certificates to carry in the unprotected header.
    """
    protected = cbor2.dumps({LABEL_ALG: ALG_EDDSA, LABEL_KID: signer.kid}, canonical=True)
    unprotected = {LABEL_X5CHAIN: list(chain)} if chain else {}
    signature = signer.sign(to_be_signed(protected, payload))
    return cbor2.dumps(cbor2.CBORTag(TAG_SIGN1, [protected, unprotected, payload, signature]), canonical=True)


def to_be_signed(protected: bytes, payload: bytes, external_aad: bytes = EXTERNAL_AAD) -> bytes:
    """Return the Sig_structure, the bytes that Ed25519 signs (RFC 9052, 4.4)."""
    return cbor2.dumps(["Signature1", protected, external_aad, payload], canonical=True)


def parse(data: bytes, max_size_bytes: int) -> Message:
    """Take a message apart without trusting it.

    Args:
        data: one whole message.
        max_size_bytes: the bound for this kind of message; longer input is refused unread.

    Raises:
        MalformedMessageError: not a message of the one form written above.
    """
    if len(data) > max_size_bytes:
        raise MalformedMessageError(f"{len(data)} bytes where at most {max_size_bytes} are allowed")
    try:
        outer = cbor2.loads(data, max_depth=8, allow_indefinite=False, allow_duplicate_keys=False)
        canonical = cbor2.dumps(outer, canonical=True) == data
    except Exception as error:
        raise MalformedMessageError(f"not readable as CBOR: {error}") from error
    if not isinstance(outer, cbor2.CBORTag) or outer.tag != TAG_SIGN1:
        raise MalformedMessageError("not tagged as COSE_Sign1 (18)")
    if not canonical:
        raise MalformedMessageError("the envelope is not deterministic CBOR")
    parts = outer.value
    if not isinstance(parts, list | tuple) or len(parts) != 4:  # noqa: PLR2004
        raise MalformedMessageError("a COSE_Sign1 has four parts")
    protected, unprotected, payload, signature = parts
    if not (isinstance(protected, bytes) and isinstance(payload, bytes) and isinstance(signature, bytes)):
        raise MalformedMessageError("header, payload and signature must be byte strings")
    if len(signature) != SIGNATURE_SIZE_BYTES:
        raise MalformedMessageError("an Ed25519 signature has 64 bytes")
    return Message(_kid(protected), payload, signature, protected, _chain(unprotected))


def verify(message: Message, public_key: bytes) -> None:
    """Check the signature of a parsed message.

    Args:
        message: from :func:`parse`.
        public_key: raw Ed25519 public key, 32 bytes.

    Raises:
        BadSignatureError: it does not fit.
    """
    verify_raw(public_key, message.signature, to_be_signed(message.protected, message.payload))


def verify_raw(public_key: bytes, signature: bytes, signed: bytes) -> None:
    """Check one Ed25519 signature (RFC 8032) as libsodium does: canonical S, no small-order keys.

    Raises:
        BadSignatureError: it does not fit, or key or signature has a wrong length.
    """
    try:
        bindings.crypto_sign_open(signature + signed, public_key)
    except (NaclBadSignatureError, ValueError, TypeError) as error:
        raise BadSignatureError("the signature does not fit") from error


def digest(message: bytes) -> bytes:
    """Return the SHA-256 by which another message names this one, signature included."""
    return hashlib.sha256(message).digest()


def payload_map(message: Message) -> dict[str, cbor.Value]:
    """Return the payload as a map.

    Raises:
        MalformedMessageError: the payload is not a deterministic CBOR map with text keys.
    """
    try:
        return cbor.decode_map(message.payload)
    except NotDeterministicError as error:
        raise MalformedMessageError(f"the payload is {error}") from error


def _kid(protected: bytes) -> bytes:
    try:
        header = cbor2.loads(protected, max_depth=4, allow_indefinite=False, allow_duplicate_keys=False)
        canonical = cbor2.dumps(header, canonical=True) == protected
    except Exception as error:
        raise MalformedMessageError(f"unreadable protected header: {error}") from error
    if not isinstance(header, dict) or set(header) != {LABEL_ALG, LABEL_KID} or not canonical:
        raise MalformedMessageError("the protected header must hold exactly alg and kid")
    if header[LABEL_ALG] != ALG_EDDSA:
        raise MalformedMessageError(f"unknown signature algorithm {header[LABEL_ALG]!r}")
    kid = header[LABEL_KID]
    if not isinstance(kid, bytes) or len(kid) != hashlib.sha256().digest_size:
        raise MalformedMessageError("kid must be a SHA-256 digest")
    return kid


def _chain(unprotected: object) -> tuple[bytes, ...]:
    # Inside a tag cbor2 returns maps and arrays of its immutable types.
    if not isinstance(unprotected, Mapping):
        raise MalformedMessageError("the unprotected header must be a map")
    if not unprotected:
        return ()
    if set(unprotected) != {LABEL_X5CHAIN}:
        raise MalformedMessageError("the unprotected header may hold x5chain only")
    chain = cast("object", unprotected[LABEL_X5CHAIN])
    if not isinstance(chain, list | tuple) or not 0 < len(chain) <= MAX_CHAIN:
        raise MalformedMessageError(f"x5chain holds one to {MAX_CHAIN} certificates")
    if not all(isinstance(item, bytes) for item in chain):
        raise MalformedMessageError("x5chain holds DER byte strings")
    return tuple(chain)
