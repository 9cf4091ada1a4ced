"""From a finger on the button to the first recorded frame, with a warm camera."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tests.bench import Row
from tests.support.panel import GREEN, SECTION, MockPanel
from tests.support.session import chunks
from tests.support.site import SYNTHETIC, Site

if TYPE_CHECKING:
    from recorder.evidence.records import Chunk

PRESSES = 10
AIM_S = 0.5
TRACKS = {"video": "frame", "audio": "sound"}


def run() -> list[Row]:
    """Press, let it record, end it; again and again."""
    with (
        tempfile.TemporaryDirectory(prefix="liuhen-bench-") as folder,
        Site(Path(folder), streams=SYNTHETIC + SECTION) as site,
    ):
        site.start_recorder()
        with MockPanel(site) as panel:
            pressed = [_press(site, panel) for _ in range(PRESSES)]
            site.wait_for(lambda: site.ask("status")["streams"][0]["state"] == "ready", "all is signed")
        first = [chunk for _, chunk in chunks(site.spool) if chunk.number == 0]
    took = {
        track: sorted(_first_ns(chunk, track) - at for at, chunk in zip(pressed, first, strict=True))
        for track in TRACKS
    }
    return [
        Row(
            f"press to first recorded {what}, worst of {PRESSES}",
            f"{took[track][-1] / 1e9:.3f} s",
            f"{AIM_S} s",
            took[track][-1] / 1e9 / AIM_S,
            "≤ 1",
        )
        for track, what in TRACKS.items()
    ]


def _first_ns(chunk: Chunk, track: str) -> int:
    """Return the boot-time of a track's first sample: the chunk starts with the earlier of both."""
    times = {name: one.first_decode * 10**9 // one.timescale for name, one in chunk.tracks.items()}
    return chunk.start_boottime_ns + times[track] - min(times.values())


def _press(site: Site, panel: MockPanel) -> int:
    site.wait_for(lambda: site.ask("status")["streams"][0]["state"] == "ready", "ready")
    panel.wait_lit(GREEN)
    at_ns = panel.push()
    site.wait_for(lambda: site.ask("status")["streams"][0]["state"] == "recording", "recording")
    site.ask("stop", statement=True)
    return at_ns
