"""Taking in what devices send: verify before storing, store before receipting, keep what is not believed.

An :class:`Ingest` decides message by message and writes into an open batch of the archive; it sends nothing. What is to
be answered it gathers in :class:`Answers`, which become signed receipts once the batch is committed. A message is
refused whole when its sender may not send it; a record that verifies is never refused.
"""

from __future__ import annotations

import hashlib
import logging
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from keys.certificates import ID_PATTERN, Role, read_identity
from keys.errors import CertificateError, KeysError
from recorder.evidence import records, stored
from recorder.evidence.errors import RecordError, StoredFormatError
from uplink import protocol
from uplink.central import attest
from uplink.central.archive import BELIEVED, QUARANTINED
from uplink.central.errors import RefusedError, UnknownSignerError

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from keys.certificates import Anchors, Identity
    from recorder.evidence.records import Record
    from uplink.central.archive import Archive, File
    from uplink.central.receipts import Writer
    from uplink.protocol import Have, Hello, Piece, Records

log = logging.getLogger(__name__)

MAX_RECORDS: Final = 1024
"""Most records that one message may hold."""
_READ_SIZE_BYTES: Final = 1 << 20


@dataclass
class Answers:
    """What one device is to hear after the batch."""

    logs: dict[bytes, bytes | None] = field(default_factory=dict)
    """Logs to be receipted, with the device's nonce where it asked."""
    media: dict[tuple[bytes, int], None] = field(default_factory=dict)
    """(log, sequence) of held files to be receipted."""
    holdings: Have | None = None
    who: bytes | None = None


@dataclass(frozen=True)
class Judgement:
    """What the bytes of a whole file turned out to be."""

    fits: bool
    """They are the bytes that the record names."""
    problem: str | None = None
    """They are, but what is inside is not what the record says."""


