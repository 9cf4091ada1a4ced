"""Every attack by name: what is done, how far it reaches, and what the verdict must be.

Three kinds of attacker: someone who has a package in hand, someone who can sign with an authority of his own, and
someone who holds the device's own key. The last one can make a perfect second past; only the store's witness tells.
"""

from __future__ import annotations

import hashlib
import os
import struct
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import cbor2
import msgspec
import pytest

from keys import cbor, cose
from keys.certificates import Role
from recorder.evidence import boxes, records, report, statements, timeline
from recorder.evidence.findings import CODES, Effect
from tests.evidence.conftest import Sample, judge, write
from tests.support import forge
from tests.support.commands import LIUHEN, environment
from tests.support.forge import BOOT0, SECOND, Draft, Recording, Site

BROKEN, UNJUDGED = 1, 2


@dataclass(frozen=True)
class Scene:
    """What an attacker works on."""

    honest: Sample
    site: Site
    tmp: Path

    @property
    def recording(self) -> Recording:
        return self.honest.recording.copy()

    def folder(self) -> Path:
        return self.honest.copy(self.tmp / "package")

    def rewrite(self, messages: list[bytes]) -> Path:
        """Put other records into the package; everything else stays."""
        folder = self.folder()
        (folder / "evidence/records.cborseq").write_bytes(b"".join(messages))
        return folder

    def repack(self, recording: Recording) -> Path:
        """Write a whole package, derived files and all, as a store would."""
        return write(recording, self.tmp / "package")


Attack = Callable[[Scene], Path]
ATTACKS: dict[str, tuple[Attack, int, str, str | None]] = {}
"""Name to (attack, exit code, finding code, state of the witness where it matters)."""


def attack(code: str, exit_code: int = BROKEN, witness: str | None = None) -> Callable[[Attack], Attack]:
    def register(function: Attack) -> Attack:
        ATTACKS[function.__name__.replace("_", " ")] = (function, exit_code, code, witness)
        return function

    return register


