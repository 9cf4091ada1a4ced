"""A code that the device speaks is the one that verifies, in the package that a party gets, and no other does."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any

import pytest

from recorder.evidence import checkcode, records
from tests.support.commands import liuhen
from tests.support.pulse import PulseServer
from tests.support.session import stream_records
from tests.support.site import Site

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

STREAMS = """
[[streams]]
name = "worn"

[streams.sources.camera]
kind = "synthetic"
tracks = ["video"]
width_px = 320
height_px = 240
frames_per_second = 10

[streams.sources.microphone]
kind = "pyaudio"
tracks = ["audio"]

[voice]
folder = "{folder}"
"""
SPOKEN = re.compile(r"编号(\d+)，(?:当前)?核验码((?:\d{4} ?){3})，请记入笔录。")


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with PulseServer(tmp_path) as room:
        before = dict(os.environ)
        os.environ.update(room.environment)
        with Site(tmp_path / "site", streams=STREAMS.format(folder=tmp_path / "voice")) as made:
            made.start()
            made.wait_for(lambda: _stream(made)["state"] == "ready", "camera and microphone are there")
            made.wait_for(lambda: made.ask("status")["voice"], "the voice is there")
            yield made
        os.environ.clear()
        os.environ.update(before)


def _stream(site: Site) -> dict[str, Any]:
    stream: dict[str, Any] = site.ask("status")["streams"][0]
    return stream


def _said(site: Site, text: str) -> list[records.Announcement]:
    found = [one.body for one in stream_records(site.spool) if isinstance(one.body, records.Announcement)]
    return [one for one in found if one.text == text]


def _code(site: Site) -> str:
    """Ask as an officer does; return what is written down."""
    shown = liuhen("code", "--config", site.device_config)
    assert shown.returncode == 0, shown.stderr
    match = SPOKEN.search(shown.stdout)
    assert match is not None, shown.stdout
    return f"{match[1]}:{match[2]}"


@pytest.mark.slow
@pytest.mark.rule("R23")
def test_codes_given_during_and_at_the_end_verify_in_the_package(site: Site, tmp_path: Path) -> None:
    nothing = liuhen("code", "--config", site.device_config)
    assert (nothing.returncode, "还没有音像记录" in nothing.stderr) == (64, True)
    site.ask("start")
    site.wait_for(lambda: len(_said(site, "say.start.av")) == 1, "the party is told", 60)
    during = _code(site)
    # Spoken to everyone, on the recording, and heard.
    site.wait_for(lambda: len(_said(site, "say.code")) == 1, "the code is spoken", 60)
    assert _said(site, "say.code")[0].heard == "heard"
    site.ask("stop", statement=True, reason="done")
    site.wait_for(lambda: _stream(site)["last_code"] is not None, "the code of the end is made", 60)
    shown = _stream(site)["last_code"]
    at_end = f"{shown['number']}:{shown['code']}"
    site.wait_for(lambda: len(_said(site, "say.end.code")) == 1, "the code of the end is spoken", 60)
    log = stream_records(site.spool)
    (closed,) = [one for one in log if isinstance(one.body, records.SessionClose)]
    assert str(checkcode.of(closed)) == at_end
    # What became of speaking it is a later record of the same session, which no microphone recorded any more.
    assert (log[-1].session, _said(site, "say.end.code")[0].heard) == (closed.session, "not-checked")
    assert _code(site) == at_end
    assert f"核验码 {shown['code']}" in liuhen("status", "--config", site.device_config).stdout
    site.wait_for(lambda: len(_said(site, "say.end.code")) == 2, "it is spoken once more", 60)
    _in_the_package(site, tmp_path, closed.session or b"", during, at_end)


def _in_the_package(site: Site, tmp_path: Path, session: bytes, during: str, at_end: str) -> None:
    config = ("--config", site.central_config, "--reason", "copy for the party")
    site.wait_for(
        lambda: '"complete"' in liuhen("central", "sessions", *config, "--json").stdout, "all is handed over", 60
    )
    package = tmp_path / "package"
    out = liuhen("export", *config, "--session", session.hex(), "--out", package)
    assert out.returncode == 0, out.stderr
    verify = ("verify", package, "--authority", site.authority)
    said = liuhen(*verify, "--code", during, "--code", at_end)
    assert said.returncode == 0, said.stdout
    assert said.stdout.count("核验码相符") == 2
    number, digits = during.split(":")
    wrong = f"{number}:{digits[:-1]}{(int(digits[-1]) + 1) % 10}"
    said = liuhen(*verify, "--code", wrong, "--code", at_end)
    assert said.returncode == 1
    assert (said.stdout.count("核验码不符"), said.stdout.count("核验码相符")) == (1, 1)
    report = liuhen("report", package, "--authority", site.authority)
    assert at_end in report.stdout
    assert "播报记录编号和核验码" in report.stdout
