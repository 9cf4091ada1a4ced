"""Each duty of the rules, for one session: met or not, on whose word, and at which second of the recording (R22). Pure.

Two things are never mixed: whether anything was altered (the verdict, :mod:`recorder.evidence.verdict`) and whether the
rules were kept (here). Nor are two weights: what a rule demands and is not there is a *finding*; what a rule leaves to
circumstances, or what only our own default asks, is a *question*; what may be recorded and was not is nothing.

A marker is a claim and not a proof, so each result names its basis: established by the device, declared by an officer
at the time, added later, or nothing at all.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from recorder.evidence import duties_particulars, duties_recording
from recorder.evidence.duty import (
    CANNOT_JUDGE,
    FINDING,
    MET,
    NOT_APPLICABLE,
    NOT_MET,
    QUESTION,
    Duty,
    Finding,
    Session,
    at,
    says,
    weight_of,
)
from recorder.evidence.facts import DECLARED, DEVICE, NONE, STORE, Moment

if TYPE_CHECKING:
    from collections.abc import Callable

    from recorder.evidence.facts import Facts, Impairment


def judge(session: Session) -> tuple[Duty, ...]:
    """Judge each duty.

    A session that was started by mistake, and so stated at its end, is kept and listed, and judged by no duty of its
    own but hand-over.
    """
    found = tuple(_judges[rule](session) for rule in RULES)
    if session.facts.accidental:
        found = tuple(one if one.rule in ("R5", "R12", "R13") else _accidental(one) for one in found)
    if session.facts.mode == "photo" and session.facts.line.pieces == ():
        found = tuple(one if one.rule != "R4" else _photo(one) for one in found)
    if session.facts.only_stated:
        found = tuple(one if one.rule in _OF_A_STATEMENT else _unrecorded(one) for one in found)
    return found


_OF_A_STATEMENT: Final = ("R2", "R5", "R10", "R12", "R13", "R23")
"""Duties that an act has of which nothing was recorded; the others are about what a recording shows."""


def _unrecorded(duty: Duty) -> Duty:
    return replace(
        duty, status=NOT_APPLICABLE, basis=NONE, moment=None, sentences=(says("judged.only_stated"),), findings=()
    )


def _accidental(duty: Duty) -> Duty:
    return replace(
        duty, status=NOT_APPLICABLE, basis=DECLARED, moment=None, sentences=(says("judged.accidental"),), findings=()
    )


def _photo(duty: Duty) -> Duty:
    return replace(duty, status=NOT_APPLICABLE, basis=NONE, moment=None, sentences=(says("judged.photo"),), findings=())


# -- R12, R13: hand-over ---------------------------------------------------------------------------------------------


def _handed_over(session: Session) -> Duty:
    policy, deadline = session.policy, session.deadline
    articles = policy.hand_over.articles if policy else ()
    state = deadline.state
    values = {"due_utc_ns": deadline.due_utc_ns, "length_ns": deadline.late_ns}
    sentence = says(f"judged.deadline.{state}", **values)
    moment = Moment(None, deadline.due_utc_ns, 0) if deadline.due_utc_ns is not None else None
    known = STORE if state.startswith("handed-over") else DEVICE
    if deadline.late:
        hours = max(-(-deadline.late_ns // (3600 * 10**9)), 1)
        late = Finding("late", weight_of(articles), "R12", moment, (("hours", hours),))
        return Duty("R12", NOT_MET, known, articles, moment, (sentence,), (late,))
    status = MET if state == "handed-over" else CANNOT_JUDGE
    return Duty("R12", status, known if deadline.due_utc_ns is not None else NONE, articles, moment, (sentence,))


def _deferred(session: Session) -> Duty:
    policy, deadline = session.policy, session.deadline
    known = policy.deferral.reasons if policy else ()
    articles = tuple(dict.fromkeys(article for ground in known for article in ground.articles))
    refused = tuple(
        Finding("deferral_unknown", FINDING, "R13", Moment(None, one.utc_ns, 0), (("defer", one.reason),))
        for one in deadline.refused
    )
    if deadline.deferral is None and not refused:
        text = "judged.deferral.none" if known or policy is None else "judged.deferral.unasked"
        return Duty("R13", NOT_APPLICABLE, NONE, articles, sentences=(says(text),))
    if policy is None:
        return Duty("R13", CANNOT_JUDGE, DECLARED, sentences=(says("judged.no_policy"),))
    if deadline.deferral is None:
        return Duty("R13", NOT_MET, DECLARED, articles, sentences=(says("judged.deferral.refused"),), findings=refused)
    one = deadline.deferral
    moment = Moment(None, one.utc_ns, 0)
    sentences = [says("judged.deferral", defer=one.reason)]
    if deadline.returned is not None:
        sentences.append(says("judged.return", sign=deadline.returned.sign, utc_ns=deadline.returned.utc_ns))
    else:
        sentences.append(says("judged.return.none"))
    findings = refused
    if deadline.open_too_long:
        findings = (Finding("deferral_open", QUESTION, "R13", moment, (("days", one.max_days),)), *findings)
    late = deadline.late
    settled = deadline.state == "handed-over" and not findings
    status = NOT_MET if late else MET if settled else CANNOT_JUDGE
    return Duty("R13", status, DECLARED, articles, moment, tuple(sentences), findings)


_judges: Final[dict[str, Callable[[Session], Duty]]] = {
    "R2": duties_recording.recorded,
    "R3": duties_recording.told,
    "R4": duties_recording.continuous,
    "R5": duties_recording.unselected,
    "R6": duties_particulars.shown,
    "R7": duties_particulars.place,
    "R8": duties_particulars.officers,
    "R9": duties_particulars.rights,
    "R10": duties_recording.unsuitable,
    "R11": duties_particulars.refusals,
    "R12": _handed_over,
    "R13": _deferred,
    "R23": duties_particulars.text_record,
}
RULES: Final = tuple(_judges)
"""The duties that one session is judged by, in order."""


# -- what no single duty holds ---------------------------------------------------------------------------------------


def quality(facts: Facts) -> tuple[Finding, ...]:
    """Return what picture, sound, time and gaps show: nobody's duty by number, and still to be explained."""
    found = [
        Finding(
            "unexplained_gap" if gap.cause == "unknown" else _CAUSES[gap.cause],
            FINDING if gap.cause == "unknown" else QUESTION,
            "R5" if gap.cause == "unknown" else "R20",
            at(facts, gap),
            (("length_ns", gap.length_ns),),
        )
        for gap in facts.line.interruptions
        if gap.cause == "unknown" or gap.cause in _CAUSES
    ]
    found += [
        Finding("silent", QUESTION, "R6", Moment(one.start_ns, None, 0), (("length_ns", one.end_ns - one.start_ns),))
        for one in facts.silences
    ]
    found += [
        Finding(*IMPAIRED[one.code], one.moment, (("length_ns", one.length_ns),))
        for one in facts.impairments
        if one.code in IMPAIRED and not _told_by_the_level(facts, one)
    ]
    if facts.accidental:
        found.append(Finding("accidental", QUESTION, "R4"))
    return tuple(found)


def _told_by_the_level(facts: Facts, one: Impairment) -> bool:
    """A silence that the levels of the chunks show too is one silence."""
    return one.code == "sound_silent" and any(
        silence.start_ns < one.end_ns and one.start_ns < silence.end_ns for silence in facts.silences
    )


IMPAIRED: Final = {
    "lens_blocked": ("lens_blocked", QUESTION, "R20"),
    "picture_dark": ("dark", QUESTION, "R6"),
    "picture_frozen": ("frozen", QUESTION, "R20"),
    "sound_silent": ("silent", QUESTION, "R6"),
}
"""Code of what a recording suffered from, to the finding that it is."""
_CAUSES: Final = {"blocked": "lens_blocked", "frozen": "frozen", "moved": "moved"}
"""Gap cause to the finding that it is."""
