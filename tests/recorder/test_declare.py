"""Where statements go when sessions follow each other closely, and across a crash."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from recorder.conduct import Conduct
from recorder.control import RefusedError
from recorder.declare import UNABLE, Declarations
from recorder.evidence import policy as policies
from recorder.evidence import records, texts
from recorder.evidence.details import Officer, SessionDetails
from recorder.lawful import last_ended
from recorder.session import Open
from tests.lawful.field import AGENCIES
from tests.support.spools import CAMERA, close_session, make_site, open_session, record_chunk
from tests.support.stream_bench import StreamBench, Tongue

if TYPE_CHECKING:
    from pathlib import Path

STATED = SessionDetails(
    author="1", matter="questioning", officers=[Officer(certificate="1"), Officer(certificate="2")], note="n"
)


class Desk:
    """One stream of a device of Anshan's."""

    def __init__(self, folder: Path) -> None:
        self.bench = StreamBench(make_site(folder))
        self.agency = policies.parse(AGENCIES["anshan"].read_bytes())
        self.tongue = Tongue()
        self.open()

    def open(self) -> None:
        bench = self.bench
        self.declarations = Declarations(bench.spool, bench.clock, self.agency, only_at_unit=True)
        self.conduct = Conduct(
            bench.stream,
            self.agency,
            bench.spool,
            bench.clock,
            self.tongue,
            lambda conduct, session, _reason: self.declarations.closed(conduct.stream, session),
        )

    def recorded(self) -> bytes:
        """A session that is closed, with a chunk that no store has."""
        spool = self.bench.spool
        session = open_session(spool)
        first = spool.head(CAMERA)[0] - 1
        record_chunk(spool, session, 0)
        close_session(spool, session, first, 1)
        return session

    def kinds(self, session: bytes) -> list[str]:
        return [one.kind for one in self.bench.records() if one.session == session]

    def assert_unmixed(self) -> None:
        """Between the open and the close of a session nothing of another has a place."""
        inside: bytes | None = None
        for record in self.bench.records():
            if record.kind == "session-open":
                inside = record.session
            assert inside is None or record.session == inside
            if record.kind == "session-close":
                inside = None


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path / "site")


def test_the_list_of_failures_is_that_of_the_catalogue() -> None:
    assert {f"unable.{one}" for one in UNABLE} == {one for one in texts.ids() if one.startswith("unable.")}


@pytest.mark.rule("R13")
def test_what_belongs_to_an_earlier_session_waits_for_the_close(desk: Desk) -> None:
    first = desk.recorded()
    desk.conduct.start("command")
    second = desk.conduct.session or b""
    assert desk.declarations.defer([desk.conduct], "remote")["sessions"] == [first.hex()]
    assert desk.kinds(first)[-1] == "session-close"
    desk.bench.stream.end("done", "command")
    desk.bench.clock.advance(4)
    desk.bench.stream.tick()
    # The next one begins before anybody has looked.
    third = desk.bench.stream.open_session(Open("command"))
    desk.conduct.tick()
    assert "deferral" not in desk.kinds(first) + desk.kinds(second)
    desk.bench.stream.end("done", "command")
    desk.bench.clock.advance(4)
    desk.bench.stream.tick()
    desk.conduct.tick()
    assert [desk.kinds(one).count("deferral") for one in (first, second, third)] == [1, 1, 1]
    desk.assert_unmixed()


@pytest.mark.rule("R13")
def test_a_session_that_recovery_closes_is_covered_too(desk: Desk) -> None:
    desk.declarations.defer([desk.conduct], "continuous")
    desk.conduct.start("command")
    session = desk.conduct.session or b""
    desk.bench.spool.close()
    desk.bench.clock.reboot()
    desk.bench.clock.advance(3600)
    desk.bench.start()
    desk.open()
    assert "deferral" not in desk.kinds(session)
    desk.conduct.recovered(None)
    assert desk.kinds(session)[-2:] == ["session-close", "deferral"]
    assert desk.declarations.returned([desk.conduct])["sessions"] == []  # nothing of it is to be handed over
    assert desk.tongue.cues == ["cue.deferral.set", "cue.return.set"]


@pytest.mark.rule("R13")
def test_after_the_return_nothing_more_is_deferred(desk: Desk) -> None:
    first = desk.recorded()
    desk.declarations.defer([desk.conduct], "continuous")
    desk.declarations.returned([desk.conduct])
    second = desk.recorded()
    desk.declarations.closed(desk.bench.stream, second)
    assert desk.kinds(first)[-2:] == ["deferral", "return"]
    assert desk.kinds(second)[-1] == "session-close"
    with pytest.raises(RefusedError):
        desk.declarations.returned([desk.conduct])


@pytest.mark.rule("R10")
def test_an_act_that_is_only_stated_leaves_no_session_open_and_links_nothing(desk: Desk) -> None:
    first = desk.recorded()
    desk.declarations.unable(desk.conduct, "battery", STATED)
    desk.declarations.not_recorded(desk.conduct, "privacy", STATED)
    assert desk.bench.spool.open_sessions() == []
    desk.assert_unmixed()
    last = last_ended(desk.bench.spool, CAMERA, desk.bench.clock.now())
    assert last is not None
    assert last.session == first
    bodies = desk.bench.bodies(records.SessionClose)[1:]
    firsts = [one.sequence for one in desk.bench.records() if one.kind == "session-open"][1:]
    assert [(one.open_sequence, one.chunks, one.statement) for one in bodies] == [(one, 0, True) for one in firsts]


@pytest.mark.rule("R13")
def test_an_act_that_is_stated_while_hand_over_is_deferred_is_covered_too(desk: Desk) -> None:
    desk.declarations.defer([desk.conduct], "continuous")
    stated = desk.declarations.unable(desk.conduct, "not_carried", STATED)
    assert desk.kinds(bytes.fromhex(str(stated["session"])))[-2:] == ["session-close", "deferral"]
    desk.assert_unmixed()


@pytest.mark.rule("R13")
def test_hearing_from_the_store_after_an_absence_is_the_return_where_it_is_heard_at_the_unit_alone(
    tmp_path: Path,
) -> None:
    desk = Desk(tmp_path)
    session = desk.recorded()
    desk.declarations.heard_store([desk.conduct])
    desk.declarations.defer([desk.conduct], "remote")
    # The store receipts the deferral itself: the device has not left yet.
    desk.bench.clock.advance(5)
    desk.declarations.heard_store([desk.conduct])
    assert "return" not in desk.kinds(session)
    desk.bench.clock.advance(40 * 3600)
    desk.declarations.heard_store([desk.conduct])
    assert desk.kinds(session).count("return") == 1
    (back,) = desk.bench.spool.past.newest("return")
    assert back.body == records.Return(sign="network")
    desk.bench.clock.advance(40 * 3600)
    desk.declarations.heard_store([desk.conduct])
    assert desk.kinds(session).count("return") == 1


def test_hearing_from_the_store_says_nothing_of_a_return_where_it_is_heard_everywhere(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    session = desk.recorded()
    declarations = Declarations(desk.bench.spool, desk.bench.clock, desk.agency)
    declarations.defer([desk.conduct], "remote")
    desk.bench.clock.advance(40 * 3600)
    declarations.heard_store([desk.conduct])
    assert "return" not in desk.kinds(session)
