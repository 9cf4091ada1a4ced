"""``liuhen verify`` on a package of about an hour at 4 Mbit/s, against ``sha256sum`` over the same files."""

from __future__ import annotations

import os
import struct
import subprocess
import tempfile
import time
from pathlib import Path

from recorder.evidence import boxes, records
from recorder.evidence.package import write_package
from tests.bench import Row
from tests.support import forge
from tests.support.commands import LIUHEN, environment

BASE_S = 20
REPEATS = 10
SESSION = b"B" * 16
TIMESCALE = 90_000


def run() -> list[Row]:
    """Build the package once, then take the better of two runs of each."""
    with tempfile.TemporaryDirectory(prefix="liuhen-bench-") as folder:
        site = forge.Site.make()
        package = Path(folder) / "package"
        build(site, package)
        authority = Path(folder) / "authority.der"
        authority.write_bytes(site.authority.der)
        files = sorted(path for path in package.rglob("*") if path.is_file())
        size_mb = sum(path.stat().st_size for path in files) / 1e6
        bare_s = seconds(["taskset", "-c", "0", "sha256sum", *map(str, files)])
        verify = [*LIUHEN, "verify", str(package), "--authority", str(authority)]
        one_s = seconds(["taskset", "-c", "0", *verify])
        rows = [_row("verify, one core, against sha256sum", size_mb, one_s, bare_s, "≥ 0.5")]
        if (os.cpu_count() or 1) > 1:
            rows.append(
                _row(f"verify, {os.cpu_count()} cores, against sha256sum on one", size_mb, seconds(verify), bare_s)
            )
        return rows


def _row(name: str, size_mb: float, value_s: float, bare_s: float, aim: str = "") -> Row:
    return Row(name, f"{size_mb / value_s:.0f} MB/s", f"{size_mb / bare_s:.0f} MB/s", bare_s / value_s, aim)


def seconds(command: list[str]) -> float:
    """Return the better time of two runs."""
    times = []
    for _ in range(2):
        began = time.monotonic()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment())
        times.append(time.monotonic() - began)
    return min(times)


def build(site: forge.Site, package: Path) -> None:
    """Write a package whose film is ``BASE_S`` of noise, repeated with times that run on."""
    clips = base_clips()
    drafts = [draft for draft in forge.session_drafts(SESSION, 1) if isinstance(draft.body, records.SessionOpen)]
    number = 0
    for repeat in range(REPEATS):
        for clip in clips:
            shifted = forge.Clip(clip.init, tuple(later(part, repeat * BASE_S) for part in clip.fragments))
            drafts.append(forge.chunk_draft(shifted, number, number, SESSION))
            number += 1
    drafts.append(forge.close_draft(drafts))
    recording = forge.record(site, drafts)
    write_package(
        package,
        records=recording.records,
        attestation=recording.attestation,
        certificates=site.certificates,
        media=lambda record: recording.media[record.sequence],
    )


def base_clips() -> list[forge.Clip]:
    """Encode moving noise, cut like a recording: chunks of two seconds, fragments of half a second."""
    done = subprocess.run(
        [
            "ffmpeg", "-v", "error", "-f", "lavfi", "-i", "testsrc2=size=1280x720:rate=25,noise=alls=40:allf=t",
            "-t", str(BASE_S), "-c:v", "libx264", "-preset", "ultrafast", "-b:v", "40M", "-g", "50",
            "-pix_fmt", "yuv420p", "-sc_threshold", "0", "-video_track_timescale", str(TIMESCALE),
            "-movflags", forge.MOVFLAGS, "-frag_duration", "500000", "-f", "mp4", "pipe:1",
        ],
        check=True,
        stdout=subprocess.PIPE,
    )  # fmt: skip
    return forge._cut(done.stdout, 0)


def later(fragment: bytes, seconds_later: int) -> bytes:
    """Return a fragment with its decode time moved."""
    place = boxes.find(fragment, (b"moof", b"traf", b"tfdt"))
    assert place is not None
    start, _ = place
    assert fragment[start] == 1, "a tfdt of 64 bits"
    (decode,) = struct.unpack_from(">Q", fragment, start + 4)
    moved = bytearray(fragment)
    struct.pack_into(">Q", moved, start + 4, decode + seconds_later * TIMESCALE)
    return bytes(moved)
