"""A source is killed again and again: the other goes on, the holes are signed, time runs on."""

from __future__ import annotations

import os
import signal
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from keys.certificates import load_der, read_identity
from recorder.evidence.records import Gap
from tests.crash.test_recorder_killed import SMALL, state
from tests.support.session import assert_chain, chunks, stream_records
from tests.support.site import Site

if TYPE_CHECKING:
    from pathlib import Path

KILLS = 20
HOLE_UNSIGNED_S = 0.75


def camera(site: Site) -> int | None:
    return site.ask("status")["streams"][0]["sources"]["camera"]["pid"]


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.rule("R20")
def test_camera_killed_twenty_times_leaves_signed_gaps_and_the_sound_whole(tmp_path: Path) -> None:
    with Site(tmp_path / "site", streams=SMALL) as site:
        site.start_recorder()
        site.wait_for(lambda: state(site) == "ready", "sources connected")
        site.ask("start")
        for _ in range(KILLS):
            site.wait_for(lambda: state(site) == "recording", "both tracks flow", 30)
            pid = camera(site)
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
            site.wait_for(lambda pid=pid: camera(site) not in (pid, None), "another camera process", 30)
        site.wait_for(lambda: state(site) == "recording", "both tracks flow", 30)
        site.ask("stop", statement=True)
        site.wait_for(lambda: state(site) == "ready", "closed")
        site.recorder.stop()

    certificate = load_der(site.keys / "devices" / site.device / "signing.crt")
    found = stream_records(site.spool)
    assert_chain(found, read_identity(certificate).public_key)
    made = [chunk for _, chunk in chunks(site.spool)]

    sound = [chunk.tracks["audio"] for chunk in made if "audio" in chunk.tracks]
    assert all(before.end_decode == after.first_decode for before, after in pairwise(sound))

    pictures = [chunk.tracks["video"] for chunk in made if "video" in chunk.tracks]
    holes = [
        (before.end_decode / before.timescale, after.first_decode / after.timescale)
        for before, after in pairwise(pictures)
        if (after.first_decode - before.end_decode) / before.timescale > HOLE_UNSIGNED_S
    ]
    gaps = [record.body for record in found if isinstance(record.body, Gap) and "video" in record.body.tracks]
    signed = [gap for gap in gaps if gap.end_boottime_ns is not None]
    print(f"{KILLS} kills, {len(holes)} holes, {len(signed)} signed gaps, longest {max(e - s for s, e in holes):.2f} s")
    assert len(signed) >= len(holes) >= KILLS // 2
    assert {gap.cause for gap in signed} <= {"camera", "unknown"}
    assert all(gap.tracks == ["video"] for gap in signed)
    assert {chunk.part for chunk in made} == {0}
