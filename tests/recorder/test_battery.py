"""Minutes left are those of the battery, what is not known is not said, and each warning comes once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder.battery import LOOK_NS, SLOW_NS, Battery, BatteryWatch, Exhausted, Gauge, Reading, State, Warn, read
from recorder.config import BatterySection
from tests.support.power import write_supply

if TYPE_CHECKING:
    from pathlib import Path

MINUTE_NS = 60_000_000_000


def test_a_real_looking_battery_is_read(tmp_path: Path) -> None:
    write_supply(tmp_path, "AC", type="Mains", online=0)
    write_supply(tmp_path, "hid-mouse", type="Battery", scope="Device", capacity=3, status="Discharging")
    write_supply(
        tmp_path, "ups", type="Battery", status="Discharging", capacity=71, energy_now=12_000_000, power_now=6_000_000
    )
    assert read(tmp_path, lambda: 0) == Reading(71, discharging=True, amount=12_000_000, rate=6_000_000)
    assert Gauge().put(read(tmp_path, lambda: 0), 0) == State(71, 120, on_mains=False)


def test_charge_and_current_serve_as_well_and_signs_do_not_matter(tmp_path: Path) -> None:
    write_supply(
        tmp_path, "bat", type="Battery", status="Discharging", capacity=50, charge_now=1_000_000, current_now=-500_000
    )
    assert Gauge().put(read(tmp_path, lambda: 0), 0).minutes == 120


@pytest.mark.parametrize("status", ["Charging", "Full", "Not charging"])
def test_on_mains_there_are_no_minutes(tmp_path: Path, status: str) -> None:
    write_supply(tmp_path, "bat", type="Battery", status=status, capacity=50, energy_now=1, power_now=1)
    assert Gauge().put(read(tmp_path, lambda: 0), 0) == State(50, None, on_mains=True)


def test_what_no_file_tells_is_unknown(tmp_path: Path) -> None:
    assert Gauge().put(read(tmp_path / "none", lambda: 0), 0) == State()
    write_supply(tmp_path, "ac", type="Mains", online=1)
    assert Gauge().put(read(tmp_path, lambda: 0), 0) == State(on_mains=True)
    write_supply(tmp_path, "bat", type="Battery", status="Unknown", capacity="many", power_now="1e9")
    assert Gauge().put(read(tmp_path, lambda: 0), 0) == State(on_mains=True)
    write_supply(tmp_path, "bat", type="Battery", present=0, capacity=100)
    assert read(tmp_path, lambda: 0).percent is None


@given(st.binary(max_size=200))
def test_no_content_of_a_file_does_harm(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    folder = tmp_path_factory.mktemp("power")
    write_supply(folder, "bat", type="Battery", status="Discharging")
    for name in ("capacity", "energy_now", "power_now", "time_to_empty_avg"):
        (folder / "bat" / name).write_bytes(content)
    state = Gauge().put(read(folder, lambda: 0), 0)
    assert state.percent is None or 0 <= state.percent <= 100
    assert state.minutes is None or state.minutes >= 0


def test_a_driver_that_hangs_is_given_up_for_a_while(tmp_path: Path) -> None:
    write_supply(tmp_path, "bat", type="Battery", status="Discharging", capacity=1)
    now = [0]

    def clock_ns() -> int:
        now[0] += SLOW_NS // 2
        return now[0]

    with pytest.raises(TimeoutError):
        read(tmp_path, clock_ns)
    battery = Battery(BatterySection(folder=str(tmp_path)), clock_ns)
    assert battery.tick() == []
    assert battery.state == State()
    before = now[0]
    now[0] += 2 * LOOK_NS
    battery.tick()
    assert now[0] == before + 2 * LOOK_NS + SLOW_NS // 2, "it has not been read again"


def test_the_rate_is_smoothed() -> None:
    gauge = Gauge()
    calm = Reading(50, discharging=True, amount=10_000_000, rate=5_000_000)
    peak = calm._replace(rate=20_000_000)
    for index in range(10):
        gauge.put(calm, index * LOOK_NS)
    after_peak = gauge.put(peak, 10 * LOOK_NS).minutes
    assert after_peak is not None
    assert 80 < after_peak < 120
    for index in range(11, 200):
        lasting = gauge.put(peak, index * LOOK_NS).minutes
    assert lasting == 30


def test_minutes_come_from_percents_where_nothing_else_is_known() -> None:
    gauge, minutes = Gauge(), []
    for second in range(0, 40 * 60, 15):
        percent = 80 - second // 120  # a percent in two minutes
        minutes.append(gauge.put(Reading(percent, discharging=True), second * 1_000_000_000).minutes)
    assert minutes[0] is None, "nobody knows yet"
    known = [(index * 15 / 60, value) for index, value in enumerate(minutes) if value is not None]
    assert known[0][0] <= 7
    assert all(abs(value - (162 - after)) <= 8 for after, value in known)
    charging = gauge.put(Reading(60, discharging=False), 41 * MINUTE_NS)
    assert charging.minutes is None
    assert gauge.put(Reading(60, discharging=True), 42 * MINUTE_NS).minutes is None


def watch() -> BatteryWatch:
    return BatteryWatch.of(BatterySection())


def test_each_warning_comes_once_and_again_after_charging() -> None:
    one = watch()
    told = [one.put(State(None, minutes, on_mains=False)) for minutes in (40, 21, 20, 19, 21, 20, 10, 9, 10, 2, 1, 1)]
    assert [index for index, due in enumerate(told) if due] == [2, 6, 10]
    assert told[2] == [Warn(20, None)]
    assert told[10] == [Exhausted()]
    assert one.put(State(30, None, on_mains=True)) == []
    assert one.put(State(8, 10, on_mains=False)) == [Warn(10, 8)], "both levels at once are one warning"


def test_percents_are_used_while_the_minutes_are_unknown() -> None:
    one = watch()
    assert one.put(State(21, None, on_mains=False)) == []
    assert one.put(State(20, None, on_mains=False)) == [Warn(None, 20)]
    assert one.put(State(2, None, on_mains=False)) == [Warn(None, 2), Exhausted()]


def test_nothing_is_ended_on_a_guess() -> None:
    assert watch().put(State(1, None, on_mains=None)) == [Warn(None, 1)]
    assert watch().put(State(1, None, on_mains=True)) == []
    assert watch().put(State()) == []


def test_low_is_shown_with_its_minutes(tmp_path: Path) -> None:
    now = [0]
    battery = Battery(BatterySection(folder=str(tmp_path)), lambda: now[0])
    write_supply(tmp_path, "bat", type="Battery", status="Discharging", capacity=15)
    battery.tick()
    assert battery.low_minutes == 0, "low, and not known for how long"
    write_supply(
        tmp_path, "bat", type="Battery", status="Discharging", capacity=15, energy_now=1_500_000, power_now=6_000_000
    )
    now[0] += LOOK_NS
    battery.tick()
    assert battery.low_minutes == 15
    write_supply(tmp_path, "bat", type="Battery", status="Charging", capacity=15)
    now[0] += LOOK_NS
    battery.tick()
    assert battery.low_minutes is None
