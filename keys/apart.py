"""Proving a certificate in a process of its own.

A recorder holds a signing key and gets its receipts from the network. The X.509 parser that reads the certificates in
them runs in a child, which sees no key, and whose memory is gone when it has answered.
"""

from __future__ import annotations

import select
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from keys import cbor
from keys.errors import CertificateError, NotDeterministicError
from keys.identity import Identity, Role

if TYPE_CHECKING:
    from collections.abc import Sequence

TIMEOUT_S: Final = 5.0
"""With a receipt the recorder waits for it, and its sources keep ten seconds."""
_COMMAND: Final = (sys.executable, "-m", "keys.apart")


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
    identity = Examination(authorities, certificate, role, material).answer(TIMEOUT_S)
    assert identity is not None  # noqa: S101 - by then it has answered, or is an error
    return identity


class Examination:
    """The same question, for a loop that does not wait: ask, and look from time to time whether there is an answer."""

    def __init__(
        self, authorities: Sequence[Path], certificate: bytes, role: Role, material: Sequence[bytes] = ()
    ) -> None:
        """Ask; see :func:`identify_apart`.

        Raises:
            CertificateError: there can be no child.
        """
        self._certificate, self._role = certificate, role
        self._until_s = time.monotonic() + TIMEOUT_S
        question = _question(authorities, certificate, role, material)
        try:
            self._process = subprocess.Popen(
                _COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            )
            assert self._process.stdin is not None  # noqa: S101 - just asked for
            with self._process.stdin as stdin:
                stdin.write(question)
        except OSError as error:
            raise CertificateError(f"the certificate could not be examined: {error}") from error

    def answer(self, wait_s: float = 0.0) -> Identity | None:
        """Return whose certificate it is; None while that is not known yet.

        Args:
            wait_s: so long it may be waited for.

        Raises:
            CertificateError: it does not chain to an authority, has another role, or the child did not answer.
        """
        stdout = self._process.stdout
        assert stdout is not None  # noqa: S101 - asked for above
        if not select.select([stdout], [], [], wait_s)[0]:
            if time.monotonic() < self._until_s:
                return None
            self._process.kill()
        with stdout:
            answered = stdout.read()  # the child answers with its last breath
        self._process.wait()
        return _identity(answered, self._certificate, self._role)


def _question(authorities: Sequence[Path], certificate: bytes, role: Role, material: Sequence[bytes]) -> bytes:
    return cbor.encode(
        {
            "authorities": [str(path) for path in authorities],
            "certificate": certificate,
            "role": role.name,
            "material": list(material),
        }
    )


def _identity(answered: bytes, certificate: bytes, role: Role) -> Identity:
    try:
        answer = cbor.decode_map(answered)
    except NotDeterministicError as error:
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
