"""What can be wrong with a device: one table, from the code in a signed record to what a person is to do."""

from __future__ import annotations

import tomllib
from functools import cache
from importlib import resources
from typing import Final

import msgspec

PAGE_TITLE: Final = "# 故障代码 Fault codes"
_PAGE_HEAD: Final = """
设备报出或者显示的代码，原因和处理办法。打印后随设备存放。
The code that the device says or shows, its cause, and what to do. To be printed and kept with the device.

| 代码 Code | 原因 Cause | 处理 What to do | 记录中的名称 Name in records |
|---|---|---|---|
"""


class Words(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The same in both languages."""

    zh: str
    en: str

    def of(self, language: str) -> str:
        """Return it in one of them."""
        return self.zh if language == "zh" else self.en


class FaultText(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One row of the table."""

    number: int
    """Two digits, spoken one by one."""
    cause: Words
    todo: Words


@cache
def table() -> dict[str, FaultText]:
    """Return the whole table, by the code as it stands in records."""
    data = tomllib.loads(resources.files("recorder.evidence").joinpath("faults.toml").read_text(encoding="utf-8"))
    return msgspec.convert(data, dict[str, FaultText])


def find(code: str) -> FaultText | None:
    """Return what a code means; None for one of a later version."""
    return table().get(code)


def page() -> str:
    """Return the table as the page ``docs/faults.md``."""
    rows = [
        f"| **{one.number}** | {one.cause.zh}。{one.cause.en}. | {one.todo.zh}。{one.todo.en}. | `{code}` |"
        for code, one in sorted(table().items(), key=lambda item: item[1].number)
    ]
    return PAGE_TITLE + "\n" + _PAGE_HEAD + "\n".join(rows) + "\n"
