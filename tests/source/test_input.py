from __future__ import annotations

import hashlib
import itertools
from typing import TYPE_CHECKING

import av
import pytest

from recorder.source import link
from recorder.source.nal import split_annex_b, split_length_prefixed, unit_type
from recorder.source.runner import EXIT_FAILED
from tests.support.footage import flash_and_beep, footage
from tests.support.rtsp import RtspServer
from tests.support.sync import measure_sync

if TYPE_CHECKING:
    from pathlib import Path

    from tests.source.conftest import Device, FakeRecorder

# What a payloader may add or leave out between pictures: delimiters, parameter sets, filler.
_AROUND = {"h264": (7, 8, 9, 12), "hevc": (32, 33, 34, 35, 38)}


def _picture(units: list[bytes], codec: str) -> str:
    return hashlib.sha256(b"".join(one for one in units if unit_type(one, codec) not in _AROUND[codec])).hexdigest()


def _of_file(film: Path, codec: str) -> tuple[list[str], list[str]]:
    """Digests of every picture and every AAC frame, read independently of the code under test."""
    pictures: list[str] = []
    sounds: list[str] = []
    with av.open(str(film)) as container:
        for packet in container.demux():
            if not packet.size:
                continue
            if packet.stream.type == "video":
                pictures.append(_picture(split_length_prefixed(bytes(packet)), codec))
            else:
                sounds.append(hashlib.sha256(bytes(packet)).hexdigest())
    return pictures, sounds


@pytest.mark.parametrize(("form", "codec"), [("plain", "h264"), ("long", "h264"), ("hevc", "hevc")])
def test_every_packet_from_the_first_key_frame_on(
    device: Device, recorder: FakeRecorder, form: str, codec: str
) -> None:
    film = footage(form, 12)
    pictures, sounds = _of_file(film, codec)
    with RtspServer(film, codec) as camera:
        device.configure(kind="input", url=camera.url)
        process = device.spawn()
        recorder.accept()
        recorder.start()
        recorder.until_gone(40)
        assert process.wait(10) == EXIT_FAILED
    got = [_picture(split_length_prefixed(data), codec) for _, data, _ in recorder.samples(1)]
    assert got == pictures[: len(got)]
    # The server ends the connection at the end of the file; libavformat keeps back the last picture until the next.
    assert len(got) >= len(pictures) - 2
    heard = [hashlib.sha256(data).hexdigest() for _, data, _ in recorder.samples(2)]
    first = sounds.index(heard[0])
    assert heard == sounds[first : first + len(heard)]
    assert first <= 3
    assert len(heard) >= len(sounds) - first - 6
    assert [one.cause for one in recorder.events if one.event == "failed"] == ["camera_network"]
    _times_run_on(recorder)
    for track in ("video", "audio"):
        written = recorder.total(track, "written")
        assert recorder.total(track, "received") == written + sum(recorder.discarded(track).values())
    assert recorder.total("video", "holes") == 0


