"""What tests of several parts share."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

PROGRAMS = ("mosquitto", "ffmpeg", "ffprobe", "openssl")
"""Real parts that the tests run; `make setup-test` installs them."""


def pytest_sessionstart() -> None:
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if missing:
        pytest.exit(f"these programs are missing: {', '.join(missing)}; `make setup-test` installs them", returncode=4)


@pytest.fixture(autouse=True)
def language(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same language and time zone wherever the tests run."""
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    monkeypatch.setenv("TZ", "UTC")


@pytest.fixture
def run_folder() -> Iterator[Path]:
    """A folder for sockets: a Unix socket's path has at most 107 bytes, which pytest's own folders can exceed."""
    folder = Path(tempfile.mkdtemp(prefix="liuhen-", dir="/tmp"))
    yield folder
    shutil.rmtree(folder)
