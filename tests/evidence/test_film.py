"""The joined film as other programs see it: ffprobe and ffmpeg, real media."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import msgspec

from recorder.evidence import boxes, film, records, subtitles, timeline
from recorder.evidence.subtitles import Cue
from tests.evidence.conftest import Sample, write
from tests.support import forge
from tests.support.forge import SECOND, Site

if TYPE_CHECKING:
    from pathlib import Path


def run(*command: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(part) for part in command], capture_output=True, text=True, check=True, timeout=60)


def test_ffmpeg_decodes_it_without_a_warning_and_sees_the_subtitle(honest: Sample) -> None:
    path = honest.folder / "session.mp4"
    decoded = run("ffmpeg", "-v", "warning", "-i", path, "-map", "0:v", "-map", "0:a", "-f", "null", "-")
    assert decoded.stderr == ""
    streams = run(
        "ffprobe",
        "-v",
        "warning",
        "-count_packets",
        "-show_entries",
        "stream=codec_name,nb_read_packets",
        "-of",
        "csv",
        path,
    )
    assert streams.stderr == ""
    counts = dict(line.split(",")[1:3] for line in streams.stdout.split())
    assert (counts["h264"], counts["aac"]) == ("600", "1125")
    assert int(counts["mov_text"]) >= 30


def test_subtitle_tells_time_gap_and_marker(honest: Sample, tmp_path: Path) -> None:
    out = tmp_path / "film.srt"
    run("ffmpeg", "-v", "warning", "-i", honest.folder / "session.mp4", "-map", "0:s", out)
    text = out.read_text()
    assert "2026-09-21 22:13:20 设备sy-0001" in text
    assert "2026-09-21 22:13:49 设备sy-0001" in text
    assert "因摄像部件故障中断" in text
    assert "标记：已出示执法证件" in text


def test_samples_are_those_of_the_chunks_byte_for_byte(honest: Sample, tmp_path: Path) -> None:
    """The same packets, by hash, in the film as in the joined chunks."""
    joined = tmp_path / "joined.mp4"
    parsed = [record for record in honest.recording.parsed if isinstance(record.body, records.Chunk)]
    contents = [honest.recording.media[record.sequence] for record in parsed]
    init = parsed[0].body
    assert isinstance(init, records.Chunk)
    joined.write_bytes(
        contents[0][: init.init_size_bytes] + b"".join(content[init.init_size_bytes :] for content in contents)
    )
    hashes = [
        run(
            "ffmpeg", "-v", "error", "-i", path, "-map", "0:v", "-map", "0:a", "-c", "copy", "-f", "streamhash", "-"
        ).stdout
        for path in (joined, honest.folder / "session.mp4")
    ]
    assert hashes[0] == hashes[1]
    film_bytes = (honest.folder / "session.mp4").read_bytes()
    assert all(content[init.init_size_bytes :] in film_bytes for content in contents)


def test_second_film_after_a_change_of_init(site: Site, tmp_path: Path) -> None:
    drafts = forge.session_drafts(count=2)[:-1]
    for index, clip in enumerate(forge.clips(2, 4.0, (192, 128))):
        drafts.append(forge.chunk_draft(clip, 2 + index, 3 + index, b"S" * 16, part=1))
    drafts.append(forge.close_draft(drafts))
    folder = write(forge.record(site, drafts), tmp_path / "p")
    for name, width in (("session.mp4", "160"), ("session-2.mp4", "192")):
        decoded = run("ffmpeg", "-v", "warning", "-i", folder / name, "-map", "0:v", "-map", "0:a", "-f", "null", "-")
        assert decoded.stderr == ""
        shown = run(
            "ffprobe",
            "-v",
            "error",
            "-select_streams",
            "v",
            "-show_entries",
            "stream=width",
            "-of",
            "csv=p=0",
            folder / name,
        )
        assert shown.stdout.strip() == width


def test_withheld_chunk_leaves_its_place_and_says_so(site: Site, tmp_path: Path) -> None:
    recording = forge.record(site)
    sequence = recording.parsed[recording.at("chunk", 0)].sequence
    recording.withholding = forge.withhold(recording, [(sequence, sequence)])
    folder = write(recording, tmp_path / "p")
    path = folder / "session.mp4"
    decoded = run("ffmpeg", "-v", "warning", "-i", path, "-map", "0:v", "-map", "0:a", "-f", "null", "-")
    assert decoded.stderr == ""
    out = tmp_path / "film.srt"
    run("ffmpeg", "-v", "warning", "-i", path, "-map", "0:s", out)
    assert "因涉及商业秘密，本段依法不予提供" in out.read_text()


def test_subtitle_track_is_read_back_by_the_walker(honest: Sample) -> None:
    clip = forge.clips()[0]
    init, track_id = film.with_subtitle_track(clip.init)
    tracks = boxes.parse_init(init)
    assert (tracks[track_id].kind, tracks[track_id].codec, tracks[track_id].timescale) == ("text", "tx3g", 1000)
    assert len(tracks) == len(boxes.parse_init(clip.init)) + 1
    fragment = film.subtitle_fragment(track_id, 1, [Cue(100, 1100, "一"), Cue(1100, 1 << 33, "二")])
    (run_,) = boxes.parse_fragment(fragment, tracks)
    assert (run_.first_decode, run_.end_decode) == (100, 1 << 33)
    first = run_.samples[0]
    assert fragment[first.offset : first.offset + first.size_bytes] == b"\0\x03" + "一".encode()
    line = timeline.collect(honest.recording.parsed)
    assert subtitles.cues(line, 0, None)[0].start_ms == 0


def test_cues_follow_each_other_without_a_hole(honest: Sample) -> None:
    line = timeline.collect(honest.recording.parsed)
    at: int | None = None
    for index in range(len(line.pieces)):
        for cue in subtitles.cues(line, index, at):
            assert at is None or cue.start_ms == at
            assert cue.end_ms > cue.start_ms
            at = cue.end_ms
    assert at == -(-line.pieces[-1].end_ns // 10**6)


def test_absurd_times_stay_bounded(site: Site) -> None:
    """A device that lies about times makes one long subtitle, not a billion short ones."""
    draft = forge.chunk_draft(forge.clips()[0], 0, 1, b"S" * 16)
    assert isinstance(draft.body, records.Chunk)
    track = draft.body.tracks["video"]
    far = msgspec.structs.replace(track, first_decode=90_000 * 10**7, end_decode=90_000 * 3 * 10**8)
    drafts = [draft, draft.changed(tracks={"video": far})]
    messages, _ = forge.sign_all(drafts, site)
    line = timeline.collect([records.parse(message) for message in messages])
    assert len(subtitles.cues(line, 1, 2000)) <= 3
    assert len(film.subtitle_fragment(3, 1, subtitles.cues(line, 1, 2000))) < 1 << 20
    further = msgspec.structs.replace(track, end_decode=1 << 60)
    (message,), _ = forge.sign_all([draft.changed(tracks={"video": further})], site)
    assert records.parse(message).body is None


def test_gap_over_two_boots_begins_with_the_chunks_before_it_where_its_boot_has_none(site: Site) -> None:
    drafts = forge.session_drafts(count=2)[:-1]
    gap = records.Gap(
        cause="power",
        tracks=["video", "audio"],
        state="whole",
        start_boottime_ns=7,
        end_boottime_ns=forge.BOOT0 + 29 * SECOND,
        start_boot=b"A" * 16,
    )
    drafts.append(forge.Draft(gap, 9 * SECOND, b"S" * 16))
    later = forge.chunk_draft(forge.clips(1, 30.0)[0], 2, 3, b"S" * 16)
    drafts.append(later)
    messages, _ = forge.sign_all(drafts, site)
    (found,) = timeline.collect([records.parse(message) for message in messages]).interruptions
    assert (found.start_ns // SECOND, found.end_ns, found.length_ns) == (4, 29 * SECOND, None)


def test_a_gap_that_begins_and_ends_is_one(site: Site) -> None:
    drafts = forge.session_drafts(count=2)[:-1]
    begins = records.Gap(cause="unknown", tracks=["audio"], state="begins", start_boottime_ns=forge.BOOT0 + 2 * SECOND)
    ends = records.Gap(
        cause="microphone",
        tracks=["video", "audio"],
        state="ends",
        start_boottime_ns=forge.BOOT0 + 2 * SECOND,
        end_boottime_ns=forge.BOOT0 + 3 * SECOND,
    )
    drafts += [forge.Draft(one, drafts[-1].boottime_ns, b"S" * 16) for one in (begins, ends)]
    messages, _ = forge.sign_all(drafts, site)
    (found,) = timeline.collect([records.parse(message) for message in messages]).interruptions
    assert (found.cause, found.end_ns) == ("microphone", 3 * SECOND)
