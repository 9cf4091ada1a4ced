"""Recording from before the press: off unless configured and permitted, never what was not to be recorded."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from recorder import lawful
from recorder.config import DeviceConfig, SourceSection, StreamSection, load
from recorder.errors import ConfigError
from recorder.evidence import policy as policies
from recorder.evidence.records import Chunk, Fault, Gap, SessionOpen
from recorder.session import Open
from recorder.source import link
from tests.support.commands import ROOT, liuhen
from tests.support.pictures import export_session, keep_recording
from tests.support.session import stream_records
from tests.support.site import SYNTHETIC, Site
from tests.support.spools import make_site
from tests.support.stream_bench import Line, StreamBench

if TYPE_CHECKING:
    from pathlib import Path

    from recorder.evidence.records import Body

S = 1_000_000_000
AGENCIES = ROOT / "config" / "agencies"
JINPU = AGENCIES / "jinpu-development-bureau.toml"
FUSHUN = AGENCIES / "fushun-human-resources-bureau.toml"
CONFIGURED = SYNTHETIC.replace('name = "counter"\n', 'name = "counter"\npre_event_seconds = 5\n')


@pytest.fixture
def bench(tmp_path: Path) -> StreamBench:
    return StreamBench(make_site(tmp_path / "site"), pre_event_ns=10 * S)


def told(line: Line, form: type[link.Message]) -> link.Message:
    return [one for one in line.far.told() if isinstance(one, form)][-1]


def opened(bench: StreamBench) -> SessionOpen:
    found: SessionOpen = bench.bodies(SessionOpen)[-1]
    return found


# -- what a stream orders --------------------------------------------------------------------------------------------


@pytest.mark.rule("R3")
def test_zero_lies_before_the_press_and_nothing_is_missing_there(bench: StreamBench) -> None:
    camera, microphone = bench.connect("camera"), bench.connect("microphone")
    assert told(camera, link.Welcome).keep_ns == 10 * S  # type: ignore[attr-defined]
    bench.clock.advance(60)
    pressed = bench.clock.boottime_ns()
    bench.stream.open_session(Open("command"))
    start = told(camera, link.Start)
    assert start.past_ns == 10 * S  # type: ignore[attr-defined]
    assert start.zero_boottime_ns == pressed - 10 * S  # type: ignore[attr-defined]
    assert (opened(bench).pre_event_ns, opened(bench).zero_boottime_ns) == (10 * S, pressed - 10 * S)
    for line in (camera, microphone):
        line.far.begin()
        bench.take(line)
    for number in range(20):  # ten seconds of pictures at once
        camera.far.fragment(at=number)
    bench.take(camera)
    microphone.far.number = 21
    for _ in range(3):
        bench.clock.advance(0.5)
        camera.far.fragment()
        microphone.far.fragment()
        bench.take(camera, microphone)
        bench.stream.tick()
    bench.stream.end("done", "command")
    for line in (camera, microphone):
        line.far.ended()
        bench.take(line)
    assert bench.bodies(Gap) == []
    assert sum(chunk.fragments for chunk in bench.bodies(Chunk)) == 26


@pytest.mark.rule("R3")
def test_a_camera_that_never_comes_is_missing_from_the_press_on(bench: StreamBench) -> None:
    bench.clock.advance(60)
    pressed = bench.clock.boottime_ns()
    bench.stream.open_session(Open("command"))
    for _ in range(16):
        bench.clock.advance(0.5)
        bench.stream.tick()
    bench.stream.end("done", "command")
    assert {gap.start_boottime_ns for gap in bench.bodies(Gap)} == {pressed}


@pytest.mark.rule("R10")
def test_what_was_not_to_be_recorded_is_not_kept(bench: StreamBench) -> None:
    camera = bench.connect("camera")
    bench.clock.advance(60)
    bench.stream.open_session(Open("command"))
    camera.far.begin()
    bench.take(camera)
    # An interval of unsuitable content: nothing is kept in it, and going on does not reach back into it.
    bench.stream.interrupt("unsuitable")
    assert told(camera, link.Stop).keep_ns == 0  # type: ignore[attr-defined]
    camera.far.ended()
    bench.take(camera)
    bench.clock.advance(30)
    bench.stream.go_on()
    assert told(camera, link.Start).past_ns == 0  # type: ignore[attr-defined]
    # Ended because of it: the next recording begins at its press.
    bench.stream.end("unsuitable", "command")
    assert told(camera, link.Stop).keep_ns == 0  # type: ignore[attr-defined]
    bench.clock.advance(30)
    bench.stream.tick()
    camera = Line(camera.far, camera.peer, camera.slot)
    bench.stream.open_session(Open("command"))
    assert told(camera, link.Start).past_ns == 0  # type: ignore[attr-defined]
    assert opened(bench).pre_event_ns == 0
    # After an ordinary end it is kept again, and never from before that end.
    bench.stream.end("done", "command")
    assert told(camera, link.Stop).keep_ns == 10 * S  # type: ignore[attr-defined]
    bench.clock.advance(4)
    bench.stream.tick()
    bench.stream.open_session(Open("command"))
    assert opened(bench).pre_event_ns == 4 * S


@pytest.mark.rule("R10")
def test_a_camera_that_comes_in_an_interval_keeps_nothing(bench: StreamBench) -> None:
    bench.stream.open_session(Open("command"))
    bench.stream.interrupt("unsuitable")
    assert told(bench.connect("camera"), link.Welcome).keep_ns == 0  # type: ignore[attr-defined]


@pytest.mark.rule("R1")
def test_sound_alone_and_photographs_have_none(bench: StreamBench) -> None:
    bench.clock.advance(60)
    for mode in ("audio", "photo"):
        bench.stream.open_session(Open("command", mode=mode))
        assert (opened(bench).mode, opened(bench).pre_event_ns) == (mode, 0)
        bench.stream.end("done", "command")
        bench.clock.advance(60)
        bench.stream.tick()


def test_a_session_goes_on_after_a_crash_with_the_same_zero(bench: StreamBench) -> None:
    camera = bench.connect("camera")
    bench.clock.advance(60)
    bench.stream.open_session(Open("command"))
    zero = opened(bench).zero_boottime_ns
    camera.far.begin()
    bench.take(camera)
    for number in range(20):
        camera.far.fragment(at=number)
    bench.clock.advance(2.1)
    bench.take(camera)
    bench.stream.tick()
    bench.spool.close()
    bench.start()
    assert bench.stream.session is not None
    assert bench.stream.session.zero_boottime_ns == zero
    assert bench.stream.session.begin_ns == 10 * S
    assert told(bench.connect("camera"), link.Start).past_ns == 0  # type: ignore[attr-defined]


# -- who may have one ------------------------------------------------------------------------------------------------


@pytest.mark.rule("R3")
@pytest.mark.parametrize("path", sorted(AGENCIES.glob("*.toml")), ids=lambda path: path.stem.split("-")[0])
def test_only_where_the_policy_permits_it(path: Path) -> None:
    agency = policies.parse(path.read_bytes())
    stream = StreamSection(name="worn", sources={"camera": SourceSection(kind="synthetic", tracks=["video"])})
    assert lawful.pre_event_ns(agency, stream) == 0  # off by default
    worn = StreamSection(name="worn", sources=stream.sources, pre_event_seconds=30)
    if path == FUSHUN:
        assert lawful.pre_event_ns(agency, worn) == 0
        assert "F12(1)" in (lawful.pre_event_problem(agency, worn) or "")
    else:
        assert lawful.pre_event_ns(agency, worn) == 30 * S
        assert lawful.pre_event_problem(agency, worn) is None
    assert lawful.pre_event_ns(policies.without_file(), worn) == 0


@pytest.mark.parametrize("seconds", [-1, 31])
def test_more_than_half_a_minute_is_no_configuration(tmp_path: Path, seconds: int) -> None:
    with Site(tmp_path / "site", streams=SYNTHETIC) as site:
        wrong = site.device_config.read_text().replace(
            'name = "counter"\n', f'name = "counter"\npre_event_seconds = {seconds}\n'
        )
        site.device_config.write_text(wrong)
        with pytest.raises(ConfigError, match="pre_event_seconds is 0 to 30"):
            load(site.device_config, DeviceConfig)


def bodies(site: Site, form: type[Body], stream: int = 1) -> list[Body]:
    return [one.body for one in stream_records(site.spool, stream) if isinstance(one.body, form)]


def test_against_the_policy_it_records_without_and_says_so(tmp_path: Path) -> None:
    with Site(tmp_path / "site", streams=CONFIGURED, policy=FUSHUN) as site:
        site.start_recorder()
        (fault,) = bodies(site, Fault, 0)
        site.ask("start")
        site.wait_for(lambda: site.ask("status")["streams"][0]["state"] == "recording", "it records")
        (session,) = bodies(site, SessionOpen)
    assert isinstance(session, SessionOpen)
    assert session.pre_event_ns == 0
    assert isinstance(fault, Fault)
    assert fault.code == "pre_event_forbidden"
    assert "F12(1)" in (fault.detail or "")


# -- as an outsider sees it ------------------------------------------------------------------------------------------


@pytest.mark.rule("R3")
@pytest.mark.timeout(180)
def test_the_report_says_that_it_began_before_the_telling(tmp_path: Path) -> None:
    with Site(tmp_path / "site", streams=CONFIGURED, policy=JINPU) as site:
        site.start()
        site.wait_for(lambda: site.ask("status")["streams"][0]["state"] == "ready", "camera and microphone are there")
        keep_recording(site, 8)  # nothing is recorded: so long is kept
        site.ask("start")
        pressed = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        site.wait_for(lambda: site.ask("status")["streams"][0]["state"] == "recording", "both are recorded")
        keep_recording(site, 3)
        recorded = export_session(site, tmp_path / "package")
    first = recorded.chunks[0]
    assert 2.5 * S < pressed - first.start_boottime_ns < 5.5 * S
    assert "audio" not in first.tracks
    assert recorded.gaps == []
    report = liuhen("report", recorded.package, "--authority", site.authority, "--policy", JINPU)
    assert report.returncode == 0
    assert "告知前已开始记录" in report.stdout
    assert "（预录）" in report.stdout
