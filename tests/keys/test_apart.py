"""A certificate examined in a process of its own, without waiting: the same answer, and never a wait."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from keys import apart
from keys.apart import Examination, identify_apart
from keys.authority import write_site
from keys.errors import CertificateError
from keys.identity import Identity, Role, read_der

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("keys") / "site"
    write_site(folder, "试点机关", ["demo-0001"])
    return folder


def wait(examination: Examination) -> Identity:
    until = time.monotonic() + 30
    while time.monotonic() < until:
        found = examination.answer()
        if found is not None:
            return found
        time.sleep(0.02)
    raise AssertionError("no answer")


def test_it_answers_as_the_one_that_waits(keys: Path) -> None:
    certificate = read_der(keys / "devices" / "demo-0001" / "signing.crt")
    authority = keys / "authority.crt"
    began = time.monotonic()
    examination = Examination([authority], certificate, Role.SIGNING)
    first = examination.answer()
    assert time.monotonic() - began < 2
    assert (first or wait(examination)) == identify_apart([authority], certificate, Role.SIGNING, [])


def test_another_role_and_no_certificate_are_refused(keys: Path) -> None:
    certificate = read_der(keys / "devices" / "demo-0001" / "signing.crt")
    with pytest.raises(CertificateError, match="RECEIPT"):
        wait(Examination([keys / "authority.crt"], certificate, Role.RECEIPT))
    with pytest.raises(CertificateError):
        wait(Examination([keys / "authority.crt"], b"nothing", Role.SIGNING))


def test_a_child_that_does_not_answer_is_ended(keys: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apart, "_COMMAND", ("sleep", "600"))
    monkeypatch.setattr(apart, "TIMEOUT_S", 0.2)
    certificate = read_der(keys / "devices" / "demo-0001" / "signing.crt")
    examination = Examination([keys / "authority.crt"], certificate, Role.SIGNING)
    assert examination.answer() is None
    with pytest.raises(CertificateError, match="could not be examined"):
        wait(examination)
    assert examination._process.returncode is not None
