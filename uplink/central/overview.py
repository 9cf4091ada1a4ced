"""What a store shows of its devices and sessions: what is here, what is missing, what is late.

Lateness follows from records alone (:mod:`uplink.central.handover`): a session's media are due 24 hours after its end,
or after the return where the agency's rule lets hand-over wait; where the device's clock was unset they are urgent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from recorder.evidence import texts
from uplink.central.handover import HandOver

if TYPE_CHECKING:
    from collections.abc import Sequence

    from recorder.evidence.deadlines import Deadline
    from recorder.evidence.policy import Policy
    from uplink.central.archive import Archive, SessionState

_WORDS: Final = {
    "zh": {
        "complete": "已齐全",
        "missing": "尚缺{missing}个文件（{size}）",
        "records-missing": "记录不齐全",
        "unclosed": "未结束，尚缺{missing}个文件（{size}）",
        "late": "超过移交时限",
        "deferred": "延期移交（{defer}），返回后起算",
        "deferred-open": "延期移交（{defer}）超过{days}日未登记返回",
        "urgent": "设备时间未校准，请尽快移交",
        "totals": "逾期未移交{late}，即将到期{soon}，延期移交{deferred}，未结束{unclosed}。",
        "soon-late": "临近移交时限（{deadline}）",
        "handed-over-late": "逾期移交",
        "device": "设备{device}：最近联系{heard}，待移交{size}",
        "session": "  {session}  第{stream}路  {start} 至 {end}  {state}",
        "no-devices": "尚无设备移交。",
        "no-sessions": "尚无音像记录。",
        "alarm": "告警  {moment}  {device}  {code}（{times}次）：{detail}",
        "never": "从未",
        "taken": "已接收：记录{records}条（新增{records_new}），文件新增{files_new}个、原有{files_held}个、"
        "卡上没有{files_absent}个、与记录不符{files_wrong}个；无法读取{damages}处，拒收{refused}条。",
        "exported": "已导出到{out}：记录{records}条，文件{media}个（{size}）。",
        "attested": "证明已写入{out}。",
        "written": "已写入{out}。",
    },
    "en": {
        "complete": "complete",
        "missing": "{missing} files missing ({size})",
        "records-missing": "records missing",
        "unclosed": "not closed, {missing} files missing ({size})",
        "late": "LATE",
        "deferred": "deferred ({defer}), counted from the return",
        "deferred-open": "deferred ({defer}) for more than {days} days without a return",
        "urgent": "clock unset: hand over as soon as possible",
        "totals": "Late {late}, soon late {soon}, deferred {deferred}, not closed {unclosed}.",
        "soon-late": "due soon ({deadline})",
        "handed-over-late": "handed over late",
        "device": "device {device}: last heard {heard}, {size} still to come",
        "session": "  {session}  stream {stream}  {start} to {end}  {state}",
        "no-devices": "No device has handed anything over yet.",
        "no-sessions": "No recordings yet.",
        "alarm": "ALARM  {moment}  {device}  {code} ({times} times): {detail}",
        "never": "never",
        "taken": "Taken in: {records} records ({records_new} new); files: {files_new} new, {files_held} held before,"
        " {files_absent} not on the card, {files_wrong} not as recorded; {damages} unreadable places,"
        " {refused} refused.",
        "exported": "Exported to {out}: {records} records, {media} files ({size}).",
        "attested": "Attestation written to {out}.",
        "written": "Written: {out}.",
    },
}


def word(name: str, language: str, **values: object) -> str:
    """Return one of this page's texts."""
    return _WORDS[language][name].format_map(values)


def size(size_bytes: int) -> str:
    """Return a size for people."""
    amount = float(size_bytes)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 1000:  # noqa: PLR2004
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} TB"


def session_map(state: SessionState, deadline: Deadline) -> dict[str, Any]:
    """Return what is known of a session, for programs."""
    missing = state.files - state.held
    complete = state.complete_utc_ns is not None and missing == 0
    if complete:
        name = "complete"
    elif not state.closed:
        name = "unclosed"
    else:
        name = "missing" if missing else "records-missing"
    return {
        "session": state.session.hex(),
        "device": state.device,
        "log": state.log.hex(),
        "stream": state.stream,
        "state": name,
        "closed": state.closed,
        "records": state.records,
        "files": state.files,
        "files_missing": missing,
        "missing_size_bytes": state.missing_size_bytes,
        "start_utc_ns": state.start_utc_ns,
        "end_utc_ns": state.end_utc_ns,
        "deadline_utc_ns": deadline.due_utc_ns,
        "hand_over": deadline.state,
        "complete_utc_ns": state.complete_utc_ns,
        "late": not complete and deadline.late,
        "soon_late": not complete and deadline.soon,
        "handed_over_late": complete and deadline.late,
        "late_ns": deadline.late_ns,
        "deferral": deadline.deferral.reason if deadline.deferral else None,
        "deferral_days": deadline.deferral.max_days if deadline.deferral else None,
        "deferral_open_too_long": deadline.open_too_long,
        "deferrals_without_effect": [one.reason for one in deadline.refused],
        "returned": deadline.returned.sign if deadline.returned else None,
    }


