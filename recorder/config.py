"""A device's configuration: one TOML file, typed; a key that is not known is an error, never silently ignored."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, TypeVar

import msgspec

from keys.identity import ID_PATTERN
from recorder.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

MAX_STREAMS = 32
MAX_PRE_EVENT_SECONDS = 30
MAX_CONFIG_SIZE_BYTES = 256 << 10
LANGUAGES = ("zh", "en")


NAME_PATTERN = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?")
"""Names of streams and sources: they become parts of file names."""
_ADDRESS = re.compile(r"[^\s:]+:\d{1,5}|\[[0-9a-fA-F:]+\]:\d{1,5}")
SOURCE_KINDS = ("synthetic", "input", "pyaudio", "picamera2")
TRACKS = ("video", "audio")
BOUNCE_MS = (5, 50)
"""Shortest and longest time, in milliseconds, that a button's contact may be given to come to rest."""


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of the file."""

    def problems(self) -> list[str]:
        """Say what is wrong beyond types, one sentence each; none by default."""
        return []


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
    codes: list[str] = []
    """Certificate files of the centre's keys for codes: with them it reads codes that carry no certificate."""


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
    looks_per_second: float = 2.0
    """So many pictures are looked at for a covered lens, codes and the like; of those passed through at most one. With
    0 none is, and sound that passes through is not listened to."""
    replace_frozen_after_s: float = 30.0
    """A source whose picture is frozen for so long is replaced; if that does not help, later each time. 0: never."""
    reads_codes: bool = True
    """Codes of the centre that are shown to the lens are read, where zxing-cpp is installed."""
    spawn: bool = True
    """The recorder starts it itself; false where systemd does."""


class StreamSection(Section, frozen=True, kw_only=True):
    """``[[streams]]``: one log with its media: a camera with its microphone."""

    name: str
    mode: str = "video"
    """``video``, ``audio`` or ``continuous``; an officer may choose sound alone at a start."""
    sources: dict[str, SourceSection]
    auto_start: bool = False
    """Open a session as soon as the recorder runs."""
    pre_event_seconds: int = 0
    """A recording begins with the pictures, not the sound, of so long before the press; only as the policy permits."""


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
    critical_minutes: int = 10
    """Warn that another device is needed."""
    duty_minutes: int = 120
    """A device with less room than that is not fit for duty: one session must have it."""


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
    only_at_unit: bool = False
    """The broker is reached nowhere but on the unit's own network: hearing from the store again after a while without
    it is then a sign of the return, from which the hours of a deferral count (R13)."""


class VoiceSection(Section, frozen=True, kw_only=True):
    """``[voice]``: the loudspeaker. Without this section the device does not speak."""

    folder: str
    """WAV files: the agency's own, and below ``rendered`` what ``liuhen voice render`` made."""
    device: str | None = None
    """Part of the name of the output device; absent: the default one."""
    languages: list[str] = msgspec.field(default_factory=lambda: ["zh"])
    """Each text is spoken in all of these, in this order."""
    volume: float = 1.0
    """Of what is spoken to everyone, 0 … 1."""
    cue_volume: float = 0.4
    """Of tones and words that are for the officer."""
    cue_words: bool = False
    """Cues are spoken after their tone, for example into an earpiece; else the tone alone."""
    pinyin: dict[str, str] = {}
    """Words that the speech engine misreads, and their pinyin: the agency's name, names of places."""
    spawn: bool = True
    """The recorder starts it itself; false where systemd does."""


class PositionSection(Section, frozen=True, kw_only=True):
    """``[position]``: where gpsd answers. Without this section the device does not say where it is."""

    gpsd: str = "127.0.0.1:2947"
    """Host and port of gpsd."""
    spawn: bool = True
    """The recorder starts the process that asks it; false where systemd does."""


class PanelSection(Section, frozen=True, kw_only=True):
    """``[panel]``: buttons, lights, buzzer and vibration on GPIO pins, by their BCM numbers."""

    button: int
    """The main button."""
    second_button: int | None = None
    """Its short press is: unsuitable content begins."""
    button_to_ground: bool = True
    """A button connects its pin to ground, and the pin is pulled up; false: to 3.3 V, and it is pulled down."""
    bounce_ms: int = 20
    """A contact that has not stood still for so long does not count, 5 … 50."""
    green: int | None = None
    yellow: int | None = None
    red: int | None = None
    buzzer: int | None = None
    vibration: int | None = None
    active_high: bool = True
    """Lights, buzzer and vibration are on when their pin is high."""
    stream: str | None = None
    """What the buttons are for, where there are several streams; the first by default."""
    spawn: bool = True
    """The recorder starts it itself; false where systemd does."""


class BatterySection(Section, frozen=True, kw_only=True):
    """``[battery]``: when a device on its battery warns, and when it ends in order what it records."""

    warn_minutes: list[int] = msgspec.field(default_factory=lambda: [20, 10])
    warn_percent: list[int] = msgspec.field(default_factory=lambda: [20, 10])
    """Used while the minutes are not known."""
    end_minutes: int = 2
    """With less, a session is ended in order."""
    end_percent: int = 3
    folder: str = "/sys/class/power_supply"
    """Where the kernel tells of power supplies."""

    def problems(self) -> list[str]:
        """Say what would never warn, or never end."""
        levels = [*self.warn_minutes, *self.warn_percent]
        if any(level < 1 for level in levels) or self.end_minutes < 0 or self.end_percent < 0:
            return ["battery: levels cannot be negative, and those of warnings are at least 1"]
        return []


