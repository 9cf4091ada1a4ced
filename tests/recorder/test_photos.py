"""Photographs: in a session and out of one, and what a camera sends in place of one."""

from __future__ import annotations

import contextlib
import hashlib
from typing import TYPE_CHECKING

import av
import pytest

from recorder.control import RefusedError
from recorder.evidence.records import Chunk, Fault, Gap, Photo, SessionClose, SessionOpen
from recorder.source import link
from tests.evidence.test_jpeg import photograph
from tests.recorder.test_daemon import OUTSIDE
from tests.support.commands import liuhen
from tests.support.pictures import export_session, keep_recording
from tests.support.session import stream_records
from tests.support.site import SYNTHETIC, Site
from tests.support.source_end import SourceEnd

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from recorder.evidence.records import Body


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """Sources that the recorder does not start: the tests are they."""
    with Site(tmp_path / "site", streams=OUTSIDE) as made:
        made.start_recorder()
        yield made


@pytest.fixture
def camera(site: Site) -> Iterator[SourceEnd]:
    """A camera that is being recorded."""
    end = SourceEnd.dial(site.run, "camera", "video")
    site.ask("start")
    end.begin()
    for _ in range(3):
        end.fragment()
    site.wait_for(lambda: state(site) == "video_only", "pictures are recorded")
    yield end
    end.close()


def state(site: Site) -> str:
    return str(site.ask("status")["streams"][0]["state"])


def photos(site: Site) -> dict[str, int]:
    found: dict[str, int] = site.ask("status")["streams"][0]["photos"]
    return found


def bodies(site: Site, form: type[Body]) -> list[Body]:
    return [one.body for one in stream_records(site.spool) if isinstance(one.body, form)]


def answer(camera: SourceEnd, jpeg: bytes, at_ns: int = 1) -> None:
    number = camera.expect(link.Take).number
    camera.send(link.Taken(number=number, taken_boottime_ns=at_ns), jpeg)


# -- as an outsider sees it ------------------------------------------------------------------------------------------


@pytest.mark.rule("R1")
@pytest.mark.timeout(180)
def test_photographs_of_a_recording_are_in_its_package(tmp_path: Path) -> None:
    with Site(tmp_path / "site", streams=SYNTHETIC) as site:
        site.start()
        site.wait_for(lambda: state(site) == "ready", "camera and microphone are there")
        site.ask("start")
        site.wait_for(lambda: state(site) == "recording", "both are recorded")
        said = liuhen("photo", "--config", site.device_config)
        assert said.returncode == 0, said.stderr
        keep_recording(site, 2)
        recorded = export_session(site, tmp_path / "package")
        (taken,) = bodies(site, Photo)
    assert isinstance(taken, Photo)
    assert (taken.format, taken.width_px, taken.height_px) == ("jpeg", 1280, 720)
    file = recorded.package / "evidence" / "media" / f"{taken.content_sha256.hex()}.jpg"
    data = file.read_bytes()
    assert hashlib.sha256(data).digest() == taken.content_sha256
    with av.open(str(file)) as picture:
        assert next(picture.decode(video=0)).width == 1280
    assert recorded.gaps == []
    assert all(not chunk.tracks["video"].holes_count for chunk in recorded.chunks)
    assert "照相" in liuhen("report", recorded.package, "--authority", site.authority).stdout
    # One byte of it changed: found.
    file.write_bytes(data[:-3] + bytes([data[-3] ^ 1]) + data[-2:])
    verified = liuhen("verify", recorded.package, "--authority", site.authority)
    assert verified.returncode == 1


