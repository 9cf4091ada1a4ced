"""What it costs to look for codes twice a second, against encoding the same picture; how small a code may be."""

from __future__ import annotations

import subprocess
import time
from typing import TYPE_CHECKING, Any

import av

from recorder.source.driver import VIDEO_TIMESCALE
from recorder.source.encode import VideoEncoder
from recorder.source.pictures import Picture
from recorder.source.scanner import Scanner
from tests.bench import Row
from tests.support.cards import Held, Issuer, officer, picture, squares, task

if TYPE_CHECKING:
    from collections.abc import Callable

WIDTH_PX, HEIGHT_PX, RATE = 1280, 720, 25
SCENE_S = 4
REPEATS = 3
LOOKS_PER_SECOND = 2
ASKED = 1 / 3
"""So much of the picture's width a card asks for."""
WIDTHS = [percent / 100 for percent in range(26, 8, -1)]
TURNED = (7, 31)


def run() -> list[Row]:
    """Measure both."""
    return [*cost(), *size()]


def cost() -> list[Row]:
    """Compare CPU seconds of looking and of encoding, for a second of film."""
    scenes = {"no code": frames("testsrc2=size=1280x720:rate=25,noise=alls=20:allf=t")}
    held = picture([Held(squares(Issuer.make().text(task())), width=ASKED, turned=7)])
    scenes["a task's code"] = [planar(bytes(held))] * (SCENE_S * RATE)
    encoding = min(seconds(lambda: encode(scenes["no code"])) for _ in range(REPEATS)) / SCENE_S
    rows = []
    for name, shown in scenes.items():
        looking = min(seconds(lambda: look(shown)) for _ in range(REPEATS)) / SCENE_S  # noqa: B023
        rows.append(
            Row(
                f"codes: CPU of two looks a second, {name}; encoding",
                f"{looking * 100:.2f} %",
                f"{encoding * 100:.1f} %",
                looking / encoding,
                "≤ 0.15",
            )
        )
    return rows


def size() -> list[Row]:
    """Find how narrow a code may be held, at each of three angles."""
    issuer = Issuer.make()
    rows = []
    for name, text in (
        ("a task's", issuer.text(task())),
        ("a task's, without certificate", issuer.text(task(), bare=True)),
        ("an officer's, without certificate", issuer.text(officer(), bare=True)),
    ):
        drawn = squares(text)
        least = 1.0
        for width in WIDTHS:
            if not all(reads(bytes(picture([Held(drawn, width=width, turned=angle)])), text) for angle in TURNED):
                break
            least = width
        value = f"{least * 100:.0f} %"
        rows.append(Row(f"codes: narrowest that is read, {name}", value, f"{ASKED * 100:.0f} %", least / ASKED, "≤ 1"))
    return rows


def frames(scene: str) -> list[Any]:
    """Return some seconds of a scene of ffmpeg's."""
    command = ["ffmpeg", "-v", "error", "-nostdin", "-f", "lavfi", "-i", scene, "-t", str(SCENE_S), "-f", "rawvideo"]
    raw = subprocess.run([*command, "-pix_fmt", "gray", "pipe:1"], capture_output=True, check=True).stdout
    count = WIDTH_PX * HEIGHT_PX
    return [planar(raw[at : at + count]) for at in range(0, len(raw), count)]


def planar(luma: bytes) -> Any:
    """Return a grey picture as a frame."""
    frame: Any = av.VideoFrame(WIDTH_PX, HEIGHT_PX, "yuv420p")
    frame.planes[0].update(luma)
    for plane in frame.planes[1:]:
        plane.update(bytes([128]) * plane.buffer_size)
    return frame


def encode(scene: list[Any]) -> None:
    """Encode a scene as a source does."""
    encoder = VideoEncoder(WIDTH_PX, HEIGHT_PX, RATE, 4_000_000)
    for number, frame in enumerate(scene):
        for _ in encoder.encode(frame, number * VIDEO_TIMESCALE // RATE, key=number % (2 * RATE) == 0):
            pass


def look(scene: list[Any]) -> None:
    """Look at a scene twice a second; the copy of the picture counts too."""
    scanner = Scanner(lambda _at, _text: None)
    for number in range(0, len(scene), RATE // LOOKS_PER_SECOND):
        plane = scene[number].planes[0]
        scanner.look(Picture(number * 40_000_000, WIDTH_PX, HEIGHT_PX, plane.line_size, memoryview(bytes(plane))))


def reads(luma: bytes, text: str) -> bool:
    """Whether a code in a picture is read."""
    told: list[bytes] = []
    scanner = Scanner(lambda _at, found: told.append(found))
    scanner.look(Picture(0, WIDTH_PX, HEIGHT_PX, WIDTH_PX, memoryview(luma)))
    return told == [text.encode()]


def seconds(work: Callable[[], None]) -> float:
    """Return the CPU seconds that something takes."""
    before = time.process_time()
    work()
    return time.process_time() - before
