"""Hand-over within 24 hours, and what a deferral changes: from records alone, before any media has arrived."""

from __future__ import annotations

import pytest

from recorder.evidence import deadlines
from recorder.evidence.deadlines import HOUR_NS, Deferred, HandoverRule, Returned
from tests.support.acts import AGENCIES, agency

END = 1_790_000_000 * 10**9
RULES = {name: deadlines.rule_of(agency(name)) for name in AGENCIES}


def at(hours: float) -> int:
    return END + round(hours * HOUR_NS)


def judge(agency_name: str = "anshan", **given: object) -> deadlines.Deadline:
    asked: dict[str, object] = {"closed": True, "end_utc_ns": END, "now_utc_ns": at(1)}
    return deadlines.judge(RULES[agency_name], **asked | given)  # type: ignore[arg-type]


@pytest.mark.rule("R12")
@pytest.mark.parametrize("name", sorted(AGENCIES))
@pytest.mark.parametrize(
    ("hours", "state"), [(0, "pending"), (19.9, "pending"), (20.1, "soon"), (24, "soon"), (24.1, "late")]
)
def test_every_agency_counts_24_hours_from_the_end(name: str, hours: float, state: str) -> None:
    found = judge(name, now_utc_ns=at(hours))
    assert (found.state, found.due_utc_ns) == (state, at(24))
    assert found.late is (state == "late")


@pytest.mark.rule("R12")
@pytest.mark.parametrize(
    ("hours", "state"), [(24, "handed-over"), (25, "handed-over-late"), (None, "handed-over-untimed")]
)
def test_arrival_is_judged_by_when_it_was_complete(hours: float | None, state: str) -> None:
    arrived = None if hours is None else at(hours)
    found = judge(now_utc_ns=at(9000), handed_over=True, handed_over_utc_ns=arrived)
    assert found.state == state
    assert found.late_ns == (HOUR_NS if hours == 25 else 0)


@pytest.mark.rule("R12")
def test_unset_clock_is_urgent_and_never_late() -> None:
    assert judge(end_utc_ns=None, now_utc_ns=at(99999)).state == "urgent"
    found = judge(end_utc_ns=None, now_utc_ns=at(1), handed_over=True, handed_over_utc_ns=at(99999))
    assert (found.state, found.late) == ("handed-over-untimed", False)


def test_unclosed_session_has_no_deadline_yet() -> None:
    assert judge(closed=False, now_utc_ns=at(99)).state == "unclosed"


@pytest.mark.rule("R13")
@pytest.mark.parametrize(
    ("name", "reasons"),
    [
        ("anshan", {"continuous", "elsewhere", "remote"}),
        ("jinpu", {"continuous", "remote"}),
        ("mingshan", set()),
        ("tonghua", set()),
    ],
)
@pytest.mark.parametrize("reason", ["continuous", "elsewhere", "remote", "network"])
def test_a_deferral_counts_only_on_a_ground_of_the_agencys_rule(name: str, reasons: set[str], reason: str) -> None:
    deferral = Deferred(reason, 7, at(2))
    found = judge(name, now_utc_ns=at(30), deferrals=[deferral])
    if reason in reasons:
        assert (found.state, found.deferral, found.refused) == ("deferred", deferral, ())
    else:
        assert (found.state, found.deferral, found.refused) == ("late", None, (deferral,))


@pytest.mark.rule("R13")
def test_the_return_starts_the_clock_at_its_earliest_sign() -> None:
    away = [Deferred("remote", 7, at(2))]
    back = [Returned("statement", at(80)), Returned("dock", at(70)), Returned("network", at(-5))]
    found = judge(now_utc_ns=at(91), deferrals=away, returns=back)
    assert (found.state, found.due_utc_ns, found.returned) == ("soon", at(94), back[1])
    assert judge(now_utc_ns=at(95), deferrals=away, returns=back).state == "late"
    arrived = judge(now_utc_ns=at(99), deferrals=away, returns=back, handed_over=True, handed_over_utc_ns=at(93))
    assert arrived.state == "handed-over"


def test_a_quick_return_does_not_shorten_the_24_hours() -> None:
    found = judge(now_utc_ns=at(3), deferrals=[Deferred("remote", 7, at(-1))], returns=[Returned("dock", at(-0.0))])
    assert found.due_utc_ns == at(24)


@pytest.mark.rule("R13")
def test_a_deferral_after_the_time_had_run_out_changes_nothing() -> None:
    late = Deferred("remote", 7, at(25))
    found = judge(now_utc_ns=at(26), deferrals=[late])
    assert (found.state, found.refused) == ("late", (late,))


def test_a_deferral_ends_with_the_return() -> None:
    away, back = [Deferred("remote", 7, at(-50))], [Returned("dock", at(-40))]
    found = judge(now_utc_ns=at(25), deferrals=away, returns=back)
    assert (found.state, found.refused) == ("late", ())


def test_a_deferral_that_stays_open_is_shown() -> None:
    away = [Deferred("remote", 2, at(1))]
    assert not judge(now_utc_ns=at(24 + 47), deferrals=away).open_too_long
    found = judge(now_utc_ns=at(24 + 49), deferrals=away)
    assert (found.state, found.open_too_long) == ("deferred", True)


def test_a_return_without_a_time_is_urgent_not_late() -> None:
    found = judge(now_utc_ns=at(900), deferrals=[Deferred("remote", 7, None)], returns=[Returned("dock", None)])
    assert (found.state, found.late) == ("urgent", False)


def test_without_a_policy_24_hours_and_no_deferral() -> None:
    assert deadlines.rule_of(None) == HandoverRule()
    assert deadlines.rule_of(agency("anshan"), "continuous").from_capture