def sessions_map(
    archive: Archive, device: str | None, now_utc_ns: int, known: Sequence[Policy] = ()
) -> list[dict[str, Any]]:
    """Return all sessions, or those of one device; ``known`` are the agencies' policies."""
    judged = HandOver(archive, known, now_utc_ns)
    return [session_map(state, judged.judge(state)) for state in archive.sessions(device)]


def status_map(archive: Archive, store: str, now_utc_ns: int, known: Sequence[Policy] = ()) -> dict[str, Any]:
    """Return the state of the store: devices with what is unfinished, late sessions, alarms."""
    judged = HandOver(archive, known, now_utc_ns)
    unfinished = [session_map(state, judged.judge(state)) for state in archive.sessions(unfinished_only=True)]
    devices = [
        {
            "device": one.device,
            "last_heard_utc_ns": one.last_heard_utc_ns,
            "software": one.software,
            "outstanding_size_bytes": one.outstanding_size_bytes,
            "missing_size_bytes": sum(
                session["missing_size_bytes"] for session in unfinished if session["device"] == one.device
            ),
            "unfinished": [session for session in unfinished if session["device"] == one.device],
        }
        for one in archive.devices()
    ]
    return {
        "store": store,
        "utc_ns": now_utc_ns,
        "free_size_bytes": archive.free_size_bytes(),
        "devices": devices,
        "late": [session["session"] for session in unfinished if session["late"]],
        "soon_late": [session["session"] for session in unfinished if session["soon_late"]],
        "deferred": [session["session"] for session in unfinished if session["hand_over"] == "deferred"],
        "unclosed": [session["session"] for session in unfinished if not session["closed"]],
        "alarms": [one._asdict() for one in archive.alarms()],
    }


def session_line(one: dict[str, Any], language: str) -> str:
    """Return one session as a line for people."""
    state = word(one["state"], language, missing=one["files_missing"], size=size(one["missing_size_bytes"]))
    marks = [state]
    if one["late"]:
        marks.append(word("late", language))
    if one["soon_late"]:
        marks.append(word("soon-late", language, deadline=_moment(one["deadline_utc_ns"])))
    if one["hand_over"] == "urgent":
        marks.append(word("urgent", language))
    if one["hand_over"] == "deferred":
        text = "deferred-open" if one["deferral_open_too_long"] else "deferred"
        defer = texts.named("defer", one["deferral"], language)
        marks.append(word(text, language, defer=defer, days=one["deferral_days"]))
    if one["handed_over_late"]:
        marks.append(word("handed-over-late", language))
    return word(
        "session",
        language,
        session=one["session"][:12],
        stream=one["stream"],
        start=_moment(one["start_utc_ns"]),
        end=_moment(one["end_utc_ns"]),
        state="，".join(marks) if language == "zh" else ", ".join(marks),
    )


def sessions_text(found: list[dict[str, Any]], language: str) -> str:
    """Return sessions for people, by device."""
    if not found:
        return word("no-sessions", language)
    lines: list[str] = []
    for device in sorted({one["device"] for one in found}):
        lines.append(device)
        lines += [session_line(one, language) for one in found if one["device"] == device]
    return "\n".join(lines)


def status_text(status: dict[str, Any], language: str) -> str:
    """Return the state of the store for people."""
    lines: list[str] = []
    for device in status["devices"]:
        lines.append(
            word(
                "device",
                language,
                device=device["device"],
                heard=_moment(device["last_heard_utc_ns"]),
                size=size(device["missing_size_bytes"]),
            )
        )
        lines += [session_line(one, language) for one in device["unfinished"]]
    lines = lines or [word("no-devices", language)]
    counts = {name: len(status[name]) for name in ("late", "deferred", "unclosed")}
    lines.append(word("totals", language, soon=len(status["soon_late"]), **counts))
    for alarm in status["alarms"]:
        shown = alarm | {"moment": _moment(alarm["last_utc_ns"]), "detail": texts.printable(alarm["detail"], 200)}
        lines.append(word("alarm", language, **shown))
    return "\n".join(lines)


def _moment(utc_ns: int) -> str:
    return texts.moment(utc_ns) or str(utc_ns)
