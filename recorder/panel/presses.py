"""What a gesture means to the recorder, and that each is taken once. Pure; times are boot-time in nanoseconds.

1. Whatever begins recording, or keeps it going, is done at ``down`` already and is never too old: a press made before
   the recorder was ready starts as soon as it is. What else that push becomes has no meaning any more: nobody ends by
   pressing a little longer what the same push has begun.
2. In an unsuitable interval a push acts when it is let go, for it may be a hold that ends the work there, and until
   then nothing may be recorded. Any push that is not a hold goes on.
3. What ends or interrupts recording, and what announces again, is not done when it is older than :data:`STALE_NS`:
   what was wanted ten seconds ago may be wrong now, and recording is the safe side. A marker keeps its own time.
4. A double press is two: the first has marked the moment at once, the second announces again. Where the first has
   begun a recording, the second means nothing: that announcement is on its way.
5. What was pressed before a session began, and comes when it is being recorded, wanted that it begins; it has.
6. Each number of an instance is taken once, also when the recorder ended between doing and acknowledging: what it was
   doing is on file before, and what came of it is looked up.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Final

import msgspec

from recorder.panel.grammar import GUIDING
from recorder.session import State

if TYPE_CHECKING:
    from collections.abc import Callable

    from recorder.panel.messages import Press

STALE_NS: Final = 10_000_000_000
"""As long as the grace of an end."""
GUIDE_WITHIN_NS: Final = 1_000_000_000
_AT_ONCE: Final = (State.IDLE, State.CLOSING, State.LEAVING)
"""States in which a push begins recording, or keeps it going, as soon as the button is down."""


_HOLDS: Final = (State.RECORDING, State.UNSUITABLE)
"""States that a hold can end."""


class Act(Enum):
    """What the recorder is to do."""

    PRESS = "press"
    AGAIN = "again"
    END = "end"
    UNSUITABLE = "unsuitable"
    REFUSE = "refuse"
    GUIDE = "guide"
    STUCK = "stuck"


class Memory(msgspec.Struct, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """What outlives the recorder's process, in the run folder."""

    boot: str
    instance: str = ""
    number: int = 0
    """The newest press that has been taken."""
    used_push_ns: int | None = None
    """The push that has had its meaning at ``down``."""
    last_push_ns: int | None = None
    before_push_ns: int | None = None
    """The newest push that went down, and the one before it."""
    doing: int = 0
    """Number of the press that was being obeyed; 0 for none."""
    doing_state: str = ""
    """The session's state before it was."""


class Presses:
    """Takes the presses of one panel."""

    def __init__(self, memory: Memory, keep: Callable[[Memory], None]) -> None:
        """Go on from what is remembered.

        Args:
            memory: What the recorder before this one has left.
            keep: Called whenever the memory has changed, before anything is done or acknowledged.
        """
        self._memory = memory
        self._keep = keep

    @property
    def newest(self) -> tuple[str, int]:
        """Instance and number to acknowledge."""
        return self._memory.instance, self._memory.number

    def begin(self, press: Press, state: State, zero_ns: int, now_ns: int, marked: Callable[[int], bool]) -> Act | None:
        """Take a press; return what is to be done, None for nothing. Then call :meth:`done`.

        Args:
            press: What came.
            state: The session's state.
            zero_ns: When the session began, on the boot-time clock.
            now_ns: Boot-time.
            marked: Tells whether a marker of a given boot-time has been signed.
        """
        memory = self._memory
        if press.number == 0:
            return self._guide(press, state, now_ns)
        if press.instance != memory.instance:
            memory.instance, memory.number, memory.doing = press.instance, 0, 0
            memory.used_push_ns = memory.last_push_ns = memory.before_push_ns = None
        if press.number <= memory.number:
            return None
        act = self._meaning(press, state, zero_ns, now_ns)
        if memory.doing == press.number:
            return None if self._was_done(press, State(memory.doing_state), state, marked) else act
        if act is not None:
            memory.doing, memory.doing_state = press.number, state.value
            self._keep(memory)
        return act

    def done(self, press: Press) -> None:
        """What :meth:`begin` returned has been done, if anything; the press may be acknowledged.

        To be called after each :meth:`begin` of a press with a number.
        """
        memory = self._memory
        if press.number <= memory.number:
            return
        if press.gesture == "down":
            memory.before_push_ns, memory.last_push_ns = memory.last_push_ns, press.push_boottime_ns
            if memory.doing == press.number:
                memory.used_push_ns = press.push_boottime_ns
        memory.number, memory.doing = press.number, 0
        self._keep(memory)

    # -- inside --------------------------------------------------------------------------------------------------

    def _guide(self, press: Press, state: State, now_ns: int) -> Act | None:
        fresh = now_ns - press.at_boottime_ns <= GUIDE_WITHIN_NS and press.push_boottime_ns != self._memory.used_push_ns
        useful = press.gesture in GUIDING and state in _HOLDS
        return Act.GUIDE if fresh and useful else None

    def _meaning(self, press: Press, state: State, zero_ns: int, now_ns: int) -> Act | None:
        if press.gesture == "stuck":
            return Act.STUCK
        before = state is State.RECORDING and press.push_boottime_ns < zero_ns
        if before or press.push_boottime_ns == self._memory.used_push_ns:
            return None
        if _keeps_recording(press.gesture, state):
            return Act.PRESS
        return self._ordered(press, state) if now_ns - press.at_boottime_ns <= STALE_NS else None

    def _ordered(self, press: Press, state: State) -> Act | None:
        if press.gesture == "again":
            begun = self._memory.before_push_ns
            return Act.AGAIN if begun is None or begun != self._memory.used_push_ns else None
        if press.gesture == "unsuitable":
            return Act.REFUSE if state is State.IDLE else Act.UNSUITABLE
        return Act.END if press.gesture == "end" and state in _HOLDS else None

    @staticmethod
    def _was_done(press: Press, before: State, state: State, marked: Callable[[int], bool]) -> bool:
        """Tell whether the recorder before this one has obeyed a press before it ended."""
        if before is State.RECORDING and press.gesture in ("press", "again"):
            return marked(press.push_boottime_ns)
        if press.gesture in ("end", "unsuitable", "stuck"):
            return False  # what is asked again here is either undone, or changes nothing
        return state is not State.IDLE and state is not before


def _keeps_recording(gesture: str, state: State) -> bool:
    """Tell whether a gesture is a press that begins recording, keeps it going or marks a moment of it."""
    if gesture == "down":
        return state in _AT_ONCE
    if gesture == "cancelled":
        return state is State.UNSUITABLE
    return gesture == "press" or (gesture == "again" and state is not State.RECORDING)
