from __future__ import annotations

from recorder.source.buffer import MAX_KEPT_SIZE_BYTES, Kept, merge
from recorder.source.link import Counts
from recorder.source.mux import Piece

HALF_NS = 500_000_000


def piece(number: int, *, gop: int = 4, size: int = 100) -> Piece:
    counts = {"video": Counts(received=5, written=5, expected=5)}
    return Piece(number, number % gop == 0, counts, bytes(size), number * HALF_NS)


def sent(kept: Kept) -> list[Piece]:
    out = []
    while (one := kept.next_to_send()) is not None:
        out.append(one)
    return out


def test_in_order_and_until_acknowledged() -> None:
    kept = Kept()
    for number in range(6):
        assert kept.append(piece(number)) == 0
    assert [one.number for one in sent(kept)] == list(range(6))
    kept.acknowledge(3)
    assert kept.oldest == 4
    kept.connection_lost()
    assert [one.number for one in sent(kept)] == [4, 5]
    kept.acknowledge(5)
    assert kept.oldest is None
    assert kept.size_bytes == 0


def test_ten_seconds_then_the_oldest_groups_go_and_are_counted() -> None:
    kept = Kept()
    dropped = sum(kept.append(piece(number)) for number in range(40))
    assert dropped % 4 == 0
    pieces = sent(kept)
    assert pieces[0].number == dropped
    assert pieces[0].key
    assert 8 * 1e9 <= pieces[-1].arrival_ns - pieces[0].arrival_ns <= 10 * 1e9
    total = {"received": 0, "written": 0, "expected": 0, "gone": 0}
    for one in pieces:
        counts = one.counts["video"]
        total["received"] += counts.received
        total["written"] += counts.written
        total["expected"] += counts.expected or 0
        total["gone"] += counts.discarded.get("recorder-absent", 0)
    assert total == {"received": 200, "written": 200 - 5 * dropped, "expected": 200, "gone": 5 * dropped}
    # Sent again after another loss, the account is the same, not doubled.
    kept.connection_lost()
    assert [one.counts for one in sent(kept)] == [one.counts for one in pieces]


def test_what_the_recorder_has_after_all_is_not_counted_as_discarded() -> None:
    kept = Kept()
    for number in range(4):
        kept.append(piece(number))
    sent(kept)
    kept.connection_lost()
    for number in range(4, 40):
        kept.append(piece(number))
    kept.acknowledge(3)  # the new recorder found 0 … 3 on its disk
    first = sent(kept)[0]
    assert first.counts["video"].discarded == {"recorder-absent": 5 * (first.number - 4)}


def test_what_was_sent_on_this_connection_is_not_dropped() -> None:
    kept = Kept()
    for number in range(20):
        kept.append(piece(number))
    sent(kept)
    for number in range(20, 60):
        kept.append(piece(number))
    assert kept.oldest == 0


def test_one_long_group_is_kept_until_memory_ends() -> None:
    kept = Kept()
    assert sum(kept.append(piece(number, gop=1000)) for number in range(60)) == 0
    kept = Kept()
    size = MAX_KEPT_SIZE_BYTES // 8
    dropped = sum(kept.append(piece(number, gop=20, size=size)) for number in range(12))
    assert dropped == 12
    assert kept.size_bytes == 0
    # Half a group would decode to nothing: only the next key frame begins anew.
    assert sum(kept.append(piece(number, gop=20)) for number in range(12, 22)) == 8
    first = sent(kept)[0]
    assert first.number == 20
    assert first.counts["video"].discarded == {"recorder-absent": 100}


def test_merged_counts_keep_every_reason() -> None:
    lost = {"video": Counts(received=9, written=5, discarded={"before-key-frame": 4}, holes=1, holes_ns=7)}
    merged = merge([lost], {"audio": Counts(received=1, written=1)})
    assert merged["video"] == Counts(
        received=9, written=0, discarded={"before-key-frame": 4, "recorder-absent": 5}, holes=1, holes_ns=7
    )
    assert merged["audio"] == Counts(received=1, written=1)
