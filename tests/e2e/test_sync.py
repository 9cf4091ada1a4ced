"""Sound and picture stay together, from the first chunk to the last: within 40 ms, all that people notice."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.support.footage import flash_and_beep
from tests.support.pictures import camera_stream, export_session, keep_recording, start_session
from tests.support.pulse import SINK, PulseServer
from tests.support.rtsp import RtspServer
from tests.support.site import Site
from tests.support.sync import measure_sync

if TYPE_CHECKING:
    from pathlib import Path

RECORD_S = 90
SYNC_MS = 40.0

ROOM = """
[[streams]]
name = "room"

[streams.sources.camera]
kind = "synthetic"
tracks = ["video"]
width_px = 640
height_px = 360

[streams.sources.microphone]
kind = "pyaudio"
tracks = ["audio"]
"""


def assert_together(film: Path, at_least: int) -> None:
    pairs = measure_sync(film)
    offsets = [offset for _, offset in pairs]
    assert len(pairs) >= at_least
    print(f"{len(pairs)} flashes, {min(offsets):.1f} to {max(offsets):.1f} ms")
    assert max(map(abs, offsets)) <= SYNC_MS


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("bframes", [0, 2])
def test_a_network_camera(tmp_path: Path, bframes: int) -> None:
    film = flash_and_beep(120, bframes=bframes)
    with RtspServer(film) as camera, Site(tmp_path / "site", streams=camera_stream(camera.url)) as site:
        start_session(site)
        keep_recording(site, RECORD_S)
        recorded = export_session(site, tmp_path / "package")
    assert_together(recorded.film, RECORD_S - 10)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_camera_and_microphone_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two processes, two devices, a real sound server: what relates them is the clock alone."""
    with PulseServer(tmp_path) as room:
        for name, value in room.environment.items():
            monkeypatch.setenv(name, value)
        with (
            subprocess.Popen([sys.executable, "-m", "tests.support.beeps", SINK], stdout=subprocess.PIPE) as player,
            Site(tmp_path / "site", streams=ROOM) as site,
        ):
            try:
                site.start()
                site.ask("start")
                keep_recording(site, RECORD_S)
                recorded = export_session(site, tmp_path / "package")
            finally:
                player.kill()
            assert player.stdout is not None
            errors = [float(line) for line in player.stdout.read().split()]
    print(f"the player itself: within {max(errors[10:]):.1f} ms of an even course")
    assert max(errors[10:]) < SYNC_MS / 4
    assert_together(recorded.film, RECORD_S - 15)
