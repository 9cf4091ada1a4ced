"""The tap: the pictures that are recorded are looked at, and whatever looks can neither hold up nor end a recording."""

from __future__ import annotations

import threading
import time
from itertools import pairwise
from typing import TYPE_CHECKING, ClassVar, Self

import av
import pytest

from recorder.config import SourceSection
from recorder.source import drivers
from recorder.source.driver import boottime_ns
from recorder.source.intake import Intake
from recorder.source.link import Event
from recorder.source.picamera import PiCamera
from recorder.source.pictures import FAILURES, Pictures
from recorder.source.synthetic import NUMBER_BITS, read_number
from tests.support.footage import footage
from tests.support.rtsp import RtspServer

if TYPE_CHECKING:
    from collections.abc import Callable

    from recorder.source.driver import Driver
    from recorder.source.pictures import Picture


class _Looker:
    """Keeps what it is shown."""

    def __init__(self, *, fails: bool = False, hold: threading.Event | None = None) -> None:
        self.seen: list[Picture] = []
        self._fails = fails
        self._hold = hold

    def look(self, picture: Picture) -> None:
        self.seen.append(picture)
        if self._hold is not None:
            self._hold.wait(30)
        if self._fails:
            raise RuntimeError("a watch that cannot cope")


def _until(done: Callable[[], object], deadline_s: float = 30) -> None:
    end = time.monotonic() + deadline_s
    while not done():
        assert time.monotonic() < end, "not in time"
        time.sleep(0.02)


class _Running:
    """A driver on a thread of its own."""

    def __init__(self, driver: Driver) -> None:
        self.intake = Intake()
        self.taken: list[object] = []
        self._thread = threading.Thread(target=self._run, args=(driver,), daemon=True)

    def _run(self, driver: Driver) -> None:
        driver.run(self.intake)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.intake.stop()
        self._thread.join(10)

    def events(self) -> list[Event]:
        self.taken += self.intake.take()
        return [one for one in self.taken if isinstance(one, Event)]


def _section(**settings: object) -> SourceSection:
    return SourceSection(**{"tracks": ["video"], "width_px": 640, "height_px": 360, **settings})  # type: ignore[arg-type]


