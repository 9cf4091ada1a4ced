"""Real footage from a real network camera through the whole site: all that it sent is in the film, and nothing else."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from recorder.evidence.records import Chunk, Gap
from tests.support.footage import footage
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
from tests.support.session import stream_records
from tests.support.site import Site

if TYPE_CHECKING:
    from pathlib import Path

RECORD_S = 40
OUTAGE_S = 8


def state(site: Site) -> str:
    return str(site.ask("status")["streams"][0]["state"])


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize(("form", "codec"), [("plain", "h264"), ("long", "h264"), ("hevc", "hevc")])
def test_everything_from_play_to_stop_is_in_the_joined_film(tmp_path: Path, form: str, codec: str) -> None:
    film = footage(form)
    with RtspServer(film, codec) as camera, Site(tmp_path / "site", streams=camera_stream(camera.url)) as site:
        start_session(site)
        keep_recording(site, RECORD_S)
        recorded = export_session(site, tmp_path / "package")
    got = assert_complete(recorded, coded(film, codec), codec)
    pictures = picture_count(recorded.film)
    assert pictures >= (RECORD_S - 10) * 10
    assert_times_run_on(recorded)
    assert_account(recorded, got, pictures)
    assert_decodes(recorded, film, codec)
    assert_nothing_missing(recorded)
    assert any(chunk.continues for chunk in recorded.chunks) == (form == "long")


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.rule("R20")
def test_a_camera_off_the_network_for_a_while_is_a_signed_gap_and_the_sound_goes_on(tmp_path: Path) -> None:
    film = footage("plain")
    with RtspServer(film, sound=False) as camera:
        streams = (
            camera_stream(camera.url, tracks=("video",))
            + '[streams.sources.microphone]\nkind = "synthetic"\ntracks = ["audio"]\n'
        )
        with Site(tmp_path / "site", streams=streams) as site:
            site.start()
            site.wait_for(lambda: state(site) == "ready", "both are connected")
            site.ask("start")
            site.wait_for(lambda: state(site) == "recording", "picture and sound flow")
            keep_recording(site, 6)
            camera.kill()
            keep_recording(site, OUTAGE_S)
            camera.start()
            site.wait_for(lambda: state(site) == "recording", "the picture is back")
            keep_recording(site, 10)
            recorded = export_session(site, tmp_path / "package")
            said = site.recorder.log()
    got, sent = coded(recorded.film, "h264"), coded(film, "h264")
    first, again = sent.units.index(got.units[0]), got.units.index(sent.units[0], 1)
    assert got.units == sent.units[first : first + again] + sent.units[: len(got.units) - again]
    gaps = [
        gap
        for gap in recorded.gaps
        if gap.state != "begins" and gap.start_boottime_ns > recorded.chunks[0].start_boottime_ns
    ]
    assert [(gap.cause, gap.tracks) for gap in gaps] == [("camera_network", ["video"])]
    assert OUTAGE_S - 1 < (gaps[0].length_min_ns or 0) / 1e9 < OUTAGE_S + 8
    sound = [chunk.tracks["audio"] for chunk in recorded.chunks if "audio" in chunk.tracks]
    assert all(before.end_decode == after.first_decode for before, after in pairwise(sound))
    assert_account(recorded, got, picture_count(recorded.film))
    assert_decodes(recorded, film, "h264")
    assert "camera_network" in said


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.rule("R20")
def test_sound_that_stops_is_signed_and_delays_no_picture(tmp_path: Path) -> None:
    film = footage("plain")
    with (
        RtspServer(film, sound_seconds=10) as camera,
        Site(tmp_path / "site", streams=camera_stream(camera.url)) as site,
    ):
        start_session(site)
        keep_recording(site, 30)
        recorded = export_session(site, tmp_path / "package")
        signed = {
            record.body.number: record.boottime_ns - record.body.end_boottime_ns
            for record in stream_records(site.spool)
            if isinstance(record.body, Chunk)
        }
    got = assert_complete(recorded, coded(film, "h264"), "h264")
    assert_account(recorded, got, picture_count(recorded.film))
    pictures = [chunk.tracks["video"] for chunk in recorded.chunks]
    assert all(before.end_decode == after.first_decode for before, after in pairwise(pictures))
    silent = [chunk.number for chunk in recorded.chunks if "audio" not in chunk.tracks]
    # How long after its end a chunk was signed, in ns: the silence makes no difference to it.
    before_ns = max(lag for number, lag in signed.items() if number not in silent)
    assert len(silent) >= 7
    assert max(signed[number] for number in silent) < before_ns + 200_000_000
    (gap,) = [
        gap
        for gap in recorded.gaps
        if gap.start_boottime_ns > recorded.chunks[0].start_boottime_ns and gap.state != "begins"
    ]
    assert (gap.cause, gap.tracks) == ("microphone", ["audio"])


@pytest.mark.timeout(120)
@pytest.mark.rule("R20")
@pytest.mark.parametrize(
    ("url", "cause", "said"),
    [
        ("rtsp://127.0.0.1:9/camera", "camera_network", "the input failed: Connection refused"),
        ("rtsp://no-such-camera.invalid/live", "camera_network", "the input failed"),
        ("{server}/none", "camera_network", "the input failed"),
        ("rtsq://127.0.0.1/camera", "camera", "the input failed: Protocol not found"),
        ("{folder}/no-such-film.mp4", "camera", "the input failed: No such file or directory"),
        ("{folder}/notes.txt", "camera", "the camera sends what cannot be read"),
    ],
)
def test_a_camera_that_cannot_be_reached_is_said_and_the_sound_is_recorded(
    tmp_path: Path, url: str, cause: str, said: str
) -> None:
    (tmp_path / "notes.txt").write_text("not a film")
    with RtspServer(footage("plain")) as server:
        address = url.format(folder=tmp_path, server=server.url.removesuffix("/camera"))
        streams = (
            camera_stream(address, tracks=("video",))
            + '[streams.sources.microphone]\nkind = "synthetic"\ntracks = ["audio"]\n'
        )
        with Site(tmp_path / "site", streams=streams) as site:
            site.start_recorder()
            site.ask("start")
            site.wait_for(lambda: "gap begins of video" in site.recorder.log(), "the gap is signed")
            keep_recording(site, 1)
            site.ask("stop", statement=True)
            site.wait_for(lambda: site.ask("status")["streams"][0]["session"] is None, "closed")
            site.recorder.stop()
            log = site.recorder.log()
    sentences = [line for line in log.splitlines() if "recorder.troubles" in line and "failed of video" in line]
    assert sentences
    assert all(f"{cause}: {said}" in line for line in sentences)
    assert "Traceback" not in log
    records = [record.body for record in stream_records(site.spool)]
    gaps = [body for body in records if isinstance(body, Gap)]
    assert {(gap.cause, *gap.tracks) for gap in gaps} == {(cause, "video")}
    assert [gap.state for gap in gaps] == ["begins", "ends"]
    made = [body for body in records if isinstance(body, Chunk)]
    assert made
    assert all(set(chunk.tracks) == {"audio"} for chunk in made)
