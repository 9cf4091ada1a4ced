"""Covered, frozen, silent: what a camera or a microphone suffers from while it records, up to the report."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from recorder.evidence.records import Fault, Gap
from tests.support.commands import liuhen
from tests.support.footage import spoiled
from tests.support.pictures import camera_stream, export_session, keep_recording
from tests.support.pulse import SINK, PulseServer
from tests.support.rtsp import RtspServer
from tests.support.session import stream_records
from tests.support.site import Site

if TYPE_CHECKING:
    from collections.abc import Iterator

S = 1_000_000_000
POLICY = Path("config/agencies/mingshan-emergency-bureau.toml")


def _stream(site: Site) -> dict[str, Any]:
    stream: dict[str, Any] = site.ask("status")["streams"][0]
    return stream


def _faults(site: Site, code: str) -> list[Fault]:
    return [one.body for one in stream_records(site.spool) if isinstance(one.body, Fault) and one.body.code == code]


def _gaps(site: Site) -> list[Gap]:
    return [one.body for one in stream_records(site.spool) if isinstance(one.body, Gap)]


def _report(package: Path, form: str) -> str:
    done = liuhen("report", package, "--policy", POLICY, "--format", form)
    assert done.stdout, done.stderr
    return done.stdout


def _findings(package: Path) -> dict[str, dict[str, Any]]:
    (told,) = json.loads(_report(package, "json"))["reports"]
    return {one["id"]: one for one in (*told["findings"], *told["questions"])}


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.rule("R20", "R22")
def test_covered_lens_silence_and_frozen_picture_of_a_network_camera_are_in_the_report(tmp_path: Path) -> None:
    with RtspServer(spoiled()) as camera:
        streams = camera_stream(camera.url) + "replace_frozen_after_s = 4\n"
        with Site(tmp_path / "site", streams=streams) as site:
            site.start()
            site.wait_for(lambda: _stream(site)["state"] == "ready", "the camera is connected")
            site.ask("start")
            site.wait_for(lambda: "lens_blocked" in _stream(site)["suffers_from"], "the covered lens is seen", 60)
            site.wait_for(lambda: "sound_silent" in _stream(site)["suffers_from"], "the silence is heard", 30)
            site.wait_for(lambda: _stream(site)["suffers_from"] == [], "all is well again", 30)
            pid = _stream(site)["sources"]["camera"]["pid"]
            site.wait_for(lambda: bool(_faults(site, "picture_frozen")), "the frozen picture is seen", 60)
            site.wait_for(lambda: _stream(site)["sources"]["camera"]["pid"] not in (pid, None), "replaced", 30)
            site.wait_for(lambda: "frozen" in {gap.cause for gap in _gaps(site)}, "recorded again", 30)
            log = site.recorder.log()
            recorded = export_session(site, tmp_path / "package")
            begun, over = _faults(site, "lens_blocked")
            silent, heard = _faults(site, "sound_silent")
    for cue in ("cue.lens.blocked", "cue.sound.silent", "cue.picture.frozen"):
        assert log.count(cue) == 1, cue
    assert begun.end_boottime_ns is None
    assert begun.start_boottime_ns == over.start_boottime_ns
    # Key frames two seconds apart are looked at: so near is the beginning, and so near the end.
    assert over.length_ns is not None
    assert 8 * S <= over.length_ns <= 16 * S
    assert heard.length_ns is not None
    assert 12 * S <= heard.length_ns <= 16 * S
    assert silent.start_boottime_ns is not None
    assert begun.start_boottime_ns is not None
    assert abs(silent.start_boottime_ns - begun.start_boottime_ns) <= 3 * S
    # Nothing is missing of what could not be seen.
    chunks = [chunk for chunk in recorded.chunks if "video" in chunk.tracks]
    covered = [
        one for one in chunks if begun.start_boottime_ns <= one.start_boottime_ns <= begun.start_boottime_ns + 8 * S
    ]
    assert len(covered) >= 3
    assert all(after.start_boottime_ns - before.end_boottime_ns < S for before, after in pairwise(covered))
    findings = _findings(recorded.package)
    assert {"lens_blocked", "silent", "frozen"} <= set(findings)
    text = _report(recorded.package, "text")
    assert f"镜头遮挡{round(over.length_ns / S)}秒" in text


@pytest.fixture
def room(tmp_path: Path) -> Iterator[PulseServer]:
    before = dict(os.environ)
    with PulseServer(tmp_path) as server:
        os.environ.update(server.environment)
        yield server
    os.environ.clear()
    os.environ.update(before)


WORN = """
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
"""


@pytest.mark.slow
@pytest.mark.timeout(200)
@pytest.mark.rule("R6", "R22")
def test_a_microphone_muted_in_the_middle_of_a_session_is_in_the_report(tmp_path: Path, room: PulseServer) -> None:
    player = subprocess.Popen([sys.executable, "-m", "tests.support.beeps", SINK], stdout=subprocess.DEVNULL)
    try:
        with Site(tmp_path / "site", streams=WORN) as site:
            site.start()
            site.wait_for(lambda: _stream(site)["state"] == "ready", "camera and microphone are there")
            site.ask("start")
            keep_recording(site, 14)
            assert _stream(site)["suffers_from"] == []  # pauses between beeps are no silence
            room.mute(on=True)
            site.wait_for(lambda: _stream(site)["suffers_from"] == ["sound_silent"], "the silence is heard", 30)
            keep_recording(site, 2)
            room.mute(on=False)
            site.wait_for(lambda: _stream(site)["suffers_from"] == [], "there is sound again", 30)
            keep_recording(site, 2)
            recorded = export_session(site, tmp_path / "package")
            begun, over = _faults(site, "sound_silent")
            assert "cue.sound.silent" in site.recorder.log()
    finally:
        player.kill()
        player.wait()
    assert begun.start_boottime_ns == over.start_boottime_ns
    assert over.length_ns is not None
    assert 11 * S <= over.length_ns <= 20 * S
    silent = [
        one for one in recorded.chunks if "audio" in one.tracks and (one.tracks["audio"].peak_millibels or 0) < -6000
    ]
    assert silent  # the levels in the chunks tell the same
    assert "silent" in _findings(recorded.package)
