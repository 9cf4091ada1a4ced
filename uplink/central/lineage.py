"""How records hang together in the index: the tree of a log, its branches, its holes.

A record is *linked* when held records lead from it back to the first one of its log; until then it floats. A linked
record that follows a record which already has a successor begins a branch. Only links decide, never the order of
arrival, so records may come in any order, twice, or from two pasts of one device.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from recorder.evidence.records import ZERO_HASH
from uplink.central.archive import Branching, Position

if TYPE_CHECKING:
    import sqlite3

MAX_HOLES: Final = 64
_MAX_FLOATING: Final = 4096
"""Most floating records that one answer looks at."""


class Node(NamedTuple):
    """A record as a place in the tree."""

    id: int
    sequence: int
    sha256: bytes
    previous_sha256: bytes
    kind: str


def classed(kind: str) -> str:
    """Say what a branch is by its first record: a device that lost its newest records begins it with ``boot``."""
    return "tail-lost" if kind == "boot" else "fork"


def link(database: sqlite3.Connection, log_id: int, node: Node) -> tuple[int | None, list[Branching]]:
    """Find the place of a new record, and of floating ones that hang on it; return its branch and new branchings."""
    parent = _parent_branch(database, log_id, node)
    if parent is None:
        return None, []
    found: list[Branching] = []
    first: int | None = None
    open_nodes = [(node, parent)]
    while open_nodes:
        current, from_branch = open_nodes.pop()
        branch = _settle(database, log_id, current, from_branch, found)
        first = branch if first is None else first
        children = database.execute(
            "SELECT id, sequence, sha256, previous_sha256, kind FROM record"
            " WHERE log_id = ? AND sequence = ? AND previous_sha256 = ? AND branch IS NULL ORDER BY id DESC",
            (log_id, current.sequence + 1, current.sha256),
        )
        open_nodes += [(Node(*row), branch) for row in children.fetchall()]
    return first, found


def _parent_branch(database: sqlite3.Connection, log_id: int, node: Node) -> int | None:
    """Return the branch that a record continues or leaves; -1 at the root; None while its parent is missing."""
    if node.sequence == 0:
        return -1 if node.previous_sha256 == ZERO_HASH else None
    row = database.execute(
        "SELECT branch FROM record WHERE log_id = ? AND sequence = ? AND sha256 = ?",
        (log_id, node.sequence - 1, node.previous_sha256),
    ).fetchone()
    if row is not None:
        return None if row[0] is None else int(row[0])
    # What the device lost for good cannot be waited for: the record behind it goes on where the hole begins.
    row = database.execute(
        "SELECT b.branch FROM lost l JOIN branch b ON b.log_id = l.log_id AND b.next_sequence = l.first_sequence"
        " WHERE l.log_id = ? AND l.last_sequence = ?",
        (log_id, node.sequence - 1),
    ).fetchone()
    return None if row is None else int(row[0])


def _settle(database: sqlite3.Connection, log_id: int, node: Node, parent: int, found: list[Branching]) -> int:
    sibling = database.execute(
        "SELECT 1 FROM record WHERE log_id = ? AND sequence = ? AND previous_sha256 = ? AND branch IS NOT NULL",
        (log_id, node.sequence, node.previous_sha256),
    ).fetchone()
    if parent >= 0 and sibling is None:
        branch = parent
        database.execute(
            "UPDATE branch SET next_sequence = ?, head_sha256 = ?"
            " WHERE log_id = ? AND branch = ? AND next_sequence <= ?",
            (node.sequence + 1, node.sha256, log_id, branch, node.sequence),
        )
    else:
        count = database.execute("SELECT count(*) FROM branch WHERE log_id = ?", (log_id,)).fetchone()[0]
        branch = int(count)
        kind = "main" if branch == 0 else classed(node.kind)
        database.execute(
            "INSERT INTO branch VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                log_id,
                branch,
                None if parent < 0 else parent,
                node.sequence,
                node.sha256,
                kind,
                node.sequence + 1,
                node.sha256,
            ),
        )
        if branch > 0:
            found.append(Branching(node.sequence, node.sha256, kind))
    database.execute("UPDATE record SET branch = ? WHERE id = ?", (branch, node.id))
    return branch


def path(database: sqlite3.Connection, log_id: int, branch: int) -> list[tuple[int, int, int]]:
    """Return the way from the first record to the head of a branch as [branch, first, last] sequences, ascending."""
    steps: list[tuple[int, int, int]] = []
    last = 1 << 62
    current: int | None = branch
    while current is not None:
        row = database.execute(
            "SELECT parent, first_sequence, next_sequence FROM branch WHERE log_id = ? AND branch = ?",
            (log_id, current),
        ).fetchone()
        parent, first, following = row
        steps.append((current, int(first), min(last, int(following) - 1)))
        last, current = int(first) - 1, parent
    return steps[::-1]


def note_lost(database: sqlite3.Connection, log_id: int, first: int, last: int) -> list[Node]:
    """Note that a device lost records; return floating records that this lets go on."""
    held = [
        int(row[0])
        for row in database.execute(
            "SELECT DISTINCT sequence FROM record WHERE log_id = ? AND sequence BETWEEN ? AND ?"
            " ORDER BY sequence LIMIT ?",
            (log_id, first, last, _MAX_FLOATING),
        )
    ]
    if len(held) == _MAX_FLOATING:
        last = held[-1]  # what is behind was not looked at: nobody may call it lost
    freed: list[Node] = []
    for start, end in gaps(held, first, last + 1):
        database.execute("INSERT OR REPLACE INTO lost VALUES (?, ?, ?)", (log_id, start, end))
        freed += [
            Node(*row)
            for row in database.execute(
                "SELECT id, sequence, sha256, previous_sha256, kind FROM record"
                " WHERE log_id = ? AND sequence = ? AND branch IS NULL",
                (log_id, end + 1),
            )
        ]
    return freed


def found_again(database: sqlite3.Connection, log_id: int, sequence: int) -> None:
    """Take one sequence out of what counts as lost: the record has come after all."""
    row = database.execute(
        "SELECT first_sequence, last_sequence FROM lost"
        " WHERE log_id = ? AND first_sequence <= ? AND last_sequence >= ?",
        (log_id, sequence, sequence),
    ).fetchone()
    if row is None:
        return
    first, last = row
    database.execute("DELETE FROM lost WHERE log_id = ? AND first_sequence = ?", (log_id, first))
    for start, end in ((first, sequence - 1), (sequence + 1, last)):
        if start <= end:
            database.execute("INSERT INTO lost VALUES (?, ?, ?)", (log_id, start, end))


def gaps(held: list[int], start: int, end: int) -> list[tuple[int, int]]:
    """Return first and last of the ranges of [start, end) that are not in the ascending list ``held``."""
    found = []
    at = start
    for sequence in held:
        if sequence > at:
            found.append((at, sequence - 1))
        at = max(at, sequence + 1)
    if at < end:
        found.append((at, end - 1))
    return found


def position(database: sqlite3.Connection, log_id: int, branch: int | None) -> Position:
    """Say how far a log is held on the branch that its device follows."""
    if branch is None:
        return _floating_only(database, log_id)
    tip, head = database.execute(
        "SELECT next_sequence, head_sha256 FROM branch WHERE log_id = ? AND branch = ?", (log_id, branch)
    ).fetchone()
    conflict = _conflict(database, log_id, branch, int(tip), bytes(head))
    if conflict is not None:
        return conflict
    lost = database.execute(
        "SELECT first_sequence, last_sequence FROM lost WHERE log_id = ? AND last_sequence < ? ORDER BY 1 LIMIT ?",
        (log_id, tip, MAX_HOLES),
    ).fetchall()
    floating = _floating(database, log_id, int(tip))
    holes = [(int(first), int(last)) for first, last in lost]
    if floating:
        holes += gaps(floating, int(tip), floating[-1] + 1)
    if not holes:
        return Position(int(tip), bytes(head), [], None)
    highest = floating[-1] if floating else int(tip) - 1
    following = holes[0][0]
    return Position(following, _sha256_before(database, log_id, branch, following), holes[:MAX_HOLES], highest)


def _floating_only(database: sqlite3.Connection, log_id: int) -> Position:
    floating = _floating(database, log_id, 0)
    if not floating:
        return Position(0, None, [], None)
    return Position(0, None, gaps(floating, 0, floating[-1] + 1)[:MAX_HOLES], floating[-1])


def _conflict(database: sqlite3.Connection, log_id: int, branch: int, tip: int, head: bytes) -> Position | None:
    """Tell when the newest records contradict what is held: the device has another past than this branch.

    Records between the two pasts are missing, so the answer goes back, twice as far each time, until one links.
    """
    newest = database.execute(
        "SELECT id FROM record WHERE log_id = ? AND sequence = ? AND sha256 = ?", (log_id, tip - 1, head)
    ).fetchone()[0]
    row = database.execute(
        "SELECT min(sequence) FROM record WHERE log_id = ? AND branch IS NULL AND sequence <= ? AND id > ?",
        (log_id, tip, newest),
    ).fetchone()
    if row[0] is None or int(row[0]) == 0:
        return None
    lowest = int(row[0])
    floating = _floating(database, log_id, lowest)
    run = 1
    while run < len(floating) and floating[run] == lowest + run:
        run += 1
    following = max(0, lowest - run)
    holes = [(following, lowest - 1), *gaps(floating, lowest, floating[-1] + 1)]
    return Position(following, _sha256_before(database, log_id, branch, following), holes[:MAX_HOLES], floating[-1])


def _floating(database: sqlite3.Connection, log_id: int, start: int) -> list[int]:
    rows = database.execute(
        "SELECT DISTINCT sequence FROM record WHERE log_id = ? AND branch IS NULL AND sequence >= ?"
        " ORDER BY sequence LIMIT ?",
        (log_id, start, _MAX_FLOATING),
    )
    return [int(row[0]) for row in rows]


def _sha256_before(database: sqlite3.Connection, log_id: int, branch: int, following: int) -> bytes | None:
    if following == 0:
        return None
    for current, first, last in path(database, log_id, branch):
        if first <= following - 1 <= last:
            row = database.execute(
                "SELECT sha256 FROM record WHERE log_id = ? AND sequence = ? AND branch = ?",
                (log_id, following - 1, current),
            ).fetchone()
            return None if row is None else bytes(row[0])
    return None
