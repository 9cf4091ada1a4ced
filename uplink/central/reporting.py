"""The report on one session that a store holds: verified as an outsider would, with the details opened."""

from __future__ import annotations

from typing import TYPE_CHECKING

from recorder.evidence import deadlines, records, statements, verdict
from recorder.evidence.records import Details
from recorder.evidence.session_report import Handed
from recorder.report_command import Material
from recorder.report_command import report_on as report_material
from recorder.verify import stored_content
from uplink.central import attest
from uplink.central.verify import contents_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from keys.certificates import Anchors
    from recorder.evidence.policy import Policy
    from recorder.evidence.records import Record
    from recorder.evidence.session_report import Report
    from uplink.central.archive import SessionState
    from uplink.central.embedded import EmbeddedArchive


def report_on(
    archive: EmbeddedArchive, state: SessionState, anchors: Anchors, known: Sequence[Policy], now_utc_ns: int
) -> Report:
    """Verify and report one session.

    Args:
        archive: the store.
        state: the session.
        anchors: the authorities that the store trusts.
        known: the agencies' policies.
        now_utc_ns: the store's clock.

    Raises:
        NotAttestableError: nothing of the session hangs together yet.
    """
    entries = attest.session_entries(archive, state)
    every = [*entries, *attest.later_entries(archive, state, entries[-1])]
    attestation = archive.attestation(state)
    evidence = verdict.Evidence(
        messages=[entry.message for entry in every],
        certificates=archive.certificates(state.device),
        contents=lambda files: contents_of(archive, files),
        attestation=attestation,
        session=state.session,
        files_expected=attestation is not None,
    )
    parsed = [records.parse(entry.message) for entry in every]
    attested = statements.parse(attestation, statements.Attestation) if attestation is not None else None
    signs = [records.parse(entry.message) for entry in archive.hand_over_signs(state.device)]
    others = [record for record in signs if record.sha256 not in {one.sha256 for one in parsed}]
    material = Material(
        parsed,
        _details(archive, parsed),
        attested,
        session=state.session,
        handed=_handed(archive, state, parsed),
        deferrals=deadlines.deferrals_of(others, state.session),
        returns=deadlines.returns_of(others),
    )
    return report_material(material, verdict.judge(evidence, anchors), known, now_utc_ns)


def _details(archive: EmbeddedArchive, parsed: Sequence[Record]) -> dict[int, bytes | None]:
    found: dict[int, bytes | None] = {}
    for record in parsed:
        if isinstance(record.body, Details):
            for file in archive.files(record.device, record.log, record.sequence, record.sequence):
                if file.held and file.record_sha256 == record.sha256:
                    found[record.sequence] = stored_content(archive.path(file)).data
    return found


def _handed(archive: EmbeddedArchive, state: SessionState, parsed: Sequence[Record]) -> Handed:
    """Return what this store holds: it needs no attestation to know that."""
    last = max(record.sequence for record in parsed)
    files = archive.files(state.device, state.log, parsed[0].sequence, last)
    missing = frozenset(file.sequence for file in files if not file.held and file.session == state.session)
    complete = state.complete_utc_ns is not None and not missing
    return Handed(complete=complete, utc_ns=state.complete_utc_ns if complete else None, missing=missing)
