"""Scenes for the measurement of what looks at pictures: real footage and photographs, and what happens to a lens.

Each scene is made by ffmpeg: ten pictures a second, quiet for :data:`EVENT_S`, then the event until :data:`LENGTH_S`.
Photographs are filmed as if held in the hand, or from a tripod; half of the scenes goes through an H.264 encoder as a
network camera has, of which only the key frames are looked at.
"""

from __future__ import annotations

import random
import subprocess
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from recorder.source.pictures import Picture
from tests.support.footage import clip

if TYPE_CHECKING:
    from collections.abc import Iterator

WIDTH_PX: Final = 640
HEIGHT_PX: Final = 360
RATE: Final = 10
EVENT_S: Final = 10
LENGTH_S: Final = 40
KEY_EVERY_S: Final = 2
LOOK_EVERY_S: Final = 1
_DATA: Final = Path("/usr/share/doc/opencv-doc/examples/data")
PHOTOS: Final = (
    *("building.jpg", "home.jpg", "fruits.jpg", "board.jpg", "leuvenA.jpg", "aloeL.jpg", "messi5.jpg", "stuff.jpg"),
    *("left01.jpg", "right05.jpg", "squirrel_cls.jpg", "butterfly.jpg", "basketball1.png", "apple.jpg", "orange.jpg"),
    *("graf1.png", "box_in_scene.png", "licenseplate_motion.jpg"),
)
EVENTS: Final = {
    "nothing": "clear",
    "flash": "clear",
    "brighter": "clear",
    "dimmer": "clear",
    "still": "clear",
    "black": "blocked",
    "hand": "blocked",
    "cloth": "blocked",
    "defocus": "blocked",
    "lights off": "dark",
    "slow dusk": "dark",
    "frozen": "frozen",
    "frozen, clock runs": "frozen",
}
"""What happens, and what is to be said of it."""


class Scene(NamedTuple):
    """One scene."""

    base: str
    event: str
    coded: bool
    filters: str
    """ffmpeg's, from ``[0]`` to the end."""
    arguments: tuple[str, ...]
    """Its inputs."""

    @property
    def wanted(self) -> str:
        """What is to be said of it."""
        return EVENTS[self.event]


def _base(chance: random.Random, name: str, *, still: bool) -> tuple[tuple[str, ...], str]:
    size = f"{WIDTH_PX}:{HEIGHT_PX}"
    if name.endswith(".avi"):
        path = clip() if name == "vtest.avi" else _DATA / name
        longest = {"vtest.avi": 35, "tree.avi": 5, "Megamind.avi": 0}[name]
        at = chance.uniform(0, longest)
        loop = ("-stream_loop", "4") if longest < 10 else ()
        return ("-ss", f"{at:.1f}", *loop, "-i", str(path)), f"fps={RATE},scale={size}"
    zoom = chance.choice((1.0, 1.0, 2.5))
    wide, high = round(WIDTH_PX * 1.2 * zoom), round(HEIGHT_PX * 1.2 * zoom)
    sway = 0.0 if still else chance.uniform(0.1, 0.9)
    place = ":".join(
        f"(in_{side}-out_{side})*(0.5+{sway / 2:.2f}*sin({chance.uniform(0.4, 2):.2f}*t+{shift}))"
        for side, shift in (("w", 0), ("h", 1))
    )
    motion = f"fps={RATE},scale={wide}:{high}:force_original_aspect_ratio=increase,crop={size}:{place}"
    return ("-loop", "1", "-i", str(_DATA / name)), motion


def _dim(expression: str) -> str:
    """Bring everything nearer to black: ``expression`` is what is left of it."""
    return f"eq=eval=frame:contrast='{expression}':brightness='-0.439*(1-({expression}))'"


