"""A network camera's film on its way through the whole site, and what must be true of it at the end.

What the camera sent is read from its own film by libavformat; what was recorded, from the package that the store
exports. Nothing of the code under test is asked whether it did well.
"""

from __future__ import annotations

import fcntl
import hashlib
import re
import subprocess
import time
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import av

from recorder.evidence import boxes
from recorder.evidence.records import Gap
from recorder.source.nal import split_length_prefixed, unit_type
from recorder.supervisor import lock_path
from tests.support.commands import liuhen
from tests.support.session import chunks, stream_records

if TYPE_CHECKING:
    from pathlib import Path

    from recorder.evidence.records import Chunk
    from tests.support.site import Site

# What a payloader may repeat, add or leave out between pictures: delimiters, parameter sets, filler.
AROUND = {"h264": (7, 8, 9, 12), "hevc": (32, 33, 34, 35, 38)}
AHEAD_S = 0.8
SETS = {"h264": (7, 8), "hevc": (32, 33, 34)}
_FFMPEG_SAYS = re.compile(r"0x[0-9a-f]+|\d+")


def camera_stream(url: str, *, tracks: tuple[str, ...] = ("video", "audio")) -> str:
    """Return the ``[[streams]]`` of a site whose one source is a network camera."""
    wanted = ", ".join(f'"{track}"' for track in tracks)
    return f"""
[[streams]]
name = "camera"

[streams.sources.camera]
kind = "input"
tracks = [{wanted}]
url = "{url}"
"""


class Coded(NamedTuple):
    """Digests of everything coded in a film, in the order of decoding."""

    units: list[str]
    """NAL units of the pictures, those around them left out."""
    sets: set[bytes]
    """Parameter sets between the pictures."""
    header: bytes
    """avcC or hvcC, which has the parameter sets too."""
    sounds: list[str]
    """AAC frames."""


def coded(film: Path, codec: str) -> Coded:
    """Read a film's packets with libavformat."""
    with av.open(str(film)) as container:
        found = Coded([], set(), bytes(container.streams.video[0].codec_context.extradata or b""), [])
        streams = [*container.streams.video, *container.streams.audio]
        for packet in container.demux(*streams):
            if not packet.size:
                continue
            if packet.stream.type == "audio":
                found.sounds.append(_digest(bytes(packet)))
                continue
            for unit in split_length_prefixed(bytes(packet)):
                kind = unit_type(unit, codec)
                if kind not in AROUND[codec]:
                    found.units.append(_digest(unit))
                elif kind in SETS[codec]:
                    found.sets.add(unit)
    return found


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


class Recorded(NamedTuple):
    """A session as it lies in its package."""

    package: Path
    chunks: list[Chunk]
    gaps: list[Gap]

    @property
    def film(self) -> Path:
        return self.package / "session.mp4"

    def chunk_path(self, chunk: Chunk) -> Path:
        return self.package / "evidence" / "media" / f"{chunk.content_sha256.hex()}.mp4"


def start_session(site: Site) -> None:
    """Start everything and begin a session a moment before the camera is connected, so that PLAY falls into it.

    A film that is served is ahead of itself at its beginning, as no camera can be: what would be shown before the
    session's zero is not recorded.
    """
    with lock_path(site.run, "camera", "camera").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        site.start()
        site.ask("start")
        keep_recording(site, AHEAD_S)


def keep_recording(site: Site, seconds: float) -> None:
    """Let the session go on for a while."""
    end = time.monotonic() + seconds
    site.wait_for(lambda: time.monotonic() > end, "recording", seconds + 10)


def export_session(site: Site, package: Path) -> Recorded:
    """Stop, wait until the store holds everything, export and verify."""
    session = str(site.ask("status")["streams"][0]["session"])
    site.ask("stop", statement=True)
    site.wait_for(lambda: site.ask("status")["streams"][0]["session"] is None, "the session is closed")
    site.wait_for(lambda: site.ask("status")["unreceipted_files"] == 0, "all media are receipted", 120)
    site.recorder.stop()
    where = ("--config", site.central_config, "--session", session, "--out", package)
    exported = liuhen("export", *where, "--reason", "test", timeout_s=300)
    assert exported.returncode == 0, exported.stderr
    verified = liuhen("verify", package, "--authority", site.authority, "--lang", "en", timeout_s=600)
    assert verified.returncode == 0, verified.stdout
    records = stream_records(site.spool)
    gaps = [record.body for record in records if isinstance(record.body, Gap)]
    return Recorded(package, [chunk for _, chunk in chunks(site.spool)], gaps)


