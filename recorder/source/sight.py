"""Whether a picture shows something: covered lens, darkness, frozen picture. State machine and statistics; no numpy.

Of each picture 36 lines are looked at, at 128 places of four pixels. From these:

- *structure*: how much the middle of three neighbouring fields (16 by 12 of them) differs from the other two. A hand,
  cloth or darkness before the lens is smooth at any brightness; noise averages out, slopes of light do not count;
- *edges*: the share of places whose neighbour differs strongly. What is near the lens, or out of focus, has none;
- *bright*: the brightness that only one field in twenty exceeds;
- *same lines*: lines that are to the last bit what they were before.

Rules, the first that holds counts:

1. No structure: covered.
2. Nearly no edges and less structure where there was plenty of both: covered by something that lets light through.
3. All lines the same but a few (where a clock may be shown): frozen.
4. Nothing bright: dark.

Each has to last (:data:`HOLD`) before it is told, and to be absent for a while before it is over. So one flash, or a
hand that passes by, is nothing. What cannot be told apart from a covered lens: a room without any light, and a blank
wall that fills the picture. What cannot be told from a living picture: a frozen one that a camera codes anew with
another loss each time. A perfectly still scene without any noise counts as frozen; sensors have noise.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Final, NamedTuple

from recorder.source.hush import Change

if TYPE_CHECKING:
    from recorder.source.driver import Sink
    from recorder.source.pictures import Picture

LINES: Final = 36
PLACES: Final = 128
FIELDS: Final = (16, 12)
"""Across and down."""
LEAST_WIDTH_PX: Final = 2 * PLACES + 4
"""Narrower pictures are not judged."""
EDGE: Final = 16
"""Levels of 255 between two neighbouring places."""

SMOOTH: Final = 0.95
"""Structure below is none. Chosen, as the others, on half of the scenes of a measurement (docs/bench.md)."""
SMOOTH_NO_MORE: Final = 1.3
DARK: Final = 50
DARK_NO_MORE: Final = 60
EDGES_LOST: Final = 0.1
"""Part of the usual edges; so many or fewer are nearly none."""
EDGES_BACK: Final = 0.3
STRUCTURE_LOST: Final = 0.45
EDGES_LEAST: Final = 0.05
"""A scene that usually has fewer cannot lose them."""
MOVING_LINES: Final = 8
"""So many lines may change in a frozen picture: a camera may write a clock into it."""
USUAL: Final = 0.05
"""Weight of a new picture in what is usual."""
EVERY_NS: Final = 900_000_000
"""Pictures that follow sooner are passed over."""

BLOCKED, DARKNESS, FROZEN = "lens_blocked", "picture_dark", "picture_frozen"
HOLD: Final = {
    BLOCKED: (3_000_000_000, 2),
    DARKNESS: (5_000_000_000, 3),
    FROZEN: (10_000_000_000, 4),
    None: (2_000_000_000, 2),
}
"""How long, and in how many pictures, something must be seen."""


class Glance(NamedTuple):
    """What is seen of one picture."""

    structure: float
    """Levels of 255."""
    edges: float
    """Share of places, 0 … 1."""
    bright: float
    """Level of 255."""
    lines: tuple[tuple[int, ...], ...]
    """Sums of four pixels."""


def glance(picture: Picture) -> Glance | None:
    """Measure one picture; None where it is too small."""
    width, height = picture.width_px, picture.height_px
    if width < LEAST_WIDTH_PX or height < LINES:
        return None
    step = width // PLACES
    first = (width - step * (PLACES - 1) - 4) // 2
    lines: list[tuple[int, ...]] = []
    for number in range(LINES):
        start = (2 * number + 1) * height // (2 * LINES) * picture.stride_bytes
        row = bytes(picture.luma[start : start + width])
        parts = (row[first + shift :: step] for shift in range(4))
        lines.append(tuple([a + b + c + d for a, b, c, d in zip(*parts, strict=False)][:PLACES]))
    strong = 4 * EDGE
    edges = sum(abs(a - b) > strong for line in lines for a, b in pairwise(line))
    fields = _fields(lines)
    bright = sorted(level for row in fields for level in row)[FIELDS[0] * FIELDS[1] * 95 // 100]
    return Glance(_structure(fields), edges / (LINES * (PLACES - 1)), bright, tuple(lines))


def _fields(lines: list[tuple[int, ...]]) -> list[list[float]]:
    """Return the mean level of each field."""
    across, down = FIELDS
    wide, high = PLACES // across, LINES // down
    count = wide * high * 4
    return [
        [sum(sum(line[at : at + wide]) for line in lines[top : top + high]) / count for at in range(0, PLACES, wide)]
        for top in range(0, LINES, high)
    ]


def _structure(fields: list[list[float]]) -> float:
    columns = [list(column) for column in zip(*fields, strict=True)]
    bends: list[float] = [
        abs(2 * middle - before - after) / 2
        for row in (*fields, *columns)
        for before, middle, after in zip(row, row[1:], row[2:], strict=False)
    ]
    return sum(bends) / len(bends)


def _alike(before: str | None, kind: str | None) -> bool:
    """Whether what is seen goes on; the last light may be there in one picture, and not in the next."""
    return before == kind or {before, kind} == {BLOCKED, DARKNESS}


class Sight:
    """Watches one camera."""

    def __init__(self) -> None:
        self.state: str | None = None
        """What is being told: one of the codes, None while all is well."""
        self._last: Glance | None = None
        self._last_ns: int | None = None
        self._usual: tuple[float, float] | None = None
        """Structure and edges of a picture when all is well."""
        self._pending: tuple[str | None, int, int] | None = None
        """What is seen instead of :attr:`state`, since when, in how many pictures."""

    def look(self, at_ns: int, seen: Glance) -> list[Change]:
        """Take what is seen of a picture; return what changed: the end of one thing, the beginning of another."""
        kind = self._judge(seen)
        self._last, self._last_ns = seen, at_ns
        if kind == self.state:
            self._pending = None
            if kind is None:
                self._learn(seen)
            return []
        if self._pending is None or at_ns < self._pending[1] or not _alike(self._pending[0], kind):
            self._pending = (kind, at_ns, 0)
        _, since_ns, times = self._pending
        self._pending = (kind, since_ns, times + 1)
        hold_ns, least = HOLD[kind]
        if at_ns - since_ns < hold_ns or times + 1 < least:
            return []
        changes = []
        if self.state is not None:
            changes.append(Change(self.state, begins=False, at_ns=since_ns, detail=""))
        if kind is not None:
            detail = f"structure {seen.structure:.2f}, edges {seen.edges:.3f}, bright {seen.bright:.0f}"
            changes.append(Change(kind, begins=True, at_ns=since_ns, detail=detail))
        self.state, self._pending = kind, None
        return changes

    def due(self, at_ns: int) -> bool:
        """Say whether a picture of this time is worth a look."""
        return self._last_ns is None or not 0 <= at_ns - self._last_ns < EVERY_NS

    def _judge(self, seen: Glance) -> str | None:
        blocked = self.state == BLOCKED
        dark = seen.bright < (DARK_NO_MORE if self.state == DARKNESS else DARK)
        if seen.structure < (SMOOTH_NO_MORE if blocked else SMOOTH):
            return BLOCKED
        if self._usual is not None and not dark:
            structure, edges = self._usual
            lost = seen.edges < edges * (EDGES_BACK if blocked else EDGES_LOST)
            if edges >= EDGES_LEAST and lost and seen.structure < structure * STRUCTURE_LOST:
                return BLOCKED
        if self._last is not None:
            moving = sum(one != other for one, other in zip(seen.lines, self._last.lines, strict=True))
            if moving <= MOVING_LINES:
                return FROZEN
        return DARKNESS if dark else None

    def _learn(self, seen: Glance) -> None:
        if self._usual is None:
            self._usual = (seen.structure, seen.edges)
            return
        structure, edges = self._usual
        self._usual = (structure + USUAL * (seen.structure - structure), edges + USUAL * (seen.edges - edges))


class Watcher:
    """Tells the recorder what :class:`Sight` sees; a :class:`recorder.source.pictures.Watch`."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._sight = Sight()

    def look(self, picture: Picture) -> None:
        """Look at a picture."""
        if not self._sight.due(picture.at_boottime_ns):
            return
        seen = glance(picture)
        if seen is None:
            return
        for change in self._sight.look(picture.at_boottime_ns, seen):
            event = "impaired" if change.begins else "unimpaired"
            self._sink.event(event, ["video"], change.code, change.detail, at_ns=change.at_ns)