class DeviceConfig(Section, frozen=True, kw_only=True):
    """The whole file."""

    device: DeviceSection
    keys: KeysSection
    streams: list[StreamSection]
    spool: SpoolSection = SpoolSection()
    uplink: UplinkSection | None = None
    voice: VoiceSection | None = None
    position: PositionSection | None = None
    panel: PanelSection | None = None
    battery: BatterySection = BatterySection()

    def problems(self) -> list[str]:
        """Say what would not work: ids and names out of form, tracks that two sources claim, missing addresses."""
        found = []
        if not ID_PATTERN.fullmatch(self.device.id):
            found.append(f"device.id: {self.device.id!r} is not a device number: 3 to 32 of a-z, 0-9 and -")
        if self.device.language not in LANGUAGES:
            found.append(f"device.language: {self.device.language!r} is none of {', '.join(LANGUAGES)}")
        if not self.keys.authority:
            found.append("keys.authority: names no authority, so no receipt could ever be believed")
        if self.spool.free_on not in ("stored", "secured"):
            found.append(f"spool.free_on: {self.spool.free_on!r} is neither stored nor secured")
        if self.spool.reserve_size_mib < 1:
            found.append("spool.reserve_size_mib: without a reserve a full disk cannot be put on record; at least 1")
        if self.spool.restore_window_hours < 0:
            found.append("spool.restore_window_hours: cannot be negative")
        if len(self.streams) > MAX_STREAMS:
            found.append(f"streams: {len(self.streams)} of them; at most {MAX_STREAMS} have room in one record")
        found += [*_voice_problems(self.voice), *_position_problems(self.position)]
        found += self.battery.problems()
        found += _panel_problems(self.panel, [stream.name for stream in self.streams])
        if not self.streams:
            found.append("streams: there is none, so nothing would be recorded")
        names = [stream.name for stream in self.streams]
        found += [
            f"streams: {name!r} is there twice" for name in sorted({one for one in names if names.count(one) > 1})
        ]
        for stream in self.streams:
            found += _stream_problems(stream)
        return found


def _voice_problems(voice: VoiceSection | None) -> list[str]:
    if voice is None:
        return []
    found = []
    if not voice.languages or set(voice.languages) - set(LANGUAGES):
        found.append(f"voice.languages: must be one or more of {', '.join(LANGUAGES)}")
    for name, value in (("volume", voice.volume), ("cue_volume", voice.cue_volume)):
        if not 0 <= value <= 1:
            found.append(f"voice.{name}: {value} is not between 0 and 1")
    return found


def _mode_problems(stream: StreamSection, where: str) -> list[str]:
    if stream.mode not in ("video", "audio", "continuous"):
        return [f"{where}: mode {stream.mode!r} is none of video, audio, continuous"]
    if stream.mode == "audio" and all("audio" not in source.tracks for source in stream.sources.values()):
        return [f"{where}: mode audio, and no source delivers sound"]
    return []


def _position_problems(position: PositionSection | None) -> list[str]:
    if position is None or _ADDRESS.fullmatch(position.gpsd):
        return []
    return [f"position.gpsd: {position.gpsd!r} is not a host and a port, such as 127.0.0.1:2947"]


def _panel_problems(panel: PanelSection | None, streams: list[str]) -> list[str]:
    if panel is None:
        return []
    found = []
    names = ("button", "second_button", "green", "yellow", "red", "buzzer", "vibration")
    pins = [pin for pin in (getattr(panel, name) for name in names) if pin is not None]
    found += [f"panel: GPIO {pin} is there twice" for pin in sorted({pin for pin in pins if pins.count(pin) > 1})]
    if not BOUNCE_MS[0] <= panel.bounce_ms <= BOUNCE_MS[1]:
        found.append(f"panel.bounce_ms: {panel.bounce_ms} is not between {BOUNCE_MS[0]} and {BOUNCE_MS[1]}")
    if panel.stream is not None and panel.stream not in streams:
        found.append(f"panel.stream: there is no stream {panel.stream!r}")
    return found


def _stream_problems(stream: StreamSection) -> list[str]:
    where = f"streams {stream.name!r}"
    found = _mode_problems(stream, where)
    if not NAME_PATTERN.fullmatch(stream.name) or stream.name == "device":
        found.append(f"{where}: a name has 1 to 32 of a-z, 0-9 and -, and 'device' is the device's own log")
    if not stream.sources:
        found.append(f"{where}: has no source")
    if not 0 <= stream.pre_event_seconds <= MAX_PRE_EVENT_SECONDS:
        found.append(f"{where}: pre_event_seconds is 0 to {MAX_PRE_EVENT_SECONDS}")
    claimed: set[str] = set()
    for name, source in stream.sources.items():
        at = f"{where}, source {name!r}"
        if not NAME_PATTERN.fullmatch(name):
            found.append(f"{at}: a name has 1 to 32 of a-z, 0-9 and -")
        if source.kind not in SOURCE_KINDS:
            found.append(f"{at}: kind {source.kind!r} is none of {', '.join(SOURCE_KINDS)}")
        if source.kind == "input" and not source.url:
            found.append(f"{at}: an input needs a url")
        if not source.tracks or set(source.tracks) - set(TRACKS):
            found.append(f"{at}: tracks are video and audio, and at least one")
        twice = claimed & set(source.tracks)
        if twice or len(set(source.tracks)) != len(source.tracks):
            found.append(f"{at}: another source of the stream delivers {', '.join(sorted(twice)) or 'a track'} already")
        claimed |= set(source.tracks)
    return found


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
        config = msgspec.toml.decode(data, type=form, strict=True)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{path}: {error}") from error
    except (msgspec.DecodeError, ValueError) as error:
        raise ConfigError(f"{path}: not readable as TOML: {error}") from error
    problems = config.problems()
    if problems:
        raise ConfigError(f"{path}: {'; '.join(problems)}")
    return config
