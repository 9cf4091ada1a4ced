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

    Of several pasts the one counts whose close came first: nobody can exchange what the store has, neither by a fork
    nor by a device that says it lost its newest records.

    Raises:
        NotAttestableError: the open is not here, or what is before it in the log is not.
    """
    own = _linked(archive, state)
    opens = {entry.sha256 for entry in own if entry.kind == "session-open"}
    for newest in _by_rank(archive, state, own):
        found: list[Entry] = []
        for entry in archive.entries(state.device, state.log, own[0].sequence, newest.sequence, newest.branch):
            if not found and entry.sha256 not in opens:
                continue
            if found and entry.sequence != found[-1].sequence + 1:
                break
            found.append(entry)
            if entry.kind == "session-close" and entry.session == state.session:
                break
        if found:
            return found
    raise NotAttestableError(f"session {state.session.hex()}: its first record, or one before it, is not here")


def _linked(archive: Archive, state: SessionState) -> list[Entry]:
    entries = archive.entries_of_session(state.device, state.log, state.session)
    return [entry for entry in entries if entry.branch is not None]


def _by_rank(archive: Archive, state: SessionState, own: Sequence[Entry]) -> list[Entry]:
    """Return the ends that the session may have, the likeliest first: its closes, else the newest of each branch."""
    forked = {branch: archive.forked(state.device, state.log, branch) for branch in {one.branch or 0 for one in own}}
    closes = [entry for entry in own if entry.kind == "session-close"]
    if closes:
        return sorted(closes, key=lambda entry: (forked[entry.branch or 0], entry.received_utc_ns, entry.sequence))
    newest = {entry.branch or 0: entry for entry in own}
    return sorted(newest.values(), key=lambda entry: (forked[entry.branch or 0], -entry.sequence))


def later_entries(archive: Archive, state: SessionState, last: Entry) -> list[Entry]:
    """Return records about the session behind its last one, on the one way on that its log took."""
    tip = _tip(archive, state, last)
    later = (entry for entry in _linked(archive, state) if entry.sequence > last.sequence)
    return [entry for entry in later if _leads_to(archive, state, entry, tip)]


def _tip(archive: Archive, state: SessionState, last: Entry) -> int | None:
    """Return the branch by which the log goes on behind a record: the device's own, unless that one is a fork."""
    tip = archive.followed_branch(state.device, state.log)
    if tip is None or archive.forked(state.device, state.log, tip) or not _leads_to(archive, state, last, tip):
        return last.branch
    return tip


def _leads_to(archive: Archive, state: SessionState, entry: Entry, tip: int | None) -> bool:
    """Tell whether a record lies on the way to the head of a branch."""
    way = archive.entries(state.device, state.log, entry.sequence, entry.sequence, tip)
    return any(one.sha256 == entry.sha256 for one in way)


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
    later = later_entries(archive, state, last)
    every = [*entries, *later]
    position = archive.position(state.device, state.log)
    head = (every[-1].sequence, every[-1].sha256)
    if (
        position.head_sha256 is not None
        and position.next_sequence - 1 > head[0]
        and _tip(archive, state, last) == archive.followed_branch(state.device, state.log)
    ):
        head = (position.next_sequence - 1, position.head_sha256)
    hashes = {entry.sha256 for entry in every}
    held: list[int] = []
    missing: list[int] = []
    for file in archive.files(state.device, state.log, first.sequence, every[-1].sequence):
        if file.record_sha256 in hashes:
            (held if file.held else missing).append(file.sequence)
    believed = all(entry.standing == BELIEVED for entry in every) and not any(
        archive.forked(state.device, state.log, branch) for branch in {entry.branch or 0 for entry in every}
    )
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
        head_sequence=head[0],
        head_sha256=head[1],
        received=received(every),
        later=[entry.sequence for entry in later],
        later_sha256=[entry.sha256 for entry in later],
        media_held=_held_runs(entries[0].sequence, last.sequence, held, missing, [e.sequence for e in later]),
        media_missing=missing,
        complete_utc_ns=_complete(state, utc_ns) if last.kind == "session-close" and not missing else None,
        branches=_branches(archive, state, every, hashes),
        standing=BELIEVED if believed else QUARANTINED,
    )


def _complete(state: SessionState, utc_ns: int) -> int:
    """Return when the session was complete: as noted at the first attestation of all of it, which may be this one."""
    return utc_ns if state.complete_utc_ns is None else min(state.complete_utc_ns, utc_ns)


def _held_runs(first: int, last: int, held: list[int], missing: list[int], later: list[int]) -> list[tuple[int, int]]:
    """Return runs of records whose files, where they bring one, are held; records without a file don't end a run."""
    lacking = set(missing)
    present = set(held)
    numbers = [number for number in range(first, last + 1) if number not in lacking]
    numbers += [number for number in later if number not in lacking]
    return [run for run in runs_of(numbers) if any(run[0] <= number <= run[1] for number in present)]


def _branches(archive: Archive, state: SessionState, every: Sequence[Entry], hashes: set[bytes]) -> list[Branch]:
    """Name the records that begin other pasts than the one that is attested, whichever of them came first."""
    found: list[Branch] = []
    for one in archive.branches(state.device, state.log, every[0].sequence, every[-1].sequence):
        others = [one.sha256]
        if one.sha256 in hashes:
            entries = archive.entries(state.device, state.log, one.sequence, one.sequence)
            others = [entry.sha256 for entry in entries if entry.sha256 not in hashes][:1]
        found += [Branch(sequence=one.sequence, sha256=sha256, classed=one.classed) for sha256 in others]
    return found


def attest(archive: Archive, state: SessionState, signer: Signer, store: str, utc_ns: int) -> bytes:
    """Return the signed attestation of a session.

    Raises:
        NotAttestableError: see :func:`session_entries`.
    """
    with archive.snapshot():
        said = statement(archive, state, store, utc_ns)
    return statements.sign(said, signer)
