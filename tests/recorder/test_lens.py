"""From a text that a source read to details and cues: real certificates, examined in a real process of their own."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives import serialization
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from keys.authority import Authority
from keys.certificates import Role
from recorder.issuers import EXAMINE_EVERY_NS, Issuers
from recorder.lens import MAX_WAITING, Lens
from tests.support.cards import DAY_S, NOW_S, Issuer, officer, task
from tests.support.clock import FakeClock

if TYPE_CHECKING:
    from pathlib import Path

    from recorder.evidence.details import SessionDetails

AUTHORITY = Authority.create("试点机关")
ISSUER = Issuer.make(AUTHORITY)
SESSION = b"S" * 16


class Stage:
    """A stream that notes what it is told."""

    name = "body"
    off = False
    photographs = False

    def __init__(self) -> None:
        self.open_session: bytes | None = SESSION
        self.added: list[SessionDetails] = []
        self.when: list[str] = []
        self.cues: list[tuple[str, dict[str, str]]] = []

    def add_details(self, stated: SessionDetails, *, when: str, author: str) -> None:
        assert author == "code"
        self.added.append(stated)
        self.when.append(when)

    def cue(self, text: str, arguments: dict[str, str]) -> None:
        self.cues.append((text, arguments))

    @property
    def told(self) -> list[str]:
        return [text for text, _ in self.cues]


class Bench:
    """A lens with its clock and one stream."""

    def __init__(self, folder: Path, given: tuple[Issuer, ...] = ()) -> None:
        self.clock = FakeClock(utc_ns=NOW_S * 10**9)
        self.stage = Stage()
        authority = folder / "authority.crt"
        authority.write_bytes(AUTHORITY.certificate.public_bytes(serialization.Encoding.PEM))
        paths = []
        for number, one in enumerate(given):
            paths.append(folder / f"codes-{number}.crt")
            paths[-1].write_bytes(one.signer.certificate)
        self.lens = Lens(Issuers([authority], [*paths, folder / "absent.crt"]), self.clock)

    def show(self, text: str) -> None:
        self.lens.read(self.stage, text.encode())

    def later(self, nanoseconds: int) -> None:
        self.clock.advance(nanoseconds / 10**9)
        self.lens.tick()


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@pytest.mark.rule("R6")
def test_a_code_with_its_certificate_needs_nothing_but_the_authority(bench: Bench) -> None:
    bench.show(ISSUER.text(task()))
    (said,) = bench.stage.added
    assert (said.author, said.matter, said.code_dates_judged) == ("code", "on_site_inspection", True)
    assert bench.stage.told == ["cue.code.read"]
    # Its issuer is known from now on, also to codes that only name it.
    bench.show(ISSUER.text(officer(), bare=True))
    assert bench.stage.cues[-1] == ("cue.code.officer", {"name": "王建国"})


def test_a_bare_code_needs_the_certificate_of_its_issuer(bench: Bench, tmp_path: Path) -> None:
    bench.show(ISSUER.text(task(), bare=True))
    assert (bench.stage.added, bench.stage.told) == ([], ["cue.code.bad"])
    provisioned = Bench(tmp_path, (ISSUER,))
    provisioned.show(Issuer.make().text(task()))
    provisioned.show(ISSUER.text(task(), bare=True))  # at once: a stranger's certificate before it does not count
    assert provisioned.stage.told == ["cue.code.bad", "cue.code.read"]


def test_an_unset_clock_accepts_what_is_signed_and_says_so(bench: Bench) -> None:
    bench.clock.quality = "unset"
    bench.show(ISSUER.text(task(valid_from_utc_s=NOW_S + 40 * DAY_S, valid_until_utc_s=NOW_S + 50 * DAY_S)))
    assert [one.code_dates_judged for one in bench.stage.added] == [False]


FOREIGN = {
    "another-authority": lambda: Issuer.make().text(task()),
    "a-receipt-key": lambda: Issuer.make(AUTHORITY, Role.RECEIPT).text(task()),
    "forged": lambda: _forged(ISSUER.text(task())),
    "expired": lambda: ISSUER.text(task(valid_from_utc_s=1, valid_until_utc_s=NOW_S - 1)),
    "not-valid-yet": lambda: ISSUER.text(task(valid_from_utc_s=NOW_S + 2, valid_until_utc_s=NOW_S + DAY_S)),
    "another-store": lambda: ISSUER.text(task(issuer="store-2")),
    "nonsense": lambda: "LIUHEN1:%%%",
    "nothing": lambda: "LIUHEN1:",
    "giant": lambda: "LIUHEN1:" + "A" * 1440,
}


def _forged(text: str) -> str:
    return text[:-1] + ("0" if text[-1] != "0" else "1")


@pytest.mark.parametrize("name", FOREIGN)
def test_what_cannot_be_believed_adds_nothing_and_is_told(bench: Bench, name: str) -> None:
    bench.show(FOREIGN[name]())
    assert (bench.stage.added, bench.stage.told) == ([], ["cue.code.bad"])
    bench.later(EXAMINE_EVERY_NS)
    bench.show(ISSUER.text(task()))
    assert len(bench.stage.added) == 1


def test_ten_codes_at_once_cost_one_examination_and_all_count(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    from recorder import issuers

    examined = []
    real = issuers.identify_apart

    def counted(*arguments: object) -> object:
        examined.append(arguments)
        return real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(issuers, "identify_apart", counted)
    for number in range(10):
        bench.show(ISSUER.text(officer(certificate=f"0605{number}")))
    assert len(bench.stage.added) == 10
    assert len(examined) == 1


def test_a_flood_of_strangers_costs_an_examination_now_and_then_and_a_good_one_is_still_read(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    from recorder import issuers

    examined = []
    real = issuers.identify_apart

    def counted(*arguments: object) -> object:
        examined.append(arguments)
        return real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(issuers, "identify_apart", counted)
    for _ in range(3):
        bench.show(Issuer.make().text(task()))
    bench.show(ISSUER.text(task()))
    for _ in range(MAX_WAITING * 2):
        bench.show(Issuer.make().text(task()))
    assert (len(examined), bench.stage.added) == (1, [])
    assert len(bench.lens._waiting) <= MAX_WAITING
    for turn in range(3):
        bench.later(EXAMINE_EVERY_NS)
        assert len(examined) == turn + 2
    assert len(bench.stage.added) == 1


def test_shown_before_a_session_it_tells_the_matter_of_the_next_start(bench: Bench) -> None:
    bench.stage.open_session = None
    bench.show(ISSUER.text(task()))
    bench.show(ISSUER.text(officer()))
    assert bench.stage.added == []
    assert bench.lens.matter("body") == "on_site_inspection"
    bench.stage.open_session = SESSION
    bench.later(0)
    bench.later(0)
    assert [bool(one.matter) for one in bench.stage.added] == [True, False]
    assert bench.stage.when == ["start", "start"]


@given(st.binary(max_size=1500) | st.text(max_size=90).map(lambda text: b"LIUHEN1:" + text.encode()))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_whatever_a_source_sends_it_is_a_code_or_a_bad_one(bench: Bench, text: bytes) -> None:
    bench.lens.read(bench.stage, text)
    assert bench.stage.added == []


def test_names_are_never_logged(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    bench.show(ISSUER.text(officer()))
    bench.show(ISSUER.text(task(valid_until_utc_s=NOW_S - 9)))
    bench.show(FOREIGN["forged"]())
    assert "OfficerCode" in caplog.text
    for word in ("王建国", "机械", "胜利路", "06050112", "31号"):
        assert word not in caplog.text


@pytest.mark.rule("R10")
def test_what_is_shown_in_an_interval_of_unsuitable_content_is_not_recorded(bench: Bench) -> None:
    bench.show(ISSUER.text(task()))
    count = len(bench.stage.added)
    assert count == 1
    bench.stage.off = True
    bench.show(ISSUER.text(officer()))
    bench.later(EXAMINE_EVERY_NS)
    bench.stage.off = False
    bench.later(EXAMINE_EVERY_NS)
    assert len(bench.stage.added) == count


@pytest.mark.rule("R1")
def test_what_was_shown_before_a_photograph_is_also_of_the_recording_that_follows(bench: Bench) -> None:
    bench.stage.open_session = None
    bench.show(ISSUER.text(task()))
    bench.stage.open_session, bench.stage.photographs = b"P" * 16, True
    bench.later(10**9)
    bench.later(10**9)
    assert bench.stage.when == ["start"]
    bench.stage.open_session, bench.stage.photographs = SESSION, False
    assert bench.lens.matter("body") == task().matter
    bench.later(10**9)
    bench.later(10**9)
    assert bench.stage.when == ["start", "start"]
