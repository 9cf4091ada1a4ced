"""The form of a policy file: its tables, and the words that they may hold.

What a rule says is told by its articles; a value without articles is a default of ours, and :attr:`Sourced.basis` says
which of the two it is. Acts are named by the closed list :data:`MATTERS`. What the rules say of an act (R2):

============== =======================================================================================
must           it is recorded (应)
circumstances  it is recorded as circumstances require (根据实际情况)
may            it can be recorded (可)
process        its course is recorded, in writing or otherwise: the rule leaves open how
installed      cameras are installed, and the rule says no more
text           only a text record is asked for
unnamed        the rule does not name it
============== =======================================================================================
"""

from __future__ import annotations

import re
from datetime import date, timedelta
from typing import Annotated, Final, Literal

import msgspec

MATTERS: Final = (
    "on_site_inspection",
    "sampling",
    "hearing",
    "seal_seize",
    "compulsory_other",
    "remove_restore",
    "enforcement_other",
    "preserve_evidence",
    "questioning",
    "statement_defence",
    "summary_penalty",
    "service_direct",
    "service_leaving",
    "service_notice",
    "correction_check",
    "dispose_goods",
    "case_room",
    "hall",
    "expert_review",
    "other",
)
"""The closed list of acts that a session can be of; ``matter.<id>`` in the catalogue of texts."""

ARTICLE_PATTERN: Final = re.compile(r"([A-Z])([1-9][0-9]{0,2})(?:\(([1-9][0-9]?)\))?")
"""An article: the rule's letter, its number, and the numbered item where there is one: ``A8``, ``J27(3)``."""

Recorded = Literal["must", "circumstances", "may", "process", "installed", "text", "unnamed"]
Condition = Literal["dispute_likely", "major_property", "safety_equipment"]
DeferralReason = Literal["continuous", "elsewhere", "remote"]
NotRecordedReason = Literal[
    "state_secret", "trade_secret", "privacy", "explosive", "other_unsuitable", "text_sufficient"
]
Scope = Literal["act", "interval", "end"]
Right = Literal["statement", "defence", "avoidance", "hearing", "remedy"]
Matter = Annotated[str, msgspec.Meta(min_length=1)]


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of the file."""


class Sourced(Section, frozen=True, kw_only=True):
    """A table with the articles that it rests on."""

    articles: tuple[str, ...] = ()
    """Articles of the agency's rule; none where the value is a default of ours."""

    @property
    def basis(self) -> Literal["rule", "default"]:
        """``rule`` where an article says so, ``default`` where it is only our choice."""
        return "rule" if self.articles else "default"


class Names(Section, frozen=True, kw_only=True):
    """A name in both languages."""

    zh: str
    en: str


class Agency(Names, frozen=True, kw_only=True):
    """``[agency]``: whose policy this is."""

    id: str


class Rule(Names, frozen=True, kw_only=True):
    """``[rule]``: the document that the articles are of."""

    letter: str
    """What articles of this rule begin with: one capital letter."""


class Term(Sourced, frozen=True, kw_only=True):
    """``[term]``: when this version holds, in days of Beijing time, both included."""

    first_day: date | None = None
    """Absent where the rule's text does not tell the day on which it was issued."""
    last_day: date | None = None
    """Absent where the rule has no end that is known."""
    years: int | None = None
    """For a rule that holds for so many years from its first day; then the last day is counted."""
    trial: bool = False
    """The rule calls itself a trial (试行)."""

    @property
    def end(self) -> date | None:
        """The last day on which it holds, None where it is open or cannot be known."""
        if self.last_day is not None or self.years is None or self.first_day is None:
            return self.last_day
        return _years_later(self.first_day, self.years) - timedelta(days=1)


