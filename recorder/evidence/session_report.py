"""The report on one session (R22, R24): what happened when, each duty with its basis, what is to be explained.

A function of the records, the opened details, the policy, the attestation and the verdict; it judges nothing by itself
that :mod:`recorder.evidence.duties` or :mod:`recorder.evidence.verdict` have not judged, and keeps the two apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from recorder.evidence import deadlines, duties, duties_recording, duty, faults, texts
from recorder.evidence.duty import FINDING, NOT_MET, QUESTION, Finding, Session
from recorder.evidence.facts import DEVICE, Moment
from recorder.evidence.records import ZERO_HASH

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from recorder.evidence.deadlines import Deadline, Deferred, Returned
    from recorder.evidence.duty import Duty
    from recorder.evidence.facts import Facts, Statement
    from recorder.evidence.policy import Policy
    from recorder.evidence.statements import Attestation
    from recorder.evidence.verdict import Verdict

RENDERER: Final = "liuhen-session-report/2"
"""Changes whenever another report would come out of the same evidence."""


class Handed(NamedTuple):
    """What is known of a session's hand-over."""

    complete: bool
    """A store of the unit has all of it."""
    utc_ns: int | None = None
    """By when."""
    exact: bool = True
    """False: ``utc_ns`` is only an upper bound, which can prove that it was in time, and never that it was late."""
    missing: frozenset[int] = frozenset()
    """Sequences of records whose file is not handed over."""

    @classmethod
    def attested(cls, attestation: Attestation) -> Handed:
        """Return what an attestation that is believed tells."""
        missing = frozenset(attestation.media_missing)
        if not attestation.closed or missing:
            return cls(complete=False, missing=missing)
        exact = attestation.complete_utc_ns
        return cls(complete=True, utc_ns=attestation.utc_ns if exact is None else exact, exact=exact is not None)


class Event(NamedTuple):
    """One line of the timeline."""

    moment: Moment
    text: str
    """Id of the text."""
    values: tuple[tuple[str, Any], ...] = ()


@dataclass(frozen=True)
class Report:
    """Everything that the report says, in no language yet."""

    facts: Facts
    policy: Policy | None
    duties: tuple[Duty, ...]
    findings: tuple[Finding, ...]
    """What a rule demands and is not there."""
    questions: tuple[Finding, ...]
    """What is left to circumstances, or to a default, and should be explained."""
    deadline: Deadline
    events: tuple[Event, ...]
    attestation: Attestation | None
    verdict: Verdict | None

    @property
    def made_under(self) -> bytes | None:
        """Digest of the policy that the device signed at the start; None where it had none, or no opening is here."""
        opening = self.facts.line.open_body
        return None if opening is None or opening.policy_sha256 == ZERO_HASH else opening.policy_sha256

    def duty(self, rule: str) -> Duty:
        """Return the result for one duty."""
        return next(one for one in self.duties if one.rule == rule)


def report(
    facts: Facts,
    policy: Policy | None,
    now_utc_ns: int,
    handed: Handed | None,
    attestation: Attestation | None = None,
    verdict: Verdict | None = None,
    deferrals: Iterable[Deferred] = (),
    returns: Iterable[Returned] = (),
) -> Report:
    """Judge one session and put its report together.

    Args:
        facts: what its records and details say.
        policy: the agency's; None where none is at hand.
        now_utc_ns: the clock of the one who asks: for what is not handed over yet.
        handed: what is known of its hand-over; None where nothing is.
        attestation: the store's, where it can be believed.
        verdict: of the verification, where there was one.
        deferrals: those of the device log that speak of it, beside its own.
        returns: the same for signs of the return.
    """
    deadline = deadline_of(facts, policy, now_utc_ns, handed, deferrals, returns)
    judged = duties.judge(Session(facts, policy, deadline, verdict.integrity if verdict else None))
    found = [one for judgement in judged for one in judgement.findings]
    found += [*duties.quality(facts), *_policy_findings(facts, policy)]
    return Report(
        facts=facts,
        policy=policy,
        duties=judged,
        findings=tuple(one for one in found if one.weight == FINDING),
        questions=tuple(one for one in found if one.weight == QUESTION),
        deadline=deadline,
        events=_events(facts),
        attestation=attestation,
        verdict=verdict,
    )