def _number(picture: Picture) -> int | None:
    square = picture.width_px // (NUMBER_BITS + 2)
    at = (picture.height_px - square // 2) * picture.stride_bytes
    return read_number(bytes(picture.luma[at : at + picture.width_px]), picture.width_px)


def test_the_frames_that_are_encoded_are_shown_at_the_wanted_rate() -> None:
    driver = drivers.make(_section(kind="synthetic", looks_per_second=4))
    looker = _Looker()
    assert driver.pictures is not None
    driver.pictures.add(looker)
    with _Running(driver):
        _until(lambda: len(looker.seen) >= 6)
    for picture in looker.seen:
        assert (picture.width_px, picture.height_px) == (640, 360)
        assert len(picture.luma) == picture.stride_bytes * picture.height_px
        assert _number(picture) == picture.at_boottime_ns * 25 // 10**9
    steps = [after.at_boottime_ns - before.at_boottime_ns for before, after in pairwise(looker.seen)]
    assert min(steps) >= 250_000_000


@pytest.mark.parametrize(("form", "codec"), [("plain", "h264"), ("long", "h264"), ("hevc", "hevc")])
def test_key_frames_of_a_network_camera_are_shown_as_a_decoder_shows_them(form: str, codec: str) -> None:
    film = footage(form, 12)
    with av.open(str(film)) as container:
        container.streams.video[0].codec_context.skip_frame = "NONKEY"
        known = [bytes(frame.planes[0]) for frame in container.decode(video=0)]
    with RtspServer(film, codec) as camera:
        driver = drivers.make(_section(kind="input", url=camera.url))
        looker = _Looker()
        assert driver.pictures is not None
        driver.pictures.add(looker)
        with _Running(driver):
            _until(lambda: len(looker.seen) >= 2)
    for picture in looker.seen:
        assert (picture.width_px, picture.height_px) == (768, 576)
        assert min(_distance(bytes(picture.luma), one) for one in known) < 2  # the smoothing filter is left out


def _distance(one: bytes, other: bytes) -> float:
    places = range(0, min(len(one), len(other)), 97)
    return sum(abs(one[at] - other[at]) for at in places) / len(places)


def test_what_looks_slowly_misses_pictures_and_holds_up_nothing() -> None:
    driver = drivers.make(_section(kind="synthetic", looks_per_second=10))
    hold = threading.Event()
    slow = _Looker(hold=hold)
    assert driver.pictures is not None
    driver.pictures.add(slow)
    with _Running(driver) as running:
        _until(lambda: slow.seen)
        running.intake.take()
        shown_ns = boottime_ns()
        _until(lambda: boottime_ns() - shown_ns > 1_500_000_000)
        frames = len(running.intake.take())
        assert frames > 20
        hold.set()
        _until(lambda: len(slow.seen) > 1)
    assert slow.seen[1].at_boottime_ns - slow.seen[0].at_boottime_ns > 1_000_000_000  # the newest, not the next


def test_a_watch_that_fails_is_given_up_and_the_other_goes_on() -> None:
    driver = drivers.make(_section(kind="synthetic", looks_per_second=10))
    bad, good = _Looker(fails=True), _Looker()
    assert driver.pictures is not None
    driver.pictures.add(bad)
    driver.pictures.add(good)
    with _Running(driver) as running:
        _until(lambda: len(good.seen) > 3)
        events = running.events()
    assert len(bad.seen) == 1
    assert [(one.event, one.tracks, one.cause) for one in events] == [("unwatched", ["video"], "unwatched")]
    assert "a watch that cannot cope" in str(events[0].detail)


def test_key_frames_that_cannot_be_decoded_are_given_up_after_some() -> None:
    intake = Intake()
    pictures = Pictures(1000)
    pictures.add(_Looker())
    pictures.begin(intake)
    found: list[Event] = []

    def offer() -> bool:
        pictures.offer_coded(boottime_ns(), "h264", b"", b"\x00\x00\x00\x01\x65nothing that decodes")
        found.extend(one for one in intake.take() if isinstance(one, Event))
        return bool(found)

    assert FAILURES > 1
    _until(offer)
    assert [one.event for one in found] == ["unwatched"]
    _until(lambda: not pictures.due(boottime_ns()))


def test_no_picture_is_touched_where_nobody_looks() -> None:
    pictures = Pictures(2)
    pictures.begin(Intake())
    assert not pictures.due(boottime_ns())
    turned_off = Pictures(0)
    turned_off.add(_Looker())
    turned_off.begin(Intake())
    assert not turned_off.due(boottime_ns())


class _Request:
    """A frame of picamera2 with padded lines, as far as it is asked."""

    config: ClassVar[dict[str, object]] = {"main": {"size": (64, 36), "stride": 96}}

    def get_metadata(self) -> dict[str, int]:
        return {"SensorTimestamp": boottime_ns() - 5_000_000}

    def make_buffer(self, name: str) -> bytes:
        assert name == "main"
        return bytes(range(96)) * 36 + bytes(96 * 18)


def test_what_the_hardware_encodes_on_a_raspberry_pi_is_shown_before() -> None:
    camera = PiCamera(_section(kind="picamera2", encoder="hardware"))
    looker = _Looker()
    camera.pictures.add(looker)
    camera.pictures.begin(Intake())
    camera._look(_Request())
    _until(lambda: looker.seen)
    (picture,) = looker.seen
    assert (picture.width_px, picture.height_px, picture.stride_bytes) == (64, 36, 96)
    assert bytes(picture.luma) == bytes(range(96)) * 36
    assert 0 < boottime_ns() - picture.at_boottime_ns < 60_000_000_000
    camera._look(object())  # whatever the camera hands over, its thread goes on
