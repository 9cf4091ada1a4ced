"""A device's configuration: one TOML file, typed; a key that is not known is an error, never silently ignored."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import msgspec

from recorder.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

MAX_CONFIG_SIZE_BYTES = 256 << 10


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of the file."""


class DeviceSection(Section, frozen=True, kw_only=True):
    """``[device]``: who this device is and where it keeps things."""

    id: str
    """Device number, ``[a-z0-9-]{3,32}``, as in its certificate."""
    spool: str
    """Folder of logs and media; a file system of its own is best."""
    run: str
    """Folder of sockets and locks; gone after a reboot."""
    language: str = "zh"
    """``zh`` or ``en``."""
    policy: str | None = None
    """Policy file of the agency; its digest is signed into each session."""


class KeysSection(Section, frozen=True, kw_only=True):
    """``[keys]``: the signing key, by URI, and the authority that receipts must come from."""

    signing: str
    """For example ``file:/etc/liuhen/signing.key``."""
    certificate: str
    authority: list[str]
    """Certificate files of the trusted authorities."""


class SourceSection(Section, frozen=True, kw_only=True):
    """``[streams.sources.<name>]``: one camera or microphone, a process of its own."""

    kind: str
    """``synthetic``, ``input`` (anything that PyAV opens), ``pyaudio`` or ``picamera2``."""
    tracks: list[str]
    """``video``, ``audio``: what it is to deliver."""
    url: str | None = None
    """For ``input``: a file, ``rtsp://…`` or ``/dev/video0``."""
    options: dict[str, str] = {}
    """For ``input``: options handed to libavformat."""
    device: str | None = None
    """For ``pyaudio``: name of the input device; for ``picamera2``: number of the camera."""
    encoder: str | None = None
    """For ``picamera2``: ``hardware`` (Pi 4) or ``libx264`` (Pi 5). Chosen, never guessed."""
    width_px: int = 1280
    height_px: int = 720
    frames_per_second: int = 25
    video_bitrate_bps: int = 4_000_000
    audio_rate_hz: int = 48_000
    audio_bitrate_bps: int = 64_000
    key_frame_interval_s: float = 2.0
    stall_after_s: float = 3.0
    """Without a frame for so long, the source is replaced."""
    spawn: bool = True
    """The recorder starts it itself; false where systemd does."""


class StreamSection(Section, frozen=True, kw_only=True):
    """``[[streams]]``: one log with its media: a camera with its microphone."""

    name: str
    mode: str = "video"
    """``video``, ``audio`` or ``continuous``."""
    sources: dict[str, SourceSection]
    auto_start: bool = False
    """Open a session as soon as the recorder runs."""


class SpoolSection(Section, frozen=True, kw_only=True):
    """``[spool]``: room and lifetimes."""

    reserve_size_mib: int = 16
    """Kept free for the log on a full disk."""
    restore_window_hours: float = 72.0
    """How long receipted media stay, while room permits."""
    free_on: str = "stored"
    """Class of receipt that permits freeing: ``stored`` or ``secured``."""
    warn_minutes: int = 60
    """Warn when there is room for fewer minutes."""


class UplinkSection(Section, frozen=True, kw_only=True):
    """``[uplink]``: the broker and the transport identity."""

    broker: str
    """Host and port, for example ``store.example:8883``."""
    key: str
    certificate: str
    broker_authority: str
    """Certificate file of the authority that the broker's certificate comes from."""
    state: str
    """Folder of the uplink's own state."""
    max_rate_bytes_per_s: int | None = None
    keepalive_s: int = 30


class DeviceConfig(Section, frozen=True, kw_only=True):
    """The whole file."""

    device: DeviceSection
    keys: KeysSection
    streams: list[StreamSection]
    spool: SpoolSection = SpoolSection()
    uplink: UplinkSection | None = None


C = TypeVar("C", bound=Section)


def load(path: Path, form: type[C]) -> C:
    """Read a TOML file into its typed form.

    Raises:
        ConfigError: missing, not TOML, or with an unknown or wrong key; the message names file and key.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_CONFIG_SIZE_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    if len(data) > MAX_CONFIG_SIZE_BYTES:
        raise ConfigError(f"{path}: larger than a configuration file can be")
    try:
        return msgspec.toml.decode(data, type=form, strict=True)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{path}: {error}") from error
    except (msgspec.DecodeError, ValueError) as error:
        raise ConfigError(f"{path}: not readable as TOML: {error}") from error
