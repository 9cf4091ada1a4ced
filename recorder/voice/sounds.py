"""What is spoken, as sound: an agency's own WAV, else one rendered at provisioning, else made now by the engine.

A folder holds ``<text id>.<language>.wav`` supplied by the agency, read by a person at best; what the engine has made
is in its folder ``rendered``. Texts with something to fill in (a reason, a code) are made when they are spoken.
"""

from __future__ import annotations

import contextlib
import io
import subprocess
import wave
from datetime import date
from typing import TYPE_CHECKING, Final, NamedTuple

from recorder.errors import RecorderError
from recorder.evidence import speech, texts

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

MAX_LENGTH_S: Final = 60
MAX_WAV_SIZE_BYTES: Final = MAX_LENGTH_S * 48_000 * 2 * 2
RENDERED: Final = "rendered"
_WORDS_PER_MINUTE: Final = {"zh": 180, "en": 165}
_VOICES: Final = {"zh": speech.VOICE, "en": "en"}
_ENGINE_S: Final = 20.0
_PAUSES: Final = {"zh": "，", "en": ", "}


class SoundError(RecorderError):
    """A text cannot be turned into sound; the message says what is missing."""


class Sound(NamedTuple):
    """16-bit samples, one channel."""

    pcm: bytes
    rate_hz: int

    @property
    def length_ns(self) -> int:
        """How long it lasts."""
        return len(self.pcm) // 2 * 1_000_000_000 // self.rate_hz

    def at_volume(self, volume: float) -> Sound:
        """Return it louder or softer; 1 leaves it as it is."""
        if volume == 1:
            return self
        values = memoryview(self.pcm).cast("h")
        scaled = (max(-32768, min(32767, round(value * volume))) for value in values)
        return Sound(b"".join(value.to_bytes(2, "little", signed=True) for value in scaled), self.rate_hz)

    def wav(self) -> bytes:
        """Return it as a WAV file."""
        file = io.BytesIO()
        with wave.open(file, "wb") as writer:
            writer.setnchannels(1)
            writer.setsampwidth(2)
            writer.setframerate(self.rate_hz)
            writer.writeframes(self.pcm)
        return file.getvalue()


def read_wav(path: Path) -> Sound:
    """Read a WAV file: 16 bit, one or two channels (the first is taken), 8 to 48 kHz, at most a minute.

    Raises:
        SoundError: it is not there, or not such a file.
    """
    try:
        with path.open("rb") as file:
            return parse_wav(file.read(MAX_WAV_SIZE_BYTES + 1), str(path))
    except OSError as error:
        raise SoundError(f"{path} cannot be read: {error.strerror}") from error


def parse_wav(data: bytes, name: str) -> Sound:
    """Read the bytes of a WAV file, see :func:`read_wav`; ``name`` is what a message calls them.

    Raises:
        SoundError: not such a file.
    """
    if len(data) > MAX_WAV_SIZE_BYTES:
        raise SoundError(f"{name} is longer than {MAX_LENGTH_S} s")
    try:
        with wave.open(io.BytesIO(data)) as reader:
            channels, width, rate_hz = reader.getnchannels(), reader.getsampwidth(), reader.getframerate()
            # An engine that writes to a pipe does not know the length beforehand: the bytes that are there count.
            pcm = reader.readframes(min(reader.getnframes(), len(data)))
    except (wave.Error, EOFError) as error:
        raise SoundError(f"{name} is not a WAV file: {error}") from error
    if width != 2 or channels not in (1, 2) or not 8000 <= rate_hz <= 48_000:  # noqa: PLR2004
        raise SoundError(f"{name}: {channels} channels of {8 * width} bit at {rate_hz} Hz; give 16 bit, 8 to 48 kHz")
    if channels == 2:  # noqa: PLR2004
        samples = memoryview(pcm).cast("h")
        pcm = samples[::2].tobytes()
    return Sound(pcm, rate_hz)


