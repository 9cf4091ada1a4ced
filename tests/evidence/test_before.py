"""What a report says of the device before and beside the recording: on, idle, checked; where; and what failed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from recorder.evidence import records, session_page
from recorder.evidence.before import before, in_words
from recorder.evidence.details import Position
from tests.support.acts import Act, agency
from tests.support.forge import BOOT0, SECOND, UTC0

if TYPE_CHECKING:
    from tests.support import forge

HERE = Position(latitude_e7=411_089_012, longitude_e7=1_229_949_000, accuracy_mm=17_100)


def act(mode: str = "video", **opening: Any) -> Act:
    made = Act(policy=agency("mingshan"), mode=mode).usual().film(count=2).close()
    made.drafts[0] = made.drafts[0].changed(**opening)
    return made


def said(made: Act, site: forge.Site, language: str = "zh") -> str:
    return session_page.text(made.report(site), language)


@pytest.mark.rule("R15")
def test_the_report_says_since_when_the_device_was_on_idle_and_checked(site: forge.Site) -> None:
    made = act(idle_since_boottime_ns=BOOT0 - 300 * SECOND, checked="pass", checked_utc_ns=UTC0 - 3600 * SECOND)
    text = said(made, site)
    assert "此前待机（已开机、未记录）5分" in text
    assert "，通过。" in text
    english = said(made, site, "en")
    assert "had been idle (on, and not recording) for 5 min" in english
    assert "passed." in english


def test_without_a_check_the_report_says_that_there_is_none_and_finds_nothing(site: forge.Site) -> None:
    made = act()
    assert "没有勤前检查的记录" in said(made, site)
    assert made.report(site).findings == ()
    assert "勤前检查" not in said(act(mode="continuous"), site)


@pytest.mark.parametrize("since", [BOOT0 + SECOND, 1 << 62])
def test_an_idle_time_that_cannot_be_is_left_out(site: forge.Site, since: int) -> None:
    assert "report.before.idle" not in {
        one.text for one in before(act(idle_since_boottime_ns=since).report(site).facts)
    }


@pytest.mark.rule("R6")
def test_positions_by_satellite_stand_in_the_report_by_the_device_and_are_one_event(site: forge.Site) -> None:
    made = Act(policy=agency("mingshan")).usual().film(count=3)
    for at_s in (1, 3, 5):
        made.details(at_s, when="during", role="device", author="device", position=HERE)
    found = made.close().report(site)
    text = session_page.text(found, "zh")
    assert "41.10890°N 122.99490°E ±17 m（共3次）" in text
    assert [one.values for one in found.events if one.text == "report.event.details"].count((("role", "device"),)) == 1
    assert [claim.basis for _, claim in found.facts.positions()] == ["device"] * 3


def test_a_position_that_an_officer_states_in_the_devices_name_is_declared(site: forge.Site) -> None:
    made = Act(policy=agency("mingshan")).usual().film(count=2).details(2, author="device", position=HERE)
    assert [claim.basis for _, claim in made.close().report(site).facts.positions()] == ["declared"]


@pytest.mark.rule("R6")
def test_where_nobody_named_the_place_the_position_shows_it(site: forge.Site) -> None:
    made = (
        Act(policy=agency("mingshan"))
        .film(count=2)
        .details(1, when="start", role="device", author="device", position=HERE)
    )
    duty = made.close().report(site).duty("R6")
    absent = next(dict(one.values)["whats"] for one in duty.sentences if one.text == "judged.particulars.absent")
    assert "place" not in absent


@pytest.mark.parametrize(
    ("latitude", "longitude", "words"),
    [(-5, 5, "0.00000°S 0.00000°E"), (-411_089_012, -1_800_000_000, "41.10890°S 180.00000°W")],
)
def test_a_position_in_words(latitude: int, longitude: int, words: str) -> None:
    assert in_words(Position(latitude_e7=latitude, longitude_e7=longitude)) == words


def test_a_fault_is_told_by_its_number_and_cause(site: forge.Site) -> None:
    made = Act(policy=agency("mingshan")).usual().film(count=2).add(records.Fault(code="storage_full"), 2)
    made.add(records.Fault(code="of-a-later-version\x1b"), 3).close()
    text = said(made, site)
    assert "设备故障：21 存储空间已满，无法继续记录（1次）" in text
    assert "设备故障：of-a-later-version?（1次）" in text
