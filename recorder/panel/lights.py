"""What the lights say, and the rhythms of vibration and buzzer: tables, and functions of time. Pure.

The colours are those that officers know (GA/T 947): green is on, red is recording, yellow is sound only. Each state
is told by its rhythm too, so that nobody has to tell colours apart. A panel that does not hear from its recorder shows
a fault, and never that something is being recorded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from recorder.voice.tones import kind_of

if TYPE_CHECKING:
    from recorder.panel.messages import Show

MS_NS: Final = 1_000_000

Pattern = tuple[int, ...]
"""Milliseconds on, off, on, off …, over and over; one that is odd in number ends lit."""
DARK: Final[Pattern] = ()
LIT: Final[Pattern] = (1000,)
SLOW: Final[Pattern] = (500, 500)
QUICK: Final[Pattern] = (150, 150)
FLASH: Final[Pattern] = (100, 900)
TWICE: Final[Pattern] = (120, 180, 120, 1580)
NOTICE: Final[Pattern] = (60, 2940)


class Lights(NamedTuple):
    """Patterns of the three lights."""

    green: Pattern = DARK
    yellow: Pattern = DARK
    red: Pattern = DARK


STATES: Final[dict[str, Lights]] = {
    "off": Lights(),
    "starting": Lights(green=SLOW),
    "ready": Lights(green=LIT),
    "recording": Lights(red=LIT),
    "audio_only": Lights(yellow=LIT),
    "video_only": Lights(red=LIT, yellow=SLOW),
    "closing": Lights(red=QUICK),
    "unsuitable": Lights(green=TWICE),
    "recovering": Lights(red=FLASH),
    "uploading": Lights(green=(900, 100)),
    "uploaded": Lights(green=LIT),
    "overdue": Lights(green=LIT, yellow=TWICE),
    "fault": Lights(yellow=QUICK),
}
"""State (as in the catalogue, without its prefix) to lights."""
RECORDS: Final = ("recording", "audio_only", "video_only", "closing")
"""States in which something is being recorded."""

RHYTHMS: Final[dict[str, Pattern]] = {
    "start": (400,),
    "marker": (80,),
    "warning": (120, 80, 120, 80, 120),
    "end": (150, 100, 600),
    "holding": (60, 90, 60),
    "held-end": (300, 150, 60),
    "held-unsuitable": (300, 150, 60, 150, 60),
    "refused": (60, 60, 60, 60, 60, 60, 60),
}
"""Kind of cue to milliseconds on, off, on …, once."""


def shown(show: Show | None) -> Lights:
    """Return the lights for what the recorder says; None where it says nothing (any more).

    A fault beside a recording blinks in yellow and leaves red alone; low battery and storage are a short yellow flash.
    """
    if show is None or show.state not in STATES:
        return STATES["fault"]
    lights = STATES[show.state]
    if show.fault:
        return lights._replace(yellow=QUICK)
    low = show.battery_minutes is not None or show.storage_minutes is not None
    if low and lights.yellow == DARK:
        return lights._replace(yellow=NOTICE)
    return lights


def rhythm_of(before: str | None, after: str) -> str | None:
    """Return the rhythm that a change of state is told by; None for none.

    A panel that has just come (``before`` is None) tells what is, by its lights, and nothing that happened.
    """
    if before is None or before == after:
        return None
    if after in ("recording", "audio_only", "video_only") and before not in RECORDS:
        return "start"
    if after not in (*RECORDS, "recovering", "fault") and before in (*RECORDS, "recovering"):
        return "end"
    if after in ("audio_only", "video_only", "recovering", "fault") and before in RECORDS:
        return "warning"
    return None


def cue_rhythm(text: str) -> str:
    """Return the rhythm of a cue (id of the catalogue)."""
    return "holding" if text == "cue.hold.end" else kind_of(text) or "warning"


def is_lit(pattern: Pattern, elapsed_ns: int) -> bool:
    """Tell whether a pattern that repeats is lit after so long."""
    return _at(pattern, elapsed_ns // MS_NS % sum(pattern))[0] if pattern else False


def change_after_ns(pattern: Pattern, elapsed_ns: int) -> int | None:
    """Return how long after ``elapsed_ns`` a repeating pattern changes; None for never."""
    if len(pattern) < 2:  # noqa: PLR2004 - always dark, or always lit
        return None
    period_ns = sum(pattern) * MS_NS
    position_ns = elapsed_ns % period_ns
    return _at(pattern, position_ns // MS_NS)[1] * MS_NS - position_ns


def length_ns(rhythm: Pattern) -> int:
    """Return how long a rhythm takes."""
    return sum(rhythm) * MS_NS


def _at(pattern: Pattern, position_ms: int) -> tuple[bool, int]:
    """Return whether it is lit at a position, and where that part ends."""
    end_ms = 0
    for index, part_ms in enumerate(pattern):
        end_ms += part_ms
        if position_ms < end_ms:
            return index % 2 == 0, end_ms
    return False, end_ms
