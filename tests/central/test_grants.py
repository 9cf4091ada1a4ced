from __future__ import annotations

import random
from itertools import pairwise

from uplink.central import ranges
from uplink.central.grants import SHORT_SECONDS, GrantBook, Level


def test_a_device_alone_gets_its_whole_level_and_a_lost_grant_harms_nothing() -> None:
    book = GrantBook(100, 1000, 60)
    assert book.level("a", 5, 0.0, room=True) == Level(100, 60)
    assert book.level("a", 5, 1.0, room=True) == Level(100, 60)


def test_the_nearest_deadline_comes_first() -> None:
    book = GrantBook(100, 150, 60)
    book.level("later", 50, 0.0, room=True)
    assert book.level("sooner", 10, 0.0, room=True).size_bytes == 100
    assert book.level("later", 50, 1.0, room=True).size_bytes == 50
    assert book.level("latest", 90, 1.0, room=True) == Level(0, SHORT_SECONDS)


def test_the_grant_of_a_silent_device_lapses() -> None:
    book = GrantBook(100, 100, 60)
    book.level("silent", 1, 0.0, room=True)
    assert book.level("other", 2, 59.0, room=True).size_bytes == 0
    assert book.level("other", 2, 61.0, room=True).size_bytes == 100


def test_without_room_nothing_is_granted() -> None:
    book = GrantBook(100, 100, 60)
    assert book.level("a", 1, 0.0, room=False) == Level(0, SHORT_SECONDS)


def test_a_grant_is_renewed_at_half_time() -> None:
    book = GrantBook(100, 100, 60)
    assert book.renewal_due("a", 0.0)
    book.level("a", 1, 0.0, room=True)
    assert not book.renewal_due("a", 29.0)
    assert book.renewal_due("a", 31.0)


def test_ranges_against_a_plain_set() -> None:
    rng = random.Random(7)
    for _ in range(300):
        held: ranges.Ranges = []
        plain: set[int] = set()
        for _ in range(rng.randrange(12)):
            offset = rng.randrange(40)
            end = offset + rng.randrange(1, 10)
            held = ranges.add(held, offset, end)
            plain |= set(range(offset, end))
        assert plain == {number for offset, end in held for number in range(offset, end)}
        assert all(one[1] < two[0] for one, two in pairwise(held))
        missing = {number for offset, end in ranges.missing(held, 50, 64) for number in range(offset, end)}
        assert missing == set(range(50)) - plain
        assert ranges.total(held) == len(plain)
