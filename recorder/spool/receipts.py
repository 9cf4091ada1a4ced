"""Receipts: from the inbox into receipts.log, and only what is proved.

The uplink, which talks to the network, puts what it gets into the inbox. Here each is verified against the
configured authorities, and held against the record that it is for; the first write is the synced append to
receipts.log, and only then does the index believe it and the inbox forget it. Every act may be repeated.
"""

from __future__ import annotations

import hashlib
import logging
import os
import stat
from itertools import islice
from typing import TYPE_CHECKING, Final, NamedTuple

from keys import cose
from keys.apart import identify_apart
from keys.errors import KeysError
from keys.identity import Role
from recorder.evidence.errors import StatementError
from recorder.evidence.statements import MAX_RECEIPT_SIZE_BYTES, MediaReceipt, RecordsReceipt
from recorder.spool.errors import ReceiptRefusedError
from recorder.spool.keeper import parse_receipt
from recorder.spool.reader import LogReader
from recorder.spool.steps import step

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from keys.identity import Identity
    from recorder.spool.index import Index, MediaRow
    from recorder.spool.keeper import IndexKeeper
    from recorder.spool.layout import Layout
    from recorder.spool.logfile import LogFile

log = logging.getLogger(__name__)

INBOX_BATCH: Final = 64
"""Most files taken from the inbox at a time, so that recording never waits long."""
INBOX_LOOKED_AT: Final = 8192
"""Of more files in the inbox the rest waits: the uplink puts no more than half as many there."""
EXAMINED_AT_A_TIME: Final = 1
"""Most certificates examined while one batch is taken: each costs a process, and strangers' are free to send."""
STORAGES: Final = ("stored", "secured")
STANDINGS: Final = ("believed", "quarantined")


class _WaitsError(Exception):
    """The receipt's certificate is to be examined with a later batch."""


class ReceiptVerifier:
    """Proves receipts by the configured authorities.

    A store's certificate is proved once, in a process of its own (:mod:`keys.apart`); after that a receipt costs one
    Ed25519 check.
    """

    def __init__(self, authorities: Sequence[Path]) -> None:
        self._authorities = authorities
        self._proved: dict[bytes, Identity] = {}
        self._examinations_left = 0

    def begin_batch(self) -> None:
        """Say that another batch is taken: some certificates may be examined again."""
        self._examinations_left = EXAMINED_AT_A_TIME

    def __call__(self, message: bytes) -> None:
        """Prove one receipt.

        Raises:
            StatementError: no store of a trusted authority signed it.
            _WaitsError: not in this batch.
        """
        try:
            parsed = cose.parse(message, MAX_RECEIPT_SIZE_BYTES)
            identity = self._proved.get(parsed.kid) or self._prove(parsed)
            cose.verify(parsed, identity.public_key)
            if cose.payload_map(parsed).get("store") != identity.id:
                raise StatementError("the receipt speaks for another store than its certificate names")
        except KeysError as error:
            raise StatementError(f"the receipt cannot be believed: {error}") from error
        self._proved[identity.kid] = identity

    def _prove(self, parsed: cose.Message) -> Identity:
        if not parsed.chain:
            raise StatementError("the receipt carries no certificate")
        if self._examinations_left == 0:
            raise _WaitsError
        self._examinations_left -= 1
        identity = identify_apart(self._authorities, parsed.chain[0], Role.RECEIPT, parsed.chain[1:])
        if identity.kid != parsed.kid:
            raise StatementError("the receipt carries another certificate than it was signed with")
        return identity


class Taken(NamedTuple):
    """What became of the receipts in the inbox."""

    kept: int
    """New ones, now in receipts.log."""
    repeated: int
    """Ones that say nothing new."""
    refused: int


