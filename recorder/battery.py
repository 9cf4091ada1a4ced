"""How long the battery will last: what the kernel says of power supplies, smoothed, and when to warn and to end.

The kernel's folder (``/sys/class/power_supply``) holds one folder a supply, each property a file; batteries of
UPS boards appear there through their drivers. What no file tells is unknown, and is said as unknown. A driver that
hangs keeps its reader waiting: so few files are read, seldom, and a look that takes long is given up.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from recorder.config import BatterySection

LOOK_NS: Final = 15_000_000_000
SLOW_NS: Final = 300_000_000
"""A look that takes longer is given up, and the next one comes after :data:`SLOW_PAUSE_NS`."""
SLOW_PAUSE_NS: Final = 600_000_000_000
SMOOTH_NS: Final = 120_000_000_000
"""The rate of discharge follows its readings with this time constant."""
STEPS: Final = 2
"""Where only whole percents are known, so many of them must have gone before a rate is known."""
MAX_MINUTES: Final = 7 * 24 * 60
"""A rate that would take longer is no rate."""
HOUR_NS: Final = 3_600_000_000_000
MINUTE_NS: Final = 60_000_000_000
_MAX_SUPPLIES: Final = 16
_MAX_FILE_SIZE_BYTES: Final = 64
_MAX_VALUE: Final = 10**12
_PERCENT: Final = 100
_ON_MAINS: Final = ("Charging", "Full", "Not charging")


class Reading(NamedTuple):
    """What the kernel says of the battery. Amounts are µWh and µW, or µAh and µA; None is unknown."""

    percent: int | None = None
    discharging: bool | None = None
    amount: int | None = None
    """What is left in it."""
    rate: int | None = None
    """What is being drawn from it, in a thousandth of a thousandth of the amount's unit an hour."""
    seconds_left: int | None = None
    """The gauge's own estimate."""


class State(NamedTuple):
    """What is known of the power; None is unknown, or there is no battery."""

    percent: int | None = None
    minutes: int | None = None
    """Until it is empty, while it is discharging."""
    on_mains: bool | None = None


@dataclass(frozen=True, slots=True)
class Warn:
    """The officer is to be told."""

    minutes: int | None
    percent: int | None


@dataclass(frozen=True, slots=True)
class Exhausted:
    """What is being recorded is to be ended in order, now."""


def read(folder: Path, clock_ns: Callable[[], int]) -> Reading:
    """Read the first battery that powers this device.

    Args:
        folder: The kernel's folder of power supplies.
        clock_ns: Boot-time.

    Raises:
        TimeoutError: a driver keeps its reader waiting.
    """
    until_ns = clock_ns() + SLOW_NS
    try:
        supplies = sorted(folder.iterdir())[:_MAX_SUPPLIES]
    except OSError:
        return Reading()
    mains = None
    battery = None
    for supply in supplies:
        kind = _word(supply / "type")
        if kind == "Battery" and battery is None and _word(supply / "scope") != "Device":
            battery = supply
        elif kind in ("Mains", "USB"):
            mains = mains or _word(supply / "online") == "1"
        _in_time(clock_ns, until_ns)
    if battery is None or _word(battery / "present") == "0":
        return Reading(discharging=None if mains is None else not mains)
    values = {}
    for name in ("capacity", "energy_now", "power_now", "charge_now", "current_now", "time_to_empty_avg"):
        values[name] = _number(battery / name)
        _in_time(clock_ns, until_ns)
    percent, (amount, rate) = values["capacity"], _amounts(values)
    return Reading(
        percent=None if percent is None else min(percent, _PERCENT),
        discharging=_discharging(_word(battery / "status"), mains),
        amount=amount,
        rate=rate or None,
        seconds_left=values["time_to_empty_avg"] or None,
    )


def _amounts(values: dict[str, int | None]) -> tuple[int | None, int | None]:
    """Return what is left and what is drawn, of one kind."""
    if values["energy_now"] is not None and values["power_now"]:
        return values["energy_now"], values["power_now"]
    return values["charge_now"], values["current_now"]


def _discharging(status: str, mains: bool | None) -> bool | None:
    if status in ("Discharging", *_ON_MAINS):
        return status == "Discharging"
    return None if mains is None else not mains


def _in_time(clock_ns: Callable[[], int], until_ns: int) -> None:
    if clock_ns() > until_ns:
        raise TimeoutError


