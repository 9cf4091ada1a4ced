"""Sessions in other manners than film, through a real sound server and the whole site: sound alone, photographs."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import av
import pytest

from recorder.control import RefusedError
from recorder.evidence.records import Announcement, SessionClose, SessionOpen
from tests.support.commands import liuhen
from tests.support.pictures import export_session, keep_recording
from tests.support.pulse import PulseServer
from tests.support.session import stream_records
from tests.support.site import Site
from tests.voice.test_announcement import STREAMS

if TYPE_CHECKING:
    from pathlib import Path


def _state(site: Site) -> str:
    return str(site.ask("status")["streams"][0]["state"])


@pytest.mark.rule("R1")
@pytest.mark.rule("R3")
@pytest.mark.timeout(300)
def test_an_officer_chooses_sound_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with PulseServer(tmp_path) as room:
        for name, value in (os.environ | room.environment).items():
            monkeypatch.setenv(name, value)
        with Site(tmp_path / "site", streams=STREAMS.format(folder=tmp_path / "voice")) as site:
            assert liuhen("voice", "render", "--config", site.device_config).returncode == 0
            site.start()
            site.wait_for(lambda: site.ask("status")["voice"] and _state(site) == "ready", "all is there", 60)
            with pytest.raises(RefusedError, match="does not record so"):
                site.ask("start", mode="continuous")
            begun = liuhen("start", "--config", site.device_config, "--mode", "audio")
            assert begun.returncode == 0, begun.stderr
            site.wait_for(lambda: _state(site) == "audio_only", "sound flows, and nothing else")
            site.wait_for(lambda: bool(_told(site)), "it has been announced", 60)
            keep_recording(site, 2)
            recorded = export_session(site, tmp_path / "package")
            (told,) = _told(site)
            (opened,) = [one.body for one in stream_records(site.spool) if isinstance(one.body, SessionOpen)]
    assert opened.mode == "audio"
    assert told.text.startswith("say.start.audio")
    assert told.heard == "heard"
    assert recorded.gaps == []
    assert {track for chunk in recorded.chunks for track in chunk.tracks} == {"audio"}
    with av.open(str(recorded.film)) as film:
        assert not film.streams.video
        assert sum(frame.samples for frame in film.decode(audio=0)) > 4 * 48_000
    shown = liuhen("report", recorded.package, "--authority", site.authority)
    assert shown.returncode == 0, shown.stderr
    assert "开始记录（录音）" in shown.stdout


def _told(site: Site) -> list[Announcement]:
    found = [one.body for one in stream_records(site.spool) if isinstance(one.body, Announcement)]
    return [one for one in found if one.text.startswith("say.start.")]


@pytest.mark.rule("R1")
@pytest.mark.rule("R3")
@pytest.mark.timeout(200)
def test_photographs_out_of_a_recording_are_announced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with PulseServer(tmp_path) as room:
        for name, value in (os.environ | room.environment).items():
            monkeypatch.setenv(name, value)
        with Site(tmp_path / "site", streams=STREAMS.format(folder=tmp_path / "voice")) as site:
            assert liuhen("voice", "render", "--config", site.device_config).returncode == 0
            site.start_recorder()
            site.wait_for(lambda: site.ask("status")["voice"] and _state(site) == "ready", "all is there", 60)
            assert liuhen("photo", "--config", site.device_config).returncode == 0
            site.wait_for(lambda: bool(_told(site)), "it has been announced", 60)
            (told,) = _told(site)
            site.wait_for(lambda: not site.ask("status")["streams"][0]["session"], "it ends by itself", 40)
            closed = [one.body for one in stream_records(site.spool) if isinstance(one.body, SessionClose)]
    assert (told.text, told.heard) == ("say.start.photo", "heard")
    assert [one.reason for one in closed] == ["done"]
