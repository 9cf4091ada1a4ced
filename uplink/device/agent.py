"""The agent: one thread that owns connection, index, plan and inbox, and does what the plan says.

What comes from the network can do three things only: put a verified receipt into the inbox, say what is to be sent,
and ask who signs here. It commands nothing else.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import random
import select
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from keys.certificates import Anchors, load_der
from recorder import notify
from recorder.clock import UNSET, SystemClock
from recorder.errors import ConfigError
from recorder.evidence.errors import StatementError
from recorder.evidence.statements import MediaReceipt, RecordsReceipt
from recorder.spool.logfile import Damage
from recorder.spool.reader import SpoolReader
from uplink import protocol
from uplink.device import order, plan, status
from uplink.device.follow import Follower
from uplink.device.inbox import Inbox, InboxFullError
from uplink.device.receipts import ReceiptVerifier
from uplink.device.state import DAMAGED, GONE, State, receipt_level
from uplink.device.transfers import Key
from uplink.errors import ProtocolError
from uplink.mqtt import Acknowledged, Connected, Disconnected, Endpoint, MqttClient, MqttError, Received, parse_address

if TYPE_CHECKING:
    import threading

    from recorder.clock import Clock
    from recorder.config import DeviceConfig
    from uplink.device.plan import Action

log = logging.getLogger(__name__)

TICK_S: Final = 0.5
POLL_S: Final = 2.0
"""The spool is looked at so often, wake-ups or not."""
STATUS_S: Final = 5.0
ACTIONS_PER_TURN: Final = 64
MAX_AWAITING_FILES: Final = 512
RECEIPT_PAUSE_S: Final = 1.0
"""A log's records-receipts go to the recorder at most so often, the newest only."""
MIN_KERNEL_SIZE_BYTES: Final = 16 << 10
MAX_KERNEL_SIZE_BYTES: Final = 4 << 20
BACKOFF_MAX_S: Final = 120.0


