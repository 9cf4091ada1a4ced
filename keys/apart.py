"""Proving a certificate in a process of its own.

A recorder holds a signing key and gets its receipts from the network. The X.509 parser that reads the certificates in
them runs in a child, which sees no key, and whose memory is gone when it has answered.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from keys import cbor
from keys.errors import CertificateError, NotDeterministicError
from keys.identity import Identity, Role

if TYPE_CHECKING:
    from collections.abc import Sequence

TIMEOUT_S: Final = 5.0
"""The recorder waits for it meanwhile, and its sources keep ten seconds."""


def identify_apart(authorities: Sequence[Path], certificate: bytes, role: Role, material: Sequence[bytes]) -> Identity:
    """Prove that ``certificate`` chains to one of the authorities and has ``role``; see ``Anchors.identify``.

    Args:
        authorities: certificate files of the trusted authorities.
        certificate: DER.
        role: the role that is needed.
        material: DER certificates that may stand between.

    Raises:
        CertificateError: it does not, or the child did not answer.
    """
    question = cbor.encode(
        {
            "authorities": [str(path) for path in authorities],
            "certificate": certificate,
            "role": role.name,
            "material": list(material),
        }
    )
    try:
        done = subprocess.run(
            [sys.executable, "-m", "keys.apart"], input=question, capture_output=True, timeout=TIMEOUT_S, check=False
        )
        answer = cbor.decode_map(done.stdout)
    except (OSError, subprocess.SubprocessError, NotDeterministicError) as error:
        raise CertificateError(f"the certificate could not be examined: {error}") from error
    if "error" in answer:
        raise CertificateError(str(answer["error"]))
    answer["role"] = role  # type: ignore[assignment]
    return Identity(**answer, certificate=certificate)  # type: ignore[arg-type]


def _answer(question: bytes) -> bytes:
    from keys.certificates import Anchors

    asked = cbor.decode_map(question)
    paths, material = asked["authorities"], asked["material"]
    try:
        identity = Anchors.load(Path(str(path)) for path in paths).identify(  # type: ignore[union-attr]
            bytes(asked["certificate"]),  # type: ignore[arg-type]
            Role[str(asked["role"])],
            [bytes(one) for one in material],  # type: ignore[union-attr,arg-type]
        )
    except CertificateError as error:
        return cbor.encode({"error": str(error)})
    return cbor.encode(
        {
            "id": identity.id,
            "public_key": identity.public_key,
            "kid": identity.kid,
            "not_before_utc_ns": identity.not_before_utc_ns,
            "not_after_utc_ns": identity.not_after_utc_ns,
        }
    )


if __name__ == "__main__":
    sys.stdout.buffer.write(_answer(sys.stdin.buffer.read(1 << 20)))
