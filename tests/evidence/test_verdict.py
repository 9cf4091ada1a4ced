"""Verdicts on honest sessions of every shape, and on what cannot be judged."""

from __future__ import annotations

import datetime as dt
import hashlib
import re
from dataclasses import replace
from typing import TYPE_CHECKING

import msgspec
import pytest

from keys.certificates import Anchors, Role
from recorder.evidence import accounting, chain, inspection, records, statements, texts, verdict, witness
from recorder.evidence.errors import PackageError
from recorder.evidence.findings import CODES
from recorder.evidence.package import write_package
from tests.evidence.conftest import Sample, judge, write
from tests.support import forge
from tests.support.forge import BOOT0, SECOND, Draft, Site

if TYPE_CHECKING:
    from pathlib import Path


def codes(result: verdict.Verdict) -> list[str]:
    return [finding.code for finding in result.findings]


def test_plain_session_is_closed(site: Site, tmp_path: Path) -> None:
    result = judge(write(forge.record(site), tmp_path / "p"), site)
    assert (result.exit_code, result.completeness, result.findings, result.notes) == (0, "closed", (), ())


def test_session_without_media_is_sound(site: Site, tmp_path: Path) -> None:
    drafts = forge.session_drafts()
    close = drafts[-1].changed(chunks=0)
    result = judge(write(forge.record(site, [drafts[0], close]), tmp_path / "p"), site)
    assert (result.exit_code, result.findings) == (0, ())


def test_withheld_with_statement_is_listed_and_verifies(site: Site, tmp_path: Path) -> None:
    recording = forge.record(site, gap=True)
    first, last = (recording.parsed[recording.at("chunk", index)].sequence for index in (2, 4))
    recording.withholding = forge.withhold(recording, [(first, last)])
    folder = write(recording, tmp_path / "p")
    assert len(list((folder / "evidence/media").glob("*.mp4"))) == 9
    result = judge(folder, site)
    assert (result.exit_code, result.completeness, result.findings) == (0, "withheld", ())
    assert [note.code for note in result.notes].count("media-withheld") == 3
    assert "涉及商业秘密".encode() in (folder / "session.mp4").read_bytes()


def test_everything_withheld_leaves_no_film(site: Site, tmp_path: Path) -> None:
    recording = forge.record(site)
    recording.withholding = forge.withhold(recording, [(0, 99)])
    folder = write(recording, tmp_path / "p")
    assert not (folder / "session.mp4").exists()
    assert judge(folder, site).exit_code == 0


def test_without_anchor_the_best_is_cannot_be_judged(honest: Sample) -> None:
    result = inspection.judge_package(honest.folder, Anchors([]))
    assert codes(result) == ["no-anchor", "unwitnessed"]
    assert (result.exit_code, result.integrity, result.witness) == (2, "unjudged", "unwitnessed")


def test_wrong_anchor_is_a_violation(honest: Sample) -> None:
    result = judge(honest.folder, Site.make("另一机关"))
    assert codes(result) == ["signer-foreign", "attestation-foreign", "unwitnessed"]
    assert result.exit_code == 1


def test_unclosed_session_cannot_be_judged(site: Site, tmp_path: Path) -> None:
    recording = forge.record(site, close=False)
    result = judge(write(recording, tmp_path / "p"), site)
    assert (result.exit_code, result.completeness, codes(result)) == (2, "unclosed", ["session-unclosed"])


def test_media_not_yet_at_the_store_cannot_be_judged(site: Site, tmp_path: Path) -> None:
    recording = forge.record(site)
    sequence = recording.parsed[recording.at("chunk", 2)].sequence
    recording.attestation = forge.attest(recording, media_missing=[sequence])
    del recording.media[sequence]
    result = judge(write(recording, tmp_path / "p"), site)
    assert (result.exit_code, result.completeness, codes(result)) == (2, "missing", ["media-not-here"])


def test_unknown_kind_is_kept_and_listed(site: Site, tmp_path: Path) -> None:
    drafts = forge.session_drafts()
    drafts.insert(3, Draft(records.Fault(code="x"), drafts[2].boottime_ns, b"S" * 16, kind="aura"))
    result = judge(write(forge.record(site, drafts), tmp_path / "p"), site)
    assert (result.exit_code, result.integrity) == (0, "intact")
    assert [note.code for note in result.notes] == ["kind-unknown"]


