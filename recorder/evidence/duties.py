"""Each duty of the rules, for one session: met or not, on whose word, and at which second of the recording (R22). Pure.

Two things are never mixed: whether anything was altered (the verdict, :mod:`recorder.evidence.verdict`) and whether the
rules were kept (here). Nor are two weights: what a rule demands and is not there is a *finding*; what a rule leaves to
circumstances, or what only our own default asks, is a *question*; what may be recorded and was not is nothing.

A marker is a claim and not a proof, so each result names its basis: established by the device, declared by an officer
at the time, added later, or nothing at all.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from recorder.evidence.facts import DECLARED, DEVICE, LATER, NONE, STORE, Moment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from recorder.evidence.deadlines import Deadline
    from recorder.evidence.facts import Claim, Facts, Interval, Spoken
    from recorder.evidence.policy import Duty as MatterDuty
    from recorder.evidence.policy import Policy
    from recorder.evidence.timeline import Interruption

MET: Final = "met"
NOT_MET: Final = "not_met"
NOT_APPLICABLE: Final = "not_applicable"
CANNOT_JUDGE: Final = "cannot_judge"
STATUSES: Final = (MET, NOT_MET, NOT_APPLICABLE, CANNOT_JUDGE)

FINDING: Final = "finding"
QUESTION: Final = "question"

TOLD_WITHIN_NS: Final = 60 * 10**9
"""The party is told first; a telling that comes later in the recording than this is a finding."""
BEFORE_START_NS: Final = 2 * 10**9
"""Recording from so long before the start was asked for is a pre-event buffer; a warm camera's key frame is not."""
TELLING: Final = ("say.start.", "say.again", "say.reminder")
"""Beginnings of the ids of texts that tell the party."""
LAWFUL_GAPS: Final = ("unsuitable", "adjourned", "closed")
"""Causes for which the rules, or the closing of a counter, ask that nothing be recorded."""
LAWFUL_LINKS: Final = ("lawful-unsuitable", "lawful-adjourned", "lawful-device", "day")
STATED_ENDS: Final = ("done", "moved")
"""Ends that are a statement that the work on site is over."""
BROKEN_ENDS: Final = ("battery", "storage", "fault", "obstructed", "danger", "shutdown", "interrupted")
INDOORS: Final = ("hearing", "case_room", "hall", "expert_review")
"""Acts on the agency's own premises: there is no inspected place whose sign could be filmed."""
NO_PARTY: Final = ("hall", "service_notice", "expert_review")
"""Acts of which no party need be named, or at which none is present."""
REFUSALS: Final = ("inspection", "evidence", "signature", "service")


class Says(NamedTuple):
    """A sentence of the report: the id of its text, and what fills it."""

    text: str
    values: tuple[tuple[str, Any], ...] = ()


def says(text: str, **values: Any) -> Says:
    """Make a sentence; :func:`recorder.evidence.session_report.sentence` puts it into words."""
    return Says(text, tuple(values.items()))


class Finding(NamedTuple):
    """Something that waits for the officer's explanation and a supervisor's decision (R24)."""

    id: str
    """``finding.<id>`` in the catalogue of texts."""
    weight: str
    """:data:`FINDING` or :data:`QUESTION`."""
    rule: str
    moment: Moment | None = None
    values: tuple[tuple[str, Any], ...] = ()


@dataclass(frozen=True)
class Duty:
    """The result for one duty."""

    rule: str
    """``R2`` to ``R13``, ``R23``."""
    status: str
    basis: str
    articles: tuple[str, ...] = ()
    """Of the agency's rule; none where only a default asks for it."""
    moment: Moment | None = None
    """What shows it."""
    sentences: tuple[Says, ...] = ()
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True)
class Session:
    """What a session is judged on."""

    facts: Facts
    policy: Policy | None
    """None: none is at hand; what depends on it cannot be judged."""
    deadline: Deadline
    integrity: str | None = None
    """The verdict's: ``intact``, ``broken``, ``unjudged``; None where nothing was verified."""


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
    return found


def _accidental(duty: Duty) -> Duty:
    return replace(
        duty, status=NOT_APPLICABLE, basis=DECLARED, moment=None, sentences=(says("judged.accidental"),), findings=()
    )


def _photo(duty: Duty) -> Duty:
    return replace(duty, status=NOT_APPLICABLE, basis=NONE, moment=None, sentences=(says("judged.photo"),), findings=())


# -- shared ----------------------------------------------------------------------------------------------------------


def _weight(articles: Sequence[str]) -> str:
    """What a rule asks is a finding where it is absent; what only a default asks, a question."""
    return FINDING if articles else QUESTION


def _weakest(bases: Iterable[str]) -> str:
    order = (DEVICE, DECLARED, LATER, NONE)
    return max(bases, key=order.index, default=NONE)


