"""Checks over the records of one log that need nothing but the records: order, chain, boots, clocks, heads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from recorder.evidence.findings import found
from recorder.evidence.records import ZERO_HASH, Boot, Clock, Heads, Lost, Record, SessionClose, SessionOpen

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from recorder.evidence.findings import Finding

MAX_DRIFT_PPM: Final = 500
"""The kernel slews a clock by no more (adjtimex)."""
CLOCK_SILENT_NS: Final = 600_000_000
"""A device signs a step of its clock from half a second on; two readings can be a pause apart."""
DECLARED_WITHIN_NS: Final = 10_000_000_000
"""A clock record follows the move that it declares within this time."""


def check_log(
    records: Sequence[Record], whole_until: int | None = None, clocks: Iterable[Record] = ()
) -> Iterator[Finding]:
    """Check the records of one log in the order in which they came.

    Args:
        records: the records, parsed.
        whole_until: no record may be missing up to this sequence; None: none at all. Later records of a session
            stand among those of other sessions, which a package does not hold.
        clocks: clock records of the same device's other logs.
    """
    if not records:
        return
    moves = [record for record in (*records, *clocks) if isinstance(record.body, Clock)]
    losses = [record for record in records if isinstance(record.body, Lost)]
    first = records[0]
    yield from _genesis(first)
    last = first
    for record in records[1:]:
        strange = _strange(record, first)
        if strange is not None:
            yield strange
            continue
        yield from _genesis(record)
        if record.sequence <= last.sequence:
            code = "sequence-repeated" if record.sequence == last.sequence else "sequence-reordered"
            yield found(code, record)
            continue
        if record.sequence == last.sequence + 1:
            yield from _following(record, last)
        elif whole_until is None or last.sequence < whole_until:
            first_gone, last_gone = last.sequence + 1, record.sequence - 1
            told = any(_tells_lost(one, first.log, first_gone, last_gone) for one in losses)
            yield found("records-lost" if told else "sequence-missing", record, first=first_gone, last=last_gone)
        yield from _times(record, last, moves)
        last = record


def _tells_lost(record: Record, log: bytes, first: int, last: int) -> bool:
    body = record.body
    if not isinstance(body, Lost) or body.log not in (None, log):
        return False
    return body.first_sequence <= first and last <= body.last_sequence


def _strange(record: Record, first: Record) -> Finding | None:
    """A record of another log has no place here, and its sequence says nothing about this one."""
    if record.device != first.device:
        return found("device-mixed", record, device=record.device)
    if record.log != first.log:
        return found("log-mixed", record)
    if record.stream != first.stream:
        return found("stream-mixed", record, stream=record.stream)
    return None


def _genesis(record: Record) -> Iterator[Finding]:
    begins = record.sequence == 0
    if begins != (record.kind == "genesis") or begins != (record.previous_sha256 == ZERO_HASH):
        yield found("genesis-wrong", record)


def _following(record: Record, last: Record) -> Iterator[Finding]:
    if record.previous_sha256 != last.sha256:
        yield found("chain-broken", record, previous=last.sequence)
    if record.boot != last.boot and record.kind != "boot":
        yield found("boot-missing", record)
    if isinstance(record.body, Boot) and (record.body.found_sequence, record.body.found_sha256) != (
        record.sequence - 1,
        record.previous_sha256,
    ):
        yield found("boot-head-wrong", record)


def _times(record: Record, last: Record, moves: Sequence[Record]) -> Iterator[Finding]:
    if record.boot != last.boot:
        return
    passed = record.boottime_ns - last.boottime_ns
    if passed < 0:
        yield found("boottime-back", record)
        return
    moved = (record.utc_ns - record.boottime_ns) - (last.utc_ns - last.boottime_ns)
    allowed = passed * MAX_DRIFT_PPM // 1_000_000 + CLOCK_SILENT_NS
    # A clock that was never set and now is has moved: the two qualities say so themselves.
    was_set = last.clock == "unset" and record.clock != "unset"
    if was_set or abs(moved) <= allowed or any(_declares(move, record, last, moved, allowed) for move in moves):
        return
    yield found("clock-moved", record, seconds=f"{moved / 1e9:+.1f}")


def _declares(move: Record, record: Record, last: Record, moved: int, allowed: int) -> bool:
    """Tell whether a clock record accounts for UTC having moved between two records of one boot."""
    body = move.body
    if not isinstance(body, Clock) or move.boot != record.boot:
        return False
    if not last.boottime_ns - DECLARED_WITHIN_NS <= move.boottime_ns <= record.boottime_ns + DECLARED_WITHIN_NS:
        return False
    tolerance = allowed + (body.uncertainty_ns or 0)
    if body.step_ns is not None:
        return abs(body.step_ns - moved) <= tolerance
    bound = body.bound_utc_ns - body.bound_boottime_ns
    return abs(bound - (record.utc_ns - record.boottime_ns)) <= tolerance


def check_heads(device_log: Sequence[Record], logs: Mapping[bytes, Mapping[int, bytes]]) -> Iterator[Finding]:
    """Check what the device log says of the other logs, where both are at hand (a spool, a store).

    Args:
        device_log: the records of stream 0.
        logs: for each log at hand, sequence to record hash.
    """
    gone: set[bytes] = set()
    for record in device_log:
        if not isinstance(record.body, Heads):
            continue
        for stream, log, sequence, sha256 in record.body.heads:
            if log not in logs:
                if log not in gone:
                    gone.add(log)
                    yield found("stream-missing", record, stream=stream, log=log.hex())
            elif logs[log].get(sequence, sha256) != sha256:
                yield found("head-contradicted", record, stream=stream, at=sequence)
            elif sequence not in logs[log] and sequence > max(logs[log], default=-1):
                yield found("stream-missing", record, stream=stream, log=log.hex())


def check_device_head(records: Iterable[Record], device_logs: Sequence[Mapping[int, bytes]]) -> Iterator[Finding]:
    """Check the device log's heads that session-open and session-close name, where device logs are at hand.

    Args:
        records: the records of a stream's log.
        device_logs: for each log of stream 0 at hand, sequence to record hash; a device can have begun a new one.
    """
    for record in records:
        body = record.body
        if not isinstance(body, SessionOpen | SessionClose):
            continue
        known = {log[body.device_head_sequence] for log in device_logs if body.device_head_sequence in log}
        if known and body.device_head_sha256 not in known:
            yield found("head-contradicted", record, stream=0, at=body.device_head_sequence)
