"""What becomes of a shown code: added once, kept a while for the next start, and bad ones told seldom."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recorder.evidence import lens_code
from recorder.shown import BAD_EVERY_NS, KEPT_NS, MAX_IN_SESSION, MAX_KEPT, Add, Cue, Order, ShownCodes
from tests.support.cards import Issuer, officer, task

if TYPE_CHECKING:
    from recorder.evidence.lens_code import Shown

ISSUER = Issuer.make()
SECOND = 10**9
FIRST, SECOND_SESSION = b"1" * 16, b"2" * 16


def shown(code: lens_code.TaskCode | lens_code.OfficerCode) -> Shown:
    return lens_code.read(ISSUER.text(code, bare=True))


TASK, OTHER, OFFICER = shown(task()), shown(task(matter="hearing")), shown(officer())
SECOND_OFFICER = shown(officer(certificate="06050113", name="李敏"))


def added(orders: list[Order]) -> list[bytes | None]:
    return [one.details.code for one in orders if isinstance(one, Add)]


def cues(orders: list[Order]) -> list[tuple[str, dict[str, str]]]:
    return [(one.text, one.arguments) for one in orders if isinstance(one, Cue)]


@pytest.mark.rule("R6")
@pytest.mark.rule("R8")
def test_in_a_session_a_code_is_added_once_and_told() -> None:
    codes = ShownCodes()
    orders = codes.read(TASK, 0, FIRST, dates_judged=True)
    assert (added(orders), cues(orders)) == (
        [TASK.message],
        [("cue.code.read", {"matter": "matter.on_site_inspection"})],
    )
    orders = codes.read(OFFICER, 1, FIRST, dates_judged=True)
    assert (added(orders), cues(orders)) == ([OFFICER.message], [("cue.code.officer", {"name": "王建国"})])
    assert codes.read(TASK, 99 * SECOND, FIRST, dates_judged=True) == []
    assert added(codes.read(TASK, 100 * SECOND, SECOND_SESSION, dates_judged=True)) == [TASK.message]


def test_before_a_session_a_code_is_told_and_waits_for_the_next_start() -> None:
    codes = ShownCodes()
    orders = codes.read(TASK, 0, None, dates_judged=False)
    assert (added(orders), len(cues(orders))) == ([], 1)
    codes.read(OFFICER, SECOND, None, dates_judged=True)
    codes.read(SECOND_OFFICER, SECOND, None, dates_judged=True)
    assert codes.matter(2 * SECOND) == "on_site_inspection"
    orders = codes.opened(2 * SECOND, FIRST)
    assert added(orders) == [TASK.message, OFFICER.message, SECOND_OFFICER.message]
    assert cues(orders) == []
    assert [one.details.code_dates_judged for one in orders if isinstance(one, Add)] == [False, True, True]
    assert codes.read(TASK, 3 * SECOND, FIRST, dates_judged=True) == []
    assert codes.opened(4 * SECOND, SECOND_SESSION) == []


def test_of_tasks_the_newest_counts() -> None:
    codes = ShownCodes()
    codes.read(TASK, 0, None, dates_judged=True)
    codes.read(OFFICER, 1, None, dates_judged=True)
    codes.read(OTHER, 2, None, dates_judged=True)
    assert codes.matter(3) == "hearing"
    assert added(codes.opened(3, FIRST)) == [OFFICER.message, OTHER.message]


def test_after_five_minutes_a_code_is_forgotten_unless_it_is_shown_again() -> None:
    codes = ShownCodes()
    codes.read(TASK, 0, None, dates_judged=True)
    codes.read(OFFICER, 0, None, dates_judged=True)
    assert codes.read(OFFICER, 200 * SECOND, None, dates_judged=True) == []
    assert codes.matter(KEPT_NS) == "on_site_inspection"
    assert codes.matter(KEPT_NS + 1) is None
    assert added(codes.opened(KEPT_NS + 1, FIRST)) == [OFFICER.message]


def test_bad_codes_are_told_once_in_ten_seconds() -> None:
    codes = ShownCodes()
    told = [number for number in range(25) if codes.bad(number * SECOND)]
    assert told == [0, BAD_EVERY_NS // SECOND, 2 * BAD_EVERY_NS // SECOND]


MANY = [shown(officer(certificate=str(number))) for number in range(80)]


def test_a_flood_fills_neither_the_memory_nor_a_session() -> None:
    codes = ShownCodes()
    for one in MANY:
        codes.read(one, 0, None, dates_judged=True)
    assert len(added(codes.opened(1, FIRST))) == MAX_KEPT
    more = [order for one in MANY for order in codes.read(one, 2, FIRST, dates_judged=True)]
    assert len(added(more)) == MAX_IN_SESSION - MAX_KEPT


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["task", "other", "officer", "bad", "open", "look", "close"]), st.integers(0, 400 * SECOND)
        ),
        max_size=30,
    )
)
@settings(deadline=None)
def test_whatever_is_shown_nothing_is_added_twice_or_outside_a_session(events: list[tuple[str, int]]) -> None:
    codes, now, session, number = ShownCodes(), 0, None, 0
    by_session: dict[bytes, list[bytes | None]] = {}
    for event, later_ns in events:
        now += later_ns
        orders: list[Order] = []
        if event == "open" and session is None:
            number += 1
            session = number.to_bytes(16, "big")
        elif event == "look" and session is not None:
            orders = codes.opened(now, session)
        elif event == "close":
            session = None
        elif event == "bad":
            orders = codes.bad(now)
        elif event in ("task", "other", "officer"):
            one = {"task": TASK, "other": OTHER, "officer": OFFICER}[event]
            orders = codes.read(one, now, session, dates_judged=True)
        if added(orders):
            assert session is not None
            by_session.setdefault(session, []).extend(added(orders))
    for codes_added in by_session.values():
        assert len(codes_added) == len(set(codes_added))
