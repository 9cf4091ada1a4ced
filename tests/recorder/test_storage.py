"""How long the storage lasts, and what an officer is told by itself: decisions without a disk or a voice."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder.advice import CERTIFICATE_EVERY_NS, DAY_NS, HOUR_NS, UPLOAD_EVERY_NS, Adviser, Facts, Uploads
from recorder.config import SourceSection, StreamSection
from recorder.evidence import texts
from recorder.storage import (
    CRITICAL,
    FULL,
    LEVELS,
    LOW,
    MINUTE_NS,
    PLENTY,
    Room,
    Storage,
    Thresholds,
    expected_rate_bytes_per_s,
)
from recorder.voice.sounds import spoken_argument

MIB = 1 << 20
SECOND_NS = 10**9
BODY_WORN = StreamSection(
    name="body",
    sources={
        "camera": SourceSection(kind="synthetic", tracks=["video"]),
        "microphone": SourceSection(kind="synthetic", tracks=["audio"]),
    },
)


def storage(low: int = 60, critical: int = 10) -> Storage:
    return Storage(Thresholds(low, critical), expected_rate_bytes_per_s([BODY_WORN]))


def record(one: Storage, seconds: int, rate: int, room: int, *, start_s: int = 0) -> list[Room]:
    """Record at a rate (bytes a second) until so many seconds have passed."""
    return [
        one.look(
            (start_s + at) * SECOND_NS, room_bytes=room - at * rate, written_bytes=at * rate, recording=True, full=False
        )
        for at in range(seconds)
    ]


def test_before_anything_is_recorded_the_configuration_says_how_long() -> None:
    # 4 Mbit/s and 64 kbit/s, with boxes and records: some 1.8 GB an hour.
    room = storage().look(0, room_bytes=1_900 * 10**6, written_bytes=0, recording=False, full=False)
    assert (room.level, room.measured) == (PLENTY, False)
    assert 58 <= room.minutes <= 62


def test_what_is_written_counts_not_what_was_configured() -> None:
    one = storage()
    found = record(one, 120, rate=2 * MIB, room=100_000 * MIB)
    assert not found[10].measured
    assert found[-1].measured
    assert abs(found[-1].rate_bytes_per_s - 2 * MIB) < MIB // 50
    assert found[-1].minutes == (100_000 - 238) // 2 // 60
    # The scene gets quiet: five minutes later the figure is that of now.
    base = 120 * 2 * MIB
    for at in range(120, 500):
        last = one.look(
            at * SECOND_NS,
            room_bytes=10_000 * MIB,
            written_bytes=base + (at - 120) * MIB // 4,
            recording=True,
            full=False,
        )
    assert abs(last.rate_bytes_per_s - MIB // 4) < MIB // 50
    # And it stays for the hour between two recordings.
    idle = one.look(5000 * SECOND_NS, room_bytes=10_000 * MIB, written_bytes=base, recording=False, full=False)
    assert idle.rate_bytes_per_s == last.rate_bytes_per_s


def test_a_gap_in_a_recording_does_not_make_the_rate_zero() -> None:
    one = storage()
    record(one, 60, rate=MIB, room=10_000 * MIB)
    for at in range(60, 600):
        room = one.look(at * SECOND_NS, room_bytes=10_000 * MIB, written_bytes=60 * MIB, recording=True, full=False)
    assert room.rate_bytes_per_s > 0
    assert room.minutes < 10**6


@given(st.lists(st.tuples(st.integers(0, 10**10), st.integers(0, 10**12), st.booleans()), max_size=50))
def test_levels_follow_the_minutes_whatever_comes(steps: list[tuple[int, int, bool]]) -> None:
    one, now, written = storage(), 0, 0
    for wait, size, full in steps:
        now, written = now + wait, written + size % 10**8
        room = one.look(now, room_bytes=size, written_bytes=written, recording=True, full=full)
        assert room.level in LEVELS
        assert (room.level == FULL) == full
        if not full and room.minutes < 10:
            assert room.level == CRITICAL
        if not full and room.minutes >= 72:
            assert room.level == PLENTY


@pytest.mark.parametrize(("threshold", "cue"), [(60, "cue.storage.low"), (10, "cue.storage.critical")])
def test_a_figure_that_trembles_at_the_threshold_warns_once(threshold: int, cue: str) -> None:
    one, adviser, said = storage(), Adviser(), []
    rate = one.expected_rate_bytes_per_s
    for at in range(40):
        minutes = threshold + (1 if at % 2 else -1)
        room = one.look(at * SECOND_NS, room_bytes=minutes * 60 * rate, written_bytes=0, recording=True, full=False)
        said += adviser.look(facts(room=room, recording=True, session=b"a"), at * SECOND_NS)
    assert [one.text for one in said] == [cue]


# -- what is said ----------------------------------------------------------------------------------------------------

PLENTY_OF_ROOM = Room(PLENTY, 600, 1, measured=True)


def facts(**changes: object) -> Facts:
    base = Facts(recording=False, session=None, room=PLENTY_OF_ROOM, clock="synchronised", utc_ns=10**18)
    return base._replace(**changes)


def test_a_disk_that_fills_is_told_in_halves_then_critical_then_full() -> None:
    one, adviser, said = storage(), Adviser(), []
    rate = one.expected_rate_bytes_per_s
    for minute in range(130, -1, -1):
        now = (200 - minute) * MINUTE_NS
        full = minute == 0
        room = one.look(now, room_bytes=minute * 60 * rate, written_bytes=0, recording=True, full=full)
        said += [(minute, one) for one in adviser.look(facts(room=room, recording=True, session=b"a"), now)]
    assert [(minute, one.text) for minute, one in said] == [
        (59, "cue.storage.low"),
        (29, "cue.storage.low"),
        (14, "cue.storage.low"),
        (9, "cue.storage.critical"),
        (4, "cue.storage.critical"),
        (2, "cue.storage.critical"),
        (1, "cue.storage.critical"),
        (0, "cue.storage.full"),
    ]
    assert said[0][1].arguments == {"minutes": "count:59"}


def test_low_storage_is_told_anew_in_each_session_and_not_between() -> None:
    adviser, low = Adviser(), Room(LOW, 40, 1, measured=True)
    said = [
        len(adviser.look(facts(room=low, recording=recording, session=session), at))
        for at, (recording, session) in enumerate(
            [(False, None), (True, b"a"), (True, b"a"), (False, None), (True, b"b")]
        )
    ]
    assert said == [0, 1, 0, 0, 1]


def test_the_clock_is_told_at_the_start_of_device_and_session_and_when_it_changes() -> None:
    adviser = Adviser()
    unset = facts(clock="unset")
    assert [one.text for one in adviser.look(unset, 0)] == ["cue.clock.unset"]
    assert adviser.look(unset, 1) == []
    in_session = facts(clock="unset", recording=True, session=b"a")
    assert [one.text for one in adviser.look(in_session, 2)] == ["cue.clock.unset"]
    assert adviser.look(in_session, 3) == []
    adviser.stepped(86_400 * SECOND_NS)
    assert [one.text for one in adviser.look(facts(recording=True, session=b"a"), 4)] == ["cue.clock.set"]
    assert adviser.look(facts(recording=True, session=b"a"), 5) == []
    adviser.stepped(-90 * SECOND_NS)
    adviser.stepped(SECOND_NS)
    (moved,) = adviser.look(facts(recording=True, session=b"a"), 6)
    assert moved == ("cue.clock.stepped", {"offset": f"length:{90 * SECOND_NS}"})


def test_hand_over_is_told_hourly_at_most_and_never_while_recording() -> None:
    adviser = Adviser()
    late = Uploads(pending=3, soon=1, soon_hours=2, overdue=2, overdue_return=1)
    said: list[tuple[int, str]] = []
    for minute in range(150):
        recording = 70 <= minute < 80
        found = adviser.look(
            facts(uploads=late, recording=recording, session=b"a" if recording else None), minute * MINUTE_NS
        )
        said += [(minute, one.text) for one in found]
        assert not (recording and found)
    every = ["cue.upload.overdue", "cue.upload.overdue.return", "cue.upload.soon"]
    assert said == [(minute, text) for minute in (0, 60, 120) for text in every]
    assert adviser.look(facts(uploads=late), 3 * UPLOAD_EVERY_NS)[2].arguments == {
        "count": "count:1",
        "hours": "count:2",
    }
    assert [one.text for one in adviser.look(facts(uploads=Uploads()), 3 * UPLOAD_EVERY_NS + 1)] == ["cue.upload.done"]
    assert adviser.look(facts(uploads=Uploads()), 9 * UPLOAD_EVERY_NS) == []


def test_a_certificate_is_told_of_daily_from_ninety_days_on() -> None:
    adviser, until = Adviser(), 10**18 + 100 * DAY_NS
    said = [
        at
        for at in range(0, 100 * 24, 6)
        if adviser.look(facts(certificate_not_after_utc_ns=until, utc_ns=10**18 + at * HOUR_NS), at * HOUR_NS)
    ]
    assert said[0] == 10 * 24
    assert all((later - earlier) * HOUR_NS == CERTIFICATE_EVERY_NS for earlier, later in pairwise(said))
    unset = facts(certificate_not_after_utc_ns=0, clock="unset")
    assert [one.text for one in Adviser().look(unset, 0)] == ["cue.clock.unset"]


FACTS = st.builds(
    Facts,
    recording=st.booleans(),
    session=st.sampled_from([None, b"a", b"b"]),
    room=st.builds(Room, st.sampled_from(LEVELS), st.integers(0, 200), st.integers(1, 10**7), st.booleans()),
    clock=st.sampled_from(["synchronised", "holdover", "unset"]),
    utc_ns=st.integers(0, 2 * 10**18),
    uploads=st.none() | st.builds(Uploads, *[st.integers(0, 9)] * 5),
    certificate_not_after_utc_ns=st.none() | st.integers(0, 4 * 10**18),
)


@given(st.lists(st.tuples(FACTS, st.integers(0, 2 * HOUR_NS), st.integers(-(10**12), 10**12)), max_size=40))
def test_every_cue_has_its_text_with_all_its_words_and_nobody_is_told_too_often(
    steps: list[tuple[Facts, int, int]],
) -> None:
    adviser, now, said = Adviser(), 0, dict[str, int]()
    for one, wait, step in steps:
        now += wait
        adviser.stepped(step)
        for cue in adviser.look(one, now):
            for language in texts.LANGUAGES:
                assert set(cue.arguments) == texts.placeholders(cue.text, language)
                assert all(":" not in spoken_argument(value, language) for value in cue.arguments.values())
            if cue.text.startswith(("cue.upload.soon", "cue.upload.overdue", "cue.certificate")):
                assert not one.recording
                assert cue.text not in said or now - said[cue.text] >= HOUR_NS
                said[cue.text] = now
