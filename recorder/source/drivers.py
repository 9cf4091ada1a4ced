"""Which driver a source's configuration asks for; each is loaded only then."""

from __future__ import annotations

from typing import TYPE_CHECKING

from recorder.errors import ConfigError

if TYPE_CHECKING:
    from recorder.config import SourceSection
    from recorder.source.driver import Driver
    from recorder.source.stamp import Stamp


def make(section: SourceSection, stamp: Stamp) -> Driver:
    """Return the driver of a source; the device is not opened yet.

    Args:
        section: Its configuration.
        stamp: For pictures that are encoded here.

    Raises:
        ConfigError: the kind is unknown, or lacks a setting that it needs.
    """
    if not section.tracks or not set(section.tracks) <= {"video", "audio"}:
        raise ConfigError('tracks must be "video", "audio" or both')
    if section.kind == "synthetic":
        from recorder.source.synthetic import Synthetic

        return Synthetic(section, stamp)
    if section.kind == "input":
        from recorder.source.input import Input

        return Input(section, stamp)
    if section.kind == "pyaudio":
        from recorder.source.microphone import Microphone

        return Microphone(section)
    if section.kind == "picamera2":
        from recorder.source.picamera import PiCamera

        return PiCamera(section, stamp)
    raise ConfigError(f'kind = "{section.kind}" is not known; it is synthetic, input, pyaudio or picamera2')