def deadline_of(
    facts: Facts,
    policy: Policy | None,
    now_utc_ns: int,
    handed: Handed | None,
    deferrals: Iterable[Deferred] = (),
    returns: Iterable[Returned] = (),
) -> Deadline:
    """Say how the hand-over of a session stands, as far as its records and a store tell."""
    line = facts.line
    rule = deadlines.rule_of(policy, facts.mode)
    away = [*deadlines.deferrals_of(line.records, line.session), *deferrals]
    back = [*deadlines.returns_of(line.records), *returns]
    if handed is None:
        known = [one for one in away if one.reason in rule.deferral_reasons]
        refused = tuple(one for one in away if one not in known)
        return deadlines.Deadline("unknown", deferral=known[0] if known else None, refused=refused)

    def judge(end_utc_ns: int | None) -> Deadline:
        return deadlines.judge(
            rule,
            closed=line.closing is not None,
            end_utc_ns=end_utc_ns,
            now_utc_ns=now_utc_ns,
            handed_over=handed.complete,
            handed_over_utc_ns=handed.utc_ns,
            deferrals=away,
            returns=back,
        )

    found = judge(facts.end_utc_ns)
    if rule.from_capture and found.state != "unclosed":
        earliest = judge(_first_capture(facts, handed.missing))
        # When each file arrived is not told: between the two bounds nobody knows.
        found = found if found.late else deadlines.untimed(earliest) if handed.complete and earliest.late else earliest
    if found.state == "handed-over-late" and not handed.exact:
        return deadlines.untimed(found)
    return found


def _first_capture(facts: Facts, missing: frozenset[int]) -> int | None:
    """Return the end of the oldest chunk that is not handed over, of the oldest one at all when all are."""
    pieces = [piece for piece in facts.line.pieces if piece.record.sequence in missing] or facts.line.pieces
    if not pieces:
        return facts.end_utc_ns
    return None if pieces[0].clock == "unset" else pieces[0].utc_ns(pieces[0].end_ns)