class Duty(Sourced, frozen=True, kw_only=True):
    """``[matters.<id>]``: what the rule says of one act."""

    recorded: Recorded = "unnamed"
    whole: bool = False
    """From beginning to end: an incomplete recording is a finding."""
    whole_articles: tuple[str, ...] = ()
    """Articles that ask for the whole in words; none where it is the agency's own choice."""
    condition: Condition | None = None
    """``recorded`` and ``whole`` hold only under this condition, which a person judges, never the device."""
    otherwise: Recorded = "unnamed"
    """What is said of the act where the condition does not hold."""
    otherwise_articles: tuple[str, ...] = ()
    manner: Literal["fitting", "real_time"] | None = None
    """In a fitting manner (以适当方式), or in real time (实时)."""
    photo_articles: tuple[str, ...] = ()
    """Articles that ask for photographs by name."""
    quiet: bool = False
    """Cues by light and vibration, not by voice."""

    @property
    def absence(self) -> Literal["finding", "question", "nothing"]:
        """What a missing recording is: a finding for must, a question where somebody had to judge, else nothing."""
        if self.recorded == "must":
            return "question" if self.condition else "finding"
        return "question" if self.recorded == "circumstances" else "nothing"


class Refusal(Sourced, frozen=True, kw_only=True):
    """``[refusal]``: a party who refuses (R11)."""

    recorded: Literal["must", "text_or_recording", "unnamed"] = "unnamed"


class Announcement(Sourced, frozen=True, kw_only=True):
    """``[announcement]``: telling the party when the device is switched on (R3)."""

    video: str = "say.start.av"
    """Ids of texts, spoken at the start by the session's mode."""
    audio: str = "say.start.audio"
    photo: str = "say.start.photo"
    again: str = "say.again"
    reminder: str = "say.reminder"
    matters: dict[Matter, str] = {}
    """Texts for certain matters, where these are known at the start; for sessions with picture."""
    reminder_minutes: Annotated[int, msgspec.Meta(ge=0, le=120)] = 15
    """Spoken again so often; 0: never. Quiet matters get a light."""
    pre_event_max_seconds: Annotated[int, msgspec.Meta(ge=0, le=30)] = 0
    """The longest pre-event buffer that a device may be configured with; 0: none."""


class Continuity(Sourced, frozen=True, kw_only=True):
    """``[continuity]``: no intermittent recording at one place (R4)."""

    restart: Literal["linked", "refused"] = "linked"
    """What becomes of a new start at the same place; :meth:`Policy.restart` is what holds for a matter."""
    grace_seconds: Annotated[int, msgspec.Meta(ge=5, le=60)] = 10
    """Recording goes on for so long after the end was asked for."""


class Place(Sourced, frozen=True, kw_only=True):
    """``[place]``: the sign of the place is filmed, or landmarks, and its name spoken (R7)."""


class Particulars(Sourced, frozen=True, kw_only=True):
    """``[particulars]``: time, place, matter, parties, officers and the course of events show (R6)."""


class NotRecorded(Sourced, frozen=True, kw_only=True):
    """One entry of ``[not_recorded] reasons``: a lawful reason (R10)."""

    reason: NotRecordedReason
    explain: bool = False
    """It must be said what it is (须说明)."""


class NotRecording(Section, frozen=True, kw_only=True):
    """``[not_recorded]``: when an act, or an interval, is lawfully not recorded."""

    reasons: tuple[NotRecorded, ...] = ()
    in_writing: bool = True
    """The reason is put down in writing."""
    in_writing_articles: tuple[str, ...] = ()
    reminder_minutes: Annotated[int, msgspec.Meta(ge=1, le=10)] = 1
    """The officer is reminded so often that recording is off."""
    bound_minutes: Annotated[int, msgspec.Meta(ge=1, le=480)] = 30
    """An interval that lasts longer is a finding to be reviewed."""


class HandOver(Sourced, frozen=True, kw_only=True):
    """``[hand_over]``: when recordings must be at the store (R12)."""

    hours: Annotated[int, msgspec.Meta(ge=1, le=24)] = 24
    continuous_clock: Literal["capture", "session_end"] = "capture"
    """What the hours count from in a hall: each chunk's own end, or the end of the day's session."""
    officers_may_not_keep: bool = False
    """The rule says that officers may not keep recordings themselves."""
    officers_may_not_keep_articles: tuple[str, ...] = ()


