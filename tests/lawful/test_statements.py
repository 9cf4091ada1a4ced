"""What officers state beside a recording: not recorded, could not be, later hand-over, return, later details."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from recorder.control import RefusedError
from recorder.evidence import policy as policies
from recorder.evidence import records
from tests.lawful.field import AGENCIES, WORN, Field, policy_of
from tests.support.commands import liuhen
from tests.support.session import stream_records
from tests.support.shifted import Shift
from tests.support.site import Site

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from recorder.evidence.records import Record

OFFICERS = ("--officer", "06050112", "--officer", "06050113")
STATED = {
    "author": "06050112",
    "matter": "on_site_inspection",
    "officers": [{"certificate": "06050112"}, {"certificate": "06050113"}],
}


def said(site: Site, *arguments: object) -> str:
    """Run a command of the device; return what it says."""
    command, *others = arguments
    done = liuhen(command, "--config", site.device_config, *others)
    assert done.returncode == 0, done.stderr
    return done.stdout


def device_log(site: Site, kind: type) -> list[Any]:
    return [one.body for one in stream_records(site.spool, 0) if isinstance(one.body, kind)]


def of_session(field: Field, session: str) -> list[Record]:
    return field.records(session)


@pytest.fixture
def away(tmp_path: Path) -> Iterator[tuple[Field, Shift]]:
    """A device of Anshan's on a trip: no uplink runs until a test starts it."""
    shift = Shift(tmp_path / "shift")
    policy = policy_of("anshan", tmp_path)
    site = Site(tmp_path / "site", streams=WORN, policy=policy, shift=shift, restore_window_hours=1000.0)
    with site:
        site.start_broker()
        site.central.start()
        site.start_recorder()
        field = Field(site)
        field.ready()
        yield field, shift


@pytest.fixture(params=sorted(AGENCIES))
def device(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Site, policies.Policy]]:
    """A device alone, under one agency's rule."""
    file = policy_of(request.param, tmp_path)
    with Site(tmp_path / "site", streams=WORN, policy=file) as site:
        site.start_recorder()
        yield site, policies.parse(file.read_bytes())


# -- R10: of the whole act nothing is recorded ------------------------------------------------------------------------


@pytest.mark.rule("R10")
@pytest.mark.rule("R2")
def test_acts_that_are_not_recorded_are_reported_as_lawful_or_as_failures(away: tuple[Field, Shift]) -> None:
    field, _ = away
    site = field.site
    text = said(
        *(site, "not-recorded", "trade_secret", "--matter", "on_site_inspection", *OFFICERS),
        *("--text-record", "现场检查（勘验）笔录", "7-1", "--place", "某厂配方车间"),
    )
    rule = policies.parse(site.policy.read_bytes()).rule.zh if site.policy else ""
    assert text.startswith(f"本次现场检查（勘验）因涉及商业秘密，依照{rule}第八条不予音像记录，已作文字记录。")
    assert "执法人员：06050112、06050113" in text
    text = said(
        *(site, "unable", "not_carried", "--matter", "on_site_inspection", *OFFICERS),
        *("--note", "设备在充电柜中未取出。"),
    )
    assert text.startswith("本次现场检查（勘验）因未携带设备未能音像记录，经过如下：设备在充电柜中未取出。执法人员")
    lawful, failed = (
        (one.session or b"").hex() for one in field.records() if isinstance(one.body, records.SessionOpen)
    )
    assert [one.kind for one in of_session(field, lawful)] == [
        "session-open",
        "media-key",
        "not-recorded",
        "details",
        "session-close",
    ]
    # No name and no word of the statement is in a record.
    for record in field.records():
        assert "充电柜".encode() not in record.message
        assert b"06050112" not in record.message
    # It does not pass for a recording that was interrupted.
    after = field.start("on_site_inspection")
    (opened,) = field.bodies(after, records.SessionOpen)
    assert opened.link_class is None
    field.end("moved")
    site.uplink.start()
    report = field.report(lawful)
    assert {rule: report["duties"][rule]["status"] for rule in ("R2", "R3", "R7", "R10", "R12", "R23")} == {
        "R2": "not_applicable",
        "R3": "not_applicable",
        "R7": "not_applicable",
        "R10": "met",
        "R12": "met",
        "R23": "met",
    }
    assert report["findings"] == []
    assert report["not_recorded"][0]["lawful"] is True
    report = field.report(failed)
    assert report["duties"]["R2"]["status"] == "cannot_judge"  # as circumstances require: a question
    assert [one["id"] for one in report["questions"]] == ["not_recorded", "unable", "no_text_record"]
    assert report["not_recorded"][0]["lawful"] is False


