"""An agency's policy: what its rule asks, value by value, each with the article that it comes from.

One TOML file per agency (``config/agencies/``), typed (:mod:`recorder.evidence.policy_form`), pure. The digest of the
file's bytes is signed into each ``session-open``: a session is judged by the file it was made under.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final, Literal

import msgspec

from recorder.evidence import policy_checks, speech, texts
from recorder.evidence.errors import EvidenceError
from recorder.evidence.policy_form import (
    ARTICLE_PATTERN,
    MATTERS,
    Agency,
    Announcement,
    Condition,
    Continuity,
    Copies,
    Deferral,
    DeferralReason,
    Devices,
    Duty,
    Filing,
    Ground,
    HandOver,
    Keeper,
    Names,
    NotRecorded,
    NotRecordedReason,
    NotRecording,
    Officers,
    Particulars,
    Place,
    PolicyFile,
    Recorded,
    Refusal,
    Right,
    Rights,
    Rule,
    Scope,
    Supervision,
    Term,
    YearlyList,
)

if TYPE_CHECKING:
    from datetime import date

__all__ = [
    "ARTICLE_PATTERN",
    "MATTERS",
    "MAX_POLICY_SIZE_BYTES",
    "NO_FILE_SHA256",
    "Agency",
    "Announcement",
    "Condition",
    "Continuity",
    "Copies",
    "Deferral",
    "DeferralReason",
    "Devices",
    "Duty",
    "Filing",
    "Ground",
    "HandOver",
    "Keeper",
    "Names",
    "NotRecorded",
    "NotRecordedReason",
    "NotRecording",
    "Officers",
    "Particulars",
    "Place",
    "Policy",
    "PolicyError",
    "PolicyFile",
    "Recorded",
    "Refusal",
    "Right",
    "Rights",
    "Rule",
    "Scope",
    "Supervision",
    "Term",
    "YearlyList",
    "article_number",
    "parse",
    "without_file",
]

MAX_POLICY_SIZE_BYTES: Final = 256 << 10
NO_FILE_SHA256: Final = hashlib.sha256(b"").digest()
"""``policy_sha256`` of a session that was made without a policy file."""
_UNSUITABLE: Final[tuple[NotRecordedReason, ...]] = ("state_secret", "trade_secret", "privacy", "explosive")


class PolicyError(EvidenceError):
    """A policy file is not one: unreadable, a key that is not known, or values that contradict each other."""


class Policy(PolicyFile, frozen=True, kw_only=True):
    """A policy file with its digest, and the questions that a session asks of it."""

    digest: bytes
    """SHA-256 of the file's bytes, ``policy_sha256`` of ``session-open``."""

    def duty(self, matter: str | None) -> Duty:
        """Return what the rule says of a matter; a matter that is not known (yet) is unnamed, never an error."""
        return self.matters.get(matter or "other", Duty())

    def may_defer(self, reason: str) -> bool:
        """Tell whether hand-over may be deferred on this ground (R13)."""
        return any(ground.reason == reason for ground in self.deferral.reasons)

    def not_recorded_reason(self, reason: str, matter: str | None, scope: Scope = "act") -> NotRecorded | None:
        """Return the agency's entry for a lawful reason, None where this reason cannot be given here (R10, R23).

        That the text record suffices excuses a whole act from the start, never the rest of one, and never an act
        that must be recorded, under a condition or not; nor an act that has not been named.
        """
        entry = next((entry for entry in self.not_recorded.reasons if entry.reason == reason), None)
        if entry is not None and entry.reason == "text_sufficient":
            excused = matter in self.matters and self.duty(matter).recorded != "must" and scope == "act"
            return entry if excused else None
        return entry

    def restart(self, matter: str | None) -> Literal["linked", "refused"]:
        """Return what becomes of a new start at the same place: never refused where the act must be recorded (R4).

        Nor where the act has not been named: it may turn out to be one that must.
        """
        if matter not in self.matters or self.duty(matter).recorded == "must":
            return "linked"
        return self.continuity.restart

    def start_text(self, mode: str, matter: str | None) -> str | None:
        """Return the id of the text that is spoken at a start; None for ``continuous``, where a sign tells."""
        if mode == "continuous":
            return None
        if mode == "video" and matter in self.announcement.matters:
            return self.announcement.matters[matter]
        return {"audio": self.announcement.audio, "photo": self.announcement.photo}.get(mode, self.announcement.video)

    def two_officers(self, matter: str | None) -> bool:
        """Tell whether fewer than ``officers.minimum`` officers are reported for this matter (R8)."""
        return matter in self.officers.matters

    def holds_on(self, day: date) -> bool | None:
        """Tell whether this version holds on a day; None where its text leaves that open."""
        end = self.term.end
        if (self.term.first_day is not None and day < self.term.first_day) or (end is not None and day > end):
            return False
        unknown = self.term.first_day is None or (self.term.years is not None and end is None)
        return None if unknown else True


def without_file() -> Policy:
    """Return what holds where a device has no readable policy file: a device never refuses to record.

    No act is named, hand-over is due in 24 hours and cannot be deferred; the reasons for not recording are those that
    every rule has. Its digest is that of no bytes, by which a verifier knows that there was no file.
    """
    reasons = (
        *(NotRecorded(reason=reason) for reason in _UNSUITABLE),
        NotRecorded(reason="other_unsuitable", explain=True),
    )
    return Policy(
        digest=NO_FILE_SHA256,
        version="0",
        agency=Agency(id="", zh="行政执法机关", en="the enforcement agency"),
        rule=Rule(letter="", zh="", en=""),
        term=Term(),
        matters={name: Duty() for name in MATTERS},
        not_recorded=NotRecording(reasons=reasons),
        filing=Filing(start="act_ended"),
        keeper=Keeper(kind="unit", zh="本单位", en="the unit"),
        copies=Copies(view=False, consent="agency_head"),
        supervision=Supervision(zh="本单位", en="the unit"),
    )


def article_number(article: str, language: str = "zh") -> str:
    """Return an article's number as it stands in a sentence, 第…条: ``F13(2)`` is 十三, or 13 in English."""
    match = ARTICLE_PATTERN.fullmatch(article)
    if match is None:
        return texts.printable(article)
    return speech.numeral(int(match[2])) if language == "zh" else match[2]


def parse(data: bytes) -> Policy:
    """Parse a policy file.

    Raises:
        PolicyError: not TOML, a key that is not known or missing, or values that cannot hold together; the message
            names the key and says what is wrong.
    """
    if len(data) > MAX_POLICY_SIZE_BYTES:
        raise PolicyError("larger than a policy file can be")
    try:
        form = msgspec.toml.decode(data, type=PolicyFile, strict=True)
    except msgspec.ValidationError as error:
        raise PolicyError(str(error)) from error
    except (msgspec.DecodeError, ValueError) as error:
        raise PolicyError(f"not readable as TOML: {error}") from error
    problems = policy_checks.problems(form)
    if problems:
        raise PolicyError("; ".join(problems))
    fields = {name: getattr(form, name) for name in form.__struct_fields__}
    return Policy(digest=hashlib.sha256(data).digest(), **fields)
