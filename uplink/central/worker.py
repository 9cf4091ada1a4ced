"""``liuhen central run``: takes what the broker delivers, batch by batch, and answers with receipts.

One thread owns archive and connection. A batch is what has arrived meanwhile: one transaction, one sync, then the
answers. Nothing is answered before the commit; what a failed commit took back was never promised.
"""

from __future__ import annotations

import logging
import re
import signal
import threading
import time
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Final

from keys.certificates import Anchors, Role, load_der
from keys.signer import open_signer
from recorder import notify
from recorder.errors import ConfigError
from uplink import protocol
from uplink.central import embedded
from uplink.central.errors import RefusedError, StoreFullError, UnknownSignerError
from uplink.central.grants import GrantBook, Level
from uplink.central.ingest import Answers, Ingest, device_of
from uplink.central.receipts import Writer
from uplink.errors import ProtocolError
from uplink.mqtt import Connected, Endpoint, MqttClient, MqttError, Received, parse_address

if TYPE_CHECKING:
    from collections.abc import Iterable

    from keys.certificates import Identity
    from keys.signer import Signer
    from uplink.central.config import CentralConfig

log = logging.getLogger(__name__)

DEADLINE_NS: Final = 24 * 3600 * 10**9
MAX_BATCH_MESSAGES: Final = 64
RECEIVE_MAXIMUM: Final = 64
"""Most messages under way from the broker: it bounds this process's memory."""
ANSWER_EXPIRY_S: Final = 60
WAIT_S: Final = 1.0
HOLE_ALARM_S: Final = 60.0
_LATE_NS: Final = 10**19
"""Added to deadlines that have passed: late media come behind those still in time."""


def open_receipt_key(config: CentralConfig) -> tuple[Signer, Identity, Anchors]:
    """Open the store's receipt key and prove its certificate.

    Raises:
        KeysError: key or certificate cannot be used, or the certificate is none of a store.
    """
    certificate = load_der(Path(config.keys.certificate))
    anchors = Anchors.load(Path(name) for name in config.keys.authority)
    identity = anchors.identify(certificate, Role.RECEIPT)
    return open_signer(config.keys.receipt, certificate), identity, anchors


def parse_buckets(text: str) -> tuple[int, int]:
    """Return first and last bucket of a range such as ``00-7f``.

    Raises:
        ConfigError: not a range of two-digit hex numbers.
    """
    found = re.fullmatch(r"([0-9a-f]{2})-([0-9a-f]{2})", text)
    if found is None or found[1] > found[2]:
        raise ConfigError(f"intake.buckets: {text!r} is not a range such as 00-ff")
    return int(found[1], 16), int(found[2], 16)


def revoked_kids(names: Iterable[str]) -> set[bytes]:
    """Return the fingerprints in a configuration as bytes.

    Raises:
        ConfigError: one of them is none.
    """
    try:
        kids = {bytes.fromhex(name) for name in names}
    except ValueError as error:
        raise ConfigError(f"keys.revoked: {error}") from None
    if any(len(kid) != 32 for kid in kids):  # noqa: PLR2004
        raise ConfigError("keys.revoked: a fingerprint has 64 hex digits")
    return kids


class Patience:
    """Counts what a device sends that cannot be accepted; beyond a bound it is not heard for a while."""

    def __init__(self, most_per_minute: int) -> None:
        self._most = most_per_minute
        self._bad: dict[str, deque[float]] = {}
        self._muted: dict[str, float] = {}

    def hears(self, device: str, now_s: float) -> bool:
        """Tell whether messages of a device are looked at."""
        until = self._muted.get(device)
        if until is None:
            return True
        if until > now_s:
            return False
        del self._muted[device]
        return True

    def bad(self, device: str, now_s: float) -> bool:
        """Count a bad message; return whether the device has just lost its hearing."""
        times = self._bad.setdefault(device, deque())
        times.append(now_s)
        while times[0] < now_s - 60:
            times.popleft()
        if len(times) <= self._most:
            return False
        del self._bad[device]
        self._muted[device] = now_s + 60
        return True


