"""Which record's code is given, what is spoken, and what never is."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from recorder.conduct import Conduct
from recorder.control import RefusedError
from recorder.evidence import checkcode
from recorder.evidence import policy as policies
from recorder.evidence.records import SessionClose
from recorder.recital import AFTER, DURING, Given, Recital
from tests.support.spools import make_site
from tests.support.stream_bench import StreamBench, Tongue

if TYPE_CHECKING:
    from pathlib import Path


class Desk:
    """One stream without sources, its conduct and its codes."""

    def __init__(self, folder: Path) -> None:
        self.bench = StreamBench(make_site(folder))
        self.tongue = Tongue()
        self.recital = Recital(self.bench.spool, self.bench.clock)
        self.conduct = Conduct(
            self.bench.stream,
            policies.without_file(),
            self.bench.spool,
            self.bench.clock,
            self.tongue,
            lambda conduct, _session, reason: self.recital.closed(conduct, reason),
        )
        self.answers: list[Given | None] = []

    def codes(self) -> list[tuple[str, bytes | None]]:
        return [one for one in self.tongue.said if one[0] in (DURING, AFTER)]

    def record(self, reason: str | None = None) -> bytes:
        """Open and close a session; return its id."""
        self.conduct.start("command")
        session = self.conduct.session
        assert session is not None
        if reason is None:
            self.conduct.end("done", statement=True, by="command")
            self.bench.clock.advance(11)
        else:
            self.conduct.automatic(reason)
        for _ in range(2):
            self.conduct.tick()
            self.bench.clock.advance(4)
            self.bench.stream.tick()
            self.conduct.tick()
        assert self.bench.stream.session is None
        return session

    def ask(self) -> Given | None:
        count = len(self.answers)
        self.recital.ask(self.conduct, self.answers.append)
        self.wait(lambda: len(self.answers) > count)
        return self.answers[-1]

    def wait(self, until: object) -> None:
        deadline = time.monotonic() + 30
        while not until():  # type: ignore[operator]
            self.recital.tick()
            assert time.monotonic() < deadline
            time.sleep(0.01)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path / "site")


@pytest.mark.rule("R23")
def test_during_a_recording_it_is_the_newest_record(desk: Desk) -> None:
    desk.conduct.start("command")
    head = desk.bench.records()[-1]
    given = desk.ask()
    assert given == Given(desk.conduct.session or b"", checkcode.of(head), DURING)
    assert desk.codes() == [(DURING, None)]
    # What follows chains onto it, and has another code.
    desk.conduct.mark("important")
    assert desk.ask() != given


@pytest.mark.rule("R23")
def test_after_the_end_it_is_the_close_spoken_by_itself_and_again_on_request(desk: Desk) -> None:
    with pytest.raises(RefusedError):
        desk.recital.ask(desk.conduct, desk.answers.append)
    session = desk.record()
    desk.wait(lambda: desk.recital.last)
    (close,) = [one for one in desk.bench.records() if isinstance(one.body, SessionClose)]
    assert desk.recital.last == {1: Given(session, checkcode.of(close), AFTER)}
    assert desk.codes() == [(AFTER, session)]
    assert desk.ask() == desk.recital.last[1]
    assert desk.codes() == [(AFTER, session)] * 2


def test_the_code_of_one_recording_is_not_spoken_into_the_next(desk: Desk) -> None:
    first = desk.record()
    desk.conduct.start("command")
    desk.wait(lambda: desk.recital.last)
    assert desk.recital.last[1].session == first
    assert desk.codes() == []


def test_a_code_that_was_asked_for_before_the_end_is_not_spoken_behind_it(desk: Desk) -> None:
    desk.conduct.start("command")
    desk.recital.ask(desk.conduct, desk.answers.append)
    session = desk.record()
    desk.wait(lambda: desk.recital.last)
    assert desk.answers
    assert desk.codes() == [(AFTER, session)]


def test_a_device_that_is_switched_off_speaks_no_code(desk: Desk) -> None:
    desk.record("shutdown")
    assert not desk.recital._maker._waiting
    # Its code can be asked for when it is on again.
    given = desk.ask()
    assert given is not None
    assert given.text == AFTER


def test_no_code_is_an_answer_too(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def none_left(*_arguments: object, **_more: object) -> None:
        raise OSError(24, "Too many open files")

    desk.conduct.start("command")
    monkeypatch.setattr("subprocess.Popen", none_left)
    assert desk.ask() is None
    assert desk.codes() == []