def test_unknown_field_survives(site: Site, tmp_path: Path) -> None:
    recording = forge.record(site)
    place = recording.at("session-close")
    body = msgspec.to_builtins(recording.parsed[place].body, builtin_types=(bytes,)) | {"mood": "calm"}
    recording.records[place] = forge.payload_changed(recording.records[place], site.device, body=body)
    recording.attestation = forge.attest(recording)
    assert judge(write(recording, tmp_path / "p"), site).exit_code == 0


def test_malformed_body_of_a_known_kind_cannot_be_judged(site: Site, tmp_path: Path) -> None:
    drafts = forge.session_drafts()
    drafts[-1] = drafts[-1]
    recording = forge.record(site, drafts)
    place = recording.at("marker")
    recording.records[place] = forge.payload_changed(recording.records[place], site.device, body={})
    start, previous = recording.parsed[place].sequence, recording.parsed[place].sha256
    tail, _ = forge.sign_all(drafts[place + 1 :], site, start=start + 1, previous=previous)
    recording.records[place + 1 :] = tail
    recording.attestation = forge.attest(recording)
    result = judge(write(recording, tmp_path / "p"), site)
    assert (result.exit_code, codes(result)) == (2, ["body-malformed"])


def test_later_record_belongs_to_the_session(site: Site, tmp_path: Path) -> None:
    """Between the close and a later record the log may hold other people's sessions, which a package does not show."""
    recording = forge.record(site)
    last = recording.parsed[-1]
    later = forge.details_draft(b"S" * 16, 50, "after", last.boottime_ns + 60 * SECOND)
    messages, media = forge.sign_all([later], site, start=last.sequence + 40, previous=b"p" * 32)
    recording.records += messages
    recording.media.update(media)
    recording.attestation = forge.attest(recording)
    result = judge(write(recording, tmp_path / "p"), site)
    assert (result.exit_code, result.findings) == (0, ())


def test_process_restart_leaves_a_boot_record_and_a_note(site: Site, tmp_path: Path) -> None:
    drafts = forge.session_drafts()
    before = forge.before_drafts()
    messages, media = forge.sign_all([*before, *drafts[:4]], site)
    found = records.parse(messages[-1])
    boot = records.Boot(
        found_sequence=found.sequence, found_sha256=found.sha256, reason="restart", software="liuhen 0.1.0"
    )
    rest, more = forge.sign_all(
        [Draft(boot, drafts[3].boottime_ns, None), *drafts[4:]], site, start=len(messages), previous=found.sha256
    )
    recording = forge.Recording(site, [*messages[1:], *rest], media | more)
    recording.attestation = forge.attest(recording)
    result = judge(write(recording, tmp_path / "p"), site)
    assert (result.exit_code, [note.code for note in result.notes]) == (0, ["boot"])


def test_boot_record_that_names_another_head(site: Site) -> None:
    before = forge.before_drafts()
    messages, _ = forge.sign_all(before, site)
    boot = records.Boot(found_sequence=0, found_sha256=b"x" * 32, reason="restart", software="s")
    more, _ = forge.sign_all([Draft(boot, BOOT0, None)], site, start=1, previous=records.parse(messages[0]).sha256)
    found = chain.check_log([records.parse(message) for message in [*messages, *more]])
    assert [one.code for one in found] == ["boot-head-wrong"]


def test_declared_clock_step_is_no_finding(site: Site, tmp_path: Path) -> None:
    drafts = forge.session_drafts()
    for draft in drafts[5:]:
        draft.utc_offset_ns += 90 * SECOND
    at = drafts[4].boottime_ns
    step = records.Clock(
        source="step", bound_utc_ns=at + drafts[5].utc_offset_ns, bound_boottime_ns=at, step_ns=90 * SECOND
    )
    drafts.insert(5, Draft(step, at, b"S" * 16, utc_offset_ns=drafts[5].utc_offset_ns))
    result = judge(write(forge.record(site, drafts), tmp_path / "p"), site)
    assert (result.exit_code, result.findings) == (0, ())


def test_clock_that_is_set_at_last_is_no_finding(site: Site, tmp_path: Path) -> None:
    drafts = forge.session_drafts()
    for draft in drafts[:5]:
        draft.clock, draft.utc_offset_ns = "unset", 0
    result = judge(write(forge.record(site, drafts), tmp_path / "p"), site)
    assert (result.exit_code, result.findings) == (0, ())


