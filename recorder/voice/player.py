"""The loudspeaker, through PyAudio (PortAudio)."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

from recorder.voice.sounds import SoundError

if TYPE_CHECKING:
    from collections.abc import Callable

    from recorder.voice.sounds import Sound

log = logging.getLogger(__name__)

_PIECE_S: Final = 0.05
_QUIET_END_S: Final = 0.3
"""Silence after each sound, so that what a device still holds when it is closed is none of it."""


class Player:
    """One output device of PortAudio, opened for each sound: a device that was unplugged and comes back is found."""

    def __init__(self, device: str | None) -> None:
        self._device = device

    def play(self, sound: Sound, begins: Callable[[], None]) -> None:
        """Play to the end.

        Args:
            sound: What to play.
            begins: Called when the first samples go to the device.

        Raises:
            SoundError: there is no such device, or it failed.
        """
        import pyaudio

        system: Any = pyaudio.PyAudio()
        try:
            stream: Any = system.open(
                rate=sound.rate_hz,
                channels=1,
                format=pyaudio.paInt16,
                output=True,
                output_device_index=self._index(system),
            )
            try:
                self._write(stream, sound, begins)
            finally:
                stream.close()
        except OSError as error:
            raise SoundError(f"the loudspeaker failed: {error}") from error
        finally:
            system.terminate()

    def _write(self, stream: Any, sound: Sound, begins: Callable[[], None]) -> None:
        begins()
        pcm = sound.pcm + bytes(2 * round(_QUIET_END_S * sound.rate_hz))
        size = 2 * round(_PIECE_S * sound.rate_hz)
        for at in range(0, len(pcm), size):
            stream.write(pcm[at : at + size])
        stream.stop_stream()

    def _index(self, system: Any) -> int | None:
        """Return PortAudio's number of the configured device; None means its default."""
        if self._device is None:
            return None
        for index in range(int(system.get_device_count())):
            info = system.get_device_info_by_index(index)
            if info["maxOutputChannels"] > 0 and self._device in info["name"]:
                return index
        raise SoundError(f"there is no loudspeaker named {self._device}")