class Worker:
    """One central worker."""

    def __init__(self, config: CentralConfig) -> None:
        """Open store and keys; nothing is connected yet.

        Raises:
            StoreError: the store cannot be opened, or another worker serves it.
            KeysError: a key or certificate cannot be used.
            MqttError: the transport key cannot be used.
        """
        intake = config.intake
        signer, identity, anchors = open_receipt_key(config)
        folder = Path(config.store.folder)
        first, last = parse_buckets(intake.buckets)
        embedded.make(folder, identity.id)
        self._buckets = range(first, last + 1)
        self._reserve_size_bytes = config.store.reserve_size_mib << 20
        self._max_staging_size_bytes = config.store.max_staging_size_mib << 20
        self._archive = embedded.EmbeddedArchive(folder, identity.id)
        self._archive.lease(first, last)
        self._archive.sweep()
        device_size = intake.grant_size_mib << 20
        self._ingest = Ingest(self._archive, anchors, revoked_kids(config.keys.revoked), 2 * device_size)
        self._writer = Writer(self._archive, signer, identity.id, config.store.storage)
        self._grants = GrantBook(device_size, intake.grant_total_mib << 20, intake.grant_seconds)
        self._patience = Patience(intake.max_bad_per_minute)
        self._outstanding: dict[str, int] = {}
        self._holes: dict[tuple[str, bytes], float] = {}
        self._full = False
        self._client = MqttClient(_endpoint(config), _topics(first, last))
        log.info(
            "store %s in %s, buckets %s, certificate %s", identity.id, folder, intake.buckets, identity.kid.hex()[:16]
        )

    def run(self, stop: threading.Event) -> None:
        """Work until ``stop`` is set.

        Raises:
            StoreFailedError: the disk failed; only a new start may go on.
            LeaseLostError: another worker has taken over.
        """
        self._client.start()
        notify.ready(f"store {self._writer.store}")
        try:
            while not stop.is_set():
                events = self._client.events(WAIT_S)
                if any(isinstance(event, Connected) for event in events):
                    self._announce()
                received = [event for event in events if isinstance(event, Received)]
                for start in range(0, len(received), MAX_BATCH_MESSAGES):
                    self._batch(received[start : start + MAX_BATCH_MESSAGES])
                notify.watchdog()
        finally:
            self._client.close()
            self._archive.close()
            log.info("store %s: ended", self._writer.store)

    def _announce(self) -> None:
        """Tell every device that is known here that the store works: what it receipted once may be gone from it."""
        payload = protocol.encode(protocol.Started())
        for device in self._archive.known_devices():
            subject = protocol.subject(device)
            if int(protocol.bucket(subject), 16) in self._buckets:
                self._publish(protocol.down_topic(subject, protocol.Started), payload)

    def _publish(self, topic: str, payload: bytes) -> None:
        try:
            self._client.publish(topic, payload, ANSWER_EXPIRY_S)
        except MqttError as error:
            log.info("an answer was not sent (%s); the device will ask again", error)

    # -- one batch -------------------------------------------------------------------------------------------------

    def _batch(self, received: list[Received]) -> None:
        answers: dict[str, Answers] = {}
        try:
            self._archive.begin()
            for message in received:
                self._take(message, answers)
            self._ingest.attest_complete(self._writer)
            outgoing = self._compose(answers)
            self._archive.commit()
        except StoreFullError as error:
            # Nothing of the batch was kept, so nothing is said of it: the devices will ask.
            self._archive.rollback()
            self._say_full(error)
            outgoing = []
        except BaseException:
            self._archive.rollback()
            raise
        for topic, payload in outgoing:
            self._publish(topic, payload)
        for message in received:
            self._client.acknowledge(message)

    def _take(self, message: Received, answers: dict[str, Answers]) -> None:
        now_s, now_utc_ns = time.monotonic(), time.time_ns()
        device = ""
        try:
            subject, form = protocol.parse_up_topic(message.topic)
            if int(protocol.bucket(subject), 16) not in self._buckets:
                return  # another worker's
            device = device_of(subject)
            if not self._patience.hears(device, now_s):
                return
            content = protocol.decode(message.payload, form)
            self._dispatch(device, content, now_utc_ns, answers.setdefault(device, Answers()))
        except UnknownSignerError as error:
            answers[device].who = error.kid
        except (ProtocolError, RefusedError) as error:
            log.warning("refused from %s: %s", device or message.topic[:80], error)
            if device and self._patience.bad(device, now_s):
                log.warning("device %s: too much that cannot be accepted; not heard for a minute", device)
                self._archive.alarm(now_utc_ns, device, "flood", "too much that cannot be accepted")

    def _dispatch(self, device: str, content: protocol.Message, now_utc_ns: int, answers: Answers) -> None:
        if isinstance(content, protocol.Piece):
            self._archive.heard(device, now_utc_ns, None, None)
            if self._archive.free_size_bytes() <= self._reserve_size_bytes:
                # What is left is for records and for answers; the piece will come again.
                self._say_full("less room than the reserve")
                return
            try:
                self._ingest.piece(device, content, now_utc_ns, answers)
            except StoreFullError as error:
                if not self._archive.in_batch:
                    raise
                self._say_full(error)  # records of the batch may still find room
        elif isinstance(content, protocol.Records):
            self._outstanding[device] = content.outstanding_size_bytes
            new = self._ingest.records(device, content, now_utc_ns, answers)
            log.debug("device %s: %d new records of log %s", device, new, content.log.hex())
        elif isinstance(content, protocol.Have):
            self._outstanding[device] = content.outstanding_size_bytes
            self._ingest.have(device, content, now_utc_ns, answers)
        elif isinstance(content, protocol.Hello):
            self._ingest.hello(device, content, now_utc_ns)

    # -- answers ---------------------------------------------------------------------------------------------------

    def _compose(self, answers: dict[str, Answers]) -> list[tuple[str, bytes]]:
        outgoing: list[tuple[str, bytes]] = []
        for device, answer in answers.items():
            subject = protocol.subject(device)
            level = self._level(device, asked=answer.holdings is not None)
            messages = self._writer.messages(device, answer, level)
            if level is not None and answer.holdings is None:
                messages.append(protocol.Grant(size_bytes=level.size_bytes, seconds=level.seconds))
            outgoing += [(protocol.down_topic(subject, type(one)), protocol.encode(one)) for one in messages]
            for log_id in answer.logs:
                self._watch_holes(device, log_id)
        return outgoing

    def _level(self, device: str, *, asked: bool) -> Level | None:
        """Return a device's new grant, where it asked or an old one runs out."""
        now_s = time.monotonic()
        if not asked and not (self._outstanding.get(device, 1) > 0 and self._grants.renewal_due(device, now_s)):
            return None
        now_utc_ns = time.time_ns()
        base = self._archive.earliest_deadline_base(device)
        deadline = (now_utc_ns if base is None else base) + DEADLINE_NS
        if deadline < now_utc_ns:
            deadline += _LATE_NS
        return self._grants.level(device, deadline, now_s, room=self._room())

    def _room(self) -> bool:
        room = self._archive.free_size_bytes() > self._reserve_size_bytes
        room = room and self._archive.staged_size_bytes() < self._max_staging_size_bytes
        if room and self._full:
            self._full = False
            log.info("store %s: there is room again", self._writer.store)
        elif not room and not self._full:
            self._say_full("less room than the reserve, or too many unfinished files")
        return room

    def _say_full(self, why: object) -> None:
        if not self._full:
            self._full = True
            log.error("store %s is full (%s); nothing more is receipted until there is room", self._writer.store, why)

    def _watch_holes(self, device: str, log_id: bytes) -> None:
        """Alarm when records stay missing in front of others: what was held once may be gone from here."""
        position, now_s = self._archive.position(device, log_id), time.monotonic()
        if not position.holes:
            self._holes.pop((device, log_id), None)
            return
        since = self._holes.setdefault((device, log_id), now_s)
        if now_s - since > HOLE_ALARM_S:
            first, last = position.holes[0]
            detail = f"log {log_id.hex()}: records {first} to {last} are missing"
            self._archive.alarm(time.time_ns(), device, "hole", detail)
            self._holes[device, log_id] = now_s + HOLE_ALARM_S * 60
            log.warning("device %s: %s", device, detail)


def _endpoint(config: CentralConfig) -> Endpoint:
    from keys.certificates import read_identity

    host, port = parse_address(config.intake.broker)
    certificate = Path(config.intake.certificate)
    return Endpoint(
        host=host,
        port=port,
        authority=Path(config.intake.broker_authority),
        certificate=certificate,
        key=Path(config.intake.key),
        client_id=read_identity(load_der(certificate)).subject,
        keepalive_s=config.intake.keepalive_s,
        receive_maximum=RECEIVE_MAXIMUM,
        manual_acknowledge=True,
        backoff_max_s=10.0,
    )


def _topics(first: int, last: int) -> list[str]:
    if (first, last) == (0, 255):
        return [f"{protocol.ROOT}/up/+/+/+"]
    return [f"{protocol.ROOT}/up/{bucket:02x}/+/+" for bucket in range(first, last + 1)]


def run(config: CentralConfig) -> None:
    """Run a worker until SIGTERM or SIGINT."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    Worker(config).run(stop)
