"""What fingers on two buttons mean: from edges to gestures. Pure; times are boot-time in nanoseconds.

The meaning of a gesture depends on what the recorder is doing, and only the recorder knows that (:mod:`.presses`).
Here it is only told what was done:

1. A level counts when it has stood for the bounce time; its time is that of its edge.
2. ``down`` comes as soon as the main button is down: a start does not wait for anything.
3. What a push was is told when it ends: ``press`` (short), ``again`` (the second short one of a double press),
   ``end`` (held 3 s), ``unsuitable`` (held 6 s, or the second button), ``cancelled`` (let go between short and 3 s).
   A button that is squeezed and not let go never ends anything.
4. Nobody holds a button for 12 s to say something: such a push is ``cancelled``. One of more than 30 s is ``stuck``,
   told once, and is ignored until it is let go.
5. Both buttons at once are no clear wish: that never ends or interrupts anything.
6. A button that is down when the panel starts has a ``down``, and nothing more: nobody knows since when.
7. ``holding``, ``held-end`` and ``held-unsuitable`` are told on the way, so that the person can be guided.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

MS_NS: Final = 1_000_000
BOUNCE_NS: Final = 20 * MS_NS
DOUBLE_NS: Final = 400 * MS_NS
"""From letting go to pressing again: so soon it is a double press."""
HOLDING_NS: Final = 1_500 * MS_NS
"""A push of less is a short one; from here on the person is told what keeping on will do."""
END_NS: Final = 3_000 * MS_NS
UNSUITABLE_NS: Final = 6_000 * MS_NS
TOO_LONG_NS: Final = 12_000 * MS_NS
STUCK_NS: Final = 30_000 * MS_NS

MAIN: Final = "main"
SECOND: Final = "second"

TELLING: Final = ("down", "press", "again", "cancelled", "end", "unsuitable", "stuck")
"""Gestures of which none may be lost."""
GUIDING: Final = ("holding", "held-end", "held-unsuitable")
"""Told on the way; of no use later."""
_MARKS: Final = (
    (HOLDING_NS, "holding"),
    (END_NS, "held-end"),
    (UNSUITABLE_NS, "held-unsuitable"),
    (STUCK_NS, "stuck"),
)


@dataclass(frozen=True, slots=True)
class Gesture:
    """Something that a person did."""

    kind: str
    """One of :data:`TELLING` or :data:`GUIDING`."""
    push_ns: int
    """When the button went down: names the push."""
    at_ns: int
    """When this of it happened."""


@dataclass(slots=True)
class _Button:
    name: str
    raw: bool = False
    raw_since_ns: int = 0
    down: bool = False
    down_ns: int = 0
    marks: int = 0
    """Of the marks on the way, so many have been passed."""
    crowded: bool = False
    """The other button was down at the same time."""
    unknown: bool = False
    """It was down when the panel started."""

    @property
    def stuck(self) -> bool:
        return self.marks == len(_MARKS)

    def due_ns(self, bounce_ns: int) -> int | None:
        """Return when time alone changes something."""
        if self.raw != self.down:
            return self.raw_since_ns + bounce_ns
        if self.down and not self.stuck:
            return self.down_ns + _MARKS[self.marks][0]
        return None


@dataclass(slots=True)
class Grammar:
    """Reads both buttons of a panel."""

    bounce_ns: int = BOUNCE_NS
    _buttons: dict[str, _Button] = field(default_factory=lambda: {MAIN: _Button(MAIN), SECOND: _Button(SECOND)})
    _pressed_until_ns: int | None = None
    """When the short push before was let go, if the next one may make it a double press."""

    def down_at_start(self, button: str, now_ns: int) -> list[Gesture]:
        """A button is down as the panel starts."""
        one = self._buttons[button]
        one.raw = one.down = one.unknown = True
        one.raw_since_ns = one.down_ns = now_ns
        return [Gesture("down", now_ns, now_ns)] if button == MAIN else []

    def edge(self, button: str, down: bool, at_ns: int) -> list[Gesture]:
        """A button's contact has closed or opened; return what has become of earlier edges until then."""
        gestures = self.advance(at_ns)
        one = self._buttons[button]
        if down != one.raw:
            one.raw, one.raw_since_ns = down, at_ns
        return gestures

    def advance(self, now_ns: int) -> list[Gesture]:
        """Time has passed; return what has become clear, in the order in which it did."""
        gestures: list[Gesture] = []
        while True:
            due = [(at_ns, one.name) for one in self._buttons.values() if (at_ns := one.due_ns(self.bounce_ns))]
            if not due or min(due)[0] > now_ns:
                return gestures
            gestures += self._settle(self._buttons[min(due)[1]])

    @property
    def due_ns(self) -> int | None:
        """When :meth:`advance` will have something to do, if nothing is touched until then."""
        due = [at_ns for one in self._buttons.values() if (at_ns := one.due_ns(self.bounce_ns))]
        return min(due, default=None)

    # -- inside --------------------------------------------------------------------------------------------------

    def _settle(self, one: _Button) -> list[Gesture]:
        if one.raw == one.down:
            return self._mark(one)
        one.down = one.raw
        return self._went_down(one) if one.down else self._let_go(one)

    def _went_down(self, one: _Button) -> list[Gesture]:
        one.down_ns, one.marks, one.unknown = one.raw_since_ns, 0, False
        others = [other for other in self._buttons.values() if other is not one and other.down and not other.stuck]
        one.crowded = bool(others)
        for other in others:
            other.crowded = True
        return [Gesture("down", one.down_ns, one.down_ns)] if one.name == MAIN else []

    def _mark(self, one: _Button) -> list[Gesture]:
        after_ns, kind = _MARKS[one.marks]
        one.marks += 1
        guides = kind in GUIDING
        if guides and (one.name == SECOND or one.crowded or one.unknown):
            return []
        return [Gesture(kind, one.down_ns, one.down_ns + after_ns)]

    def _let_go(self, one: _Button) -> list[Gesture]:
        if one.unknown or one.stuck:
            return []
        at_ns = one.raw_since_ns
        kind = self._meant(one, at_ns - one.down_ns)
        if kind is None:
            return []
        if one.name == MAIN:
            kind = self._double(kind, one.down_ns, at_ns)
        return [Gesture(kind, one.down_ns, at_ns)]

    def _meant(self, one: _Button, held_ns: int) -> str | None:
        if one.name == SECOND:
            return None if one.crowded or held_ns >= TOO_LONG_NS else "unsuitable"
        if held_ns < HOLDING_NS:
            return "press"
        if one.crowded or held_ns < END_NS or held_ns >= TOO_LONG_NS:
            return "cancelled"
        return "end" if held_ns < UNSUITABLE_NS else "unsuitable"

    def _double(self, kind: str, down_ns: int, at_ns: int) -> str:
        before_ns, self._pressed_until_ns = self._pressed_until_ns, None
        if kind != "press":
            return kind
        if before_ns is not None and down_ns - before_ns <= DOUBLE_NS:
            return "again"
        self._pressed_until_ns = at_ns
        return kind
