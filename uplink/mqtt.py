"""MQTT 5 over TLS 1.3 for devices and stores: a thin layer over paho that hides what paho does not do.

One network thread runs paho; its callbacks only append to a queue. All else happens on the one thread that owns the
:class:`MqttClient`: it takes :meth:`MqttClient.events` and calls :meth:`MqttClient.publish`. Every connection is a new
paho client with a clean start and no session, so nothing is sent again behind the owner's back: what was under way when
a connection ended is reported by that end, and the owner decides.

A PUBACK says that the broker took the message, never that anyone stored it.
"""

from __future__ import annotations

import contextlib
import logging
import os
import random
import select
import socket
import ssl
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from uplink.errors import UplinkError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

log = logging.getLogger(__name__)

NO_MATCHING_SUBSCRIBERS: Final = 0x10
"""PUBACK reason: accepted and thrown away, because nobody listens."""
FIRST_FAILURE: Final = 0x80
"""PUBACK reasons from here on are refusals (MQTT 5, 2.4)."""
BACKOFF_FIRST_S: Final = 1.0
BACKOFF_MAX_S: Final = 120.0
STEADY_AFTER_S: Final = 10.0
"""A connection that lasted so long was a good one: the next back-off starts from the beginning."""
CONNECT_TIMEOUT_S: Final = 20.0

_SO_MAX_PACING_RATE: Final = 47
_UNPACED: Final = -1
"""All bits set: the kernel's word for no limit; setsockopt takes signed numbers."""
_MAX_RATE: Final = 0x7FFFFFFF
_TCP_NOTSENT_LOWAT: Final = 25
_X509_V_FLAG_NO_CHECK_TIME: Final = 0x200000
_PUBLISH_OVERHEAD_BYTES: Final = 5 + 2 + 2 + 8
"""Fixed header, topic length, packet id, and room for the properties that we send."""
_LOOP_TIMEOUT_S: Final = 1.0


class MqttError(UplinkError):
    """A message cannot be handed to the broker now."""


class NotConnectedError(MqttError):
    """There is no connection; the owner hears of the next one by :class:`Connected`."""


class TooLargeError(MqttError):
    """The message is larger than the broker takes; sending it would end the connection, again and again."""


@dataclass(frozen=True)
class Endpoint:
    """A broker, and who we are to it."""

    host: str
    port: int
    authority: Path
    """Certificate file of the authority that the broker's certificate must come from."""
    certificate: Path
    """Our own transport certificate (PEM), with its chain behind it where there is one."""
    key: Path
    client_id: str
    """The common name of the certificate: the broker uses that anyhow."""
    keepalive_s: int = 30
    check_dates: bool = True
    """False while the clock is unset: chain and host name are still checked, dates are not."""
    receive_maximum: int = 20
    """Most messages that the broker may have under way to us."""
    manual_acknowledge: bool = False
    """The owner calls :meth:`MqttClient.acknowledge`, and so holds the broker back."""
    backoff_max_s: float = BACKOFF_MAX_S


@dataclass(frozen=True)
class Connected:
    """A connection stands and the subscriptions are made; from now on publishing is possible."""

    max_packet_size_bytes: int | None
    """Largest packet that the broker takes; None when it names none."""
    client: paho.Client = field(repr=False)


@dataclass(frozen=True)
class Disconnected:
    """The connection ended. Whatever had no :class:`Acknowledged` by now has no known fate."""

    reason: str


@dataclass(frozen=True)
class Received:
    """A message for us."""

    topic: str
    payload: bytes
    client: paho.Client = field(repr=False)
    message_id: int = field(repr=False)


@dataclass(frozen=True)
class Acknowledged:
    """The broker's PUBACK for one publish."""

    token: int
    """What :meth:`MqttClient.publish` returned."""
    reason: int

    @property
    def delivered(self) -> bool:
        """The broker took it and somebody is subscribed. Not: stored."""
        return self.reason < FIRST_FAILURE and self.reason != NO_MATCHING_SUBSCRIBERS


class _Puback(NamedTuple):
    """A PUBACK as the network thread saw it."""

    message_id: int
    reason: int


Event = Connected | Disconnected | Received | Acknowledged


