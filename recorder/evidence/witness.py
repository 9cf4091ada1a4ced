"""What the central store vouches for: its attestation, its receipts, its withholding statement, held to the records."""

from __future__ import annotations

from bisect import bisect_right
from itertools import islice
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from keys import cose
from keys.certificates import read_identity
from keys.errors import KeysError
from recorder.evidence import statements
from recorder.evidence.errors import StatementError
from recorder.evidence.findings import found

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from keys.certificates import Anchors
    from recorder.evidence.findings import Finding
    from recorder.evidence.records import Record
    from recorder.evidence.statements import Attestation, RecordsReceipt, Withholding
    from recorder.evidence.timeline import Timeline

AHEAD_NS: Final = 300 * 10**9
"""How far a synchronised clock of a device may be ahead of the store's."""

MAX_TOLD: Final = 1000
"""Most missing later records that are named one by one."""

S = TypeVar("S", bound=statements.Statement)


class Read(NamedTuple):
    """A statement as it was read."""

    problem: str | None
    """``malformed``, ``invalid`` (the signature), ``foreign`` (the signer), None when it can be believed."""
    trusted: bool
    """A store of a given authority signed it."""


def read(message: bytes, expected: type[S], anchors: Anchors) -> tuple[S | None, Read]:
    """Parse a statement and say how far it can be believed.

    Without anchors its signature is still held against the certificate that it carries: that finds damage, and
    proves nothing.
    """
    try:
        statement = statements.parse(message, expected)
    except StatementError:
        return None, Read("malformed", trusted=False)
    if anchors:
        try:
            identity = statements.verify(message, anchors)
        except StatementError:
            return statement, Read("foreign" if _fits_itself(message) else "invalid", trusted=False)
        if not identity.valid_at(statement.utc_ns):
            return statement, Read("dates", trusted=True)
        return statement, Read(None, trusted=True)
    return statement, Read(None if _fits_itself(message) else "invalid", trusted=False)


def _fits_itself(message: bytes) -> bool:
    try:
        parsed = cose.parse(message, statements.MAX_SIZE_BYTES)
        identity = read_identity(parsed.chain[0])
        cose.verify(parsed, identity.public_key)
    except (KeysError, IndexError):
        return False
    return identity.kid == parsed.kid


def check_withholding(session: Timeline, statement: Withholding | None, state: Read) -> Iterator[Finding]:
    """Check whose statement it is, and that it is about this session."""
    if state.problem == "dates":
        yield found("store-certificate-not-valid")
    elif state.problem is not None:
        yield found("withholding-invalid", problem=state.problem)
    if statement is None or not session.records:
        return
    first = session.records[0]
    if (statement.device, statement.log, statement.session) != (first.device, first.log, session.session):
        yield found("withholding-crossed")


def check_attestation(
    session: Timeline, by_sequence: Mapping[int, Record], attestation: Attestation, state: Read
) -> Iterator[Finding]:
    """Hold the store's attestation against the records."""
    if state.problem == "dates":
        yield found("store-certificate-not-valid")
    elif state.problem is not None:
        yield found(f"attestation-{state.problem}")
        return
    if not session.records:
        return
    first = session.records[0]
    if (attestation.device, attestation.log, attestation.session, attestation.stream) != (
        first.device,
        first.log,
        session.session,
        first.stream,
    ):
        yield found("attestation-crossed")
        return
    yield from _ends(by_sequence, attestation, session)
    yield from _received(session, attestation)
    if attestation.standing != "believed":
        yield found("standing-doubted", standing=attestation.standing)
    for branch in attestation.branches:
        known = by_sequence.get(branch.sequence)
        code = "tail-lost-known" if branch.classed == "tail-lost" else "fork-known"
        yield found(code, known, at=branch.sequence)