def assert_nothing_missing(recorded: Recorded) -> None:
    """No gap was signed but one at the beginning, where the camera was still being connected."""
    first = recorded.chunks[0].start_boottime_ns
    late = [gap for gap in recorded.gaps if (gap.end_boottime_ns or gap.start_boottime_ns) > first]
    assert late == []


# -- what must be true -------------------------------------------------------------------------------------------


def assert_complete(recorded: Recorded, sent: Coded, codec: str) -> Coded:
    """Everything from the first key frame after PLAY on is in the joined film: by hash, in order, nothing twice."""
    got = coded(recorded.film, codec)
    assert got.units
    assert got.units == sent.units[: len(got.units)]
    assert all(one in sent.sets or one in sent.header for one in got.sets)
    first = sent.sounds.index(got.sounds[0])
    assert first <= 3  # sound from before the first picture is not part of the film
    assert got.sounds == sent.sounds[first : first + len(got.sounds)]
    return got


def assert_times_run_on(recorded: Recorded) -> None:
    """Each track's decode times run on without a break, from the first chunk to the last."""
    runs: dict[str, list[boxes.Run]] = {}
    for chunk in recorded.chunks:
        content = recorded.chunk_path(chunk).read_bytes()
        tracks = boxes.parse_init(content[: chunk.init_size_bytes])
        begins = chunk.init_size_bytes
        for kind, _, end in boxes.boxes(content, begins):
            if kind == b"mdat":
                for run in boxes.parse_fragment(content[begins:end], tracks):
                    runs.setdefault(tracks[run.track_id].kind, []).append(run)
                begins = end
    assert set(runs) == {"video", "audio"}
    for kind, own in runs.items():
        for before, after in pairwise(own):
            assert after.first_decode == before.end_decode, kind


def assert_account(recorded: Recorded, got: Coded, pictures: int) -> None:
    """The signed accounts, each and together, say what the film holds and what became of the rest."""
    for chunk in recorded.chunks:
        for kind, track in chunk.tracks.items():
            assert track.frames_received == track.frames_written + sum(track.frames_discarded.values()), kind
    written = {
        kind: sum(chunk.tracks[kind].frames_written for chunk in recorded.chunks if kind in chunk.tracks)
        for kind in ("video", "audio")
    }
    assert written == {"video": pictures, "audio": len(got.sounds)}


def picture_count(film: Path) -> int:
    """Count the pictures of a film by its packets."""
    with av.open(str(film)) as container:
        return sum(1 for packet in container.demux(container.streams.video[0]) if packet.size)


def leading_count(film: Path, codec: str) -> int:
    """Count the pictures at a film's beginning that refer to what was before it (RASL, ISO/IEC 23008-2, 3.112).

    H.265 cameras with open groups of pictures send them after a key frame; a decoder that begins there leaves them out.
    """
    if codec != "hevc":
        return 0
    count = 0
    with av.open(str(film)) as container:
        for number, packet in enumerate(container.demux(container.streams.video[0])):
            kinds = {unit_type(unit, codec) for unit in split_length_prefixed(bytes(packet))}
            if kinds & {8, 9}:
                count += 1
            elif number:
                break
    return count


def ffmpeg_says(film: Path) -> tuple[set[str], int]:
    """Decode picture and sound of a film; return the kinds of warnings and the number of pictures."""
    done = subprocess.run(
        [
            *("ffmpeg", "-v", "warning", "-nostdin", "-progress", "-", "-i", str(film)),
            *("-map", "0:v?", "-map", "0:a?", "-fps_mode", "passthrough", "-f", "null", "-"),
        ],
        capture_output=True,
        text=True,
        check=True,
        timeout=900,
    )
    frames = [int(line[6:]) for line in done.stdout.splitlines() if line.startswith("frame=")]
    return {_FFMPEG_SAYS.sub("N", line) for line in done.stderr.splitlines()}, frames[-1] if frames else 0


def assert_decodes(recorded: Recorded, original: Path, codec: str) -> int:
    """The joined film and each chunk that begins with a key frame decode with no warning that the original lacks.

    Returns:
        how many chunks were decoded.
    """
    known, _ = ffmpeg_says(original)
    said, shown = ffmpeg_says(recorded.film)
    assert said <= known
    assert shown == picture_count(recorded.film)
    begins = [chunk for chunk in recorded.chunks if not chunk.continues and "video" in chunk.tracks]
    for chunk in begins:
        path = recorded.chunk_path(chunk)
        said, shown = ffmpeg_says(path)
        assert said <= known, chunk.number
        assert shown == chunk.tracks["video"].frames_written - leading_count(path, codec), chunk.number
    return len(begins)
