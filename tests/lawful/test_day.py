"""A day on duty, from the morning's check to the hand-over after a trip, under each agency's file.

Real recorder, uplink, broker and store; only the time is moved, while the device is off.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from recorder.control import RefusedError
from recorder.evidence import records
from tests.lawful.field import AGENCIES, OFFICERS, WORN, Field, policy_of
from tests.support.commands import liuhen
from tests.support.shifted import Shift
from tests.support.site import Site, marked

if TYPE_CHECKING:
    from collections.abc import Iterator

DEFERS = {"anshan", "jinpu"}
"""Agencies whose rule knows a late hand-over from a remote place."""


class Day:
    """One device and its store through a day."""

    def __init__(self, folder: Path, agency: str) -> None:
        self.agency = agency
        self.shift = Shift(folder / "shift")
        self.site = Site(
            folder / "site",
            streams=WORN,
            policy=policy_of(agency, folder),
            shift=self.shift,
            restore_window_hours=1000.0,
        )
        self.field = Field(self.site)
        self.sessions: dict[str, str] = {}

    def power_cut(self, minutes: float) -> None:
        """Everything on the device dies at once; later it is switched on again."""
        self.site.recorder.kill()
        self.site.uplink.kill()
        for pid in marked(self.site.mark):
            with contextlib.suppress(OSError):
                if str(self.site.device_config).encode() in Path(f"/proc/{pid}/cmdline").read_bytes():
                    os.kill(pid, signal.SIGKILL)
        self.shift.reboot()
        self.shift.pass_time(minutes=minutes)
        self.site.uplink.start()
        self.site.start_recorder()

    def off(self, hours: float) -> None:
        """Switch the device off in order, let time pass, switch it on again."""
        assert self.site.recorder.stop() == 0
        self.shift.reboot()
        self.shift.pass_time(hours=hours)
        self.site.start_recorder()
        self.field.ready()

    def inspection(self, name: str, *markers: str) -> str:
        """Begin an inspection, with what is said of it."""
        session = self.sessions[name] = self.field.start("on_site_inspection")
        stated = {
            "author": "06050112",
            "case": f"{name}-2026",
            "place": f"{name}号厂房",
            "people": [{"role": "party", "name": f"{name}公司"}],
            "officers": OFFICERS,
            "text_record": {"kind": "现场检查（勘验）笔录", "number": name},
        }
        self.site.ask("details", details=stated)
        for marker in ("arrive", "place.sign", "credentials", "told", *markers):
            self.site.ask("mark", marker=marker)
        return session

    def central(self, *arguments: str) -> Any:
        """Ask the store, in its time."""
        done = liuhen(
            *("central", *arguments, "--config", self.site.central_config, "--json", "--as", "T-1"),
            **self.shift.environment,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def waiting(self, how: str) -> int | None:
        """Return how many recordings wait on the device in this way, as it says itself."""
        found = self.site.ask("status")["hand_over"]
        return None if found is None else found[how]

    def known(self, session: str) -> dict[str, Any]:
        """Return what the store knows of a session, from records alone."""
        found = [one for one in self.central("sessions") if one["session"] == session]
        return found[0] if found else {"closed": False}


@pytest.fixture(params=sorted(AGENCIES))
def day(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Day]:
    made = Day(tmp_path, request.param)
    with made.site:
        made.site.start()
        made.field.ready()
        yield made


@pytest.mark.slow
@pytest.mark.rule("R12")
def test_a_day_on_duty(day: Day) -> None:
    field, site = day.field, day.site
    # Before duty.
    checked = liuhen("doctor", "--config", site.device_config)
    assert checked.returncode in (0, 1), checked.stdout
    # Three inspections: a power cut, trade secrets, a refusal to sign.
    cut = day.inspection("cut")
    field.film(3)
    day.power_cut(minutes=3)
    field.recording()
    assert site.ask("status")["streams"][0]["session"] == cut, "the same session goes on"
    field.film(2)
    field.end("moved")
    secret = day.inspection("secret")
    field.away("trade_secret")
    field.film(1)
    field.end("moved")
    refused = day.inspection("refused", "refusal.signature")
    field.film(1)
    field.end("moved")

    (opened,) = field.bodies(secret, records.SessionOpen)
    assert opened.checked in ("pass", "warn")
    gaps = [one for one in field.bodies(cut, records.Gap) if one.cause == "power"]
    assert {track for gap in gaps for track in gap.tracks} == {"video", "audio"}
    for gap in gaps:
        assert gap.length_max_ns is not None
        assert 170e9 < gap.length_max_ns < 200e9, gap
    for session in (cut, secret, refused):
        report = field.report(session)
        assert report["duties"]["R6"]["status"] == "met", report["duties"]["R6"]
        assert report["duties"]["R12"]["status"] == "met", report["duties"]["R12"]
    assert field.report(secret)["duties"]["R10"]["status"] == "met"
    assert field.report(refused)["duties"]["R11"]["status"] == "met"


@pytest.mark.slow
@pytest.mark.rule("R13")
def test_a_trip_from_which_nothing_can_be_handed_over_in_time(day: Day) -> None:
    field, site = day.field, day.site
    site.uplink.stop()
    day.off(hours=5)
    far = day.inspection("far")
    field.film(4)
    field.end("moved")
    if day.agency in DEFERS:
        said = liuhen("defer", "--reason", "remote", "--config", site.device_config)
        assert said.returncode == 0, said.stderr
        assert "边远" in said.stdout
    else:
        with pytest.raises(RefusedError):
            site.ask("defer", reason="remote")
    # A thin link for a moment: the records are at the store, their media are not.
    site.max_rate_bytes_per_s = 2000
    site.write_configurations()
    site.uplink.start()
    site.wait_for(lambda: day.known(far)["closed"], "the store knows of it", 60)
    assert site.uplink.stop() == 0
    assert day.known(far)["files_missing"] > 0
    day.off(hours=22)
    late = 0 if day.agency in DEFERS else 1
    assert day.known(far)["soon_late"] is (late > 0)
    site.wait_for(lambda: day.waiting("soon") == late, "the device says what must be handed over soon")
    day.off(hours=8)
    site.wait_for(lambda: day.waiting("overdue") == late, "the device says what is overdue")
    found = day.known(far)
    assert found["late"] is (day.agency not in DEFERS), found
    assert found["hand_over"] == ("deferred" if day.agency in DEFERS else "late")
    # Back at the unit.
    said = liuhen("returned", "--config", site.device_config)
    assert (said.returncode == 0) is (day.agency in DEFERS), said.stderr
    site.max_rate_bytes_per_s = None
    site.write_configurations()
    site.uplink.start()
    field.handed_over()
    site.wait_for(lambda: day.known(far)["state"] == "complete", "the store has all of it", 60)
    report = field.report(far)
    assert report["duties"]["R12"]["status"] == ("met" if day.agency in DEFERS else "not_met"), report["duties"]["R12"]
    assert day.known(far)["handed_over_late"] is (day.agency not in DEFERS)
    if day.agency in DEFERS:
        assert report["duties"]["R13"]["status"] == "met", report["duties"]["R13"]