def _ends(by_sequence: Mapping[int, Record], attestation: Attestation, session: Timeline) -> Iterator[Finding]:
    opening = session.opening
    if opening is not None and opening.sequence != attestation.first_sequence:
        yield found("witness-contradicts", opening, at=attestation.first_sequence)
    for sequence, sha256 in (
        (attestation.first_sequence, attestation.first_sha256),
        (attestation.last_sequence, attestation.last_sha256),
        (attestation.head_sequence, attestation.head_sha256),
    ):
        record = by_sequence.get(sequence)
        if record is not None and record.sha256 != sha256:
            yield found("witness-contradicts", record, at=sequence)
    newest = max(by_sequence)
    if newest < attestation.last_sequence:
        yield found("tail-missing", by_sequence[newest], first=newest + 1, last=attestation.last_sequence)
    gone = (sequence for sequence in attestation.later if sequence not in by_sequence)
    for sequence in islice(gone, MAX_TOLD):
        yield found("later-missing", at=sequence)
    for sequence, sha256 in _later(attestation).items():
        record = by_sequence.get(sequence)
        if record is not None and record.sha256 != sha256:
            yield found("witness-contradicts", record, at=sequence)
    if attestation.closed != (session.closing is not None) and newest >= attestation.last_sequence:
        known = session.closing or session.records[-1]
        yield found("witness-contradicts" if attestation.closed else "witness-partial", known, at=known.sequence)


def _later(attestation: Attestation) -> dict[int, bytes]:
    """Return the later records that are attested with their hashes; a number alone vouches for nothing."""
    return dict(zip(attestation.later, attestation.later_sha256, strict=False))


def _received(session: Timeline, attestation: Attestation) -> Iterator[Finding]:
    covered = attestation.first_sequence
    for first, last, _ in sorted(attestation.received):
        if first <= covered:
            covered = max(covered, last + 1)
    vouched = _later(attestation)
    outside = [
        record
        for record in session.records
        if record.sequence not in vouched
        and (
            record.sequence >= covered or not attestation.first_sequence <= record.sequence <= attestation.last_sequence
        )
    ]
    if outside:
        yield found("witness-partial", outside[0], at=outside[0].sequence)
    ranges = sorted(attestation.received)
    for record in session.records:
        place = bisect_right(ranges, record.sequence, key=lambda one: one[0]) - 1
        if place < 0 or record.sequence > ranges[place][1] or record.clock != "synchronised":
            continue
        if record.utc_ns > ranges[place][2] + AHEAD_NS:
            yield found("time-after-receipt", record)
            return


class Receipts:
    """The records-receipts that a device keeps, each proved once, however many sessions they are held against."""

    def __init__(self, messages: Iterable[bytes], anchors: Anchors) -> None:
        self._of_log: dict[tuple[str, bytes], list[RecordsReceipt]] = {}
        for message in messages:
            receipt, state = read(message, statements.RecordsReceipt, anchors)
            if receipt is not None and state.problem is None and state.trusted:
                self._of_log.setdefault((receipt.device, receipt.log), []).append(receipt)

    def of(self, record: Record) -> Sequence[RecordsReceipt]:
        """Return the receipts of a record's log that can be believed."""
        return self._of_log.get((record.device, record.log), [])


def receipted(session: Timeline, hashes: Mapping[int, bytes], receipts: Receipts) -> tuple[int | None, list[Finding]]:
    """Say when a store had received all of a session, by its receipts for the log (a device's spool keeps them).

    Args:
        session: the session.
        hashes: sequence to record hash of the whole log.
        receipts: those that the device keeps.

    Returns:
        The earliest moment by which all was received, None where none covers it, and what contradicts.
    """
    if not session.records:
        return None, []
    last = session.records[-1]
    earliest: int | None = None
    contradicting: list[Finding] = []
    for receipt in receipts.of(last):
        head = receipt.next_sequence - 1
        if head < 0 or head not in hashes:
            continue
        if hashes[head] != receipt.head_sha256:
            contradicting.append(found("witness-contradicts", at=head))
        elif head >= last.sequence and (earliest is None or receipt.utc_ns < earliest):
            earliest = receipt.utc_ns
    return earliest, contradicting[:1]