def test_unset_clock_is_shown_in_the_film(site: Site, tmp_path: Path) -> None:
    drafts = forge.session_drafts()
    for draft in drafts:
        draft.clock, draft.utc_offset_ns = "unset", 0
    recording = forge.record(site, drafts)
    received = [(1, recording.parsed[-1].sequence, forge.UTC0)]
    recording.attestation = forge.attest(recording, received=received, utc_ns=forge.UTC0)
    folder = write(recording, tmp_path / "p")
    film = (folder / "session.mp4").read_bytes()
    assert "时间未校准 0:00:03".encode() in film
    assert b"1970-" not in film
    assert "时间未校准" in (folder / "请先打开.html").read_text()
    assert judge(folder, site).exit_code == 0


def test_new_init_segment_begins_a_new_film(site: Site, tmp_path: Path) -> None:
    drafts = forge.session_drafts(count=2)[:-1]
    for index, clip in enumerate(forge.clips(2, 4.0, (192, 128))):
        drafts.append(forge.chunk_draft(clip, 2 + index, 3 + index, b"S" * 16, part=1))
    drafts.append(forge.close_draft(drafts))
    folder = write(forge.record(site, drafts), tmp_path / "p")
    assert (folder / "session-2.mp4").exists()
    result = judge(folder, site)
    assert (result.exit_code, result.findings) == (0, ())
    assert "session-2.mp4" in result.checked.derived


@pytest.mark.parametrize(
    ("code", "change"),
    [
        ("init-altered", {"init_sha256": b"x" * 32}),
        ("part-wrong", {"part": 5}),
        ("time-wrong", {"start_boottime_ns": BOOT0 + 60 * SECOND}),
        ("account-wrong", {"fragments": 3}),
        ("account-wrong", {"continues": True}),
    ],
)
def test_wrong_account_of_a_chunk(code: str, change: dict[str, object], site: Site, tmp_path: Path) -> None:
    drafts = forge.session_drafts()
    drafts[3] = drafts[3].changed(**change)
    result = judge(write(forge.record(site, drafts), tmp_path / "p"), site)
    assert code in codes(result)
    assert result.exit_code == 1


def test_init_that_changes_without_a_new_part(site: Site, tmp_path: Path) -> None:
    drafts = forge.session_drafts(count=2)[:-1]
    drafts.append(forge.chunk_draft(forge.clips(1, 4.0, (192, 128))[0], 2, 3, b"S" * 16))
    drafts.append(forge.close_draft(drafts))
    assert "init-changed" in codes(judge(write(forge.record(site, drafts), tmp_path / "p"), site))


def test_media_that_is_no_fragmented_mp4(site: Site, tmp_path: Path) -> None:
    drafts = forge.session_drafts()
    draft = drafts[3]
    clip = forge.clips()[1]
    content = clip.init + b"\0\0\0\x10moof" + bytes(8)
    draft.content = content
    draft.body = msgspec.structs.replace(
        draft.body, content_sha256=hashlib.sha256(content).digest(), content_size_bytes=len(content)
    )
    assert "media-unreadable" in codes(judge(write(forge.record(site, drafts), tmp_path / "p"), site))


def test_second_opening_and_foreign_session_inside(site: Site, tmp_path: Path) -> None:
    drafts = forge.session_drafts()
    drafts.insert(4, replace(drafts[0], boottime_ns=drafts[3].boottime_ns))
    drafts.insert(5, forge.details_draft(b"T" * 16, 77, boottime=drafts[3].boottime_ns))
    found = codes(judge(write(forge.record(site, drafts), tmp_path / "p"), site))
    assert {"open-repeated", "session-mixed"} <= set(found)


def test_chain_broken_and_genesis_in_the_wrong_place(site: Site) -> None:
    drafts = [*forge.before_drafts(), *forge.session_drafts()]
    drafts[4].previous = b"x" * 32
    drafts.insert(6, replace(forge.before_drafts()[0], boottime_ns=drafts[6].boottime_ns))
    messages, _ = forge.sign_all(drafts, site)
    found = [one.code for one in chain.check_log([records.parse(message) for message in messages])]
    assert found == ["chain-broken", "genesis-wrong"]


