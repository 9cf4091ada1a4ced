"""Five everyday cases in which refusing a restart would do harm: each is recorded at once, and reported rightly."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from recorder.evidence import records
from tests.lawful.field import WORN, Field, policy_of
from tests.support.site import Site

if TYPE_CHECKING:
    from collections.abc import Iterator

WITHIN_NS = 500_000_000
"""A press is recorded so soon."""


@pytest.fixture(scope="module")
def field(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Field]:
    folder = tmp_path_factory.mktemp("street")
    made = Site(folder / "site", streams=WORN, policy=policy_of("mingshan", folder), restore_window_hours=1000.0)
    with made:
        found = Field(made.start())
        found.ready()
        yield found


def begun(field: Field, matter: str | None = None) -> tuple[str, records.SessionOpen]:
    """Press, and see that recording began at once."""
    pressed_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    session = field.start(matter)
    field.film(0.5)
    (opened,) = field.bodies(session, records.SessionOpen)
    assert opened.zero_boottime_ns - pressed_ns < WITHIN_NS
    return session, opened


def first_frame_ns(field: Field, session: str) -> int:
    return min(
        track.arrival_first_boottime_ns
        for chunk in field.bodies(session, records.Chunk)
        for track in chunk.tracks.values()
        if track.arrival_first_boottime_ns is not None
    )


@pytest.mark.rule("R4")
@pytest.mark.rule("R10")
def test_a_trade_secret_in_one_workshop_then_the_next_workshop_of_the_same_plant(field: Field) -> None:
    first, _ = begun(field, "on_site_inspection")
    field.away("trade_secret")
    field.end("unsuitable")
    second, opened = begun(field, "on_site_inspection")
    assert (opened.linked_session, opened.link_class) == (bytes.fromhex(first), "lawful-unsuitable")
    field.end("moved")
    duty = field.report(second)["duties"]["R4"]
    assert duty["status"] == "met", duty


@pytest.mark.rule("R4")
def test_a_hearing_adjourned_for_lunch(field: Field) -> None:
    first, _ = begun(field, "hearing")
    field.end("adjourned")
    session, opened = begun(field)
    assert (opened.matter, opened.link_class) == ("hearing", "lawful-adjourned")
    assert opened.linked_session == bytes.fromhex(first)
    field.end("done")
    assert field.report(session)["duties"]["R4"]["status"] == "met"


@pytest.mark.rule("R4")
def test_ten_shops_in_one_street_are_ten_recordings(field: Field) -> None:
    begun(field)
    field.end("moved")
    sessions = []
    for _ in range(10):
        session, opened = begun(field, "on_site_inspection")
        assert (opened.linked_session, opened.link_class) == (None, None)
        field.end("moved")
        sessions.append(session)
    assert len(set(sessions)) == 10
    for session in (sessions[0], sessions[-1]):
        assert field.report(session)["duties"]["R4"]["status"] == "met"


@pytest.mark.rule("R4")
def test_an_assault_at_the_gate_after_the_end_is_recorded_at_once_and_shown_as_intermittent(field: Field) -> None:
    first, _ = begun(field, "on_site_inspection")
    field.end("done")
    pressed_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    second = str(field.site.ask("press")["session"])
    field.recording()
    field.film(1)
    assert first_frame_ns(field, second) - pressed_ns < WITHIN_NS
    (opened,) = field.bodies(second, records.SessionOpen)
    assert (opened.linked_session, opened.link_class) == (bytes.fromhex(first), "intermittent")
    field.end("danger")
    duty = field.report(second)["duties"]["R4"]
    assert duty["status"] == "not_met"
    assert "intermittent" in duty["findings"]


@pytest.mark.rule("R4")
def test_a_second_device_goes_on_while_the_battery_of_the_first_is_changed(
    field: Field, tmp_path_factory: pytest.TempPathFactory
) -> None:
    first, _ = begun(field, "on_site_inspection")
    with Site(tmp_path_factory.mktemp("second") / "site", streams=WORN, policy=field.site.policy) as other:
        other.start_recorder()
        spare = Field(other)
        spare.ready()
        joined, opened = begun(spare, "on_site_inspection")
        assert opened.link_class is None
        field.end("handover")
        spare.film(1)
        (last,) = field.bodies(first, records.SessionClose)
        covered = spare.bodies(joined, records.Chunk)
        assert covered[0].start_boottime_ns < last.end_boottime_ns < covered[-1].end_boottime_ns
        spare.end("moved")
    second, opened = begun(field, "on_site_inspection")
    assert (opened.linked_session, opened.link_class) == (bytes.fromhex(first), "lawful-device")
    field.end("moved")
    assert field.report(second)["duties"]["R4"]["status"] == "met"


@pytest.mark.rule("R10")
def test_a_crash_inside_an_interval_of_unsuitable_content_records_nothing_until_a_press(field: Field) -> None:
    session, _ = begun(field, "on_site_inspection")
    field.site.ask("unsuitable", reason="privacy")
    field.site.wait_for(lambda: field.state == "unsuitable", "it is off", 40)
    killed_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    field.site.recorder.kill()
    field.site.start_recorder()
    assert field.state == "unsuitable"
    until = time.monotonic() + 3
    field.site.wait_for(lambda: time.monotonic() > until, "a while")
    field.site.ask("press")
    field.recording()
    field.film(1)
    field.end("moved")
    begins, ends = field.bodies(session, records.NotRecorded)
    assert ends.start_boottime_ns == begins.start_boottime_ns < killed_ns < ends.end_boottime_ns
    for chunk in field.bodies(session, records.Chunk):
        assert (
            chunk.end_boottime_ns < begins.start_boottime_ns + 1e9
            or chunk.start_boottime_ns > ends.end_boottime_ns - 2e8
        )
    assert field.report(session)["duties"]["R10"]["status"] == "met"
