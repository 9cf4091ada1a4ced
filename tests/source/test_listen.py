"""Our own voice is recognised: as louder or softer sound, late, in noise; nothing else is."""

from __future__ import annotations

import math
import random
import shutil

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recorder.source import listen
from tests.bench import listening as bench
from tests.support.babble import RATE, babble, pcm

SECOND = 1_000_000_000


def room(seconds: float, *sounds: tuple[float, float, list[float]]) -> list[float]:
    """Silence with (second, gain, sound) laid into it, and a little noise."""
    chance = random.Random(5)
    air = [chance.gauss(0, 6) for _ in range(round(seconds * RATE))]
    for second, gain, sound in sounds:
        first = round(second * RATE)
        for index, value in enumerate(sound[: len(air) - first]):
            air[first + index] += gain * value
    return air


def listened(wanted: listen.Pattern, air: list[float], played_s: float = 2.0) -> listen.Result:
    listening = listen.Listening(wanted, round(played_s * SECOND), RATE)
    for at in range(0, len(air), 1024):
        listening.put(pcm(air[at : at + 1024]), at * SECOND // RATE)
    return listening.result()


OURS = babble(1, 3.0)
OTHER = babble(2, 9.0)
PATTERN = listen.pattern(pcm(OURS), RATE)


@pytest.mark.parametrize("gain", [0.02, 1.0])
def test_it_is_heard_with_delay_and_level(gain: float) -> None:
    result = listened(PATTERN, room(9, (2.31, gain, OURS)))
    assert (result.heard, result.companion) == (True, False)
    assert result.delay_ns is not None
    assert abs(result.delay_ns - 310_000_000) <= 40_000_000
    loud = sum((gain * one / 32768) ** 2 for one in OURS) / len(OURS)
    assert result.level_millibels == pytest.approx(1000 * math.log10(loud), abs=150)
    assert result.score_permille > 600


def test_it_is_heard_among_other_voices() -> None:
    assert listened(PATTERN, room(9, (2.2, 1.0, OURS), (0, 1.0, OTHER))).heard


def test_another_voice_or_silence_is_not_it() -> None:
    for air in (room(9, (0, 1.0, OTHER)), room(9), [0.0] * 9 * RATE):
        result = listened(PATTERN, air)
        assert not result.heard
        assert not result.companion
        assert result.delay_ns is None
        assert result.score_permille < listen.HEARD_PERMILLE


def test_dead_silence_agrees_with_nothing() -> None:
    listening = listen.Listening(PATTERN, 2 * SECOND, RATE)
    listening.put(bytes(2 * 9 * RATE), 0)
    assert {one.score_permille for one in listening.matches()} <= {0}


def test_the_last_words_alone_are_not_the_text() -> None:
    half = len(OURS) // 2
    assert not listened(PATTERN, room(9, (2.2 + 1.5, 1.0, OURS[half:]))).heard


@pytest.mark.parametrize("second", [1.2, 3.6])
def test_the_same_text_earlier_is_a_companions(second: float) -> None:
    result = listened(PATTERN, room(12, (second, 0.3, OURS)), played_s=6)
    assert (result.heard, result.companion) == (False, True)
    assert result.delay_ns is not None
    assert abs(result.delay_ns - round((second - 6) * SECOND)) <= 40_000_000


def test_both_ours_and_a_companions() -> None:
    result = listened(PATTERN, room(12, (1.4, 0.6, OURS), (6.1, 1.0, OURS)), played_s=6)
    assert (result.heard, result.companion) == (True, True)


def test_lost_sound_does_not_move_what_follows() -> None:
    air = room(9, (2.8, 1.0, OURS))
    listening = listen.Listening(PATTERN, 2 * SECOND, RATE)
    listening.put(pcm(air[: RATE // 2]), 0)
    lost = round(1.37 * RATE)
    for at in range(lost, len(air), 4096):
        listening.put(pcm(air[at : at + 4096]), at * SECOND // RATE)
    result = listening.result()
    assert result.heard
    assert abs((result.delay_ns or 0) - 800_000_000) <= 40_000_000


def test_listening_ends_when_all_was_heard() -> None:
    listening = listen.Listening(PATTERN, 2 * SECOND, RATE)
    silence = bytes(2 * RATE)
    seconds = 0
    while not listening.done:
        listening.put(silence, seconds * SECOND)
        seconds += 1
    assert seconds == math.ceil(listening.until_ns / SECOND) <= 10


def test_a_pattern_survives_the_link() -> None:
    assert listen.decode_pattern(PATTERN.encode()) == PATTERN
    assert len(PATTERN.encode()) <= 700


def test_a_pattern_does_not_depend_on_the_rate() -> None:
    doubled = [value for value in OURS for _ in range(2)]
    other = listen.pattern(pcm(doubled), 2 * RATE)
    both = PATTERN.mask & other.mask
    assert ((PATTERN.bits ^ other.bits) & both).bit_count() < 0.05 * both.bit_count()


def test_a_long_text_is_compared_by_its_beginning() -> None:
    long = listen.pattern(pcm(babble(3, 45)), RATE)
    assert long.frames <= listen.MAX_FRAMES
    assert len(long.encode()) <= listen.MAX_PATTERN_SIZE_BYTES


@pytest.mark.parametrize("sound", [b"", bytes(2 * RATE), pcm(babble(4, 0.2))])
def test_too_little_sound_has_no_pattern(sound: bytes) -> None:
    with pytest.raises(listen.PatternError):
        listen.pattern(sound, RATE)


@given(st.binary(max_size=200) | st.builds(lambda cut: PATTERN.encode()[:cut], st.integers(0, 600)))
@settings(max_examples=100)
def test_what_is_no_pattern_is_refused(data: bytes) -> None:
    try:
        one = listen.decode_pattern(data)
    except listen.PatternError:
        return
    assert one.frames <= listen.MAX_FRAMES


@given(st.lists(st.integers(1, 3000), min_size=1, max_size=30))
@settings(max_examples=20, deadline=None)
def test_pieces_of_any_size_give_the_same_frames(sizes: list[int]) -> None:
    sound = pcm(OURS[:RATE])
    whole = listen.Frames(RATE).put(sound)
    pieces, frames, at = listen.Frames(RATE), [], 0
    for size in [*sizes, RATE]:
        frames += pieces.put(sound[2 * at : 2 * (at + size)])
        at += size
    assert len(frames) == len(whole)
    for one, other in zip(frames, whole, strict=True):
        assert one.energies == pytest.approx(other.energies)


@pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="espeak-ng is not installed")
def test_rates_of_a_few_trials_with_real_speech() -> None:
    chance = random.Random(11)
    texts = ("say.start.av.short", "say.again")
    heard = [bench.trial(chance, text, level, 0.4) for text in texts for level in (10, 0)]
    alone = [bench.trial(chance, text, None) for text in texts for _ in range(3)]
    assert all(one.heard for one in heard)
    assert not any(one.heard or one.companion for one in alone)
    assert min(one.own for one in heard) > 1.5 * max(max(one.own, one.other) for one in alone)
