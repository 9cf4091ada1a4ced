"""A real recorder, voice and microphone, and a real sound server between them: what is signed is what was heard."""

from __future__ import annotations

import os
import shutil
import signal
import time
from typing import TYPE_CHECKING

import pytest

from recorder.announce import TELLING
from recorder.evidence import records
from recorder.voice.sounds import RENDERED, read_wav
from tests.support.commands import liuhen
from tests.support.pulse import PulseServer
from tests.support.session import heard_in_film, joined_film, stream_records
from tests.support.site import Site

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TEXT = "say.start.av"
STREAMS = """
[[streams]]
name = "worn"

[streams.sources.camera]
kind = "synthetic"
tracks = ["video"]
width_px = 320
height_px = 240
frames_per_second = 10

[streams.sources.microphone]
kind = "pyaudio"
tracks = ["audio"]

[voice]
folder = "{folder}"
"""


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PulseServer]:
    with PulseServer(tmp_path_factory.mktemp("pulse")) as server:
        server.add_sink("elsewhere")
        yield server


@pytest.fixture(scope="module")
def site(room: PulseServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    before = dict(os.environ)
    os.environ.update(room.environment)
    with Site(folder, streams=STREAMS.format(folder=folder / "voice")) as made:
        said = liuhen("voice", "render", "--config", made.device_config)
        assert said.returncode == 0, said.stderr
        # The agency's own recording of the start wins; a shorter text keeps these tests short.
        rendered = folder / "voice" / RENDERED
        shutil.copy(rendered / "say.start.av.short.zh.wav", folder / "voice" / f"{TEXT}.zh.wav")
        made.start_recorder()
        made.wait_for(lambda: _state(made) == "ready", "camera and microphone are there")
        yield made
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture
def session(site: Site, room: PulseServer) -> Iterator[Callable[[], None]]:
    """Begins a session; it is ended, and the sound put right, when the test is over."""
    room.route("room", "room")
    site.wait_for(lambda: site.ask("status")["voice"], "the voice is there")

    def begin() -> None:
        site.ask("start")

    yield begin
    if _state(site) != "ready":
        site.ask("stop", statement=True, reason="moved")
        site.wait_for(lambda: _state(site) == "ready", "the session has ended")
        # Whoever is told of the next one must not have to wait for it.
        site.wait_for(lambda: "say.end.code" in _said(site), "the code of its end has been spoken", 60)


def _said(site: Site) -> list[str]:
    return [one.body.text for one in _session(site) if isinstance(one.body, records.Announcement)]


def _state(site: Site) -> str:
    return str(site.ask("status")["streams"][0]["state"])


def _session(site: Site) -> list[records.Record]:
    """Return the records of the newest session."""
    found = stream_records(site.spool)
    newest = [one for one in found if isinstance(one.body, records.SessionOpen)][-1]
    return [one for one in found if one.session == newest.session]


def _announcements(site: Site) -> list[records.Announcement]:
    """Return what became of the texts that tell the party of the recording."""
    signed = [one.body for one in _session(site) if isinstance(one.body, records.Announcement)]
    return [one for one in signed if one.text.startswith(TELLING)]


def _wait(site: Site, count: int = 1) -> list[records.Announcement]:
    site.wait_for(lambda: len(_announcements(site)) >= count, f"{count} announcements are signed", 60)
    return _announcements(site)


@pytest.mark.rule("R3")
def test_it_records_first_then_speaks_and_hears_itself(site: Site, session: Callable[[], None]) -> None:
    session()
    (told,) = _wait(site)
    assert (told.text, told.heard) == (TEXT, "heard")
    assert told.delay_ns is not None
    assert told.level_millibels is not None
    assert 0 <= told.delay_ns <= 2_000_000_000
    assert -4000 < told.level_millibels < 0
    opened = _session(site)[0].body
    assert isinstance(opened, records.SessionOpen)
    assert told.spoken_boottime_ns > opened.zero_boottime_ns
    # Again, when the party arrives; and with an end in between, so that all of it is in the film.
    site.ask("again")
    again = _wait(site, 2)[1]
    assert (again.text, again.heard) == ("say.again", "heard")
    site.ask("stop", statement=True, reason="moved")
    site.wait_for(lambda: _state(site) == "ready", "the session has ended")
    assert _found_in_film(site, opened, told)


def _found_in_film(site: Site, opened: records.SessionOpen, told: records.Announcement) -> bool:
    spoken = read_wav(site.folder / "voice" / f"{TEXT}.zh.wav")
    return heard_in_film(joined_film(site.spool), spoken, told.spoken_boottime_ns, opened.zero_boottime_ns)


@pytest.mark.rule("R3")
def test_muted_is_not_heard_and_said_once_more(site: Site, session: Callable[[], None], room: PulseServer) -> None:
    room.mute(on=True)
    try:
        session()
        first, second = _wait(site, 2)
    finally:
        room.mute(on=False)
    assert [one.heard for one in (first, second)] == ["not-heard"] * 2
    assert first.text == second.text == TEXT
    assert first.delay_ns is first.level_millibels is None
    assert "cue.heard.no" in site.recorder.log()


@pytest.mark.rule("R3")
def test_a_microphone_in_another_place_hears_nothing(
    site: Site, session: Callable[[], None], room: PulseServer
) -> None:
    room.route("elsewhere", "room")
    session()
    assert _wait(site)[0].heard == "not-heard"
    # The loudspeaker works again for the repetition.
    room.route("room", "room")
    assert _wait(site, 2)[1].heard == "heard"
    assert "cue.heard.after_retry" in site.recorder.log()


@pytest.mark.rule("R3")
def test_a_companions_announcement_is_recognised(site: Site, session: Callable[[], None], room: PulseServer) -> None:
    room.route("elsewhere", "room")
    site.wait_for(lambda: _state(site) == "ready", "ready")
    companion = room.play(site.folder / "voice" / f"{TEXT}.zh.wav")
    began = time.monotonic()
    site.wait_for(lambda: time.monotonic() - began > 2.5, "the companion began to speak")
    session()
    (told,) = _wait(site)
    companion.wait(20)
    assert told.heard == "companion"
    assert told.delay_ns is None
    assert "cue.heard.companion" in site.recorder.log()


@pytest.mark.rule("R3")
def test_a_voice_that_hangs_delays_nothing(site: Site, session: Callable[[], None]) -> None:
    voice = next(int(line.split("pid ")[1]) for line in site.recorder.log().splitlines() if "voice started" in line)
    os.kill(voice, signal.SIGSTOP)
    try:
        began = time.monotonic()
        session()
        assert time.monotonic() - began < 0.5
        assert _wait(site)[0].heard == "not-heard"
        chunks = [one for one in _session(site) if isinstance(one.body, records.Chunk)]
        assert chunks
        assert not [one for one in _session(site) if isinstance(one.body, records.Gap)]
    finally:
        os.kill(voice, signal.SIGKILL)
    site.wait_for(lambda: site.recorder.log().count("the voice is connected") >= 2, "another voice has come")
