"""Texts become sound: an agency's own files first, what was rendered next, the engine last."""

from __future__ import annotations

import math
import wave
from typing import TYPE_CHECKING

import pytest

from recorder.evidence import texts
from recorder.source.listen import Listening, decode_pattern, pattern
from recorder.voice.sounds import RENDERED, Sound, SoundError, Voice, read_wav
from recorder.voice.tones import TONES, kind_of, tone
from tests.support.babble import RATE, babble, pcm

if TYPE_CHECKING:
    from pathlib import Path

AGENCY = {"zh": "鞍山市行政审批局", "en": "Anshan Administrative Approval Bureau"}


@pytest.fixture
def voice(tmp_path: Path) -> Voice:
    return Voice(tmp_path, AGENCY, {})


def loudness(sound: Sound) -> float:
    values = memoryview(sound.pcm).cast("h")
    return math.sqrt(sum(value * value for value in values) / len(values))


def test_all_texts_without_blanks_are_rendered_and_can_be_recognised(voice: Voice, tmp_path: Path) -> None:
    own = Sound(pcm(babble(1, 2.0)), RATE)
    (tmp_path / "say.again.zh.wav").write_bytes(own.wav())
    made = {name: (how, sound) for name, how, sound in voice.render(["zh"])}
    assert made["say.again.zh.wav"] == ("own", own)
    how, sound = made["say.start.av.agency.zh.wav"]
    assert how == RENDERED
    assert 6 < sound.length_ns / 1e9 < 12
    assert loudness(sound) > 500
    assert read_wav(tmp_path / RENDERED / "say.start.av.agency.zh.wav") == sound
    assert not list((tmp_path / RENDERED).glob("*.new"))
    assert "say.end.unsuitable.zh.wav" not in made
    expected = {one for one in texts.ids() if one.startswith(("say.", "cue."))}
    assert {name.removesuffix(".zh.wav") for name in made} == {
        one for one in expected if texts.placeholders(one) <= {"agency"}
    }
    for text in ("say.start.av.agency", "say.start.av.short", "say.again"):
        found = voice.sound(text, "zh", {})
        assert found == made[f"{text}.zh.wav"][1]
        assert decode_pattern(pattern(found.pcm, found.rate_hz).encode()).length_ns == pytest.approx(
            found.length_ns, abs=1_000_000_000
        )


def test_a_text_with_blanks_is_made_when_it_is_spoken(voice: Voice) -> None:
    words = voice.words("say.end.unsuitable", "zh", {"reason": "notrec.trade_secret"})
    assert words == "因涉及商业秘密，依照规定停止音像记录，改作文字记录。"
    assert voice.sound("say.end.unsuitable", "zh", {"reason": "notrec.trade_secret"}).length_ns > 3e9
    assert AGENCY["en"] in voice.words("say.start.av.agency", "en", {})
    assert voice.sound("say.start.av", "en", {}).length_ns > 4e9


@pytest.mark.rule("R23")
def test_numbers_and_codes_are_spoken_sign_by_sign_four_and_four(voice: Voice) -> None:
    spoken = {"number": "digits:4096", "code": "digits:8735 1654 7764"}
    assert voice.words("say.code", "zh", spoken) == (
        "本次音像记录编号四 零 九 六，当前核验码八 七 三 五，一 六 五 四，七 七 六 四，请记入笔录。"
    )
    assert "number 4 0 9 6, check code 8 7 3 5, 1 6 5 4, 7 7 6 4." in voice.words("say.end.code", "en", spoken)
    assert 6 < voice.sound("say.end.code", "zh", spoken).length_ns / 1e9 < 16


@pytest.mark.parametrize("text", ["say.nothing", "say.end.code"])
def test_what_cannot_be_said_is_told(voice: Voice, text: str) -> None:
    with pytest.raises(SoundError, match="cannot be spoken"):
        voice.sound(text, "zh", {})


def test_an_engine_that_is_not_there_is_told(voice: Voice, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(SoundError, match="not installed"):
        voice.synthesise("您好", "zh")


def test_the_agencys_name_may_be_given_in_pinyin(tmp_path: Path) -> None:
    plain = Voice(tmp_path, {"zh": "重庆局"}, {}).sound("say.start.av.agency", "zh", {})
    told = Voice(tmp_path, {"zh": "重庆局"}, {"重庆局": "chong2 qing4 ju2"}).sound("say.start.av.agency", "zh", {})
    assert plain != told


def _wav(path: Path, channels: int, width: int, rate: int, frames: bytes) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(frames)
    return path


def test_of_two_channels_the_first_is_taken(tmp_path: Path) -> None:
    sound = read_wav(_wav(tmp_path / "two.wav", 2, 2, 44_100, b"\x01\x00\xff\xff" * 100))
    assert sound == Sound(b"\x01\x00" * 100, 44_100)


def test_files_that_cannot_be_played_are_refused(tmp_path: Path) -> None:
    (tmp_path / "text.wav").write_text("RIFF, but not really")
    bad = [
        tmp_path / "missing.wav",
        tmp_path / "text.wav",
        _wav(tmp_path / "bytes.wav", 1, 1, 16_000, bytes(100)),
        _wav(tmp_path / "fast.wav", 1, 2, 96_000, bytes(100)),
    ]
    for path in bad:
        with pytest.raises(SoundError, match=path.stem):
            read_wav(path)


def test_tones_differ_and_fit_their_texts() -> None:
    made = {kind: tone(kind, 16_000) for kind in TONES}
    assert len(set(made.values())) == len(made) == 4
    assert all(0.05 < len(one) / 32_000 < 0.6 for one in made.values())
    assert kind_of("say.start.av") == "start"
    assert kind_of("say.end") == "end"
    assert kind_of("cue.mark") == "marker"
    assert kind_of("cue.heard.no") == "warning"
    assert kind_of("say.end.cancelled") is kind_of("say.again") is None


def test_volume_changes_loudness_and_never_the_pattern() -> None:
    sound = Sound(pcm(babble(1, 2.0)), RATE)
    soft = sound.at_volume(0.25)
    assert loudness(soft) == pytest.approx(loudness(sound) / 4, rel=0.01)
    listening = Listening(pattern(sound.pcm, RATE), 0, RATE)
    listening.put(soft.pcm + bytes(2 * RATE * 2), 0)
    assert listening.result().heard
