"""A store's view of devices: genuinely signed logs with small files, and a device that speaks the protocol."""

from __future__ import annotations

import hashlib
import os
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from keys import cose
from keys.certificates import load_der
from keys.signer import open_signer
from recorder.evidence import records, statements, stored
from recorder.evidence.statements import MediaReceipt, RecordsReceipt
from uplink import protocol
from uplink.mqtt import Acknowledged, Connected, Endpoint, MqttClient, Received
from uplink.protocol import Hello, Holdings, Piece, Receipts, Records

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from keys.signer import Signer

SECOND = 10**9


def signer_of(site: Path, device: str) -> Signer:
    folder = site / "devices" / device
    return open_signer(f"file:{folder / 'signing.key'}", load_der(folder / "signing.crt"))


@dataclass
class Log:
    """One log of a device, with the stored bytes of its files."""

    device: str
    signer: Signer
    log: bytes = field(default_factory=lambda: os.urandom(16))
    stream: int = 1
    records: list[records.Record] = field(default_factory=list)
    files: dict[int, bytes] = field(default_factory=dict)
    media: int = 0
    utc_ns: int = field(default_factory=time.time_ns)

    def copy(self) -> Log:
        """The same log as a copied card would hold it."""
        return Log(
            self.device,
            self.signer,
            self.log,
            self.stream,
            list(self.records),
            dict(self.files),
            self.media,
            self.utc_ns,
        )

    def cut(self, count: int) -> None:
        """Lose the newest records."""
        for record in self.records[-count:]:
            self.files.pop(record.sequence, None)
        del self.records[-count:]

    def add(self, body: records.Body, session: bytes | None = None, **envelope: Any) -> records.Record:
        sequence = len(self.records)
        self.utc_ns += SECOND
        fields = {
            "device": self.device,
            "log": self.log,
            "stream": self.stream,
            "sequence": sequence,
            "previous_sha256": self.records[-1].sha256 if self.records else records.ZERO_HASH,
            "session": session,
            "utc_ns": self.utc_ns,
            "boottime_ns": sequence * SECOND,
            "boot": b"B" * 16,
            "clock": "synchronised",
        }
        message = cose.sign(records.encode_payload(**(fields | envelope), body=body), self.signer)  # type: ignore[arg-type]
        self.records.append(records.parse(message))
        return self.records[-1]

    def genesis(self) -> records.Record:
        return self.add(
            records.Genesis(
                certificate_sha256=self.signer.kid, stream_name="counter", origin="enrolled", software="test"
            )
        )

    def boot(self, **more: Any) -> records.Record:
        head = self.records[-1]
        return self.add(
            records.Boot(
                found_sequence=head.sequence, found_sha256=head.sha256, reason="power-on", software="test", **more
            )
        )

    def marker(self, session: bytes | None = None, marker: str = "m") -> records.Record:
        return self.add(records.Marker(marker=marker, at_boottime_ns=0, basis="device"), session)

    def file(self, session: bytes | None, size_bytes: int = 5000, *, content_digest: bytes | None = None) -> int:
        """Add a details file; return its record's sequence."""
        content = os.urandom(size_bytes)
        writer = stored.StoredWriter(
            stored.Header(
                device=self.device,
                log=self.log,
                media=self.media,
                kind="details",
                session=session,
                epoch=b"E" * 16,
                sealing="none",
                opened_boottime_ns=0,
                boot=b"B" * 16,
            )
        )
        data = b"".join([writer.header, *writer.frame(stored.WHOLE, content)])
        record = self.add(
            records.Details(
                media=self.media,
                epoch=b"E" * 16,
                stored_sha256=hashlib.sha256(data).digest(),
                stored_size_bytes=len(data),
                content_sha256=content_digest or hashlib.sha256(content).digest(),
                content_size_bytes=len(content),
                when="during",
                author="officer",
            ),
            session,
        )
        self.media += 1
        self.files[record.sequence] = data
        return record.sequence

    def open(self, session: bytes) -> records.Record:
        return self.add(
            records.SessionOpen(
                mode="video",
                zero_boottime_ns=0,
                policy_sha256=bytes(32),
                device_head_sequence=0,
                device_head_sha256=bytes(32),
                trigger="command",
            ),
            session,
        )

    def close(self, session: bytes, opened: int) -> records.Record:
        return self.add(
            records.SessionClose(
                reason="done",
                closed_by="command",
                open_sequence=opened,
                chunks=0,
                end_boottime_ns=0,
                device_head_sequence=0,
                device_head_sha256=bytes(32),
            ),
            session,
        )

    def session(self, session: bytes, files: int = 3, size_bytes: int = 5000) -> None:
        opened = self.open(session).sequence
        for _ in range(files):
            self.file(session, size_bytes)
        self.close(session, opened)

    def messages(self, first: int = 0, last: int | None = None) -> list[bytes]:
        return [record.message for record in self.records[first : None if last is None else last + 1]]


