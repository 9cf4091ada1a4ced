"""Duties about the recording itself: recorded and whole, told first, unbroken, lawfully left out. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from recorder.evidence.duty import (
    BEFORE_START_NS,
    BROKEN_ENDS,
    CANNOT_JUDGE,
    FINDING,
    LAWFUL_LINKS,
    MET,
    NOT_APPLICABLE,
    NOT_MET,
    QUESTION,
    STATED_ENDS,
    TOLD_WITHIN_NS,
    Duty,
    Finding,
    Says,
    Session,
    at,
    breaks,
    missing_ns,
    says,
    start_of,
    tellings,
    weight_of,
)
from recorder.evidence.facts import DECLARED, DEVICE, NONE, Moment

if TYPE_CHECKING:
    from collections.abc import Sequence

    from recorder.evidence.facts import Facts, Interval, Spoken
    from recorder.evidence.policy import Duty as MatterDuty
    from recorder.evidence.policy import Policy

# -- R2: recorded as the rule says -----------------------------------------------------------------------------------


def recorded(session: Session) -> Duty:
    """Judge R2: the act is recorded as the rule says, and whole where it asks for that."""
    facts, policy = session.facts, session.policy
    if policy is None:
        return Duty("R2", CANNOT_JUDGE, NONE, sentences=(says("judged.no_policy"),))
    if facts.matter is None:
        text = "judged.matter_sealed" if facts.sealed else "judged.matter_missing"
        absent = () if facts.sealed else (Finding("matter_missing", FINDING, "R2", start_of(facts)),)
        return Duty("R2", CANNOT_JUDGE, NONE, sentences=(says(text),), findings=absent)
    asked = policy.duty(facts.matter)
    articles = (*asked.articles, *(one for one in asked.whole_articles if one not in asked.articles))
    asks = says(
        "judged.asked.condition" if asked.condition else "judged.asked",
        recorded=asked.recorded,
        matter=facts.matter,
        condition=asked.condition or "",
    )
    if not facts.line.pieces and not facts.photos:
        return _nothing_recorded(session, asked, articles, asks)
    opening = facts.line.open_body
    base = Duty("R2", MET, DEVICE, articles, start_of(facts), (asks,))
    if asked.whole or (opening is not None and opening.must_be_whole):
        return _whole(facts, base, asked)
    if asked.recorded in ("must", "circumstances", "process", "installed"):
        return replace(base, sentences=(asks, says("judged.recorded")))
    return replace(base, status=NOT_APPLICABLE, sentences=(asks, says("judged.recorded.unasked")))


def _nothing_recorded(session: Session, asked: MatterDuty, articles: tuple[str, ...], asks: Says) -> Duty:
    facts, policy = session.facts, session.policy
    act = [one for one in facts.intervals if one.scope == "act"]
    excused = [
        one
        for one in act
        if one.lawful and policy is not None and policy.not_recorded_reason(one.reason, facts.matter, "act") is not None
    ]
    if excused:
        reason = says("judged.not_recorded.lawful", reason=excused[0].reason)
        return Duty("R2", NOT_APPLICABLE, DECLARED, articles, excused[0].moment, (asks, reason))
    moment = act[0].moment if act else start_of(facts)
    found = Finding("not_recorded", asked.absence, "R2", moment, (("matter", facts.matter),))
    if asked.absence == "nothing":
        return Duty("R2", NOT_APPLICABLE, NONE, articles, moment, (asks,))
    status = NOT_MET if asked.absence == FINDING else CANNOT_JUDGE
    return Duty("R2", status, DECLARED if act else NONE, articles, moment, (asks,), (found,))


def _whole(facts: Facts, base: Duty, asked: MatterDuty) -> Duty:
    gaps = breaks(facts)
    close, opening = facts.line.close_body, facts.line.open_body
    problems: list[Says] = []
    if gaps:
        problems.append(says("judged.whole.gaps", count=len(gaps), length_ns=missing_ns(gaps)))
    if close is None:
        problems.append(says("judged.unclosed"))
    elif close.reason in BROKEN_ENDS:
        problems.append(says("judged.whole.end", end=close.reason))
    if opening is not None and opening.link_class in ("intermittent", "after-fault"):
        problems.append(says("judged.whole.restart", link=opening.link_class))
    if not problems:
        return replace(base, sentences=(*base.sentences, says("judged.whole")))
    weight = QUESTION if asked.condition else weight_of(asked.whole_articles)
    moment = at(facts, gaps[0]) if gaps else base.moment
    return replace(
        base,
        status=CANNOT_JUDGE if asked.condition else NOT_MET,
        moment=moment,
        sentences=(*base.sentences, *problems),
        findings=(Finding("not_whole", weight, "R2", moment),),
    )


# -- R3: told first --------------------------------------------------------------------------------------------------


def told(session: Session) -> Duty:
    """Judge R3: the party is told first, and the device heard it or an officer says so."""
    facts, policy = session.facts, session.policy
    articles = policy.announcement.articles if policy else ()
    if facts.mode == "continuous":
        return Duty("R3", NOT_APPLICABLE, NONE, articles, sentences=(says("judged.told.sign"),))
    spoken = tellings(facts)
    heard = [(one.moment, DEVICE, one) for one in spoken if one.heard in ("heard", "companion")]
    declared = [(one.moment, one.basis, None) for one in facts.marked("told")]
    ways = sorted([*heard, *declared], key=lambda way: (way[0].media_ns is None, way[0].media_ns or 0))
    early = _before_start(facts, ways[0][0] if ways else None, articles)
    if ways:
        return _told_at(facts, articles, ways[0], spoken, early)
    unchecked = [one for one in spoken if one.heard == "not-checked"]
    if unchecked:
        sentences = (says("judged.told.unchecked"),)
        return Duty("R3", CANNOT_JUDGE, DEVICE, articles, unchecked[0].moment, sentences, early)
    absent = Finding("not_announced", weight_of(articles), "R3", spoken[0].moment if spoken else start_of(facts))
    sentences = (says("judged.told.not_heard", count=len(spoken)) if spoken else says("judged.told.nothing"),)
    basis = DEVICE if spoken else NONE
    return Duty("R3", NOT_MET, basis, articles, absent.moment, sentences, (absent, *early))


def _told_at(
    facts: Facts,
    articles: tuple[str, ...],
    way: tuple[Moment, str, Spoken | None],
    spoken: Sequence[Spoken],
    early: tuple[Finding, ...],
) -> Duty:
    moment, basis, announcement = way
    first = facts.line.pieces[0].start_ns if facts.line.pieces else 0
    after_ns = (moment.media_ns or first) - first
    if announcement is None:
        sentences = [says("judged.told.declared", at_ns=moment.media_ns)]
        if spoken:
            sentences.append(says("judged.told.not_heard", count=len(spoken)))
    else:
        text = "judged.told.companion" if announcement.heard == "companion" else "judged.told.heard"
        sentences = [says(text, at_ns=moment.media_ns), says("judged.told.limit")]
        if announcement.delay_ns is not None and announcement.level_millibels is not None:
            sentences.insert(
                1,
                says(
                    "judged.told.figures", delay_ns=announcement.delay_ns, decibels=announcement.level_millibels // 100
                ),
            )
    again = [one for one in spoken if one.moment.sequence > moment.sequence and one.text == "say.again"]
    sentences += [
        says(
            "judged.told.again" if one.heard in ("heard", "companion") else "judged.told.again.not_heard",
            at_ns=one.moment.media_ns,
        )
        for one in again
    ]
    findings = early
    if after_ns > TOLD_WITHIN_NS:
        late = Finding("told_late", weight_of(articles), "R3", moment, (("length_ns", after_ns),))
        findings = (late, *early)
    status = NOT_MET if findings else MET
    return Duty("R3", status, basis, articles, moment, tuple(sentences), findings)


def _before_start(facts: Facts, told: Moment | None, articles: tuple[str, ...]) -> tuple[Finding, ...]:
    """Return the finding of a pre-event buffer: what was recorded before anybody asked for a recording."""
    opening, pieces = facts.line.opening, facts.line.pieces
    if opening is None or not pieces or pieces[0].boot != opening.boot:
        return ()
    before_ns = opening.boottime_ns - pieces[0].chunk.start_boottime_ns
    # What the device itself states to be from before the start is told however short it is.
    stated = facts.line.open_body is not None and facts.line.open_body.pre_event_ns > 0
    if before_ns <= (0 if stated else BEFORE_START_NS):
        return ()
    if told is not None and told.media_ns is not None:
        before_ns = max(before_ns, told.media_ns - pieces[0].start_ns)
    moment = Moment(pieces[0].start_ns, None, pieces[0].record.sequence)
    return (Finding("before_telling", weight_of(articles), "R3", moment, (("seconds", max(before_ns // 10**9, 1)),)),)


# -- R4: not intermittent --------------------------------------------------------------------------------------------


def continuous(session: Session) -> Duty:
    """Judge R4: recording at one place is not intermittent, and ends by a statement."""
    facts, policy = session.facts, session.policy
    articles = policy.continuity.articles if policy else ()
    opening, close = facts.line.open_body, facts.line.close_body
    if opening is None:
        return Duty("R4", CANNOT_JUDGE, NONE, articles, sentences=(says("judged.unopened"),))
    link = opening.link_class
    moment = start_of(facts)
    sentences: list[Says] = []
    findings: list[Finding] = []
    if link == "intermittent":
        findings.append(Finding("intermittent", weight_of(articles), "R4", moment, _linked(facts)))
        sentences.append(says("judged.link.intermittent", session=_short(opening.linked_session)))
    elif link is not None:
        sentences.append(
            says(
                f"judged.link.{link}" if link in _LINKS else "judged.link.other",
                session=_short(opening.linked_session),
                link=link,
            )
        )
    else:
        sentences.append(says("judged.link.none"))
    lawful = [gap for gap in facts.line.interruptions if gap.cause in ("unsuitable", "adjourned")]
    if lawful:
        sentences.append(says("judged.lawful_stops", count=len(lawful)))
    unstated = close is not None and close.reason in STATED_ENDS and not close.statement
    if unstated:
        findings.append(Finding("end_unstated", weight_of(articles), "R4", None))
    if close is None:
        sentences.append(says("judged.unclosed"))
    status = NOT_MET if findings else CANNOT_JUDGE if close is None else MET
    # What an officer gave as the reason for the earlier end makes a link lawful; the device only repeats it.
    basis = DECLARED if link in ("lawful-unsuitable", "lawful-adjourned", "lawful-device") else DEVICE
    return Duty("R4", status, basis, articles, moment, tuple(sentences), tuple(findings))


_LINKS: Final = (*LAWFUL_LINKS, "after-fault")


def _short(session: bytes | None) -> str:
    return session.hex()[:12] if session else "–"


def _linked(facts: Facts) -> tuple[tuple[str, Any], ...]:
    opening = facts.line.open_body
    return (("session", _short(opening.linked_session if opening else None)),)


# -- R5: not selected, not recorded afterwards, nothing inserted -----------------------------------------------------


def unselected(session: Session) -> Duty:
    """Judge R5: nothing recorded afterwards, as the links tell; nothing cut or inserted, as the verdict does."""
    facts, policy = session.facts, session.policy
    articles = policy.continuity.articles if policy else ()
    opening = facts.line.open_body
    checked = says(f"judged.integrity.{session.integrity or 'unchecked'}")
    if opening is not None and opening.link_class == "intermittent":
        again = Finding("possible_rerecording", QUESTION, "R5", start_of(facts), _linked(facts))
        return Duty("R5", CANNOT_JUDGE, DEVICE, articles, again.moment, (says("judged.rerecording"), checked), (again,))
    status = MET if session.integrity == "intact" else CANNOT_JUDGE
    return Duty(
        "R5", status, DEVICE if status == MET else NONE, articles, sentences=(checked, says("judged.selection.limit"))
    )


# -- R10: lawfully not recorded --------------------------------------------------------------------------------------


def unsuitable(session: Session) -> Duty:
    """Judge R10: what was not recorded has a reason that the rule allows."""
    facts, policy = session.facts, session.policy
    if not facts.intervals:
        return Duty(
            "R10", NOT_APPLICABLE, NONE, _reason_articles(policy, ()), sentences=(says("judged.unsuitable.none"),)
        )
    if policy is None:
        return Duty("R10", CANNOT_JUDGE, DECLARED, (), facts.intervals[0].moment, (says("judged.no_policy"),))
    findings: list[Finding] = []
    sentences: list[Says] = []
    for one in facts.intervals:
        sentences.append(interval_sentence(one))
        findings += _interval_findings(one, facts, policy)
    aloud = [one for one in facts.announcements if one.text == "say.end.unsuitable"]
    if aloud:
        sentences.append(says("judged.unsuitable.spoken", at_ns=aloud[0].moment.media_ns))
    articles = _reason_articles(policy, [one.reason for one in facts.intervals])
    wrong = any(one.weight == FINDING for one in findings)
    status = NOT_MET if wrong else CANNOT_JUDGE if findings else MET
    return Duty("R10", status, DECLARED, articles, facts.intervals[0].moment, tuple(sentences), tuple(findings))


def _reason_articles(policy: Policy | None, reasons: Sequence[str]) -> tuple[str, ...]:
    if policy is None:
        return ()
    found = [
        article
        for entry in policy.not_recorded.reasons
        if not reasons or entry.reason in reasons
        for article in entry.articles
    ]
    return tuple(dict.fromkeys([*found, *policy.not_recorded.in_writing_articles]))


def interval_sentence(one: Interval) -> Says:
    """Say what was not recorded, and why."""
    if not one.lawful:
        return says("judged.unable", unable=one.reason)
    if one.scope == "act":
        return says("judged.unsuitable.act", reason=one.reason)
    if one.scope == "end":
        return says("judged.unsuitable.end", reason=one.reason)
    if one.open:
        return says("judged.unsuitable.open", reason=one.reason, at_ns=one.start_ns)
    return says(
        "judged.unsuitable.interval",
        reason=one.reason,
        at_ns=one.start_ns,
        until_ns=one.end_ns,
        length_ns=one.length_ns,
    )


def _interval_findings(one: Interval, facts: Facts, policy: Policy) -> list[Finding]:
    if not one.lawful:
        asked = policy.duty(facts.matter)
        # What failed was not chosen: whether it could have been prevented is for a person to say.
        return [
            Finding(
                "unable",
                QUESTION if asked.absence != FINDING else FINDING,
                "R10",
                one.moment,
                (("unable", one.reason),),
            )
        ]
    found: list[Finding] = []
    scope: Any = one.scope if one.scope in ("act", "interval", "end") else "interval"
    if policy.not_recorded_reason(one.reason, facts.matter, scope) is None:
        found.append(Finding("reason_unknown", FINDING, "R10", one.moment, (("reason", one.reason),)))
    if one.length_ns is not None and one.length_ns > policy.not_recorded.bound_minutes * 60 * 10**9:
        values = (("length_ns", one.length_ns), ("minutes", policy.not_recorded.bound_minutes))
        found.append(Finding("unsuitable_long", QUESTION, "R10", one.moment, values))
    return found