@pytest.mark.rule("R1")
@pytest.mark.rule("R4")
@pytest.mark.timeout(240)
def test_photographs_out_of_a_recording_are_a_session_of_their_own(tmp_path: Path) -> None:
    with Site(tmp_path / "site", streams=SYNTHETIC) as site:
        site.start()
        site.wait_for(lambda: state(site) == "ready", "camera and microphone are there")
        said = liuhen("photo", "--config", site.device_config, "--matter", "on_site_inspection")
        assert said.returncode == 0, said.stderr
        assert site.ask("status")["streams"][0]["mode"] == "photo"
        site.ask("photo")
        site.wait_for(lambda: photos(site)["signed"] == 2, "two are signed")
        session = str(site.ask("status")["streams"][0]["session"])
        site.wait_for(lambda: not site.ask("status")["streams"][0]["session"], "it ends by itself", 40)
        site.wait_for(lambda: site.ask("status")["unreceipted_files"] == 0, "all media are receipted", 60)
        where = ("--config", site.central_config, "--session", session, "--out", tmp_path / "package")
        exported = liuhen("export", *where, "--reason", "test")
        assert exported.returncode == 0, exported.stderr
        # A recording that follows is not a broken one that goes on.
        site.ask("start")
        opened = bodies(site, SessionOpen)
    assert [(one.mode, one.matter) for one in opened if isinstance(one, SessionOpen)] == [
        ("photo", "on_site_inspection"),
        ("video", None),
    ]
    assert isinstance(opened[1], SessionOpen)
    assert opened[1].link_class is None
    verified = liuhen("verify", tmp_path / "package", "--authority", site.authority, "--lang", "en")
    assert verified.returncode == 0, verified.stdout
    assert len(list((tmp_path / "package" / "evidence" / "media").glob("*.jpg"))) == 2
    report = liuhen("report", tmp_path / "package", "--authority", site.authority)
    assert report.returncode == 0
    assert "开始记录（照相）" in report.stdout
    assert report.stdout.split("附件一")[1].count("  照相\n") == 2
    assert "本次记录方式为照相，本项不适用。" in report.stdout


# -- what may happen -------------------------------------------------------------------------------------------------


@pytest.mark.rule("R1")
def test_without_a_camera_it_is_refused_and_nothing_is_opened(site: Site) -> None:
    with pytest.raises(RefusedError, match="No camera"):
        site.ask("photo")
    assert bodies(site, SessionOpen) == []


@pytest.mark.rule("R10")
def test_none_while_recording_is_off_as_the_rules_require(site: Site, camera: SourceEnd) -> None:
    site.ask("unsuitable", reason="trade_secret")
    camera.expect(link.Stop, 20)
    camera.ended()
    site.wait_for(lambda: state(site) == "unsuitable", "recording is off")
    with pytest.raises(RefusedError, match="off as the rules require"):
        site.ask("photo")
    assert bodies(site, Photo) == []


@pytest.mark.rule("R10")
def test_one_that_comes_when_recording_is_off_is_not_kept(site: Site, camera: SourceEnd) -> None:
    site.ask("photo")
    site.ask("unsuitable", reason="trade_secret")
    camera.expect(link.Stop, 20)
    camera.ended()
    site.wait_for(lambda: state(site) == "unsuitable", "recording is off")
    answer(camera, photograph())
    site.wait_for(lambda: photos(site)["failed"] == 1, "it is refused")
    assert bodies(site, Photo) == []


@pytest.mark.parametrize(
    "jpeg",
    [b"not a picture", b"\xff\xd8\xff\xd9", photograph()[:-2], b"\xff\xd8" + b"\xff" * 1000 + b"\xff\xd9"],
    ids=["text", "empty", "cut", "filling"],
)
def test_what_is_no_picture_is_a_signed_fault_and_the_camera_goes_on(
    site: Site, camera: SourceEnd, jpeg: bytes
) -> None:
    site.ask("photo")
    answer(camera, jpeg)
    site.wait_for(lambda: photos(site)["failed"] == 1, "it is refused")
    camera.fragment()
    camera.expect(link.Ack)
    (fault,) = bodies(site, Fault)
    assert isinstance(fault, Fault)
    assert fault.code == "photo_failed"
    assert "cue.fault.recording_goes_on" in site.recorder.log()
    assert bodies(site, Photo) == []
    # The next one is a picture.
    site.ask("photo")
    answer(camera, photograph())
    site.wait_for(lambda: photos(site)["signed"] == 1, "it is signed")


def test_one_that_nobody_asked_for_is_not_kept(site: Site, camera: SourceEnd) -> None:
    camera.send(link.Taken(number=5, taken_boottime_ns=1), photograph())
    site.ask("photo")
    answer(camera, photograph(), at_ns=(1 << 62))
    site.wait_for(lambda: photos(site)["signed"] == 1, "the one that was asked for is signed")
    (taken,) = bodies(site, Photo)
    signed = next(one for one in stream_records(site.spool) if isinstance(one.body, Photo))
    assert isinstance(taken, Photo)
    assert taken.taken_boottime_ns <= signed.boottime_ns  # no camera takes a picture in the future


