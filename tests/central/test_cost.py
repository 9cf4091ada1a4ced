"""The cost of one more record does not grow with what is held: counted in steps of SQLite's machine, not in time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.central.support import Log, signer_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.central.conftest import Store


def steps(store: Store, act: Callable[[], object]) -> int:
    count = 0

    def tick() -> int:
        nonlocal count
        count += 1
        return 0

    store.archive._database.set_progress_handler(tick, 1)
    act()
    store.archive._database.set_progress_handler(None, 0)
    return count


def test_one_more_record_and_the_overview_cost_the_same_in_a_long_log(store: Store) -> None:
    log = Log("sy-0001", signer_of(store.site, "sy-0001"))
    log.genesis()
    log.open(b"S" * 16)
    costs = []
    sent = 0
    for length in (200, 4000):
        while len(log.records) < length:
            log.marker(b"S" * 16)
        while sent < length:
            store.records(log, log.messages(sent, min(sent + 99, length - 1)))
            sent = min(sent + 100, length)
        sequence = log.file(b"S" * 16)
        sent += 1
        costs.append(
            (
                steps(store, lambda: store.records(log, log.messages(sequence))),  # noqa: B023
                steps(store, lambda: store.piece(log, sequence, 0, log.files[sequence])),  # noqa: B023
                steps(store, lambda: store.writer.records(log.device, log.log)),
                steps(store, lambda: store.archive.sessions(unfinished_only=True)),
            )
        )
    for short, long in zip(*costs, strict=True):
        assert long < 1.5 * short + 50