def test_records_that_the_device_lost_and_says_so(site: Site) -> None:
    drafts = [*forge.before_drafts(), *forge.session_drafts()]
    lost = records.Lost(first_sequence=3, last_sequence=4, reason="unreadable")
    drafts.append(Draft(lost, drafts[-1].boottime_ns, None))
    parsed = [records.parse(message) for message in forge.sign_all(drafts, site)[0]]
    assert [one.code for one in chain.check_log(parsed[:3] + parsed[5:])] == ["records-lost"]
    assert [one.code for one in chain.check_log(parsed[:3] + parsed[6:])] == ["sequence-missing"]


def test_heads_of_the_device_log_show_a_missing_stream(site: Site) -> None:
    camera, _ = forge.sign_all([*forge.before_drafts(), *forge.session_drafts()], site)
    hashes = {b"L" * 16: {one.sequence: one.sha256 for one in map(records.parse, camera)}}
    heads = [
        (1, b"L" * 16, 5, hashes[b"L" * 16][5]),
        (2, b"Q" * 16, 9, b"q" * 32),
        (1, b"L" * 16, 6, b"z" * 32),
        (1, b"L" * 16, 999, b"z" * 32),
    ]
    messages, _ = forge.sign_all([Draft(records.Heads(heads=heads), BOOT0, None, log=b"D" * 16, stream=0)], site)
    found = [one.code for one in chain.check_heads([records.parse(messages[0])], hashes)]
    assert found == ["stream-missing", "head-contradicted", "stream-missing"]
    parsed = [records.parse(message) for message in camera]
    assert not list(chain.check_device_head(parsed, [{7: b"h" * 32}, {7: b"y" * 32, 9: b"i" * 32}]))
    assert [one.code for one in chain.check_device_head(parsed, [{7: b"y" * 32}])] == ["head-contradicted"]


def test_store_certificate_that_was_not_valid(site: Site, tmp_path: Path) -> None:
    start = dt.datetime.fromtimestamp(forge.UTC0 / SECOND, dt.UTC) - dt.timedelta(days=60)
    old = replace(site, store=forge.signer_of(site.authority, Role.RECEIPT, "store-1", start, days=30))
    result = judge(write(forge.record(old), tmp_path / "p"), site)
    assert (result.exit_code, codes(result)) == (2, ["store-certificate-not-valid"])


def test_statement_for_another_store_than_its_certificate(site: Site, tmp_path: Path) -> None:
    recording = forge.record(site)
    recording.attestation = forge.attest(recording, store="store-9")
    assert judge(write(recording, tmp_path / "p"), site).witness == "unwitnessed"


