"""What officers state that is no part of a running recording (R6, R10, R12, R13).

Where each statement goes:

* An act of which nothing is recorded, lawfully (R10) or because it could not be: a session of its own, opened and
  closed at once, with a ``not-recorded`` record and the statement itself in a details file, but no media. So it is
  handed over, exported, verified and reported like a recording; a missing one would show.
* A deferral speaks of whatever the device holds and records until its return: it is signed into the device log, and
  into each session that is closed and not handed over, then and later, so that a package holds it. The return likewise.
* Details after the end: into the log of their session, with its id.

Between open and close of a session nothing of another has a place: what belongs to an earlier one waits for the close.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

from recorder.conduct import classified
from recorder.control import RefusedError
from recorder.evidence import details as particulars
from recorder.evidence import records, texts
from recorder.evidence.details import SessionDetails
from recorder.lawful import on_this_boot
from recorder.session import Open

if TYPE_CHECKING:
    from collections.abc import Iterable

    from recorder.clock import Clock, Instant
    from recorder.conduct import Conduct
    from recorder.evidence.policy import Policy
    from recorder.evidence.records import Body
    from recorder.spool.media import FileFacts
    from recorder.spool.past import Over
    from recorder.spool.spool import Spool
    from recorder.stream import StreamRecorder

log = logging.getLogger(__name__)

UNABLE: Final = (
    "device_fault",
    "battery",
    "storage",
    "emergency",
    "environment",
    "obstructed",
    "not_carried",
)
"""Why something could not be recorded: never a lawful reason."""


ABSENT_NS: Final = 1_800_000_000_000
"""Without a word from the store for so long, the device was away from it."""


class Declarations:
    """What is stated to one device.

    Every method may raise :class:`recorder.spool.errors.DiskFullError`: there was no room for what had to be signed.
    """

    def __init__(self, spool: Spool, clock: Clock, agency: Policy, *, only_at_unit: bool = False) -> None:
        """Make one; ``only_at_unit`` says that the store is heard nowhere but at the unit."""
        self._spool = spool
        self._only_at_unit = only_at_unit
        self._heard_boottime_ns: int | None = None
        """When the store was heard last."""
        self._clock = clock
        self._agency = agency
        self._due: dict[int, list[tuple[bytes, Body]]] = {}
        """By stream, what is to be signed into sessions that are over as soon as none is open."""

    # -- an act of which nothing is recorded ---------------------------------------------------------------------

    def not_recorded(self, conduct: Conduct, reason: str, stated: SessionDetails) -> dict[str, Any]:
        """A whole act was lawfully not recorded (R10).

        Raises:
            RefusedError: a recording is under way, matter, officers or explanation are missing, or the agency's rule
                does not know this reason for this act.
        """
        _need_statement(conduct, stated)
        entry = self._agency.not_recorded_reason(reason, stated.matter, "act")
        if entry is None:
            known = [
                one.reason
                for one in self._agency.not_recorded.reasons
                if self._agency.not_recorded_reason(one.reason, stated.matter, "act") is not None
            ]
            raise self._no_reason("notrec", reason, known)
        if entry.explain and not stated.note:
            raise RefusedError("note", "须说明是何种情形（--note）。", "It must be said what was unsuitable (--note).")
        session = self._put_on_record(conduct, records.NotRecorded(reason=reason, scope="act", lawful=True), stated)
        rule = self._agency.rule
        return _stated(conduct, session, reason, self._clock.now()) | {
            "rule": {"zh": rule.zh, "en": rule.en},
            "articles": list(entry.articles),
        }

    def unable(self, conduct: Conduct, reason: str, stated: SessionDetails) -> dict[str, Any]:
        """An act could not be recorded: on record, and never as lawful (R10).

        Raises:
            RefusedError: a recording is under way, matter, officers or account are missing, or there is no such
                reason.
        """
        _need_statement(conduct, stated)
        if reason not in UNABLE:
            raise self._no_reason("unable", reason, UNABLE)
        if not stated.note:
            raise RefusedError("note", "须说明经过（--note）。", "An account of what happened is needed (--note).")
        session = self._put_on_record(conduct, records.NotRecorded(reason=reason, scope="act", lawful=False), stated)
        return _stated(conduct, session, reason, self._clock.now())

    def _put_on_record(self, conduct: Conduct, body: records.NotRecorded, stated: SessionDetails) -> bytes:
        def bodies(facts: FileFacts) -> list[Body]:
            return [body, _details(facts, stated, "start")]

        session = conduct.stream.log.put_on_record(Open("command", stated.matter), particulars.encode(stated), bodies)
        self.closed(conduct.stream, session)
        log.info("stream %s: not recorded: %s (%s)", conduct.stream.section.name, body.reason, session.hex()[:8])
        return session

    # -- later hand-over -----------------------------------------------------------------------------------------

    def defer(self, conducts: Iterable[Conduct], reason: str) -> dict[str, Any]:
        """Hand-over waits for the return to the unit (R13), for what the device holds and records until then.

        Raises:
            RefusedError: the agency's rule knows no later hand-over, or not on this ground.
        """
        every = list(conducts)
        if not self._agency.may_defer(reason):
            known = [ground.reason for ground in self._agency.deferral.reasons]
            if not known:
                every[0].cue("cue.deferral.none")
                rule = self._agency.rule
                raise RefusedError(
                    "deferral",
                    f"{rule.zh}：{texts.text('cue.deferral.none')}",
                    f"{rule.en}: {texts.text('cue.deferral.none', 'en')}",
                )
            raise self._no_reason("defer", reason, known)
        body = records.Deferral(reason=reason, max_days=self._agency.deferral.max_days)
        self._spool.append(0, None, [body])
        covered = self._sign_into(every, body)
        every[0].cue("cue.deferral.set")
        log.info("hand-over is deferred (%s), %d sessions so far", reason, len(covered))
        return {"reason": reason, "max_days": body.max_days, "sessions": covered}

    def returned(self, conducts: Iterable[Conduct]) -> dict[str, Any]:
        """Officers state that they are back at their unit: the hours of a deferral begin (R13).

        Raises:
            RefusedError: no deferral is open.
        """
        if self._spool.past.deferral() is None:
            raise RefusedError(
                "deferral",
                "没有尚未返回的延期移交；移交时限自记录结束时起算。",
                "No deferral is open: the time for hand-over runs from the end of each recording.",
            )
        return self._returned(list(conducts), "statement")

    def heard_store(self, conducts: Iterable[Conduct]) -> None:
        """New receipts have come: where the store is heard at the unit alone, after an absence that is the return."""
        now = self._clock.now()
        before_ns, self._heard_boottime_ns = self._heard_boottime_ns, now.boottime_ns
        if not self._only_at_unit or self._spool.past.deferral() is None:
            return
        (deferred,) = self._spool.past.newest("deferral")
        # Where nobody knows when the deferral was stated, that was in another boot: the device has been off since.
        known = [one for one in (before_ns, on_this_boot(deferred, now)) if one is not None]
        if not known or now.boottime_ns - max(known) >= ABSENT_NS:
            self._returned(list(conducts), "network")

    def _returned(self, every: list[Conduct], sign: str) -> dict[str, Any]:
        body = records.Return(sign=sign)
        self._spool.append(0, None, [body])
        covered = self._sign_into(every, body)
        every[0].cue("cue.return.set")
        log.info("the return is on record (%s), %d sessions to be handed over", sign, len(covered))
        return {"sign": body.sign, "hours": self._agency.deferral.hours_after_return, "sessions": covered}

    def closed(self, stream: StreamRecorder, session: bytes) -> None:
        """A session has been closed: a deferral that is open covers it, too."""
        deferral = self._spool.past.deferral()
        if deferral is not None:
            self._due.setdefault(stream.number, []).append((session, deferral))
        self._sign_due(stream)

    def _sign_into(self, conducts: Iterable[Conduct], body: Body) -> list[str]:
        """Sign into each session that is closed and not handed over; return these."""
        covered = self._spool.past.not_handed_over()
        for one in covered:
            self._due.setdefault(one.stream, []).append((one.session, body))
        for conduct in conducts:
            self._sign_due(conduct.stream)
        return [one.session.hex() for one in covered]

    def _sign_due(self, stream: StreamRecorder) -> None:
        if stream.session is not None:
            return
        due = self._due.get(stream.number, [])
        while due:
            session, body = due[0]
            self._spool.append(stream.number, session, [body])
            del due[0]

    # -- details after the end -----------------------------------------------------------------------------------

    def details_after(self, conducts: Iterable[Conduct], beginning: str, stated: SessionDetails) -> dict[str, Any]:
        """Put particulars of a session that is over on record (R6): shown as added later.

        Args:
            conducts: the device's streams.
            beginning: of the session's id, as hex.
            stated: what is added.

        Raises:
            RefusedError: not one session is meant, or another one is being recorded on its stream.
        """
        one = self._over(beginning)
        conduct = next(found for found in conducts if found.stream.number == one.stream)
        _need_idle(conduct)
        conduct.stream.log.add_file_to(
            one.session, "details", particulars.encode(stated), lambda facts: _details(facts, stated, "after")
        )
        log.info("stream %s: details of %s added", conduct.stream.section.name, one.session.hex()[:8])
        return {"session": one.session.hex(), "stream": conduct.stream.section.name}

    def classify_after(
        self, conducts: Iterable[Conduct], beginning: str, marker: str, sequence: int, author: str
    ) -> dict[str, Any]:
        """Say, after a session's end, what a moment was that was only pointed out.

        Raises:
            RefusedError: not one session is meant, the record is no marker of it, or another one is being recorded.
        """
        one = self._over(beginning)
        conduct = next(found for found in conducts if found.stream.number == one.stream)
        _need_idle(conduct)
        moment = conduct.stream.log.marker_at(one.session, sequence)
        said = SessionDetails(author=author)
        conduct.stream.log.add_file_to(
            one.session,
            "details",
            particulars.encode(said),
            lambda facts: _details(facts, said, "after"),
            classified(moment, marker, sequence),
        )
        return {"session": one.session.hex(), "stream": conduct.stream.section.name}

    def _over(self, beginning: str) -> Over:
        try:
            found = self._spool.past.find(beginning)
        except ValueError:
            found = []
        if len(found) != 1:
            raise RefusedError(
                "session",
                f"编号以 {beginning[:32]!r} 开头的、已经结束的记录有 {len(found)} 次，须为一次。",
                f"{len(found)} recordings that are over have a number that begins with {beginning[:32]!r}; one must.",
            )
        return found[0]

    def _no_reason(self, group: str, reason: str, known: Iterable[str]) -> RefusedError:
        named = {language: _list(group, known, language) for language in texts.LANGUAGES}
        rule = self._agency.rule
        return RefusedError(
            "reason",
            f"{rule.zh}没有这个理由（{texts.named(group, reason)}），或者不适用于本事项。可用：{named['zh']}",
            f"{rule.en or 'The rule'} does not know this reason ({texts.named(group, reason, 'en')}), or not for this "
            f"act. There are: {named['en']}",
        )


def _list(group: str, known: Iterable[str], language: str) -> str:
    parts = [f"{one} {texts.named(group, one, language)}" for one in known]
    return texts.text("page.comma", language).join(parts) or texts.text("page.none", language)


def _details(facts: FileFacts, stated: SessionDetails, when: str) -> Body:
    count = len(stated.officers) or None
    return records.Details(**facts.fields(), when=when, author="officer", officers_count=count)


def _stated(conduct: Conduct, session: bytes, reason: str, now: Instant) -> dict[str, Any]:
    return {
        "session": session.hex(),
        "stream": conduct.stream.section.name,
        "reason": reason,
        "utc_ns": now.utc_ns,
        "clock": now.quality,
    }


def _need_idle(conduct: Conduct) -> None:
    if conduct.stream.session is not None:
        raise RefusedError(
            "recording",
            "正在记录，请在记录结束后登记；内容不适宜记录的，用 liuhen unsuitable。",
            "A recording is under way: say this when it is over; for unsuitable content use liuhen unsuitable.",
        )


def _need_statement(conduct: Conduct, stated: SessionDetails) -> None:
    _need_idle(conduct)
    if stated.matter is None or not stated.officers or (stated.matter == "other" and not stated.matter_note):
        raise RefusedError(
            "details",
            "须登记执法事项（其他事项须注明）和执法人员。",
            "The matter (for other: which one) and the officers must be said.",
        )
