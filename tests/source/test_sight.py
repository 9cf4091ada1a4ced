"""What is seen of pictures and heard of sound: covered, dark, frozen, silent, and what is none of these."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recorder.evidence import facts
from recorder.source.driver import boottime_ns
from recorder.source.hush import LOUD_PEAK, SILENT_NS, SILENT_PEAK, Change, Hush
from recorder.source.intake import Intake
from recorder.source.link import Event
from recorder.source.pictures import Picture
from recorder.source.sight import BLOCKED, DARKNESS, FROZEN, HOLD, Glance, Sight, Watcher, glance
from recorder.source.synthetic import Picture as Drawing

S = 1_000_000_000
WIDTH, HEIGHT = 320, 180


def _noisy(chance: random.Random, plain: list[int], noise: int) -> bytes:
    return bytes(max(0, min(255, level + chance.randint(-noise, noise))) for level in plain)


def _scene(part: float = 1.0) -> list[int]:
    """Squares of many levels, as a room has."""
    chance = random.Random(5)
    squares = [[chance.randint(20, 235) for _ in range(WIDTH // 20)] for _ in range(HEIGHT // 20)]
    return [round(16 + part * (squares[y // 20][x // 20] - 16)) for y in range(HEIGHT) for x in range(WIDTH)]


def _hand() -> list[int]:
    return [round(20 + 30 * (x / WIDTH) ** 3) for _ in range(HEIGHT) for x in range(WIDTH)]


def _glances(plain: list[int], count: int, noise: int = 4, seed: int = 1) -> list[Glance]:
    chance = random.Random(seed)
    made = []
    for _ in range(count):
        one = glance(Picture(0, WIDTH, HEIGHT, WIDTH, memoryview(_noisy(chance, plain, noise))))
        assert one is not None
        made.append(one)
    return made


CLEAR = _glances(_scene(), 6)
COVERED = _glances(_hand(), 6)
NIGHT = _glances(_scene(0.1), 6)
STILL = _glances(_scene(), 1, noise=0)


def _run(*parts: tuple[list[Glance], int], every_s: float = 1.0, sight: Sight | None = None) -> list[Change]:
    """Show each part for so many seconds."""
    sight = sight or Sight()
    changes: list[Change] = []
    at_ns = 0
    for glances, seconds in parts:
        for number in range(round(seconds / every_s)):
            changes += sight.look(at_ns, glances[number % len(glances)])
            at_ns += round(every_s * S)
    return changes


def _told(changes: list[Change]) -> list[tuple[str, bool, int]]:
    return [(one.code, one.begins, one.at_ns // S) for one in changes]


@pytest.mark.parametrize("every_s", [1.0, 2.0])
def test_a_covered_lens_is_told_with_its_beginning_and_its_end(every_s: float) -> None:
    changes = _run((CLEAR, 10), (COVERED, 10), (CLEAR, 10), every_s=every_s)
    assert _told(changes) == [(BLOCKED, True, 10), (BLOCKED, False, 20)]


def test_darkness_is_no_cover_and_a_frozen_picture_neither() -> None:
    assert _told(_run((CLEAR, 10), (NIGHT, 10), (CLEAR, 10))) == [(DARKNESS, True, 10), (DARKNESS, False, 20)]
    assert _told(_run((CLEAR, 10), (CLEAR[:1], 20), (CLEAR[1:], 10))) == [(FROZEN, True, 11), (FROZEN, False, 30)]


def test_one_thing_becomes_another() -> None:
    changes = _run((CLEAR, 10), (NIGHT, 10), (COVERED, 10), (CLEAR, 10))
    assert [one[:2] for one in _told(changes)] == [
        (DARKNESS, True),
        (DARKNESS, False),
        (BLOCKED, True),
        (BLOCKED, False),
    ]


def test_a_hand_that_passes_by_a_flash_and_a_still_scene_with_noise_are_nothing() -> None:
    flash = _glances([235] * (WIDTH * HEIGHT), 1)
    assert _run((CLEAR, 10), (COVERED, 2), (CLEAR, 10), (flash, 1), (CLEAR, 30)) == []


def test_something_thin_over_the_lens_loses_the_edges_that_were_there() -> None:
    slopes = [round(90 + 60 * (x / WIDTH) + 40 * ((y - 90) / HEIGHT) ** 2) for y in range(HEIGHT) for x in range(WIDTH)]
    waves = [level + round(25 * ((x // 40) % 2) * min(x % 40, 40 - x % 40) / 20) for x, level in enumerate(slopes)]
    thin = _glances(waves, 6)
    assert thin[0].structure > 1
    assert _told(_run((CLEAR, 10), (thin, 10))) == [(BLOCKED, True, 10)]
    assert _run((thin, 30)) == []  # a scene that never had edges has lost none


def test_a_scene_that_has_few_edges_cannot_lose_them() -> None:
    few, none = (CLEAR[0]._replace(structure=structure, edges=edges) for structure, edges in ((6.0, 0.04), (2.0, 0.0)))
    lines = [glance.lines for glance in CLEAR]
    before, after = ([one._replace(lines=own) for own in lines] for one in (few, none))
    assert _run((before, 20), (after, 20)) == []
    plenty = [one._replace(edges=0.06) for one in before]
    assert [one.code for one in _run((plenty, 20), (after, 20))] == [BLOCKED]


def test_a_clock_that_the_camera_writes_does_not_hide_a_frozen_picture() -> None:
    chance = random.Random(3)
    frozen = bytearray(_noisy(chance, _scene(), 4))
    glances = []
    for _ in range(8):
        for y in range(4, 20):
            frozen[y * WIDTH : y * WIDTH + 80] = bytes(chance.choice((16, 235)) for _ in range(80))
        one = glance(Picture(0, WIDTH, HEIGHT, WIDTH, memoryview(bytes(frozen))))
        assert one is not None
        glances.append(one)
    assert glances[0].lines != glances[1].lines
    assert _told(_run((CLEAR, 10), (glances, 16))) == [(FROZEN, True, 11)]


@pytest.mark.parametrize("size", [(1280, 720), (640, 360), (320, 240)])
@pytest.mark.parametrize("every_ms", [480, 1000, 1040, 2000])
def test_the_synthetic_camera_lives(size: tuple[int, int], every_ms: int) -> None:
    drawing = Drawing(*size)
    sight = Sight()
    for number in range(40):
        at_ns = 1_000_000_000_000 + number * every_ms * 1_000_000
        frame = drawing.draw(at_ns * 25 // S, at_ns)
        plane = frame.planes[0]
        one = glance(Picture(at_ns, *size, plane.line_size, memoryview(plane)))
        assert one is not None
        assert sight.look(at_ns, one) == []


def test_padded_lines_and_small_pictures() -> None:
    plain = bytes(_scene())
    padded = b"".join(plain[row * WIDTH : (row + 1) * WIDTH] + bytes([255]) * 32 for row in range(HEIGHT))
    assert glance(Picture(0, WIDTH, HEIGHT, WIDTH + 32, memoryview(padded))) == STILL[0]
    assert glance(Picture(0, 160, 90, 160, memoryview(bytes(160 * 90)))) is None


_ANY = st.lists(
    st.tuples(st.sampled_from((CLEAR, COVERED, NIGHT, STILL)), st.integers(0, 5), st.integers(1, 4000)), max_size=80
)


@given(_ANY)
@settings(max_examples=200)
def test_whatever_is_seen_one_thing_at_a_time_begins_lasts_and_ends(
    shown: list[tuple[list[Glance], int, int]],
) -> None:
    sight = Sight()
    at_ns, lasting, since_ns = 0, None, -1
    for glances, index, later_ms in shown:
        at_ns += later_ms * 1_000_000
        for change in sight.look(at_ns, glances[index % len(glances)]):
            assert change.at_ns <= at_ns
            assert change.begins == (lasting is None)
            assert change.begins or change.code == lasting
            hold_ns, _ = HOLD[change.code] if change.begins else HOLD[None]
            if change.begins:
                assert at_ns - change.at_ns >= hold_ns
            assert change.at_ns >= since_ns
            since_ns = change.at_ns
            lasting = change.code if change.begins else None
        assert sight.state == lasting


def test_the_watch_tells_events_with_the_time_of_the_picture() -> None:
    intake = Intake()
    watch = Watcher(intake)
    chance = random.Random(7)
    start_ns = boottime_ns()
    for number in range(24):
        plain = _hand() if number >= 12 else _scene()
        luma = memoryview(_noisy(chance, plain, 4))
        watch.look(Picture(start_ns + number * S // 2, WIDTH, HEIGHT, WIDTH, luma))
    (event,) = [one for one in intake.take() if isinstance(one, Event)]
    assert (event.event, event.tracks, event.cause) == ("impaired", ["video"], BLOCKED)
    assert event.boottime_ns == start_ns + 6 * S


# -- sound ---------------------------------------------------------------------------------------------------------


def _hear(*parts: tuple[float, float]) -> list[tuple[bool, int]]:
    """Hear each peak for so many seconds, ten pieces a second."""
    hush, told, number = Hush(), [], 0
    for peak, seconds in parts:
        for _ in range(round(seconds * 10)):
            change = hush.put(number * S // 10, peak)
            number += 1
            if change is not None:
                assert change.code == "sound_silent"
                told.append((change.begins, change.at_ns // S))
    return told


def test_silence_is_told_after_ten_seconds_with_its_beginning_and_its_end() -> None:
    assert _hear((0.2, 5), (0.0, 20), (0.2, 5)) == [(True, 5), (False, 25)]
    assert _hear((0.2, 5), (0.0, 9.5), (0.2, 1), (0.0, 9.5)) == []
    assert _hear((0.01, 60)) == []  # a quiet room


def test_a_level_between_the_two_ends_no_silence_and_begins_none() -> None:
    between = (SILENT_PEAK + LOUD_PEAK) / 2
    assert _hear((between, 60)) == []
    assert _hear((0.0, 11), (between, 20), (0.0, 5)) == [(True, 0)]


def test_a_gap_in_the_sound_is_no_silence() -> None:
    hush = Hush()
    assert hush.put(0, 0.0) is None
    assert hush.put(30 * S, 0.0) is None
    assert hush.put(31 * S, 0.0) is None


def test_source_and_report_call_the_same_silent() -> None:
    assert round(10 ** (facts.SILENT_MILLIBELS / 2000), 6) == SILENT_PEAK
    assert facts.SILENT_NS == SILENT_NS
