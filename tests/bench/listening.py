"""How surely a microphone recognises the device's own announcement among other voices, and what that costs.

Trials are mixed from espeak-ng: our texts as they are played, through a small loudspeaker (no bass) and the echoes of a
room, at a level against two other voices in other languages, speeds and pitches. The threshold is chosen on the even
trials and the rates are counted on the odd ones. A false alarm is any trial without our text that counts as heard, at
our time or as a companion's.
"""

from __future__ import annotations

import array
import math
import random
import subprocess
import time
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from recorder.source import listen
from recorder.voice.sounds import Sound, Voice, parse_wav
from tests.bench import Row

if TYPE_CHECKING:
    from collections.abc import Sequence

RATE = 16_000
TRIALS = 20
"""For each level."""
WITHOUT = 160
LEVELS_DB = (20, 10, 5, 0, -5, -10)
CHOSEN_AT_DB = -5
"""The weakest level that the threshold is to serve."""
PLAYED_NS = 2_000_000_000
TEXTS = ("say.start.av.agency", "say.start.av.short", "say.again", "say.start.service", "say.reminder")
OTHERS = (
    ("cmn-latn-pinyin+f2", 160, "你们是哪个单位的，我今天没有时间，有事要找我们厂长，他下午才回来，先喝杯水再说。"),
    ("cmn-latn-pinyin+m3", 200, "这个设备我们每个月都检修，记录都在，你自己看，没有问题的，谁说我们不合格。"),
    ("cmn-latn-pinyin+f4", 180, "大家不要录像，请你把机器关掉，现在开始谁也不许拍，我们要先给上面打电话。"),
    ("en-gb", 170, "Where were you yesterday afternoon, the machine ran all night and nobody came to look at it."),
    ("de+f3", 180, "Das ist nicht meine Aufgabe, fragen Sie bitte den Leiter der Abteilung, er kommt gleich zurück."),
)


class Trial(NamedTuple):
    level_db: int | None
    """Of our voice against the others; None where we do not speak."""
    own: int
    """Best score at our time."""
    other: int
    """Best score at another time."""
    heard: bool
    companion: bool


@cache
def _engine(voice: str, speed: int, words: str) -> list[float]:
    command = ["espeak-ng", "-v", voice, "-s", str(speed), "--stdout", words]
    done = subprocess.run(command, capture_output=True, check=True)
    return _at_rate(parse_wav(done.stdout, voice))


@cache
def _own(text: str) -> list[float]:
    voice = Voice(Path("/nonexistent"), {"zh": "鞍山市行政审批局"}, {})
    return _at_rate(voice.sound(text, "zh", {}))


def _at_rate(sound: Sound) -> list[float]:
    """Bring a sound to the rate of the trials, between its samples on straight lines."""
    values = memoryview(sound.pcm).cast("h")
    ratio = sound.rate_hz / RATE
    places = [index * ratio for index in range(int((len(values) - 1) / ratio))]
    return [values[int(at)] + (at - int(at)) * (values[int(at) + 1] - values[int(at)]) for at in places]


def _pcm(values: Sequence[float]) -> bytes:
    return array.array("h", [max(-32768, min(32767, round(one))) for one in values]).tobytes()


@cache
def _pattern(text: str) -> listen.Pattern:
    return listen.pattern(_pcm(_own(text)), RATE)


def _rms(values: Sequence[float]) -> float:
    return math.sqrt(sum(value * value for value in values) / max(len(values), 1))


def _small_loudspeaker(values: Sequence[float]) -> list[float]:
    """No bass: a first-order high-pass at about 600 Hz."""
    out, last, before = [], 0.0, 0.0
    for value in values:
        last = 0.79 * (last + value - before)
        before = value
        out.append(last)
    return out


