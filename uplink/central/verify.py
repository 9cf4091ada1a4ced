"""Judges what an embedded store holds: each session, against the attestation that the store gave. No key is needed."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from recorder.evidence import accounting, inspection, statements, verdict
from recorder.evidence.signers import Signers
from recorder.verify import stored_content
from uplink.central import attest
from uplink.central.attest import NotAttestableError
from uplink.central.embedded import EmbeddedArchive

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from keys.certificates import Anchors
    from recorder.evidence.accounting import Content
    from recorder.evidence.records import Record
    from recorder.evidence.verdict import Verdict
    from uplink.central.archive import Archive, Entry, SessionState


def judge_store(folder: Path, anchors: Anchors) -> Iterator[Verdict]:
    """Judge every session of the store in ``folder``.

    Files that have not arrived are elsewhere, not lost: the verdict is then that it cannot be judged yet.

    Raises:
        NotAStoreError: the folder is no store of this format.
    """
    archive = EmbeddedArchive(folder)
    try:
        signers: dict[str, Signers] = {}
        for state in archive.sessions():
            certificates = archive.certificates(state.device)
            known = signers.setdefault(state.device, Signers(certificates, anchors))
            attestation = archive.attestation(state)
            evidence = verdict.Evidence(
                messages=[entry.message for entry in _entries(archive, state, attestation)],
                certificates=certificates,
                contents=partial(_contents, archive),
                attestation=attestation,
                session=state.session,
                files_expected=False,
            )
            yield verdict.judge(evidence, anchors, signers=known)
    finally:
        archive.close()


def _entries(archive: Archive, state: SessionState, attestation: bytes | None) -> list[Entry]:
    """The session's records, and the later ones that the attestation speaks of."""
    try:
        entries = attest.session_entries(archive, state)
    except NotAttestableError:
        return list(archive.entries_of_session(state.device, state.log, state.session))
    if attestation is None:
        return entries
    vouched = set(statements.parse(attestation, statements.Attestation).later)
    later = attest.later_entries(archive, state, entries[-1].sequence)
    return entries + [entry for entry in later if entry.sequence in vouched]


def _contents(archive: Archive, records: Sequence[Record]) -> Iterator[Content]:
    # The index answers one thread; only reading and hashing are spread over the processors.
    paths = {record.sha256: _path(archive, record) for record in records}

    def read(record: Record) -> Content:
        path = paths[record.sha256]
        return accounting.NOT_HERE if path is None else stored_content(path)

    yield from inspection.read_in_order(records, read)


def _path(archive: Archive, record: Record) -> Path | None:
    for file in archive.files(record.device, record.log, record.sequence, record.sequence):
        if file.record_sha256 == record.sha256 and file.held:
            return archive.path(file)
    return None
