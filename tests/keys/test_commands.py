"""``liuhen keys`` as a technician meets it."""

from __future__ import annotations

import stat
import subprocess
from typing import TYPE_CHECKING

import pytest

from keys.certificates import Anchors, Role, fingerprint, load_der
from keys.commands import TEXTS
from keys.signer import open_signer
from tests.support.commands import liuhen

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def site(tmp_path: Path) -> Path:
    folder = tmp_path / "site"
    done = liuhen("keys", "site", "--out", folder, "--name", "试点机关", "--device", "sy-0001", "--device", "sy-0002")
    assert done.returncode == 0, done.stderr
    assert "仅供试用" in done.stdout
    return folder


def test_site_has_a_key_for_each_role_and_all_chain_to_its_authority(site: Path) -> None:
    anchors = Anchors.load([site / "authority.crt"])
    for path, role, name in (
        ("devices/sy-0001/signing", Role.SIGNING, "sy-0001"),
        ("devices/sy-0002/transport", Role.TRANSPORT, "sy-0002"),
        ("central/receipt", Role.RECEIPT, "store-1"),
        ("central/codes", Role.CODES, "store-1"),
        ("central/transport", Role.CENTRAL, "store-1"),
        ("broker/broker", Role.BROKER, "broker-1"),
    ):
        certificate = load_der(site / f"{path}.crt")
        assert anchors.identify(certificate, role).id == name
        open_signer(f"file:{site / path}.key", certificate)


def test_private_keys_are_readable_by_their_owner_only(site: Path) -> None:
    keys = list(site.rglob("*.key"))
    assert len(keys) == 8
    assert {stat.S_IMODE(path.stat().st_mode) for path in keys} == {0o600}


def test_openssl_accepts_the_chain_and_the_broker_name(site: Path) -> None:
    subprocess.run(
        ["openssl", "verify", "-CAfile", site / "authority.crt", "-purpose", "sslserver", "-verify_hostname",
         "localhost", site / "broker/broker.crt"],
        check=True,
        capture_output=True,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--device", "SY 1"], "is not an id"),
        (["--device", "sy-0001", "--device", "sy-0001"], "named twice"),
        (["--device", "sy-0001", "--store", "x/../y"], "is not an id"),
    ],
)
def test_a_bad_id_is_refused_and_nothing_is_written(tmp_path: Path, arguments: list[str], problem: str) -> None:
    folder = tmp_path / "site"
    done = liuhen("keys", "site", "--out", folder, "--name", "A", *arguments)
    assert (done.returncode, folder.exists()) == (64, False)
    assert problem in done.stderr


def test_keys_are_never_written_over_others(site: Path) -> None:
    before = (site / "devices/sy-0001/signing.key").read_bytes()
    done = liuhen("keys", "site", "--out", site, "--name", "A", "--device", "sy-0001")
    assert done.returncode == 64
    assert "not an empty folder" in done.stderr
    assert (site / "devices/sy-0001/signing.key").read_bytes() == before


@pytest.mark.parametrize("lang", ["zh", "en"])
@pytest.mark.parametrize(
    ("path", "subject", "role"),
    [
        ("authority.crt", "试点机关", "AUTHORITY"),
        ("devices/sy-0001/signing.crt", "device:sy-0001", "SIGNING"),
        ("broker/broker.crt", "broker:broker-1", "BROKER"),
    ],
)
def test_show_says_whose_it_is_and_what_for(site: Path, lang: str, path: str, subject: str, role: str) -> None:
    done = liuhen("keys", "show", site / path, "--lang", lang)
    assert done.returncode == 0, done.stderr
    assert subject in done.stdout
    assert TEXTS[lang][role] in done.stdout
    assert fingerprint(load_der(site / path)) in done.stdout


def test_show_refuses_what_is_no_certificate(site: Path) -> None:
    done = liuhen("keys", "show", site / "devices/sy-0001/signing.key")
    assert done.returncode == 64
    assert "not a certificate" in done.stderr


def test_both_languages_say_the_same_things() -> None:
    assert TEXTS["zh"].keys() == TEXTS["en"].keys()