def _policy_findings(facts: Facts, policy: Policy | None) -> list[Finding]:
    opening = facts.line.open_body
    if policy is None or opening is None:
        return []
    found = []
    if opening.policy_sha256 not in (ZERO_HASH, policy.digest):
        found.append(Finding("other_policy", FINDING, "R2"))
    if facts.start_utc_ns is not None and texts.moment(facts.start_utc_ns) is not None:
        day = datetime.fromtimestamp(facts.start_utc_ns // 10**9, UTC).astimezone(texts.BEIJING).date()
        if policy.holds_on(day) is False:
            found.append(Finding("policy_out_of_force", FINDING, "R2"))
    return found


def _events(facts: Facts) -> tuple[Event, ...]:
    line, found = facts.line, list[Event]()
    opening, close = line.open_body, line.close_body
    if opening is not None and line.opening is not None:
        begin = Moment(0, facts.start_utc_ns, line.opening.sequence)
        found.append(Event(begin, "report.event.open", (("mode", opening.mode),)))
        if opening.linked_session is not None:
            session = opening.linked_session.hex()[:12]
            found.append(Event(begin, "report.event.restart", (("session", session),)))
    found += [
        Event(one.moment, "report.event.announced", (("announced", one.text), ("heard", one.heard)))
        for one in facts.announcements
    ]
    found += [Event(one.moment, f"marker.{one.name}") for one in facts.markers]
    found += [Event(one, "report.event.photo") for one in facts.photos]
    # A device says every few minutes where it is: the first time is an event, and the rest are counted.
    places = [one for one in facts.statements if one.role == DEVICE]
    found += [
        Event(one.moment, _event_of(one), (("role", one.role),))
        for one in facts.statements
        if one.role != DEVICE or one is places[0]
    ]
    found += [
        Event(
            duty.at(facts, gap),
            "report.event.gap",
            (("cause", gap.cause), ("tracks", gap.tracks), ("length", gap.length_ns)),
        )
        for gap in line.interruptions
        if gap.cause != "unsuitable" or not facts.intervals  # told by the interval, with its reason
    ]
    found += [Event(one.moment, *duties_recording.interval_sentence(one)) for one in facts.intervals]
    found += [
        Event(one.moment, "report.quality.fault", (("code", one.code), ("times", one.times))) for one in facts.troubles
    ]
    found += [
        Event(one.moment, f"finding.{duties.IMPAIRED[one.code][0]}", (("length_ns", one.length_ns),))
        for one in facts.impairments
        if one.code in duties.IMPAIRED
    ]
    if close is not None and line.closing is not None:
        end = line.pieces[-1].end_ns if line.pieces else 0
        moment = Moment(end, facts.end_utc_ns, line.closing.sequence)
        found.append(Event(moment, "report.event.close", (("reason", close.reason),)))
    return tuple(sorted(found, key=_order))


def _event_of(statement: Statement) -> str:
    said = statement.details
    unjudged = said is not None and said.code_dates_judged is False
    return "report.event.details.unjudged" if unjudged else "report.event.details"


def _order(event: Event) -> tuple[bool, int, int]:
    # What was said after the end has no place in the recording: it comes last, in the order of the log.
    return event.moment.media_ns is None, event.moment.media_ns or 0, event.moment.sequence


# -- figures (R22) ---------------------------------------------------------------------------------------------------


def figures(found: Report) -> dict[str, Any]:
    """Return what the analysis of many sessions needs of this one: counts, lengths, and yes or no."""
    facts = found.facts
    line = facts.line
    gaps = duty.breaks(facts)
    intervals: dict[str, dict[str, int]] = {}
    for one in facts.intervals:
        counted = intervals.setdefault(one.reason, {"count": 0, "length_ns": 0, "lawful": int(one.lawful)})
        counted["count"] += 1
        counted["length_ns"] += one.length_ns or 0
    markers: dict[str, int] = {}
    for mark in facts.markers:
        markers[mark.name] = markers.get(mark.name, 0) + 1
    officers = facts.officers_counted()
    return {
        "counts": not facts.accidental,
        "length_ns": line.pieces[-1].end_ns - line.pieces[0].start_ns if line.pieces else 0,
        "chunks": len(line.pieces),
        "gaps": len(gaps),
        "gaps_length_ns": duty.missing_ns(gaps),
        "not_recorded": dict(sorted(intervals.items())),
        "markers": dict(sorted(markers.items())),
        "officers": int(officers.value) if officers else 0,
        "announced": found.duty("R3").status,
        "whole": not any(one.id == "not_whole" for one in (*found.findings, *found.questions)),
        "intermittent": any(one.id == "intermittent" for one in (*found.findings, *found.questions)),
        "handed_over": found.deadline.state,
        "late_ns": found.deadline.late_ns,
        "findings": len(found.findings),
        "questions": len(found.questions),
        "not_met": [one.rule for one in found.duties if one.status == NOT_MET],
    }


# -- sentences -------------------------------------------------------------------------------------------------------

_GROUPS: Final = {
    "reason": "notrec",
    "unable": "unable",
    "recorded": "recorded",
    "matter": "matter",
    "condition": "condition",
    "end": "end",
    "defer": "defer",
    "sign": "return",
    "mode": "mode",
    "heard": "heard",
    "cause": "gap",
    "role": "author",
    "checked": "checked",
}
"""Values that are ids: which group of texts they are of."""


def sentence(text: str, values: Iterable[tuple[str, Any]], language: str) -> str:
    """Put a sentence into words: ids become names, nanoseconds lengths and moments; what is not known says so."""
    filled = {name: _filled(text, name, value, language) for name, value in values}
    if "length_ns" in filled:
        filled["duration"] = filled["length_ns"]
    group, _, name = text.partition(".")
    if group == "marker":
        return marker(name, language)
    if not texts.known(text):
        return texts.named(group, name, language)
    return texts.text(text, language, **filled)


def marker(name: str, language: str) -> str:
    """Return the name of a marker; rights are told as ``rights.<manner>.<right>+<right>``, as far as it is known."""
    kind, *finer = name.split(".")
    if kind != "rights":
        return texts.named("marker", name, language)
    manner = finer[0] if finer and texts.known(f"manner.{finer[0]}") else None
    rights = [one for one in finer[1].split("+") if texts.known(f"right.{one}")] if len(finer) > 1 else []
    if manner is None or not rights:
        return texts.text("marker.rights_told", language)
    told = texts.text("page.comma", language).join(texts.text(f"right.{one}", language) for one in rights)
    return texts.text("marker.rights", language, rights=told, manner=texts.text(f"manner.{manner}", language))


def _list(group: str, names: Iterable[str], language: str) -> str:
    return texts.text("page.comma", language).join(texts.named(group, one, language) for one in names)


def _length(length_ns: int | None, language: str) -> str:
    return texts.text("page.unknown", language) if length_ns is None else texts.length(length_ns, language)


def _moment(utc_ns: int | None, language: str) -> str:
    return (texts.moment(utc_ns) if utc_ns is not None else None) or texts.text("page.unknown", language)


def _place(media_ns: int | None, _: str) -> str:
    return "–" if media_ns is None else texts.clock_length(media_ns)


def _fault(code: str, language: str) -> str:
    """Name a fault by its number and cause; one of a later version by its code."""
    found = faults.find(code)
    return texts.printable(code) if found is None else f"{found.number} {found.cause.of(language)}"


def _announced(text: str, language: str) -> str:
    """Name an announcement by the kind of its text: ``say.<kind>…``."""
    kinds = text.split(".")[1:]
    return texts.named("announced", "code" if "code" in kinds else kinds[0] if kinds else text, language)


_FORMS: Final[dict[str, Callable[[Any, str], str]]] = {
    **dict.fromkeys(("length_ns", "delay_ns", "length"), _length),
    **dict.fromkeys(("at_ns", "until_ns"), _place),
    **dict.fromkeys(("utc_ns", "due_utc_ns"), _moment),
    "whats": lambda value, language: _list("particular", value, language),
    "tracks": lambda value, language: _list("track", value, language),
    "marker": marker,
    "announced": _announced,
}


def _filled(text: str, name: str, value: Any, language: str) -> Any:
    if name in _FORMS:
        return _FORMS[name](value, language)
    if text == "report.quality.fault" and name == "code":
        return _fault(value, language)
    group = "end" if text == "report.event.close" else _GROUPS.get(name)
    if group is not None:
        return texts.named(group, value, language) if value else ""
    return texts.printable(value, 200) if isinstance(value, str) else value
