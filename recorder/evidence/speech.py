"""How numbers, lengths and days are spoken, and what the speech engine is given to read.

Counts and lengths are Chinese numerals (二十秒), numbers of records and codes go digit by digit (四 零 九 六): left
alone, an engine reads 4096 as four thousand and ninety-six. Words that the engine misreads are handed to it in pinyin,
from the table ``pinyin.toml``; that table is for the engine only and never reaches a screen or a record.
"""

from __future__ import annotations

import re
import tomllib
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date

VOICE: Final = "cmn-latn-pinyin"
"""espeak-ng's ``cmn`` reads the pinyin of most characters as if it were English."""

_DIGITS: Final = "零一二三四五六七八九"
_PLACES: Final = ("", "十", "百", "千")
_LIMIT: Final = 10**8
_SECOND_NS: Final = 10**9


def numeral(value: int) -> str:
    """Return a number from 0 to 99,999,999 as a Chinese numeral: 20 is 二十, 105 is 一百零五.

    Raises:
        ValueError: out of these bounds.
    """
    if not 0 <= value < _LIMIT:
        raise ValueError(f"{value} is out of the bounds of a spoken number, 0 to 99999999")
    high, low = divmod(value, 10_000)
    words = (_below_ten_thousand(high) + "万" if high else "") + (
        ("零" if high and 0 < low < 1000 else "") + _below_ten_thousand(low) if low or not high else ""  # noqa: PLR2004
    )
    return words.removeprefix("一") if words.startswith("一十") else words


def count(value: int, language: str = "zh") -> str:
    """Return a number as it stands before what is counted: two is 两, not 二 (两段, 两分钟)."""
    if language != "zh":
        return str(value)
    return "两" if value == 2 else numeral(value)  # noqa: PLR2004


def digits(number: str, language: str = "zh") -> str:
    """Return the number of a record, or a code, sign by sign; what is neither letter nor digit is left out."""
    signs = [sign for sign in number if sign.isascii() and sign.isalnum()]
    return " ".join(_DIGITS[int(sign)] if language == "zh" and sign.isdigit() else sign for sign in signs)


def length(length_ns: int, language: str = "zh") -> str:
    """Return a length to the nearest second, in words: 两小时五分二十秒, 三十分钟; at least one second."""
    seconds = max(1, (length_ns + _SECOND_NS // 2) // _SECOND_NS)
    hours, minutes, rest = seconds // 3600, seconds // 60 % 60, seconds % 60
    if language != "zh":
        units = ((hours, "hour"), (minutes, "minute"), (rest, "second"))
        return " ".join(f"{value} {unit}{'' if value == 1 else 's'}" for value, unit in units if value)
    words = f"{count(hours)}小时" if hours else ""
    words += f"{count(minutes)}{'分' if rest else '分钟'}" if minutes else ""
    return words + (f"{count(rest)}秒" if rest else "")


def day(when: date, language: str = "zh") -> str:
    """Return a date: 二零二六年十月一日, 2026-10-01."""
    if language != "zh":
        return when.isoformat()
    year = "".join(_DIGITS[int(digit)] for digit in str(when.year))
    return f"{year}年{numeral(when.month)}月{numeral(when.day)}日"


def for_engine(text: str, overrides: Mapping[str, str] | None = None) -> str:
    """Return a Chinese text as the engine reads it rightly: misread words in pinyin, the rest as it is.

    Args:
        text: a text with everything filled in.
        overrides: words of the agency's own and their pinyin, for example of its name; they go before the table.
    """
    words = {**_words(), **(overrides or {})}
    # The longest first: 不适宜 before a shorter word that may be part of it.
    pattern = "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True))
    return re.sub(pattern, lambda match: f" {words[match[0]]} ", text)


def _below_ten_thousand(value: int) -> str:
    words = ""
    for place in range(3, -1, -1):
        digit = value // 10**place % 10
        if digit:
            words += _DIGITS[digit] + _PLACES[place]
        elif words and not words.endswith("零") and value % 10**place:
            words += "零"
    return words or "零"


@cache
def _words() -> dict[str, str]:
    table: dict[str, dict[str, str]] = tomllib.loads(
        resources.files("recorder.evidence").joinpath("pinyin.toml").read_text(encoding="utf-8")
    )
    return table["words"]
