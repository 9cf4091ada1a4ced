"""A scriptable far side: a real MQTT client in the place of a store, which keeps what comes and answers as told.

By default it behaves: verifies digests, answers ``records``, ``have`` and completed files with signed receipts. A test
replaces :attr:`FarSide.tamper`, which sees every answer before it goes and says what goes instead.
"""

from __future__ import annotations

import contextlib
import hashlib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from keys.certificates import load_der
from keys.signer import Signer, open_signer
from recorder.evidence import records, statements
from recorder.evidence.statements import MediaReceipt, RecordsReceipt, Statement
from uplink import protocol
from uplink.device.logs import without
from uplink.mqtt import Connected, Endpoint, MqttClient, MqttError, Received
from uplink.protocol import Grant, Have, Hello, Holdings, Message, Missing, Piece, Receipts, Records

if TYPE_CHECKING:
    from pathlib import Path

    from recorder.evidence.records import Record
    from tests.support.broker import Broker

Answer = Message
Tamper = Callable[[Answer], list[Answer]]


@dataclass
class HeldFile:
    """What arrived of one file."""

    record: Record
    data: bytearray
    ranges: list[tuple[int, int]] = field(default_factory=list)
    receipted: bool = False

    @property
    def missing(self) -> list[tuple[int, int]]:
        return without([(0, len(self.data))], sorted(self.ranges))


