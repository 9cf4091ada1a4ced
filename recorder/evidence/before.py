"""What a device says of the time before a recording: since when it was on, idle, and checked. Pure.

It is the device's own account, signed when the recording began; the device log, which is not part of a package, has a
signed heartbeat for each hour of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from recorder.evidence.duty import Says, says

if TYPE_CHECKING:
    from recorder.evidence.details import Position
    from recorder.evidence.facts import Facts

MAX_ON_NS = 10 * 366 * 86_400 * 10**9


def before(facts: Facts) -> list[Says]:
    """Return what is known of the device before the recording began, as sentences."""
    opening = facts.line.open_body
    if opening is None:
        return []
    found = []
    # CLOCK_BOOTTIME counts from power-on.
    on_ns = opening.zero_boottime_ns
    if on_ns <= MAX_ON_NS:
        found.append(says("report.before.on", length=on_ns))
    since_ns = opening.idle_since_boottime_ns
    if since_ns is not None and since_ns <= on_ns:
        found.append(says("report.before.idle", length=on_ns - since_ns))
    if opening.checked is not None:
        found.append(says("report.before.checked", utc_ns=opening.checked_utc_ns, checked=opening.checked))
    elif opening.mode != "continuous":
        found.append(says("report.before.unchecked"))
    return found


def in_words(position: Position) -> str:
    """Return a position as people write it: degrees to five places, a metre or so, and how sure it is."""
    latitude, longitude = position.latitude_e7, position.longitude_e7
    north, east = "N" if latitude >= 0 else "S", "E" if longitude >= 0 else "W"
    words = f"{_degrees(latitude)}°{north} {_degrees(longitude)}°{east}"
    return words if position.accuracy_mm is None else f"{words} ±{max(1, round(position.accuracy_mm / 1000))} m"


def _degrees(value_e7: int) -> str:
    return f"{abs(value_e7) // 10**7}.{abs(value_e7) % 10**7 // 100:05}"