def test_stored_form_is_checked_by_both_digests(site: Site) -> None:
    draft = forge.chunk_draft(forge.clips()[0], 0, 1, b"S" * 16)
    clip = forge.clips()[0]
    data = forge.stored_form(clip.content, draft, 1, clip, "sy-0001")
    whole = accounting.from_stored(data)
    assert whole.data == clip.content
    (message,), _ = forge.sign_all([draft], site)
    record = records.parse(message)
    assert record.file is not None
    assert not list(accounting.check_file(record, record.file, whole))
    for at in (3, 40, len(data) // 2, len(data) - 1):
        altered = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
        found = [one.code for one in accounting.check_file(record, record.file, accounting.from_stored(altered))]
        assert "stored-altered" in found
    assert accounting.from_stored(b"").content_sha256 is not None


def test_receipts_of_a_spool_are_a_witness(site: Site) -> None:
    recording = forge.record(site, attested=False)
    parsed = recording.parsed
    last = parsed[-1]
    receipt = statements.RecordsReceipt(
        store="store-1",
        utc_ns=forge.UTC0 + 99 * SECOND,
        device="sy-0001",
        log=last.log,
        next_sequence=last.sequence + 1,
        head_sha256=last.sha256,
    )
    evidence = verdict.Evidence(
        messages=recording.records,
        certificates=site.certificates,
        contents=lambda files: (
            accounting.Content(recording.media[one.sequence], hashlib.sha256(recording.media[one.sequence]).digest())
            for one in files
        ),
        receipts=witness.Receipts([statements.sign(receipt, site.store)], site.anchors),
    )
    result = verdict.judge(evidence, site.anchors)
    assert (result.exit_code, result.witness, result.witness_utc_ns) == (0, "attested", receipt.utc_ns)
    wrong = statements.sign(msgspec.structs.replace(receipt, head_sha256=b"x" * 32), site.store)
    contradicted = verdict.judge(replace(evidence, receipts=witness.Receipts([wrong], site.anchors)), site.anchors)
    assert (contradicted.exit_code, contradicted.witness) == (1, "contradicted")
    shorter = statements.sign(
        msgspec.structs.replace(receipt, next_sequence=last.sequence, head_sha256=parsed[-2].sha256), site.store
    )
    other = statements.sign(msgspec.structs.replace(receipt, device="sy-0002", head_sha256=b"x" * 32), site.store)
    for unfit in (shorter, other):
        kept = witness.Receipts([unfit], site.anchors)
        assert verdict.judge(replace(evidence, receipts=kept), site.anchors).witness == "unwitnessed"


def test_a_package_is_only_written_into_a_new_folder(site: Site, tmp_path: Path) -> None:
    recording = forge.record(site)
    (tmp_path / "p").mkdir()
    with pytest.raises(PackageError):
        write(recording, tmp_path / "p")


def test_a_package_is_written_whole_or_not_at_all(site: Site, tmp_path: Path) -> None:
    recording = forge.record(site)
    with pytest.raises(PackageError):
        write_package(
            tmp_path / "p",
            records=recording.records,
            attestation=recording.attestation,
            certificates=site.certificates,
            media=lambda _: b"another file",
        )
    assert list(tmp_path.iterdir()) == []


def test_not_a_package(tmp_path: Path, site: Site) -> None:
    with pytest.raises(PackageError):
        judge(tmp_path, site)


def test_every_code_has_a_sentence_in_both_languages() -> None:
    for code in CODES:
        assert texts.known(f"found.{code}"), code
    for text_id in texts.ids():
        for language in texts.LANGUAGES:
            assert isinstance(texts._catalogue()[text_id][language], str), text_id
    assert {one[6:] for one in texts.ids() if one.startswith("found.")} == set(CODES)


def test_both_languages_fill_in_the_same_names() -> None:
    for text_id in texts.ids():
        names = [set(re.findall(r"\{(\w+)\}", texts._catalogue()[text_id][language])) for language in texts.LANGUAGES]
        assert names[0] == names[1], text_id


def test_lengths_and_moments_in_words() -> None:
    assert [texts.length(value) for value in (0, 400_000_000, 9_990_000_000, 61 * SECOND, 3600 * SECOND)] == [
        "0秒",
        "0.4秒",
        "9.9秒",
        "1分1秒",
        "1小时",
    ]
    assert texts.length(3661 * SECOND, "en") == "1 h 1 min 1 s"
    assert texts.clock_length(3_723 * SECOND) == "1:02:03"
    assert texts.moment(0) == "1970-01-01 08:00:00"
    assert texts.moment(-1) is None
    assert texts.moment(10**30) is None
    assert texts.named("gap", "a cause of later") == "a cause of later"
    assert texts.named("gap", "x" * 200 + "\n") == "x" * 64


def test_findings_say_where_in_the_film_to_look(honest: Sample, tmp_path: Path) -> None:
    folder = honest.copy(tmp_path / "p")
    record = [one for one in honest.recording.parsed if one.kind == "chunk"][1]
    assert record.file is not None
    path = folder / f"evidence/media/{record.file.content_sha256.hex()}.mp4"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    result = judge(folder, honest.recording.site)
    (altered,) = [one for one in result.findings if one.code == "media-altered"]
    assert altered.sentence("zh").startswith(f"记录第{record.sequence}号")
    assert altered.sentence("zh").endswith("（片中0:00:02–0:00:04）")
    assert altered.sentence("en").endswith(" (film 0:00:02–0:00:04)")
    (gap,) = [one for one in result.notes if one.code == "gap"]
    assert gap.sentence("zh").endswith("（片中0:00:12–0:00:17）")
    messages = honest.recording.copy().records
    place = honest.recording.at("marker")
    messages[place] = forge.alter(messages[place], part="signature")
    (folder / "evidence/records.cborseq").write_bytes(b"".join(messages))
    (signature,) = [one for one in judge(folder, honest.recording.site).findings if one.code == "signature-invalid"]
    assert signature.sentence("zh").endswith("（片中0:00:04）")
