from __future__ import annotations

import io
import itertools
import random

import av
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recorder.evidence.boxes import Run, parse_fragment, parse_init
from recorder.source.driver import Format, Level, Sample
from recorder.source.encode import AAC_FRAME, AudioEncoder, VideoEncoder
from recorder.source.errors import MuxError
from recorder.source.initsegment import init_segment
from recorder.source.mux import Muxer, Piece

IDS = {"video": 1, "audio": 2}
ZERO_NS = 5_000_000_000
SECOND = 1_000_000_000
FORMATS = {"video": Format("h264", 90_000, None), "audio": Format("aac", 48_000, None)}


@pytest.fixture(scope="module")
def init() -> bytes:
    return init_segment(
        {"video": VideoEncoder(64, 64, 25, 100_000).format, "audio": AudioEncoder(48_000, 1, 64_000).format}, IDS
    )


def video(
    at_s: float, *, key: bool = False, reorder_s: float = 0.0, size: int = 100, number: int | None = None
) -> Sample:
    at_ns = ZERO_NS + round(at_s * SECOND)
    decode = round((ZERO_NS / SECOND + at_s) * 90_000)
    return Sample(
        "video", bytes([1]) * size, decode, decode + round(reorder_s * 90_000), 3600, key, at_ns, number=number
    )


def audio(at_s: float, level: Level | None = None) -> Sample:
    at = round((ZERO_NS / SECOND + at_s) * 48_000)
    return Sample("audio", bytes([2]) * 50, at, at, AAC_FRAME, True, ZERO_NS + round(at_s * SECOND), level=level)


def stream(seconds: float, gop: int = 50) -> list[Sample]:
    """25 pictures a second with sound, in order of arrival."""
    pictures = [video(index / 25, key=index % gop == 0) for index in range(round(seconds * 25))]
    sounds = [audio(index * AAC_FRAME / 48_000) for index in range(round(seconds * 48_000 / AAC_FRAME))]
    return sorted(pictures + sounds, key=lambda one: one.arrival_ns)


def mux(samples: list[Sample], muxer: Muxer | None = None) -> list[Piece]:
    muxer = muxer or Muxer(FORMATS, IDS, ZERO_NS)
    pieces = [piece for sample in samples for piece in muxer.put(sample)]
    return pieces + muxer.finish()


def runs(init: bytes, pieces: list[Piece], track: str) -> list[Run]:
    tracks = parse_init(init)
    return [run for piece in pieces for run in parse_fragment(piece.data, tracks) if run.track_id == IDS[track]]


def times(init: bytes, pieces: list[Piece], track: str) -> list[int]:
    return [one.decode + one.composition_offset for run in runs(init, pieces, track) for one in run.samples]


def discarded(pieces: list[Piece], track: str) -> dict[str, int]:
    total: dict[str, int] = {}
    for piece in pieces:
        if track in piece.counts:
            for reason, count in piece.counts[track].discarded.items():
                total[reason] = total.get(reason, 0) + count
    return total


def total(pieces: list[Piece], track: str, field: str) -> int:
    return sum(getattr(piece.counts[track], field) or 0 for piece in pieces if track in piece.counts)


