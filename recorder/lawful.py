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
    from recorder.config import StreamSection
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


def pre_event_ns(agency: AgencyPolicy, stream: StreamSection) -> int:
    """Return how long before a press a stream's recordings begin: as configured, where the policy permits it."""
    if stream.mode != "video" or pre_event_problem(agency, stream) is not None:
        return 0
    return stream.pre_event_seconds * SECOND_NS


def pre_event_problem(agency: AgencyPolicy, stream: StreamSection) -> str | None:
    """Return why a stream may not have the pre-event buffer that it is configured with (F12(1)); None where it may.

    Recording goes on without it; a check of the device calls it an error of the configuration.
    """
    allowed = agency.announcement.pre_event_max_seconds
    if stream.pre_event_seconds <= allowed:
        return None
    articles = ", ".join(agency.announcement.articles)
    return (
        f"streams {stream.name!r}: pre_event_seconds = {stream.pre_event_seconds}, but the agency's policy permits "
        f"{allowed}{f' ({articles})' if articles else ''}; it records without"
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
    return Ended(closing.session, closing.body.reason, on_this_boot(closing, now), matter, detail)


def on_this_boot(record: Record, now: Instant) -> int | None:
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
    if matter is None or (isinstance(matter, str) and matter in MATTER_IDS):
        return matter
    raise RefusedError(
        "matter",
        f"没有这个执法事项。可用：{'、'.join(sorted(MATTER_IDS))}",
        f"There is no such matter. There are: {', '.join(sorted(MATTER_IDS))}",
    )


def mode_of(request: dict[str, Any], stream: StreamSection) -> str | None:
    """Return the manner of recording that a request names (R1); None where it names none.

    Raises:
        RefusedError: this stream cannot record so.
    """
    mode = request.get("mode")
    if mode is None or mode == stream.mode:
        return stream.mode if mode else None
    tracks = {track for source in stream.sources.values() for track in source.tracks}
    possible = [one for one, track in (("video", "video"), ("audio", "audio")) if track in tracks]
    if stream.mode == "continuous":
        possible = []
    if mode in possible:
        return str(mode)
    named = [", ".join(texts.text(f"mode.{one}", language) for one in possible) for language in texts.LANGUAGES]
    raise RefusedError(
        "mode",
        f"本路不能以这种方式记录。可用：{named[0] or '仅按配置'}",
        f"This stream does not record so. It can: {named[1] or 'as it is configured'}",
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


def number_of(request: dict[str, Any]) -> int | None:
    """Return the number of the earlier marker whose kind a request tells, None where it is a new one.

    Raises:
        RefusedError: it is no number of a record.
    """
    number = request.get("of")
    if number is None or (isinstance(number, int) and not isinstance(number, bool) and 0 <= number < 1 << 53):
        return number
    raise RefusedError("marker", "标记的编号不正确。", "This is not the number of a marker.")


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