class Agent:
    """The uplink of one device; see the module."""

    def __init__(self, config: DeviceConfig, clock: Clock | None = None, backoff_max_s: float = BACKOFF_MAX_S) -> None:
        """Open everything that is on this machine; nothing is connected yet.

        Raises:
            ConfigError: the file has no ``[uplink]``, or a folder cannot be made.
            CertificateError: a certificate is unreadable.
            MqttError: the transport key cannot be used.
        """
        if config.uplink is None:
            raise ConfigError("[uplink] is missing: without a broker nothing can be handed over")
        self._config = config
        self._section = config.uplink
        self._run = Path(config.device.run)
        self._state_folder = Path(config.uplink.state)
        reader = SpoolReader(Path(config.device.spool))
        try:
            self._run.mkdir(parents=True, exist_ok=True)
            self._state_folder.mkdir(parents=True, exist_ok=True)
            reader.layout.inbox.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"a folder cannot be made: {error.strerror}: {error.filename}") from error
        self._reader = reader
        self._clock = clock or SystemClock(memory=self._run / "uplink-clock")
        self._backoff_max_s = backoff_max_s
        self._certificate = load_der(Path(config.keys.certificate))
        self._verifier = ReceiptVerifier(Anchors.load(Path(name) for name in config.keys.authority), config.device.id)
        self._state = State(self._state_folder / "uplink.db")
        self._plan = plan.Plan(random.random)
        self._follower = Follower(reader, self._state, self._plan)
        self._inbox = Inbox(reader.layout.inbox)
        self._subject = protocol.subject(config.device.id)
        self._down = {protocol.down_topic(self._subject, message): message for message in protocol.DOWN.values()}
        self._wake = _bind(self._run / "uplink.sock")
        self._dates_checked = self._clock_set()
        self._client = self._new_client()
        self._started = False
        self._files_changed = True
        self._kernel_size_bytes = 0
        self._warnings: set[str] = set()
        self._refused = 0
        self._connected_since_utc_ns: int | None = None
        self._newest_receipt_utc_ns: int | None = None
        self._forwarded: dict[bytes, int] = {}
        self._to_forward: dict[bytes, tuple[int, bytes]] = {}
        self._forward_at_s = 0.0
        self._poll_at_s = self._status_at_s = 0.0

    # -- running ---------------------------------------------------------------------------------------------------

    def run(self, stop: threading.Event) -> None:
        """Work until ``stop`` is set."""
        try:
            while not stop.is_set():
                self._turn()
        finally:
            self._client.close()
            self._forward(time.monotonic() + RECEIPT_PAUSE_S)
            self._wake.close()
            (self._run / "uplink.sock").unlink(missing_ok=True)
            self._write_status()
            self._state.close()

    def _turn(self) -> None:
        more = self._follow(time.monotonic())
        if not self._started and not more:
            # The index is complete: only now what a receipt says can be compared with what is on the disk.
            self._started = True
            self._state.in_doubt_below = self._state.newest_media()
            log.info(
                "%d logs, %d bytes of media without a receipt", len(self._plan.logs), self._state.waiting_size_bytes
            )
            self._client.start()
            notify.ready("uplink")
        busy = self._pump()
        self._forward(time.monotonic())
        timeout_s = 0.0 if more or busy else TICK_S
        ready, _, _ = select.select([self._client.fileno(), self._wake.fileno()], [], [], timeout_s)
        if self._wake.fileno() in ready:
            self._poll_at_s = 0.0
            with contextlib.suppress(BlockingIOError):
                while True:
                    self._wake.recv(16)
        for event in self._client.events():
            self._handle(event)
        now_s = time.monotonic()
        if now_s >= self._status_at_s:
            self._status_at_s = now_s + STATUS_S
            self._look_after(now_s)
            self._write_status()
        notify.watchdog()

    def _follow(self, now_s: float) -> bool:
        if now_s < self._poll_at_s:
            return False
        before = self._state.newest_media()
        more = self._follower.step()
        self._poll_at_s = 0.0 if more else now_s + POLL_S
        self._files_changed = self._files_changed or self._state.newest_media() != before
        return more

    def _look_after(self, now_s: float) -> None:
        """See to what changes slowly: the clock, room in the inbox, the order of the files."""
        if self._clock_set() != self._dates_checked and not self._client.connected:
            self._dates_checked = self._clock_set()
            self._client.close()
            self._client = self._new_client()
            self._client.start()
        room = self._inbox.room() > 0
        if room != self._plan.media_allowed:
            self._plan.media_allowed = room
            if not room:
                log.warning("the inbox is full: no media are sent until the recorder takes receipts away")
        self._warn("inbox-full", present=not room)
        self._files_changed = self._files_changed or self._plan.wants_files(now_s)

    def _new_client(self) -> MqttClient:
        host, port = parse_address(self._section.broker)
        endpoint = Endpoint(
            host=host,
            port=port,
            authority=Path(self._section.broker_authority),
            certificate=Path(self._section.certificate),
            key=Path(self._section.key),
            client_id=self._subject,
            keepalive_s=self._section.keepalive_s,
            check_dates=self._dates_checked,
            backoff_max_s=self._backoff_max_s,
        )
        client = MqttClient(endpoint, list(self._down))
        if self._section.max_rate_bytes_per_s is not None:
            client.limit_rate(self._section.max_rate_bytes_per_s)
        return client

    def _clock_set(self) -> bool:
        return self._clock.now().quality != UNSET

    # -- what comes ------------------------------------------------------------------------------------------------

    def _handle(self, event: Connected | Disconnected | Received | Acknowledged) -> None:
        now_s = time.monotonic()
        if isinstance(event, Acknowledged):
            self._plan.acknowledged(event.token, now_s, delivered=event.delivered)
            self._adapt_kernel()
        elif isinstance(event, Connected):
            self._connected_since_utc_ns = self._clock.now().utc_ns
            self._plan.connected(now_s, event.max_packet_size_bytes)
            self._files_changed = True
            self._status_at_s = 0.0
        elif isinstance(event, Disconnected):
            self._connected_since_utc_ns = None
            self._plan.disconnected(now_s)
            self._status_at_s = 0.0
        else:
            self._receive(event, now_s)

    def _receive(self, event: Received, now_s: float) -> None:
        kind = self._down.get(event.topic)
        if kind is None:
            log.warning("a message on a topic that is not ours: %.120s", event.topic)
            return
        try:
            message = protocol.decode(event.payload, kind)
        except ProtocolError as error:
            log.warning("%s", error)
            return
        self._plan.heard(now_s)
        if isinstance(message, protocol.Receipts):
            self._receipts(message.receipts, now_s)
        elif isinstance(message, protocol.Holdings):
            self._receipts(message.receipts, now_s)
            self._plan.holdings(message, now_s)
            self._files_changed = True
            self._fell_back()
        elif isinstance(message, protocol.Grant):
            self._plan.grant(message.size_bytes, message.seconds, now_s)
        elif isinstance(message, protocol.Who):
            self._plan.who()
        elif isinstance(message, protocol.Started):
            self._plan.store_started(now_s)

    def _receipts(self, messages: list[bytes], now_s: float) -> None:
        believed: list[tuple[Key, int, bytes]] = []
        for message in messages:
            try:
                receipt = self._verifier.verify(message, clock_set=self._clock_set())
                if isinstance(receipt, RecordsReceipt):
                    self._records_receipt(receipt, message, now_s)
                else:
                    believed += self._media_receipt(receipt, message)
            except StatementError as error:
                self._refused += 1
                log.warning("a receipt was not believed: %s", error)
                continue
            self._newest_receipt_utc_ns = max(self._newest_receipt_utc_ns or 0, receipt.utc_ns)
        if not believed:
            return
        try:
            self._inbox.put([message for _, _, message in believed])
        except InboxFullError as error:
            # Not kept, so not held: the store will be asked for these receipts again.
            log.warning("%s", error)
            self._plan.media_allowed = False
            self._warn("inbox-full", present=True)
            return
        self._state.begin()
        for key, level, _ in believed:
            self._state.set_level(key, level)
            self._plan.held(key)
        self._state.commit()
        self._files_changed = True
        self._wake_recorder()

    def _media_receipt(self, receipt: MediaReceipt, message: bytes) -> list[tuple[Key, int, bytes]]:
        key = Key(receipt.log, receipt.sequence)
        media = self._state.media(key)
        level = receipt_level(receipt)
        if media is None or not media.fits(receipt):
            raise StatementError(f"it is not about a file of ours: {key.log.hex()}/{key.sequence}")
        if receipt.utc_ns < self._plan.logs[receipt.log].floor_utc_ns:
            raise StatementError("the store has said since that it no longer holds that file")
        if not level:
            raise StatementError(f"its class is not known here: {receipt.storage}, {receipt.standing}")
        if media.level < level or media.level in (GONE, DAMAGED):
            return [(key, level, message)]
        self._plan.held(key)
        return []

    def _records_receipt(self, receipt: RecordsReceipt, message: bytes, now_s: float) -> None:
        row = self._follower.rows.get(receipt.log)
        if row is None:
            raise StatementError(f"it is not about a log of ours: {receipt.log.hex()}")
        ours = receipt.next_sequence == 0 or (
            receipt.next_sequence > 0
            and self._follower.head(receipt.log, receipt.next_sequence - 1) == receipt.head_sha256
        )
        state = self._plan.logs[receipt.log]
        before, was_foreign = state.acknowledged, state.foreign
        self._plan.records_receipt(receipt, now_s, ours=ours)
        if state.foreign and not was_foreign:
            log.error("the store holds another past of log %s: this device has lost records", receipt.log.hex())
        self._warn("store-holds-another-past", present=any(one.foreign for one in self._plan.logs.values()))
        if state.acknowledged != before:
            self._state.acknowledge(row, state.acknowledged)
        # A store that fell back tells the recorder, too: what it had receipted must not be freed any more.
        if ours and (receipt.next_sequence > self._forwarded.get(receipt.log, before) or state.acknowledged < before):
            self._forwarded[receipt.log] = receipt.next_sequence
            self._to_forward[receipt.log] = (receipt.next_sequence, message)

    def _forward(self, now_s: float) -> None:
        """Hand the newest records-receipts to the recorder."""
        if not self._to_forward or now_s < self._forward_at_s:
            return
        self._forward_at_s = now_s + RECEIPT_PAUSE_S
        try:
            self._inbox.put([message for _, message in self._to_forward.values()])
        except InboxFullError as error:
            log.warning("%s", error)
            return
        self._to_forward.clear()
        self._wake_recorder()

    def _fell_back(self) -> None:
        for log_id in self._plan.fell_back:
            row = self._follower.rows[log_id]
            state = self._plan.logs[log_id]
            self._state.begin()
            count = self._state.fell_back(row, state.acknowledged, state.floor_utc_ns)
            self._state.commit()
            self._forwarded.pop(log_id, None)
            self._warn("store-fell-back", present=True)
            log.error(
                "the store has lost what it had receipted of log %s: it holds %d records; they are sent again, "
                "and %d receipted files are asked about",
                log_id.hex(),
                state.acknowledged,
                count,
            )
        self._plan.fell_back.clear()

    def _wake_recorder(self) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
            sender.setblocking(False)
            # Nobody listens, or has no room: the recorder also looks by itself.
            with contextlib.suppress(OSError):
                sender.sendto(b"", str(self._run / "wake.sock"))

    # -- what goes -------------------------------------------------------------------------------------------------

    def _pump(self) -> bool:
        """Do what the plan says; return whether there may be more to do at once."""
        for _ in range(ACTIONS_PER_TURN):
            now_s = time.monotonic()
            if self._files_changed:
                self._offer()
            action = self._plan.next(now_s)
            if action is None:
                return False
            try:
                self._perform(action)
            except MqttError as error:
                log.info("%s", error)
                return False
            if self._plan.wants_files(now_s) and self._state.waiting_size_bytes:
                self._files_changed = True
        return True

    def _offer(self) -> None:
        self._files_changed = False
        awaiting = self._plan.transfers.awaiting()
        if len(awaiting) >= MAX_AWAITING_FILES:
            return
        now_utc_ns = self._now_utc_ns()
        sessions = sorted(self._state.waiting(), key=lambda one: order.rank(one, now_utc_ns))
        self._plan.offer(self._state.candidates(sessions, awaiting, plan.WORK_FILES))

    def _now_utc_ns(self) -> int | None:
        instant = self._clock.now()
        return None if instant.quality == UNSET else instant.utc_ns

    def _perform(self, action: Action) -> None:
        if isinstance(action, plan.SendHello):
            hello = protocol.Hello(certificates=[self._certificate], software=f"liuhen {_version()}")
            self._publish(action, hello)
        elif isinstance(action, plan.Ask):
            self._ask(action)
        elif isinstance(action, plan.SendRecords):
            self._send_records(action)
        elif isinstance(action, plan.SendPiece):
            self._send_piece(action)
        else:
            self._check_file(action)

    def _publish(self, action: Action, message: protocol.Message, end: int | None = None) -> None:
        payload = protocol.encode(message)
        token = self._client.publish(protocol.up_topic(self._subject, type(message)), payload)
        self._plan.published(action, token, len(payload), time.monotonic(), end)

    def _ask(self, question: plan.Ask) -> None:
        nonce = os.urandom(protocol.NONCE_SIZE_BYTES)
        have = protocol.Have(
            nonce=nonce,
            logs=question.logs,
            media=[(key.log, key.sequence) for key in question.media],
            outstanding_size_bytes=self._state.waiting_size_bytes,
        )
        payload = protocol.encode(have)
        token = self._client.publish(protocol.up_topic(self._subject, protocol.Have), payload)
        self._plan.asked(question, nonce, token, len(payload), time.monotonic())

    def _send_records(self, action: plan.SendRecords) -> None:
        row = self._follower.rows[action.log]
        offset = self._state.offset(row, action.first)
        messages: list[bytes] = []
        size = 0
        if offset is not None:
            for item in self._reader.log(action.log).entries(offset):
                expected = action.first + len(messages)
                if isinstance(item, Damage) or item.record.sequence != expected or expected >= action.end:
                    break
                size += len(item.record.message)
                if messages and size > action.size_bytes:
                    break
                messages.append(item.record.message)
        if not messages:
            self._skip_records(action)
            return
        records = protocol.Records(
            log=action.log, records=messages, outstanding_size_bytes=self._state.waiting_size_bytes
        )
        self._publish(action, records, action.first + len(messages))

    def _skip_records(self, action: plan.SendRecords) -> None:
        """Go on behind records that the disk does not give back."""
        row = self._follower.rows[action.log]
        for first, end in self._state.unreadable(row):
            if first <= action.first < end:
                self._plan.logs[action.log].cannot_read(first, end)
                return
        log.error("log %s: record %d cannot be read any more", action.log.hex(), action.first)
        self._state.add_unreadable(row, action.first, action.first + 1)
        self._plan.logs[action.log].cannot_read(action.first, action.first + 1)

    def _send_piece(self, action: plan.SendPiece) -> None:
        key = action.key
        media = self._state.media(key)
        path = None if media is None else self._reader.media_path(key.log, media.media)
        size = action.end - action.offset
        try:
            data = b"" if path is None else _read(path, action.offset, size)
        except OSError as error:
            self._give_up(key, GONE, f"cannot be read: {error.strerror}")
            return
        if len(data) != size:
            self._give_up(key, DAMAGED, "is shorter than its record says")
            return
        self._publish(action, protocol.Piece(log=key.log, sequence=key.sequence, offset=action.offset, data=data))

    def _check_file(self, action: plan.CheckFile) -> None:
        key = action.key
        media = self._state.media(key)
        if media is None:
            self._plan.held(key)
            return
        digest = hashlib.sha256()
        try:
            with self._reader.media_path(key.log, media.media).open("rb") as file:
                while block := file.read(1 << 20):
                    digest.update(block)
        except OSError as error:
            self._give_up(key, GONE, f"cannot be read: {error.strerror}")
            return
        if digest.digest() != media.stored_sha256:
            self._give_up(key, DAMAGED, "is not what its record says")
        else:
            log.warning("the store does not take file %s/%d, which is sound here", key.log.hex(), key.sequence)
            self._plan.checked(key)

    def _give_up(self, key: Key, level: int, why: str) -> None:
        """Stop sending a file that this disk no longer has; its record stays, and says that it existed."""
        log.error("the file of record %s/%d %s; it is not sent any more", key.log.hex(), key.sequence, why)
        self._warn("media-gone" if level == GONE else "media-damaged", present=True)
        self._state.set_level(key, level)
        self._plan.held(key)
        self._files_changed = True

    def _adapt_kernel(self) -> None:
        """Let the kernel hold about one window: more would only delay the records."""
        window = self._plan.rate.window_size_bytes
        size = max(MIN_KERNEL_SIZE_BYTES, min(MAX_KERNEL_SIZE_BYTES, 1 << (window - 1).bit_length()))
        if size != self._kernel_size_bytes:
            self._kernel_size_bytes = size
            self._client.limit_kernel(size)

    # -- telling people --------------------------------------------------------------------------------------------

    def _warn(self, name: str, *, present: bool) -> None:
        (self._warnings.add if present else self._warnings.discard)(name)

    def _write_status(self) -> None:
        with contextlib.suppress(OSError):
            # A full disk must not keep the uplink from what makes room; the old status says by its time that it is old.
            self._write_status_file()

    def _write_status_file(self) -> None:
        now_utc_ns = self._now_utc_ns()
        outlook = order.forecast(self._state.waiting(), self._plan.rate.bytes_per_s, now_utc_ns)
        for name, present in (("late", outlook.late_sessions), ("endangered", outlook.endangered_sessions)):
            if present and name not in self._warnings:
                log.warning("%d sessions are %s: hand-over within 24 hours", present, name)
            self._warn(name, present=bool(present))
        status.write(
            self._state_folder,
            status.Status(
                utc_ns=self._clock.now().utc_ns,
                connected_since_utc_ns=self._connected_since_utc_ns,
                outstanding_records=sum(one.next_sequence - one.acknowledged for one in self._plan.logs.values()),
                outstanding_size_bytes=self._state.waiting_size_bytes,
                rate_bytes_per_s=int(self._plan.rate.bytes_per_s),
                newest_receipt_utc_ns=self._newest_receipt_utc_ns,
                late_sessions=outlook.late_sessions,
                endangered_sessions=outlook.endangered_sessions,
                first_deadline_utc_ns=outlook.first_deadline_utc_ns,
                refused_receipts=self._refused,
                warnings=sorted(self._warnings),
            ),
        )


def _bind(path: Path) -> socket.socket:
    path.unlink(missing_ok=True)
    wake = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        wake.bind(str(path))
    except OSError as error:
        wake.close()
        raise ConfigError(f"{path}: the socket cannot be made: {error}") from error
    return wake


def _read(path: Path, offset: int, size: int) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.pread(descriptor, size, offset)
    finally:
        os.close(descriptor)


def _version() -> str:
    from importlib.metadata import version

    return version("liuhen")
