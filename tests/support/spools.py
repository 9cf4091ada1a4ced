"""A real spool with real keys: opened, written, and receipted by a store of the same authority."""

from __future__ import annotations

import hashlib
import itertools
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from keys import cose
from keys.authority import Authority, write_pair
from keys.certificates import Role, load_der, read_identity
from keys.signer import SeedSigner, open_signer
from recorder.config import SpoolSection
from recorder.evidence import records, statements, stored
from recorder.evidence.statements import MediaReceipt, RecordsReceipt
from recorder.spool.reader import SpoolReader
from recorder.spool.spool import Spool
from tests.support.clock import FakeClock

if TYPE_CHECKING:
    from pathlib import Path

    from keys.signer import Signer
    from recorder.evidence.records import Record
    from recorder.spool.media import MediaFile

DEVICE = "sy-0001"
STORE = "store-1"
SOFTWARE = "liuhen test"
EPOCH = bytes(range(16))
INSTANCE = bytes(range(16, 32))
INIT = b"init segment" * 20
CAMERA = 1
_serials = itertools.count()


@dataclass
class Site:
    """One authority, one device, one store; the keys lie in files so that a child process can use them."""

    folder: Path
    store: Signer
    settings: SpoolSection = field(default_factory=lambda: SpoolSection(reserve_size_mib=1))

    @classmethod
    def make(cls, folder: Path, settings: SpoolSection | None = None) -> Site:
        authority = Authority.create("agency")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "authority.der").write_bytes(authority.der)
        write_pair(folder, "signing", authority, Role.SIGNING, DEVICE)
        write_pair(folder, "receipt", authority, Role.RECEIPT, STORE)
        return cls.load(folder, settings)

    @classmethod
    def load(cls, folder: Path, settings: SpoolSection | None = None) -> Site:
        site = cls(folder, _signer(folder, "receipt"))
        if settings is not None:
            site.settings = settings
        return site

    @property
    def root(self) -> Path:
        return self.folder / "spool"

    @property
    def reader(self) -> SpoolReader:
        return SpoolReader(self.root)

    def open(self, clock: FakeClock | None = None, streams: tuple[str, ...] = ("camera",)) -> Spool:
        return Spool.open(
            self.root,
            device=DEVICE,
            streams=streams,
            signer=_signer(self.folder, "signing"),
            clock=clock or FakeClock(),
            software=SOFTWARE,
            authorities=[self.folder / "authority.der"],
            settings=self.settings,
        )

    @property
    def certificate(self) -> bytes:
        return load_der(self.folder / "signing.crt")

    def records(self, log: bytes) -> list[Record]:
        return list(self.reader.log(log).records())

    def deliver(self, *messages: bytes) -> None:
        """Put receipts into the inbox as the uplink does."""
        for message in messages:
            name = f"{next(_serials):08d}"
            temporary = self.root / "inbox" / f".{name}"
            temporary.write_bytes(message)
            temporary.rename(self.root / "inbox" / name)

    def media_receipt(self, record: Record, utc_ns: int, signer: Signer | None = None, **changes: object) -> bytes:
        file = record.file
        assert file is not None
        fields = {
            "store": STORE,
            "utc_ns": utc_ns,
            "device": DEVICE,
            "log": record.log,
            "sequence": record.sequence,
            "record_sha256": record.sha256,
            "stored_sha256": file.stored_sha256,
            "content_sha256": file.content_sha256,
            "stored_size_bytes": file.stored_size_bytes,
            "storage": "stored",
            "standing": "believed",
        } | changes
        return statements.sign(MediaReceipt(**fields), signer or self.store)

    def records_receipt(self, record: Record | None, log: bytes, utc_ns: int, **changes: object) -> bytes:
        fields = {
            "store": STORE,
            "utc_ns": utc_ns,
            "device": DEVICE,
            "log": log,
            "next_sequence": record.sequence + 1 if record else 0,
            "head_sha256": record.sha256 if record else None,
        } | changes
        return statements.sign(RecordsReceipt(**fields), self.store)


def _signer(folder: Path, stem: str) -> Signer:
    return open_signer(f"file:{folder / stem}.key", load_der(folder / f"{stem}.crt"))


def issue_store(authority: Authority, role: Role = Role.RECEIPT, name: str = STORE) -> SeedSigner:
    key = Ed25519PrivateKey.generate()
    certificate = authority.issue(key.public_key(), role, name).public_bytes(Encoding.DER)
    return SeedSigner(key.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption()), certificate)


def account(number: int, fragments: int, *, zero_ns: int = 0) -> stored.Account:
    track = records.Track(
        codec="h264",
        timescale=1000,
        first_decode=number * 2000,
        end_decode=number * 2000 + fragments * 500,
        frames_received=fragments * 12,
        frames_written=fragments * 12,
    )
    return stored.Account(
        sources={"camera": (INSTANCE, number * 4 + fragments)},
        number=number,
        part=0,
        init_size_bytes=len(INIT),
        fragments=fragments,
        start_boottime_ns=zero_ns + number * 2_000_000_000,
        end_boottime_ns=zero_ns + number * 2_000_000_000 + fragments * 500_000_000,
        tracks={"video": track},
    )


def fragment(number: int, index: int, size_bytes: int = 3000) -> bytes:
    return hashlib.shake_128(f"{number}/{index}".encode()).digest(size_bytes)


def open_session(spool: Spool, stream: int = CAMERA) -> bytes:
    session = secrets.token_bytes(16)
    sequence, sha256 = spool.head(0)
    spool.append(
        stream,
        session,
        [
            records.SessionOpen(
                mode="video",
                zero_boottime_ns=0,
                policy_sha256=bytes(32),
                device_head_sequence=sequence,
                device_head_sha256=sha256,
                trigger="command",
            ),
            records.MediaKey(epoch=EPOCH, sealing="none"),
        ],
    )
    return session


def begin(spool: Spool, session: bytes, number: int, fragments: int = 4, size_bytes: int = 3000) -> MediaFile:
    file = spool.begin_chunk(CAMERA, session, EPOCH, INIT)
    for index in range(fragments):
        file.append(stored.encode_account(account(number, index + 1)), fragment(number, index, size_bytes))
    return file


def record_chunk(spool: Spool, session: bytes, number: int, size_bytes: int = 3000) -> Record:
    file = begin(spool, session, number, size_bytes=size_bytes)
    file.finish()
    record = spool.sign_chunk(file)
    assert record is not None
    return record


def close_session(spool: Spool, session: bytes, open_sequence: int, chunks: int) -> Record:
    sequence, sha256 = spool.head(0)
    body = records.SessionClose(
        reason="done",
        closed_by="command",
        open_sequence=open_sequence,
        chunks=chunks,
        end_boottime_ns=chunks * 2_000_000_000,
        device_head_sequence=sequence,
        device_head_sha256=sha256,
    )
    return spool.append(CAMERA, session, [body])[0]


def make_site(folder: Path, **settings: object) -> Site:
    """A site whose spool keeps a small reserve; settings as in ``[spool]``."""
    return Site.make(folder, SpoolSection(**{"reserve_size_mib": 1, **settings}))


def check_chain(found: list[Record], certificate: bytes) -> None:
    """Sequences from 0 on without a hole or a repeat, every hash and every signature fits."""
    public_key = read_identity(certificate).public_key
    previous = records.ZERO_HASH
    for sequence, record in enumerate(found):
        assert record.problem is None
        assert record.sequence == sequence
        assert record.previous_sha256 == previous
        cose.verify(cose.parse(record.message, records.MAX_RECORD_SIZE_BYTES), public_key)
        previous = record.sha256
