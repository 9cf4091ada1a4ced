"""Certificates: roles, chains, authorities of others."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.x509.oid import NameOID

from keys.authority import Authority
from keys.certificates import Anchors, Role, fingerprint, load_der, read_identity
from keys.errors import CertificateError
from tests.support import forge

if TYPE_CHECKING:
    from pathlib import Path

DER = serialization.Encoding.DER


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority.create("鞍山市行政审批局")


def test_every_role_is_read_back(authority: Authority) -> None:
    anchors = Anchors([authority.der])
    for role in Role:
        signer = forge.signer_of(authority, role, "id-0001")
        identity = anchors.identify(signer.certificate, role)
        assert (identity.role, identity.id, identity.kid) == (role, "id-0001", signer.kid)
        assert identity.public_key == signer.public_key
        for other in Role:
            if other is not role:
                with pytest.raises(CertificateError):
                    anchors.identify(signer.certificate, other)


def test_another_authority_is_not_trusted(authority: Authority) -> None:
    other = Authority.create("鞍山市行政审批局")  # the same name, another key
    signer = forge.signer_of(other, Role.SIGNING, "sy-0001")
    with pytest.raises(CertificateError):
        Anchors([authority.der]).identify(signer.certificate, Role.SIGNING, [other.der])


def test_material_is_no_anchor(authority: Authority) -> None:
    signer = forge.signer_of(authority, Role.SIGNING, "sy-0001")
    with pytest.raises(CertificateError):
        Anchors([]).identify(signer.certificate, Role.SIGNING, [authority.der, signer.certificate])
    assert not Anchors([])


def test_a_device_certificate_is_no_authority(authority: Authority) -> None:
    device = Ed25519PrivateKey.generate()
    issued = authority.issue(device.public_key(), Role.SIGNING, "sy-0001")
    # The device's own key signs a certificate, as if it were an authority.
    made = Authority(issued, device).issue(Ed25519PrivateKey.generate().public_key(), Role.RECEIPT, "store-1")
    with pytest.raises(CertificateError):
        Anchors([authority.der]).identify(made.public_bytes(DER), Role.RECEIPT, [issued.public_bytes(DER)])
    with pytest.raises(CertificateError):
        Anchors([issued.public_bytes(DER)])


def test_chain_over_an_authority_in_between(authority: Authority) -> None:
    key = Ed25519PrivateKey.generate()
    start = dt.datetime.now(tz=dt.UTC) - dt.timedelta(days=1)
    middle = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "middle")]))
        .issuer_name(authority.certificate.subject)
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(start)
        .not_valid_after(start + dt.timedelta(days=9))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(authority.key, None)
    )
    leaf = Authority(middle, key).issue(Ed25519PrivateKey.generate().public_key(), Role.SIGNING, "sy-0001")
    anchors = Anchors([authority.der])
    assert anchors.identify(leaf.public_bytes(DER), Role.SIGNING, [middle.public_bytes(DER)]).id == "sy-0001"
    with pytest.raises(CertificateError):
        anchors.identify(leaf.public_bytes(DER), Role.SIGNING)


def test_dates_are_the_callers_question(authority: Authority) -> None:
    start = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
    signer = forge.signer_of(authority, Role.SIGNING, "sy-0001", start, days=10)
    identity = Anchors([authority.der]).identify(signer.certificate, Role.SIGNING)
    first = int(start.timestamp()) * 10**9
    assert identity.valid_at(first)
    assert not identity.valid_at(first - 1)
    assert not identity.valid_at(first + 11 * 86_400 * 10**9)


@pytest.mark.parametrize("name", ["", "ab", "UPPER", "a b c", "x" * 33, "-abc", "abc-", "设备一号", "a/b/c", "a:b:c"])
def test_ids_of_another_form_are_not_issued(name: str, authority: Authority) -> None:
    with pytest.raises(CertificateError):
        authority.issue(Ed25519PrivateKey.generate().public_key(), Role.SIGNING, name)


def test_unreadable_certificates(authority: Authority, tmp_path: Path) -> None:
    for data in (b"", b"x" * 100, b"x" * 5000, authority.der[:-1]):
        with pytest.raises(CertificateError):
            read_identity(data)
    with pytest.raises(CertificateError):
        read_identity(authority.der)
    with pytest.raises(CertificateError):
        load_der(tmp_path / "missing")
    (tmp_path / "text").write_text("no certificate")
    with pytest.raises(CertificateError):
        load_der(tmp_path / "text")


def test_another_kind_of_key_has_no_role(authority: Authority) -> None:
    key = generate_private_key(SECP256R1())
    certificate = authority.issue(key.public_key(), Role.SIGNING, "sy-0001")  # type: ignore[arg-type]
    with pytest.raises(CertificateError):
        read_identity(certificate.public_bytes(DER))


def test_pem_and_der_are_the_same(authority: Authority, tmp_path: Path) -> None:
    (tmp_path / "a.pem").write_bytes(authority.certificate.public_bytes(serialization.Encoding.PEM))
    (tmp_path / "a.der").write_bytes(authority.der)
    assert load_der(tmp_path / "a.pem") == load_der(tmp_path / "a.der") == authority.der
    assert len(fingerprint(authority.der).split()) == 16