class ReceiptTaker:
    """Takes receipts from the inbox."""

    def __init__(
        self, layout: Layout, device: str, file: LogFile, keeper: IndexKeeper, verifier: ReceiptVerifier
    ) -> None:
        self._layout = layout
        self._device = device
        self._file = file
        self._keeper = keeper
        self._verifier = verifier
        self._stuck: set[str] = set()
        """Names that cannot be removed from the inbox; they are not looked at again."""

    def take(self, logs: Iterable[bytes]) -> Taken:
        """Take what lies in the inbox, at most :data:`INBOX_BATCH` files.

        Args:
            logs: the logs of this spool.

        Raises:
            DiskFullError: no room to keep them; they stay in the inbox.
            SpoolFatalError: the disk failed; the process must end.
        """
        names = self._names()
        if not names:
            return Taken(0, 0, 0)
        known = frozenset(logs)
        news: dict[bytes, RecordsReceipt | MediaReceipt] = {}
        refused = repeated = 0
        done: list[Path] = []
        self._verifier.begin_batch()
        for path in names:
            try:
                message = _read(path)
                receipt = self._judge(message, known)
            except _WaitsError:
                continue
            except (ReceiptRefusedError, StatementError) as error:
                refused += 1
                log.warning("receipt %r refused: %s", path.name, error)
                done.append(path)
                continue
            done.append(path)
            if receipt is None:
                repeated += 1
            else:
                news[message] = receipt
        step("receipts.verified")
        if news:
            frames = self._file.append(list(news))
            step("receipts.synced")
            self._keeper.receipted(
                [
                    (frame, hashlib.sha256(message).digest(), receipt)
                    for frame, (message, receipt) in zip(frames, news.items(), strict=True)
                ]
            )
            log.info("%d receipts kept", len(news))
        for path in done:
            self._remove(path)
        return Taken(len(news), repeated, refused)

    def _remove(self, path: Path) -> None:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            if path.name not in self._stuck:
                log.warning("%r cannot be removed from the inbox: %s", path.name, error.strerror)
            if len(self._stuck) < INBOX_LOOKED_AT:
                self._stuck.add(path.name)
        step("inbox.removed")

    def _names(self) -> list[Path]:
        """Whole files only: the uplink writes under a name that begins with a dot, and renames.

        The inbox is another user's to write: what stands there may be anything, and any amount of it.
        """
        names: list[str] = []
        try:
            with os.scandir(self._layout.inbox) as entries:
                for entry in islice(entries, INBOX_LOOKED_AT):
                    if entry.name.startswith(".") or entry.name in self._stuck or entry.is_dir(follow_symlinks=False):
                        continue
                    names.append(entry.name)
        except OSError as error:
            log.warning("the inbox cannot be read: %s", error.strerror)
            return []
        return [self._layout.inbox / name for name in sorted(names)[:INBOX_BATCH]]

    def _judge(self, message: bytes, logs: frozenset[bytes]) -> RecordsReceipt | MediaReceipt | None:
        """Return a receipt that is proved, about this spool and new; None where it says nothing new."""
        self._verifier(message)
        receipt = parse_receipt(message)
        if receipt.device != self._device:
            raise ReceiptRefusedError(f"it is for device {receipt.device!r}")
        if receipt.log not in logs:
            raise ReceiptRefusedError(f"it is for log {receipt.log.hex()}, which is not here")
        if isinstance(receipt, MediaReceipt):
            return receipt if self._is_news(receipt) else None
        return receipt if self._is_records_news(receipt) else None

    def _is_news(self, receipt: MediaReceipt) -> bool:
        def look(index: Index) -> tuple[MediaRow | None, bool]:
            return index.media(receipt.log, receipt.sequence), index.outlived(receipt)

        row, outlived = self._keeper.ask(look)
        if row is None:
            raise ReceiptRefusedError(f"record {receipt.sequence} of log {receipt.log.hex()[:8]} brings no file")
        signed = (receipt.record_sha256, receipt.stored_sha256, receipt.content_sha256, receipt.stored_size_bytes)
        if signed != (row.record_sha256, row.stored_sha256, row.content_sha256, row.stored_size_bytes):
            raise ReceiptRefusedError(f"it names other bytes than record {receipt.sequence}: the file is kept")
        if receipt.storage not in STORAGES or receipt.standing not in STANDINGS:
            raise ReceiptRefusedError(f"unknown class {receipt.storage!r}, {receipt.standing!r}")
        if outlived:
            raise ReceiptRefusedError(f"the store has said since that it no longer holds record {receipt.sequence}")
        better = row.storage is None or (row.storage == "stored" and receipt.storage == "secured")
        newer = row.receipt_utc_ns is None or receipt.utc_ns > row.receipt_utc_ns
        return better or (newer and row.state == 0)

    def _is_records_news(self, receipt: RecordsReceipt) -> bool:
        if receipt.next_sequence > 0:
            entry = LogReader(self._layout.log(receipt.log), receipt.log).find(receipt.next_sequence - 1)
            if entry is None or entry.record.sha256 != receipt.head_sha256:
                raise ReceiptRefusedError(
                    f"the store holds another past of log {receipt.log.hex()[:8]}, up to {receipt.next_sequence - 1}"
                )
        before = self._keeper.ask(lambda index: index.position(receipt.store, receipt.log))
        if before is None:
            return True
        if receipt.utc_ns > before[1] and receipt.next_sequence < before[0]:
            log.error(
                "store %s fell back from record %d to %d of log %s: it is sent again what is still here",
                receipt.store,
                before[0],
                receipt.next_sequence,
                receipt.log.hex()[:8],
            )
        return receipt.utc_ns > before[1] and receipt.next_sequence != before[0]


def _read(path: Path) -> bytes:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise ReceiptRefusedError(f"it cannot be read: {error.strerror}") from error
    try:
        state = os.fstat(descriptor)
        if not stat.S_ISREG(state.st_mode) or not 0 < state.st_size <= MAX_RECEIPT_SIZE_BYTES:
            raise ReceiptRefusedError(f"it is no file of 1 to {MAX_RECEIPT_SIZE_BYTES} bytes")
        return os.read(descriptor, MAX_RECEIPT_SIZE_BYTES)
    finally:
        os.close(descriptor)
