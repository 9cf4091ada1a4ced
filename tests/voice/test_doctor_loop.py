"""The check before duty with a real sound server: do loudspeaker and microphone hear each other?"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from recorder.evidence import records
from tests.support.commands import liuhen
from tests.support.pulse import PulseServer
from tests.support.session import stream_records
from tests.support.site import Site

if TYPE_CHECKING:
    from collections.abc import Iterator

STREAMS = """
[[streams]]
name = "worn"
mode = "audio"

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


@pytest.fixture
def site(room: PulseServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    before = dict(os.environ)
    os.environ.update(room.environment)
    room.route("room", "room")
    with Site(folder, streams=STREAMS.format(folder=folder / "voice")) as made:
        made.start_recorder()
        made.wait_for(lambda: made.ask("status")["voice"], "the voice is there")
        made.wait_for(lambda: made.ask("status")["streams"][0]["state"] == "ready", "the microphone is there")
        yield made
    os.environ.clear()
    os.environ.update(before)


def examine(site: Site) -> tuple[str, records.Check]:
    said = liuhen("doctor", "--config", site.device_config).stdout
    found = [one.body for one in stream_records(site.spool, 0) if isinstance(one.body, records.Check)]
    return said, found[-1]


@pytest.mark.rule("R15")
@pytest.mark.rule("R3")
def test_speaker_and_microphone_hear_each_other(site: Site) -> None:
    said, signed = examine(site)
    assert "【合格】扬声器：扬声器与录音部件互检正常。" in said
    assert {"speaker", "microphone"} <= set(signed.passed), said
    # It was no announcement: nothing of it is in any session's log.
    assert not [one for one in stream_records(site.spool) if isinstance(one.body, records.Announcement)]


@pytest.mark.rule("R15")
def test_a_loudspeaker_that_is_muted_is_found_before_duty(site: Site, room: PulseServer) -> None:
    room.mute(on=True)
    try:
        said, signed = examine(site)
    finally:
        room.mute(on=False)
    assert "录音部件未听到扬声器的声音" in said
    assert "代码54" in said
    assert signed.noted["speaker"] == "loop_not_heard"
    # What is as still as a dead microphone is taken for one.
    assert signed.failed["microphone"] == "microphone_silent"


@pytest.mark.rule("R15")
def test_while_something_is_recorded_no_sound_is_played(site: Site) -> None:
    site.ask("start")
    site.wait_for(lambda: site.ask("status")["streams"][0]["state"] in ("recording", "audio_only"), "it records")
    said, signed = examine(site)
    assert "本次未做互检。" in said
    assert "speaker" in signed.passed
