from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from keys.authority import write_site
from keys.certificates import Anchors, load_der
from keys.signer import open_signer
from uplink.central import embedded
from uplink.central.ingest import Answers, Ingest
from uplink.central.receipts import Writer
from uplink.protocol import Hello, Piece, Records

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.central.support import Log


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    write_site(folder, "鞍山市行政审批局", ["sy-0001", "sy-0002"])
    return folder


@dataclass
class Store:
    """A store without a network."""

    folder: Path
    site: Path
    archive: embedded.EmbeddedArchive
    ingest: Ingest
    writer: Writer

    def hello(self, device: str = "sy-0001", certificate_of: str | None = None) -> None:
        der = load_der(self.site / "devices" / (certificate_of or device) / "signing.crt")
        self.archive.begin()
        try:
            self.ingest.hello(device, Hello(certificates=[der], software="test"), time.time_ns())
        finally:
            self.archive.commit()

    def records(self, log: Log, messages: list[bytes], device: str | None = None) -> Answers:
        answers = Answers()
        self.archive.begin()
        try:
            self.ingest.records(
                device or log.device,
                Records(log=log.log, records=messages, outstanding_size_bytes=0),
                time.time_ns(),
                answers,
            )
            self.ingest.attest_complete(self.writer)
        finally:
            self.archive.commit()
        return answers

    def piece(self, log: Log, sequence: int, offset: int, data: bytes, device: str | None = None) -> Answers:
        answers = Answers()
        self.archive.begin()
        try:
            message = Piece(log=log.log, sequence=sequence, offset=offset, data=data)
            self.ingest.piece(device or log.device, message, time.time_ns(), answers)
            self.ingest.attest_complete(self.writer)
        finally:
            self.archive.commit()
        return answers


def open_store(folder: Path, site: Path, revoked: set[bytes] | None = None, staging: int = 1 << 24) -> Store:
    embedded.make(folder, "store-1")
    archive = embedded.EmbeddedArchive(folder, "store-1")
    certificate = load_der(site / "central" / "receipt.crt")
    signer = open_signer(f"file:{site / 'central' / 'receipt.key'}", certificate)
    ingest = Ingest(archive, Anchors.load([site / "authority.crt"]), revoked or set(), staging)
    return Store(folder, site, archive, ingest, Writer(archive, signer, "store-1", "stored"))


@pytest.fixture
def store(tmp_path: Path, site: Path) -> Iterator[Store]:
    made = open_store(tmp_path / "store", site)
    made.hello()
    yield made
    made.archive.close()
