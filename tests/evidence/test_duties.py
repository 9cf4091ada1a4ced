"""Each duty, judged from signed records and opened details, by each agency's own policy."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from recorder.errors import ConfigError
from recorder.evidence import duties, records, session_page, texts
from recorder.evidence.details import Person, TextRecord
from recorder.report_command import report as report_command
from tests.evidence.conftest import write
from tests.support.acts import AGENCIES, HOUR, OFFICERS, PARTY, Act, agency
from tests.support.forge import SECOND, UTC0

if TYPE_CHECKING:
    from pathlib import Path

    from recorder.evidence.duty import Duty
    from recorder.evidence.session_report import Report
    from tests.support import forge


def act(name: str = "mingshan", matter: str | None = "on_site_inspection", **options: Any) -> Act:
    return Act(matter=matter, policy=agency(name), **options)


def result(found: Report, rule: str) -> tuple[str, str]:
    duty = found.duty(rule)
    return duty.status, duty.basis


def ids(found: Report, rule: str | None = None) -> list[str]:
    return [one.id for one in found.findings if rule in (None, one.rule)]


def questions(found: Report, rule: str | None = None) -> list[str]:
    return [one.id for one in found.questions if rule in (None, one.rule)]


def media_s(duty: Duty) -> float | None:
    at = duty.moment.media_ns if duty.moment else None
    return None if at is None else at / SECOND


@pytest.mark.parametrize("name", sorted(AGENCIES))
def test_an_inspection_that_keeps_every_rule(site: forge.Site, name: str) -> None:
    found = act(name).usual().film(count=3).close().report(site)
    assert (found.findings, found.questions) == ((), ())
    statuses = {duty.rule: duty.status for duty in found.duties if duty.rule != "R5"}
    assert set(statuses.values()) <= {"met", "not_applicable"}
    assert statuses["R2"] == statuses["R3"] == statuses["R7"] == statuses["R12"] == "met"
    # Nothing was verified, so nobody can say that nothing was inserted.
    assert result(found, "R5") == ("cannot_judge", "none")


# -- R2 ----------------------------------------------------------------------------------------------------------------

NOTHING = {"must": ["not_recorded"], "circumstances": ["not_recorded"], "may": [], "text": [], "unnamed": []}


@pytest.mark.rule("R2")
@pytest.mark.parametrize(
    ("name", "matter", "recorded"),
    [
        ("mingshan", "on_site_inspection", "must"),
        ("jinpu", "hearing", "must"),
        ("tonghua", "sampling", "must"),
        ("anshan", "on_site_inspection", "circumstances"),
        ("fushun", "questioning", "circumstances"),
        ("mingshan", "questioning", "may"),
        ("tonghua", "correction_check", "may"),
        ("anshan", "service_direct", "text"),
        ("anshan", "sampling", "unnamed"),
    ],
)
def test_a_missing_must_is_a_finding_a_missing_may_is_nothing(
    site: forge.Site, name: str, matter: str, recorded: str
) -> None:
    missed = records.NotRecorded(reason="not_carried", scope="act", lawful=False)
    found = act(name, matter).add(missed, 1).close().report(site)
    duty = found.duty("R2")
    expected = {"must": "not_met", "circumstances": "cannot_judge"}.get(recorded, "not_applicable")
    assert duty.status == expected
    weights = [one.weight for one in duty.findings]
    assert [one.id for one in duty.findings] == NOTHING[recorded]
    assert weights == (["finding"] if recorded == "must" else ["question"] if recorded == "circumstances" else [])
    # A failure is never a lawful reason.
    assert "unable" in (ids(found) if recorded == "must" else questions(found))
    assert "因未携带设备未能音像记录；此为未能记录" in session_page.text(found, "zh")


@pytest.mark.rule("R2")
@pytest.mark.parametrize(
    ("break_it", "broken"),
    [
        (lambda one: one.gap("camera", 6, 9).film(5, 2).close(), True),
        (lambda one: one.close("battery"), True),
        (lambda one: one, True),
        (lambda one: one.unsuitable("privacy", 6, 9).film(5, 2).close(), False),
        (lambda one: one.close("adjourned"), False),
        (lambda one: one.close(), False),
    ],
)
def test_a_hearing_in_jinpu_must_be_whole(site: forge.Site, break_it: Any, broken: bool) -> None:
    found = break_it(act("jinpu", "hearing").usual().film(count=3)).report(site)
    assert result(found, "R2") == (("not_met" if broken else "met"), "device")
    assert ("not_whole" in ids(found, "R2")) is broken
    # Elsewhere the rule does not ask for the whole.
    other = break_it(act("mingshan", "hearing").usual().film(count=3)).report(site)
    assert "not_whole" not in ids(other) + questions(other)


@pytest.mark.rule("R2")
def test_whether_property_is_major_is_for_a_person_to_say(site: forge.Site) -> None:
    found = act("fushun", "compulsory_other").usual().film(count=3).close("battery").report(site)
    assert result(found, "R2") == ("cannot_judge", "device")
    assert (ids(found, "R2"), questions(found, "R2")) == ([], ["not_whole"])


@pytest.mark.rule("R2")
def test_no_matter_and_sealed_matter_are_told_apart(site: forge.Site) -> None:
    missing = act(matter=None).usual().film(count=2).close().report(site)
    assert (missing.duty("R2").status, ids(missing, "R2")) == ("cannot_judge", ["matter_missing"])
    sealed = act(matter=None).usual().film(count=2).close().report(site, hidden=(0,))
    assert (sealed.duty("R2").status, ids(sealed, "R2")) == ("cannot_judge", [])


# -- R3 ----------------------------------------------------------------------------------------------------------------


@pytest.mark.rule("R3")
@pytest.mark.parametrize(
    ("tell", "expected", "at_s"),
    [
        (lambda one: one.say(at_s=1), ("met", "device"), 1),
        (lambda one: one.say(heard="companion", at_s=2), ("met", "device"), 2),
        (lambda one: one.say(heard="not-heard").say("say.again", at_s=5), ("met", "device"), 5),
        (lambda one: one.say(heard="not-heard").mark("told", at_s=6), ("met", "declared"), 6),
        (lambda one: one.say(heard="not-heard"), ("not_met", "device"), 1),
        (lambda one: one.say(heard="not-checked"), ("cannot_judge", "device"), 1),
        (lambda one: one.say("say.end"), ("not_met", "none"), 0),
        (lambda one: one, ("not_met", "none"), 0),
    ],
)
def test_told_or_not_and_on_whose_word(site: forge.Site, tell: Any, expected: tuple[str, str], at_s: float) -> None:
    found = tell(act("fushun")).film(count=4).close().report(site)
    assert result(found, "R3") == expected
    assert media_s(found.duty("R3")) == at_s
    assert ids(found, "R3") == (["not_announced"] if expected[0] == "not_met" else [])
    # The rule asks for it in Fushun (F12); elsewhere only our default does, and so it is a question.
    other = tell(act("anshan")).film(count=4).close().report(site)
    assert questions(other, "R3") == ids(found, "R3")


@pytest.mark.rule("R3")
def test_heard_is_not_understood(site: forge.Site) -> None:
    text = session_page.text(act("fushun").usual().film(count=2).close().report(site), "zh")
    assert "检测到仅表示在设备所在位置可以听到，不表示当事人已经听清、理解。" in text


@pytest.mark.rule("R3")
def test_pre_event_recording_is_before_the_telling(site: forge.Site) -> None:
    one = act("fushun").film(count=6).say(at_s=8).close()
    one.drafts[0].boottime_ns += 5 * SECOND
    for draft in one.drafts[1:]:
        draft.boottime_ns = max(draft.boottime_ns, one.drafts[0].boottime_ns)
    found = one.report(site)
    (early,) = [one for one in found.findings if one.id == "before_telling"]
    assert dict(early.values) == {"seconds": 8}
    assert found.duty("R3").status == "not_met"


@pytest.mark.rule("R3")
def test_a_short_pre_event_that_the_device_states_is_told_too(site: forge.Site) -> None:
    one = act("fushun").film(count=6).say(at_s=1.6).close()
    one.drafts[0].boottime_ns += 3 * SECOND // 2
    for draft in one.drafts[1:]:
        draft.boottime_ns = max(draft.boottime_ns, one.drafts[0].boottime_ns)
    assert "before_telling" not in [found.id for found in one.report(site).findings]  # a camera that was warm
    one.drafts[0] = one.drafts[0].changed(pre_event_ns=3 * SECOND // 2)
    assert "before_telling" in [found.id for found in one.report(site).findings]


# -- R4, R5 ------------------------------------------------------------------------------------------------------------


@pytest.mark.rule("R4")
@pytest.mark.parametrize(
    ("case", "link", "status", "finding"),
    [
        ("trade secrets in one workshop, then the next", "lawful-unsuitable", "met", False),
        ("a hearing adjourned for lunch", "lawful-adjourned", "met", False),
        ("ten shops in one street", None, "met", False),
        ("an assault at the gate after the end", "intermittent", "not_met", True),
        ("a battery swapped for a second device", "lawful-device", "met", False),
        ("the device failed and came back", "after-fault", "met", False),
        ("a hall, day by day", "day", "met", False),
    ],
)
def test_everyday_restarts(site: forge.Site, case: str, link: str | None, status: str, finding: bool) -> None:
    del case
    linked = b"T" * 16 if link else None
    found = act("fushun", link_class=link, linked=linked).usual().film(count=2).close().report(site)
    assert found.duty("R4").status == status
    assert ids(found, "R4") == (["intermittent"] if finding else [])
    # Whether it is a recording after the event is for a person to say: a question, in the same list.
    assert questions(found, "R5") == (["possible_rerecording"] if finding else [])
    assert not ids(found, "R5")
    if linked:
        assert linked.hex()[:12] in session_page.text(found, "zh")


@pytest.mark.rule("R4")
def test_a_trade_secret_interval_then_going_on_is_one_session(site: forge.Site) -> None:
    found = act("fushun").usual().film(count=3).unsuitable("trade_secret", 6, 9.5).film(5, 2).close().report(site)
    assert [found.duty(rule).status for rule in ("R2", "R4", "R10")] == ["met", "met", "met"]
    assert found.findings == ()
    (interval,) = found.facts.intervals
    assert interval.length_ns == round(3.5 * SECOND)
    assert "因涉及商业秘密停止音像记录" in session_page.text(found, "zh")


@pytest.mark.rule("R4")
def test_the_end_needs_its_statement(site: forge.Site) -> None:
    found = act("fushun").usual().film(count=2).close(statement=False).report(site)
    assert ids(found, "R4") == ["end_unstated"]


@pytest.mark.rule("R5")
@pytest.mark.parametrize(
    ("integrity", "status"), [("intact", "met"), ("broken", "cannot_judge"), (None, "cannot_judge")]
)
def test_compliance_never_answers_for_integrity(site: forge.Site, integrity: str | None, status: str) -> None:
    from recorder.evidence.duty import Session

    found = act("fushun").usual().film(count=2).close()
    report = found.report(site)
    judged = {
        duty.rule: duty for duty in duties.judge(Session(report.facts, report.policy, report.deadline, integrity))
    }
    assert judged["R5"].status == status
    # And an altered recording changes nothing in any other duty.
    assert [duty for rule, duty in judged.items() if rule != "R5"] == [one for one in report.duties if one.rule != "R5"]


# -- R6, R7 ------------------------------------------------------------------------------------------------------------


@pytest.mark.rule("R6")
def test_what_came_later_is_shown_as_later(site: forge.Site) -> None:
    one = act("fushun").say().mark("place.sign").film(count=2)
    one.details(place="抚顺县某某街3号", people=PARTY).close()
    one.details(90, when="after", officers=OFFICERS, case="抚人社检〔2026〕9号")
    found = one.report(site)
    assert result(found, "R6") == ("met", "later")
    text = session_page.text(found, "zh")
    first, later = text[: text.index("二、告知情况")], text[text.index("八、事后补充登记") : text.index("九、逐项核对")]
    assert "抚顺县某某街3号" in first
    assert "抚人社检〔2026〕9号" not in first
    assert "当时未登记，见第八部分" in first
    assert "抚人社检〔2026〕9号" in later
    assert "王明 06050112" in later


@pytest.mark.rule("R6")
@pytest.mark.parametrize("name", ["fushun", "anshan"])
def test_what_is_missing_is_named(site: forge.Site, name: str) -> None:
    found = act(name).say().mark("place.sign").details(place="某某街3号").film(count=2).close().report(site)
    assert found.duty("R6").status == "not_met"
    (lacking,) = found.duty("R6").findings
    assert dict(lacking.values) == {"whats": ("officers", "party")}
    assert lacking.weight == ("finding" if name == "fushun" else "question")


@pytest.mark.rule("R6")
def test_sealed_details_are_not_missing_details(site: forge.Site) -> None:
    found = act("fushun").usual().film(count=2).close().report(site, hidden=(0,))
    assert found.duty("R6").status == "cannot_judge"
    assert ids(found) == []
    assert "登记信息1件未能读取（已封存）" in session_page.text(found, "zh")


@pytest.mark.rule("R7")
@pytest.mark.parametrize(
    ("markers", "basis", "expected"),
    [
        (("place.sign",), "declared", ("met", "declared")),
        (("place.landmark",), "declared", ("met", "declared")),
        (("place.sign",), "later", ("met", "later")),
        ((), "declared", ("not_met", "none")),
    ],
)
def test_place(site: forge.Site, markers: tuple[str, ...], basis: str, expected: tuple[str, str]) -> None:
    # Its name alone, spoken or written, does not meet it.
    one = act("fushun").say().details(place="某某街3号").film(count=3).mark(*markers, basis=basis).close()
    found = one.report(site)
    assert result(found, "R7") == expected
    assert ids(found, "R7") == (["no_place"] if expected[0] == "not_met" else [])
    assert media_s(found.duty("R7")) == (4 if markers else None)


@pytest.mark.rule("R7")
def test_a_press_classified_after_the_end_keeps_its_second(site: forge.Site) -> None:
    one = act("fushun").say().film(count=4).close().mark("place.sign", at_s=5, made_s=600, basis="later")
    found = one.report(site)
    assert result(found, "R7") == ("met", "later")
    assert media_s(found.duty("R7")) == 5


# -- R8, R9, R11 -------------------------------------------------------------------------------------------------------


@pytest.mark.rule("R8")
@pytest.mark.parametrize(
    ("officers", "credentials", "expected", "named"),
    [
        (2, True, "met", []),
        (1, True, "not_met", ["one_officer"]),
        (2, False, "not_met", ["no_credentials"]),
        (0, False, "not_met", ["one_officer", "no_credentials"]),
    ],
)
def test_two_officers(site: forge.Site, officers: int, credentials: bool, expected: str, named: list[str]) -> None:
    one = act("mingshan").details(officers=OFFICERS[:officers]).film(count=3)
    found = one.mark(*["credentials"] * credentials).close().report(site)
    assert found.duty("R8").status == expected
    assert [one.id for one in found.duty("R8").findings] == named


@pytest.mark.rule("R8")
def test_officers_are_counted_though_their_names_are_sealed(site: forge.Site) -> None:
    found = act("mingshan").usual().film(count=3).close().report(site, hidden=(0,))
    assert result(found, "R8") == ("met", "declared")
    assert "王明" not in session_page.text(found, "zh")


@pytest.mark.rule("R9")
def test_rights(site: forge.Site) -> None:
    found = act("mingshan").usual().film(count=3).close().report(site)
    assert result(found, "R9") == ("met", "declared")
    assert "已告知权利（陈述、申辩；口头告知）" in session_page.text(found, "zh")
    without = act("mingshan").say().film(count=3).close().report(site)
    assert (without.duty("R9").status, questions(without, "R9")) == ("cannot_judge", ["no_rights"])


@pytest.mark.rule("R11")
@pytest.mark.parametrize("witness", ["marker", "person", None])
def test_refused_service_needs_a_witness(site: forge.Site, witness: str | None) -> None:
    one = act("mingshan", "service_leaving").say().film(count=3).mark("refusal.service", at_s=3)
    if witness == "marker":
        one.mark("witness")
    if witness == "person":
        one.details(people=[Person(role="witness", name="赵某")])
    found = one.close().report(site)
    assert found.duty("R11").status == ("met" if witness else "not_met")
    assert ids(found, "R11") == ([] if witness else ["no_witness"])
    assert media_s(found.duty("R11")) == 3


@pytest.mark.rule("R11")
def test_no_refusal_is_nothing(site: forge.Site) -> None:
    assert act().usual().film(count=2).close().report(site).duty("R11").status == "not_applicable"


# -- R10 ---------------------------------------------------------------------------------------------------------------


@pytest.mark.rule("R10")
@pytest.mark.parametrize(
    ("name", "reason", "scope", "allowed"),
    [
        ("anshan", "trade_secret", "interval", True),
        ("anshan", "explosive", "interval", None),
        ("fushun", "explosive", "act", True),
        ("fushun", "text_sufficient", "act", True),
        ("fushun", "text_sufficient", "interval", False),
        ("mingshan", "text_sufficient", "act", False),
        ("jinpu", "text_sufficient", "act", False),
        ("tonghua", "shyness", "interval", False),
    ],
)
def test_only_reasons_of_the_agencys_list_are_lawful(
    site: forge.Site, name: str, reason: str, scope: str, allowed: bool | None
) -> None:
    policy = agency(name)
    if allowed is None:
        allowed = policy.not_recorded_reason(reason, "on_site_inspection", "interval") is not None
    left = records.NotRecorded(reason=reason, scope=scope, lawful=True)
    found = act(name).usual().film(count=3).add(left, 5).close().report(site)
    assert result(found, "R10") == (("met" if allowed else "not_met"), "declared")
    assert ids(found, "R10") == ([] if allowed else ["reason_unknown"])


@pytest.mark.rule("R10")
def test_text_suffices_only_in_fushun_and_never_for_a_must(site: forge.Site) -> None:
    for matter, status in (("questioning", "not_applicable"), ("seal_seize", "not_met")):
        left = records.NotRecorded(reason="text_sufficient", scope="act", lawful=True)
        found = act("fushun", matter).add(left, 1).close().report(site)
        assert found.duty("R2").status == status


@pytest.mark.rule("R10")
@pytest.mark.parametrize("name", sorted(AGENCIES))
def test_an_act_that_is_only_stated_is_judged_by_what_it_can_show(site: forge.Site, name: str) -> None:
    left = records.NotRecorded(reason="privacy", scope="act", lawful=True)
    found = (
        act(name)
        .details(officers=OFFICERS, text_record=TextRecord(kind="笔录", number="1"))
        .add(left, 1)
        .close()
        .report(site)
    )
    assert [found.duty(rule).status for rule in ("R3", "R4", "R6", "R7", "R8", "R9", "R11")] == ["not_applicable"] * 7
    assert (found.duty("R10").status, found.duty("R2").status) == ("met", "not_applicable")
    assert (found.findings, found.questions) == ((), ())


@pytest.mark.rule("R10")
def test_a_long_interval_is_for_review(site: forge.Site) -> None:
    one = act("anshan").usual().film(count=3)
    start, end = one.at(5), one.at(5 + 31 * 60)
    left = records.NotRecorded(
        reason="privacy", scope="interval", lawful=True, start_boottime_ns=start, end_boottime_ns=end
    )
    found = one.add(left, 5.5).close().report(site)
    assert (ids(found, "R10"), questions(found, "R10")) == ([], ["unsuitable_long"])


# -- R12, R13, R23 -----------------------------------------------------------------------------------------------------


@pytest.mark.rule("R12")
def test_lateness_names_its_hours(site: forge.Site) -> None:
    one = act("mingshan").usual().film(count=2).close()
    found = one.report(site, handed_after_h=26)
    assert result(found, "R12") == ("not_met", "store")
    assert "超过时限移交2小时" in session_page.text(found, "zh")
    # Before any media has arrived, from records alone.
    assert one.report(site, handed_after_h=None, now_after_h=25).duty("R12").status == "not_met"
    assert one.report(site, handed_after_h=None, now_after_h=22).deadline.state == "soon"


@pytest.mark.rule("R13")
@pytest.mark.parametrize(
    ("name", "status", "named"),
    [("anshan", "met", []), ("jinpu", "not_met", ["deferral_unknown"]), ("tonghua", "not_met", ["deferral_unknown"])],
)
def test_work_elsewhere_defers_in_anshan_only(site: forge.Site, name: str, status: str, named: list[str]) -> None:
    one = act(name).usual().film(count=3).add(records.Deferral(reason="elsewhere", max_days=7), 5).close()
    one.add(records.Return(sign="dock"), 40 * 3600)
    found = one.report(site, handed_after_h=50)
    assert found.duty("R13").status == status
    assert ids(found, "R13") == named
    assert found.duty("R12").status == ("met" if name == "anshan" else "not_met")


@pytest.mark.rule("R12")
def test_unset_clock_is_never_late(site: forge.Site) -> None:
    one = act("mingshan", clock="unset").usual().film(count=2).close()
    assert one.report(site, handed_after_h=9000).deadline.state == "handed-over-untimed"
    assert one.report(site, handed_after_h=None, now_after_h=9000).deadline.state == "urgent"
    assert "时间未校准" in session_page.text(one.report(site), "zh")


@pytest.mark.rule("R23")
def test_text_record(site: forge.Site) -> None:
    one = act().usual().film(count=3).say("say.end.code", at_s=5).close()
    found = one.report(site)
    assert result(found, "R23") == ("met", "declared")
    assert "于0:00:05播报记录编号和核验码。" in session_page.text(found, "zh")
    after = act().usual().film(count=3).close().say("say.end.code", at_s=20).report(site)
    assert "记录结束后播报记录编号和核验码。" in session_page.text(after, "zh")
    without = act().say().film(count=2).close().report(site)
    assert (without.duty("R23").status, questions(without, "R23")) == ("cannot_judge", ["no_text_record"])


# -- the rest ----------------------------------------------------------------------------------------------------------


def test_gaps_silence_and_covered_lens_are_told(site: forge.Site) -> None:
    one = act("mingshan").usual().film(count=6, silent=True).gap("unknown", 12, 14).film(7, 1).gap("blocked", 14, 15)
    found = one.close().report(site)
    assert "unexplained_gap" in ids(found)
    assert set(questions(found)) >= {"silent", "lens_blocked"}
    text = session_page.text(found, "zh")
    assert "无声12秒" in text
    assert "镜头遮挡1秒" in text


@pytest.mark.rule("R20", "R22")
def test_what_a_recording_suffered_from_is_told_once_with_its_length(site: forge.Site) -> None:
    one = act("mingshan").usual().film(count=6)
    lens = {"code": "lens_blocked", "start_boottime_ns": one.at(2)}
    one.add(records.Fault(**lens), 5).add(records.Fault(code="picture_dark", start_boottime_ns=one.at(6)), 9)
    one.add(records.Fault(**lens, end_boottime_ns=one.at(9), length_ns=4 * 10**9, count=2), 11)
    found = one.gap("power", 12, 14).film(7, 1).close().report(site)
    assert sorted(questions(found))[:2] == ["dark", "lens_blocked"]
    named = {finding.id: finding for finding in found.questions}
    assert named["lens_blocked"].moment is not None
    assert named["lens_blocked"].moment.media_ns == 2 * 10**9
    text = session_page.text(found, "zh")
    assert "镜头遮挡4秒" in text
    assert "画面过暗6秒" in text  # nobody signed its end: it lasted until nothing was recorded
    assert text.count("画面过暗6秒") == text.count("镜头遮挡4秒") == 3  # what happened, quality, to be explained
    assert "设备故障" not in text
    assert [one.times for one in found.facts.impairments] == [2, 1]


def test_a_silence_that_the_levels_show_too_is_told_once(site: forge.Site) -> None:
    one = act("mingshan").usual().film(count=6, silent=True)
    silent = {"code": "sound_silent", "start_boottime_ns": one.at(0)}
    one.add(records.Fault(**silent), 10)
    one.add(records.Fault(**silent, end_boottime_ns=one.at(12), length_ns=12 * 10**9), 12)
    found = one.close().report(site)
    assert questions(found).count("silent") == 1


def test_a_start_by_mistake_is_kept_listed_and_left_out_of_the_figures(site: forge.Site) -> None:
    found = act("fushun").film(count=2).close("accidental").report(site)
    assert {duty.status for duty in found.duties if duty.rule not in ("R5", "R12", "R13")} == {"not_applicable"}
    assert questions(found) == ["accidental"]
    assert session_page.plain(found)["figures"]["counts"] is False


@pytest.mark.rule("R22")
def test_figures(site: forge.Site) -> None:
    one = act("fushun").usual().film(count=3).unsuitable("trade_secret", 6, 9.5).film(5, 2)
    found = one.gap("camera", 14, 16).film(8, 1).close().report(site, handed_after_h=25.5)
    figures = session_page.plain(found)["figures"]
    assert figures["not_recorded"] == {"trade_secret": {"count": 1, "length_ns": 3_500_000_000, "lawful": 1}}
    assert (figures["gaps"], figures["gaps_length_ns"]) == (1, 2 * SECOND)
    assert figures["markers"] == {"credentials": 1, "place.sign": 1, "rights.oral.statement+defence": 1}
    assert (figures["officers"], figures["announced"], figures["intermittent"]) == (2, "met", False)
    assert (figures["handed_over"], figures["late_ns"] // HOUR) == ("handed-over-late", 1)
    assert figures["not_met"] == ["R12"]


def test_another_policy_than_the_one_it_was_made_under_is_a_finding(site: forge.Site) -> None:
    one = act("fushun").usual().film(count=2).close()
    one.policy = agency("mingshan")
    found = one.report(site)
    assert ids(found) == ["other_policy"]
    assert "不一致，以下核对结果仅供参考" in session_page.text(found, "zh")


def test_a_policy_is_judged_by_its_days(site: forge.Site) -> None:
    one = act("anshan").usual().film(count=2).close()
    for draft in one.drafts:
        draft.utc_offset_ns -= 9 * 365 * 86_400 * SECOND
    assert "policy_out_of_force" in ids(one.report(site))


@pytest.mark.rule("R14")
def test_a_hall_has_a_sign_and_counts_from_capture(site: forge.Site) -> None:
    one = act("anshan", "hall", mode="continuous").film(count=6).close("day")
    found = one.report(site, handed_after_h=1)
    assert result(found, "R2") == ("met", "device")
    assert {found.duty(rule).status for rule in ("R3", "R7", "R23")} == {"not_applicable"}
    # The oldest two seconds are due ten seconds before the newest.
    waiting = one.report(site, handed_after_h=None, now_after_h=24 + 5 / 3600)
    assert waiting.deadline.state == "late"
    assert (waiting.deadline.due_utc_ns or 0) // SECOND == (UTC0 + 24 * HOUR + 2 * SECOND) // SECOND


@pytest.mark.parametrize("language", texts.LANGUAGES)
@pytest.mark.parametrize("name", sorted(AGENCIES))
def test_every_form_can_be_written_of_everything(site: forge.Site, language: str, name: str) -> None:
    for one in (
        act(name).usual().film(count=2).close().report(site),
        act(name, None).film(count=1).report(site, handed_after_h=None),
        act(name, link_class="strange", linked=b"q" * 16).gap("odd", 1, 2).mark("odd{x}").close("odd").report(site),
        Act().film(count=1).close().report(site),
    ):
        assert session_page.text(one, language)
        page = session_page.page(one, language)
        assert "<script" not in page
        assert "http" not in page
        json.dumps(session_page.plain(one))


def test_details_of_strangers_stay_text(site: forge.Site) -> None:
    found = act().details(place="<script>alert(1)</script>\n\x1b[2J").film(count=1).close().report(site)
    assert "<script>" not in session_page.page(found, "zh")
    assert "\x1b" not in session_page.text(found, "zh")


def test_the_command_on_a_package(site: forge.Site, tmp_path: Path) -> None:
    recording = act("fushun").usual().film(count=3).close().record(site)
    folder = write(recording, tmp_path / "package")
    authority = tmp_path / "authority.crt"
    authority.write_bytes(site.authority.der)
    arguments = [str(folder), "--authority", str(authority), "--policy", str(AGENCIES["fushun"].parent)]
    run = CliRunner().invoke(report_command, [*arguments, "--format", "json"])
    assert run.exit_code == 0, run.output
    (found,) = json.loads(run.output)["reports"]
    assert {found["duties"][rule]["status"] for rule in ("R2", "R3", "R4", "R5", "R6", "R7", "R12")} == {"met"}
    assert (found["policy"]["agency"], found["policy"]["same"]) == ("fushun-human-resources-bureau", True)
    assert (found["findings"], found["verification"]["exit_code"]) == ([], 0)
    for language, title in (("zh", "执法音像记录情况报告"), ("en", "Report on an enforcement recording")):
        text = CliRunner().invoke(report_command, [*arguments, "--lang", language])
        assert (text.exit_code, text.output.splitlines()[0]) == (0, title)
    out = tmp_path / "report.html"
    page = CliRunner().invoke(report_command, [*arguments, "--format", "html", "--out", str(out)])
    assert page.exit_code == 0
    assert "抚顺县人力资源和社会保障局" in out.read_text(encoding="utf-8")


def test_without_a_trusted_store_nothing_is_said_of_hand_over(site: forge.Site, tmp_path: Path) -> None:
    folder = write(act("fushun").usual().film(count=3).close().record(site), tmp_path / "package")
    run = CliRunner().invoke(report_command, [str(folder), "--format", "json"])
    assert run.exit_code == 2
    (found,) = json.loads(run.output)["reports"]
    assert found["hand_over"]["state"] == "unknown"
    assert found["duties"]["R12"]["status"] == "cannot_judge"
    # The policy that it was made under is found by its digest.
    assert found["policy"]["same"] is True


def test_the_command_on_a_devices_spool(site: forge.Site, tmp_path: Path) -> None:
    from tests.recorder.test_verify import spool

    root = spool(act("fushun").usual().film(count=3).close().record(site), tmp_path / "spool")
    run = CliRunner().invoke(report_command, [str(root), "--format", "json", "--session", "5353"])
    (found,) = json.loads(run.output)["reports"]
    assert found["duties"]["R6"]["basis"] == "declared"
    # The device has no receipt for any of its files.
    assert found["hand_over"]["state"] in ("pending", "soon", "late")
    none = CliRunner().invoke(report_command, [str(root), "--session", "ab"])
    assert isinstance(none.exception, ConfigError)
