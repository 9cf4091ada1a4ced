"""CPU of recorder and source, against ``ffmpeg -c copy`` that segments the same RTSP stream at the same time."""

from __future__ import annotations

import subprocess
import tempfile
import time
from pathlib import Path

from tests.bench import Row, cpu_s
from tests.support.rtsp import RtspServer
from tests.support.site import Site

MEASURE_S = 60
WARM_S = 4
FILM_S = 20
REPEATS = 6
"""The camera sends the film once to each that connects, so it has to be longer than the measurement."""


def run() -> list[Row]:
    """Record and segment one stream side by side; compare the CPU seconds of a minute."""
    with tempfile.TemporaryDirectory(prefix="liuhen-bench-") as name:
        folder = Path(name)
        with RtspServer(film(folder / "film.mp4")) as server:
            streams = f"""
[[streams]]
name = "counter"

[streams.sources.camera]
kind = "input"
tracks = ["video", "audio"]
url = "{server.url}"
options = {{ rtsp_transport = "tcp" }}
looks_per_second = 0
"""
            with Site(folder / "site", streams=streams) as site:
                return measure(site, server.url, folder)


def measure(site: Site, url: str, folder: Path) -> list[Row]:
    """Let both run, and read their CPU time at both ends of a minute."""
    site.start_recorder()
    site.wait_for(lambda: site.ask("status")["streams"][0]["state"] == "ready", "the camera is connected")
    ffmpeg = subprocess.Popen(
        [
            "ffmpeg", "-v", "error", "-nostdin", "-rtsp_transport", "tcp", "-i", url, "-c", "copy",
            "-f", "segment", "-segment_time", "2", "-segment_format", "mp4", "-reset_timestamps", "1",
            str(folder / "bare-%05d.mp4"),
        ]
    )  # fmt: skip
    try:
        site.ask("start")
        site.wait_for(lambda: (site.ask("status")["streams"][0]["chunks"] or 0) > 1, "chunks are made")
        pause(site, WARM_S)
        source = site.ask("status")["streams"][0]["sources"]["camera"]["pid"]
        before = (cpu_s(site.recorder.pid, children=False), cpu_s(source), cpu_s(ffmpeg.pid))
        pause(site, MEASURE_S)
        after = (cpu_s(site.recorder.pid, children=False), cpu_s(source), cpu_s(ffmpeg.pid))
    finally:
        ffmpeg.terminate()
        ffmpeg.wait()
    recorder, camera, bare = (end - start for start, end in zip(before, after, strict=True))
    percent = 100 / MEASURE_S
    return [
        Row(
            "recording: CPU of recorder and source, against ffmpeg -c copy",
            f"{(recorder + camera) * percent:.2f} %",
            f"{bare * percent:.2f} %",
            (recorder + camera) / bare,
            "≤ 1.5",
        ),
        Row("recording: of that, the recorder", f"{recorder * percent:.2f} %", "", None, ""),
    ]


def pause(site: Site, seconds: float) -> None:
    """Let things run for a while, and fail when a part of the site ends meanwhile."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        site.check_running()
        time.sleep(0.5)


def film(path: Path) -> Path:
    """Encode a film as an ordinary network camera sends it: 720p, 4 Mbit/s, a key frame every two seconds, sound."""
    once = path.with_name("once.mp4")
    subprocess.run(
        [
            "ffmpeg", "-v", "error", "-nostdin",
            "-f", "lavfi", "-i", "testsrc2=size=1280x720:rate=25,noise=alls=20:allf=t",
            "-f", "lavfi", "-i", "aevalsrc=0.3*sin(2*PI*t*440):s=48000",
            "-t", str(FILM_S), "-c:v", "libx264", "-preset", "ultrafast", "-b:v", "4M", "-maxrate", "4M",
            "-bufsize", "4M", "-g", "50", "-bf", "0", "-pix_fmt", "yuv420p", "-c:a", "aac", "-b:a", "64k", str(once),
        ],
        check=True,
    )  # fmt: skip
    repeat = ["-stream_loop", str(REPEATS - 1), "-i", str(once), "-c", "copy", str(path)]
    subprocess.run(["ffmpeg", "-v", "error", "-nostdin", *repeat], check=True)
    return path
