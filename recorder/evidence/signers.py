"""Whose signature stands under a record: certificates from outside the verifier, judged by its anchors."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from keys import certificates as x509
from keys.certificates import Role
from keys.errors import BadSignatureError, CertificateError
from recorder.evidence import records as form
from recorder.evidence.findings import found

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from keys.certificates import Anchors, Identity
    from recorder.evidence.findings import Finding
    from recorder.evidence.records import Record
    from recorder.evidence.statements import Attestation


class Signers:
    """The signing certificates at hand, by kid; each is judged once."""

    def __init__(self, certificates: Iterable[bytes], anchors: Anchors) -> None:
        self._material = list(certificates)
        self._by_kid = {hashlib.sha256(der).digest(): der for der in self._material}
        self._anchors = anchors
        self._good: set[bytes] = set()
        self._judged: dict[bytes, tuple[Identity | None, str | None]] = {}

    def identity(self, kid: bytes) -> Identity | None:
        """Return who a kid says it is, trusted or not; None where no readable certificate is at hand."""
        return self._judge(kid)[0]

    def check(self, records: Sequence[Record]) -> Iterator[Finding]:
        """Check the signature of each record and the standing of each key."""
        told: set[bytes] = set()
        for record in records:
            identity, problem = self._judge(record.kid)
            if identity is not None and (identity.role is not Role.SIGNING or identity.id != record.device):
                problem = "signer-wrong"
            if problem is not None and record.kid not in told:
                told.add(record.kid)
                print_ = x509.fingerprint(self._by_kid[record.kid])[:24] if record.kid in self._by_kid else "–"
                yield found(problem, record, fingerprint=print_, kid=record.kid.hex()[:16])
            if identity is None:
                continue
            if record.sha256 in self._good:
                continue
            try:
                form.verify(record, identity.public_key)
                self._good.add(record.sha256)
            except BadSignatureError:
                yield found("signature-invalid", record)

    def check_dates(self, records: Sequence[Record], attestation: Attestation) -> Iterator[Finding]:
        """Judge each certificate at the moment by which the store had the records that it signed."""
        told: set[bytes] = set()
        ranges = sorted(attestation.received)
        place = 0
        for record in sorted(records, key=lambda one: one.sequence):
            while place < len(ranges) and ranges[place][1] < record.sequence:
                place += 1
            if place == len(ranges):
                return
            identity = self.identity(record.kid)
            received = ranges[place][2]
            judged = ranges[place][0] <= record.sequence and identity is not None and record.kid not in told
            if judged and identity is not None and not identity.valid_at(received):
                told.add(record.kid)
                yield found("certificate-not-valid", record, subject=identity.subject)

    def _judge(self, kid: bytes) -> tuple[Identity | None, str | None]:
        if kid not in self._judged:
            self._judged[kid] = self._look(kid)
        return self._judged[kid]

    def _look(self, kid: bytes) -> tuple[Identity | None, str | None]:
        der = self._by_kid.get(kid)
        if der is None:
            return None, "signer-unknown"
        try:
            identity = x509.read_identity(der)
        except CertificateError:
            return None, "signer-wrong"
        if not self._anchors:
            return identity, "no-anchor"
        try:
            self._anchors.identify(der, identity.role, self._material)
        except CertificateError:
            return identity, "signer-foreign"
        return identity, None
