"""The connection to the broker: rate, and what TLS checks while the clock is unset."""

from __future__ import annotations

import datetime as dt
import socket
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from keys.authority import write_site
from tests.support.broker import Broker
from tests.uplink.builder import DEVICE
from tests.uplink.conftest import wait_for
from uplink.mqtt import Endpoint, MqttClient
from uplink.protocol import subject

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SO_MAX_PACING_RATE = 47


@pytest.fixture
def expired(tmp_path: Path) -> Iterator[Endpoint]:
    """A broker whose certificate has expired, of an authority that we trust; and the device's way to it."""
    site = tmp_path / "site"
    write_site(site, "试点机关", [DEVICE])
    authority_key = Ed25519PrivateKey.generate()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "old authority")])
    now = dt.datetime.now(dt.UTC)
    old, over = now - dt.timedelta(days=900), now - dt.timedelta(days=300)

    def issue(subject_name: x509.Name, key: Ed25519PrivateKey, until: dt.datetime, *, ca: bool) -> bytes:
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject_name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(old)
            .not_valid_after(until)
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        )
        if not ca:
            builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        return builder.sign(authority_key, None).public_bytes(Encoding.PEM)

    old_authority = tmp_path / "old.crt"
    old_authority.write_bytes(issue(name, authority_key, now + dt.timedelta(days=900), ca=True))
    key = Ed25519PrivateKey.generate()
    host = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    (site / "broker" / "broker.crt").write_bytes(issue(host, key, over, ca=False))
    (site / "broker" / "broker.key").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    broker = Broker(site, tmp_path / "broker").start()
    own = site / "devices" / DEVICE
    try:
        yield Endpoint(
            host="localhost",
            port=broker.device_port,
            authority=old_authority,
            certificate=own / "transport.crt",
            key=own / "transport.key",
            client_id=subject(DEVICE),
            backoff_max_s=0.2,
        )
    finally:
        broker.stop()


def said(endpoint: Endpoint, caplog: pytest.LogCaptureFixture) -> str:
    """Return the first sentence that a client says of its connection."""
    client = MqttClient(endpoint, [])
    caplog.clear()
    with caplog.at_level("INFO", logger="uplink.mqtt"):
        client.start()
        try:
            wait_for(lambda: caplog.messages, "a sentence")
            return caplog.messages[0]
        finally:
            client.close()


def test_an_unset_clock_skips_the_dates_and_nothing_else(expired: Endpoint, caplog: pytest.LogCaptureFixture) -> None:
    assert "expired" in said(expired, caplog)
    unset = replace(expired, check_dates=False)
    assert "connected to the broker" in said(unset, caplog)
    assert "mismatch" in said(replace(unset, host="127.0.0.1"), caplog)
    own = expired.certificate.parent.parent.parent / "authority.crt"
    assert "not accepted" in said(replace(unset, authority=own), caplog)


@pytest.mark.parametrize(("rate", "in_kernel"), [(None, (1 << 64) - 1), (123_456, 123_456), (1 << 40, 0x7FFFFFFF)])
def test_the_rate_is_set_in_the_kernel_and_taken_away(expired: Endpoint, rate: int | None, in_kernel: int) -> None:
    client = MqttClient(replace(expired, check_dates=False), [])
    client.limit_rate(50_000)
    client.start()
    try:
        wait_for(lambda: client.events(0.1), "connection")
        client.limit_rate(rate)
        connection = client._socket
        value = int.from_bytes(connection.getsockopt(socket.SOL_SOCKET, SO_MAX_PACING_RATE, 8), "little")
        assert value == in_kernel
    finally:
        client.close()