def _word(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(_MAX_FILE_SIZE_BYTES).decode("ascii", "replace").strip()
    except OSError:
        return ""


def _number(path: Path) -> int | None:
    """Return a property as a number without its sign: drivers do not agree on the sign of what is drawn."""
    word = _word(path)
    digits = word.removeprefix("-")
    if not digits.isascii() or not digits.isdigit():
        return None
    value = int(digits)
    return value if value <= _MAX_VALUE else None


@dataclass(slots=True)
class Gauge:
    """Turns readings into minutes left. Pure; times are boot-time in nanoseconds."""

    state: State = field(default_factory=State)
    _rate: float | None = None
    """Smoothed, in what the reading counts in, an hour; of percents where that is all there is."""
    _read_ns: int = 0
    _percents: list[tuple[int, int]] = field(default_factory=list)
    """Time and value at each change of the percents while discharging, the newest few."""

    def put(self, reading: Reading, now_ns: int) -> State:
        """Take a reading; return what is known now."""
        if not reading.discharging:
            self._rate, self._percents = None, []
            self.state = State(reading.percent, None, None if reading.discharging is None else True)
            return self.state
        self.state = State(reading.percent, self._minutes(reading, now_ns), on_mains=False)
        self._read_ns = now_ns
        return self.state

    def _minutes(self, reading: Reading, now_ns: int) -> int | None:
        if reading.amount is not None and reading.rate is not None:
            weight = -math.expm1(-(now_ns - self._read_ns) / SMOOTH_NS)
            before = self._rate
            self._rate = reading.rate if before is None else before + weight * (reading.rate - before)
            return _bounded(reading.amount / self._rate * 60)
        if reading.seconds_left is not None:
            return _bounded(reading.seconds_left / 60)
        return self._by_percents(reading.percent, now_ns)

    def _by_percents(self, percent: int | None, now_ns: int) -> int | None:
        if percent is None:
            return None
        known = self._percents
        if not known or percent != known[-1][1]:
            if known and percent > known[-1][1]:
                known.clear()
            known.append((now_ns, percent))
            del known[: -(STEPS * 5 + 1)]
        # The first value was met somewhere within its percent: only whole steps between two changes are measured.
        steps = known[1:]
        gone = steps[0][1] - steps[-1][1] if steps else 0
        if gone < STEPS:
            return None
        # A step that takes longer than those before it slows the rate already.
        passed_ns = max(steps[-1][0] - steps[0][0], (now_ns - steps[0][0]) * gone // (gone + 1))
        into = min((now_ns - steps[-1][0]) * gone / passed_ns, 1.0)
        return _bounded((percent + 1 - into) * passed_ns / gone / MINUTE_NS)


def _bounded(minutes: float) -> int | None:
    return int(minutes) if minutes <= MAX_MINUTES else None


@dataclass(slots=True)
class BatteryWatch:
    """Says when the officer is to be warned, and when recording is to be ended. Pure.

    Each level is told once a discharge. A start after the last one is recorded all the same: a device never refuses.
    """

    warn_minutes: Sequence[int]
    warn_percent: Sequence[int]
    """Used where the minutes are not known."""
    end_minutes: int
    end_percent: int
    _told: set[int] = field(default_factory=set)
    """Levels that were told, by their place in the list."""
    _ended: bool = False

    @classmethod
    def of(cls, section: BatterySection) -> BatteryWatch:
        """Return one as configured."""
        return cls(section.warn_minutes, section.warn_percent, section.end_minutes, section.end_percent)

    def is_low(self, state: State) -> bool:
        """Tell whether the lights are to say that the battery is low."""
        return any(self._below(state, level) for level in range(self._levels))

    def put(self, state: State) -> list[Warn | Exhausted]:
        """Take what is known now; return what is to be done."""
        if state.on_mains:
            self._told.clear()
            self._ended = False
            return []
        due: list[Warn | Exhausted] = []
        fresh = {level for level in range(self._levels) if self._below(state, level)} - self._told
        if fresh:
            self._told |= fresh
            due.append(Warn(state.minutes, state.percent))
        if not self._ended and self._exhausted(state):
            self._ended = True
            due.append(Exhausted())
        return due

    @property
    def _levels(self) -> int:
        return max(len(self.warn_minutes), len(self.warn_percent))

    def _below(self, state: State, level: int) -> bool:
        if state.on_mains:
            return False
        if state.minutes is not None:
            return level < len(self.warn_minutes) and state.minutes <= self.warn_minutes[level]
        return (
            state.percent is not None and level < len(self.warn_percent) and state.percent <= self.warn_percent[level]
        )

    def _exhausted(self, state: State) -> bool:
        if state.on_mains is not False:
            return False  # not known to be on its battery: nothing is ended on a guess
        by_minutes = state.minutes is not None and state.minutes < self.end_minutes
        return by_minutes or (state.percent is not None and state.percent < self.end_percent)


class Battery:
    """The battery of this device: looks at it now and then."""

    def __init__(self, section: BatterySection, clock_ns: Callable[[], int]) -> None:
        self._folder, self._clock_ns = Path(section.folder), clock_ns
        self._gauge, self._watch = Gauge(), BatteryWatch.of(section)
        self._due_ns = 0

    @property
    def state(self) -> State:
        """What is known."""
        return self._gauge.state

    @property
    def low_minutes(self) -> int | None:
        """Minutes left when that is few; 0 where it is few and not known how many; None when it is not few."""
        return (self.state.minutes or 0) if self._watch.is_low(self.state) else None

    def tick(self) -> list[Warn | Exhausted]:
        """Look when it is time; return what is to be done."""
        now_ns = self._clock_ns()
        if now_ns < self._due_ns:
            return []
        self._due_ns = now_ns + LOOK_NS
        try:
            reading = read(self._folder, self._clock_ns)
        except TimeoutError:
            self._due_ns = now_ns + SLOW_PAUSE_NS
            reading = Reading()
        return self._watch.put(self._gauge.put(reading, now_ns))
