"""What the judgement of a duty is made of: status, basis, moment, sentences and findings; and what all judges ask."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from recorder.evidence.facts import DECLARED, DEVICE, LATER, NONE, Moment

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from recorder.evidence.deadlines import Deadline
    from recorder.evidence.facts import Facts, Spoken
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


def weight_of(articles: Sequence[str]) -> str:
    """What a rule asks is a finding where it is absent; what only a default asks, a question."""
    return FINDING if articles else QUESTION


def weakest(bases: Iterable[str]) -> str:
    """Return the basis of what rests on several."""
    order = (DEVICE, DECLARED, LATER, NONE)
    return max(bases, key=order.index, default=NONE)


def start_of(facts: Facts) -> Moment | None:
    """Return when the recording began."""
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
