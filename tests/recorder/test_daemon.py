"""The recorder as a process, against clients that misbehave, signals at the wrong moment, and a full disk."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import socket
import subprocess
import threading
from typing import TYPE_CHECKING

import pytest

from keys.certificates import load_der, read_identity
from recorder.clock import SystemClock
from recorder.config import DeviceConfig, DeviceSection, KeysSection, SourceSection, StreamSection
from recorder.control import RefusedError
from recorder.daemon import Daemon
from recorder.evidence.records import Chunk, SessionClose, SessionOpen
from recorder.source import link
from recorder.spool import steps
from recorder.spool.errors import DiskFullError
from tests.support.clock import FakeClock
from tests.support.session import assert_chain, stream_records
from tests.support.site import Site
from tests.support.source_end import SourceEnd
from tests.support.spools import DEVICE, check_chain, make_site

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from recorder.session import Open
    from recorder.spool.spool import Spool

OUTSIDE = """
[[streams]]
name = "camera"

[streams.sources.camera]
kind = "synthetic"
tracks = ["video"]
spawn = false
stall_after_s = 30.0

[streams.sources.microphone]
kind = "synthetic"
tracks = ["audio"]
spawn = false
stall_after_s = 30.0
"""
"""Sources that the recorder does not start: the tests are they."""


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with Site(tmp_path / "site", streams=OUTSIDE) as made:
        made.start_recorder()
        yield made


def sound(site: Site) -> SourceEnd:
    return SourceEnd.dial(site.run, "microphone", "audio")


def state(site: Site) -> str:
    return str(site.ask("status")["streams"][0]["state"])


def record_some(site: Site, source: SourceEnd, fragments: int = 6) -> None:
    """Record sound and stop; the recorder must be none the worse for what went before."""
    site.ask("start")
    source.begin()
    for _ in range(fragments):
        source.fragment()
    site.wait_for(lambda: state(site) == "audio_only", "sound is recorded")
    site.ask("stop", statement=True)
    source.expect(link.Stop, 20)
    source.ended()
    site.wait_for(lambda: site.ask("status")["streams"][0]["session"] is None, "closed")
    found = stream_records(site.spool)
    assert sum(record.body.fragments for record in found if isinstance(record.body, Chunk)) == fragments
    site.check_running()


def test_sound_alone_is_recorded_and_signed(site: Site) -> None:
    record_some(site, sound(site))
    assert site.recorder.stop() == 0
    found = stream_records(site.spool)
    certificate = load_der(site.keys / "devices" / site.device / "signing.crt")
    assert_chain(found, read_identity(certificate).public_key)


def test_more_connections_than_descriptors_do_not_end_the_recorder(site: Site) -> None:
    source = sound(site)
    resource.prlimit(site.recorder.pid, resource.RLIMIT_NOFILE, (64, 64))
    idle: list[socket.socket] = []
    try:
        for name in ("control.sock", "source.sock"):
            for _ in range(100):
                connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
                connection.setblocking(False)
                idle.append(connection)
                with contextlib.suppress(BlockingIOError):
                    connection.connect(str(site.run / name))
        site.wait_for(lambda: _asks(site), "the recorder answers again", 30)
        record_some(site, source)
    finally:
        for connection in idle:
            connection.close()


def _asks(site: Site) -> bool:
    try:
        site.ask("status")
    except RefusedError:
        return False
    return True


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"\n",
        b"not json\n",
        b"[" * 60_000 + b"\n",
        b'{"command": "\\ud800"}\n',
        b'{"command": "start", "stream": ["x"]}\n',
        b'{"command": 7}\n',
        b'{"command": ' + b"9" * 60_000 + b"}\n",
        b"\xff\xfe\n",
        b"x" * 70_000,
        b'{"command": "status"}',
    ],
)
def test_a_malformed_request_harms_nobody(site: Site, sent: bytes) -> None:
    for name in ("control.sock", "source.sock"):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.connect(str(site.run / name))
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                client.sendall(sent)
    assert site.ask("status")["ok"]
    assert state(site) == "starting"


def test_many_requests_and_an_end_in_between_leave_one_chain(site: Site) -> None:
    source = sound(site)
    done = threading.Event()

    def hammer() -> None:
        while not done.is_set():
            for command in ("start", "mark", "stop", "press", "unsuitable", "press", "again"):
                with contextlib.suppress(RefusedError, OSError):
                    site.ask(command, statement=True, reason="done" if command == "stop" else "privacy")

    thread = threading.Thread(target=hammer)
    thread.start()
    try:
        site.wait_for(lambda: len(stream_records(site.spool)) > 30, "some sessions")
        site.ask("status")
        assert site.recorder.stop() == 0, site.recorder.tail()
    finally:
        done.set()
        thread.join(30)
        source.close()
    found = stream_records(site.spool)
    certificate = load_der(site.keys / "devices" / site.device / "signing.crt")
    assert_chain(found, read_identity(certificate).public_key)
    opened = [record for record in found if isinstance(record.body, SessionOpen)]
    assert len(opened) == len([record for record in found if isinstance(record.body, SessionClose)])


def test_a_signal_in_the_middle_of_a_record_does_not_use_its_sequence_twice(tmp_path: Path, run_folder: Path) -> None:
    spools = make_site(tmp_path / "site")
    section = StreamSection(
        name="camera",
        sources={"camera": SourceSection(kind="synthetic", tracks=["video"], spawn=False)},
        auto_start=True,
    )
    config = DeviceConfig(
        device=DeviceSection(id=DEVICE, spool=str(spools.root), run=str(run_folder)),
        keys=KeysSection(signing="file:", certificate="", authority=[]),
        streams=[section],
    )
    clock = SystemClock()
    spool = spools.open(clock)  # type: ignore[arg-type]
    log_id = spool.log_id(1)
    daemon = Daemon(config, tmp_path / "device.toml", spool, clock)
    before = spool.layout.log(log_id).stat().st_size

    def interrupt(step: str) -> None:
        """The session is open, and a gap is just being written into its log."""
        now = spools.root / "logs" / f"{log_id.hex()}.log"
        if step == "log.written" and daemon.streams["camera"].session is not None and now.stat().st_size > sizes[0]:
            steps.hook = None
            os.kill(os.getpid(), signal.SIGTERM)

    sizes = [before]
    usual = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    opening = daemon.streams["camera"].open_session

    def opened(order: Open) -> bytes:
        session = opening(order)
        sizes[0] = spool.layout.log(log_id).stat().st_size
        steps.hook = interrupt
        return session

    daemon.streams["camera"].open_session = opened  # type: ignore[method-assign]
    try:
        daemon.run()
    finally:
        steps.hook = None
        signal.set_wakeup_fd(-1)
        for number, handler in usual.items():
            signal.signal(number, handler)
    check_chain(spools.records(log_id), spools.certificate)
    kinds = [record.kind for record in spools.records(log_id)]
    assert kinds[-1] == "session-close"
    assert "gap" in kinds[:-1]


def test_a_start_while_ending_is_answered_with_a_new_session(site: Site) -> None:
    source = sound(site)
    first = site.ask("start")["session"]
    source.begin()
    source.fragment()
    site.ask("stop", statement=True)
    assert site.ask("start")["session"] == first, "in the grace it goes on"
    site.ask("stop", statement=True)
    source.expect(link.Stop, 20)
    second = site.ask("start")["session"]
    assert second != first
    source.ended()
    site.wait_for(lambda: site.ask("status")["streams"][0]["session"] == second, "the second session")


def test_a_flood_of_wake_ups_does_not_keep_the_recorder_from_its_work(site: Site) -> None:
    source = sound(site)
    done = threading.Event()

    def flood() -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.setblocking(False)
            while not done.is_set():
                with contextlib.suppress(OSError):
                    sender.sendto(b"", str(site.run / "wake.sock"))
                done.wait(0.0005)

    thread = threading.Thread(target=flood)
    thread.start()
    try:
        record_some(site, source)
    finally:
        done.set()
        thread.join()


def test_odd_things_in_the_inbox_do_not_end_the_recorder(site: Site) -> None:
    source = sound(site)
    inbox = site.spool / "inbox"
    (inbox / "000-folder").mkdir()
    (inbox / "000-folder" / "inner").write_bytes(b"x")
    (inbox / "001-empty").mkdir()
    os.mkfifo(inbox / "002-pipe")
    (inbox / "003-link").symlink_to("/etc/shadow")
    (inbox / "004-loop").symlink_to("004-loop")
    with (inbox / "005-giant").open("wb") as file:
        file.truncate(1 << 40)
    (inbox / "006-\n\x1b[31mforged line").write_bytes(b"x")
    with (inbox / os.fsdecode(b"007-\xff\xfe")).open("wb") as file:
        file.write(b"y")
    site.wait_for(lambda: not any(one.name >= "002" for one in inbox.iterdir()), "refused and removed", 10)
    record_some(site, source)
    assert "\x1b[31m" not in site.recorder.log()


def test_another_user_of_the_group_can_put_receipts_into_the_inbox(site: Site) -> None:
    assert (site.spool / "inbox").stat().st_mode & 0o7777 == 0o2770
    assert (site.spool / "logs").stat().st_mode & 0o022 == 0


# -- a full disk ------------------------------------------------------------------------------------------------------


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path / "site", streams=OUTSIDE)
    text = made.device_config.read_text().replace("[spool]", "[spool]\nreserve_size_mib = 1")
    made.device_config.write_text(text)
    made.spool.mkdir(parents=True)
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(made.spool)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        made.close()
        pytest.skip(f"a tmpfs cannot be mounted here: {done.stderr.strip()}")
    try:
        with made:
            yield made
    finally:
        subprocess.run(["umount", "-l", str(made.spool)], check=True)


def fill(folder: Path) -> Path:
    """Take all room that is left on a file system, to the last byte."""
    ballast = folder / "ballast"
    descriptor = os.open(ballast, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    try:
        for size in (1 << 16, 4096, 1):
            with contextlib.suppress(OSError):
                while True:
                    os.write(descriptor, bytes(size))
    finally:
        os.close(descriptor)
    return ballast


@pytest.mark.rule("R19")
def test_not_even_room_for_records_and_the_recorder_goes_on(small: Site) -> None:
    small.start_recorder()
    source = sound(small)
    small.ask("start")
    source.begin()
    for _ in range(6):
        source.fragment()
    small.wait_for(lambda: state(small) == "audio_only", "sound is recorded")
    # Others have all room, also what the reserves should have given back: nothing at all can be written any more.
    for name in ("reserve", "reserve-receipts"):
        (small.spool / name).unlink()
    ballast = fill(small.spool)
    for _ in range(6):
        source.fragment()
    small.wait_for(lambda: "waits to be signed" in small.recorder.log(), "not even the end can be signed")
    with pytest.raises(RefusedError, match=r"存储空间已满|disk is full"):
        small.ask("start")
    assert small.ask("status")["ok"]
    ballast.unlink()
    small.wait_for(lambda: small.ask("status")["streams"][0]["session"] is None, "closed when there is room")
    small.wait_for(lambda: "there is room again" in small.recorder.log(), "room")
    source.seen.clear()
    small.ask("start")
    source.begin()
    for _ in range(6):
        source.fragment()
    small.wait_for(lambda: state(small) == "audio_only", "sound is recorded again")
    assert small.recorder.stop() == 0, small.recorder.tail()
    found = stream_records(small.spool)
    closes = [record.body for record in found if isinstance(record.body, SessionClose)]
    assert [close.reason for close in closes] == ["storage", "shutdown"]


def test_a_start_on_a_full_disk_waits_for_room_and_then_recovers(small: Site) -> None:
    small.start_recorder()
    source = sound(small)
    session = small.ask("start")["session"]
    source.begin()
    for _ in range(6):
        source.fragment()
    small.wait_for(lambda: state(small) == "audio_only", "sound is recorded")
    small.recorder.kill()
    ballast = fill(small.spool)
    small.start_recorder()
    fill(small.spool)
    assert small.ask("status")["ok"]
    small.check_running()
    ballast.unlink()
    small.wait_for(lambda: small.ask("status")["streams"][0]["session"] in (session, None), "recovered")
    small.check_running()
    small.recorder.stop()
    fragments = [record.body.fragments for record in stream_records(small.spool) if isinstance(record.body, Chunk)]
    assert sum(fragments) == 6


@pytest.fixture
def hall(tmp_path: Path) -> Iterator[tuple[Daemon, FakeClock]]:
    """A hall that is recorded by itself, and a room that is recorded when somebody says so."""
    clock = FakeClock()
    spool: Spool = make_site(tmp_path / "site").open(clock, ("hall", "room"))
    sources = {"camera": SourceSection(kind="synthetic", tracks=["video"], spawn=False)}
    config = DeviceConfig(
        device=DeviceSection(id=DEVICE, spool=str(tmp_path / "site" / "spool"), run=str(tmp_path)),
        keys=KeysSection(signing="file:", certificate=str(tmp_path / "none.crt"), authority=[]),
        streams=[
            StreamSection(name="hall", sources=sources, auto_start=True),
            StreamSection(name="room", sources=sources),
        ],
    )
    yield Daemon(config, tmp_path / "device.toml", spool, clock), clock  # type: ignore[arg-type]
    spool.close()


def let_pass(daemon: Daemon, clock: FakeClock, seconds: int) -> None:
    for _ in range(4 * seconds):
        clock.advance(0.25)
        daemon._tick()


def test_what_found_no_room_for_its_first_record_begins_by_itself_when_there_is(
    hall: tuple[Daemon, FakeClock], monkeypatch: pytest.MonkeyPatch
) -> None:
    daemon, clock = hall
    stream = daemon.streams["hall"]

    def no_room(_order: Open) -> bytes:
        raise DiskFullError("nothing is left")

    with monkeypatch.context() as full:
        full.setattr(stream, "open_session", no_room)
        daemon.careful(daemon._recover)
        let_pass(daemon, clock, 5)
        assert stream.session is None
    let_pass(daemon, clock, 5)
    assert stream.session is not None


def test_what_records_by_itself_begins_also_where_there_is_no_room_to_look_back(
    hall: tuple[Daemon, FakeClock], monkeypatch: pytest.MonkeyPatch
) -> None:
    daemon, clock = hall

    def no_room(*_: object) -> None:
        raise DiskFullError("the index is behind")

    with monkeypatch.context() as full:
        full.setattr("recorder.lawful.last_ended", no_room)
        daemon.careful(daemon._recover)
    let_pass(daemon, clock, 5)
    assert daemon.streams["hall"].session is not None


def test_what_a_full_disk_ended_begins_again_also_where_somebody_began_another_recording_first(
    hall: tuple[Daemon, FakeClock],
) -> None:
    daemon, clock = hall
    daemon.careful(daemon._recover)
    let_pass(daemon, clock, 3)
    stream = daemon.streams["hall"]
    assert stream.session is not None
    first = stream.session.id
    daemon.disk_full("nothing is left")
    assert stream.session is None
    room = daemon.conducts["room"]
    daemon.ready_to_record(room)
    room.press("button")
    let_pass(daemon, clock, 3)
    assert stream.session is not None
    assert stream.session.id != first
    assert room.stream.session is not None


def test_what_a_full_disk_ended_begins_again_where_there_was_no_room_even_for_its_end(
    hall: tuple[Daemon, FakeClock], monkeypatch: pytest.MonkeyPatch
) -> None:
    daemon, clock = hall
    daemon.careful(daemon._recover)
    let_pass(daemon, clock, 3)
    stream = daemon.streams["hall"]

    def no_room(*_: object) -> None:
        raise DiskFullError("nothing is left")

    with monkeypatch.context() as full:
        full.setattr(stream.log, "close", no_room)
        daemon.disk_full("nothing is left")
        assert stream.session is not None
        assert stream.session.waits_for_room
        daemon._look(clock.boottime_ns())
    let_pass(daemon, clock, 5)
    assert stream.session is not None
    assert not stream.session.waits_for_room


# -- mistakes ---------------------------------------------------------------------------------------------------------


def test_a_configuration_that_cannot_work_is_one_sentence(tmp_path: Path) -> None:
    from tests.recorder.test_bad_input import broken

    site = Site(tmp_path / "site", streams=OUTSIDE)
    try:
        assert "/nowhere" in broken(site, f'authority = ["{site.authority}"]', 'authority = ["/nowhere"]')
        assert "demo-0002" in broken(site, 'id = "demo-0001"', 'id = "demo-0002"')
        assert "/proc/nowhere" in broken(site, f'run = "{site.run}"', 'run = "/proc/nowhere"')
        assert "reserve_size_mib" in broken(site, "[spool]", "[spool]\nreserve_size_mib = 0")
    finally:
        site.close()
