"""What is amiss with the sources of one stream: what they tell of it and what is seen, and what comes of that.

A cause is remembered for the gap that may follow, an impairment is signed at the next look at the clock, the officer is
told, and a source that hangs or shows a frozen picture is ended: another process may do better.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from recorder.impairments import Cue, Impairments, Replace, Sign
from recorder.opened import LOST_CAUSE
from recorder.source import link

if TYPE_CHECKING:
    from recorder.opened import Session
    from recorder.slots import Slot, Slots

log = logging.getLogger(__name__)

QUIET_EVENTS: Final = ("waiting",)
"""A source that has nothing whole to send says that it lives."""
LOSING_EVENTS: Final = ("stalled", "failed", "discarded", "hole")
"""After these a track may be silent, and this was why."""
MAX_CAUSE: Final = 40
"""Longest id of a cause, in characters."""


class Troubles:
    """The troubles of one stream."""

    def __init__(self, stream: str, slots: Slots) -> None:
        self.impairments = Impairments({slot.name: round(slot.section.replace_frozen_after_s * 1e9) for slot in slots})
        self.cues: list[str] = []
        """What the officer is to be told, for whoever takes it away."""
        self._stream = stream
        self._slots = slots

    def opened(self, session: Session, now_boottime_ns: int) -> None:
        """A session is being recorded from now on: what lasts already is in it."""
        self._suffer(session, self.impairments.opened(now_boottime_ns, self._slots.recorded(session.mode)))

    def event(self, session: Session | None, slot: Slot, event: link.Event, now_boottime_ns: int) -> None:
        """A source has told of something."""
        if event.event in QUIET_EVENTS:
            return
        log.warning(
            "source %s/%s: %s of %s, %s: %s (%d)",
            self._stream,
            slot.name,
            event.event,
            "+".join(event.tracks),
            event.cause,
            event.detail,
            event.count,
        )
        at_ns = min(event.boottime_ns, now_boottime_ns)
        if event.event in ("impaired", "unwatched"):
            detail = link.short(event.detail or "")
            self._suffer(session, self.impairments.begins(slot.name, event.cause, at_ns, detail))
        elif event.event == "unimpaired":
            self.impairments.ends(slot.name, event.cause, at_ns)
        if session is not None and event.event in LOSING_EVENTS:
            wanted = slot.wanted(session.mode)
            session.gaps.because(
                [track for track in event.tracks if track in wanted],
                link.short(event.cause, MAX_CAUSE),
                link.short(event.detail) if event.detail else None,
            )

    def tick(self, session: Session, now_boottime_ns: int) -> None:
        """Time has passed."""
        self._suffer(session, self.impairments.tick(now_boottime_ns))

    def end_hung(self, session: Session, now_boottime_ns: int) -> None:
        """End the sources that have been silent for longer than their own watchdogs can have let them."""
        for slot in self._slots:
            wanted = slot.wanted(session.mode)
            if not wanted or not slot.hangs(now_boottime_ns):
                continue
            session.gaps.because(wanted, LOST_CAUSE[wanted[0]], "source hung")
            log.warning(
                "source %s/%s has been silent for %d ms and is ended",
                self._stream,
                slot.name,
                (now_boottime_ns - slot.heard_boottime_ns) // 1_000_000,
            )
            slot.kill()
            slot.heard_boottime_ns = now_boottime_ns

    def _suffer(self, session: Session | None, actions: list[Sign | Cue | Replace]) -> None:
        for action in actions:
            if isinstance(action, Sign) and session is not None:
                session.due.append(action.body)
            elif isinstance(action, Cue):
                self.cues.append(action.text)
            elif isinstance(action, Replace):
                self._replace(session, self._slots[action.source])

    def _replace(self, session: Session | None, slot: Slot) -> None:
        log.warning("source %s/%s shows a frozen picture and is ended", self._stream, slot.name)
        if session is not None:
            session.gaps.because(slot.section.tracks, "frozen", "the picture was frozen")
        slot.kill()