class Ingest:
    """Decides what is kept, and how it stands. One worker, one thread."""

    def __init__(self, archive: Archive, anchors: Anchors, revoked: Collection[bytes], staging_size_bytes: int) -> None:
        self._archive = archive
        self._anchors = anchors
        self._revoked = frozenset(revoked)
        self._staging_size_bytes = staging_size_bytes
        self._identities: dict[bytes, Identity] = {}

    def hello(self, device: str, message: Hello, now_utc_ns: int) -> None:
        """Take in the certificates of a device.

        Raises:
            RefusedError: they do not prove a signing key of this very device.
        """
        if not message.certificates or len(message.certificates) > MAX_CERTIFICATES:
            raise RefusedError(f"a hello carries one to {MAX_CERTIFICATES} certificates")
        signing, *material = message.certificates
        try:
            identity = self._anchors.identify(signing, Role.SIGNING, material)
        except CertificateError as error:
            raise RefusedError(f"the certificate of a hello is not accepted: {error}") from error
        if identity.id != device:
            raise RefusedError(f"{device} introduced itself with the certificate of {identity.subject}")
        if self._archive.certificate(identity.kid) is None:
            self._archive.add_certificate(identity, material)
            log.info("device %s introduced its certificate %s", device, identity.kid.hex()[:16])
        self._archive.heard(device, now_utc_ns, message.software[:MAX_SOFTWARE_CHARACTERS], None)

    def records(self, device: str, message: Records, now_utc_ns: int, answers: Answers) -> int:
        """Take in records; return how many were new.

        Raises:
            RefusedError: a record is no record, not signed as it says, or not of this device and log. The good ones in
                front of it are kept.
            UnknownSignerError: the signer has not introduced itself.
        """
        if len(message.records) > MAX_RECORDS or sum(map(len, message.records)) > protocol.MAX_BATCH_SIZE_BYTES:
            raise RefusedError(f"{len(message.records)} records at once are too many")
        if len(message.log) != LOG_ID_SIZE_BYTES:
            raise RefusedError(f"a log id of {len(message.log)} bytes")
        self._archive.heard(device, now_utc_ns, None, message.outstanding_size_bytes)
        new = 0
        for data in message.records:
            record = self.verified(device, data)
            if record.log != message.log:
                raise RefusedError(f"a record of log {record.log.hex()} sent as one of {message.log.hex()}")
            new += self.keep(record, now_utc_ns)
            answers.logs.setdefault(message.log, None)
        return new

    def verified(self, device: str, data: bytes) -> Record:
        """Parse a record and prove who signed it; one that is held already is not proved again.

        Raises:
            RefusedError: not a record, or not of this device, or the signature does not fit.
            UnknownSignerError: the signer has not introduced itself.
        """
        try:
            record = records.parse(data)
        except RecordError as error:
            raise RefusedError(str(error)) from error
        if record.device != device:
            raise RefusedError(f"{device} sent a record of {record.device!r}")
        if self._archive.holds(device, record.log, record.sequence, record.sha256):
            return record
        identity = self._identity(record.kid)
        if identity.id != device:
            raise RefusedError(f"{device} sent a record signed by {identity.subject}")
        try:
            records.verify(record, identity.public_key)
        except KeysError as error:
            raise RefusedError(f"record {record.sequence} of log {record.log.hex()}: {error}") from error
        return record

    def keep(self, record: Record, now_utc_ns: int, *, fresh: bool = True) -> bool:
        """Keep a verified record; return whether it is new.

        Args:
            record: as :meth:`verified` returned it.
            now_utc_ns: the store's clock.
            fresh: it comes from a device at work, so the receipt that it names must be one of the newest.
        """
        identity = self._identity(record.kid)
        standing = self.standing(identity, now_utc_ns)
        placed = self._archive.place(record, standing, now_utc_ns)
        if not placed.new:
            return False
        where = f"log {record.log.hex()} sequence {record.sequence}"
        if standing == QUARANTINED:
            why = "revoked" if identity.kid in self._revoked else "not valid at this time"
            self._alarm(now_utc_ns, record.device, "quarantined", f"certificate {identity.kid.hex()[:16]} {why}")
        if record.problem is not None:
            self._alarm(now_utc_ns, record.device, "not-understood", f"{record.problem}, first at {where}"[:200])
        receipt = getattr(record.body, "receipt_sha256", None)
        if fresh and receipt is not None and not self._archive.issued(record.device, receipt):
            # Either this store was restored from a backup, or the device has spoken to another one.
            self._alarm(now_utc_ns, record.device, "unknown-receipt", f"{where} names a receipt that is not known here")
        for branching in placed.branchings:
            self._alarm(
                now_utc_ns,
                record.device,
                branching.classed,
                f"log {record.log.hex()} has another record {branching.sequence}",
            )
        return True

    def standing(self, identity: Identity, now_utc_ns: int) -> str:
        """Say whether what this key signs is believed when it arrives now."""
        believed = identity.valid_at(now_utc_ns) and identity.kid not in self._revoked
        return BELIEVED if believed else QUARANTINED

    def piece(self, device: str, message: Piece, now_utc_ns: int, answers: Answers) -> None:
        """Take in part of a file.

        Raises:
            RefusedError: no held record names such bytes.
            StoreFullError: there is no room for it now.
        """
        file = self._archive.file(device, message.log, message.sequence)
        if file is None:
            answers.logs.setdefault(message.log, None)
            raise RefusedError(
                f"a piece for record {message.sequence} of log {message.log.hex()}, which has no file here"
            )
        if file.held:
            answers.media[message.log, message.sequence] = None
            return
        end = message.offset + len(message.data)
        if message.offset < 0 or not message.data or end > file.stored_size_bytes:
            raise RefusedError(
                f"a piece [{message.offset}, {end}) of a file of {file.stored_size_bytes} bytes"
                f" (log {message.log.hex()}, record {message.sequence})"
            )
        self._archive.make_room(file, max(self._staging_size_bytes, file.stored_size_bytes))
        if self._archive.put_piece(file, message.offset, message.data):
            self.finish(file, now_utc_ns, answers)

    def finish(self, file: File, now_utc_ns: int, answers: Answers) -> None:
        """Judge the staged bytes of a whole file, and make them the held file if they are the ones.

        Raises:
            RefusedError: they are not; they were thrown away.
        """
        judgement = judge(self._archive.staged(file), file)
        where = f"log {file.log.hex()} sequence {file.sequence}"
        if not judgement.fits:
            self._archive.discard(file)
            raise RefusedError(f"the bytes that came for {where} are not those that its record names")
        self._archive.complete(file, self.media_standing(file, judgement), judgement.problem, now_utc_ns)
        answers.media[file.log, file.sequence] = None
        if judgement.problem is not None:
            self._alarm(now_utc_ns, file.device, "content", f"{where}: {judgement.problem}")

    def media_standing(self, file: File, judgement: Judgement) -> str:
        """Say how a held file stands: as its record, unless its branch is a fork or its content is another."""
        doubtful = judgement.problem is not None or self._archive.on_fork(file)
        return QUARANTINED if doubtful else file.standing

    def have(self, device: str, message: Have, now_utc_ns: int, answers: Answers) -> None:
        """Take in a question; the answer is made after the batch.

        Raises:
            RefusedError: it asks for more than one message may, or its ids are not ids.
        """
        if len(message.logs) > protocol.MAX_ASKED or len(message.media) > protocol.MAX_ASKED:
            raise RefusedError("a question after too much at once")
        if len(message.nonce) != protocol.NONCE_SIZE_BYTES or any(
            len(one) != LOG_ID_SIZE_BYTES for one in message.logs
        ):
            raise RefusedError("a question whose nonce or log ids are not of the right length")
        self._archive.heard(device, now_utc_ns, None, message.outstanding_size_bytes)
        answers.holdings = message

    def attest_complete(self, writer: Writer) -> None:
        """Sign an attestation for each session that has become complete in this batch."""
        for state in self._archive.newly_complete():
            try:
                message = writer.attestation(state)
            except attest.NotAttestableError as error:
                log.warning("%s", error)
                continue
            self._archive.keep_attestation(state, message, time.time_ns())
            log.info(
                "device %s: session %s is complete: %d records, %d files",
                state.device,
                state.session.hex(),
                state.records,
                state.files,
            )

    def _identity(self, kid: bytes) -> Identity:
        identity = self._identities.get(kid)
        if identity is None:
            known = self._archive.certificate(kid)
            if known is None:
                raise UnknownSignerError(kid)
            identity = self._identities[kid] = read_identity(known[1])
        return identity

    def _alarm(self, now_utc_ns: int, device: str, code: str, detail: str) -> None:
        self._archive.alarm(now_utc_ns, device, code, detail)
        log.warning("device %s: %s: %s", device, code, detail)