def trial(chance: random.Random, text: str, level_db: int | None, delay_s: float = 0.0) -> Trial:
    """Mix one scene, listen for ``text`` in it."""
    wanted = _pattern(text)
    length = round((PLAYED_NS + wanted.length_ns + listen.LATEST_NS + 500_000_000) * RATE / 1e9)
    scene = [0.0] * length
    for voice, speed, words in chance.sample(OTHERS, 2):
        speech = _engine(voice, speed, words)
        start = chance.randrange(len(speech))
        for index in range(length):
            scene[index] += speech[(start + index) % len(speech)]
    if level_db is not None:
        played = _small_loudspeaker(_own(text))
        gain = 10 ** (level_db / 20) * _rms(scene) / _rms(played)
        first = round((PLAYED_NS / 1e9 + delay_s) * RATE)
        for echo_s, part in ((0.0, 1.0), (chance.uniform(0.01, 0.04), 0.5), (chance.uniform(0.04, 0.09), 0.35)):
            at = first + round(echo_s * RATE)
            for index, value in enumerate(played[: length - at]):
                scene[at + index] += part * gain * value
    peak = max(map(abs, scene))
    volume = 32767 * chance.uniform(0.01, 0.9) / peak
    listening = listen.Listening(wanted, PLAYED_NS, RATE)
    listening.put(_pcm([volume * value + chance.gauss(0, 10) for value in scene]), 0)
    matches = listening.matches()
    at_our_time = [listen.EARLIEST_NS <= one.at_ns - PLAYED_NS <= listen.LATEST_NS for one in matches]
    own = max((one.score_permille for one, ours in zip(matches, at_our_time, strict=True) if ours), default=0)
    other = max((one.score_permille for one, ours in zip(matches, at_our_time, strict=True) if not ours), default=0)
    result = listening.result()
    return Trial(level_db, own, other, result.heard, result.companion)


def trials(count: int, without: int, seed: int = 2) -> list[Trial]:
    """Return ``count`` trials at each level, and ``without`` where our text is not spoken."""
    chance = random.Random(seed)
    made = [
        trial(chance, chance.choice(TEXTS), level, chance.uniform(0, 1.2)) for level in LEVELS_DB for _ in range(count)
    ]
    return made + [trial(chance, chance.choice(TEXTS), None) for _ in range(without)]


def chosen_threshold(found: list[Trial]) -> int:
    """Return the middle between the worst score at -5 dB and above, and the best without our text."""
    with_us = min(one.own for one in found if one.level_db is not None and one.level_db >= CHOSEN_AT_DB)
    return (with_us + max(max(one.own, one.other) for one in found if one.level_db is None)) // 2


def cost() -> float:
    """Return the CPU seconds that listening takes for a second of sound at 48 kHz."""
    chance = random.Random(3)
    second = array.array("h", [chance.randrange(-9000, 9000) for _ in range(48_000)]).tobytes()
    listening = listen.Listening(_pattern(TEXTS[0]), PLAYED_NS, 48_000)
    seconds = math.ceil(listening.until_ns / 1e9)
    began = time.process_time()
    for at in range(seconds):
        for piece in range(0, len(second), 2048):
            listening.put(second[piece : piece + 2048], at * 1_000_000_000 + piece // 2 * 1_000_000_000 // 48_000)
    listening.result()
    return (time.process_time() - began) / seconds


def run() -> list[Row]:
    """Measure."""
    found = trials(TRIALS, WITHOUT)
    threshold, reported = chosen_threshold(found[::2]), found[1::2]
    rows = [Row("listening: threshold by half the trials", str(threshold), f"{listen.HEARD_PERMILLE} used", None, "")]
    for level in LEVELS_DB:
        at = [one for one in reported if one.level_db == level]
        heard = sum(one.heard for one in at)
        name = f"listening: heard at {level} dB against two other voices"
        rows.append(Row(name, str(heard), f"{len(at)} trials", heard / len(at), "≥ 0.95" if level >= 0 else ""))
    without = [one for one in reported if one.level_db is None]
    wrong = sum(one.heard or one.companion for one in without)
    name = "listening: false alarms, two other voices alone"
    rows.append(Row(name, str(wrong), f"{len(without)} trials", wrong / len(without), "≤ 0.01"))
    share = cost()
    rows.append(Row("listening: CPU while it listens", f"{1000 * share:.1f} ms", "1 s of sound", share, "≤ 0.05"))
    return rows