def tls_context(endpoint: Endpoint) -> ssl.SSLContext:
    """Return the TLS 1.3 context of an endpoint.

    Raises:
        MqttError: a key or certificate file cannot be used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    if not endpoint.check_dates:
        context.verify_flags = ssl.VerifyFlags(int(context.verify_flags) | _X509_V_FLAG_NO_CHECK_TIME)
    for path in (endpoint.authority, endpoint.certificate, endpoint.key):
        if not os.access(path, os.R_OK):
            raise MqttError(f"a file for the connection to the broker cannot be read: {path}")
    try:
        context.load_verify_locations(endpoint.authority)
        context.load_cert_chain(endpoint.certificate, endpoint.key)
    except (OSError, ssl.SSLError, ValueError) as error:
        raise MqttError(
            f"key or certificate cannot be used ({endpoint.key}, {endpoint.certificate}): {error}"
        ) from error
    return context


def backoff_ceiling_s(failures: int, max_s: float = BACKOFF_MAX_S) -> float:
    """Return the longest wait after so many failures in a row; the wait itself is drawn from zero to it."""
    return min(max_s, BACKOFF_FIRST_S * 2.0 ** min(failures, 16))


def parse_address(address: str, default_port: int = 8883) -> tuple[str, int]:
    """Split ``host:port`` or ``[v6]:port``.

    Raises:
        MqttError: the port is not a number of that range.
    """
    host, colon, port = address.rpartition(":")
    if not colon or host.endswith(":") or (host.startswith("[") and not host.endswith("]")):
        host, port = address, str(default_port)
    if not port.isdecimal() or not 0 < int(port) < 1 << 16 or not host:
        raise MqttError(f"not a broker address of the form host:port: {address!r}")
    return host.strip("[]"), int(port)


class MqttClient:
    """A connection that comes back by itself. All methods are for the one owner thread."""

    def __init__(self, endpoint: Endpoint, subscriptions: Sequence[str]) -> None:
        """Prepare; :meth:`start` connects.

        Raises:
            MqttError: a key or certificate file cannot be used.
        """
        self._endpoint = endpoint
        self._subscriptions = list(subscriptions)
        tls_context(endpoint)  # a wrong file shows at once, not at the first connection
        self._queue: deque[Event | _Puback] = deque()
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="mqtt", daemon=True)
        self._lock = threading.Lock()
        self._socket: Any = None
        self._options: dict[tuple[int, int], int] = {}
        # The network thread's own.
        self._state: str | None = None
        # The owner's own: what it knows from the events that it has taken.
        self._link: Connected | None = None
        self._under_way: dict[int, int] = {}
        self._tokens = 0

    # -- the owner's side ------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to connect, and go on connecting until :meth:`close`."""
        self._thread.start()

    def close(self, timeout_s: float = 5.0) -> None:
        """Write out what was published, say goodbye to the broker and stop."""
        self._stop.set()
        if self._link is not None:
            self._link.client.disconnect()
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        if not self._thread.is_alive():
            os.close(self._wake)

    def fileno(self) -> int:
        """A descriptor that is readable while events wait, for a selector."""
        return self._wake

    def events(self, timeout_s: float = 0.0) -> list[Event]:
        """Return the events that have come, waiting at most ``timeout_s`` for the first."""
        if not self._queue and timeout_s > 0:
            select.select([self._wake], [], [], timeout_s)
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self._wake)
        found: list[Event] = []
        while self._queue:
            item = self._queue.popleft()
            if isinstance(item, _Puback):
                token = self._under_way.pop(item.message_id, None)
                if token is not None:
                    found.append(Acknowledged(token, item.reason))
                continue
            if isinstance(item, Connected | Disconnected):
                self._link = item if isinstance(item, Connected) else None
                self._under_way.clear()
            found.append(item)
        return found

    @property
    def connected(self) -> bool:
        """Whether publishing is possible now."""
        return self._link is not None

    def publish(self, topic: str, payload: bytes, expiry_s: int | None = None) -> int:
        """Hand a message (QoS 1, not retained) to the network thread and return its token.

        Args:
            topic: topic name.
            payload: content.
            expiry_s: after so long the broker drops it undelivered.

        Raises:
            NotConnectedError: there is no connection; nothing was kept.
            TooLargeError: the broker would end the connection over it.
        """
        size = len(payload) + len(topic.encode()) + _PUBLISH_OVERHEAD_BYTES
        properties = None
        if expiry_s is not None:
            properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
            properties.MessageExpiryInterval = expiry_s
        if self._link is None:
            raise NotConnectedError("not connected to the broker")
        limit = self._link.max_packet_size_bytes
        if limit is not None and size > limit:
            raise TooLargeError(f"a packet of {size} bytes; the broker takes {limit}")
        info = self._link.client.publish(topic, payload, qos=1, properties=properties)
        if info.rc is not MQTTErrorCode.MQTT_ERR_SUCCESS:
            raise NotConnectedError(f"the broker connection does not take messages: {info.rc.name}")
        self._tokens += 1
        self._under_way[info.mid] = self._tokens
        return self._tokens

    def acknowledge(self, message: Received) -> None:
        """Send the PUBACK of a received message (with ``manual_acknowledge``); nothing after its connection ended."""
        if self._link is not None and message.client is self._link.client:
            message.client.ack(message.message_id, 1)

    def limit_kernel(self, size_bytes: int) -> None:
        """Let the kernel hold at most about ``size_bytes`` unsent, so that small messages soon follow large ones.

        Holds for this connection and all later ones.
        """
        self._set_option(socket.SOL_SOCKET, socket.SO_SNDBUF, size_bytes)
        self._set_option(socket.IPPROTO_TCP, _TCP_NOTSENT_LOWAT, size_bytes)

    def limit_rate(self, bytes_per_s: int | None) -> None:
        """Pace what is sent, in bytes a second; None takes the limit away. Holds for later connections too."""
        rate = _UNPACED if bytes_per_s is None else min(bytes_per_s, _MAX_RATE)
        self._set_option(socket.SOL_SOCKET, _SO_MAX_PACING_RATE, rate)

    def _set_option(self, level: int, name: int, value: int) -> None:
        with self._lock:
            self._options[level, name] = value
            if self._socket is not None:
                # A socket that has just died has no options to set; its successor gets them from the table.
                with contextlib.suppress(OSError, ValueError):
                    self._socket.setsockopt(level, name, value)

    # -- the network thread ----------------------------------------------------------------------------------------

    def _post(self, event: Event | _Puback) -> None:
        self._queue.append(event)
        os.eventfd_write(self._wake, 1)

    def _run(self) -> None:
        failures = 0
        while not self._stop.is_set():
            began = time.monotonic()
            reason, stood = self._connect_once()
            if self._stop.is_set():
                break
            self._say(reason)
            failures = 0 if stood and time.monotonic() - began > STEADY_AFTER_S else failures + 1
            # Full jitter: after an outage a fleet must not come back in step.
            self._stop.wait(random.uniform(0, backoff_ceiling_s(failures - 1, self._endpoint.backoff_max_s)))  # noqa: S311

    def _connect_once(self) -> tuple[str, bool]:
        """Run one connection from its first to its last packet; return why it ended and whether it had stood."""
        endpoint = self._endpoint
        link = _Link(self)
        client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=endpoint.client_id,
            protocol=paho.MQTTv5,
            reconnect_on_failure=False,
            manual_ack=endpoint.manual_acknowledge,
        )
        client.connect_timeout = CONNECT_TIMEOUT_S
        client.max_inflight_messages_set(65535)  # the owner keeps the window
        client.on_connect, client.on_disconnect = link.on_connect, link.on_disconnect
        client.on_subscribe, client.on_message, client.on_publish = link.on_subscribe, link.on_message, link.on_publish
        client.on_socket_open, client.on_socket_close = self._on_socket_open, self._on_socket_close
        # With this callback set paho never writes from the thread that publishes.
        client.on_socket_register_write = _ignore
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = 0
        properties.ReceiveMaximum = endpoint.receive_maximum
        try:
            client.tls_set_context(tls_context(endpoint))
            client.connect(endpoint.host, endpoint.port, endpoint.keepalive_s, clean_start=True, properties=properties)
            while client.loop(_LOOP_TIMEOUT_S) is MQTTErrorCode.MQTT_ERR_SUCCESS:
                if time.monotonic() > link.answer_by and not link.stood:
                    link.reason = f"the broker {endpoint.host}:{endpoint.port} does not answer"
                    break
        except ssl.SSLCertVerificationError as error:
            link.reason = f"the broker's certificate is not accepted: {error.verify_message} ({endpoint.host})"
        except ssl.SSLError as error:
            link.reason = f"no TLS 1.3 connection to {endpoint.host}:{endpoint.port}: {error.reason or error}"
        except (OSError, MqttError) as error:
            what = getattr(error, "strerror", None) or str(error) or type(error).__name__
            link.reason = f"the broker {endpoint.host}:{endpoint.port} cannot be reached: {what}"
        left_open = client.socket()
        if left_open is not None:
            left_open.close()
        reason = link.reason or (
            "the connection to the broker was lost"
            if link.stood
            else "the broker ended the connection before it answered; it may not accept our certificate"
        )
        if link.stood:
            self._post(Disconnected(reason))
        return reason, link.stood

    def _on_socket_open(self, client: paho.Client, userdata: Any, sock: Any) -> None:
        del client, userdata
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with self._lock:
            for (level, name), value in self._options.items():
                sock.setsockopt(level, name, value)
            self._socket = sock

    def _on_socket_close(self, client: paho.Client, userdata: Any, sock: Any) -> None:
        del client, userdata
        with self._lock:
            if self._socket is sock:
                self._socket = None

    def _stands(self, client: paho.Client, max_packet_size_bytes: int | None) -> None:
        self._say("")
        self._post(Connected(max_packet_size_bytes, client))

    def _say(self, problem: str) -> None:
        """Log one sentence when the state of the connection changes; ``problem`` is "" when all is well."""
        if problem == self._state:
            return
        self._state = problem
        if problem:
            log.warning("%s; trying again", problem)
        else:
            log.info("connected to the broker %s:%d", self._endpoint.host, self._endpoint.port)


