"""Measurements, each against something bare that does the same work in the same run: ``python -m tests.bench``.

A module here has a function ``run() -> list[Row]``. Numbers of different machines are never compared.
"""

from __future__ import annotations

import os
from typing import NamedTuple


class Row(NamedTuple):
    """One line of the table. What the names mean stands in ``docs/bench.md``."""

    name: str
    value: str
    """As shown, with its unit."""
    baseline: str
    """What it is measured against, with its unit; empty where nothing is."""
    ratio: float | None
    """value / baseline."""
    aim: str
    """Bound of the ratio: ``≤ 1.5``, ``≥ 0.8``; empty where there is none."""

    @property
    def met(self) -> bool | None:
        """Whether the ratio is within the aim; None where there is nothing to judge."""
        if self.ratio is None or not self.aim:
            return None
        bound = float(self.aim[1:])
        return self.ratio <= bound if self.aim.startswith("≤") else self.ratio >= bound


def cpu_s(pid: int, *, children: bool = True) -> float:
    """Return the CPU seconds (user and system) that a process has used, with those of its ended children."""
    with open(f"/proc/{pid}/stat", encoding="utf-8") as file:  # noqa: PTH123 - read many times a second
        fields = file.read().rpartition(")")[2].split()
    ticks = int(fields[11]) + int(fields[12])
    if children:
        ticks += int(fields[13]) + int(fields[14])
    return ticks / os.sysconf("SC_CLK_TCK")