def _times_run_on(recorder: FakeRecorder) -> None:
    for track_id in (1, 2):
        runs = [run for run, _ in recorder.runs(track_id)]
        assert all(after.first_decode == before.end_decode for before, after in itertools.pairwise(runs))
        scale = recorder.tracks[track_id].timescale
        assert all(run.end_decode - run.first_decode <= scale // 2 for run in runs)


def test_decodes_without_a_warning(device: Device, recorder: FakeRecorder, tmp_path: Path) -> None:
    """The film read again by libavformat has the times and bytes of the camera, B-frames included."""
    film = footage("long", 12)
    with RtspServer(film) as camera:
        device.configure(kind="input", url=camera.url)
        device.spawn()
        recorder.accept()
        recorder.start()
        recorder.until_gone(40)
    joined = tmp_path / "joined.mp4"
    joined.write_bytes(recorder.film())
    with av.open(str(film)) as original:
        shown = sorted(float(one.pts * one.time_base) for one in original.demux(video=0) if one.pts is not None)
    with av.open(str(joined)) as again:
        video = [one for one in again.demux(video=0) if one.pts is not None]
        times = sorted(float(one.pts * one.time_base) for one in video)
        assert all(one.dts <= one.pts for one in video)
    with av.open(str(joined)) as again:
        frames = sum(1 for _ in again.decode(video=0))
    assert frames == len(times)
    offset = times[0] - shown[0]
    assert all(abs(one - offset - other) < 0.001 for one, other in zip(times, shown, strict=False))


@pytest.mark.parametrize("bframes", [0, 2])
def test_sound_and_picture_stay_together(device: Device, recorder: FakeRecorder, tmp_path: Path, bframes: int) -> None:
    with RtspServer(flash_and_beep(20, bframes=bframes)) as camera:
        device.configure(kind="input", url=camera.url)
        device.spawn()
        recorder.accept()
        recorder.start()
        recorder.until_gone(40)
    joined = tmp_path / "joined.mp4"
    joined.write_bytes(recorder.film())
    pairs = measure_sync(joined)
    assert len(pairs) >= 17
    assert max(abs(offset) for _, offset in pairs) < 40
    offsets = [offset for _, offset in pairs]
    assert max(offsets) - min(offsets) < 25


def test_sound_that_stops_delays_no_picture(device: Device, recorder: FakeRecorder) -> None:
    with RtspServer(footage("plain", 20), sound_seconds=5) as camera:
        device.configure(kind="input", url=camera.url, stall_after_s=2.0)
        device.spawn()
        recorder.accept()
        recorder.start()
        recorder.until(lambda: any(one.event == "stalled" for one in recorder.events), 40)
        count = len(recorder.fragments)
        recorder.until(lambda: len(recorder.fragments) >= count + 8)
    assert recorder.told() == [("stalled", ["audio"], "microphone")]
    for message, _, received_ns in recorder.fragments[-8:]:
        assert set(message.tracks) == {"video"}
        newest_ns = message.tracks["video"].arrival_last_ns or 0
        assert received_ns - newest_ns < 400_000_000


def test_a_camera_that_dies_is_told_and_the_next_process_goes_on(device: Device, recorder: FakeRecorder) -> None:
    camera = RtspServer(footage("plain", 79))
    camera.start()
    try:
        device.configure(kind="input", url=camera.url)
        process = device.spawn()
        recorder.accept()
        recorder.start()
        recorder.until(lambda: len(recorder.fragments) >= 4)
        camera.kill()
        recorder.until_gone(20)
        assert process.wait(10) == EXIT_FAILED
        assert recorder.events[-1].event == "failed"
        assert recorder.events[-1].cause == "camera_network"
        assert recorder.ended[0].next == len(recorder.fragments)
        last_s = max(at for at, _, _ in recorder.samples(1))
        count = len(recorder.fragments)
        camera.start()
        device.configure(kind="input", url=camera.url)
        device.spawn()
        recorder.accept()
        recorder.start()
        recorder.until(lambda: len(recorder.fragments) >= count + 4)
        # The session's clock has run on: the new instance's times are later than all of the one before.
        assert recorder.samples(1, recorder.inits[-1][0].instance)[0][0] > last_s
        assert recorder.fragments[count][0].key
        assert recorder.inits[0][1] == recorder.inits[-1][1]
    finally:
        camera.kill()


@pytest.mark.parametrize(
    ("password", "cause"), [("wrong", "camera_password"), ("", "camera_password"), ("right", None)]
)
def test_log_in(device: Device, recorder: FakeRecorder, password: str, cause: str | None) -> None:
    with RtspServer(footage("plain", 12), login=("officer", "right")) as camera:
        login = f"officer:{password}@" if password else ""
        device.configure(kind="input", url=camera.url.replace("rtsp://", f"rtsp://{login}"))
        process = device.spawn()
        recorder.accept()
        recorder.start()
        if cause is None:
            recorder.until(lambda: recorder.fragments)
            return
        recorder.until_gone()
        assert process.wait(10) == EXIT_FAILED
        assert [one.cause for one in recorder.events] == [cause]
        assert "wrong" not in (recorder.events[0].detail or "")


def test_a_camera_that_is_not_there(device: Device, recorder: FakeRecorder) -> None:
    device.configure(kind="input", url="rtsp://127.0.0.1:9/camera")
    process = device.spawn()
    recorder.accept()
    recorder.start()
    recorder.until_gone()
    assert process.wait(10) == EXIT_FAILED
    assert [(one.event, one.cause) for one in recorder.events] == [("failed", "camera_network")]


def test_a_looped_file_runs_on(device: Device, recorder: FakeRecorder) -> None:
    film = footage("plain", 4)
    pictures, _ = _of_file(film, "h264")
    device.configure(kind="input", url=str(film), options={"loop": "yes"})
    device.spawn()
    recorder.accept()
    recorder.start()
    recorder.until(lambda: len(recorder.samples(1)) > 2.2 * len(pictures) if recorder.inits else False)
    got = [_picture(split_length_prefixed(data), "h264") for _, data, _ in recorder.samples(1)]
    first = pictures.index(got[0])
    assert got == [one for one, _ in zip(itertools.islice(itertools.cycle(pictures), first, None), got, strict=False)]
    runs = [run for run, _ in recorder.runs(1)]
    assert all(after.first_decode == before.end_decode for before, after in itertools.pairwise(runs))
    times = [at for at, _, _ in recorder.samples(1)]
    assert all(0.099 < after - before < 0.101 for before, after in itertools.pairwise(times))


def test_what_mp4_cannot_hold_is_coded(device: Device, recorder: FakeRecorder, tmp_path: Path) -> None:
    """Motion JPEG and G.711, as old cameras send: pictures and sound arrive as H.264 and AAC."""
    old = tmp_path / "old.mov"
    source = flash_and_beep(8)
    with av.open(str(source)) as given, av.open(str(old), "w") as made:
        video = made.add_stream("mjpeg", rate=25)
        video.width, video.height, video.pix_fmt = 320, 240, "yuvj420p"
        audio = made.add_stream("pcm_alaw", rate=8000, layout="mono")
        resampler = av.AudioResampler(format="s16", layout="mono", rate=8000)
        for frame in given.decode():
            if isinstance(frame, av.VideoFrame):
                made.mux(video.encode(frame.reformat(format="yuvj420p")))
            else:
                for plain in resampler.resample(frame):
                    made.mux(audio.encode(plain))
        made.mux(video.encode(None))
        made.mux(audio.encode(None))
    device.configure(kind="input", url=str(old))
    device.spawn()
    recorder.accept()
    recorder.start()
    recorder.until_gone(30)
    form = {track: (one.codec, one.timescale) for track, one in recorder.inits[0][0].tracks.items()}
    assert form == {"video": ("h264", 90_000), "audio": ("aac", 8000)}
    joined = tmp_path / "joined.mp4"
    joined.write_bytes(recorder.film())
    pairs = measure_sync(joined)
    assert len(pairs) >= 5
    assert max(abs(offset) for _, offset in pairs) < 40


def test_start_codes_are_split_as_the_standard_says() -> None:
    units = [b"\x67\x42\x00\x1f", b"\x68\xce", b"\x65\x00\x00\x03\x01" + b"x" * 100]
    stream = (
        b"\x00" + b"".join(b"\x00\x00\x00\x01" + one for one in units[:2]) + b"\x00\x00\x01" + units[2] + b"\x00\x00"
    )
    assert split_annex_b(stream) == units
    assert split_annex_b(b"no start code") == []


def test_only_wanted_tracks(device: Device, recorder: FakeRecorder) -> None:
    with RtspServer(footage("plain", 12)) as camera:
        device.configure(kind="input", url=camera.url, tracks=["audio"])
        device.spawn()
        recorder.accept()
        recorder.start(("audio",))
        recorder.until(lambda: len(recorder.fragments) >= 3)
        recorder.send(link.Stop(session=recorder.session))
        recorder.until(lambda: recorder.ended)
    assert set(recorder.tracks) == {2}
    assert all(message.key for message, _, _ in recorder.fragments)


def test_a_camera_without_sound_says_so(device: Device, recorder: FakeRecorder) -> None:
    with RtspServer(footage("plain", 12), sound=False) as camera:
        device.configure(kind="input", url=camera.url)
        device.spawn()
        recorder.accept()
        recorder.start()
        recorder.until(lambda: len(recorder.fragments) >= 3)
    assert set(recorder.tracks) == {1}
    assert recorder.told() == [("failed", ["audio"], "microphone")]