class Voice:
    """Finds or makes the sound of a text."""

    def __init__(self, folder: Path, agency: Mapping[str, str], pinyin: Mapping[str, str]) -> None:
        """Make one.

        Args:
            folder: The agency's own files; ``rendered`` below it is ours.
            agency: Name of the agency by language.
            pinyin: Words that the engine misreads, in pinyin: names of agencies and places.
        """
        self._folder = folder
        self._agency = agency
        self._pinyin = pinyin

    def words(self, text: str, language: str, arguments: Mapping[str, str]) -> str:
        """Return a text with everything filled in, see :func:`spoken_argument`.

        Raises:
            SoundError: there is no such text, or an argument is missing.
        """
        named = {key: spoken_argument(value, language) for key, value in arguments.items()}
        try:
            return texts.text(text, language, **({"agency": self._agency[language]} | named))
        except KeyError as error:
            raise SoundError(f"the text {text!r} cannot be spoken: {error} is missing") from error

    def sound(self, text: str, language: str, arguments: Mapping[str, str]) -> Sound:
        """Return the sound of a text.

        Raises:
            SoundError: there is none, and the engine cannot make it.
        """
        name = f"{text}.{language}.wav"
        words = self.words(text, language, arguments)
        if texts.placeholders(text, language) <= {"agency"}:
            for path in (self._folder / name, self._folder / RENDERED / name):
                if path.exists():
                    return read_wav(path)
        return self.synthesise(words, language)

    def synthesise(self, words: str, language: str) -> Sound:
        """Let the engine (espeak-ng) speak.

        Raises:
            SoundError: it is not installed, hangs or fails.
        """
        if language == "zh":
            words = speech.for_engine(words, self._pinyin)
        command = ["espeak-ng", "-v", _VOICES[language], "-s", str(_WORDS_PER_MINUTE[language]), "--stdout", "--stdin"]
        try:
            done = subprocess.run(command, input=words.encode(), capture_output=True, check=True, timeout=_ENGINE_S)
        except FileNotFoundError as error:
            raise SoundError("espeak-ng is not installed: install it, or supply WAV files for all texts") from error
        except subprocess.TimeoutExpired as error:
            raise SoundError(f"espeak-ng did not end within {_ENGINE_S:.0f} s") from error
        except subprocess.CalledProcessError as error:
            raise SoundError(f"espeak-ng failed: {error.stderr.decode(errors='replace').strip()[:200]}") from error
        return parse_wav(done.stdout, "what espeak-ng wrote")

    def render(self, languages: list[str]) -> list[tuple[str, str, Sound]]:
        """Make the sounds of all spoken texts that have nothing to fill in but the agency's name.

        Returns:
            Text id, ``own`` or ``rendered``, sound; what is spoken in none of the languages' own files is written.

        Raises:
            SoundError: the engine fails, or an agency's file cannot be used.
        """
        folder = self._folder / RENDERED
        folder.mkdir(parents=True, exist_ok=True)
        made = []
        for text in texts.ids():
            if not text.startswith(("say.", "cue.")):
                continue
            for language in languages:
                if not texts.placeholders(text, language) <= {"agency"}:
                    continue
                name = f"{text}.{language}.wav"
                if (self._folder / name).exists():
                    made.append((name, "own", read_wav(self._folder / name)))
                    continue
                sound = self.synthesise(self.words(text, language, {}), language)
                _write(folder / name, sound.wav())
                made.append((name, RENDERED, sound))
        return made


def spoken_argument(value: str, language: str) -> str:
    """Return what is filled into a text.

    Args:
        value: ``length:`` and nanoseconds, ``count:`` and a number, ``digits:`` and a number that is read digit by
            digit, with a pause at each blank, ``day:`` and a date (2026-10-01), the id of a text, or the words
            themselves.
        language: ``zh`` or ``en``.
    """
    kind, _, rest = value.partition(":")
    if kind == "length" and rest.isdecimal():
        return speech.length(int(rest), language)
    if kind == "count" and rest.isdecimal():
        return speech.count(int(rest), language)
    if kind == "digits":
        return _PAUSES[language].join(speech.digits(group, language) for group in rest.split())
    if kind == "day":
        with contextlib.suppress(ValueError):
            return speech.day(date.fromisoformat(rest), language)
    return texts.text(value, language) if texts.known(value) else value


def _write(path: Path, data: bytes) -> None:
    fresh = path.with_suffix(".new")
    fresh.write_bytes(data)
    fresh.replace(path)
