"""The recorder is killed at random moments while it records: nothing is lost silently."""

from __future__ import annotations

import itertools
import random
import time
from typing import TYPE_CHECKING

import pytest

from keys.certificates import load_der, read_identity
from recorder.evidence.records import Boot, Chunk, Gap
from tests.support.session import assert_chain, chunks, frame_numbers, joined_film, stream_records
from tests.support.site import Site

if TYPE_CHECKING:
    from pathlib import Path

KILLS = 50
LOST_LONGEST_S = 0.7
FRAMES_PER_SECOND = 25

SMALL = """
[[streams]]
name = "counter"
[streams.sources.camera]
kind = "synthetic"
tracks = ["video"]
width_px = 640
height_px = 360
[streams.sources.microphone]
kind = "synthetic"
tracks = ["audio"]
"""


def state(site: Site) -> str:
    return site.ask("status")["streams"][0]["state"]


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.rule("R20")
def test_recorder_killed_at_random_moments_loses_no_numbered_frame_it_had(tmp_path: Path) -> None:
    random.seed(20)
    with Site(tmp_path / "site", streams=SMALL) as site:
        site.start_recorder()
        site.wait_for(lambda: state(site) == "ready", "sources connected")
        site.ask("start")
        site.wait_for(lambda: state(site) == "recording", "recording")
        for _ in range(KILLS):
            # The moment is what is random here, nothing is waited for.
            time.sleep(random.uniform(0.0, 2.5))
            site.recorder.kill()
            site.start_recorder()
        site.wait_for(lambda: state(site) == "recording", "recording again")
        site.ask("stop", statement=True)
        site.wait_for(lambda: state(site) == "ready", "closed")
        site.recorder.stop()

    certificate = load_der(site.keys / "devices" / site.device / "signing.crt")
    found = stream_records(site.spool)
    assert_chain(found, read_identity(certificate).public_key)
    assert sum(isinstance(record.body, Boot) for record in found) == KILLS + 1
    assert len({record.session for record in found if record.session}) == 1
    assert any(isinstance(record.body, Gap) and record.body.cause == "restart" for record in found)

    media = [chunk.media for _, chunk in chunks(site.spool)]
    assert len(set(media)) == len(media)
    numbers = frame_numbers(joined_film(site.spool))
    assert None not in numbers
    missing = numbers[-1] - numbers[0] + 1 - len(numbers)
    longest = max(after - before - 1 for before, after in itertools.pairwise(numbers))
    print(f"{KILLS} kills, {len(numbers)} frames, {missing} missing, longest hole {longest} frames")
    assert longest <= LOST_LONGEST_S * FRAMES_PER_SECOND

    tracks = [chunk.tracks["video"] for _, chunk in chunks(site.spool) if "video" in chunk.tracks]
    written = sum(track.frames_written for track in tracks)
    assert written == len(numbers)
    closing = found[-1] if found[-1].kind == "session-close" else next(r for r in found if r.kind == "session-close")
    assert closing.body.chunks == sum(isinstance(record.body, Chunk) for record in found)
