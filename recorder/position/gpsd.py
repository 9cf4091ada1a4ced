"""What gpsd says, as a fix (gpsd's JSON protocol, version 3; man page gpsd_json). Pure.

Only TPV reports are read. Everything in them is foreign: numbers out of bounds, times that are none, and reports
without a position are no fix. A line that is not understood is passed over; a line without end ends the connection.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from recorder.lines import LineSplitter

WATCH: Final = b'?WATCH={"enable":true,"json":true};\n'
MAX_LINE_SIZE_BYTES: Final = 16 << 10
"""gpsd's own longest answer has 10,240."""
MODE_2D: Final = 2
"""Of TPV's ``mode``: a position without height; 3 has one, below 2 there is no fix."""
MAX_ACCURACY_MM: Final = 100_000_000
"""A hundred kilometres: a worse figure is not kept."""
_LARGEST: Final = 10**12
_LATITUDE: Final = 90 * 10**7
_LONGITUDE: Final = 180 * 10**7
_EARLIEST: Final = datetime(2020, 1, 1, tzinfo=UTC)
_LATEST: Final = datetime(2200, 1, 1, tzinfo=UTC)


class Fix(NamedTuple):
    """One position, as a receiver gave it. Integers: records know no fractions."""

    latitude_e7: int
    longitude_e7: int
    accuracy_mm: int | None
    """Estimated horizontal error, where gpsd tells (``eph``)."""
    utc_ns: int | None
    """Satellite time of the fix."""


class Reports:
    """Turns gpsd's stream into fixes."""

    def __init__(self) -> None:
        self._lines = LineSplitter(MAX_LINE_SIZE_BYTES)
        self.version: str | None = None
        """gpsd's release, once it has said so."""

    def feed(self, data: bytes) -> list[Fix | None]:
        """Take the next bytes; return what their reports say, oldest first: a fix, or None for "no fix now".

        Raises:
            recorder.lines.LineTooLongError: this is not gpsd.
        """
        found = []
        for line in self._lines.feed(data):
            report = _parse(line)
            if report is None:
                continue
            if report.get("class") == "VERSION":
                self.version = str(report.get("release"))[:40]
            elif report.get("class") == "TPV":
                found.append(fix_of(report))
        return found


def fix_of(report: dict[str, Any]) -> Fix | None:
    """Return the fix of a TPV report, None where it has none that can be believed."""
    mode = report.get("mode")
    if not isinstance(mode, int) or mode < MODE_2D:
        return None
    latitude, longitude = _scaled(report.get("lat"), 10**7), _scaled(report.get("lon"), 10**7)
    if latitude is None or longitude is None or abs(latitude) > _LATITUDE or abs(longitude) > _LONGITUDE:
        return None
    accuracy = _scaled(report.get("eph"), 1000)
    if accuracy is not None and not 0 < accuracy <= MAX_ACCURACY_MM:
        accuracy = None
    return Fix(latitude, longitude, accuracy, _utc_ns(report.get("time")))


def _parse(line: bytes) -> dict[str, Any] | None:
    try:
        report = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return report if isinstance(report, dict) else None


def _scaled(value: object, factor: int) -> int | None:
    # A bool is an int to Python; JSON's NaN and Infinity are floats, and no number is below them.
    if isinstance(value, bool) or not isinstance(value, int | float) or not -_LARGEST < value < _LARGEST:
        return None
    return round(value * factor)


def _utc_ns(value: object) -> int | None:
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return None
    if moment.tzinfo is None or not _EARLIEST <= moment < _LATEST:
        return None  # also a receiver whose week count has begun anew
    return round(moment.timestamp() * 1000) * 1_000_000
