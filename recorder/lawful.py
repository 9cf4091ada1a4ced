"""What the agency's policy, the log and a request say to the rules of a session."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import msgspec

from recorder.clock import UNSET
from recorder.control import RefusedError
from recorder.evidence import texts
from recorder.evidence.details import DetailsError, SessionDetails, encode
from recorder.evidence.policy import MATTERS
from recorder.evidence.records import NotRecorded, SessionClose, SessionOpen
from recorder.session import SECOND_NS, Ended, Policy
from recorder.spool.reader import LogReader

if TYPE_CHECKING:
    from recorder.clock import Instant
    from recorder.evidence.policy import Policy as AgencyPolicy
    from recorder.evidence.records import Record
    from recorder.spool.spool import Spool

LOOK_BACK: Final = 64
"""So many records before the head of a log are read for the session that ended last; boots may lie behind it."""
MATTER_IDS: Final = frozenset(MATTERS)
_BY_THE_DEVICE: Final = {"code", "code_dates_judged"}
"""What only a code that the recorder has verified puts into details."""
_RIGHTS: Final = re.compile(r"rights\.(oral|written|both)(\.[a-z+]{1,80})?")


def session_policy(agency: AgencyPolicy, mode: str) -> Policy:
    """Return what an agency's policy leaves the rules of a session to decide, for a stream of this mode."""
    reasons = {entry.reason for entry in agency.not_recorded.reasons}
    return Policy(
        grace_ns=agency.continuity.grace_seconds * SECOND_NS,
        whole=frozenset(name for name in MATTERS if agency.duty(name).whole and agency.duty(name).condition is None),
        not_recorded=frozenset(one for one in reasons if agency.not_recorded_reason(one, None, "interval")),
        refusable=frozenset(name for name in MATTERS if agency.restart(name) == "refused"),
        remind_ns=agency.not_recorded.reminder_minutes * 60 * SECOND_NS,
        reminder_ns=0 if mode == "continuous" else agency.announcement.reminder_minutes * 60 * SECOND_NS,
    )


def last_ended(spool: Spool, stream: int, now: Instant) -> Ended | None:
    """Return the session of a stream that was closed last, None where there was none of late."""
    log_id = spool.log_id(stream)
    reader = LogReader(spool.layout.log(log_id), log_id)
    head, _ = spool.head(stream)
    closing: Record | None = None
    detail: str | None = None
    for sequence in range(head, max(head - LOOK_BACK, -1), -1):
        entry = reader.find(sequence)
        if entry is None:
            continue
        record = entry.record
        if closing is None:
            # What was only stated to be an act that is not recorded is no recording that could be interrupted.
            closing = record if isinstance(record.body, SessionClose) and record.body.chunks else None
        elif isinstance(record.body, NotRecorded) and record.session == closing.session:
            detail = record.body.reason
            break
    if closing is None or closing.session is None or not isinstance(closing.body, SessionClose):
        return None
    opening = reader.find(closing.body.open_sequence)
    opened = opening.record.body if opening is not None else None
    matter = opened.matter if isinstance(opened, SessionOpen) else None
    return Ended(closing.session, closing.body.reason, _on_this_boot(closing, now), matter, detail)


def _on_this_boot(record: Record, now: Instant) -> int | None:
    """Return when a record was made, on this boot's clock; None where nobody can tell."""
    if record.boot == now.boot:
        return record.boottime_ns
    if UNSET in (record.clock, now.quality):
        return None
    return now.boottime_ns - max(now.utc_ns - record.utc_ns, 0)


def matter_of(request: dict[str, Any]) -> str | None:
    """Return the matter that a request names.

    Raises:
        RefusedError: it is none of the closed list.
    """
    matter = request.get("matter")
    if matter is None or matter in MATTER_IDS:
        return matter
    raise RefusedError(
        "matter",
        f"没有这个执法事项。可用：{'、'.join(sorted(MATTER_IDS))}",
        f"There is no such matter. There are: {', '.join(sorted(MATTER_IDS))}",
    )


def marker_of(request: dict[str, Any]) -> str:
    """Return the kind of marker that a request names; ``important`` where it names none.

    Raises:
        RefusedError: there is no such kind.
    """
    kind = request.get("marker") or "important"
    if isinstance(kind, str):
        rights = _RIGHTS.fullmatch(kind)
        if rights is not None and all(texts.known(f"right.{one}") for one in (rights[2] or "").strip(".").split("+")):
            return kind
        if kind != "rights" and texts.known(f"marker.{kind}"):
            return kind
    known = sorted(one.removeprefix("marker.") for one in texts.ids() if one.startswith("marker."))
    raise RefusedError(
        "marker",
        f"没有这个标记。可用：{'、'.join(known)}；告知权利写作 rights.oral.statement+defence",
        f"There is no such marker. There are: {', '.join(known)}; rights are told as rights.oral.statement+defence",
    )


def details_of(request: dict[str, Any]) -> SessionDetails | None:
    """Return the particulars that a request states, None where it states none.

    Raises:
        RefusedError: they are not of the known form.
    """
    stated = request.get("details")
    if stated is None:
        return None
    try:
        found = msgspec.convert(stated, SessionDetails, strict=True)
        encode(found)
    except (msgspec.ValidationError, DetailsError) as error:
        raise _unreadable(str(error)) from error
    unknown = set(stated) - (set(SessionDetails.__struct_fields__) - _BY_THE_DEVICE)
    if unknown:
        raise _unreadable(f"unknown: {', '.join(sorted(unknown))[:200]}")
    matter_of({"matter": found.matter})
    return found


def _unreadable(why: str) -> RefusedError:
    return RefusedError("details", f"登记内容格式不正确：{why}", f"These details are not right: {why}")
