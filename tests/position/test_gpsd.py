"""What gpsd and whoever pretends to be it can send, and when a position is put on record: pure."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder.lines import LineSplitter, LineTooLongError
from recorder.places import EVERY_NS, FRESH_NS, SOONEST_NS, Places, distance_m, moved
from recorder.position import gpsd, messages
from recorder.position.gpsd import Fix, fix_of

TPV = {"class": "TPV", "mode": 3, "time": "2026-11-21T09:30:08.000Z", "lat": 41.1089, "lon": 122.9949, "eph": 17.1}
SECOND_NS = 10**9


def test_a_report_becomes_a_fix() -> None:
    assert fix_of(TPV) == Fix(411089000, 1229949000, 17100, 1795253408 * SECOND_NS)


@pytest.mark.parametrize(
    "change",
    [
        {"mode": 1},
        {"mode": 0},
        {"mode": None},
        {"mode": "3"},
        {"lat": None},
        {"lat": 90.1},
        {"lon": -181},
        {"lat": float("nan")},
        {"lon": float("inf")},
        {"lat": True},
        {"lat": "41.1"},
        {"lat": 10**400},
    ],
)
def test_what_is_no_position_is_no_fix(change: dict[str, object]) -> None:
    assert fix_of(TPV | change) is None


@pytest.mark.parametrize(
    "time", ["2007-04-07T00:00:00.000Z", "9999-12-31T23:59:59Z", "yesterday", 5, None, "2026-11-21"]
)
def test_a_time_that_cannot_be_is_left_out_and_the_position_kept(time: object) -> None:
    found = fix_of(TPV | {"time": time})
    assert found is not None
    assert found.utc_ns is None


@pytest.mark.parametrize("eph", [0, -1, 10**9, "x", float("nan"), True])
def test_an_accuracy_that_cannot_be_is_left_out(eph: object) -> None:
    found = fix_of(TPV | {"eph": eph})
    assert found is not None
    assert found.accuracy_mm is None


def test_garbage_between_reports_is_passed_over_and_loss_of_the_fix_is_told() -> None:
    lines = [
        b'{"class":"VERSION","release":"3.22"}',
        b"\xff\xfe not json",
        b"[" * 9000,
        b"[]",
        b"17",
        json.dumps(TPV).encode(),
        b'{"class":"SKY","satellites":[]}',
        b'{"class":"TPV","mode":1}',
    ]
    reports = gpsd.Reports()
    data = b"\n".join(lines) + b"\n"
    found = [one for at in range(0, len(data), 7) for one in reports.feed(data[at : at + 7])]
    assert found == [fix_of(TPV), None]
    assert reports.version == "3.22"


def test_a_line_without_end_is_given_up_before_it_fills_the_memory() -> None:
    reports = gpsd.Reports()
    for _ in range(gpsd.MAX_LINE_SIZE_BYTES // 1000):
        reports.feed(b"x" * 1000)
    with pytest.raises(LineTooLongError):
        reports.feed(b"x" * 1000)


@given(st.binary(max_size=3000))
def test_no_bytes_break_the_reader(data: bytes) -> None:
    reports = gpsd.Reports()
    for part in (data, b"\n", data, b"\n"):
        for found in reports.feed(part):
            assert found is None or abs(found.latitude_e7) <= 90 * 10**7


@given(st.lists(st.binary(max_size=40).filter(lambda one: b"\n" not in one)), st.integers(1, 9))
def test_lines_come_whole_however_they_are_cut(lines: list[bytes], size: int) -> None:
    data = b"".join(line + b"\n" for line in lines)
    splitter = LineSplitter(100)
    assert [one for at in range(0, len(data), size) for one in splitter.feed(data[at : at + size])] == lines


def test_the_recorder_reads_back_what_the_process_tells() -> None:
    fix = fix_of(TPV)
    (report,) = messages.Reports().feed(messages.encode(5, "fix", fix))
    assert (report.boottime_ns, report.state, report.fix) == (5, "fix", fix)
    (report,) = messages.Reports().feed(messages.encode(5, "no-gpsd"))
    assert report.fix is None


@pytest.mark.parametrize(
    "line",
    [
        b"{}",
        b"x" * 2000,
        b'{"boottime_ns":1,"state":"fix"}',
        b'{"boottime_ns":1,"state":"no-fix","latitude_e7":1,"longitude_e7":1}',
        b'{"boottime_ns":1,"state":"lost"}',
        b'{"boottime_ns":-1,"state":"no-fix"}',
        b'{"boottime_ns":1,"state":"fix","latitude_e7":900000001,"longitude_e7":1}',
        b'{"boottime_ns":1,"state":"fix","latitude_e7":1,"longitude_e7":1,"accuracy_mm":-3}',
        b'{"boottime_ns":1,"state":"fix","latitude_e7":1,"longitude_e7":1,"utc_ns":9223372036854775807}',
        b'{"boottime_ns":1,"state":"fix","latitude_e7":1.5,"longitude_e7":1}',
    ],
)
def test_a_false_position_process_is_cut_off(line: bytes) -> None:
    with pytest.raises(messages.PositionError):
        messages.Reports().feed(line + b"\n")


# -- when it is put on record ----------------------------------------------------------------------------------------

HERE = Fix(411_089_000, 1_229_949_000, 5000, None)


def north_of(fix: Fix, metres: float) -> Fix:
    return fix._replace(latitude_e7=fix.latitude_e7 + round(metres / 111_195 * 1e7))


def test_distances() -> None:
    assert distance_m(HERE, north_of(HERE, 60)) == pytest.approx(60, abs=0.1)
    east = HERE._replace(longitude_e7=HERE.longitude_e7 + 10_000)
    assert distance_m(HERE, east) == pytest.approx(83.8, abs=0.5)
    line = HERE._replace(longitude_e7=1_799_999_000), HERE._replace(longitude_e7=-1_799_999_000)
    assert distance_m(*line) == pytest.approx(16.8, abs=0.2)


@pytest.mark.rule("R6")
def test_a_session_gets_the_fix_from_before_it_only_while_that_is_fresh() -> None:
    places = Places()
    places.fixed(HERE, 0, 0)
    assert places.due(b"a", FRESH_NS) == HERE
    assert places.due(b"b", FRESH_NS + 1) is None
    places.fixed(HERE, FRESH_NS + 2, 0)
    assert places.due(b"b", FRESH_NS + 2) == HERE


def test_two_sessions_at_once_each_get_theirs_once() -> None:
    places = Places()
    places.fixed(HERE, 0, 0)
    assert [places.due(one, 1) for one in (b"a", b"b", b"a", b"b")] == [HERE, HERE, None, None]
    places.closed({b"a"})
    assert [places.due(one, 2) for one in (b"a", b"b")] == [None, HERE]


@pytest.mark.rule("R6")
def test_a_move_is_put_on_record_and_standing_still_every_five_minutes() -> None:
    places, given_at = Places(), []
    for second in range(900):
        now = second * SECOND_NS
        # Ten minutes on the spot with a receiver that wanders, then a walk.
        metres = second % 7 if second < 600 else (second - 600) * 1.5
        places.fixed(north_of(HERE, metres), now, 0)
        if places.due(b"s", now):
            given_at.append(second)
    assert given_at[:3] == [0, 300, 600]
    steps = [later - earlier for earlier, later in pairwise(given_at[2:])]
    assert steps
    assert all(SOONEST_NS <= step * SECOND_NS < EVERY_NS for step in steps)


def test_a_bad_receiver_does_not_move_the_device() -> None:
    assert moved(HERE, north_of(HERE, 60))
    assert not moved(HERE, north_of(HERE, 60)._replace(accuracy_mm=90_000))


def test_without_a_new_fix_nothing_is_said_again() -> None:
    places = Places()
    places.fixed(HERE, 0, 0)
    assert [places.due(b"s", at * SECOND_NS) is not None for at in range(60)] == [True] + [False] * 59


@given(st.lists(st.tuples(st.integers(0, 10**11), st.booleans(), st.integers(-(10**6), 10**6)), max_size=60))
def test_never_more_often_than_every_half_minute(steps: list[tuple[int, bool, int]]) -> None:
    places, now, last = Places(), 0, None
    for wait, comes, north in steps:
        now += wait
        if comes:
            places.fixed(HERE._replace(latitude_e7=HERE.latitude_e7 + north), now, 0)
        if places.due(b"s", now) is not None:
            assert last is None or now - last >= SOONEST_NS
            last = now