def _start(facts: Facts) -> Moment | None:
    line = facts.line
    if line.opening is None:
        return None
    return Moment(line.pieces[0].start_ns if line.pieces else 0, facts.start_utc_ns, line.opening.sequence)


def at(facts: Facts, gap: Interruption) -> Moment:
    """Return when a gap began."""
    near = [piece for piece in facts.line.pieces if piece.start_ns <= gap.start_ns] or facts.line.pieces[:1]
    utc = near[-1].utc_ns(gap.start_ns) if near and near[-1].clock != "unset" else None
    return Moment(gap.start_ns, utc, gap.record.sequence)


def breaks(facts: Facts) -> list[Interruption]:
    """Return the gaps that no rule asks for."""
    return [gap for gap in facts.line.interruptions if gap.cause not in LAWFUL_GAPS]


def missing_ns(gaps: Sequence[Interruption]) -> int | None:
    """Return how long gaps are together, None where one of them has no known length."""
    lengths = [gap.length_ns for gap in gaps]
    return None if None in lengths else sum(length for length in lengths if length is not None)


def tellings(facts: Facts) -> list[Spoken]:
    """Return the announcements that tell the party, the first one first."""
    return [one for one in facts.announcements if one.text.startswith(TELLING)]


# -- R2: recorded as the rule says -----------------------------------------------------------------------------------


def _recorded(session: Session) -> Duty:
    facts, policy = session.facts, session.policy
    if policy is None:
        return Duty("R2", CANNOT_JUDGE, NONE, sentences=(says("judged.no_policy"),))
    if facts.matter is None:
        text = "judged.matter_sealed" if facts.sealed else "judged.matter_missing"
        absent = () if facts.sealed else (Finding("matter_missing", FINDING, "R2", _start(facts)),)
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
    base = Duty("R2", MET, DEVICE, articles, _start(facts), (asks,))
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
    moment = act[0].moment if act else _start(facts)
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
    weight = QUESTION if asked.condition else _weight(asked.whole_articles)
    moment = at(facts, gaps[0]) if gaps else base.moment
    return replace(
        base,
        status=CANNOT_JUDGE if asked.condition else NOT_MET,
        moment=moment,
        sentences=(*base.sentences, *problems),
        findings=(Finding("not_whole", weight, "R2", moment),),
    )


# -- R3: told first --------------------------------------------------------------------------------------------------


def _told(session: Session) -> Duty:
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
    absent = Finding("not_announced", _weight(articles), "R3", spoken[0].moment if spoken else _start(facts))
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
        late = Finding("told_late", _weight(articles), "R3", moment, (("length_ns", after_ns),))
        findings = (late, *early)
    status = NOT_MET if findings else MET
    return Duty("R3", status, basis, articles, moment, tuple(sentences), findings)


