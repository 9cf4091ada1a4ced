"""Where the rules of a session, the stream, and what happens beside them meet: fast sequences, and a full disk."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from recorder.conduct import Conduct
from recorder.evidence import policy as policies
from recorder.evidence.records import SessionOpen
from recorder.session import State
from recorder.spool.errors import DiskFullError
from tests.support.commands import ROOT
from tests.support.spools import make_site
from tests.support.stream_bench import StreamBench, Tongue

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from recorder.evidence.records import Body, Record

S = 1_000_000_000
POLICY = ROOT / "config" / "agencies" / "jinpu-development-bureau.toml"


class Post:
    """One stream with its rules; sources connect when the test says so."""

    def __init__(self, folder: Path, pre_event_ns: int = 0) -> None:
        self.bench = StreamBench(make_site(folder), pre_event_ns=pre_event_ns)
        self.tongue = Tongue()
        self.closed: list[tuple[bytes, str]] = []
        self.full = False
        self._append = self.bench.spool.append
        self.bench.spool.append = self._appended  # type: ignore[method-assign]
        self.conduct = Conduct(
            self.bench.stream,
            policies.parse(POLICY.read_bytes()),
            self.bench.spool,
            self.bench.clock,
            self.tongue,
            lambda _conduct, session, reason: self.closed.append((session, reason)),
        )

    def _appended(self, stream: int, session: bytes | None, bodies: Sequence[Body]) -> list[Record]:
        # The reserve is enough to close what is open, and for nothing new.
        if self.full and any(isinstance(body, SessionOpen) for body in bodies):
            raise DiskFullError("no room")
        return self._append(stream, session, bodies)

    def tick(self, seconds: float = 0.25) -> None:
        """As the daemon's loop does."""
        self.bench.clock.advance(seconds)
        for action in (self.bench.stream.tick, self.conduct.tick):
            try:
                action()
            except DiskFullError:
                self.bench.stream.disk_full()

    def end(self) -> None:
        self.conduct.end("done", statement=True, by="command")
        self.tick(11)

    def record(self, camera: str = "camera") -> object:
        """Record with a camera that has begun."""
        line = self.bench.connect(camera)
        self.bench.clock.advance(60)
        self.conduct.start("command")
        line.far.begin()
        self.bench.take(line)
        return line


@pytest.fixture
def post(tmp_path: Path) -> Post:
    return Post(tmp_path / "site")


# -- the end of one and the beginning of the next --------------------------------------------------------------------


@pytest.mark.rule("R4")
def test_a_next_session_without_room_leaves_a_stream_that_can_start_again(post: Post) -> None:
    post.record()
    post.end()
    post.conduct.press("button")  # while the source flushes
    post.full = True
    post.tick(4)
    post.tick()
    assert post.bench.stream.session is None
    assert post.conduct.state is State.IDLE
    assert "cue.storage.full" in post.tongue.cues
    post.full = False
    post.conduct.press("button")
    assert post.bench.stream.session is not None
    opened = post.bench.bodies(SessionOpen)
    assert len(opened) == 2
    assert opened[1].linked_session == next(iter(post.closed))[0]


def _full(*_arguments: object) -> list[Record]:
    raise DiskFullError("no room")


# -- photographs -----------------------------------------------------------------------------------------------------


# -- the pre-event buffer --------------------------------------------------------------------------------------------


def _moving(clock: object) -> object:
    def boottime_ns() -> int:
        clock.boot_ns += 1000  # type: ignore[attr-defined]
        return clock.boot_ns  # type: ignore[attr-defined,no-any-return]

    return boottime_ns


# -- going on --------------------------------------------------------------------------------------------------------
