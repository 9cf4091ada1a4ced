"""Believing receipts: signed by a store of a trusted authority, for this device, of a kind that we know."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from keys import cose
from keys.errors import KeysError
from recorder.evidence import statements
from recorder.evidence.errors import StatementError
from recorder.evidence.statements import MAX_RECEIPT_SIZE_BYTES, MediaReceipt, RecordsReceipt

if TYPE_CHECKING:
    from keys.certificates import Anchors, Identity

_MAX_KNOWN: Final = 64
_KNOWN: Final[dict[str, type[RecordsReceipt | MediaReceipt]]] = {
    "records-receipt": RecordsReceipt,
    "media-receipt": MediaReceipt,
}


class ReceiptVerifier:
    """Verifies receipts; the chain of a store's certificate is walked once, its signatures always."""

    def __init__(self, anchors: Anchors, device: str) -> None:
        self._anchors = anchors
        self._device = device
        self._known: dict[bytes, Identity] = {}

    def verify(self, message: bytes, *, clock_set: bool) -> RecordsReceipt | MediaReceipt:
        """Return what a receipt says.

        Args:
            message: the signed receipt.
            clock_set: the device knows the time; otherwise the dates of the certificate say nothing.

        Raises:
            StatementError: it is not believed, with the reason.
        """
        identity = self._identity(message)
        kind = _KNOWN.get(statements.type_of(message, MAX_RECEIPT_SIZE_BYTES))
        if kind is None:
            raise StatementError("a statement that is no receipt")
        receipt = statements.parse(message, kind, MAX_RECEIPT_SIZE_BYTES)
        if receipt.store != identity.id:
            raise StatementError("the receipt speaks for another store than its certificate names")
        if receipt.device != self._device:
            raise StatementError(f"the receipt is for device {receipt.device!r}")
        if clock_set and not identity.valid_at(receipt.utc_ns):
            raise StatementError(f"the certificate of {identity.subject} was not valid when the receipt was signed")
        return receipt

    def _identity(self, message: bytes) -> Identity:
        try:
            parsed = cose.parse(message, MAX_RECEIPT_SIZE_BYTES)
            known = self._known.get(parsed.kid)
            if known is not None:
                cose.verify(parsed, known.public_key)
                return known
        except KeysError as error:
            raise StatementError(f"the receipt cannot be believed: {error}") from error
        identity = statements.verify(message, self._anchors, MAX_RECEIPT_SIZE_BYTES)
        if len(self._known) >= _MAX_KNOWN:
            self._known.clear()
        self._known[parsed.kid] = identity
        return identity
