"""Edges of two buttons become gestures: what was meant, whatever the contacts do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder.panel.grammar import (
    BOUNCE_NS,
    DOUBLE_NS,
    END_NS,
    GUIDING,
    HOLDING_NS,
    MAIN,
    MS_NS,
    SECOND,
    STUCK_NS,
    TOO_LONG_NS,
    UNSUITABLE_NS,
    Gesture,
    Grammar,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

START_NS = 1_000_000_000
Edge = tuple[int, str, bool]


def read(edges: Sequence[Edge], *, looks: Sequence[int] = (), until_ns: int | None = None) -> list[Gesture]:
    """Return what a grammar makes of edges, when it is also looked at between them."""
    grammar, gestures = Grammar(), []
    events: list[tuple[int, Edge | None]] = [(edge[0], edge) for edge in edges] + [(at, None) for at in looks]
    for at_ns, edge in sorted(events, key=lambda event: event[0]):
        gestures += grammar.advance(at_ns) if edge is None else grammar.edge(edge[1], edge[2], edge[0])
    last_ns = max(at_ns for at_ns, _ in events)
    return gestures + grammar.advance(until_ns if until_ns is not None else last_ns + 1_000 * MS_NS)


def kinds(gestures: Sequence[Gesture]) -> list[str]:
    return [gesture.kind for gesture in gestures if gesture.kind not in GUIDING]


def pushes(*lengths_and_pauses_ms: int, button: str = MAIN, start_ns: int = START_NS) -> list[Edge]:
    edges, at_ns, down = [], start_ns, True
    for length_ms in lengths_and_pauses_ms:
        edges.append((at_ns, button, down))
        at_ns, down = at_ns + length_ms * MS_NS, not down
    return [*edges, (at_ns, button, down)]


@pytest.mark.parametrize(
    ("held_ms", "meant"),
    [
        (40, "press"),
        (1_499, "press"),
        (1_500, "cancelled"),
        (2_999, "cancelled"),
        (3_000, "end"),
        (5_999, "end"),
        (6_000, "unsuitable"),
        (11_999, "unsuitable"),
        (12_000, "cancelled"),
        (29_999, "cancelled"),
    ],
)
def test_what_a_push_was_depends_on_its_length(held_ms: int, meant: str) -> None:
    assert kinds(read(pushes(held_ms))) == ["down", meant]


def test_down_is_told_at_once_with_the_time_of_its_edge() -> None:
    grammar = Grammar()
    assert grammar.edge(MAIN, True, START_NS) == []
    assert grammar.due_ns == START_NS + BOUNCE_NS
    assert grammar.advance(START_NS + BOUNCE_NS) == [Gesture("down", START_NS, START_NS)]


def test_a_person_is_guided_while_holding() -> None:
    told = [(one.kind, one.at_ns - START_NS) for one in read(pushes(7_000)) if one.kind in GUIDING]
    assert told == [("holding", HOLDING_NS), ("held-end", END_NS), ("held-unsuitable", UNSUITABLE_NS)]


@pytest.mark.parametrize(
    ("row", "meant"),
    [
        ((100, 200, 100), ["press", "again"]),
        ((100, DOUBLE_NS // MS_NS, 100), ["press", "again"]),
        ((100, DOUBLE_NS // MS_NS + 1, 100), ["press", "press"]),
        ((100, 200, 100, 200, 100), ["press", "again", "press"]),
        ((100, 200, 100, 200, 100, 200, 100), ["press", "again", "press", "again"]),
        ((100, 200, 3_500), ["press", "end"]),
        ((2_000, 200, 100), ["cancelled", "press"]),
    ],
)
def test_two_short_pushes_in_a_row_are_a_double_press(row: tuple[int, ...], meant: list[str]) -> None:
    assert [kind for kind in kinds(read(pushes(*row))) if kind != "down"] == meant


def test_the_second_button_says_unsuitable_when_it_is_let_go() -> None:
    assert kinds(read(pushes(100, button=SECOND))) == ["unsuitable"]
    assert kinds(read(pushes(5_000, button=SECOND))) == ["unsuitable"]
    assert kinds(read(pushes(TOO_LONG_NS // MS_NS, button=SECOND))) == []


def test_a_stuck_button_is_told_once_and_leaves_the_other_one_alone() -> None:
    stuck = pushes(100_000)
    late = pushes(100, button=SECOND, start_ns=START_NS + STUCK_NS + 5_000 * MS_NS)
    assert kinds(read([*stuck, *late])) == ["down", "stuck", "unsuitable"]


def test_a_button_that_is_down_at_the_start_presses_and_does_no_more() -> None:
    grammar = Grammar()
    assert grammar.down_at_start(MAIN, START_NS) == [Gesture("down", START_NS, START_NS)]
    assert grammar.edge(MAIN, False, START_NS + 4_000 * MS_NS) == []
    assert grammar.advance(START_NS + 5_000 * MS_NS) == []
    assert kinds(grammar.edge(MAIN, True, START_NS + 6_000 * MS_NS)) == []
    assert kinds(grammar.advance(START_NS + 7_000 * MS_NS)) == ["down"]


def test_noise_shorter_than_the_bounce_time_is_nothing() -> None:
    noise = [(START_NS + index * MS_NS, MAIN, index % 2 == 0) for index in range(200)]
    assert read(noise) == []


LENGTHS = st.lists(
    st.one_of(st.integers(60, 800), st.integers(1_600, 2_900), st.integers(3_100, 5_900), st.integers(6_100, 20_000)),
    min_size=1,
    max_size=9,
).filter(lambda lengths: len(lengths) % 2 == 1)


@given(
    lengths=LENGTHS,
    noise=st.lists(st.lists(st.integers(1, 19), max_size=3), max_size=12),
    looks=st.lists(st.floats(0, 1)),
)
def test_bounces_and_looks_change_nothing(lengths: list[int], noise: list[list[int]], looks: list[float]) -> None:
    clean = pushes(*lengths)
    bounced: list[Edge] = []
    for index, (at_ns, button, down) in enumerate(clean):
        steps = noise[index] if index < len(noise) else []
        # Before it comes to rest a contact opens and closes, for less than the bounce time each.
        chatter_ns = [at_ns - sum(steps[: len(steps) - count]) * MS_NS for count in range(len(steps))]
        bounced += [
            (one_ns, button, down if (len(steps) - nth) % 2 == 0 else not down) for nth, one_ns in enumerate(chatter_ns)
        ]
        bounced.append((at_ns, button, down))
    end_ns = clean[-1][0]
    between = [START_NS + round(share * (end_ns - START_NS)) for share in looks]
    assert kinds(read(bounced, looks=between)) == kinds(read(clean))


EVENTS = st.lists(st.tuples(st.integers(1, 7_000), st.sampled_from([MAIN, SECOND])), min_size=1, max_size=30)


@given(EVENTS)
def test_no_edges_lead_to_an_end_that_nobody_meant(events: list[tuple[int, str]]) -> None:
    """Whatever two buttons do: an end or an interval needs one button alone, held and let go."""
    edges: list[Edge] = []
    at_ns, levels = START_NS, {MAIN: False, SECOND: False}
    for after_ms, button in events:
        at_ns += after_ms * MS_NS
        levels[button] = not levels[button]
        edges.append((at_ns, button, levels[button]))
    gestures = read(edges, until_ns=at_ns + 60_000 * MS_NS)
    told: dict[tuple[str, int], int] = {}
    for gesture in gestures:
        told[gesture.kind, gesture.push_ns] = told.get((gesture.kind, gesture.push_ns), 0) + 1
    assert max(told.values(), default=1) == 1, "nothing is told twice of one push"
    for gesture in gestures:
        if gesture.kind not in ("end", "unsuitable"):
            continue
        down_edges = {edge[1] for edge in edges if edge[0] == gesture.push_ns and edge[2]}
        assert len(down_edges) == 1
        button = down_edges.pop()
        other = SECOND if button == MAIN else MAIN
        level, since_ns, overlap_ns = False, 0, 0
        for edge_ns, name, down in [*edges, (at_ns + 60_000 * MS_NS, other, False)]:
            if name != other:
                continue
            if level:
                overlap_ns = max(overlap_ns, min(edge_ns, gesture.at_ns) - max(since_ns, gesture.push_ns))
            level, since_ns = down, edge_ns
            stuck_before = level and gesture.push_ns - since_ns > STUCK_NS
            if stuck_before:
                level = False
        assert overlap_ns <= 2 * BOUNCE_NS
        held_ns = gesture.at_ns - gesture.push_ns
        assert held_ns < TOO_LONG_NS
        if button == MAIN:
            assert held_ns >= END_NS
