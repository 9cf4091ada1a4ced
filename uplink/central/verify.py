"""Judging a store as an outsider would: by its records, files and attestations, without any private key.

The index only says where things are. What it claims of them counts for nothing here: signatures, digests and the chain
are checked again, and a session is witnessed by the attestation that was signed when it was complete.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from recorder.evidence import accounting, chain, inspection, records, verdict
from recorder.evidence.findings import found
from recorder.evidence.signers import Signers
from recorder.evidence.timeline import Timeline
from recorder.verify import stored_content
from uplink.central import attest
from uplink.central.embedded import EmbeddedArchive

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from keys.certificates import Anchors
    from recorder.evidence.accounting import Content
    from recorder.evidence.findings import Finding
    from recorder.evidence.records import Record
    from recorder.evidence.verdict import Verdict


def judge_store(folder: Path, anchors: Anchors) -> Iterator[Verdict]:
    """Judge each log of each device as a whole, then each session in it.

    A session that is not wholly here carries no attestation yet; it is unwitnessed, and cannot be judged.

    Raises:
        NotAStoreError: the folder is no store.
        StoreFailedError: its index cannot be read.
    """
    archive = EmbeddedArchive(folder, read_only=True)
    try:
        for device in archive.known_devices():
            yield from _judge_device(archive, device, anchors)
    finally:
        archive.close()


def _judge_device(archive: EmbeddedArchive, device: str, anchors: Anchors) -> Iterator[Verdict]:
    certificates = archive.certificates(device)
    signers = Signers(certificates, anchors)
    logs = [(log, *_read_log(archive, device, log)) for log, _ in archive.logs(device)]
    hashes = {log: {record.sequence: record.sha256 for record in parsed} for log, parsed, _ in logs}
    device_logs = [record for _, parsed, _ in logs for record in parsed if record.stream == 0]
    clocks = [record for record in device_logs if record.kind == "clock"]
    heads = list(chain.check_heads(device_logs, hashes))
    states = archive.sessions(device)
    for log, parsed, known in logs:
        findings = [*known, *signers.check(parsed), *chain.check_log(parsed, None, clocks)]
        if parsed and parsed[0].stream == 0:
            findings += heads
        yield verdict.conclude(Timeline(None, tuple(parsed)), findings, verdict.Checked(records=len(parsed)), None)
        for state in (one for one in states if one.log == log):
            try:
                with archive.snapshot():
                    entries = attest.session_entries(archive, state)
                    entries += attest.later_entries(archive, state, entries[-1])
                    attestation = archive.attestation(state)
            except attest.NotAttestableError:
                continue  # the findings of its log say what is missing
            evidence = verdict.Evidence(
                messages=[entry.message for entry in entries],
                certificates=certificates,
                contents=lambda files: contents_of(archive, files),
                attestation=attestation,
                session=state.session,
                files_expected=attestation is not None,
                hashes=hashes[log],
                clocks=clocks,
            )
            yield verdict.judge(evidence, anchors, signers=signers)


def _read_log(archive: EmbeddedArchive, device: str, log: bytes) -> tuple[list[Record], list[Finding]]:
    """Return the records of the branch that the device follows, and what is known of other ones."""
    branch = archive.followed_branch(device, log)
    parsed = [records.parse(entry.message) for entry in archive.entries(device, log, 0, records.MAX_SEQUENCE, branch)]
    findings = []
    for other in archive.branches(device, log, 0, records.MAX_SEQUENCE):
        code = "tail-lost-known" if other.classed == "tail-lost" else "fork-known"
        at = next((record for record in parsed if record.sequence == other.sequence), None)
        findings.append(found(code, at, at=other.sequence))
    return parsed, findings


def contents_of(archive: EmbeddedArchive, files: Sequence[Record]) -> Iterator[Content]:
    """Yield the files of records, in their order, as they lie in the store."""
    # The index belongs to this thread; only the reading of files is shared out.
    paths: dict[bytes, Path] = {}
    for record in files:
        for file in list(archive.files(record.device, record.log, record.sequence, record.sequence)):
            paths[file.record_sha256] = archive.path(file)

    def read(record: Record) -> Content:
        path = paths.get(record.sha256)
        return accounting.NOT_HERE if path is None else stored_content(path)

    return inspection.read_in_order(files, read)
