"""How the hand-over of each session stands: late, soon late, deferred, unclosed; from the records that are held.

Records come hours before media, so a store knows what is late before it has any of it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from recorder import policies
from recorder.evidence import deadlines, records
from recorder.evidence.records import SessionOpen

if TYPE_CHECKING:
    from collections.abc import Sequence

    from recorder.evidence.deadlines import Deadline
    from recorder.evidence.policy import Policy
    from recorder.evidence.records import Record
    from uplink.central.archive import Archive, SessionState


class HandOver:
    """Judges sessions of one store; what a device says of itself is read once."""

    def __init__(self, archive: Archive, known: Sequence[Policy], now_utc_ns: int) -> None:
        self._archive = archive
        self._known = known
        self._now_utc_ns = now_utc_ns
        self._signs: dict[str, list[Record]] = {}

    def judge(self, state: SessionState) -> Deadline:
        """Say how one session stands.

        A session that no record closes is ``unclosed``; its time is counted from its newest record, so that what a
        dead device left behind becomes late too.
        """
        opening = self._record(state, state.open_sequence)
        body = opening.body if opening is not None and isinstance(opening.body, SessionOpen) else None
        rule = deadlines.rule_of(
            policies.choose(self._known, body.policy_sha256 if body else None), body.mode if body else "video"
        )
        complete = state.complete_utc_ns is not None and state.held == state.files
        newest = self._record(state, state.last_sequence)
        # Where the device's clock was unset the index has the time of receipt: no time to be late by.
        end = None if newest is not None and newest.clock == "unset" else state.end_utc_ns
        if rule.from_capture and not complete:
            end = self._oldest(state, end)
        signs = self._of_device(state.device)
        found = deadlines.judge(
            rule,
            closed=True,
            end_utc_ns=end,
            now_utc_ns=self._now_utc_ns,
            handed_over=complete,
            handed_over_utc_ns=state.complete_utc_ns,
            deferrals=deadlines.deferrals_of(signs, state.session),
            returns=deadlines.returns_of(signs),
        )
        # A time that has run out counts for an open session too; that it is about to is no news of one.
        return found if state.closed or found.late else replace(found, state="unclosed")

    def _oldest(self, state: SessionState, end_utc_ns: int | None) -> int | None:
        """Return when the oldest footage that is missing was taken."""
        sequence = self._archive.first_missing(state)
        record = self._record(state, sequence)
        if record is None:
            return end_utc_ns
        return None if record.clock == "unset" else record.utc_ns

    def _record(self, state: SessionState, sequence: int | None) -> Record | None:
        if sequence is None:
            return None
        for entry in self._archive.entries(state.device, state.log, sequence, sequence):
            if entry.session == state.session:
                return records.parse(entry.message)
        return None

    def _of_device(self, device: str) -> list[Record]:
        if device not in self._signs:
            self._signs[device] = [records.parse(entry.message) for entry in self._archive.hand_over_signs(device)]
        return self._signs[device]
