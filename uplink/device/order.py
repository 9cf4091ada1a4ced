"""Whose media go first, and whether they will be in time; pure.

First the sessions in which somebody marked an incident; then those still in time, the nearest deadline first; those
already late come last and are never dropped, because they would otherwise make all others late too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

HAND_OVER_NS: Final = 24 * 3600 * 1_000_000_000
"""Hand-over within twenty-four hours (R12)."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A session with media that have no receipt."""

    session: int
    """Number of the session in the uplink's index; the older one has the smaller number."""
    incident: bool
    deadline_utc_ns: int | None
    """None where the device's clock was never bound to UTC: urgent, and never called late."""
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Forecast:
    """What will not be handed over in time at this rate."""

    late_sessions: int
    """Past their deadline already."""
    endangered_sessions: int
    """Still in time, but not at this rate."""
    first_deadline_utc_ns: int | None
    """The nearest deadline that will not be kept."""


def rank(waiting: Waiting, now_utc_ns: int | None) -> tuple[int, int, int]:
    """Return the sort key of a session; smaller goes first.

    Args:
        waiting: the session.
        now_utc_ns: the time, or None while the clock is unset: then nothing counts as late.
    """
    if waiting.incident:
        place = 0
    elif now_utc_ns is not None and waiting.deadline_utc_ns is not None and waiting.deadline_utc_ns < now_utc_ns:
        place = 2
    else:
        place = 1
    return place, waiting.deadline_utc_ns or 0, waiting.session


def forecast(sessions: Iterable[Waiting], bytes_per_s: float, now_utc_ns: int | None) -> Forecast:
    """Say what will be late if the sessions are sent in their order at this rate."""
    late = endangered = 0
    first: int | None = None
    before_bytes = 0
    if now_utc_ns is None:
        return Forecast(0, 0, None)
    for waiting in sorted(sessions, key=lambda one: rank(one, now_utc_ns)):
        before_bytes += waiting.size_bytes
        deadline = waiting.deadline_utc_ns
        if deadline is None:
            continue
        if deadline < now_utc_ns:
            late += 1
        elif now_utc_ns + before_bytes / max(bytes_per_s, 1.0) * 1e9 > deadline:
            endangered += 1
            first = deadline if first is None else min(first, deadline)
    return Forecast(late, endangered, first)
