"""Turning what the archive holds into what a device is told: signed receipts, holdings, grants."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from keys import cose
from recorder.evidence import statements
from recorder.evidence.statements import MediaReceipt, RecordsReceipt
from uplink.central import attest
from uplink.protocol import Holdings, Message, Missing, Receipts, Who

if TYPE_CHECKING:
    from keys.signer import Signer
    from uplink.central.archive import Archive, File, SessionState
    from uplink.central.grants import Level
    from uplink.central.ingest import Answers
    from uplink.protocol import Have

MAX_RECEIPTS_SIZE_BYTES: Final = 128 << 10
"""Most bytes of receipts in one message."""


class Writer:
    """Signs for one store. It is called before a batch is committed; what it returns may only leave afterwards."""

    def __init__(self, archive: Archive, signer: Signer, store: str, storage: str) -> None:
        self._archive = archive
        self._signer = signer
        self.store = store
        self._storage = storage

    def records(self, device: str, log: bytes, nonce: bytes | None = None) -> bytes:
        """Sign how far a log is held."""
        position = self._archive.position(device, log)
        return self._issue(
            device,
            RecordsReceipt(
                store=self.store,
                utc_ns=time.time_ns(),
                device=device,
                log=log,
                next_sequence=position.next_sequence,
                head_sha256=position.head_sha256,
                holes=position.holes,
                highest_sequence=position.highest_sequence,
                nonce=nonce,
            ),
        )

    def media(self, file: File) -> bytes:
        """Sign that a file is held."""
        return self._issue(
            file.device,
            MediaReceipt(
                store=self.store,
                utc_ns=time.time_ns(),
                device=file.device,
                log=file.log,
                sequence=file.sequence,
                record_sha256=file.record_sha256,
                stored_sha256=file.stored_sha256,
                content_sha256=file.content_sha256,
                stored_size_bytes=file.stored_size_bytes,
                storage=self._storage,
                standing=file.standing,
            ),
        )

    def attestation(self, state: SessionState) -> bytes:
        """Sign what is held of a session now. Raises NotAttestableError when nothing hangs together yet."""
        return attest.attest(self._archive, state, self._signer, self.store, time.time_ns())

    def messages(self, device: str, answers: Answers, level: Level | None) -> list[Message]:
        """Return what a device is to hear after a batch; ``level`` is its grant, where it asked."""
        found: list[Message] = []
        if answers.who is not None:
            found.append(Who(kid=answers.who))
        asked = answers.holdings
        if asked is not None and level is not None:
            found.append(self._holdings(device, asked, level))
        receipts = [self.records(device, log) for log in answers.logs if asked is None or log not in asked.logs]
        for log, sequence in answers.media:
            file = self._archive.file(device, log, sequence)
            if file is not None and file.held:
                receipts.append(self.media(file))
        return [*found, *_packed(receipts)]

    def _holdings(self, device: str, asked: Have, level: Level) -> Holdings:
        receipts = [self.records(device, log, asked.nonce) for log in asked.logs]
        missing = []
        for log, sequence in asked.media:
            lacking, file = self._missing(device, log, sequence)
            missing.append(lacking)
            if file is not None and file.held:
                receipts.append(self.media(file))
        return Holdings(
            nonce=asked.nonce,
            receipts=receipts,
            missing=missing,
            grant_size_bytes=level.size_bytes,
            grant_seconds=level.seconds,
        )

    def _missing(self, device: str, log: bytes, sequence: int) -> tuple[Missing, File | None]:
        file = self._archive.file(device, log, sequence)
        ranges = [] if file is None else self._archive.missing_ranges(file)
        return Missing(log=log, sequence=sequence, known=file is not None, ranges=ranges), file

    def _issue(self, device: str, statement: RecordsReceipt | MediaReceipt) -> bytes:
        message = statements.sign(statement, self._signer)
        self._archive.issue(device, cose.digest(message))
        return message


def _packed(receipts: list[bytes]) -> list[Message]:
    found: list[Message] = []
    part: list[bytes] = []
    for receipt in receipts:
        if part and sum(map(len, part)) + len(receipt) > MAX_RECEIPTS_SIZE_BYTES:
            found.append(Receipts(receipts=part))
            part = []
        part.append(receipt)
    if part:
        found.append(Receipts(receipts=part))
    return found
