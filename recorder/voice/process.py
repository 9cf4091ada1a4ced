"""The process of the voice: takes an order, plays it, says so. One thing after the other, and never in a hurry.

If it hangs in a driver, or dies, the recorder goes on recording, puts on record that the announcement was not heard,
and warns the officer.
"""

from __future__ import annotations

import contextlib
import logging
import select
import socket
from typing import TYPE_CHECKING, Final

from recorder.source.driver import boottime_ns
from recorder.source.link import short
from recorder.source.listen import PatternError, pattern
from recorder.voice.messages import SOCKET_NAME, Lines, Order, Reply, VoiceError, encode
from recorder.voice.sounds import Sound, SoundError
from recorder.voice.tones import CHECK_TEXT, check, kind_of, tone

if TYPE_CHECKING:
    from pathlib import Path

    from recorder.config import VoiceSection
    from recorder.voice.player import Player
    from recorder.voice.sounds import Voice

log = logging.getLogger(__name__)

RECONNECT_S: Final = 0.5
ORPHANED_NS: Final = 60_000_000_000
"""A voice that the recorder started ends by itself after so long without one."""
_TONE_RATE_HZ: Final = 16_000
_READ_SIZE_BYTES: Final = 64 << 10


class VoiceProcess:
    """Serves one recorder after the other."""

    def __init__(self, section: VoiceSection, run_folder: Path, voice: Voice, player: Player) -> None:
        self._section = section
        self._path = run_folder / SOCKET_NAME
        self._voice = voice
        self._player = player

    def run(self) -> None:
        """Run until there is no recorder for a while, or forever where systemd keeps the voice."""
        without_since_ns = boottime_ns()
        while not self._section.spawn or boottime_ns() - without_since_ns < ORPHANED_NS:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
                try:
                    connection.connect(str(self._path))
                except OSError:
                    select.select([], [], [], RECONNECT_S)
                    continue
                log.info("voice: connected to the recorder")
                try:
                    self._serve(connection)
                except (OSError, VoiceError) as error:
                    log.warning("voice: the recorder is gone: %s", error)
                without_since_ns = boottime_ns()

    def _serve(self, connection: socket.socket) -> None:
        lines = Lines(Order)
        while True:
            data = connection.recv(_READ_SIZE_BYTES)
            if not data:
                raise VoiceError("it closed the connection")
            for order in lines.feed(data):
                self._carry_out(connection, order)

    def _carry_out(self, connection: socket.socket, order: Order) -> None:
        try:
            self._speak(connection, order)
        except SoundError as error:
            log.warning("voice: %s (%d) was not spoken: %s", order.say, order.number, error)
            _reply(connection, order, "failed", detail=short(str(error)))
        else:
            log.info("voice: %s (%d) has been spoken", order.say, order.number)
            _reply(connection, order, "done")

    def _speak(self, connection: socket.socket, order: Order) -> None:
        section = self._section
        cue = order.say.startswith("cue.")
        volume = section.cue_volume if cue else section.volume
        kind = kind_of(order.say)
        words = []
        if order.say == CHECK_TEXT:
            words = [Sound(check(_TONE_RATE_HZ), _TONE_RATE_HZ)]
        elif not cue or section.cue_words:
            # Everything is made before anything sounds: a failure is known at once.
            words = [self._voice.sound(order.say, language, order.arguments) for language in section.languages]
        rate_hz = words[0].rate_hz if words else _TONE_RATE_HZ
        before = Sound(tone(kind, rate_hz) if kind is not None else b"", rate_hz)
        known = None
        if words:
            with contextlib.suppress(PatternError):  # too short to be recognised: it will not be listened for
                known = pattern(words[0].pcm, rate_hz).encode()
        length_ns = before.length_ns + sum(one.length_ns for one in words)

        def begins() -> None:
            # What is listened for comes after the tone.
            at_ns = boottime_ns() + before.length_ns
            _reply(connection, order, "playing", at_ns=at_ns, length_ns=length_ns, known=known)

        first = Sound(before.pcm + (words[0].pcm if words else b""), rate_hz)
        self._player.play(first.at_volume(volume), begins)
        for sound in words[1:]:
            self._player.play(sound.at_volume(volume), lambda: None)


def _reply(
    connection: socket.socket,
    order: Order,
    state: str,
    *,
    detail: str | None = None,
    at_ns: int | None = None,
    length_ns: int = 0,
    known: bytes | None = None,
) -> None:
    reply = Reply(
        number=order.number,
        state=state,
        boottime_ns=boottime_ns() if at_ns is None else at_ns,
        detail=detail,
        length_ns=length_ns,
        pattern=known,
    )
    connection.sendall(encode(reply))
