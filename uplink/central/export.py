"""Taking one session out of the store as a package that anyone can check."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from recorder.evidence import package, statements, stored
from recorder.evidence.statements import Withholding
from uplink.central import attest
from uplink.central.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from keys.signer import Signer
    from recorder.evidence.package import Written
    from recorder.evidence.records import Record
    from uplink.central.archive import Archive, SessionState


def parse_ranges(texts: Sequence[str]) -> list[tuple[int, int]]:
    """Return ranges such as ``5`` and ``7-9`` as ascending [first, last].

    Raises:
        StoreError: one of them is no range.
    """
    found: list[tuple[int, int]] = []
    for text in texts:
        first, dash, last = text.partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()) or (dash and int(last) < int(first)):
            raise StoreError(f"{text!r} is not a record number or a range such as 5-9")
        found.append((int(first), int(last) if dash else int(first)))
    return sorted(found)


def export(
    archive: Archive,
    state: SessionState,
    signer: Signer,
    store: str,
    out: Path,
    withheld: list[tuple[int, int]],
    ground: str | None,
    decision: str | None,
) -> Written:
    """Write the package of a session.

    Args:
        archive: the store.
        state: the session.
        signer: the store's receipt key; it attests, and states what is withheld.
        store: the store's id.
        out: the folder to make.
        withheld: first and last record sequence of runs whose files are not given.
        ground: id of the lawful reason; needed when anything is withheld.
        decision: number of the written decision.

    Raises:
        StoreError: nothing of the session hangs together yet, or a range is not in it, or the ground is missing.
        PackageError: ``out`` exists, or a held file is damaged.
    """
    with archive.snapshot():  # the device may be sending: records and attestation must be of one moment
        entries = attest.session_entries(archive, state)
        later = attest.later_entries(archive, state, entries[-1])
        attestation = attest.attest(archive, state, signer, store, time.time_ns())
    statement: bytes | None = None
    if withheld:
        sequences = {entry.sequence for entry in (*entries, *later)}
        outside = [one for one in withheld if one[0] not in sequences or one[1] not in sequences]
        if outside:
            raise StoreError(f"records {outside[0][0]} to {outside[0][1]} are not of this session")
        if not ground:
            raise StoreError("withholding needs its lawful ground (--ground), for example trade_secret")
        statement = statements.sign(
            Withholding(
                store=store,
                utc_ns=time.time_ns(),
                device=state.device,
                log=state.log,
                session=state.session,
                sequences=withheld,
                ground=ground,
                decision=decision,
            ),
            signer,
        )

    def content(record: Record) -> bytes | None:
        for file in archive.files(record.device, record.log, record.sequence, record.sequence):
            if file.record_sha256 == record.sha256 and file.held:
                with archive.path(file).open("rb") as opened:
                    return b"".join(stored.content(opened.read))
        return None

    return package.write_package(
        out,
        records=[entry.message for entry in (*entries, *later)],
        attestation=attestation,
        certificates=archive.certificates(state.device),
        media=content,
        withheld=statement,
    )