def chunk_file(scene: Scene, folder: Path, index: int = 1) -> Path:
    record = [one for one in scene.honest.recording.parsed if one.kind == "chunk"][index]
    assert record.file is not None
    return folder / f"evidence/media/{record.file.content_sha256.hex()}.mp4"


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def limited(folder: Path, site: Site, megabytes: int = 600) -> tuple[int, str]:
    """Judge in a process that may not grow; return its exit code and what it said."""
    authority = folder.parent / "authority.der"
    authority.write_bytes(site.authority.der)
    done = subprocess.run(
        ["prlimit", f"--as={megabytes << 20}", *LIUHEN, "verify", folder, "--authority", authority],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


# --- without any key: bits


@attack("media-altered")
def bit_in_picture(scene: Scene) -> Path:
    folder = scene.folder()
    path = chunk_file(scene, folder)
    flip(path, path.stat().st_size - 100)
    return folder


@attack("media-altered")
def bit_in_init_segment(scene: Scene) -> Path:
    folder = scene.folder()
    flip(chunk_file(scene, folder), 40)
    return folder


@attack("media-altered")
def media_cut_short(scene: Scene) -> Path:
    folder = scene.folder()
    path = chunk_file(scene, folder)
    path.write_bytes(path.read_bytes()[:-1])
    return folder


@attack("media-altered")
def media_made_longer(scene: Scene) -> Path:
    folder = scene.folder()
    path = chunk_file(scene, folder)
    path.write_bytes(path.read_bytes() + struct.pack(">I4s", 8, b"free"))
    return folder


@attack("signature-invalid")
def bit_in_record(scene: Scene) -> Path:
    messages = scene.recording.records
    # Inside a digest, so that the record stays one that can be read.
    record = scene.recording.parsed[3]
    assert record.file is not None
    at = messages[3].index(record.file.content_sha256)
    messages[3] = messages[3][:at] + bytes([messages[3][at] ^ 1]) + messages[3][at + 1 :]
    return scene.rewrite(messages)


@attack("signature-invalid")
def bit_in_signature(scene: Scene) -> Path:
    messages = scene.recording.records
    messages[4] = forge.alter(messages[4], part="signature")
    return scene.rewrite(messages)


@attack("media-altered")
def bit_in_details(scene: Scene) -> Path:
    folder = scene.folder()
    flip(next((folder / "evidence/media").glob("*.bin")), 5)
    return folder


@attack("signature-invalid")
def time_in_record_changed(scene: Scene) -> Path:
    messages = scene.recording.records
    messages[3] = forge.payload_changed(messages[3], utc_ns=forge.UTC0)
    return scene.rewrite(messages)


# --- without any key: records dropped, repeated, reordered, inserted


@attack("sequence-missing")
def middle_record_dropped(scene: Scene) -> Path:
    messages = scene.recording.records
    del messages[5]
    return scene.rewrite(messages)


@attack("sequence-repeated")
def record_repeated(scene: Scene) -> Path:
    messages = scene.recording.records
    return scene.rewrite([*messages[:5], messages[4], *messages[5:]])


@attack("sequence-reordered")
def records_reordered(scene: Scene) -> Path:
    messages = scene.recording.records
    messages[4], messages[5] = messages[5], messages[4]
    return scene.rewrite(messages)


@attack("open-missing")
def head_cut_off(scene: Scene) -> Path:
    return scene.rewrite(scene.recording.records[2:])


@attack("tail-missing", witness="contradicted")
def tail_cut_off(scene: Scene) -> Path:
    return scene.rewrite(scene.recording.records[:-4])


@attack("tail-missing", witness="contradicted")
def close_cut_off(scene: Scene) -> Path:
    return scene.rewrite(scene.recording.records[:-1])


@attack("no-session")
def all_records_gone(scene: Scene) -> Path:
    return scene.rewrite([])


@attack("file-missing")
def file_of_records_gone(scene: Scene) -> Path:
    folder = scene.folder()
    (folder / "evidence/records.cborseq").unlink()
    return folder


@attack("log-mixed")
def chunk_of_another_session_inserted(scene: Scene) -> Path:
    drafts = forge.session_drafts(b"T" * 16, 2)
    for draft in drafts:
        draft.log = b"M" * 16
    other, _ = forge.sign_all(drafts, scene.site)
    messages = scene.recording.records
    return scene.rewrite([*messages[:4], other[2], *messages[4:]])


@attack("stream-mixed")
def chunk_of_another_stream_inserted(scene: Scene) -> Path:
    drafts = forge.session_drafts(count=2)
    drafts[2].stream = 2
    other, _ = forge.sign_all(drafts, scene.site)
    messages = scene.recording.records
    return scene.rewrite([*messages[:4], other[2], *messages[4:]])


@attack("device-mixed")
def chunk_of_another_device_inserted(scene: Scene) -> Path:
    other_device = replace(
        scene.site,
        device=forge.signer_of(scene.site.authority, Role.SIGNING, "sy-0002"),
        device_id="sy-0002",
    )
    other, _ = forge.sign_all(forge.session_drafts(count=2), other_device)
    messages = scene.recording.records
    folder = scene.rewrite([*messages[:4], other[2], *messages[4:]])
    der = other_device.device.certificate
    (folder / f"evidence/certificates/{hashlib.sha256(der).hexdigest()}.der").write_bytes(der)
    return folder


@attack("media-altered")
def two_chunks_swapped(scene: Scene) -> Path:
    folder = scene.folder()
    one, two = chunk_file(scene, folder, 1), chunk_file(scene, folder, 2)
    first, second = one.read_bytes(), two.read_bytes()
    one.write_bytes(second)
    two.write_bytes(first)
    return folder


@attack("media-absent")
def chunk_file_dropped(scene: Scene) -> Path:
    folder = scene.folder()
    chunk_file(scene, folder, 3).unlink()
    return folder


@attack("media-absent")
def all_media_dropped(scene: Scene) -> Path:
    folder = scene.folder()
    for path in (folder / "evidence/media").iterdir():
        path.unlink()
    return folder


@attack("sequence-missing")
def gap_record_stripped(scene: Scene) -> Path:
    recording = scene.recording
    messages = recording.records
    del messages[recording.at("gap")]
    return scene.rewrite(messages)


@attack("sequence-missing")
def marker_record_stripped(scene: Scene) -> Path:
    recording = scene.recording
    messages = recording.records
    del messages[recording.at("marker")]
    return scene.rewrite(messages)


@attack("signature-invalid")
def gap_turned_into_marker(scene: Scene) -> Path:
    recording = scene.recording
    place = recording.at("gap")
    recording.records[place] = forge.payload_changed(recording.records[place], kind="marker")
    return scene.rewrite(recording.records)


# --- re-muxed and swapped


def shifted(content: bytes, init_size: int, ticks: int) -> bytes:
    """The same pictures at another time: every tfdt moved."""
    data = bytearray(content)
    at = init_size
    for kind, body, end in boxes.boxes(content, at):
        if kind == b"moof":
            for child, start, stop in boxes.boxes(content, body, end):
                tfdt = boxes.find(content, (b"tfdt",), start, stop) if child == b"traf" else None
                if tfdt is not None:
                    (value,) = struct.unpack_from(">Q", content, tfdt[0] + 4)
                    struct.pack_into(">Q", data, tfdt[0] + 4, value + ticks)
    return bytes(data)


@attack("media-altered")
def remuxed_with_other_times(scene: Scene) -> Path:
    folder = scene.folder()
    path = chunk_file(scene, folder)
    clip = forge.clips()[1]
    path.write_bytes(shifted(clip.content, len(clip.init), 90_000))
    return folder


@attack("media-altered")
def sound_swapped(scene: Scene) -> Path:
    folder = scene.folder()
    path = chunk_file(scene, folder)
    original, other = forge.clips()[1], forge.clips(seed=1)[1]
    path.write_bytes(with_sound_of(original, other))
    return folder


def with_sound_of(clip: forge.Clip, other: forge.Clip) -> bytes:
    """Put the sound samples of another chunk into this one, as far as they fit."""
    tracks = boxes.parse_init(clip.init)
    sound = next(track.track_id for track in tracks.values() if track.kind == "audio")
    parts = [clip.init]
    for mine, theirs in zip(clip.fragments, other.fragments, strict=True):
        data = bytearray(mine)
        runs = [
            next((run.samples for run in boxes.parse_fragment(one, tracks) if run.track_id == sound), [])
            for one in (mine, theirs)
        ]
        for old, new in zip(*runs, strict=False):
            size = min(old.size_bytes, new.size_bytes)
            data[old.offset : old.offset + size] = theirs[new.offset : new.offset + size]
        parts.append(bytes(data))
    return b"".join(parts)


# --- derived files, extra files


@attack("film-differs")
def film_swapped(scene: Scene) -> Path:
    folder = scene.folder()
    (folder / "session.mp4").write_bytes(chunk_file(scene, folder).read_bytes())
    return folder


@attack("film-differs")
def film_cut(scene: Scene) -> Path:
    folder = scene.folder()
    data = (folder / "session.mp4").read_bytes()
    (folder / "session.mp4").write_bytes(data[: len(data) // 2])
    return folder


@attack("film-differs")
def film_subtitle_altered(scene: Scene) -> Path:
    folder = scene.folder()
    data = (folder / "session.mp4").read_bytes()
    assert "摄像部件故障".encode() in data
    (folder / "session.mp4").write_bytes(data.replace("摄像部件故障".encode(), "听证会休会休".encode()))
    return folder


@attack("film-differs")
def film_made_longer(scene: Scene) -> Path:
    folder = scene.folder()
    with (folder / "session.mp4").open("ab") as file:
        file.write(forge.clips(seed=1)[0].fragments[0])
    return folder


@attack("file-missing")
def film_removed(scene: Scene) -> Path:
    folder = scene.folder()
    (folder / "session.mp4").unlink()
    return folder


@attack("file-unlisted")
def second_film_added(scene: Scene) -> Path:
    folder = scene.folder()
    (folder / "session-2.mp4").write_bytes(chunk_file(scene, folder).read_bytes())
    return folder


@attack("file-unlisted")
def extra_file(scene: Scene) -> Path:
    folder = scene.folder()
    (folder / "请先看这个.html").write_text("<p>别的说法</p>")
    return folder


@attack("file-unlisted")
def extra_media(scene: Scene) -> Path:
    folder = scene.folder()
    content = forge.clips(seed=1)[0].content
    (folder / f"evidence/media/{hashlib.sha256(content).hexdigest()}.mp4").write_bytes(content)
    return folder


@attack("file-irregular")
def extra_folder(scene: Scene) -> Path:
    folder = scene.folder()
    (folder / "evidence/media/more").mkdir()
    return folder


@attack("file-irregular")
def symbolic_link(scene: Scene) -> Path:
    folder = scene.folder()
    path = chunk_file(scene, folder)
    outside = scene.tmp / "outside.mp4"
    path.rename(outside)
    path.symlink_to(outside)
    return folder


@attack("file-irregular")
def folder_is_a_symbolic_link(scene: Scene) -> Path:
    folder = scene.folder()
    (folder / "evidence/media").rename(scene.tmp / "media")
    (folder / "evidence/media").symlink_to(scene.tmp / "media")
    return folder


@attack("file-irregular")
def pipe_in_the_package(scene: Scene) -> Path:
    folder = scene.folder()
    (folder / "session.mp4").unlink()
    os.mkfifo(folder / "session.mp4")
    return folder


@attack("file-unlisted")
def name_with_path_trick(scene: Scene) -> Path:
    folder = scene.folder()
    (folder / "evidence/media/..\\..\\evil.mp4").write_bytes(b"x")
    return folder


@attack("report-differs")
def report_forged(scene: Scene) -> Path:
    folder = scene.folder()
    path = folder / "evidence/report.json"
    path.write_text(path.read_text().replace("camera", "adjourned"))
    return folder


@attack("report-differs")
def page_forged(scene: Scene) -> Path:
    folder = scene.folder()
    path = folder / report.PAGE_NAME
    path.write_text(path.read_text().replace("摄像部件故障", "听证会休会"))
    return folder


@attack("derived-not-checked", UNJUDGED)
def page_forged_under_the_name_of_another_version(scene: Scene) -> Path:
    folder = page_forged(scene)
    path = folder / "evidence/report.json"
    path.write_text(path.read_text().replace(report.RENDERER, "liuhen-report/99"))
    return folder


@attack("file-missing")
def page_removed(scene: Scene) -> Path:
    folder = scene.folder()
    (folder / report.PAGE_NAME).unlink()
    return folder


# --- malformed


@attack("record-malformed")
def record_not_canonical(scene: Scene) -> Path:
    messages = scene.recording.records
    parsed = cose.parse(messages[3], 4096)
    payload = cbor.decode_map(parsed.payload)
    backwards = dict(sorted(payload.items(), reverse=True))
    raw = cbor2.dumps(backwards)
    messages[3] = cose.sign(raw, scene.site.device)
    return scene.rewrite(messages)


@attack("record-malformed")
def record_with_duplicate_keys(scene: Scene) -> Path:
    messages = scene.recording.records
    payload = cose.parse(messages[3], 4096).payload
    # One more pair in the map, with a key that is there already.
    size = payload[0] & 0x1F
    doubled = bytes([payload[0] - size + size + 1]) + payload[1:] + cbor2.dumps("v") + cbor2.dumps(1)
    messages[3] = cose.sign(doubled, scene.site.device)
    return scene.rewrite(messages)


@attack("records-unreadable")
def absurd_length(scene: Scene) -> Path:
    messages = scene.recording.records
    return scene.rewrite([*messages, bytes.fromhex("5bffffffffffffffff")])


@attack("records-unreadable")
def absurd_nesting(scene: Scene) -> Path:
    return scene.rewrite([*scene.recording.records, b"\x81" * 5000])


@attack("records-unreadable")
def garbage_behind_the_records(scene: Scene) -> Path:
    return scene.rewrite([*scene.recording.records, b"\xff\x00garbage"])


@attack("records-unreadable")
def record_too_long(scene: Scene) -> Path:
    messages = scene.recording.records
    fields = cose.payload_map(cose.parse(messages[3], 4096))
    messages[3] = cose.sign(cbor.encode(fields | {"more": b"x" * 4096}), scene.site.device)
    return scene.rewrite(messages)


@attack("file-unlisted")
def certificate_that_is_none(scene: Scene) -> Path:
    """Named by its digest like a good one; the chains of the others stand without it."""
    folder = scene.folder()
    (folder / f"evidence/certificates/{hashlib.sha256(b'junk').hexdigest()}.der").write_bytes(b"junk")
    return folder


@attack("record-malformed")
def record_of_an_unknown_version(scene: Scene) -> Path:
    messages = scene.recording.records
    messages[3] = forge.payload_changed(messages[3], scene.site.device, v=99)
    return scene.rewrite(messages)


@attack("record-malformed")
def attestation_in_place_of_a_record(scene: Scene) -> Path:
    messages = scene.recording.records
    receipt = statements.RecordsReceipt(
        store="store-1", utc_ns=1, device="sy-0001", log=b"L" * 16, next_sequence=3, head_sha256=bytes(32)
    )
    messages[3] = statements.sign(receipt, scene.site.store)
    return scene.rewrite(messages)


@attack("file-too-large")
def certificate_of_absurd_size(scene: Scene) -> Path:
    folder = scene.folder()
    data = b"0" * 100_000
    (folder / f"evidence/certificates/{hashlib.sha256(data).hexdigest()}.der").write_bytes(data)
    return folder


# --- certificates and other authorities


@attack("signer-foreign", witness="unwitnessed")
def all_signed_again_under_an_own_authority(scene: Scene) -> Path:
    return scene.repack(forge.record(Site.make("伪造机关"), gap=True))


@attack("attestation-foreign", witness="unwitnessed")
def attestation_by_a_foreign_store(scene: Scene) -> Path:
    recording = scene.recording
    recording.attestation = forge.attest(recording, Site.make("伪造机关"))
    return scene.repack(recording)


@attack("signer-unknown", UNJUDGED)
def certificate_removed(scene: Scene) -> Path:
    folder = scene.folder()
    for path in (folder / "evidence/certificates").iterdir():
        path.unlink()
    return folder


@attack("certificate-misnamed")
def certificate_swapped(scene: Scene) -> Path:
    folder = scene.folder()
    path = next((folder / "evidence/certificates").iterdir())
    path.write_bytes(Site.make("伪造机关").device.certificate)
    return folder


@attack("signer-wrong")
def signed_by_a_transport_key(scene: Scene) -> Path:
    transport = forge.signer_of(scene.site.authority, Role.TRANSPORT, "sy-0001")
    site = replace(scene.site, device=transport)
    return scene.repack(forge.record(site, gap=True))


@attack("signer-wrong")
def signed_by_another_device_of_the_same_authority(scene: Scene) -> Path:
    other = forge.signer_of(scene.site.authority, Role.SIGNING, "sy-0002")
    return scene.repack(forge.record(replace(scene.site, device=other), gap=True))


@attack("attestation-foreign", witness="unwitnessed")
def attestation_signed_by_the_device(scene: Scene) -> Path:
    recording = scene.recording
    recording.attestation = forge.attest(recording, replace(scene.site, store=scene.site.device))
    return scene.repack(recording)


@attack("attestation-invalid", witness="unwitnessed")
def bit_in_the_attestation(scene: Scene) -> Path:
    folder = scene.folder()
    altered = forge.alter(scene.honest.recording.attestation or b"", part="signature")
    (folder / "evidence/attestation.cose").write_bytes(altered)
    return folder


# --- statements replayed and crossed


@attack("attestation-crossed", witness="contradicted")
def attestation_of_another_session(scene: Scene) -> Path:
    other = forge.record(scene.site, session=b"T" * 16, gap=True)
    folder = scene.folder()
    (folder / "evidence/attestation.cose").write_bytes(other.attestation or b"")
    return folder


@attack("attestation-crossed", witness="contradicted")
def attestation_of_another_device(scene: Scene) -> Path:
    folder = scene.folder()
    crossed = forge.attest(scene.recording, device="sy-0002")
    (folder / "evidence/attestation.cose").write_bytes(crossed)
    return folder


@attack("unwitnessed", UNJUDGED, "unwitnessed")
def attestation_removed(scene: Scene) -> Path:
    recording = scene.recording
    recording.attestation = None
    return scene.repack(recording)


@attack("attestation-malformed", witness="unwitnessed")
def receipt_in_place_of_the_attestation(scene: Scene) -> Path:
    head = scene.recording.parsed[-1]
    receipt = statements.RecordsReceipt(
        store="store-1",
        utc_ns=forge.UTC0 + 100 * SECOND,
        device=head.device,
        log=head.log,
        next_sequence=head.sequence + 1,
        head_sha256=head.sha256,
    )
    folder = scene.folder()
    (folder / "evidence/attestation.cose").write_bytes(statements.sign(receipt, scene.site.store))
    return folder


@attack("witness-partial", UNJUDGED, "unwitnessed")
def older_attestation_replayed(scene: Scene) -> Path:
    recording = scene.recording
    early = recording.copy()
    early.records = early.records[:6]
    recording.attestation = forge.attest(early)
    return scene.repack(recording)


@attack("withholding-crossed")
def withholding_of_another_session(scene: Scene) -> Path:
    recording = scene.recording
    recording.withholding = forge.withhold(recording, [(4, 4)], session=b"T" * 16)
    return scene.repack(recording)


@attack("withholding-invalid")
def withholding_by_a_foreign_store(scene: Scene) -> Path:
    recording = scene.recording
    recording.withholding = forge.withhold(recording, [(4, 5)], Site.make("伪造机关"))
    return scene.repack(recording)


@attack("media-absent")
def withheld_without_statement(scene: Scene) -> Path:
    recording = scene.recording
    del recording.media[recording.parsed[recording.at("chunk", 3)].sequence]
    return scene.repack(recording)


@attack("media-absent")
def more_withheld_than_stated(scene: Scene) -> Path:
    recording = scene.recording
    first, second = (recording.parsed[recording.at("chunk", index)].sequence for index in (3, 4))
    recording.withholding = forge.withhold(recording, [(first, first)])
    del recording.media[second]
    return scene.repack(recording)


# --- by the holder of the device's own key: a perfect signature, another past


def signed(scene: Scene, drafts: list[Draft], *, keep_attestation: bool = True) -> Path:
    """Sign another past with the device's key and pack it with the attestation that the store gave for the first."""
    before = forge.before_drafts()
    messages, media = forge.sign_all([*before, *drafts], scene.site)
    made = Recording(scene.site, messages[len(before) :], media)
    made.attestation = scene.honest.recording.attestation if keep_attestation else None
    return scene.repack(made)


@attack("witness-contradicts", witness="contradicted")
def second_past(scene: Scene) -> Path:
    drafts = forge.session_drafts(gap=True)
    drafts[0] = drafts[0].changed(matter="hearing")
    return signed(scene, drafts)


@attack("unwitnessed", UNJUDGED, "unwitnessed")
def second_past_without_attestation(scene: Scene) -> Path:
    drafts = forge.session_drafts(gap=True)
    drafts[0] = drafts[0].changed(matter="hearing")
    return signed(scene, drafts, keep_attestation=False)


@attack("witness-contradicts", witness="contradicted")
def fork_in_the_middle(scene: Scene) -> Path:
    recording = scene.recording
    place = recording.at("chunk", 4)
    drafts = forge.session_drafts(gap=True)[place:]
    for draft in drafts:
        draft.boottime_ns += SECOND // 20
    start = recording.parsed[place].sequence
    tail, media = forge.sign_all(drafts, scene.site, start=start, previous=recording.parsed[place - 1].sha256)
    recording.records[place:] = tail
    recording.media.update(media)
    return scene.repack(recording)


@attack("witness-contradicts", witness="contradicted")
def backdated(scene: Scene) -> Path:
    drafts = forge.session_drafts(gap=True)
    for draft in drafts:
        draft.utc_offset_ns -= 24 * 3600 * SECOND
    return signed(scene, drafts)


@attack("attestation-crossed", witness="contradicted")
def new_genesis(scene: Scene) -> Path:
    before, drafts = forge.before_drafts(), forge.session_drafts(gap=True)
    for draft in (*before, *drafts):
        draft.log = b"N" * 16
    messages, media = forge.sign_all([*before, *drafts], scene.site)
    return scene.repack(Recording(scene.site, messages[1:], media, scene.honest.recording.attestation))


@attack("tail-missing", witness="contradicted")
def own_tail_cut_and_closed_early(scene: Scene) -> Path:
    drafts = forge.session_drafts(gap=False)[:-2]
    drafts.append(forge.close_draft(drafts))
    return signed(scene, drafts)


@attack("session-unclosed", UNJUDGED, "unwitnessed")
def own_tail_cut_before_the_store_had_it(scene: Scene) -> Path:
    return signed(scene, forge.session_drafts()[:-3], keep_attestation=False)


@attack("attestation-crossed", witness="contradicted")
def recorded_again_as_another_session(scene: Scene) -> Path:
    return signed(scene, forge.session_drafts(b"R" * 16, gap=True))


@attack("witness-contradicts", witness="contradicted")
def marker_stripped_and_signed_again(scene: Scene) -> Path:
    drafts = [one for one in forge.session_drafts(gap=True) if not isinstance(one.body, records.Marker)]
    drafts.insert(-1, forge.details_draft(b"S" * 16, 900, "after", drafts[-2].boottime_ns))
    return signed(scene, drafts)


@attack("hole-without-gap", witness="contradicted")
def gap_stripped_and_signed_again(scene: Scene) -> Path:
    return signed(scene, [one for one in forge.session_drafts(gap=True) if not isinstance(one.body, records.Gap)])


@attack("time-after-receipt", witness="contradicted")
def clock_swapped_before_the_store_had_it(scene: Scene) -> Path:
    drafts = forge.session_drafts(gap=True)
    for draft in drafts:
        draft.utc_offset_ns += 3600 * SECOND
    recording = forge.record(scene.site, drafts)
    last = recording.parsed[-1]
    received = [(1, last.sequence, forge.UTC0 + 60 * SECOND)]
    recording.attestation = forge.attest(recording, received=received, utc_ns=forge.UTC0 + 61 * SECOND)
    return scene.repack(recording)


@attack("clock-moved", UNJUDGED)
def clock_swapped_in_the_middle(scene: Scene) -> Path:
    drafts = forge.session_drafts(gap=True)
    for draft in drafts[6:]:
        draft.utc_offset_ns -= 1800 * SECOND
    return scene.repack(forge.record(scene.site, drafts))


@attack("boottime-back")
def boot_time_falls(scene: Scene) -> Path:
    drafts = forge.session_drafts(gap=True)
    drafts[5].boottime_ns = BOOT0
    drafts[5].utc_offset_ns = drafts[4].utc_offset_ns
    return scene.repack(forge.record(scene.site, drafts))


@attack("boot-missing")
def another_boot_without_a_boot_record(scene: Scene) -> Path:
    drafts = forge.session_drafts(gap=True)
    for draft in drafts[5:]:
        draft.boot = b"C" * 16
    return scene.repack(forge.record(scene.site, drafts))


@attack("chunk-number")
def chunk_left_out_and_signed_again(scene: Scene) -> Path:
    drafts = forge.session_drafts(gap=True)
    del drafts[5]
    drafts[-1] = drafts[-1].changed(chunks=11)
    return scene.repack(forge.record(scene.site, drafts))


@attack("media-overlap")
def old_chunk_replayed_and_signed_again(scene: Scene) -> Path:
    drafts = forge.session_drafts(gap=False)
    replayed = forge.chunk_draft(forge.clips()[0], 6, 7, b"S" * 16)
    replayed.boottime_ns = drafts[-2].boottime_ns + SECOND // 10
    drafts.insert(-1, replayed)
    drafts[-1] = drafts[-1].changed(chunks=7)
    return scene.repack(forge.record(scene.site, drafts))


@attack("account-wrong")
def account_claims_more_frames(scene: Scene) -> Path:
    drafts = forge.session_drafts(gap=False)
    body = drafts[2].body
    assert isinstance(body, records.Chunk)
    more = msgspec.structs.replace(body.tracks["video"], frames_written=51, frames_received=51)
    drafts[2] = drafts[2].changed(tracks=body.tracks | {"video": more})
    return scene.repack(forge.record(scene.site, drafts))


@attack("close-contradicted")
def close_claims_other_chunks(scene: Scene) -> Path:
    drafts = forge.session_drafts(gap=False)
    drafts[-1] = drafts[-1].changed(chunks=5)
    return scene.repack(forge.record(scene.site, drafts))


@attack("media-number-repeated")
def file_number_used_twice(scene: Scene) -> Path:
    drafts = forge.session_drafts(gap=False)
    drafts[3] = drafts[3].changed(media=1)
    return scene.repack(forge.record(scene.site, drafts))


@attack("certificate-not-valid", UNJUDGED)
def signed_with_a_key_that_had_expired(scene: Scene) -> Path:
    import datetime as dt

    start = dt.datetime.fromtimestamp(forge.UTC0 / SECOND, dt.UTC) - dt.timedelta(days=60)
    old = forge.signer_of(scene.site.authority, Role.SIGNING, "sy-0001", start, days=30)
    return scene.repack(forge.record(replace(scene.site, device=old), gap=True))


@attack("fork-known", UNJUDGED)
def fork_that_the_store_knows_of(scene: Scene) -> Path:
    recording = scene.recording
    branch = statements.Branch(sequence=5, sha256=b"x" * 32, classed="fork")
    recording.attestation = forge.attest(recording, branches=[branch])
    return scene.repack(recording)


@attack("later-missing", witness="contradicted")
def later_record_not_shown(scene: Scene) -> Path:
    recording = scene.recording
    recording.attestation = forge.attest(recording, later=[99])
    return scene.repack(recording)


def later_record(scene: Scene, text: str) -> Recording:
    """The honest session with one record behind its close."""
    recording = scene.recording
    last = recording.parsed[-1]
    body = records.Marker(marker=text, at_boottime_ns=last.boottime_ns, basis="later")
    draft = Draft(body, last.boottime_ns + 60 * SECOND, b"S" * 16)
    recording.records += forge.sign_all([draft], scene.site, start=last.sequence + 40, previous=b"p" * 32)[0]
    return recording


@attack("session-mixed")
def record_of_no_session_behind_the_close(scene: Scene) -> Path:
    """A clock record that nobody attested would explain a moved clock, a lost record a hole."""
    recording = scene.recording
    last = recording.parsed[-1]
    body = records.Lost(first_sequence=3, last_sequence=4, reason="unreadable")
    draft = Draft(body, last.boottime_ns + SECOND, None)
    recording.records += forge.sign_all([draft], scene.site, start=last.sequence + 1, previous=last.sha256)[0]
    return scene.repack(recording)


@attack("witness-contradicts", witness="contradicted")
def later_record_signed_again(scene: Scene) -> Path:
    recording = later_record(scene, "false")
    recording.attestation = forge.attest(later_record(scene, "true"))
    return scene.repack(recording)


@attack("witness-partial", UNJUDGED, "unwitnessed")
def later_record_that_the_store_names_without_its_digest(scene: Scene) -> Path:
    recording = later_record(scene, "true")
    recording.attestation = forge.attest(recording, later_sha256=[])
    return scene.repack(recording)


@attack("standing-doubted", UNJUDGED, "unwitnessed")
def log_that_the_store_doubts(scene: Scene) -> Path:
    recording = scene.recording
    recording.attestation = forge.attest(recording, standing="quarantined")
    return scene.repack(recording)


@pytest.mark.parametrize("name", ATTACKS)
def test_attack(name: str, honest: Sample, site: Site, tmp_path: Path) -> None:
    function, exit_code, code, witness = ATTACKS[name]
    verdict = judge(function(Scene(honest, site, tmp_path)), site)
    codes = [finding.code for finding in verdict.findings]
    assert code in codes
    assert verdict.exit_code == exit_code, codes
    assert witness is None or verdict.witness == witness
    for finding in verdict.findings:
        assert finding.sentence("zh")
        assert finding.sentence("en")


def test_certificates_that_are_none_break_no_chain(honest: Sample, site: Site, tmp_path: Path) -> None:
    folder = honest.copy(tmp_path / "package")
    for number in range(20):
        junk = bytes([number]) * 40
        (folder / f"evidence/certificates/{hashlib.sha256(junk).hexdigest()}.der").write_bytes(junk)
    assert {finding.code for finding in judge(folder, site).findings} == {"file-unlisted"}


BOMBS = {
    "records of one byte": ("evidence/records.cborseq", bytes(8 << 20)),
    "empty lists in the report": ("evidence/report.json", b"[" + b"[]," * (16 << 20) + b"[]]"),
}


@pytest.mark.parametrize("name", BOMBS)
def test_what_a_stranger_writes_takes_no_memory_to_refuse(
    name: str, honest: Sample, site: Site, tmp_path: Path
) -> None:
    folder = honest.copy(tmp_path / "package")
    path, data = BOMBS[name]
    (folder / path).write_bytes(data)
    code, said = limited(folder, site)
    assert code == BROKEN, said[-2000:]


def test_many_chunks_gaps_and_withheld_ranges_take_no_time(honest: Sample) -> None:
    recording = honest.recording
    ranges = [(number, number) for number in range(100, 200_000)]
    withheld = statements.parse(forge.withhold(recording, [*ranges, (3, 4)]), statements.Withholding)
    many = recording.parsed * 2000
    began = time.monotonic()
    line = timeline.collect(many, None, withheld)
    assert set(line.withheld) == {3, 4}
    assert time.monotonic() - began < 5


def test_there_are_enough() -> None:
    assert len(ATTACKS) >= 45
    by_key = [name for name, entry in ATTACKS.items() if entry[3] in ("contradicted", "unwitnessed")]
    assert len(by_key) >= 8


def test_undamaged_package_yields_no_finding(honest: Sample, site: Site) -> None:
    verdict = judge(honest.folder, site)
    assert verdict.findings == ()
    assert (verdict.exit_code, verdict.integrity, verdict.completeness, verdict.witness) == (
        0,
        "intact",
        "gaps",
        "attested",
    )
    assert verdict.checked.media == 13
    assert set(verdict.checked.derived) >= {"session.mp4", report.PAGE_NAME, "evidence/report.json"}
    assert [note.code for note in verdict.notes] == ["gap"]
    assert verdict.notes[0].sentence("zh") == "因摄像部件故障中断，时长5.9秒（声音、画面）。（片中0:00:12–0:00:17）"


def test_every_media_bit_counts(honest: Sample, site: Site, tmp_path: Path) -> None:
    """A bit at each of many places of each file: none goes unnoticed."""
    for index, path in enumerate(sorted(path for path in honest.folder.rglob("*") if path.is_file())):
        folder = honest.copy(tmp_path / str(index))
        target = folder / path.relative_to(honest.folder)
        flip(target, (index * 7919) % target.stat().st_size)
        assert judge(folder, site).exit_code in (1, 2), path.name


def test_every_finding_code_is_an_attack_or_a_note() -> None:
    """Codes that no attack here raises are raised in other tests or by a spool."""
    elsewhere = {
        *{"genesis-wrong", "boot-head-wrong", "head-contradicted", "stream-missing", "open-repeated"},
        *{"stored-altered", "media-unreadable", "init-altered", "init-changed", "part-wrong", "time-wrong"},
        *{"no-anchor", "body-malformed", "media-sealed", "media-not-here", "store-certificate-not-valid"},
        *{"chain-broken", "records-lost", "code-differs", "code-beyond"},
    }
    raised = {entry[2] for entry in ATTACKS.values()}
    serious = {code for code, kind in CODES.items() if kind.effect is not Effect.NOTE}
    assert serious - raised == elsewhere
