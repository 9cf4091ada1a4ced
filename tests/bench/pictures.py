"""Ten minutes of real footage and half an hour of flash and beep from a network camera, through the whole site."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

from tests.bench import Row
from tests.support.footage import flash_and_beep, footage
from tests.support.pictures import (
    assert_account,
    assert_complete,
    assert_decodes,
    assert_nothing_missing,
    assert_times_run_on,
    camera_stream,
    coded,
    export_session,
    keep_recording,
    picture_count,
    start_session,
)
from tests.support.rtsp import RtspServer
from tests.support.site import Site
from tests.support.sync import measure_sync

COMPLETE_S = 600
SYNC_S = 1800
SPARE_S = 60
"""The camera sends its film once, so that has to be longer than the recording."""
SYNC_AIM_MS = 40


def run() -> list[Row]:
    """Record both, one after the other."""
    with tempfile.TemporaryDirectory(prefix="liuhen-bench-") as name:
        folder = Path(name)
        return [*completeness(folder, COMPLETE_S), *sync(folder, SYNC_S)]


def completeness(folder: Path, seconds: int) -> list[Row]:
    """Compare every NAL unit and AAC frame of a looped film with what the package holds."""
    film = looped(footage("plain"), seconds + SPARE_S, folder / "footage.mp4")
    with RtspServer(film) as camera, Site(folder / "pictures", streams=camera_stream(camera.url)) as site:
        start_session(site)
        keep_recording(site, seconds)
        recorded = export_session(site, folder / "pictures-package")
    got = assert_complete(recorded, coded(film, "h264"), "h264")
    pictures = picture_count(recorded.film)
    assert_times_run_on(recorded)
    assert_account(recorded, got, pictures)
    decoded = assert_decodes(recorded, film, "h264")
    assert_nothing_missing(recorded)
    counted = len(got.units) + len(got.sounds)
    return [
        Row(
            "real pictures: NAL units and AAC frames in the film, against sent", f"{counted}", f"{counted}", 1.0, "≥ 1"
        ),
        Row("real pictures: chunks decoded by ffmpeg without a new warning", f"{decoded}", "", None, ""),
    ]


def sync(folder: Path, seconds: int) -> list[Row]:
    """Measure how far sound and picture are apart, from the first chunk to the last."""
    film = looped(flash_and_beep(60), seconds + SPARE_S, folder / "flash.mp4")
    with RtspServer(film) as camera, Site(folder / "sync", streams=camera_stream(camera.url)) as site:
        start_session(site)
        keep_recording(site, seconds)
        recorded = export_session(site, folder / "sync-package")
    there = dict(measure_sync(film))
    pairs = measure_sync(recorded.film)
    if len(pairs) < seconds - 20:
        raise AssertionError(f"only {len(pairs)} flashes in {seconds} s")
    worst = max(abs(offset) for _, offset in pairs)
    sent = max(abs(offset) for offset in there.values())
    name = f"sync: worst offset of sound and picture over {seconds // 60} min, {len(pairs)} flashes"
    return [
        Row(name, f"{worst:.1f} ms", f"{SYNC_AIM_MS} ms", worst / SYNC_AIM_MS, "≤ 1"),
        Row("sync: of that, in the camera's own film", f"{sent:.1f} ms", "", None, ""),
    ]


def looped(film: Path, seconds: int, target: Path) -> Path:
    """Repeat a film without coding it again, to at least so many seconds."""
    repeat = ["-stream_loop", "-1", "-i", str(film), "-t", str(seconds), "-c", "copy", str(target)]
    subprocess.run(["ffmpeg", "-v", "error", "-nostdin", "-y", *repeat], check=True)
    return target
