"""Codes in pictures: how they may be held, what is passed over, and all the way out of a source's process."""

from __future__ import annotations

import importlib.util
from functools import cache
from typing import TYPE_CHECKING

import pytest

from recorder.config import SourceSection
from recorder.source import scanner
from recorder.source.pictures import Picture, Pictures
from recorder.source.scanner import AGAIN_NS, MAX_TOLD, Scanner
from tests.support.cards import H264, MJPEG, Held, Issuer, blurred, darkened, film, officer, picture, squares, task
from tests.support.rtsp import RtspServer

if TYPE_CHECKING:
    from pathlib import Path

    from tests.source.conftest import Device, FakeRecorder

ISSUER = Issuer.make()
SECOND = 10**9
FULL = ISSUER.text(task())
"""With its certificate: 109 squares and the quiet zone around them."""
BARE_TASK = ISSUER.text(task(), bare=True)
BARE = ISSUER.text(officer(), bare=True)
"""The smallest in use: 65 squares."""


class Reading:
    """A scanner and what it told."""

    def __init__(self) -> None:
        self.told: list[tuple[int, str]] = []
        self.scanner = Scanner(lambda at_ns, text: self.told.append((at_ns, text.decode())))

    def look(self, luma: bytes | bytearray, at_ns: int = 0, width_px: int = 1280, stride_bytes: int = 0) -> list[str]:
        stride_bytes = stride_bytes or width_px
        before = len(self.told)
        height_px = len(luma) // stride_bytes
        self.scanner.look(Picture(at_ns, width_px, height_px, stride_bytes, memoryview(bytes(luma))))
        return [text for _, text in self.told[before:]]


@cache
def held(text: str, width: float = 0.4, turned: float = 0, tilted: float = 0) -> bytes:
    return bytes(picture([Held(squares(text), width=width, turned=turned, tilted=tilted)]))


@pytest.mark.parametrize(("text", "width"), [(FULL, 0.25), (BARE_TASK, 0.18), (BARE, 0.16)])
def test_the_smallest_that_the_page_promises_is_read(text: str, width: float) -> None:
    assert Reading().look(held(text, width, turned=7)) == [text]


@pytest.mark.parametrize("degrees", [20, 45, 90, 135, 180, 270])
def test_a_code_is_read_however_it_is_turned(degrees: float) -> None:
    assert Reading().look(held(FULL, turned=degrees)) == [FULL]


@pytest.mark.parametrize("degrees", [20, 40])
def test_a_code_is_read_that_leans_back(degrees: float) -> None:
    assert Reading().look(held(FULL, tilted=degrees)) == [FULL]


def test_a_code_is_read_a_little_out_of_focus_and_in_bad_light() -> None:
    assert Reading().look(blurred(bytearray(held(FULL)), 1)) == [FULL]
    assert Reading().look(blurred(bytearray(held(BARE)), 2)) == [BARE]
    assert Reading().look(darkened(bytearray(held(FULL)), 0.3, noise=3)) == [FULL]


def test_what_cannot_be_read_is_no_error() -> None:
    reading = Reading()
    for luma in (held(FULL, width=0.06), blurred(bytearray(held(FULL)), 4), bytes(1280 * 720), b"\xff" * 1280 * 720):
        assert reading.look(luma) == []


def test_lines_may_be_padded() -> None:
    plain = held(FULL)
    padded = b"".join(plain[at : at + 1280] + b"\x80" * 64 for at in range(0, len(plain), 1280))
    assert Reading().look(padded, stride_bytes=1344) == [FULL]


def test_codes_that_are_not_ours_are_passed_over() -> None:
    others = ["https://example.com/menu", "liuhen1:ABC", "WIFI:S:LIUHEN1:;;"]
    codes = [Held(squares(text), width=0.2, x=0.12 + 0.25 * number) for number, text in enumerate([*others, BARE])]
    assert Reading().look(picture(codes)) == [BARE]


def test_a_code_that_stays_is_told_once_in_thirty_seconds() -> None:
    reading = Reading()
    for half in range(80):
        reading.look(held(BARE), half * SECOND // 2)
    assert [at_ns for at_ns, _ in reading.told] == [0, AGAIN_NS]


def test_ten_codes_at_once_are_all_told() -> None:
    texts = [ISSUER.text(officer(certificate=f"0605011{number}"), bare=True) for number in range(10)]
    codes = [
        Held(squares(text), width=0.19, x=0.1 + 0.2 * (number % 5), y=0.25 + 0.5 * (number // 5))
        for number, text in enumerate(texts)
    ]
    assert sorted(Reading().look(picture(codes))) == sorted(texts)


def test_of_a_flood_no_more_is_told_than_a_recorder_takes() -> None:
    reading = Reading()
    reading.scanner._read = lambda _: [f"LIUHEN1:{number}" for number in range(500)]  # type: ignore[method-assign]
    for turn in range(4):
        reading.look(held(BARE), turn * SECOND)
    assert len(reading.told) == MAX_TOLD
    assert len(reading.scanner._told) == MAX_TOLD


class _Camera:
    """A driver, as far as it has pictures."""

    cause = "camera"
    ear = None

    def __init__(self, pictures: Pictures | None) -> None:
        self.pictures = pictures

    def run(self, sink: object) -> None:
        del sink


def section(**more: object) -> SourceSection:
    return SourceSection(kind="synthetic", **({"tracks": ["video"]} | more))  # type: ignore[arg-type]


def test_what_becomes_of_codes_is_told_in_hello(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def attach(pictures: Pictures | None, **more: object) -> str | None:
        return scanner.attach(section(**more), _Camera(pictures), lambda *_: None)

    assert attach(Pictures(2)) == "read"
    assert attach(Pictures(2), reads_codes=False) == "off"
    assert attach(Pictures(0), looks_per_second=0.0) == "off"
    assert attach(None, tracks=["audio"]) is None
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    without = Pictures(2)
    assert attach(without) == "missing"
    assert without._watches == []
    assert caplog.text.count("zxing-cpp is not installed") == 1


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A room, then a code that is held up for four seconds, then the room: passed through, and coded here."""
    folder = tmp_path_factory.mktemp("scene")
    room, code = picture([]), bytearray(held(FULL, width=0.35, turned=5))
    return {
        name: film(folder / f"{name}.{ending}", [room, code, code, room], options=options)
        for name, ending, options in (("passed", "mp4", H264), ("coded", "mkv", MJPEG))
    }


def test_a_code_in_a_network_cameras_film_is_read_before_and_without_a_session(
    device: Device, recorder: FakeRecorder, scene: dict[str, Path]
) -> None:
    from recorder.source import link

    with RtspServer(scene["passed"]) as camera:
        device.configure(kind="input", url=camera.url)
        device.spawn()
        assert recorder.accept().codes == "read"
        recorder.send(link.Welcome())
        recorder.until(lambda: recorder.shown)
    assert [text.decode() for _, text in recorder.shown] == [FULL]
    assert recorder.fragments == []


@pytest.mark.parametrize(("reads", "said"), [(True, "read"), (False, "off")])
def test_a_code_in_a_film_that_is_coded_here(
    device: Device, recorder: FakeRecorder, scene: dict[str, Path], reads: bool, said: str
) -> None:
    device.configure(kind="input", url=str(scene["coded"]), reads_codes=reads)
    device.spawn()
    assert recorder.accept().codes == said
    recorder.start()
    recorder.until_gone()
    assert [text.decode() for _, text in recorder.shown] == [FULL] * reads
    assert recorder.fragments
