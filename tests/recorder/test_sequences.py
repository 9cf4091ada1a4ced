"""Any sequence of what people, the disk, sources and crashes do: rules, stream and log agree, and a press records."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recorder.conduct import Conduct
from recorder.control import RefusedError
from recorder.declare import Declarations
from recorder.evidence import policy as policies
from recorder.evidence.details import Officer, SessionDetails
from recorder.evidence.records import SessionOpen
from recorder.session import State
from recorder.source import link
from recorder.spool.errors import DiskFullError
from recorder.stream import StreamRecorder
from tests.recorder.test_seams import POLICY, S
from tests.support.spools import make_site
from tests.support.stream_bench import SECTION, StreamBench, Tongue

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import pytest

    from recorder.evidence.records import Body, Record

STATED = SessionDetails(author="1", matter="questioning", officers=[Officer(certificate="1")], note="n")
ROOM, NOTHING_NEW, NOTHING = range(3)
ORDERS = (
    *("start", "details", "press", "done", "moved", "unsuitable", "spoken", "mark", "photo", "battery", "shutdown"),
    *("unable", "defer", "returned", "room", "nothing-new", "nothing", "tick", "wait", "camera", "lose", "crash"),
)


class Life:
    """One stream with everything that decides about it, as the daemon holds it together."""

    def __init__(self, folder: Path) -> None:
        self.bench = StreamBench(make_site(folder), pre_event_ns=10 * S)
        self.agency = policies.parse(POLICY.read_bytes())
        self.room = ROOM
        self.begin()

    def begin(self) -> None:
        """As a start of the recorder does."""
        bench = self.bench
        spool = bench.spool
        room, self.room = self.room, ROOM
        self._append = spool.append
        spool.append = self._appended  # type: ignore[method-assign]
        bench.stream = StreamRecorder(1, SECTION, spool, bench.clock, bytes(32), bench.pre_event_ns)
        self.declarations = Declarations(spool, bench.clock, self.agency)
        self.conduct = Conduct(
            bench.stream,
            self.agency,
            spool,
            bench.clock,
            Tongue(),
            lambda conduct, session, _reason: self.declarations.closed(conduct.stream, session),
        )
        for chunk in list(spool.recovered):
            spool.sign_recovered(chunk)
        found = [bench.stream.recover(one) for one in spool.open_sessions() if one.stream == 1]
        self.conduct.recovered(found[-1] if found else None)
        self.room = room
        self.line = bench.connect("camera")

    def _appended(self, stream: int, session: bytes | None, bodies: Sequence[Body]) -> list[Record]:
        opens = any(isinstance(body, SessionOpen) for body in bodies)
        if self.room == NOTHING or (self.room == NOTHING_NEW and opens):
            raise DiskFullError("no room")
        return self._append(stream, session, bodies)

    def carefully(self, what: Callable[[], object]) -> None:
        """As the daemon runs what writes."""
        try:
            what()
        except DiskFullError:
            self.bench.stream.disk_full()

    def tick(self, seconds: float = 0.25) -> None:
        self.bench.clock.advance(seconds)
        for slot in self.bench.stream.slots:
            slot.heard_boottime_ns = self.bench.clock.boottime_ns()
        self.carefully(self.bench.stream.tick)
        self.carefully(self.conduct.tick)

    def camera(self) -> None:
        """The camera answers what it was told."""
        far = self.line.far
        with contextlib.suppress(OSError):
            for message in far.told():
                if isinstance(message, link.Start):
                    far.begin()
                    far.fragment()
                elif isinstance(message, link.Stop):
                    far.ended()
            far.seen.clear()
        if self.line.slot.peer is self.line.peer:
            self.carefully(lambda: self.bench.take_and_lose(self.line))

    def lose(self) -> None:
        if self.line.slot.peer is not None:
            self.carefully(lambda: self.bench.stream.lost(self.line.slot, "gone"))
        self.line = self.bench.connect("camera")

    def crash(self) -> None:
        self.bench.spool.close()
        self.bench.clock.reboot()
        self.bench.clock.advance(30)
        self.bench.spool = self.bench.site.open(self.bench.clock)
        self.begin()

    def obey(self, order: str) -> None:
        """Do one thing; only what a person asks may be refused."""
        asked: dict[str, Callable[[], object]] = {
            "start": lambda: self.conduct.start("command"),
            "details": lambda: self.conduct.start("command", details=STATED),
            "press": lambda: self.conduct.press("button"),
            "done": lambda: self.conduct.end("done", statement=True, by="command"),
            "moved": lambda: self.conduct.end("moved", statement=True, by="command"),
            "unsuitable": lambda: self.conduct.unsuitable("other_unsuitable"),
            "mark": lambda: self.conduct.mark("important"),
            "photo": lambda: self.conduct.photo("command"),
            "unable": lambda: self.declarations.unable(self.conduct, "not_carried", STATED),
            "defer": lambda: self.declarations.defer([self.conduct], "remote"),
            "returned": lambda: self.declarations.returned([self.conduct]),
        }
        if order in asked:
            with contextlib.suppress(RefusedError):
                self.carefully(asked[order])
        elif order in ("battery", "shutdown"):
            self.carefully(lambda: self.conduct.automatic(order))
        elif order == "spoken":
            self.carefully(lambda: self.conduct.spoken("say.end.unsuitable"))
        elif order in ("room", "nothing-new", "nothing"):
            self.room = ("room", "nothing-new", "nothing").index(order)
        elif order == "wait":
            for _ in range(24):
                self.tick(0.5)
        else:
            {"tick": self.tick, "camera": self.camera, "lose": self.lose, "crash": self.crash}[order]()

    def settle(self) -> None:
        self.room = ROOM
        for _ in range(24):
            self.tick(0.5)
            self.camera()


def assert_agreed(life: Life) -> None:
    """Rules and stream speak of the same session, in the same state."""
    session, state = life.bench.stream.session, life.conduct.state
    own = session if session is not None and session.mode != "photo" else None
    assert (own is None) == (state is State.IDLE)
    assert own is None or own.id == life.conduct.session
    assert own is None or (own.off is not None) == (state is State.UNSUITABLE)


def assert_unmixed(records: Sequence[Record]) -> None:
    """One session at a time: each is opened, and closed before the next."""
    inside: bytes | None = None
    for record in records:
        if record.kind == "session-open":
            assert inside is None
            inside = record.session
        assert inside is None or record.session in (None, inside)
        if record.kind == "session-close":
            assert record.session == inside
            inside = None


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(orders=st.lists(st.sampled_from(ORDERS), max_size=40))
def test_any_sequence_leaves_a_device_that_agrees_with_itself_and_records(
    tmp_path_factory: pytest.TempPathFactory, orders: list[str]
) -> None:
    life = Life(tmp_path_factory.mktemp("life") / "site")
    for order in orders:
        life.obey(order)
    life.settle()
    assert_agreed(life)
    assert_unmixed(life.bench.records())
    life.conduct.press("button")
    life.settle()
    assert life.conduct.state is State.RECORDING
    assert_agreed(life)
    life.bench.spool.close()