def test_a_giant_one_ends_the_camera_and_not_the_recorder(site: Site, camera: SourceEnd) -> None:
    site.ask("photo")
    number = camera.expect(link.Take).number
    whole = link.encode(link.Taken(number=number, taken_boottime_ns=1), photograph())
    header_size = int.from_bytes(whole[:4], "big")
    size = link.MAX_PHOTO_SIZE_BYTES + 1
    camera.socket.settimeout(20)
    with contextlib.suppress(OSError):  # it is cut off before all is sent
        camera.socket.sendall(whole[:4] + size.to_bytes(4, "big") + whole[8 : 8 + header_size] + bytes(size))
    site.wait_for(lambda: photos(site)["failed"] == 1, "it is given up")
    assert bodies(site, Photo) == []
    site.check_running()


@pytest.mark.rule("R20")
def test_a_camera_that_dies_over_a_photograph_costs_nothing_else(site: Site, camera: SourceEnd) -> None:
    sound = SourceEnd.dial(site.run, "microphone", "audio")
    sound.begin()
    site.ask("photo")
    camera.expect(link.Take)
    camera.close()
    site.wait_for(lambda: photos(site)["failed"] == 1, "it is given up", 5)
    for _ in range(4):
        sound.fragment()
        sound.expect(link.Ack)
    with pytest.raises(RefusedError, match="No camera"):
        site.ask("photo")
    site.ask("stop", statement=True, reason="moved")
    sound.expect(link.Stop, 20)
    sound.ended()
    site.wait_for(lambda: state(site) in ("ready", "starting"), "closed")
    assert {"video", "audio"} <= {track for one in bodies(site, Chunk) for track in one.tracks}  # type: ignore[attr-defined]
    assert [one.cause for one in bodies(site, Gap) if "video" in one.tracks]  # type: ignore[attr-defined]


@pytest.mark.rule("R2")
def test_a_press_while_photographs_are_taken_records_at_once(site: Site) -> None:
    camera = SourceEnd.dial(site.run, "camera", "video")
    site.wait_for(lambda: site.ask("status")["streams"][0]["sources"]["camera"]["connected"], "the camera is there")
    site.ask("photo")
    site.ask("press")
    assert camera.expect(link.Take)
    camera.begin()
    camera.fragment()
    camera.expect(link.Ack)
    opened, closed = bodies(site, SessionOpen), bodies(site, SessionClose)
    assert [one.mode for one in opened] == ["photo", "video"]  # type: ignore[attr-defined]
    assert [(one.reason, one.closed_by) for one in closed] == [("done", "device")]  # type: ignore[attr-defined]
    assert opened[1].link_class is None  # type: ignore[attr-defined]


def test_a_crash_closes_a_session_of_photographs(site: Site) -> None:
    camera = SourceEnd.dial(site.run, "camera", "video")
    site.wait_for(lambda: site.ask("status")["streams"][0]["sources"]["camera"]["connected"], "the camera is there")
    site.ask("photo")
    answer(camera, photograph())
    site.wait_for(lambda: photos(site)["signed"] == 1, "it is signed")
    site.recorder.kill()
    site.start_recorder()
    (closed,) = bodies(site, SessionClose)
    assert isinstance(closed, SessionClose)
    assert closed.reason == "interrupted"
    site.ask("start")
    assert bodies(site, SessionOpen)[-1].link_class is None  # type: ignore[attr-defined]


def test_a_shutdown_closes_a_session_of_photographs(site: Site) -> None:
    camera = SourceEnd.dial(site.run, "camera", "video")
    site.wait_for(lambda: site.ask("status")["streams"][0]["sources"]["camera"]["connected"], "the camera is there")
    site.ask("photo")
    answer(camera, photograph())
    site.wait_for(lambda: photos(site)["signed"] == 1, "it is signed")
    assert site.recorder.stop() == 0
    (closed,) = bodies(site, SessionClose)
    assert isinstance(closed, SessionClose)
    assert closed.reason == "shutdown"