def log_of(site: Path, device: str = "sy-0001", *, files: int = 3, size_bytes: int = 5000) -> Log:
    """A log with one whole session."""
    made = Log(device, signer_of(site, device))
    made.genesis()
    made.session(b"S" * 16, files, size_bytes)
    return made


class Device:
    """A device on the broker, as far as a store can tell."""

    def __init__(self, site: Path, port: int, device: str = "sy-0001") -> None:
        folder = site / "devices" / device
        self.device = device
        self.site = site
        self.subject = protocol.subject(device)
        endpoint = Endpoint(
            "localhost",
            port,
            site / "authority.crt",
            folder / "transport.crt",
            folder / "transport.key",
            self.subject,
            backoff_max_s=1.0,
        )
        self.client = MqttClient(endpoint, [f"{protocol.ROOT}/down/{self.subject}/+"])
        self.heard: list[protocol.Message] = []
        self.acknowledged = 0
        self.connections = 0
        self.reasons: list[int] = []

    def __enter__(self) -> Self:
        self.client.start()
        self.wait(lambda: self.connections > 0)
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()

    def poll(self, timeout_s: float = 0.2) -> None:
        for event in self.client.events(timeout_s):
            if isinstance(event, Received):
                self.heard.append(protocol.decode(event.payload, protocol.DOWN[event.topic.rsplit("/", 1)[1]]))
            elif isinstance(event, Acknowledged):
                self.acknowledged += 1
                self.reasons.append(event.reason)
            elif isinstance(event, Connected):
                self.connections += 1

    def wait(self, condition: Callable[[], Any], timeout_s: float = 20.0) -> Any:
        deadline = time.monotonic() + timeout_s
        while True:
            found = condition()
            if found:
                return found
            assert time.monotonic() < deadline, f"not in time; heard {[type(one).__name__ for one in self.heard]}"
            self.poll()

    def send(self, message: protocol.Message) -> int:
        return self.client.publish(protocol.up_topic(self.subject, type(message)), protocol.encode(message))

    def hello(self) -> None:
        certificate = load_der(self.site / "devices" / self.device / "signing.crt")
        self.send(Hello(certificates=[certificate], software="test"))

    def send_records(self, log: Log, first: int = 0, last: int | None = None) -> None:
        batch: list[bytes] = []
        for message in log.messages(first, last):
            if batch and sum(map(len, batch)) + len(message) > protocol.MAX_BATCH_SIZE_BYTES:
                self.send(Records(log=log.log, records=batch, outstanding_size_bytes=1))
                batch = []
            batch.append(message)
        self.send(Records(log=log.log, records=batch, outstanding_size_bytes=1))

    def send_file(self, log: Log, sequence: int, piece_size_bytes: int = 1 << 20, **limits: int) -> None:
        data = log.files[sequence]
        for offset in range(limits.get("start", 0), min(len(data), limits.get("end", len(data))), piece_size_bytes):
            self.send(
                Piece(log=log.log, sequence=sequence, offset=offset, data=data[offset : offset + piece_size_bytes])
            )

    def receipts(self) -> list[bytes]:
        found: list[bytes] = []
        for message in self.heard:
            if isinstance(message, Receipts | Holdings):
                found += message.receipts
        return found

    def records_receipts(self, log: bytes) -> list[RecordsReceipt]:
        found = [
            statements.parse(one, RecordsReceipt)
            for one in self.receipts()
            if statements.type_of(one) == "records-receipt"
        ]
        return [one for one in found if one.log == log]

    def media_receipts(self, log: bytes) -> dict[int, MediaReceipt]:
        found = [
            statements.parse(one, MediaReceipt) for one in self.receipts() if statements.type_of(one) == "media-receipt"
        ]
        return {one.sequence: one for one in found if one.log == log}