def test_fragments_are_short_and_begin_at_key_frames(init: bytes) -> None:
    pieces = mux(stream(10))
    assert [piece.number for piece in pieces] == list(range(len(pieces)))
    assert pieces[0].key
    assert sum(piece.key for piece in pieces) == 5
    for track, scale in (("video", 90_000), ("audio", 48_000)):
        all_runs = runs(init, pieces, track)
        assert all(run.end_decode - run.first_decode <= scale // 2 for run in all_runs)
        assert all(after.first_decode == before.end_decode for before, after in itertools.pairwise(all_runs))
    assert times(init, pieces, "video") == [index * 3600 for index in range(250)]
    for piece in pieces:
        held = runs(init, [piece], "video")
        sync = [one.sync for run in held for one in run.samples]
        assert sync[:1] == [piece.key]
        assert not any(sync[1:])


def test_sound_that_stops_holds_no_picture() -> None:
    samples = [one for one in stream(8) if one.track == "video" or one.arrival_ns < ZERO_NS + 3 * SECOND]
    muxer = Muxer(FORMATS, IDS, ZERO_NS)
    for sample in samples:
        for piece in muxer.put(sample):
            assert sample.arrival_ns - piece.arrival_ns <= 0.1 * SECOND
    last = mux(samples)[-1]
    assert set(last.counts) == {"video"}


@pytest.mark.parametrize("track", ["video", "audio"])
def test_a_silence_is_a_jump_and_moves_nothing(init: bytes, track: str) -> None:
    kept = [
        one
        for one in stream(10)
        if one.track != track or not ZERO_NS + 3.1 * SECOND < one.arrival_ns < ZERO_NS + 6.3 * SECOND
    ]
    pieces = mux(kept)
    zero = {"video": ZERO_NS * 90_000 // SECOND, "audio": ZERO_NS * 48_000 // SECOND}
    for name in IDS:
        given_times = [one.presentation - zero[name] for one in kept if one.track == name]
        assert times(init, pieces, name) == given_times
    jumps = [after.first_decode - before.end_decode for before, after in itertools.pairwise(runs(init, pieces, track))]
    assert sum(jump != 0 for jump in jumps) == 1
    assert total(pieces, track, "holes") == 1
    assert abs(total(pieces, track, "holes_ns") - 3.2 * SECOND) < 0.05 * SECOND


def test_before_the_first_key_frame(init: bytes) -> None:
    samples = [one for one in stream(6) if one.arrival_ns >= ZERO_NS + 0.5 * SECOND]
    pieces = mux(samples)
    assert times(init, pieces, "video")[0] == 2 * 90_000
    assert discarded(pieces, "video") == {"before-key-frame": 50 - 13}
    assert times(init, pieces, "audio")[0] >= 2 * 48_000
    assert discarded(pieces, "audio")["before-key-frame"] > 60
    for track in IDS:
        put = sum(one.track == track for one in samples)
        assert total(pieces, track, "received") == put
        assert total(pieces, track, "written") + sum(discarded(pieces, track).values()) == put


def test_before_zero() -> None:
    muxer = Muxer(FORMATS, IDS, ZERO_NS + SECOND)
    pieces = mux(stream(6), muxer)
    assert discarded(pieces, "video") == {"before-zero": 1, "before-key-frame": 49}


@pytest.mark.rule("R10")
def test_what_was_taken_before_recording_went_on_is_not_in_the_film(init: bytes) -> None:
    pieces = mux(stream(6), Muxer(FORMATS, IDS, ZERO_NS, from_boottime_ns=ZERO_NS + SECOND))
    assert discarded(pieces, "video") == {"before-zero": 1, "before-key-frame": 49}
    assert times(init, pieces, "video")[0] == 2 * 90_000
    assert min(times(init, pieces, "audio")) >= 2 * 48_000
    alone = mux(
        [one for one in stream(6) if one.track == "audio"],
        Muxer({"audio": FORMATS["audio"]}, IDS, ZERO_NS, from_boottime_ns=ZERO_NS + SECOND),
    )
    assert min(times(init, alone, "audio")) >= 48_000


@pytest.mark.rule("R3")
def test_pictures_from_before_a_press_are_without_sound(init: bytes) -> None:
    pressed = ZERO_NS + 3 * SECOND
    pieces = mux(stream(6), Muxer(FORMATS, IDS, ZERO_NS, sound_from_boottime_ns=pressed))
    assert times(init, pieces, "video")[0] == 0
    assert min(times(init, pieces, "audio")) >= 3 * 48_000


def test_without_picture_sound_begins_alone_after_a_while(init: bytes) -> None:
    muxer = Muxer(FORMATS, IDS, ZERO_NS, wait_for_picture_ns=SECOND)
    sounds = [one for one in stream(4) if one.track == "audio"]
    pieces = mux(sounds, muxer)
    assert len(times(init, pieces, "audio")) == len(sounds)
    assert all(piece.key for piece in pieces)
    late = [*sounds, *[video(4 + index / 25, key=index == 0) for index in range(25)]]
    pieces = mux(late, Muxer(FORMATS, IDS, ZERO_NS, wait_for_picture_ns=SECOND))
    first = next(piece for piece in pieces if "video" in piece.counts)
    assert first.key


def test_b_frames_are_shown_when_the_camera_says(init: bytes) -> None:
    order = [(0, 0.08), (1, 0.2), (2, 0.04), (3, 0.0), (4, 0.2), (5, 0.04), (6, 0.0)]
    samples = [video(index / 25, key=index == 0, reorder_s=reorder) for index, reorder in order]
    pieces = mux(samples, Muxer(FORMATS, IDS, ZERO_NS))
    assert times(init, pieces, "video") == [round((index / 25 + reorder) * 90_000) for index, reorder in order]
    assert all(one.composition_offset >= 0 for run in runs(init, pieces, "video") for one in run.samples)


def test_a_key_frame_shown_at_zero_and_decoded_before_is_kept(init: bytes) -> None:
    samples = [
        video(-0.08, key=True, reorder_s=0.08),
        *[video(-0.04 + index / 25, reorder_s=0.08) for index in range(9)],
    ]
    muxer = Muxer(FORMATS, IDS, ZERO_NS)
    pieces = mux(samples, muxer)
    assert times(init, pieces, "video") == [index * 3600 for index in range(10)]
    assert muxer.corrected == 0
    assert total(pieces, "video", "holes") == 0


def test_times_that_do_not_grow_cost_no_picture(init: bytes) -> None:
    muxer = Muxer(FORMATS, IDS, ZERO_NS)
    pieces = mux([video(0, key=True), video(0.04), video(0.04), video(0.03), video(0.08)], muxer)
    assert len(times(init, pieces, "video")) == 5
    assert times(init, pieces, "video") == sorted(set(times(init, pieces, "video")))
    assert muxer.corrected == 2


def test_slow_pictures_do_not_wait(init: bytes) -> None:
    """One picture in two seconds: each is sent when it has waited long enough, without the next one."""
    muxer = Muxer({"video": FORMATS["video"]}, IDS, ZERO_NS)
    assert muxer.put(video(0, key=True)) == []
    assert muxer.tick(ZERO_NS + SECOND // 2) == []
    assert len(muxer.tick(ZERO_NS + SECOND)) == 1
    assert muxer.put(video(2)) == []
    pieces = muxer.tick(ZERO_NS + 3 * SECOND)
    assert times(init, pieces, "video") == [180_000]


def test_frames_that_waited_elsewhere_are_not_cut_short(init: bytes) -> None:
    """A camera's first frames are held until their times are known, and the clock is told between two of them."""
    late = [one for one in stream(3) if one.arrival_ns >= ZERO_NS + SECOND]
    muxer = Muxer(FORMATS, IDS, ZERO_NS)
    muxer.tick(ZERO_NS + 5 * SECOND)
    pieces = []
    for sample in late:  # jitter of a tick, as RTP has it
        tick = (sample.decode // sample.duration + 1) % 2
        pieces += muxer.put(sample._replace(decode=sample.decode + tick, presentation=sample.presentation + tick))
        if sample.arrival_ns >= ZERO_NS + 2 * SECOND:  # from the first key frame on
            pieces += muxer.tick(ZERO_NS + 5 * SECOND + SECOND // 10)
    pieces += muxer.finish()
    for track in IDS:
        own = runs(init, pieces, track)
        assert all(after.first_decode == before.end_decode for before, after in itertools.pairwise(own))


def test_what_came_before_a_known_hole_goes_out_at_once() -> None:
    muxer = Muxer(FORMATS, IDS, ZERO_NS)
    given = stream(0.4)
    assert [piece for sample in given for piece in muxer.put(sample)] == []
    (piece,) = muxer.cut("audio")
    assert piece.counts["audio"].written == sum(one.track == "audio" for one in given)
    assert muxer.cut("audio") == []
    assert muxer.cut("nothing") == []


def test_fragments_stay_small_however_large_the_pictures_are() -> None:
    pieces = mux([video(index / 25, key=index == 0, size=3 << 20) for index in range(8)])
    assert [piece.counts["video"].written for piece in pieces] == [2, 2, 2, 2]


def test_fragments_are_numbered_in_themselves() -> None:
    pieces = mux(stream(3))
    assert [int.from_bytes(piece.data[20:24]) for piece in pieces] == [piece.number + 1 for piece in pieces]


def test_sound_from_before_zero(init: bytes) -> None:
    sounds = [audio(index * AAC_FRAME / 48_000) for index in range(100)]
    muxer = Muxer({"audio": FORMATS["audio"]}, IDS, ZERO_NS + SECOND)
    pieces = mux(sounds, muxer)
    early = sum(one.presentation < 6 * 48_000 for one in sounds)
    assert early
    assert discarded(pieces, "audio") == {"before-zero": early}
    assert times(init, pieces, "audio")[0] < AAC_FRAME


def test_what_counts_as_a_hole_follows_the_camera() -> None:
    """From 25 pictures a second to 5: the first few intervals are holes, then that is how it is."""
    slow = [video(2 + index / 5) for index in range(60)]
    pieces = mux([*[video(index / 25, key=index == 0) for index in range(50)], *slow])
    assert 10 < total(pieces, "video", "holes") < 20
    assert total(pieces, "video", "holes_ns") == total(pieces, "video", "holes") * 160_000_000


def test_counts_tell_when_the_frames_came_and_were_taken() -> None:
    samples = [video(index / 25, key=index == 0) for index in range(5)]
    samples = [one._replace(sensor_ns=one.arrival_ns - 30_000_000) for one in samples]
    muxer = Muxer(FORMATS, IDS, ZERO_NS)
    muxer.discard("video", "overload", 3)
    (piece,) = mux(samples, muxer)
    counts = piece.counts["video"]
    assert (counts.arrival_first_ns, counts.arrival_last_ns) == (ZERO_NS, ZERO_NS + 160_000_000)
    assert (counts.sensor_first_ns, counts.sensor_last_ns) == (ZERO_NS - 30_000_000, ZERO_NS + 130_000_000)
    assert (counts.received, counts.written, counts.discarded) == (8, 5, {"overload": 3})
    assert piece.arrival_ns == ZERO_NS + 160_000_000


def test_numbered_frames_are_expected_and_levels_measured() -> None:
    muxer = Muxer(FORMATS, IDS, ZERO_NS)
    samples = [video(index / 25, key=index == 0, number=1000 + index) for index in range(30) if index not in (7, 8)]
    pieces = mux(samples, muxer)
    assert total(pieces, "video", "expected") == 30
    assert total(pieces, "video", "received") == 28
    (piece,) = mux(
        [audio(0, Level(0.5, 0.01)), audio(AAC_FRAME / 48_000, Level(1.0, 0.03))],
        Muxer({"audio": FORMATS["audio"]}, IDS, ZERO_NS),
    )
    assert piece.counts["audio"].peak_millibels == 0
    assert piece.counts["audio"].rms_millibels == -1699


def test_what_mp4_cannot_hold_is_refused() -> None:
    muxer = Muxer({"video": FORMATS["video"]}, IDS, ZERO_NS)
    with pytest.raises(MuxError):
        muxer.put(audio(0))
    with pytest.raises(MuxError):
        muxer.put(video(0, key=True, reorder_s=40_000))


@given(st.integers(0, 2**32), st.booleans())
@settings(max_examples=60, deadline=None)
def test_any_order_of_arrival_keeps_the_account(seed: int, tear: bool) -> None:
    """Jitter, losses, silences: every frame is written or counted as discarded, and times never run back."""
    chance = random.Random(seed)
    samples = [one for one in stream(4, gop=10) if chance.random() > 0.1]
    samples = [one._replace(arrival_ns=one.arrival_ns + chance.randrange(200_000_000)) for one in samples]
    samples.sort(key=lambda one: one.arrival_ns)
    if tear:
        cut = chance.randrange(len(samples))
        del samples[cut : cut + chance.randrange(120)]
    last = {"video": -1, "audio": -1}
    ordered = []
    for one in samples:  # a track's own packets stay in order: they come over one connection
        if one.decode > last[one.track]:
            ordered.append(one)
            last[one.track] = one.decode
    pieces = mux(ordered)
    for track in IDS:
        put = sum(one.track == track for one in ordered)
        if pieces:
            assert total(pieces, track, "written") + sum(discarded(pieces, track).values()) == total(
                pieces, track, "received"
            )
            assert total(pieces, track, "received") == put
    init_tracks = parse_init(_INIT)
    for track, scale in (("video", 90_000), ("audio", 48_000)):
        all_runs = [
            run for piece in pieces for run in parse_fragment(piece.data, init_tracks) if run.track_id == IDS[track]
        ]
        assert all(after.first_decode >= before.end_decode for before, after in itertools.pairwise(all_runs))
        assert all(run.end_decode - run.first_decode <= scale * 1.01 for run in all_runs)


_INIT = init_segment(
    {"video": VideoEncoder(64, 64, 25, 100_000).format, "audio": AudioEncoder(48_000, 1, 64_000).format}, IDS
)


def test_real_encoders_and_a_real_reader(init: bytes) -> None:
    """What libx264 and the AAC encoder make is read back by libavformat, frame by frame, at the times given."""
    pictures, sounds = VideoEncoder(64, 64, 25, 100_000), AudioEncoder(48_000, 1, 64_000)
    formats = {"video": pictures.format, "audio": sounds.format}
    muxer = Muxer(formats, IDS, ZERO_NS)
    pieces: list[Piece] = []
    given_times = []
    heard = 0
    for index in range(75):
        frame = av.VideoFrame(64, 64, "yuv420p")
        for plane in frame.planes:
            plane.update(bytes([index]) * plane.buffer_size)
        at = ZERO_NS * 90_000 // SECOND + index * 3600
        given_times.append(index * 3600)
        for sample in pictures.encode(frame, at, key=index % 25 == 0):
            pieces += muxer.put(sample)
        while len(given_times) * 1920 >= AAC_FRAME * (heard + 1):
            start = ZERO_NS * 48_000 // SECOND + heard * AAC_FRAME
            for sample in sounds.encode(bytes(2 * AAC_FRAME), start, ZERO_NS):
                pieces += muxer.put(sample)
            heard += 1
    pieces += muxer.finish()
    film = init_segment(formats, IDS) + b"".join(piece.data for piece in pieces)
    with av.open(io.BytesIO(film)) as container:
        assert [packet.pts for packet in container.demux(video=0) if packet.size] == given_times
    with av.open(io.BytesIO(film)) as container:
        frames = list(container.decode(video=0))
        assert [frame.pts for frame in frames] == given_times
        assert [frame.key_frame for frame in frames] == [index % 25 == 0 for index in range(75)]
    assert init_segment(formats, IDS) == init_segment(formats, IDS) == init


def test_a_source_of_sound_alone_delivers_track_two() -> None:
    init_sound = init_segment({"audio": AudioEncoder(48_000, 1, 64_000).format}, IDS)
    assert set(parse_init(init_sound)) == {2}
