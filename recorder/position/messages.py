"""What the position process tells the recorder: lines of JSON over ``<run>/position.sock``, one a second at most.

The recorder answers nothing. It believes none of it further than "a receiver said so": what it signs of it is a claim
of the device, in a file of its own.
"""

from __future__ import annotations

from typing import Final

import msgspec

from recorder.errors import RecorderError
from recorder.lines import LineSplitter, LineTooLongError
from recorder.position.gpsd import MAX_ACCURACY_MM, Fix

SOCKET_NAME: Final = "position.sock"
MAX_LINE_SIZE_BYTES: Final = 1 << 10
_MAX_NS: Final = 1 << 62


class PositionError(RecorderError):
    """The other end said something that has no place here, or is gone."""


class Report(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """How the receiver stands."""

    boottime_ns: int
    """When gpsd's report came."""
    state: str
    """``fix``, ``no-fix`` (gpsd answers, and sees too few satellites) or ``no-gpsd``."""
    latitude_e7: int | None = None
    longitude_e7: int | None = None
    accuracy_mm: int | None = None
    utc_ns: int | None = None

    @property
    def fix(self) -> Fix | None:
        """The position in it, if any."""
        if self.latitude_e7 is None or self.longitude_e7 is None:
            return None
        return Fix(self.latitude_e7, self.longitude_e7, self.accuracy_mm, self.utc_ns)


def encode(boottime_ns: int, state: str, fix: Fix | None = None) -> bytes:
    """Return a report as a line."""
    fields = fix._asdict() if fix is not None else {}
    return msgspec.json.encode(Report(boottime_ns=boottime_ns, state=state, **fields)) + b"\n"


class Reports:
    """Turns what arrives into reports."""

    def __init__(self) -> None:
        self._lines = LineSplitter(MAX_LINE_SIZE_BYTES)

    def feed(self, data: bytes) -> list[Report]:
        """Take the next bytes; return the reports that they complete.

        Raises:
            PositionError: too long, or not such a report.
        """
        try:
            return [_parse(line) for line in self._lines.feed(data)]
        except LineTooLongError as error:
            raise PositionError(str(error)) from error


def _parse(line: bytes) -> Report:
    try:
        report = msgspec.json.decode(line, type=Report, strict=True)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise PositionError(f"not a report: {str(error)[:100]}") from error
    fix = report.fix
    if report.state not in ("fix", "no-fix", "no-gpsd") or (report.state == "fix") != (fix is not None):
        raise PositionError("a state that there is not")
    if not 0 <= report.boottime_ns < _MAX_NS:
        raise PositionError("a time is out of bounds")
    if fix is not None:
        if abs(fix.latitude_e7) > 90 * 10**7 or abs(fix.longitude_e7) > 180 * 10**7:
            raise PositionError("a position is out of bounds")
        if fix.accuracy_mm is not None and not 0 < fix.accuracy_mm <= MAX_ACCURACY_MM:
            raise PositionError("an accuracy is out of bounds")
        if fix.utc_ns is not None and not 0 <= fix.utc_ns < _MAX_NS:
            raise PositionError("a time is out of bounds")
    return report
