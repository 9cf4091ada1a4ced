from __future__ import annotations

import hashlib

import pytest

from recorder.assembly import Append, Assembler, Begin, End, FragmentRefusedError, Hole, Position
from recorder.evidence import boxes
from recorder.evidence.inits import join_inits
from recorder.source.link import Counts
from tests.support import media

RUN_A, RUN_B = b"a" * 16, b"b" * 16
ZERO_NS = 7_000_000_000


def feed(
    assembler: Assembler, source: str, run: bytes, init: bytes, fragments: tuple[bytes, ...], first: int = 0
) -> list:
    kind = "audio" if source == "mic" else "video"
    actions = assembler.init(source, run, init)
    for number, fragment in enumerate(fragments, first):
        actions += assembler.fragment(source, run, number, {kind: Counts(received=1)}, fragment)
    return actions


def chunks(actions: list) -> list[bytes]:
    made: list[bytes] = []
    for action in actions:
        if isinstance(action, Begin):
            made.append(action.init)
        elif isinstance(action, Append):
            made[-1] += action.fragment
    return made


def test_chunks_begin_with_key_frames_at_two_seconds() -> None:
    init, fragments = media.video(seconds=8, gop=25)
    assembler = Assembler(ZERO_NS)
    actions = feed(assembler, "cam", RUN_A, init, fragments) + assembler.finish()
    ends = [action for action in actions if isinstance(action, End)]
    assert [end.account.number for end in ends] == [0, 1, 2, 3]
    assert not any(end.account.continues for end in ends)
    assert [end.account.tracks["video"].frames_written for end in ends] == [50, 50, 50, 50]
    assert ends[1].account.start_boottime_ns == ZERO_NS + 2_000_000_000
    assert all(end.init_sha256 == hashlib.sha256(init).digest() for end in ends)


def test_a_long_gop_is_cut_at_six_seconds_and_the_next_chunk_continues() -> None:
    init, fragments = media.video(seconds=14, gop=25 * 10)
    assembler = Assembler(ZERO_NS)
    actions = feed(assembler, "cam", RUN_A, init, fragments) + assembler.finish()
    accounts = [action.account for action in actions if isinstance(action, End)]
    assert [account.continues for account in accounts] == [False, True, False]
    starts = [account.tracks["video"].first_decode / 90000 for account in accounts]
    assert starts[0] == 0
    assert 6 <= starts[1] <= 6.6
    assert starts[2] == 10


def test_joining_chunks_is_joining_bytes() -> None:
    video, pictures = media.video(seconds=6)
    sound, beeps = media.audio(seconds=6)
    assembler = Assembler(ZERO_NS)
    actions = assembler.init("cam", RUN_A, video) + assembler.init("mic", RUN_B, sound)
    for number in range(max(len(pictures), len(beeps))):
        for source, run, fragments in (("cam", RUN_A, pictures), ("mic", RUN_B, beeps)):
            if number < len(fragments):
                actions += assembler.fragment(source, run, number, {}, fragments[number])
    actions += assembler.finish()
    joined = join_inits([video, sound])
    made = chunks(actions)
    assert all(chunk.startswith(joined) for chunk in made)
    body = b"".join(chunk[len(joined) :] for chunk in made)
    assert len(body) == sum(map(len, pictures)) + sum(map(len, beeps))
    assert set(boxes.parse_init(joined)) == {1, 2}


def test_sound_alone_still_makes_chunks_of_two_seconds() -> None:
    init, fragments = media.audio(seconds=9)
    assembler = Assembler(ZERO_NS)
    actions = feed(assembler, "mic", RUN_A, init, fragments) + assembler.finish()
    lengths = [
        action.account.end_boottime_ns - action.account.start_boottime_ns
        for action in actions
        if isinstance(action, End)
    ]
    assert all(1.9e9 < length < 2.6e9 for length in lengths[:-1])


def test_sound_goes_on_in_the_same_film_when_the_picture_stops() -> None:
    video, pictures = media.video(seconds=4)
    sound, beeps = media.audio(seconds=12)
    assembler = Assembler(ZERO_NS)
    actions = assembler.init("cam", RUN_A, video) + assembler.init("mic", RUN_B, sound)
    for number, fragment in enumerate(pictures):
        actions += assembler.fragment("cam", RUN_A, number, {}, fragment)
    for number, fragment in enumerate(beeps):
        actions += assembler.fragment("mic", RUN_B, number, {}, fragment)
    actions += assembler.finish()
    assert {action.part for action in actions if isinstance(action, Begin)} == {0}
    last = [action.account for action in actions if isinstance(action, End)][-1]
    assert set(last.tracks) == {"audio"}