class _Link:
    """The callbacks of one connection; they run on the network thread and only hand on."""

    def __init__(self, owner: MqttClient) -> None:
        self._owner = owner
        self._max_packet_size_bytes: int | None = None
        self.stood = False
        self.reason = ""
        self.answer_by = time.monotonic() + 2 * CONNECT_TIMEOUT_S

    def on_connect(self, client: paho.Client, userdata: Any, flags: Any, reason: Any, properties: Any) -> None:
        del userdata, flags
        if reason.is_failure:
            self.reason = f"the broker refused the connection: {reason}"
            return
        self._max_packet_size_bytes = getattr(properties, "MaximumPacketSize", None)
        if not self._owner._subscriptions:  # noqa: SLF001
            self._stand(client)
            return
        client.subscribe([(topic, SubscribeOptions(qos=1)) for topic in self._owner._subscriptions])  # noqa: SLF001

    def on_subscribe(self, client: paho.Client, userdata: Any, mid: int, reasons: Any, properties: Any) -> None:
        del userdata, mid, properties
        refused = [str(reason) for reason in reasons if reason.is_failure]
        if refused:
            self.reason = f"the broker refused a subscription: {refused[0]}"
            client.disconnect()
            return
        self._stand(client)

    def _stand(self, client: paho.Client) -> None:
        self.stood = True
        self._owner._stands(client, self._max_packet_size_bytes)  # noqa: SLF001

    def on_disconnect(self, client: paho.Client, userdata: Any, flags: Any, reason: Any, properties: Any) -> None:
        del client, userdata, properties
        if not self.reason and flags.is_disconnect_packet_from_server:
            self.reason = f"the broker ended the connection: {reason}"
        elif not self.reason and self.stood:
            self.reason = f"the connection to the broker was lost: {reason}"

    def on_message(self, client: paho.Client, userdata: Any, message: paho.MQTTMessage) -> None:
        del userdata
        self._owner._post(Received(message.topic, bytes(message.payload), client, message.mid))  # noqa: SLF001

    def on_publish(self, client: paho.Client, userdata: Any, mid: int, reason: Any, properties: Any) -> None:
        del client, userdata, properties
        self._owner._post(_Puback(mid, reason.value))  # noqa: SLF001


def _ignore(*_: object) -> None:
    """Stand where paho asks for a callback that has nothing to do."""
