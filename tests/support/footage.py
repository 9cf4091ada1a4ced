"""Real footage for tests: Debian's surveillance clip ``vtest.avi``, transcoded once, with sound added."""

from __future__ import annotations

import gzip
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

CACHE = Path(tempfile.gettempdir()) / f"liuhen-footage-{os.getuid()}"
_CLIP_FOLDERS = ("/usr/share/doc/opencv-doc/examples", "/usr/share/doc/opencv-doc")

FORMS = {
    # Key frame every two seconds, no B-frames: an ordinary network camera.
    "plain": [
        "-c:v",
        "libx264",
        "-preset",
        "veryfast",
        "-g",
        "20",
        "-keyint_min",
        "20",
        "-sc_threshold",
        "0",
        "-bf",
        "0",
    ],
    # Ten seconds between key frames, and B-frames.
    "long": [
        "-c:v",
        "libx264",
        "-preset",
        "veryfast",
        "-g",
        "100",
        "-keyint_min",
        "100",
        "-sc_threshold",
        "0",
        "-bf",
        "3",
    ],
    "hevc": ["-c:v", "libx265", "-preset", "ultrafast", "-x265-params", "keyint=20:bframes=2:log-level=error"],
}


def clip() -> Path:
    """Find the original, whatever way the distribution packs it."""
    for folder in _CLIP_FOLDERS:
        for path in sorted(Path(folder).rglob("vtest.avi*")):
            if path.suffix == ".gz":
                CACHE.mkdir(exist_ok=True)
                target = CACHE / "vtest.avi"
                if not target.exists():
                    with gzip.open(path, "rb") as packed, target.open("wb") as plain:
                        shutil.copyfileobj(packed, plain)
                return target
            return path
    raise FileNotFoundError("vtest.avi is missing: apt install opencv-doc")


def _once(name: str, arguments: list[str]) -> Path:
    CACHE.mkdir(exist_ok=True)
    target = CACHE / name
    if not target.exists():
        part = CACHE / f"{os.getpid()}-{name}"
        subprocess.run(["ffmpeg", "-v", "error", "-nostdin", "-y", *arguments, str(part)], check=True, timeout=300)
        part.replace(target)
    return target


def footage(form: str = "plain", seconds: int = 79) -> Path:
    """Return an MP4 of real footage, 768 × 576, 10 frames a second, with a changing tone as its sound.

    Args:
        form: One of :data:`FORMS`.
        seconds: Its length.
    """
    sound = "aevalsrc=0.3*sin(2*PI*t*(300+200*sin(t))):s=48000"
    return _once(
        f"{form}-{seconds}.mp4",
        [
            *("-t", str(seconds), "-i", str(clip())),
            *("-f", "lavfi", "-t", str(seconds), "-i", sound),
            *FORMS[form],
            *("-c:a", "aac", "-b:a", "64k", "-shortest"),
        ],
    )


def spoiled() -> Path:
    """Return an MP4 of real footage that something happens to, 768 × 576, 10 frames a second, constant quality.

    All is well until second 18; from then to 30 a hand is before the lens, and there is no sound until 32; from second
    42 to the end, at 98, the picture stands still while the sound goes on.
    """
    filters = (
        # A hand: dark, a little brighter at one side, with a sensor's noise.
        "color=c=black:s=768x576:r=10,format=yuv420p,geq=lum='20+30*pow(X/W,3)':cb=128:cr=128,trim=duration=42[hand]",
        "[0]fps=10[clear]",
        "[clear][hand]overlay=enable='between(t,18,30)',noise=alls=6:allf=t,tpad=stop_mode=clone:stop_duration=56",
    )
    sound = "aevalsrc=0.3*sin(2*PI*t*440)*(1-between(t\\,18\\,32)):s=48000"
    return _once(
        "spoiled.mp4",
        [
            *("-t", "42", "-i", str(clip()), "-f", "lavfi", "-t", "98", "-i", sound),
            *("-filter_complex", ";".join(filters), "-pix_fmt", "yuv420p"),
            *("-c:v", "libx264", "-preset", "veryfast", "-qp", "26", "-bf", "0"),
            *("-g", "20", "-keyint_min", "20", "-sc_threshold", "0"),
            *("-c:a", "aac", "-b:a", "64k", "-t", "98"),
        ],
    )


def flash_and_beep(seconds: int = 60, *, bframes: int = 0) -> Path:
    """Return an MP4 that flashes white and beeps (1 kHz) for the first fifth of each second, 25 frames a second."""
    picture = "color=c=black:s=320x240:r=25,drawbox=c=white:t=fill:enable='lt(mod(t,1),0.2)'"
    sound = "aevalsrc='0.5*sin(2*PI*1000*t)*lt(mod(t,1),0.2)':s=48000"
    return _once(
        f"flash-{seconds}-{bframes}.mp4",
        [
            *("-f", "lavfi", "-t", str(seconds), "-i", picture),
            *("-f", "lavfi", "-t", str(seconds), "-i", sound),
            *("-c:v", "libx264", "-preset", "veryfast", "-g", "50", "-bf", str(bframes), "-pix_fmt", "yuv420p"),
            *("-c:a", "aac", "-b:a", "64k"),
        ],
    )