class Ground(Sourced, frozen=True, kw_only=True):
    """One entry of ``[deferral] reasons``."""

    reason: DeferralReason


class Deferral(Section, frozen=True, kw_only=True):
    """``[deferral]``: hand-over after the return, where the rule knows that (R13)."""

    reasons: tuple[Ground, ...] = ()
    """Empty: the rule knows no late hand-over, and none can be made."""
    hours_after_return: Annotated[int, msgspec.Meta(ge=1, le=24)] = 24
    """The clock starts at the return to the officers' own unit."""
    max_days: Annotated[int, msgspec.Meta(ge=1, le=365)] = 7
    """A deferral that is open for longer is shown. No rule has a limit: a default."""


class Officers(Sourced, frozen=True, kw_only=True):
    """``[officers]``: how many take evidence (R8)."""

    minimum: Annotated[int, msgspec.Meta(ge=1, le=9)] = 2
    matters: tuple[Matter, ...] = ()
    """Where fewer are reported."""
    particulars_articles: tuple[str, ...] = ()
    """Articles that ask for number, names, certificate numbers and their showing to be recorded."""


class Rights(Sourced, frozen=True, kw_only=True):
    """``[rights]``: rights told, and the manner of telling (R9)."""

    rights: tuple[Right, ...] = ()
    matters: tuple[Matter, ...] = ()
    """Where the report looks for the marker."""


class Filing(Sourced, frozen=True, kw_only=True):
    """``[filing]``: 30 calendar days (R16)."""

    days: Annotated[int, msgspec.Meta(ge=1, le=365)] = 30
    start: Literal["matter_completed", "act_ended", "case_closed"]
    """办结之日, 执法行为终结之日, 结案之日."""
    special_law_first: bool = False
    """Where a law has a term of its own, that one holds."""

    @property
    def counts_without_case(self) -> bool:
        """A session without a case counts from its own end: the act has ended, whatever it belongs to."""
        return self.start == "act_ended"


class Keeper(Sourced, frozen=True, kw_only=True):
    """``[keeper]``: who files and keeps (R17)."""

    zh: str
    en: str
    kind: Literal["unit", "department", "each_department", "person", "person_in_each_department"]


class Copies(Sourced, frozen=True, kw_only=True):
    """``[copies]``: what parties may apply for, and who consents (R18)."""

    view: bool
    consent: Literal["disclosure", "agency_head", "department_head"]
    """``disclosure``: no consent, handled under the Open Government Information Regulations."""
    also: Names | None = None
    """A further document that applies."""


class Supervision(Sourced, frozen=True, kw_only=True):
    """``[supervision]``: the one body that supervises all (R17)."""

    zh: str
    en: str


class Devices(Sourced, frozen=True, kw_only=True):
    """``[devices]``: how many recorders (R15)."""

    provided: Literal["one_each", "as_needed", "unnamed"] = "unnamed"


class YearlyList(Sourced, frozen=True, kw_only=True):
    """``[yearly_list]``: each department lists last year's cases by this day (R22)."""

    month: Annotated[int, msgspec.Meta(ge=1, le=12)]
    day: Annotated[int, msgspec.Meta(ge=1, le=31)]


class PolicyFile(Section, frozen=True, kw_only=True):
    """The whole file."""

    version: str
    agency: Agency
    rule: Rule
    term: Term
    matters: dict[Matter, Duty]
    refusal: Refusal = Refusal()
    announcement: Announcement = Announcement()
    continuity: Continuity = Continuity()
    place: Place = Place()
    particulars: Particulars = Particulars()
    not_recorded: NotRecording = NotRecording()
    hand_over: HandOver = HandOver()
    deferral: Deferral = Deferral()
    officers: Officers = Officers()
    rights: Rights = Rights()
    filing: Filing
    keeper: Keeper
    copies: Copies
    supervision: Supervision
    devices: Devices = Devices()
    yearly_list: YearlyList | None = None


def _years_later(day: date, years: int) -> date:
    try:
        return day.replace(year=day.year + years)
    except ValueError:  # 29 February
        return date(day.year + years, 3, 1)
