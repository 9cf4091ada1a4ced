"""The subtitle beside the untouched picture: true time each second, device, gaps with their cause, markers.

A joined film would hide a gap as a mere splice. Nothing is ever inserted into picture or sound; the subtitle says it.
Only records decide what it says, so anyone computes the same text again. Times in milliseconds of media time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from recorder.evidence import texts
from recorder.evidence.timeline import HOLE_NS, SECOND_NS

if TYPE_CHECKING:
    from recorder.evidence.timeline import Piece, Timeline

MS_NS: Final = 10**6
MARK_SHOWN_NS: Final = 5 * SECOND_NS
MAX_TICKS: Final = 3600
"""Longest chunk, in seconds, that gets a new time each second; real ones have some seconds."""


class Cue(NamedTuple):
    """One text, shown for a while."""

    start_ms: int
    end_ms: int
    text: str


def cues(timeline: Timeline, index: int, from_ms: int | None) -> list[Cue]:
    """Return the cues of one chunk: without holes from ``from_ms`` to the chunk's end.

    Args:
        timeline: the session.
        index: which of its pieces.
        from_ms: where the cues before ended; None at the beginning of a film.
    """
    piece = timeline.pieces[index]
    start_ms, end_ms = -(-piece.start_ns // MS_NS), -(-piece.end_ns // MS_NS)
    if from_ms is None:
        from_ms = start_ms
    found: list[Cue] = []
    if start_ms * MS_NS - from_ms * MS_NS > HOLE_NS:
        found.append(Cue(from_ms, start_ms, _hole(timeline, from_ms * MS_NS, piece.start_ns)))
        from_ms = start_ms
    if end_ms <= from_ms:
        return found
    if piece.absent:
        found.append(Cue(from_ms, end_ms, _absent(timeline, piece)))
        return found
    edges = sorted({edge for edge in _edges(timeline, piece, from_ms, end_ms) if from_ms < edge < end_ms})
    for first, last in zip([from_ms, *edges], [*edges, end_ms], strict=True):
        found.append(Cue(first, last, _shown(timeline, piece, first)))
    return found


def _edges(timeline: Timeline, piece: Piece, from_ms: int, end_ms: int) -> list[int]:
    """Where the text changes: at each full second of true time, and where gaps and markers begin and end."""
    edges: list[int] = []
    if end_ms - from_ms <= MAX_TICKS * 1000:
        offset = (piece.utc_ns(0) if _trusted(piece) else 0) % SECOND_NS
        first = (from_ms * MS_NS + offset) // SECOND_NS + 1
        last = (end_ms * MS_NS + offset) // SECOND_NS
        edges += [-(-(second * SECOND_NS - offset) // MS_NS) for second in range(first, last + 1)]
    for gap in timeline.interruptions:
        edges += [-(-edge // MS_NS) for edge in (gap.start_ns, gap.end_ns) if edge is not None]
    for mark in timeline.marks:
        edges += [-(-mark.at_ns // MS_NS), -(-(mark.at_ns + MARK_SHOWN_NS) // MS_NS)]
    return edges


def _trusted(piece: Piece) -> bool:
    return piece.clock != "unset" and texts.moment(piece.utc_ns(piece.start_ns)) is not None


def _shown(timeline: Timeline, piece: Piece, at_ms: int) -> str:
    at = at_ms * MS_NS
    moment = texts.moment(piece.utc_ns(at)) if _trusted(piece) else None
    when = f"{moment}" if moment else f"{texts.text('stamp.clock_unset')} {texts.clock_length(at)}"
    lines = [texts.text("film.line", when=when, device=piece.record.device)]
    lines += [
        _gap_line(gap.cause, gap.tracks)
        for gap in timeline.interruptions
        if gap.start_ns <= at and (gap.end_ns is None or at < gap.end_ns)
    ]
    lines += [
        texts.text("film.mark", mark=texts.named("marker", mark.name))
        for mark in timeline.marks
        if mark.at_ns <= at < mark.at_ns + MARK_SHOWN_NS
    ]
    return "\n".join(dict.fromkeys(lines))


def _gap_line(cause: str, tracks: tuple[str, ...]) -> str:
    what = f"film.gap.{tracks[0]}" if tracks in (("video",), ("audio",)) else "film.gap"
    return texts.text(what, cause=texts.named("gap", cause))


def _hole(timeline: Timeline, start_ns: int, end_ns: int) -> str:
    """What stands over a time for which the film has no samples at all."""
    lines = [
        _gap_line(gap.cause, gap.tracks)
        for gap in timeline.interruptions
        if gap.start_ns < end_ns and (gap.end_ns is None or gap.end_ns > start_ns)
    ]
    if not lines:
        lines = [texts.text("film.gap.unsigned")]
    lines.append(texts.text("film.length", length=texts.length(end_ns - start_ns)))
    return "\n".join(dict.fromkeys(lines))


def _absent(timeline: Timeline, piece: Piece) -> str:
    if piece.absent == "withheld":
        ground = texts.named("notrec", timeline.withheld[piece.record.sequence])
        line = texts.text("film.withheld", reason=ground)
    else:
        line = texts.text("film.missing")
    return f"{line}\n{texts.text('film.length', length=texts.length(piece.end_ns - piece.start_ns))}"
