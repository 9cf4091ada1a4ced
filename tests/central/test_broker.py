from __future__ import annotations

import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from recorder.config import load
from recorder.errors import ConfigError
from tests.central.support import Device
from tests.support.broker import Broker
from uplink import protocol
from uplink.central import broker as rendered
from uplink.central.config import CentralConfig
from uplink.mqtt import (
    NO_MATCHING_SUBSCRIBERS,
    Acknowledged,
    Disconnected,
    Endpoint,
    MqttClient,
    Received,
    TooLargeError,
    backoff_ceiling_s,
    parse_address,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
NOT_AUTHORISED = 0x87
SO_MAX_PACING_RATE = 47
TCP_NOTSENT_LOWAT = 25


@pytest.fixture
def broker(site: Path, tmp_path: Path) -> Iterator[Broker]:
    made = Broker(site, tmp_path / "broker").start()
    yield made
    made.stop()


def endpoint(site: Path, port: int, folder: str, name: str, **more: object) -> Endpoint:
    pair = site / folder
    return Endpoint(
        "localhost",
        port,
        site / "authority.crt",
        pair / "transport.crt",
        pair / "transport.key",
        name,
        backoff_max_s=0.2,
        **more,  # type: ignore[arg-type]
    )


def test_the_example_is_what_the_command_writes() -> None:
    config = load(ROOT / "config" / "central.toml", CentralConfig)
    assert config.broker is not None
    for name, content in rendered.render(config.broker, Path("/etc/mosquitto/liuhen")).items():
        assert (ROOT / "config" / "mosquitto" / name).read_text() == content


@pytest.mark.parametrize("name", ["store-1", "central:a b", "central:a\nuser x", "central:+"])
def test_names_that_would_change_the_access_list(name: str) -> None:
    with pytest.raises(ConfigError):
        rendered.central_acl([name])


@pytest.mark.parametrize(
    ("address", "found"),
    [("a.example:1", ("a.example", 1)), ("[::1]:8883", ("::1", 8883)), ("a.example", ("a.example", 8883))],
)
def test_addresses(address: str, found: tuple[str, int]) -> None:
    assert parse_address(address) == found


def test_a_device_writes_and_reads_below_its_own_name_only(site: Path, broker: Broker) -> None:
    topics = [f"{protocol.ROOT}/up/+/+/+"]
    central = MqttClient(endpoint(site, broker.central_port, "central", "central:store-1"), topics)
    central.start()
    with Device(site, broker.device_port) as device, Device(site, broker.device_port, "sy-0002") as other:
        central.events(5)
        device.client.publish(f"{protocol.ROOT}/up/aa/device:sy-0001/have", b"own")
        device.client.publish(f"{protocol.ROOT}/up/aa/device:sy-0002/have", b"another's")
        device.client.publish(f"{protocol.ROOT}/down/device:sy-0002/grant", b"a store's")
        device.wait(lambda: len(device.reasons) == 3)
        assert device.reasons[1:] == [NOT_AUTHORISED, NOT_AUTHORISED]
        other.poll(0.2)
        assert [one.payload for one in central.events(1) if isinstance(one, Received)] == [b"own"]
        assert other.heard == []
    central.close()


def test_a_device_has_no_rights_on_the_stores_listener(site: Path, broker: Broker) -> None:
    where = endpoint(site, broker.central_port, "devices/sy-0001", "central:store-1")
    intruder = MqttClient(where, [f"{protocol.ROOT}/up/+/+/+"])
    intruder.start()
    with Device(site, broker.device_port, "sy-0002") as device:
        intruder.events(5)
        device.client.publish(f"{protocol.ROOT}/up/aa/device:sy-0002/have", b"secret")
        device.wait(lambda: device.reasons)
        intruder.publish(f"{protocol.ROOT}/down/device:sy-0002/grant", b"forged")
        found = []
        while not found:
            found = [one for one in intruder.events(5) if isinstance(one, Acknowledged)]
        assert found[0].reason == NOT_AUTHORISED
        device.poll(0.2)
        assert device.heard == []
        assert not [one for one in intruder.events(0.2) if isinstance(one, Received)]
    intruder.close()


def test_nobody_takes_the_place_of_another_by_client_id(site: Path, broker: Broker) -> None:
    with Device(site, broker.device_port) as device:
        thief = MqttClient(endpoint(site, broker.device_port, "devices/sy-0002", "device:sy-0001"), [])
        thief.start()
        assert thief.events(5)
        device.send(protocol.Have(nonce=bytes(16), logs=[], outstanding_size_bytes=0))
        device.wait(lambda: device.reasons)
        assert device.connections == 1
        thief.close()


def test_a_certificate_of_another_authority_is_not_let_in(
    site: Path, broker: Broker, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    from keys.authority import write_site

    foreign = tmp_path / "foreign"
    write_site(foreign, "冒名机关", ["sy-0001"])
    where = endpoint(foreign, broker.device_port, "devices/sy-0001", "device:sy-0001")
    for authority, message in (
        (site / "authority.crt", "certificate"),
        (foreign / "authority.crt", "the broker's certificate is not accepted"),
    ):
        caplog.clear()
        client = MqttClient(Endpoint(**{**where.__dict__, "authority": authority}), [])
        client.start()
        assert client.events(1.5) == []
        client.close()
        said = [record.message for record in caplog.records if record.name == "uplink.mqtt"]
        assert len(said) == 1, "once a change of state"
        assert message in said[0]


def test_a_broker_that_dies_and_comes_back(site: Path, broker: Broker) -> None:
    with Device(site, broker.device_port) as device:
        broker.kill()
        ended = []
        while not ended:
            ended = [one for one in device.client.events(5) if isinstance(one, Disconnected)]
        broker.start()
        device.wait(lambda: device.connections == 2)
        with pytest.raises(TooLargeError):
            device.client.publish("x", bytes(2 << 20))
        device.send(protocol.Have(nonce=bytes(16), logs=[], outstanding_size_bytes=0))
        device.wait(lambda: device.reasons)


def test_nobody_listening_is_told_and_manual_acknowledgement_holds_the_broker_back(site: Path, broker: Broker) -> None:
    with Device(site, broker.device_port) as device:
        device.send(protocol.Have(nonce=bytes(16), logs=[], outstanding_size_bytes=0))
        device.wait(lambda: device.reasons)
        assert device.reasons == [NO_MATCHING_SUBSCRIBERS]
        assert not Acknowledged(1, NO_MATCHING_SUBSCRIBERS).delivered
        where = endpoint(
            site, broker.central_port, "central", "central:store-1", receive_maximum=3, manual_acknowledge=True
        )
        central = MqttClient(where, [f"{protocol.ROOT}/up/+/+/+"])
        central.start()
        assert central.events(5)
        for _ in range(8):
            device.send(protocol.Have(nonce=bytes(16), logs=[], outstanding_size_bytes=0))
        device.wait(lambda: len(device.reasons) == 9)
        found = _received(central, 3)
        assert [one for one in central.events(0.3) if isinstance(one, Received)] == [], "three are under way, no more"
        for message in found:
            central.acknowledge(message)
        assert len(_received(central, 3)) >= 3
        central.close()


def _received(client: MqttClient, count: int) -> list[Received]:
    found: list[Received] = []
    deadline = time.monotonic() + 10
    while len(found) < count:
        assert time.monotonic() < deadline
        found += [one for one in client.events(0.2) if isinstance(one, Received)]
    return found


def test_limits_of_the_socket_hold_for_later_connections_too(site: Path, broker: Broker) -> None:
    with Device(site, broker.device_port) as device:
        device.client.limit_rate(123_456)
        device.client.limit_kernel(32 << 10)
        for turn in (1, 2):
            device.wait(lambda turn=turn: device.connections == turn)
            opened = device.client._socket
            assert opened.getsockopt(socket.SOL_SOCKET, SO_MAX_PACING_RATE) == 123_456
            assert opened.getsockopt(socket.IPPROTO_TCP, TCP_NOTSENT_LOWAT) == 32 << 10
            assert opened.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            broker.kill()
            broker.start()


def test_the_wait_before_a_new_connection_grows_to_a_bound() -> None:
    assert [backoff_ceiling_s(failures) for failures in (0, 1, 3, 7, 400)] == [1, 2, 8, 120, 120]