@dataclass
class FarSide:
    """A store on the other side of ``broker`` for one device."""

    broker: Broker
    keys: Path
    device: str
    store: str = "store-1"
    grant_size_bytes: int = 16 << 20
    grant_seconds: int = 60
    drop: Callable[[Message], bool] = lambda _: False
    """What comes and is to be lost."""
    tamper: Tamper = lambda answer: [answer]
    storage: str = "stored"

    def __post_init__(self) -> None:
        own = self.keys / "central"
        self.signer: Signer = open_signer(f"file:{own / 'receipt.key'}", load_der(own / "receipt.crt"))
        self.records: dict[bytes, dict[int, Record]] = {}
        self.arrived_s: dict[tuple[bytes, int], float] = {}
        self.files: dict[tuple[bytes, int], HeldFile] = {}
        self.seen: list[Message] = []
        self.received_media_bytes = 0
        self.lock = threading.RLock()
        self._stop = threading.Event()
        self._client: MqttClient | None = None
        self._thread: threading.Thread | None = None
        self.stands = threading.Event()

    def start(self) -> FarSide:
        """Connect and serve on a thread of its own."""
        own = self.keys / "central"
        endpoint = Endpoint(
            host="localhost",
            port=self.broker.central_port,
            authority=self.keys / "authority.crt",
            certificate=own / "transport.crt",
            key=own / "transport.key",
            client_id=f"central:{self.store}",
            backoff_max_s=0.5,
        )
        self._stop.clear()
        self._client = MqttClient(endpoint, [f"{protocol.ROOT}/up/+/{protocol.subject(self.device)}/#"])
        self._client.start()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        assert self.stands.wait(15)
        return self

    def stop(self) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join(10)
        if self._client is not None:
            self._client.close()
        self.stands.clear()

    def _serve(self) -> None:
        assert self._client is not None
        while not self._stop.is_set():
            for event in self._client.events(0.1):
                if isinstance(event, Connected):
                    self.stands.set()
                elif isinstance(event, Received):
                    _, kind = protocol.parse_up_topic(event.topic)
                    message = protocol.decode(event.payload, kind)
                    with self.lock:
                        self.seen.append(message)
                        if not self.drop(message):
                            self._take(message)

    def send(self, *answers: Answer) -> None:
        """Say something to the device, asked or not."""
        assert self._client is not None
        for answer in answers:
            topic = protocol.down_topic(protocol.subject(self.device), type(answer))
            self._client.publish(topic, protocol.encode(answer))

    def _answer(self, answer: Answer) -> None:
        # The broker may have just died: then the answer is lost, as a store's is, and the device will ask.
        with contextlib.suppress(MqttError):
            self.send(*self.tamper(answer))

    def _take(self, message: Message) -> None:
        if isinstance(message, Records):
            held = self.records.setdefault(message.log, {})
            for data in message.records:
                record = records.parse(data)
                held[record.sequence] = record
                self.arrived_s.setdefault((record.log, record.sequence), time.monotonic())
                if record.file is not None:
                    key = (record.log, record.sequence)
                    self.files.setdefault(key, HeldFile(record, bytearray(record.file.stored_size_bytes)))
            self._answer(Receipts(receipts=[self.sign(self.records_receipt(message.log))]))
            self._answer(Grant(size_bytes=self.grant_size_bytes, seconds=self.grant_seconds))
        elif isinstance(message, Piece):
            self._piece(message)
        elif isinstance(message, Have):
            self._answer(self.holdings(message))
        else:
            assert isinstance(message, Hello)

    def _piece(self, piece: Piece) -> None:
        self.received_media_bytes += len(piece.data)
        file = self.files.get((piece.log, piece.sequence))
        if file is None:
            return
        end = piece.offset + len(piece.data)
        assert end <= len(file.data)
        file.data[piece.offset : end] = piece.data
        file.ranges = [*without(file.ranges, [(piece.offset, end)]), (piece.offset, end)]
        if file.missing:
            return
        assert file.record.file is not None
        if hashlib.sha256(file.data).digest() != file.record.file.stored_sha256:
            file.ranges.clear()
            return
        file.receipted = True
        self._answer(Receipts(receipts=[self.sign(self.media_receipt(file))]))

    def holdings(self, have: Have) -> Holdings:
        receipts = [self.sign(self.records_receipt(log, have.nonce)) for log in have.logs]
        missing = []
        for log, sequence in have.media:
            file = self.files.get((log, sequence))
            if file is None:
                missing.append(Missing(log=log, sequence=sequence, known=False))
            elif file.receipted:
                receipts.append(self.sign(self.media_receipt(file)))
            else:
                missing.append(Missing(log=log, sequence=sequence, known=True, ranges=file.missing[:64]))
        return Holdings(
            nonce=have.nonce,
            receipts=receipts,
            missing=missing,
            grant_size_bytes=self.grant_size_bytes,
            grant_seconds=self.grant_seconds,
        )

    def records_receipt(self, log: bytes, nonce: bytes | None = None) -> RecordsReceipt:
        held = self.records.get(log, {})
        following = 0
        while following in held:
            following += 1
        highest = max(held, default=-1)
        holes = [(one, one) for one in range(following, highest) if one not in held]
        return RecordsReceipt(
            store=self.store,
            utc_ns=time.time_ns(),
            device=self.device,
            log=log,
            next_sequence=following,
            head_sha256=held[following - 1].sha256 if following else None,
            holes=holes[:64],
            highest_sequence=highest if holes else None,
            nonce=nonce,
        )

    def media_receipt(self, file: HeldFile) -> MediaReceipt:
        record = file.record
        assert record.file is not None
        return MediaReceipt(
            store=self.store,
            utc_ns=time.time_ns(),
            device=self.device,
            log=record.log,
            sequence=record.sequence,
            record_sha256=record.sha256,
            stored_sha256=record.file.stored_sha256,
            content_sha256=record.file.content_sha256,
            stored_size_bytes=record.file.stored_size_bytes,
            storage=self.storage,
            standing="believed",
        )

    def sign(self, statement: Statement) -> bytes:
        return statements.sign(statement, self.signer)

    def forget(self, first_sequence: int) -> None:
        """Be a store that was restored from a backup: everything from this sequence on is gone, and all files."""
        with self.lock:
            for held in self.records.values():
                for sequence in [one for one in held if one >= first_sequence]:
                    del held[sequence]
            self.files = {key: file for key, file in self.files.items() if key[1] < first_sequence}
            for file in self.files.values():
                file.ranges.clear()
                file.receipted = False

    def receipted(self) -> set[int]:
        with self.lock:
            return {key[1] for key, file in self.files.items() if file.receipted}
