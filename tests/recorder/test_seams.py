"""Where the rules of a session, the stream, and what happens beside them meet: fast sequences, and a full disk."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from recorder.conduct import Conduct
from recorder.control import RefusedError
from recorder.evidence import policy as policies
from recorder.evidence.details import SessionDetails
from recorder.evidence.records import Details, Marker, NotRecorded, SessionClose, SessionOpen
from recorder.session import State
from recorder.source import link
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
        for slot in self.bench.stream.slots:
            slot.heard_boottime_ns = self.bench.clock.boottime_ns()  # no test here is about sources that hang
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


@pytest.mark.rule("R10")
def test_unsuitable_content_right_after_a_new_start_stops_the_new_session(post: Post) -> None:
    post.record()
    post.end()
    post.conduct.press("button")  # while the source flushes
    session = post.conduct.session
    post.conduct.unsuitable("other_unsuitable")
    post.conduct.spoken("say.end.unsuitable")
    assert post.conduct.state is State.UNSUITABLE
    post.tick(4)
    post.tick()
    assert post.bench.stream.session is not None
    assert post.bench.stream.session.id == session
    assert post.bench.stream.session.off == "unsuitable"
    (begins,) = [one for one in post.bench.records() if isinstance(one.body, NotRecorded)]
    assert begins.session == session
    post.conduct.press("button")
    for _ in range(16):
        post.tick()
    assert post.bench.stream.session.off is None


@pytest.mark.rule("R6")
def test_what_is_stated_and_marked_at_a_quick_start_is_in_the_new_session(post: Post) -> None:
    post.record()
    post.end()
    post.conduct.start("command", details=SessionDetails(author="SZ-1", place="A street"))
    session = post.conduct.session
    post.conduct.mark("important")
    for _ in range(16):
        post.tick()
    assert [one.session for one in post.bench.records() if isinstance(one.body, Details)] == [session]
    assert [one.session for one in post.bench.records() if isinstance(one.body, Marker)] == [session]


def test_a_quick_start_that_must_end_at_once_keeps_what_was_said_of_it(post: Post) -> None:
    post.record()
    post.end()
    post.conduct.press("button")
    session = post.conduct.session
    post.conduct.mark("important")
    post.conduct.automatic("battery")
    for _ in range(32):
        post.tick()
    closes = [one for one in post.bench.records() if isinstance(one.body, SessionClose)]
    assert [one.body.reason for one in closes] == ["done", "battery"]
    assert [one.session for one in post.bench.records() if isinstance(one.body, Marker)] == [session]
    assert post.conduct.state is State.IDLE


def test_a_press_when_a_full_disk_has_room_again_begins_a_session(post: Post) -> None:
    post.record()
    stream = post.bench.stream
    append, post.bench.spool.append = post.bench.spool.append, _full  # type: ignore[method-assign,assignment]
    stream.disk_full()
    assert stream.session is not None
    assert stream.session.waits_for_room
    post.bench.spool.append = append  # type: ignore[method-assign]
    post.conduct.press("button")
    post.tick()
    assert len(post.bench.bodies(SessionOpen)) == 2
    assert post.conduct.state is State.RECORDING
    assert stream.session is not None
    assert not stream.session.waits_for_room


@pytest.mark.parametrize("reason", ["battery", "shutdown"])
def test_the_device_may_end_what_a_full_disk_has_ended_already(post: Post, reason: str) -> None:
    post.record()
    append, post.bench.spool.append = post.bench.spool.append, _full  # type: ignore[method-assign,assignment]
    post.bench.stream.disk_full()
    post.conduct.automatic(reason)
    post.bench.spool.append = append  # type: ignore[method-assign]
    post.tick()
    assert [close.reason for close in post.bench.bodies(SessionClose)] == ["storage"]
    assert post.conduct.state is State.IDLE


def _full(*_arguments: object) -> list[Record]:
    raise DiskFullError("no room")


# -- photographs -----------------------------------------------------------------------------------------------------


@pytest.mark.rule("R1")
def test_a_photograph_asked_for_while_a_session_is_closed_is_taken_soon(post: Post) -> None:
    line = post.record()
    post.end()
    post.conduct.photo("command")
    line.far.ended()  # type: ignore[attr-defined]
    post.bench.take(line)  # type: ignore[arg-type]
    post.tick()
    post.tick()
    assert [opened.mode for opened in post.bench.bodies(SessionOpen)] == ["video", "photo"]
    assert [one for one in line.far.told() if isinstance(one, link.Take)]  # type: ignore[attr-defined]


@pytest.mark.rule("R1")
def test_a_camera_that_is_lost_before_its_photograph_is_asked_for_harms_nothing(post: Post) -> None:
    line = post.record()
    post.end()
    post.conduct.press("button")  # the next one, while the source flushes
    post.conduct.photo("command")
    post.bench.stream.lost(line.slot, "gone")  # type: ignore[attr-defined]
    for _ in range(16):
        post.tick()
    assert post.conduct.state is State.RECORDING
    assert post.bench.stream.session is not None


def test_a_session_of_photographs_ends_only_for_a_reason_that_there_is(post: Post) -> None:
    post.bench.connect("camera")
    post.conduct.photo("command")
    with pytest.raises(RefusedError):
        post.conduct.end("because of 张三 " * 1000, statement=True, by="command")
    post.conduct.end("done", statement=True, by="command")
    assert [close.reason for close in post.bench.bodies(SessionClose)] == ["done"]


# -- the pre-event buffer --------------------------------------------------------------------------------------------


@pytest.mark.rule("R10")
@pytest.mark.parametrize("reason", ["battery", "done"])
def test_what_ends_in_an_interval_leaves_nothing_kept_before_the_next_press(tmp_path: Path, reason: str) -> None:
    post = Post(tmp_path / "site", pre_event_ns=10 * S)
    line = post.record()
    post.conduct.unsuitable("other_unsuitable")
    post.conduct.spoken("say.end.unsuitable")
    line.far.ended()  # type: ignore[attr-defined]
    post.bench.take(line)  # type: ignore[arg-type]
    post.tick(30)
    if reason == "done":
        post.conduct.end("done", statement=True, by="command")
    else:
        post.conduct.automatic(reason)
    post.tick(30)
    stops = [one for one in line.far.told() if isinstance(one, link.Stop)]  # type: ignore[attr-defined]
    assert [stop.keep_ns for stop in stops] == [0, 0]
    post.conduct.press("button")
    assert post.bench.bodies(SessionOpen)[-1].pre_event_ns == 0


@pytest.mark.rule("R10")
def test_a_crash_in_an_interval_that_ends_the_session_leaves_nothing_kept(tmp_path: Path) -> None:
    post = Post(tmp_path / "site", pre_event_ns=10 * S)
    line = post.record()
    for _ in range(8):
        line.far.fragment()  # type: ignore[attr-defined]
        post.bench.take(line)  # type: ignore[arg-type]
        post.tick(0.5)
    post.conduct.unsuitable("other_unsuitable")
    post.conduct.spoken("say.end.unsuitable")
    line.far.ended()  # type: ignore[attr-defined]
    post.bench.take(line)  # type: ignore[arg-type]
    post.bench.spool.close()
    post.bench.clock.reboot()
    post.bench.clock.advance(3600)
    post.bench.start()
    conduct = Conduct(
        post.bench.stream,
        policies.parse(POLICY.read_bytes()),
        post.bench.spool,
        post.bench.clock,
        post.tongue,
        lambda *_: None,
    )
    conduct.recovered(None)
    camera = post.bench.connect("camera")
    welcome = next(one for one in camera.far.told() if isinstance(one, link.Welcome))
    assert welcome.keep_ns == 0
    post.bench.clock.advance(30)
    conduct.press("button")
    assert post.bench.bodies(SessionOpen)[-1].pre_event_ns == 0


@pytest.mark.rule("R3")
def test_a_recording_right_behind_photographs_does_not_claim_a_past(tmp_path: Path) -> None:
    post = Post(tmp_path / "site", pre_event_ns=10 * S)
    post.bench.connect("camera")
    post.tick(60)
    post.conduct.photo("command")
    post.tick(5)
    post.bench.clock.boottime_ns = _moving(post.bench.clock)  # type: ignore[method-assign]
    post.conduct.press("button")
    assert post.bench.bodies(SessionOpen)[-1].mode == "video"
    assert post.bench.bodies(SessionOpen)[-1].pre_event_ns == 0


def _moving(clock: object) -> object:
    def boottime_ns() -> int:
        clock.boot_ns += 1000  # type: ignore[attr-defined]
        return clock.boot_ns  # type: ignore[attr-defined,no-any-return]

    return boottime_ns


# -- going on --------------------------------------------------------------------------------------------------------


@pytest.mark.rule("R10")
def test_going_on_tells_the_sources_to_send_nothing_from_the_interval(post: Post) -> None:
    line = post.record()
    post.conduct.unsuitable("other_unsuitable")
    post.conduct.spoken("say.end.unsuitable")
    line.far.ended()  # type: ignore[attr-defined]
    post.bench.take(line)  # type: ignore[arg-type]
    post.tick(30)
    pressed = post.bench.clock.boottime_ns()
    post.conduct.press("button")
    start = [one for one in line.far.told() if isinstance(one, link.Start)][-1]  # type: ignore[attr-defined]
    assert start.from_boottime_ns == pressed


@pytest.mark.rule("R10")
def test_unsuitable_content_that_comes_again_while_the_sources_still_flush_is_off_all_the_same(post: Post) -> None:
    post.record()
    for _ in range(2):
        post.conduct.unsuitable("other_unsuitable")
        post.conduct.spoken("say.end.unsuitable")
        assert post.conduct.state is State.UNSUITABLE
        post.conduct.press("button")
    post.conduct.unsuitable("other_unsuitable")
    post.conduct.spoken("say.end.unsuitable")
    for _ in range(16):
        post.tick()
    assert post.conduct.state is State.UNSUITABLE
    assert post.bench.stream.session is not None
    assert post.bench.stream.session.off == "unsuitable"


def test_a_panel_that_lives_in_the_future_marks_now(post: Post) -> None:
    post.record()
    post.conduct.press("button", (1 << 62) - 1)
    (marker,) = post.bench.bodies(Marker)
    assert marker.at_boottime_ns == post.bench.clock.boottime_ns()
