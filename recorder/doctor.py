"""The check before duty (R15): what the device knows of itself, judged item by item. Pure.

An item is *passed*, *noted* (something is to be done; the device is fit for duty all the same), *failed* (take another
device), or *skipped* (the device has none of it, or cannot look now). What goes wrong has a code of the one table of
faults. A device that is not fit still records: the check warns, it never refuses.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from recorder.battery import State as Power
from recorder.evidence.facts import SILENT_MILLIBELS
from recorder.evidence.records import Check
from recorder.storage import FULL

if TYPE_CHECKING:
    from recorder.advice import Uploads
    from recorder.storage import Room

PASSED: Final = "passed"
NOTED: Final = "noted"
FAILED: Final = "failed"
SKIPPED: Final = "skipped"
_WORST: Final = (FAILED, NOTED, PASSED, SKIPPED)

DAY_NS: Final = 86_400_000_000_000
EXPIRES_SOON_NS: Final = 90 * DAY_NS
SATELLITE_NS: Final = 2_000_000_000
"""A receiver's report is a second old when it comes; more is a wrong clock."""

FAILS: Final = frozenset(
    {
        "battery_low",
        "storage_full",
        "storage_short",
        "camera_absent",
        "camera_silent",
        "lens_blocked",
        "picture_frozen",
        "microphone_absent",
        "microphone_silent",
        "log_damaged",
    }
)
"""With these the device is not fit for duty: what it is to record would not be there, or could not be seen or heard."""


class Source(NamedTuple):
    """One camera or microphone."""

    name: str
    tracks: tuple[str, ...]
    connected: bool
    frames: dict[str, int] | None
    """Per track, what came while it was looked at; None where it did not answer."""
    peak_millibels: int | None = None
    impairments: tuple[str, ...] = ()
    """What its own watches say now: codes such as ``lens_blocked``."""


class Link(NamedTuple):
    """The uplink, as its own status says."""

    running: bool
    connected: bool


class Condition(NamedTuple):
    """Everything that is judged."""

    room: Room
    duty_minutes: int
    """One session must have so much storage and battery."""
    clock: str
    utc_ns: int
    sources: tuple[Source, ...]
    speaker: str
    """``none`` (not configured), ``absent`` or ``present``."""
    loop: str
    """``heard``, ``not-heard`` or ``not-checked``: the sound that the loudspeaker played, by the microphone."""
    battery: Power = Power()
    position: str | None = None
    """``fix``, ``no-fix`` or ``no-gpsd``; None where none is configured."""
    satellite_offset_ns: int | None = None
    certificate: str = "proved"
    """``proved``, ``unproved`` or ``unknown``."""
    certificate_not_after_utc_ns: int | None = None
    uplink: Link | None = None
    """None where none is configured."""
    uploads: Uploads | None = None


class Item(NamedTuple):
    """One line of the check."""

    name: str
    state: str
    faults: tuple[str, ...] = ()
    """Codes, the gravest first."""
    values: tuple[tuple[str, Any], ...] = ()
    """Figures for the line: ``minutes``, ``percent``, ``days``, ``count``, ``offset_ns``, ``loop``."""


def judge(found: Condition) -> list[Item]:
    """Return the items in the order in which they are shown."""
    return [
        _battery(found),
        _storage(found),
        _clock(found),
        _source(found, "camera", "video"),
        _source(found, "microphone", "audio"),
        _speaker(found),
        _certificate(found),
        _uplink(found),
        _pending(found),
        _position(found),
    ]


def result(items: list[Item]) -> str:
    """Return ``pass``, ``warn`` or ``fail``."""
    return record(items).result


def record(items: list[Item]) -> Check:
    """Return the check as it is signed: one code an item, the gravest."""
    by_state = {state: [one for one in items if one.state == state] for state in _WORST}
    return Check(
        passed=[one.name for one in by_state[PASSED]],
        noted={one.name: one.faults[0] for one in by_state[NOTED]},
        failed={one.name: one.faults[0] for one in by_state[FAILED]},
        skipped=[one.name for one in by_state[SKIPPED]],
    )


