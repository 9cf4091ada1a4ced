"""Codes for the lens: one reading only, small enough for a QR code, believed only from the right key in time."""

from __future__ import annotations

import secrets
import struct

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keys import cbor, cose
from keys.authority import Authority
from keys.certificates import Anchors, Role
from keys.errors import CertificateError
from recorder.evidence import details, lens_code
from recorder.evidence.details import Person
from recorder.evidence.lens_code import LensCodeError, OfficerCode, TaskCode
from tests.support.cards import DAY_S, NOW_S, Issuer, officer, squares, task

ISSUER = Issuer.make()
NOW_NS = NOW_S * 10**9


def message(payload: object, issuer: Issuer = ISSUER, chain: tuple[bytes, ...] = ()) -> bytes:
    return cose.sign(payload if isinstance(payload, bytes) else cbor.encode(payload), issuer.signer, chain)


def fields(code: TaskCode | OfficerCode | None = None, **changes: object) -> dict[str, object]:
    code = code or task()
    kind = "task-code" if isinstance(code, TaskCode) else "officer-code"
    return lens_code.plain(code) | {"v": 1, "type": kind} | changes


@pytest.mark.parametrize("bare", [False, True])
@pytest.mark.parametrize("code", [task(), officer()], ids=["task", "officer"])
def test_a_code_comes_back_as_it_was_signed(code: TaskCode | OfficerCode, bare: bool) -> None:
    text = ISSUER.text(code, bare=bare)
    shown = lens_code.read(text)
    lens_code.believe(shown, ISSUER.identity, NOW_NS)
    assert shown.code == code
    assert (shown.signed.chain == ()) is bare
    assert lens_code.to_text(shown.message) == text


def test_the_largest_code_fits_version_25_with_level_m() -> None:
    largest = lens_code.to_text(secrets.token_bytes(lens_code.MAX_MESSAGE_SIZE_BYTES))
    assert len(largest) == lens_code.MAX_TEXT_CHARACTERS
    assert len(squares(largest)) == 17 + 4 * 25 + 8


@given(st.binary(max_size=300))
def test_any_bytes_survive_as_text(data: bytes) -> None:
    assert lens_code.from_text(lens_code.to_text(data)) == data


@pytest.mark.parametrize(("data", "text"), [(b"AB", "BB8"), (b"Hello!!", "%69 VD92EX0"), (b"ietf!", "QED8WEX0")])
def test_the_text_is_base45_as_rfc_9285_has_it(data: bytes, text: str) -> None:
    assert lens_code.to_text(data) == lens_code.PREFIX + text


@given(st.text(alphabet=lens_code._ALPHABET + "äa\n", max_size=80))
def test_any_text_is_a_message_or_refused(text: str) -> None:
    try:
        data = lens_code.from_text(lens_code.PREFIX + text)
    except LensCodeError:
        return
    assert lens_code.to_text(data) == lens_code.PREFIX + text


@given(st.binary(max_size=200))
def test_any_signed_payload_is_a_code_or_refused(payload: bytes) -> None:
    with pytest.raises(LensCodeError):
        lens_code.read(lens_code.to_text(message(payload)))


def _twice() -> bytes:
    """A payload with a key twice, the second time with another matter."""
    plain = cbor.encode(fields())
    assert 0xA0 < plain[0] < 0xB7
    return struct.pack("B", plain[0] + 1) + plain[1:] + cbor.encode("matter") + cbor.encode("hearing")


