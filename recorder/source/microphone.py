"""The microphone, through PyAudio (PortAudio), coded as AAC.

PortAudio says how long ago the first sample of each piece was converted, on a clock of its own (which may be the wall
clock); only the difference to that clock's now is used, and taken off the boot-time clock. Sound that the system lost
(overflow) is a hole: time jumps, nothing is made up.
"""

from __future__ import annotations

import logging
import queue
from typing import TYPE_CHECKING, Any, Final

from recorder.source.driver import boottime_ns
from recorder.source.ear import Ear
from recorder.source.encode import AAC_FRAME, AudioEncoder
from recorder.source.errors import DeviceError
from recorder.source.pcm import Blocks

if TYPE_CHECKING:
    from recorder.config import SourceSection
    from recorder.source.driver import Sink

log = logging.getLogger(__name__)

_WAIT_S: Final = 0.5
_BELIEVABLE_NS: Final = 2_000_000_000
"""A piece that claims to have been taken longer ago, or later than now, is timed by its arrival."""
_SETTLE_S: Final = 1.5
"""A sound server's account of its own delay is wrong by most of a second just after the start (measured)."""


class Microphone:
    """One input device of PortAudio."""

    cause = "microphone"
    pictures = None

    def __init__(self, section: SourceSection) -> None:
        self._section = section
        self.ear = Ear(section.audio_rate_hz)

    def run(self, sink: Sink) -> None:
        """Capture until the sink is stopping.

        Raises:
            DeviceError: there is no such device, or it ended.
        """
        import pyaudio

        system: Any = pyaudio.PyAudio()
        try:
            self._capture(pyaudio, system, sink)
        except OSError as error:
            raise DeviceError("microphone", f"the microphone failed: {error}") from error
        finally:
            system.terminate()

    def _capture(self, pyaudio: Any, system: Any, sink: Sink) -> None:
        rate_hz = self._section.audio_rate_hz
        pieces: queue.SimpleQueue[tuple[bytes, float, int, bool]] = queue.SimpleQueue()

        def taken(data: bytes, _count: int, times: dict[str, float], status: int) -> tuple[None, int]:
            lost = bool(status & pyaudio.paInputOverflow)
            pieces.put((data, times["current_time"] - times["input_buffer_adc_time"], boottime_ns(), lost))
            return None, pyaudio.paContinue

        stream: Any = system.open(
            rate=rate_hz,
            channels=1,
            format=pyaudio.paInt16,
            input=True,
            input_device_index=self._index(system),
            frames_per_buffer=AAC_FRAME,
            stream_callback=taken,
        )
        log.info("microphone opened, %d Hz", rate_hz)
        try:
            encoder = AudioEncoder(rate_hz, 1, self._section.audio_bitrate_bps)
            sink.formats({"audio": encoder.format})
            blocks = Blocks(rate_hz, 1, _SETTLE_S)
            jumps = 0
            while not sink.stopping():
                try:
                    pcm, age_s, arrival_ns, lost = pieces.get(timeout=_WAIT_S)
                except queue.Empty:
                    if not stream.is_active():
                        raise DeviceError("microphone", "the microphone has ended") from None
                    continue
                taken_ns = self._taken_ns(age_s, arrival_ns, len(pcm) // 2)
                if lost:
                    sink.event("hole", ["audio"], "overload", "sound was lost before it was read")
                for block in blocks.put(pcm, taken_ns, arrival_ns, broken=lost):
                    for answer in self.ear.put(block.pcm, block.at * 1_000_000_000 // rate_hz):
                        sink.heard(answer)
                    for sample in encoder.encode(block.pcm, block.at, block.arrival_ns):
                        sink.put(sample)
                if blocks.jumps > jumps and not lost:
                    sink.event("hole", ["audio"], "microphone", "the sound's time jumped", blocks.jumps - jumps)
                jumps = blocks.jumps
        finally:
            stream.close()

    def _taken_ns(self, age_s: float, arrival_ns: int, count: int) -> int:
        """Return the boot-time at which the first sample of a piece was taken."""
        if 0 < age_s * 1e9 < _BELIEVABLE_NS:
            return arrival_ns - round(age_s * 1e9)
        return arrival_ns - count * 1_000_000_000 // self._section.audio_rate_hz

    def _index(self, system: Any) -> int | None:
        """Return PortAudio's number of the configured device; None means its default."""
        name = self._section.device
        if name is None:
            return None
        for index in range(int(system.get_device_count())):
            info = system.get_device_info_by_index(index)
            if info["maxInputChannels"] > 0 and name in info["name"]:
                return index
        raise DeviceError("microphone", f"there is no microphone named {name}")