def _item(name: str, faults: list[str], **values: Any) -> Item:
    faults = sorted(dict.fromkeys(faults), key=lambda code: code not in FAILS)
    state = PASSED if not faults else FAILED if faults[0] in FAILS else NOTED
    return Item(name, state, tuple(faults), tuple((key, value) for key, value in values.items() if value is not None))


def _battery(found: Condition) -> Item:
    battery = found.battery
    if battery.percent is None and battery.minutes is None:
        return Item("battery", SKIPPED)
    short = battery.minutes is not None and battery.minutes < found.duty_minutes and not battery.on_mains
    return _item("battery", ["battery_low"] * short, minutes=battery.minutes, percent=battery.percent)


def _storage(found: Condition) -> Item:
    full = found.room.level == FULL
    faults = ["storage_full"] if full else ["storage_short"] * (found.room.minutes < found.duty_minutes)
    return _item("storage", faults, minutes=found.room.minutes)


def _clock(found: Condition) -> Item:
    offset_ns = found.satellite_offset_ns
    differs = offset_ns is not None and abs(offset_ns) > SATELLITE_NS
    faults = ["clock_unset"] * (found.clock == "unset") + ["clock_differs"] * differs
    return _item("clock", faults, quality=found.clock, offset_ns=offset_ns if differs else None)


def _source(found: Condition, name: str, track: str) -> Item:
    sources = [one for one in found.sources if track in one.tracks]
    if not sources:
        return Item(name, SKIPPED)
    faults: list[str] = []
    for one in sources:
        if not one.connected:
            faults.append(f"{name}_absent")
        elif track == "audio" and found.loop == "heard":
            pass  # it has just heard the loudspeaker, also if it was opened too late to deliver much before
        elif one.frames is None or not one.frames.get(track) or (track == "audio" and _silent(one)):
            faults.append(f"{name}_silent")
        faults += [code for code in one.impairments if (code == "sound_silent") == (track == "audio")]
    return _item(name, faults)


def _silent(source: Source) -> bool:
    return source.peak_millibels is not None and source.peak_millibels <= SILENT_MILLIBELS


def _speaker(found: Condition) -> Item:
    if found.speaker == "none":
        return Item("speaker", SKIPPED)
    faults = ["speaker_absent"] if found.speaker == "absent" else ["loop_not_heard"] * (found.loop == "not-heard")
    return _item("speaker", faults, loop=found.loop)


def _certificate(found: Condition) -> Item:
    until = found.certificate_not_after_utc_ns
    if found.certificate == "unknown":
        return Item("keys", SKIPPED)
    if found.certificate == "unproved" or until is None:
        return _item("keys", ["certificate_unproved"])
    if found.clock == "unset":
        return _item("keys", [])  # nobody knows what day it is
    left_ns = until - found.utc_ns
    faults = ["certificate_expired"] if left_ns <= 0 else ["certificate_expiring"] * (left_ns < EXPIRES_SOON_NS)
    return _item("keys", faults, days=max(0, left_ns // DAY_NS))


def _uplink(found: Condition) -> Item:
    if found.uplink is None:
        return Item("uplink", SKIPPED)
    if not found.uplink.running:
        return _item("uplink", ["uplink_absent"])
    return _item("uplink", ["uplink_offline"] * (not found.uplink.connected))


def _pending(found: Condition) -> Item:
    uploads = found.uploads
    if uploads is None:
        return Item("pending", SKIPPED)
    faults = ["upload_overdue"] * bool(uploads.overdue + uploads.overdue_return) + ["upload_soon"] * bool(uploads.soon)
    return _item("pending", faults, count=uploads.pending, due_utc_ns=uploads.first_due_utc_ns)


def _position(found: Condition) -> Item:
    if found.position is None:
        return Item("position", SKIPPED)
    # Under a roof there is no fix, and nothing is wrong with that.
    return _item("position", ["position_absent"] * (found.position == "no-gpsd"), position=found.position)