def scene(chance: random.Random, event: str, number: int) -> Scene:
    """Return one scene of an event."""
    base = chance.choice((*PHOTOS, *(("vtest.avi", "tree.avi", "Megamind.avi") * 4)))
    inputs, motion = _base(chance, base, still=event in ("still", "frozen, clock runs") and chance.random() < 0.7)
    noise = f"noise=alls={chance.randint(3, 14)}:allf=t"
    since = f"gte(t,{EVENT_S})"
    level, slope = chance.randint(17, 40), chance.uniform(0, 60)
    tint = chance.randint(60, 210)
    full = f"color=c=black:s={WIDTH_PX}x{HEIGHT_PX}:r={RATE},format=gray"
    cover = {
        "black": f"{full},lutyuv=y={chance.randint(16, 22)}",
        "hand": f"{full},geq=lum='{level}+{slope:.0f}*pow(X/W,3)'",
        "cloth": f"{full},geq=lum='{tint}+{slope * 0.4:.0f}*X/W+{chance.uniform(0, 4):.1f}*sin(X/2)*sin(Y/2)'",
    }.get(event)
    left = chance.uniform(0.06, 0.12)
    change = {
        "flash": f"lutyuv=y='min(255,val+190)':enable='between(t,{EVENT_S},{EVENT_S}.15)'",
        "brighter": f"lutyuv=y='min(255,val*{chance.uniform(1.2, 1.7):.2f})':enable='{since}'",
        "dimmer": _dim(f"if({since},{chance.uniform(0.45, 0.8):.2f},1)"),
        "defocus": f"gblur=sigma={chance.randint(22, 40)}:enable='{since}',"
        + _dim(f"if({since},{chance.uniform(0.3, 0.8):.2f},1)"),
        "lights off": _dim(f"if({since},{left:.3f},1)"),
        "slow dusk": _dim(f"max({left:.3f},1-max(0,t-{EVENT_S})/10)"),
    }.get(event)
    parts = [f"[0]{motion},format=gray" + (f",{change}" if change else "") + "[a]"]
    if cover is not None:
        parts.append(f"{cover}[b];[a][b]overlay=enable='{since}':format=auto,format=gray,{noise}[c]")
    else:
        parts.append(f"[a]{noise}[c]")
    if event.startswith("frozen"):
        parts.append(f"[c]loop=loop=-1:size=1:start={EVENT_S * RATE}[d]")
        clock = "drawtext=text='%{pts\\:hms}':x=8:y=8:fontsize=16:fontcolor=white" if "clock" in event else "null"
        parts.append(f"[d]setpts=N/({RATE}*TB),{clock}")
    else:
        parts.append("[c]null")
    return Scene(base, event, number % 2 == 1, ";".join(parts), inputs)


def scenes(each: int, seed: int) -> list[Scene]:
    """Return ``each`` scenes of every event."""
    chance = random.Random(seed)
    return [scene(chance, event, number) for event in EVENTS for number in range(each)]


def pictures(one: Scene) -> Iterator[Picture]:
    """Yield the pictures of a scene that are looked at."""
    command = ["ffmpeg", "-v", "error", "-nostdin", *one.arguments, "-filter_complex", one.filters]
    command += ["-t", str(LENGTH_S), "-r", str(RATE)]
    raw = ("-f", "rawvideo", "-pix_fmt", "gray", "-")
    every = round(LOOK_EVERY_S * RATE)
    if one.coded:
        every = KEY_EVERY_S * RATE
        quality = ("-preset", "ultrafast", "-crf", "30", "-g", str(every), "-keyint_min", str(every))
        coder = subprocess.Popen(
            [*command, "-c:v", "libx264", *quality, "-sc_threshold", "0", "-pix_fmt", "yuv420p", "-f", "h264", "-"],
            stdout=subprocess.PIPE,
        )
        plain = ["ffmpeg", "-v", "error", "-nostdin", "-skip_frame", "nokey", "-f", "h264", "-i", "-"]
        last = subprocess.Popen([*plain, "-fps_mode", "passthrough", *raw], stdin=coder.stdout, stdout=subprocess.PIPE)
        every = 1
        step_ns = KEY_EVERY_S * 10**9
    else:
        last = subprocess.Popen([*command, *raw], stdout=subprocess.PIPE)
        step_ns = LOOK_EVERY_S * 10**9
    assert last.stdout is not None
    try:
        shown = 0
        for number in count():
            data = last.stdout.read(WIDTH_PX * HEIGHT_PX)
            if len(data) < WIDTH_PX * HEIGHT_PX:
                return
            if number % every == 0:
                yield Picture(shown * step_ns, WIDTH_PX, HEIGHT_PX, WIDTH_PX, memoryview(data))
                shown += 1
    finally:
        last.kill()
        last.wait()
