"""Link rate, order of media, forecast."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uplink.device.order import Waiting, forecast, rank
from uplink.device.rate import FLOOR_BYTES_PER_S, LinkRate
from uplink.protocol import MAX_PIECE_SIZE_BYTES, MIN_PIECE_SIZE_BYTES

HOUR_NS = 3600 * 10**9
NOW_NS = 1_790_000_000 * 10**9


def simulate(rate: LinkRate, bytes_per_s: float, round_trip_s: float, seconds: float) -> float:
    """Say hello, then send pieces as the window allows; return the share of the line used in the second half."""
    rate.published(0, 300, 0.0)
    now = idle_from = 300 / bytes_per_s + round_trip_s
    rate.acknowledged(0, now)
    under_way: list[tuple[float, int, int]] = []
    token = sent = 0
    while now < seconds:
        while not under_way or rate.under_way_size_bytes + rate.piece_size_bytes <= rate.window_size_bytes:
            size = rate.piece_size_bytes
            token += 1
            rate.published(token, size, now)
            idle_from = max(idle_from, now) + size / bytes_per_s
            under_way.append((idle_from + round_trip_s, token, size))
        now, first, size = under_way.pop(0)
        rate.acknowledged(first, now)
        sent += size if now > seconds / 2 else 0
    return sent / (seconds / 2 * bytes_per_s)


@pytest.mark.parametrize("bytes_per_s", [5_000, 20_000, 200_000, 2_000_000])
@pytest.mark.parametrize("round_trip_s", [0.002, 0.1, 0.8])
def test_pieces_stay_short_and_the_line_is_full(bytes_per_s: int, round_trip_s: float) -> None:
    rate = LinkRate()
    assert simulate(rate, bytes_per_s, round_trip_s, 120) > 0.9
    assert rate.bytes_per_s == pytest.approx(bytes_per_s, rel=0.3)
    assert rate.piece_size_bytes / bytes_per_s < 0.4 or rate.piece_size_bytes == MIN_PIECE_SIZE_BYTES
    # A record waits for what is queued besides what the line itself holds: two piece times at most.
    assert rate.window_size_bytes - round_trip_s * bytes_per_s <= 2 * 1.3 * rate.piece_size_bytes


def test_a_line_that_became_slow_gets_small_pieces_after_the_connection_was_lost() -> None:
    rate = LinkRate()
    simulate(rate, 2_000_000, 0.05, 20)
    assert rate.piece_size_bytes > 400_000
    rate.lost(0.0)  # nothing was under way: only a fresh, careful start
    rate.connected()
    rate.published(10**6, rate.piece_size_bytes, 100.0)
    rate.lost(140.0)
    rate.connected()
    assert rate.piece_size_bytes <= 16 << 10


def test_the_brokers_limit_bounds_a_piece() -> None:
    rate = LinkRate(bytes_per_s=50e6)
    rate.connected(100_000)
    assert rate.piece_size_bytes < 100_000


@given(
    st.lists(st.tuples(st.sampled_from("sal"), st.integers(1, 2 << 20), st.floats(0, 60, allow_nan=False)), max_size=60)
)
def test_nothing_makes_the_sizes_leave_their_bounds(events: list[tuple[str, int, float]]) -> None:
    rate = LinkRate()
    now, token = 0.0, 0
    for kind, size, later in events:
        now += later
        if kind == "s":
            token += 1
            rate.published(token, size, now)
        elif kind == "a":
            rate.acknowledged(token - size % 3, now)
        else:
            rate.lost(now)
            rate.connected()
        assert MIN_PIECE_SIZE_BYTES <= rate.piece_size_bytes <= MAX_PIECE_SIZE_BYTES
        assert rate.window_size_bytes >= rate.piece_size_bytes
        assert rate.bytes_per_s >= FLOOR_BYTES_PER_S
        assert rate.under_way_size_bytes >= 0


def test_incident_then_in_time_by_deadline_then_late() -> None:
    late = Waiting(1, incident=False, deadline_utc_ns=NOW_NS - 1, size_bytes=1)
    later = Waiting(2, incident=False, deadline_utc_ns=NOW_NS - 2, size_bytes=1)
    near = Waiting(3, incident=False, deadline_utc_ns=NOW_NS + HOUR_NS, size_bytes=1)
    far = Waiting(4, incident=False, deadline_utc_ns=NOW_NS + 9 * HOUR_NS, size_bytes=1)
    unbound = Waiting(5, incident=False, deadline_utc_ns=None, size_bytes=1)
    incident = Waiting(6, incident=True, deadline_utc_ns=NOW_NS - 9 * HOUR_NS, size_bytes=1)
    sessions = [far, late, unbound, near, later, incident]
    assert sorted(sessions, key=lambda one: rank(one, NOW_NS)) == [incident, unbound, near, far, later, late]
    # While the clock is unset nothing counts as late.
    assert sorted([near, late], key=lambda one: rank(one, None)) == [late, near]


def test_a_backlog_is_foreseen() -> None:
    first = Waiting(1, incident=False, deadline_utc_ns=NOW_NS + HOUR_NS, size_bytes=3600 * 1000)
    second = Waiting(2, incident=False, deadline_utc_ns=NOW_NS + 2 * HOUR_NS, size_bytes=3600 * 2000)
    gone = Waiting(3, incident=False, deadline_utc_ns=NOW_NS - 1, size_bytes=10**12)
    assert forecast([first, second], 2000, NOW_NS).endangered_sessions == 0
    found = forecast([first, second, gone], 1200, NOW_NS)
    assert (found.late_sessions, found.endangered_sessions, found.first_deadline_utc_ns) == (1, 1, NOW_NS + 2 * HOUR_NS)
    assert forecast([gone], 1.0, None).late_sessions == 0
