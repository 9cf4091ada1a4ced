"""Duties about what a recording shows: particulars, place, officers, rights, refusals, the text record. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from recorder.evidence.duty import (
    CANNOT_JUDGE,
    INDOORS,
    MET,
    NO_PARTY,
    NOT_APPLICABLE,
    NOT_MET,
    QUESTION,
    Duty,
    Finding,
    Session,
    says,
    start_of,
    weakest,
    weight_of,
)
from recorder.evidence.facts import DEVICE, LATER, NONE

if TYPE_CHECKING:
    from recorder.evidence.facts import Claim, Facts

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


def shown(session: Session) -> Duty:
    """Judge R6: time, place, matter, people and the course of events show."""
    facts, policy = session.facts, session.policy
    articles = policy.particulars.articles if policy else ()
    found = particulars(facts)
    absent = [name for name, claim in found.items() if claim is None]
    present = {name: claim for name, claim in found.items() if claim is not None}
    basis = weakest(claim if isinstance(claim, str) else claim.basis for claim in present.values())
    sentences = [says("judged.particulars.present", whats=tuple(present))] if present else []
    added = [name for name, claim in present.items() if not isinstance(claim, str) and claim.basis == LATER]
    if added:
        sentences.append(says("judged.particulars.later", whats=tuple(added)))
    if not absent:
        return Duty("R6", MET, basis, articles, start_of(facts), tuple(sentences))
    # What is absent may be in details that are not at hand; the time of the recording is never in one.
    hidden = facts.sealed and absent != ["time"]
    sentences.append(says("judged.particulars.hidden" if hidden else "judged.particulars.absent", whats=tuple(absent)))
    lacking = Finding("details_missing", weight_of(articles), "R6", None, (("whats", tuple(absent)),))
    status = CANNOT_JUDGE if hidden else NOT_MET
    return Duty("R6", status, basis, articles, start_of(facts), tuple(sentences), () if hidden else (lacking,))


# -- R7: the place ---------------------------------------------------------------------------------------------------


def place(session: Session) -> Duty:
    """Judge R7: the sign of the place, or landmarks and its name."""
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
    absent = Finding("no_place", weight_of(articles), "R7")
    said = facts.said("place")
    sentences = (says("judged.place.spoken_only"),) if said else (says("judged.place.nothing"),)
    return Duty("R7", NOT_MET, NONE, articles, None, sentences, (absent,))


# -- R8: two officers ------------------------------------------------------------------------------------------------


def officers(session: Session) -> Duty:
    """Judge R8: two officers or more where evidence is taken, certificates shown."""
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
        findings.append(Finding("one_officer", weight_of(articles), "R8", counted.moment if counted else None))
    if shown:
        sentences.append(says("judged.credentials", at_ns=shown[0].moment.media_ns))
    else:
        sentences.append(says("judged.credentials.none"))
        findings.append(Finding("no_credentials", weight_of(policy.officers.particulars_articles), "R8"))
    basis = weakest([*([counted.basis] if counted else [NONE]), *([shown[0].basis] if shown else [])])
    status = NOT_MET if findings else CANNOT_JUDGE if number < policy.officers.minimum else MET
    moment = shown[0].moment if shown else counted.moment if counted else None
    return Duty("R8", status, basis, articles, moment, tuple(sentences), tuple(findings))


# -- R9: rights ------------------------------------------------------------------------------------------------------


def rights(session: Session) -> Duty:
    """Judge R9: rights told, and how."""
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


# -- R11: refusals ---------------------------------------------------------------------------------------------------


def refusals(session: Session) -> Duty:
    """Judge R11: refusals are recorded; refused service with a witness."""
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
            findings.append(Finding("no_witness", weight_of(articles), "R11", service[0].moment))
    status = NOT_MET if findings else MET
    return Duty("R11", status, marked[0].basis, articles, marked[0].moment, tuple(sentences), tuple(findings))


# -- R23: the text record --------------------------------------------------------------------------------------------


def text_record(session: Session) -> Duty:
    """Judge R23: the recording accompanies a text record."""
    facts = session.facts
    if facts.mode == "continuous" or facts.matter == "hall":
        return Duty("R23", NOT_APPLICABLE, NONE, sentences=(says("judged.text.hall"),))
    named = facts.text_records()
    spoken = [one for one in facts.announcements if one.text in ("say.end.code", "say.code")]
    during = [one for one in spoken if one.moment.media_ns is not None]
    sentences = [says("judged.code", at_ns=one.moment.media_ns) for one in during[:1]]
    if spoken and not during:
        sentences.append(says("judged.code.after"))
    if named:
        record, claim = named[0]
        sentences.insert(0, says("judged.text", kind=record.kind, number=record.number))
        return Duty("R23", MET, claim.basis, (), claim.moment, tuple(sentences))
    if facts.sealed:
        return Duty("R23", CANNOT_JUDGE, NONE, (), None, (says("judged.text.hidden"), *sentences))
    # Its number may come until the file is closed.
    absent = Finding("no_text_record", QUESTION, "R23")
    return Duty("R23", CANNOT_JUDGE, NONE, (), None, (says("judged.text.nothing"), *sentences), (absent,))