UNREADABLE = {
    "a-key-twice": lambda: message(_twice()),
    "a-long-form-of-a-number": lambda: message(b"\xa1\x61v\x18\x01"),
    "an-endless-map": lambda: message(b"\xbf\xff"),
    "a-fraction": lambda: message(cbor2.dumps(fields() | {"valid_from_utc_s": 1.5}, canonical=True)),
    "another-version": lambda: message(fields(v=2)),
    "a-receipt": lambda: message({"v": 1, "type": "records-receipt", "store": "store-1"}),
    "no-type": lambda: message({"v": 1}),
    "a-text-for-a-number": lambda: message(fields(valid_until_utc_s="2030")),
    "a-matter-that-is-none": lambda: message(fields(matter="revenge")),
    "a-role-that-is-none": lambda: message(fields(people=[{"role": "friend", "name": "x"}])),
    "an-end-before-the-beginning": lambda: message(fields(valid_until_utc_s=1)),
    "a-time-after-all-times": lambda: message(fields(valid_until_utc_s=1 << 60)),
    "a-long-text": lambda: message(fields(place="x" * 201)),
    "a-text-of-nothing": lambda: message(fields(place=" ")),
    "a-sign-that-turns-the-line": lambda: message(fields(place="12\u202e21")),
    "two-lines": lambda: message(fields(officer(), name="王\n李")),
    "seventeen-officers": lambda: message(fields(officers=[str(number) for number in range(17)])),
    "another-certificate-along": lambda: message(fields(), chain=(Issuer.make().signer.certificate,)),
    "without-a-tag": lambda: cbor2.dumps(cbor2.loads(message(fields())).value, canonical=True),
    "a-byte-behind": lambda: message(fields()) + b"\0",
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_what_is_not_exactly_a_code_is_refused(name: str) -> None:
    data = UNREADABLE[name]()
    assert len(data) <= lens_code.MAX_MESSAGE_SIZE_BYTES, "refused for its length alone"
    with pytest.raises(LensCodeError):
        lens_code.read(lens_code.to_text(data))


def test_a_field_of_a_later_version_does_no_harm() -> None:
    shown = lens_code.read(lens_code.to_text(message(fields(weather="rain"))))
    assert shown.code == task()


def test_too_much_for_one_code_is_refused_when_it_is_made_and_when_it_is_read() -> None:
    long = task(place="路" * 100, unit="科" * 100)
    with pytest.raises(LensCodeError, match="do not fit"):
        lens_code.sign(long, ISSUER.signer, carries_certificate=True)
    with pytest.raises(LensCodeError):
        lens_code.read(lens_code.to_text(message(fields(long), chain=(ISSUER.signer.certificate,))))


def test_an_error_never_repeats_what_a_code_says() -> None:
    for data in (message(fields(officer(), name="王\n建国")), message(fields(place={"王建国": 1})), message(_twice())):
        with pytest.raises(LensCodeError) as caught:
            lens_code.read(lens_code.to_text(data))
        assert "王" not in str(caught.value)
        assert "hearing" not in str(caught.value)


def test_a_changed_bit_is_not_believed() -> None:
    text = ISSUER.text(task(), bare=True)
    good = lens_code.from_text(text)
    for at in range(0, len(good), 7):
        changed = bytearray(good)
        changed[at] ^= 1
        with pytest.raises(LensCodeError):
            lens_code.believe(lens_code.read(lens_code.to_text(bytes(changed))), ISSUER.identity, NOW_NS)


def test_another_key_and_another_store_are_not_believed() -> None:
    shown = lens_code.read(ISSUER.text(task()))
    with pytest.raises(LensCodeError, match="another key"):
        lens_code.believe(shown, Issuer.make().identity, NOW_NS)
    with pytest.raises(LensCodeError, match="another store"):
        lens_code.believe(lens_code.read(ISSUER.text(task(issuer="store-2"))), ISSUER.identity, NOW_NS)


@pytest.mark.parametrize(
    ("seconds", "problem"),
    [(-DAY_S - 1, "not valid yet"), (-DAY_S, None), (0, None), (DAY_S + 0.999, None), (DAY_S + 1, "no longer valid")],
)
def test_a_code_counts_from_its_first_second_to_its_last(seconds: float, problem: str | None) -> None:
    middle = NOW_S + 2 * DAY_S  # the issuer's certificate begins now
    shown = lens_code.read(ISSUER.text(task(valid_from_utc_s=middle - DAY_S, valid_until_utc_s=middle + DAY_S)))
    now_ns = middle * 10**9 + round(seconds * 10**9)
    if problem is None:
        lens_code.believe(shown, ISSUER.identity, now_ns)
        return
    with pytest.raises(LensCodeError, match=problem):
        lens_code.believe(shown, ISSUER.identity, now_ns)


def test_with_an_unset_clock_dates_are_not_judged_and_the_signature_is() -> None:
    shown = lens_code.read(ISSUER.text(task(valid_from_utc_s=1, valid_until_utc_s=2)))
    lens_code.believe(shown, ISSUER.identity, None)
    forged = shown._replace(signed=shown.signed._replace(signature=bytes(64)))
    with pytest.raises(LensCodeError, match="cannot be believed"):
        lens_code.believe(forged, ISSUER.identity, None)


def test_an_issuer_whose_certificate_has_ended_is_not_believed() -> None:
    issuer = Issuer.make(days=1)
    shown = lens_code.read(issuer.text(task(valid_until_utc_s=NOW_S + 9 * DAY_S)))
    with pytest.raises(LensCodeError, match="certificate"):
        lens_code.believe(shown, issuer.identity, NOW_NS + 5 * DAY_S * 10**9)


@pytest.mark.parametrize("role", [Role.RECEIPT, Role.OPENING])
def test_a_key_for_something_else_issues_no_codes(role: Role) -> None:
    other = Issuer.make(role=role)
    with pytest.raises(CertificateError):
        Anchors([other.authority_der]).identify(other.signer.certificate, Role.CODES)
    with pytest.raises(CertificateError):
        Anchors([Authority.create("A").der]).identify(ISSUER.signer.certificate, Role.CODES)


def test_details_hold_what_the_code_says_and_the_code_itself() -> None:
    shown = lens_code.read(ISSUER.text(task()))
    said = details.decode(details.encode(lens_code.details_of(shown, dates_judged=True)))
    assert (said.author, said.matter, said.case) == ("code", "on_site_inspection", "辽鞍市监检〔2026〕31号")
    assert said.people == [Person(role="party", name="鞍山某某机械有限公司")]
    assert [one.certificate for one in said.officers] == ["06050112", "06050113"]
    assert said.code is not None
    lens_code.believe(lens_code.read(lens_code.to_text(said.code)), ISSUER.identity, NOW_NS)
    named = lens_code.details_of(lens_code.read(ISSUER.text(officer())), dates_judged=False)
    assert [(one.certificate, one.name) for one in named.officers] == [("06050112", "王建国")]
    assert named.code_dates_judged is False
