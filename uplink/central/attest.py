"""What the store swears of one session: that it had received these records by these times, and what it holds.

Only what hangs together is attested: from session-open, along the branch that the session stands on, up to its close or
to the first record that is missing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from recorder.evidence import statements
from recorder.evidence.statements import Attestation, Branch
from uplink.central.archive import BELIEVED, QUARANTINED
from uplink.central.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from keys.signer import Signer
    from uplink.central.archive import Archive, Entry, SessionState

GRANULARITY_NS: Final = 60 * 10**9
"""Times of receipt are told as upper bounds, at most so much too late."""


class NotAttestableError(StoreError):
    """Nothing of the session hangs together yet."""


def session_entries(archive: Archive, state: SessionState) -> list[Entry]:
    """Return the held records of a session without holes: from its open to its close, or to the first missing one.

    Raises:
        NotAttestableError: the open is not here, or what is before it in the log is not.
    """
    opens = [
        entry
        for entry in archive.entries_of_session(state.device, state.log, state.session)
        if entry.kind == "session-open" and entry.branch is not None
    ]
    if not opens:
        raise NotAttestableError(f"session {state.session.hex()}: its first record, or one before it, is not here")
    opening = opens[0]
    branch = _branch_of_session(archive, state, opening)
    found: list[Entry] = []
    for entry in archive.entries(state.device, state.log, opening.sequence, state.last_sequence, branch):
        if found and entry.sequence != found[-1].sequence + 1:
            break
        found.append(entry)
        if entry.kind == "session-close" and entry.session == state.session:
            break
    return found


def _branch_of_session(archive: Archive, state: SessionState, opening: Entry) -> int:
    """Choose the branch that the session goes on in: the one of its close, else of its newest linked record."""
    branch, best = opening.branch or 0, (False, -1)
    for entry in archive.entries_of_session(state.device, state.log, state.session):
        rank = (entry.kind == "session-close", entry.sequence)
        if entry.branch is not None and entry.sequence <= state.last_sequence and rank > best:
            branch, best = entry.branch, rank
    return branch


def later_entries(archive: Archive, state: SessionState, last: int) -> list[Entry]:
    """Return records about the session behind its last one."""
    return [
        entry
        for entry in archive.entries_of_session(state.device, state.log, state.session)
        if entry.sequence > last and entry.branch is not None
    ]


def received(entries: Sequence[Entry]) -> list[tuple[int, int, int]]:
    """Return [first, last sequence, upper bound of the time of receipt] of runs received within a minute."""
    runs: list[tuple[int, int, int]] = []
    earliest = 0
    for entry in entries:
        moment = entry.received_utc_ns
        if runs:
            first, last, latest = runs[-1]
            low, high = min(earliest, moment), max(latest, moment)
            if entry.sequence == last + 1 and high - low <= GRANULARITY_NS:
                runs[-1], earliest = (first, entry.sequence, high), low
                continue
        runs.append((entry.sequence, entry.sequence, moment))
        earliest = moment
    return runs


def runs_of(sequences: Sequence[int]) -> list[tuple[int, int]]:
    """Return ascending numbers as [first, last] of runs."""
    runs: list[tuple[int, int]] = []
    for sequence in sequences:
        if runs and sequence == runs[-1][1] + 1:
            runs[-1] = (runs[-1][0], sequence)
        else:
            runs.append((sequence, sequence))
    return runs


def statement(archive: Archive, state: SessionState, store: str, utc_ns: int) -> Attestation:
    """Build the attestation of a session from what is held now.

    Raises:
        NotAttestableError: see :func:`session_entries`.
    """
    entries = session_entries(archive, state)
    first, last = entries[0], entries[-1]
    later = later_entries(archive, state, last.sequence)
    position = archive.position(state.device, state.log)
    head = _head(archive, state, position.next_sequence, last)
    hashes = {entry.sha256 for entry in (*entries, *later)}
    held: list[int] = []
    missing: list[int] = []
    for file in archive.files(
        state.device, state.log, first.sequence, max([last.sequence, *(e.sequence for e in later)])
    ):
        if file.record_sha256 in hashes:
            (held if file.held else missing).append(file.sequence)
    believed = all(entry.standing == BELIEVED for entry in entries)
    return Attestation(
        store=store,
        utc_ns=utc_ns,
        device=state.device,
        log=state.log,
        stream=state.stream,
        session=state.session,
        first_sequence=first.sequence,
        first_sha256=first.sha256,
        last_sequence=last.sequence,
        last_sha256=last.sha256,
        closed=last.kind == "session-close",
        head_sequence=head.sequence,
        head_sha256=head.sha256,
        received=received(entries),
        later=[entry.sequence for entry in later],
        media_held=_held_runs(entries[0].sequence, last.sequence, held, missing, [e.sequence for e in later]),
        media_missing=missing,
        branches=[
            Branch(sequence=one.sequence, sha256=one.sha256, classed=one.classed)
            for one in archive.branches(state.device, state.log, first.sequence, last.sequence)
            if one.sha256 not in hashes
        ],
        standing=BELIEVED if believed else QUARANTINED,
    )


def _held_runs(first: int, last: int, held: list[int], missing: list[int], later: list[int]) -> list[tuple[int, int]]:
    """Return runs of records whose files, where they bring one, are held; records without a file don't end a run."""
    lacking = set(missing)
    present = set(held)
    numbers = [number for number in range(first, last + 1) if number not in lacking]
    numbers += [number for number in later if number not in lacking]
    return [run for run in runs_of(numbers) if any(run[0] <= number <= run[1] for number in present)]


def _head(archive: Archive, state: SessionState, following: int, last: Entry) -> Entry:
    """Return the newest record of the log, without holes, on the branch that the device follows now."""
    newest = last
    if following - 1 > last.sequence:
        for entry in archive.entries(state.device, state.log, following - 1, following - 1):
            if entry.branch is not None:
                newest = entry
    return newest


def attest(archive: Archive, state: SessionState, signer: Signer, store: str, utc_ns: int) -> bytes:
    """Return the signed attestation of a session.

    Raises:
        NotAttestableError: see :func:`session_entries`.
    """
    return statements.sign(statement(archive, state, store, utc_ns), signer)