def test_a_replaced_source_leaves_a_hole_and_time_runs_on() -> None:
    init, fragments = media.video(seconds=3)
    again, later = media.video(seconds=3, start_s=9)
    assembler = Assembler(ZERO_NS)
    feed(assembler, "cam", RUN_A, init, fragments)
    actions = feed(assembler, "cam", RUN_B, again, later)
    holes = [action for action in actions if isinstance(action, Hole)]
    assert holes == [Hole("video", 3_000_000_000, 9_000_000_000)]
    accounts = [action.account for action in actions + assembler.finish() if isinstance(action, End)]
    spans = [(one.tracks["video"].first_decode // 90000, one.tracks["video"].end_decode // 90000) for one in accounts]
    assert spans == [(2, 3), (9, 11), (11, 12)]


def test_another_codec_form_begins_a_new_part() -> None:
    init, fragments = media.video(seconds=3)
    other, later = media.video(seconds=3, start_s=4, size=96)
    assembler = Assembler(ZERO_NS)
    actions = feed(assembler, "cam", RUN_A, init, fragments) + feed(assembler, "cam", RUN_B, other, later)
    assert [action.part for action in actions if isinstance(action, Begin)][-1] == 1


def test_a_fragment_that_goes_back_in_time_is_refused() -> None:
    init, fragments = media.video(seconds=4)
    assembler = Assembler(ZERO_NS)
    feed(assembler, "cam", RUN_A, init, fragments)
    with pytest.raises(FragmentRefusedError, match="goes back"):
        assembler.fragment("cam", RUN_A, len(fragments), {}, fragments[0])


def test_a_fragment_of_another_run_is_refused() -> None:
    init, fragments = media.video(seconds=4)
    assembler = Assembler(ZERO_NS)
    assembler.init("cam", RUN_A, init)
    with pytest.raises(FragmentRefusedError):
        assembler.fragment("cam", RUN_B, 0, {}, fragments[0])


def test_garbage_from_a_source_is_refused_and_changes_nothing() -> None:
    init, fragments = media.video(seconds=4)
    assembler = Assembler(ZERO_NS)
    feed(assembler, "cam", RUN_A, init, fragments[:2])
    with pytest.raises(FragmentRefusedError):
        assembler.fragment("cam", RUN_A, 2, {}, fragments[2][:-5])
    actions = assembler.fragment("cam", RUN_A, 2, {}, fragments[2])
    assert any(isinstance(action, Append) for action in actions)


def test_resuming_goes_on_with_numbers_times_and_part() -> None:
    init, fragments = media.video(seconds=6, gop=25)
    first = Assembler(ZERO_NS)
    actions = feed(first, "cam", RUN_A, init, fragments[:5])
    account = [action.account for action in actions if isinstance(action, Append)][-1]
    position = Position(account.number + 1, account.part, init, first.ends_ns, dict(account.sources))
    second = Assembler(ZERO_NS, position)
    actions = feed(second, "cam", RUN_A, init, fragments[5:], first=5)
    assert [action for action in actions if isinstance(action, Hole)] == [Hole("video", first.end_ns, first.end_ns)]
    begin = next(action for action in actions if isinstance(action, Begin))
    assert (begin.number, begin.part) == (account.number + 1, 0)
    assert next(action for action in actions if isinstance(action, Append)).account.continues


def test_counts_of_a_track_without_samples_are_carried_to_its_next_chunk() -> None:
    video, pictures = media.video(seconds=6)
    sound, beeps = media.audio(seconds=6)
    assembler = Assembler(ZERO_NS)
    actions = assembler.init("cam", RUN_A, video) + assembler.init("mic", RUN_B, sound)
    early = {"audio": Counts(received=9, discarded={"before-key-frame": 9}), "video": Counts(received=5, written=5)}
    for number in range(6):  # three seconds of picture alone: the running chunk changes meanwhile
        actions += assembler.fragment("cam", RUN_A, number, early, pictures[number])
    for number, fragment in enumerate(beeps):
        actions += assembler.fragment("mic", RUN_B, number, {"audio": Counts(received=2, written=2)}, fragment)
    actions += assembler.finish()
    tracks = [
        action.account.tracks["audio"]
        for action in actions
        if isinstance(action, End)
        if "audio" in action.account.tracks
    ]
    assert tracks[0].frames_discarded == {"before-key-frame": 6 * 9}
    assert sum(track.frames_received for track in tracks) == 6 * 9 + 2 * len(beeps)
    assert all(not track.frames_discarded for track in tracks[1:])


def test_a_silence_that_was_signed_while_it_lasted_has_an_end() -> None:
    init, fragments = media.video(seconds=3)
    late, later = media.video(seconds=3, start_s=7)
    first = Assembler(ZERO_NS)
    first.expect_holes(["video"])
    holes = [action for action in feed(first, "cam", RUN_A, late, later) if isinstance(action, Hole)]
    assert holes == [Hole("video", 0, 7_000_000_000)]
    second = Assembler(ZERO_NS)
    feed(second, "cam", RUN_A, init, fragments[:4])
    second.expect_holes(["video"])
    actions = second.fragment("cam", RUN_A, 4, {}, fragments[4])
    assert [action for action in actions if isinstance(action, Hole)] == [Hole("video", 2 * 10**9, 2 * 10**9)]
