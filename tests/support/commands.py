"""Run ``liuhen`` as a person would: a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
LIUHEN = (sys.executable, "-m", "recorder.cli")


def environment(**more: str) -> dict[str, str]:
    """Return an environment in which ``python -m recorder.cli`` finds this tree from any folder."""
    return os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", "PYTHONUTF8": "1"} | more


def liuhen(
    *arguments: object, timeout_s: float = 60, cwd: Path | None = None, **surroundings: str
) -> subprocess.CompletedProcess[str]:
    """Run one command to its end, with ``surroundings`` in its environment, and return what it said."""
    return subprocess.run(
        [*LIUHEN, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout_s,
        cwd=cwd,
        env=environment(**surroundings),
    )