@pytest.mark.rule("R10")
def test_only_the_agencys_own_reasons_and_never_a_failure_as_one(device: tuple[Site, policies.Policy]) -> None:
    site, policy = device

    def refused(command: str, reason: str, **more: Any) -> str:
        with pytest.raises(RefusedError) as error:
            site.ask(command, reason=reason, details=STATED | more)
        return error.value.code

    before = len(stream_records(site.spool))
    for reason in ("not_carried", "battery", "shyness"):
        assert refused("not-recorded", reason) == "reason"
    for reason in ("trade_secret", "text_sufficient", "laziness"):
        assert refused("unable", reason) == "reason"
    # What must be recorded, or may be, is the rule's to say: that the text suffices is a reason in Fushun alone.
    for matter in ("questioning", "seal_seize"):
        allowed = policy.not_recorded_reason("text_sufficient", matter, "act") is not None
        assert allowed == (policy.rule.letter == "F" and matter == "questioning")
        if not allowed:
            assert refused("not-recorded", "text_sufficient", matter=matter) == "reason"
    # 须说明, and who says it, of what.
    assert refused("not-recorded", "other_unsuitable") == "note"
    assert refused("unable", "emergency") == "note"
    assert refused("not-recorded", "privacy", officers=[]) == "details"
    assert refused("not-recorded", "privacy", matter="other") == "details"
    with pytest.raises(RefusedError):
        site.ask("not-recorded", reason="privacy", details={"author": "06050112"})
    assert len(stream_records(site.spool)) == before
    site.ask("not-recorded", reason="other_unsuitable", details=STATED | {"note": "当事人突发疾病抢救"})
    session = site.ask("start")["session"]
    assert refused("not-recorded", "privacy") == "recording"
    assert site.ask("status")["streams"][0]["session"] == session


# -- R13: later hand-over, and the return ------------------------------------------------------------------------------


@pytest.mark.rule("R13")
@pytest.mark.rule("R12")
def test_a_trip_is_deferred_until_the_return(away: tuple[Field, Shift]) -> None:
    field, shift = away
    site = field.site
    before = field.start("on_site_inspection")
    field.film(1)
    field.end("moved")
    text = said(site, "defer", "--reason", "elsewhere")
    assert "因异地工作，确实不能在二十四小时内移交音像记录，返回本单位后二十四小时内移交存储。" in text
    assert "已写入1次尚未移交的记录" in text
    assert device_log(site, records.Deferral) == [records.Deferral(reason="elsewhere", max_days=7)]
    assert "cue.deferral.set" in site.recorder.log()
    # It covers what is recorded until the return, also after the device was switched off.
    during = field.start("on_site_inspection")
    field.film(1)
    field.end("moved")
    assert site.recorder.stop() == 0
    shift.reboot()
    shift.pass_time(hours=40)
    site.start_recorder()
    field.ready()
    last = field.start("on_site_inspection")
    field.film(1)
    # The return is stated while it still records: it waits, for nothing of another session has a place in this one.
    assert "移交时限为自现在起二十四小时" in said(site, "returned")
    assert device_log(site, records.Return) == [records.Return(sign="statement")]
    field.end("moved")
    site.wait_for(lambda: field.bodies(during, records.Return) != [], "the return is in each session", 20)
    with pytest.raises(RefusedError):
        site.ask("returned")
    for session in (before, during):
        assert [type(one) for one in field.bodies(session, records.Deferral)] == [records.Deferral]
        assert field.bodies(session, records.Return) == [records.Return(sign="statement")]
    assert field.bodies(last, records.Deferral) == []
    site.uplink.start()
    for session, duty in ((before, "met"), (during, "met"), (last, "not_applicable")):
        report = field.report(session)
        assert report["duties"]["R12"]["status"] == "met", report["hand_over"]
        assert report["duties"]["R13"]["status"] == duty, report["duties"]["R13"]
    assert field.report(before)["hand_over"]["deferral"] == "elsewhere"
    assert field.report(before)["hand_over"]["returned"] == "statement"


