"""Numbers as they are spoken, and every spoken text by its phonemes, with the real engine."""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from datetime import date
from pathlib import Path

import pytest

from recorder.evidence import policy, speech, texts

SECOND_NS = 10**9
HERE = Path(__file__).parent
AGENCIES = HERE.parents[1] / "config" / "agencies"
SPOKEN = ("say", "cue")
FILLED_IN = ("matter", "notrec", "gap", "marker")
"""Groups whose texts are put into spoken ones."""
VALUES = {
    "agency": "鞍山市行政审批局",
    "matter": "现场检查",
    "cause": "设备断电",
    "duration": speech.length(20 * SECOND_NS),
    "reason": "涉及商业秘密",
    "number": speech.digits("4096"),
    "code": speech.digits("123578"),
    "minutes": speech.count(30),
    "offset": speech.length(3 * SECOND_NS),
    "count": speech.count(2),
    "hours": speech.count(4),
    "name": "张三",
    "marker": "拒绝签字、盖章",
    "date": "十月一日",
    "rights": "陈述、申辩",
    "manner": "口头告知",
}
EXPECTED = tomllib.loads((HERE / "pinyin.toml").read_text(encoding="utf-8"))
TONE = re.compile(r"214|55|51|44|35|33|22|21|11")
TONES = {"1": {"55"}, "2": {"35"}, "3": {"214", "21", "35"}, "4": {"51"}, "5": {"11", "22", "33", "44"}}
"""The engine's tone numbers for a syllable's tone; a third tone before another is spoken as a second."""


def phonemes(text: str, voice: str = speech.VOICE) -> str:
    if shutil.which("espeak-ng") is None:
        pytest.fail("espeak-ng is not installed: make setup")
    command = ["espeak-ng", "-v", voice, "-x", "-q", text]
    spoken = subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout
    return re.sub(r"[',%_|\s]", "", spoken)


def spoken_text(text_id: str) -> str:
    group, _, name = text_id.partition(".")
    if group == "agency":
        return policy.parse((AGENCIES / f"{name}.toml").read_bytes()).agency.zh
    return texts.text(text_id, "zh", **VALUES)


def test_all_that_is_spoken_is_expected() -> None:
    ids = {text_id for text_id in texts.ids() if text_id.split(".")[0] in (*SPOKEN, *FILLED_IN)}
    assert ids | {f"agency.{file.stem}" for file in AGENCIES.glob("*.toml")} == set(EXPECTED)


@pytest.mark.rule("R3")
@pytest.mark.parametrize("text_id", EXPECTED)
def test_the_engine_speaks_the_expected_pinyin(text_id: str) -> None:
    text, expected = spoken_text(text_id), EXPECTED[text_id]
    syllables = re.findall(r"[a-zü]+([1-5])", expected)
    assert len(syllables) == len(re.findall(r"[\u4e00-\u9fff]", text))
    heard = phonemes(speech.for_engine(text))
    assert heard == phonemes(expected)
    # And the pinyin is spoken as Chinese: no switch to English, and each syllable with its tone, not with a number.
    assert "(" not in heard
    tones = TONE.findall(heard)
    assert len(tones) == len(syllables)
    assert all(tone in TONES[syllable] for tone, syllable in zip(tones, syllables, strict=True))


def test_the_check_hears_the_wrong_voice() -> None:
    heard = phonemes("您好，现在开始全程录音录像。", voice="cmn")
    assert "(en)" in heard


@pytest.mark.parametrize("text_id", ["say.restart.refused", "cue.clock.set", "marker.arrive"])
def test_without_the_table_words_are_misread(text_id: str) -> None:
    assert phonemes(spoken_text(text_id)) != phonemes(EXPECTED[text_id])


def test_an_agency_overrides_a_word() -> None:
    assert speech.for_engine("单县的地点", {"单县": "shan4 xian4"}) == " shan4 xian4 的 di4 dian3 "


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (0, "零"),
        (2, "二"),
        (10, "十"),
        (14, "十四"),
        (20, "二十"),
        (24, "二十四"),
        (105, "一百零五"),
        (110, "一百一十"),
        (1005, "一千零五"),
        (1050, "一千零五十"),
        (4096, "四千零九十六"),
        (10010, "一万零一十"),
        (12000, "一万二千"),
        (100_000, "十万"),
    ],
)
def test_numeral(value: int, words: str) -> None:
    assert speech.numeral(value) == words


@pytest.mark.parametrize("value", [-1, 10**8])
def test_numeral_out_of_bounds(value: int) -> None:
    with pytest.raises(ValueError, match="spoken number"):
        speech.numeral(value)


def test_two_is_told_from_two_things() -> None:
    assert (speech.numeral(2), speech.count(2), speech.count(12), speech.count(2, "en")) == ("二", "两", "十二", "2")


def test_numbers_of_records_go_digit_by_digit() -> None:
    assert speech.digits("4096-0123") == "四 零 九 六 零 一 二 三"
    assert speech.digits("4096", "en") == "4 0 9 6"


@pytest.mark.parametrize(
    ("seconds", "zh", "en"),
    [
        (0, "一秒", "1 second"),
        (2, "两秒", "2 seconds"),
        (20, "二十秒", "20 seconds"),
        (60, "一分钟", "1 minute"),
        (62, "一分两秒", "1 minute 2 seconds"),
        (1800, "三十分钟", "30 minutes"),
        (7325, "两小时两分五秒", "2 hours 2 minutes 5 seconds"),
    ],
)
def test_length(seconds: int, zh: str, en: str) -> None:
    assert (speech.length(seconds * SECOND_NS), speech.length(seconds * SECOND_NS, "en")) == (zh, en)


def test_a_day() -> None:
    assert speech.day(date(2026, 10, 1)) == "二零二六年十月一日"
    assert speech.day(date(2026, 10, 1), "en") == "2026-10-01"