def _before_start(facts: Facts, told: Moment | None, articles: tuple[str, ...]) -> tuple[Finding, ...]:
    """Return the finding of a pre-event buffer: what was recorded before anybody asked for a recording."""
    opening, pieces = facts.line.opening, facts.line.pieces
    if opening is None or not pieces or pieces[0].boot != opening.boot:
        return ()
    before_ns = opening.boottime_ns - pieces[0].chunk.start_boottime_ns
    if before_ns <= BEFORE_START_NS:
        return ()
    if told is not None and told.media_ns is not None:
        before_ns = max(before_ns, told.media_ns - pieces[0].start_ns)
    moment = Moment(pieces[0].start_ns, None, pieces[0].record.sequence)
    return (Finding("before_telling", _weight(articles), "R3", moment, (("seconds", before_ns // 10**9),)),)


# -- R4: not intermittent --------------------------------------------------------------------------------------------


def _continuous(session: Session) -> Duty:
    facts, policy = session.facts, session.policy
    articles = policy.continuity.articles if policy else ()
    opening, close = facts.line.open_body, facts.line.close_body
    if opening is None:
        return Duty("R4", CANNOT_JUDGE, NONE, articles, sentences=(says("judged.unopened"),))
    link = opening.link_class
    moment = _start(facts)
    sentences: list[Says] = []
    findings: list[Finding] = []
    if link == "intermittent":
        findings.append(Finding("intermittent", _weight(articles), "R4", moment, _linked(facts)))
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
        findings.append(Finding("end_unstated", _weight(articles), "R4", None))
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


def _unselected(session: Session) -> Duty:
    facts, policy = session.facts, session.policy
    articles = policy.continuity.articles if policy else ()
    opening = facts.line.open_body
    checked = says(f"judged.integrity.{session.integrity or 'unchecked'}")
    if opening is not None and opening.link_class == "intermittent":
        again = Finding("possible_rerecording", QUESTION, "R5", _start(facts), _linked(facts))
        return Duty("R5", CANNOT_JUDGE, DEVICE, articles, again.moment, (says("judged.rerecording"), checked), (again,))
    status = MET if session.integrity == "intact" else CANNOT_JUDGE
    return Duty(
        "R5", status, DEVICE if status == MET else NONE, articles, sentences=(checked, says("judged.selection.limit"))
    )


# -- R6: particulars -------------------------------------------------------------------------------------------------


def particulars(facts: Facts) -> dict[str, Claim | str | None]:
    """Return, for each thing that a recording must show, the first claim of it; a basis alone for what has none."""
    places, officers = facts.said("place"), facts.officers_counted()
    position = facts.positions()
    parties = [claim for person, claim in facts.people() if person.role in ("party", "representative")]
    found: dict[str, Claim | str | None] = {
        "time": DEVICE if facts.start_utc_ns is not None else None,
        "place": places[0] if places else position[0][1] if position else None,
        "matter": facts.matters[0] if facts.matters else None,
        "officers": officers,
        "events": DEVICE if facts.line.pieces or facts.photos else None,
    }
    if facts.matter not in NO_PARTY and facts.mode != "continuous":
        found["party"] = parties[0] if parties else None
    return found


def _particulars(session: Session) -> Duty:
    facts, policy = session.facts, session.policy
    articles = policy.particulars.articles if policy else ()
    found = particulars(facts)
    absent = [name for name, claim in found.items() if claim is None]
    present = {name: claim for name, claim in found.items() if claim is not None}
    basis = _weakest(claim if isinstance(claim, str) else claim.basis for claim in present.values())
    sentences = [says("judged.particulars.present", whats=tuple(present))] if present else []
    added = [name for name, claim in present.items() if not isinstance(claim, str) and claim.basis == LATER]
    if added:
        sentences.append(says("judged.particulars.later", whats=tuple(added)))
    if not absent:
        return Duty("R6", MET, basis, articles, _start(facts), tuple(sentences))
    # What is absent may be in details that are not at hand; the time of the recording is never in one.
    hidden = facts.sealed and absent != ["time"]
    sentences.append(says("judged.particulars.hidden" if hidden else "judged.particulars.absent", whats=tuple(absent)))
    lacking = Finding("details_missing", _weight(articles), "R6", None, (("whats", tuple(absent)),))
    status = CANNOT_JUDGE if hidden else NOT_MET
    return Duty("R6", status, basis, articles, _start(facts), tuple(sentences), () if hidden else (lacking,))


# -- R7: the place ---------------------------------------------------------------------------------------------------


def _place(session: Session) -> Duty:
    facts, policy = session.facts, session.policy
    articles = policy.place.articles if policy else ()
    if facts.mode == "continuous" or facts.matter in INDOORS:
        return Duty("R7", NOT_APPLICABLE, NONE, articles, sentences=(says("judged.place.indoors"),))
    shown = sorted(
        facts.marked("place.sign", "place.landmark"), key=lambda one: (one.basis == LATER, one.moment.sequence)
    )
    if shown:
        text = "judged.place.sign" if shown[0].name.startswith("place.sign") else "judged.place.landmark"
        return Duty("R7", MET, shown[0].basis, articles, shown[0].moment, (says(text),))
    absent = Finding("no_place", _weight(articles), "R7")
    said = facts.said("place")
    sentences = (says("judged.place.spoken_only"),) if said else (says("judged.place.nothing"),)
    return Duty("R7", NOT_MET, NONE, articles, None, sentences, (absent,))


# -- R8: two officers ------------------------------------------------------------------------------------------------


def _officers(session: Session) -> Duty:
    facts, policy = session.facts, session.policy
    if policy is None:
        return Duty("R8", CANNOT_JUDGE, NONE, sentences=(says("judged.no_policy"),))
    articles = (*policy.officers.articles, *policy.officers.particulars_articles)
    if facts.matter is None and facts.sealed:
        return Duty("R8", CANNOT_JUDGE, NONE, articles, sentences=(says("judged.matter_sealed"),))
    if not policy.two_officers(facts.matter):
        return Duty("R8", NOT_APPLICABLE, NONE, articles, sentences=(says("judged.officers.unasked"),))
    counted = facts.officers_counted()
    number = int(counted.value) if counted else 0
    shown = facts.marked("credentials")
    sentences = [says("judged.officers.count", count=number)]
    findings: list[Finding] = []
    if number < policy.officers.minimum and not (facts.sealed and number == 0):
        findings.append(Finding("one_officer", _weight(articles), "R8", counted.moment if counted else None))
    if shown:
        sentences.append(says("judged.credentials", at_ns=shown[0].moment.media_ns))
    else:
        sentences.append(says("judged.credentials.none"))
        findings.append(Finding("no_credentials", _weight(policy.officers.particulars_articles), "R8"))
    basis = _weakest([*([counted.basis] if counted else [NONE]), *([shown[0].basis] if shown else [])])
    status = NOT_MET if findings else CANNOT_JUDGE if number < policy.officers.minimum else MET
    moment = shown[0].moment if shown else counted.moment if counted else None
    return Duty("R8", status, basis, articles, moment, tuple(sentences), tuple(findings))


# -- R9: rights ------------------------------------------------------------------------------------------------------


def _rights(session: Session) -> Duty:
    facts, policy = session.facts, session.policy
    if policy is None:
        return Duty("R9", CANNOT_JUDGE, NONE, sentences=(says("judged.no_policy"),))
    articles = policy.rights.articles
    told = facts.marked("rights")
    if told:
        return Duty("R9", MET, told[0].basis, articles, told[0].moment, (says("judged.rights"),))
    if facts.matter is None and facts.sealed:
        return Duty("R9", CANNOT_JUDGE, NONE, articles, sentences=(says("judged.matter_sealed"),))
    if facts.matter not in policy.rights.matters:
        return Duty("R9", NOT_APPLICABLE, NONE, articles, sentences=(says("judged.rights.unasked"),))
    # Rights may have been told in writing before or after: what no marker points to is asked, not found wanting.
    absent = Finding("no_rights", QUESTION, "R9")
    return Duty("R9", CANNOT_JUDGE, NONE, articles, None, (says("judged.rights.nothing"),), (absent,))


# -- R10: lawfully not recorded --------------------------------------------------------------------------------------


def _unsuitable(session: Session) -> Duty:
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


# -- R11: refusals ---------------------------------------------------------------------------------------------------


def _refusals(session: Session) -> Duty:
    facts, policy = session.facts, session.policy
    articles = policy.refusal.articles if policy else ()
    marked = facts.marked("refusal")
    if not marked:
        return Duty("R11", NOT_APPLICABLE, NONE, articles, sentences=(says("judged.refusal.none"),))
    sentences = [says("judged.refusal", marker=one.name, at_ns=one.moment.media_ns) for one in marked]
    findings: list[Finding] = []
    service = [one for one in marked if one.name.startswith("refusal.service")]
    if service:
        witness = bool(facts.marked("witness")) or any(person.role == "witness" for person, _ in facts.people())
        if witness:
            sentences.append(says("judged.witness"))
        elif facts.sealed:
            sentences.append(says("judged.witness.hidden"))
        else:
            findings.append(Finding("no_witness", _weight(articles), "R11", service[0].moment))
    status = NOT_MET if findings else MET
    return Duty("R11", status, marked[0].basis, articles, marked[0].moment, tuple(sentences), tuple(findings))


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
        late = Finding("late", _weight(articles), "R12", moment, (("hours", hours),))
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


# -- R23: the text record --------------------------------------------------------------------------------------------


def _text_record(session: Session) -> Duty:
    facts = session.facts
    if facts.mode == "continuous" or facts.matter == "hall":
        return Duty("R23", NOT_APPLICABLE, NONE, sentences=(says("judged.text.hall"),))
    named = facts.text_records()
    spoken = [one for one in facts.announcements if one.text in ("say.end.code", "say.code")]
    sentences = [says("judged.code", at_ns=one.moment.media_ns) for one in spoken[:1]]
    if named:
        record, claim = named[0]
        sentences.insert(0, says("judged.text", kind=record.kind, number=record.number))
        return Duty("R23", MET, claim.basis, (), claim.moment, tuple(sentences))
    if facts.sealed:
        return Duty("R23", CANNOT_JUDGE, NONE, (), None, (says("judged.text.hidden"), *sentences))
    # Its number may come until the file is closed.
    absent = Finding("no_text_record", QUESTION, "R23")
    return Duty("R23", CANNOT_JUDGE, NONE, (), None, (says("judged.text.nothing"), *sentences), (absent,))


_judges: Final[dict[str, Callable[[Session], Duty]]] = {
    "R2": _recorded,
    "R3": _told,
    "R4": _continuous,
    "R5": _unselected,
    "R6": _particulars,
    "R7": _place,
    "R8": _officers,
    "R9": _rights,
    "R10": _unsuitable,
    "R11": _refusals,
    "R12": _handed_over,
    "R13": _deferred,
    "R23": _text_record,
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
    if facts.accidental:
        found.append(Finding("accidental", QUESTION, "R4"))
    return tuple(found)


_CAUSES: Final = {"blocked": "lens_blocked", "frozen": "frozen", "moved": "moved"}
"""Gap cause to the finding that it is."""