@pytest.mark.rule("R13")
def test_the_store_shows_what_is_deferred_before_any_media_has_come(away: tuple[Field, Shift]) -> None:
    field, shift = away
    site = field.site
    session = field.start("on_site_inspection")
    field.film(1)
    field.end("moved")
    said(site, "defer", "--reason", "continuous")
    # Records go at once, over any link; the media cannot.
    site.max_rate_bytes_per_s = 2048
    site.write_configurations()
    site.uplink.start()

    def store() -> dict[str, Any]:
        done = liuhen(
            *("central", "status", "--config", site.central_config, "--json", "--as", "T", "--reason", "r"),
            **shift.environment,
        )
        assert done.returncode == 0, done.stderr
        found = json.loads(done.stdout)
        assert isinstance(found, dict)
        return found

    site.wait_for(lambda: store()["deferred"] == [session], "the store knows that it is deferred", 60)
    shift.pass_time(hours=60)
    found = store()
    assert (found["deferred"], found["late"]) == ([session], [])
    shift.pass_time(hours=24 * 7)
    (one,) = found["devices"][0]["unfinished"]
    assert (one["deferral"], one["deferral_open_too_long"]) == ("continuous", False)
    (one,) = store()["devices"][0]["unfinished"]
    assert one["deferral_open_too_long"]


@pytest.mark.rule("R13")
def test_no_ground_is_offered_that_the_rule_does_not_know(device: tuple[Site, policies.Policy]) -> None:
    site, policy = device
    letter = policy.rule.letter
    known = {"A": {"continuous", "elsewhere", "remote"}, "J": {"continuous", "remote"}}.get(letter, set())
    for reason in ("continuous", "elsewhere", "remote", "network"):
        if reason in known:
            continue
        refused = liuhen("defer", "--config", site.device_config, "--reason", reason)
        assert refused.returncode != 0
        assert policy.rule.zh in refused.stderr
        if known:
            assert "连续工作" in refused.stderr
            assert ("异地工作" in refused.stderr.split("可用")[1]) is (letter == "A")
        else:
            assert "本单位规定未设延期移交，请在二十四小时内移交。" in refused.stderr
            assert "cue.deferral.none" in site.recorder.log()
    assert device_log(site, records.Deferral) == []
    with pytest.raises(RefusedError):
        site.ask("returned")
    assert device_log(site, records.Return) == []
    for reason in sorted(known):
        assert site.ask("defer", reason=reason)["sessions"] == []
    assert {one.reason for one in device_log(site, records.Deferral)} == known


# -- R6: details after the end -----------------------------------------------------------------------------------------


@pytest.mark.rule("R6")
def test_details_that_come_after_the_end_are_shown_as_later(away: tuple[Field, Shift]) -> None:
    field, _ = away
    site = field.site
    session = field.start()
    field.film(1)
    stated = {"author": "06050112", "case": "鞍审罚〔2026〕9号", "text_record": {"kind": "笔录", "number": "9-1"}}
    with pytest.raises(RefusedError):  # it is not over
        site.ask("details", after=session, details=stated)
    field.end("moved")
    for wrong in ("", "zz", "ffffffff", session + "00"):
        with pytest.raises(RefusedError):
            site.ask("details", after=wrong, details=stated)
    text = said(
        *(site, "details", "--after", session[:8], "--author", "06050112", "--matter", "on_site_inspection"),
        *("--case", "鞍审罚〔2026〕9号", "--text-record", "笔录", "9-1"),
    )
    assert session[:8] in text
    second = field.start()
    with pytest.raises(RefusedError) as refused:
        site.ask("details", after=session, details=stated)
    assert refused.value.code == "recording"
    field.end("moved")
    later = of_session(field, session)[-1]
    assert isinstance(later.body, records.Details)
    assert (later.body.when, later.body.author) == ("after", "officer")
    site.uplink.start()
    report = field.report(session)
    assert report["matter"] == "on_site_inspection"
    assert (report["duties"]["R23"]["status"], report["duties"]["R23"]["basis"]) == ("met", "later")
    assert field.report(second)["matter"] is None
