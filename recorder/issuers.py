"""Who may issue the codes that are shown to the lens: certificates with the role, proved under the authority.

Most codes carry no certificate of their own, so that they are small; the device then was given it, or has proved it
from another code. A certificate is proved in a process of its own (:mod:`keys.apart`); of those that codes bring along
one in :data:`EXAMINE_EVERY_NS`, since anyone may hold papers before a lens, and each costs a process.
"""

from __future__ import annotations

import hashlib
import logging
from typing import TYPE_CHECKING, Final

from keys.apart import identify_apart
from keys.errors import CertificateError
from keys.identity import Role, read_der
from recorder.evidence.lens_code import LensCodeError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from keys.identity import Identity
    from recorder.evidence.lens_code import Shown

log = logging.getLogger(__name__)

EXAMINE_EVERY_NS: Final = 5_000_000_000
MAX_PROVED: Final = 16
"""More issuers are not remembered: an agency has a few stores."""


class NotNowError(Exception):
    """The certificate is to be examined later."""


class Issuers:
    """The issuers that one device believes."""

    def __init__(self, authorities: Sequence[Path], certificates: Sequence[Path]) -> None:
        """Make one.

        Args:
            authorities: certificate files of the trusted authorities.
            certificates: certificate files of issuers; one that cannot be read is passed over, and said.
        """
        self._authorities = authorities
        self._given: dict[bytes, bytes] = {}
        for path in certificates:
            try:
                der = read_der(path)
            except CertificateError as error:
                log.error("%s; codes of this issuer cannot be read", error)  # noqa: TRY400 - told
                continue
            self._given[hashlib.sha256(der).digest()] = der
        self._unexamined = set(self._given)
        """Of these the first examination never waits."""
        self._proved: dict[bytes, Identity] = {}
        self._next_ns = 0

    def of(self, shown: Shown, now_ns: int) -> Identity:
        """Return who issued a code; its signature is not checked here.

        Raises:
            LensCodeError: nobody whom a trusted authority lets issue codes.
            NotNowError: another certificate has been examined just before.
        """
        kid = shown.signed.kid
        proved = self._proved.get(kid)
        if proved is not None:
            return proved
        certificate = shown.signed.chain[0] if shown.signed.chain else self._given.get(kid)
        if certificate is None:
            raise LensCodeError("the code's issuer is not known here, and it carries no certificate")
        if kid in self._unexamined:
            self._unexamined.remove(kid)
        elif now_ns < self._next_ns:
            raise NotNowError
        else:
            self._next_ns = now_ns + EXAMINE_EVERY_NS
        try:
            identity = identify_apart(self._authorities, certificate, Role.CODES, ())
        except CertificateError as error:
            raise LensCodeError(f"the code cannot be believed: {error}") from error
        if len(self._proved) < MAX_PROVED:
            self._proved[kid] = identity
        return identity
