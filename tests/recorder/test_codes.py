"""Check codes are made beside the loop: by real children, whatever becomes of them."""

from __future__ import annotations

import os
import resource
import signal
import time
from typing import TYPE_CHECKING

import pytest

from recorder import codes
from recorder.codes import MAX_WAITING, CodeMaker
from recorder.control import RefusedError
from recorder.evidence.checkcode import CheckCode, make
from tests.support.clock import FakeClock

if TYPE_CHECKING:
    from collections.abc import Iterator

LOG = bytes(range(16))


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def maker(clock: FakeClock) -> Iterator[CodeMaker]:
    made = CodeMaker(clock)
    yield made
    made.stop()


def wait(maker: CodeMaker, got: list[CheckCode | None], count: int) -> None:
    deadline = time.monotonic() + 30
    while len(got) < count:
        maker.tick()
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_codes_come_in_order_and_are_those_of_the_format(maker: CodeMaker) -> None:
    got: list[CheckCode | None] = []
    for number in (7, 8):
        maker.ask(LOG, number, bytes([number]) * 32, got.append)
    assert not got
    wait(maker, got, 2)
    assert got == [make(LOG, number, bytes([number]) * 32) for number in (7, 8)]


def test_the_recorder_does_not_grow_by_it(maker: CodeMaker) -> None:
    got: list[CheckCode | None] = []
    maker.ask(LOG, 1, bytes(32), got.append)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    wait(maker, got, 1)
    assert got[0] is not None
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 4 << 10
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss > 64 << 10


def test_asked_twice_it_is_made_once(maker: CodeMaker) -> None:
    got: list[CheckCode | None] = []
    for _ in range(MAX_WAITING):
        maker.ask(LOG, 1, bytes(32), got.append)
    wait(maker, got, MAX_WAITING)
    assert len(set(got)) == 1


@pytest.mark.parametrize("records", [1, 3])
def test_more_than_can_wait_are_refused(maker: CodeMaker, records: int) -> None:
    got: list[CheckCode | None] = []
    for number in range(MAX_WAITING):
        maker.ask(LOG, number % records, bytes(32), got.append)
    with pytest.raises(RefusedError) as refused:
        maker.ask(LOG, 0, bytes(32), got.append)
    assert refused.value.code == "busy"


def test_a_killed_child_is_no_code_and_the_next_one_comes(maker: CodeMaker) -> None:
    got: list[CheckCode | None] = []
    maker.ask(LOG, 1, bytes(32), got.append)
    maker.ask(LOG, 2, bytes(32), got.append)
    maker.tick()
    assert maker._child is not None
    os.kill(maker._child.pid, signal.SIGKILL)
    wait(maker, got, 2)
    assert got == [None, make(LOG, 2, bytes(32))]


def test_a_child_that_hangs_is_given_up(maker: CodeMaker, clock: FakeClock) -> None:
    got: list[CheckCode | None] = []
    maker.ask(LOG, 1, bytes(32), got.append)
    maker.tick()
    assert maker._child is not None
    os.kill(maker._child.pid, signal.SIGSTOP)
    maker.tick()
    assert not got
    clock.advance(codes.LONGEST_NS / 1e9)
    maker.tick()
    assert got == [None]


def test_without_room_for_a_process_there_is_no_code(maker: CodeMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    def none_left(*_arguments: object, **_more: object) -> None:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr("subprocess.Popen", none_left)
    got: list[CheckCode | None] = []
    maker.ask(LOG, 1, bytes(32), got.append)
    maker.tick()
    assert got == [None]
