"""Every text that people read, by id, in Chinese and English: the catalogue ``texts.toml``."""

from __future__ import annotations

import string
import tomllib
from datetime import UTC, datetime, timedelta, timezone
from functools import cache
from importlib import resources
from typing import Final

LANGUAGES: Final = ("zh", "en")
BEIJING: Final = timezone(timedelta(hours=8))
"""All of China keeps one time."""
_LATEST_UTC_NS: Final = 253_402_300_799 * 10**9


@cache
def _catalogue() -> dict[str, dict[str, str]]:
    # Loaded at first use: a recorder that speaks to nobody does not keep it in memory.
    return tomllib.loads(resources.files("recorder.evidence").joinpath("texts.toml").read_text(encoding="utf-8"))


def known(text_id: str) -> bool:
    """Tell whether the catalogue has this id."""
    return text_id in _catalogue()


def ids() -> list[str]:
    """Return all ids of the catalogue."""
    return list(_catalogue())


def text(text_id: str, language: str = "zh", **values: object) -> str:
    """Return a text with its ``{names}`` filled in.

    Raises:
        KeyError: unknown id, or a name without value: a mistake of the program, never of its input.
    """
    return _catalogue()[text_id][language].format_map(values)


def placeholders(text_id: str, language: str = "zh") -> set[str]:
    """Return the names that are to be filled into a text.

    Raises:
        KeyError: unknown id.
    """
    return {name for _, name, _, _ in string.Formatter().parse(_catalogue()[text_id][language]) if name}


def named(group: str, name: str, language: str = "zh") -> str:
    """Return the text ``<group>.<name>``; a name from a record that the catalogue lacks is shown as it is.

    Names come out of signed records, which may be of a later version, so no name is an error.
    """
    text_id = f"{group}.{name}"
    if known(text_id) and "{" not in _catalogue()[text_id][language]:
        return text(text_id, language)
    return printable(name)


def printable(name: str, limit: int = 64) -> str:
    """Return a name from a record, shortened and without control characters."""
    return "".join(sign if sign.isprintable() else "?" for sign in name[:limit])


def moment(utc_ns: int) -> str | None:
    """Return a moment in Beijing time to the second, None where it is outside the years 1970 to 9999."""
    if not 0 <= utc_ns <= _LATEST_UTC_NS - 10**14:
        return None
    return datetime.fromtimestamp(utc_ns // 10**9, UTC).astimezone(BEIJING).strftime("%Y-%m-%d %H:%M:%S")


def clock_length(length_ns: int) -> str:
    """Return a length or media time as h:mm:ss."""
    seconds = max(length_ns, 0) // 10**9
    return f"{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}"


def length(length_ns: int, language: str = "zh") -> str:
    """Return a length in words: 1小时2分3秒, or 1 h 2 min 3 s; tenths below ten seconds."""
    if length_ns < 10 * 10**9:
        tenths = max(length_ns, 0) // 10**8
        figure = f"{tenths // 10}.{tenths % 10}" if tenths % 10 else str(tenths // 10)
        return f"{figure}秒" if language == "zh" else f"{figure} s"
    seconds = length_ns // 10**9
    units = ("小时", "分", "秒") if language == "zh" else (" h", " min", " s")
    parts = zip((seconds // 3600, seconds // 60 % 60, seconds % 60), units, strict=True)
    return ("" if language == "zh" else " ").join(f"{value}{unit}" for value, unit in parts if value)