MAX_CERTIFICATES: Final = 4
MAX_SOFTWARE_CHARACTERS: Final = 64
LOG_ID_SIZE_BYTES: Final = 16


def device_of(subject: str) -> str:
    """Return the device id of a topic's subject.

    Raises:
        RefusedError: not ``device:<id>``.
    """
    prefix, _, device = subject.partition(":")
    if prefix != "device" or not ID_PATTERN.fullmatch(device):
        raise RefusedError(f"{subject[:64]!r} is not a device")
    return device


def judge(path: Path, file: File) -> Judgement:
    """Compare the bytes of a whole file with the digests that its record signed.

    The stored digest decides whether these are the bytes. The content digest is checked where the content can be read;
    if it differs the device has signed something wrong: the file is kept, with the problem.
    """
    with path.open("rb") as opened:
        content = hashlib.sha256()
        try:
            header, frames = stored.frames(opened.read)
            end, digest = 0, b""
            for frame in frames:
                end, digest = frame.end_offset, frame.stored_sha256
                if header.sealing == stored.SEALING_NONE and frame.type != stored.ACCOUNT:
                    content.update(frame.payload)
        except StoredFormatError as error:
            return Judgement(_sha256(path) == file.stored_sha256, f"not a stored media file: {error}")
    if end != file.stored_size_bytes:
        return Judgement(_sha256(path) == file.stored_sha256, "a stored media file with something wrong in it")
    if digest != file.stored_sha256:
        return Judgement(fits=False)
    if header.device != file.device or header.log != file.log:
        return Judgement(fits=True, problem=f"its header names {header.device}, log {header.log.hex()}"[:120])
    if header.sealing == stored.SEALING_NONE and content.digest() != file.content_sha256:
        return Judgement(fits=True, problem="its content is not what the record's content digest names")
    return Judgement(fits=True)


def _sha256(path: Path) -> bytes:
    digest = hashlib.sha256()
    with path.open("rb") as opened:
        while data := opened.read(_READ_SIZE_BYTES):
            digest.update(data)
    return digest.digest()
