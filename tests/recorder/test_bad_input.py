"""Mistakes of people and machines get one clear sentence, or a flagged record, and lose nothing."""

from __future__ import annotations

import shutil
import socket
import subprocess
from typing import TYPE_CHECKING

import pytest

from recorder.evidence.policy import NO_FILE_SHA256
from recorder.evidence.records import Fault, Gap, SessionOpen
from tests.crash.test_disasters import all_receipted, record_session
from tests.crash.test_recorder_killed import SMALL, state
from tests.support.commands import LIUHEN
from tests.support.session import chunks, stream_records
from tests.support.shifted import FAKETIME
from tests.support.site import Site

if TYPE_CHECKING:
    from pathlib import Path


def refused(*arguments: str) -> str:
    """Run a command that must be refused; return its one sentence."""
    done = subprocess.run([*LIUHEN, *arguments], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 64, (done.returncode, done.stderr)
    assert "Traceback" not in done.stderr
    return done.stderr


def broken(site: Site, old: str, new: str) -> str:
    """Change the device's configuration and return what `liuhen record` says of it."""
    text = site.device_config.read_text()
    assert old in text
    changed = site.folder / "changed.toml"
    changed.write_text(text.replace(old, new, 1))
    return refused("record", "--config", str(changed))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("[device]", "[device]\ncolour = 'red'", "colour"),
        ("width_px = 640", "width_px = 'wide'", "width_px"),
        ('kind = "synthetic"', 'kind = "hologram"', "hologram"),
        ('name = "counter"', 'name = "../counter"', "counter"),
        ('tracks = ["audio"]', 'tracks = ["video"]', "video"),
        ('id = "demo-0001"', 'id = "Demo 1"', "Demo 1"),
        ('name = "counter"', 'name = "counter"\nmode = "movie"', "movie"),
        ("[device]", "[device", "TOML"),
    ],
)
def test_a_mistake_in_the_configuration_is_named(tmp_path: Path, old: str, new: str, said: str) -> None:
    site = Site(tmp_path / "site", streams=SMALL)
    try:
        message = broken(site, old, new)
    finally:
        site.close()
    assert said in message
    assert not (site.spool / "logs").exists()


def test_a_missing_key_and_a_key_of_another_certificate_are_named(tmp_path: Path) -> None:
    site = Site(tmp_path / "site", streams=SMALL)
    keys = site.keys / "devices" / site.device
    try:
        (keys / "signing.key").rename(keys / "away")
        assert "cannot be read" in refused("record", "--config", str(site.device_config))
        shutil.copy(keys / "transport.key", keys / "signing.key")
        assert "not the one" in refused("record", "--config", str(site.device_config))
    finally:
        site.close()


def test_a_missing_policy_file_is_a_signed_fault_and_the_device_records_all_the_same(tmp_path: Path) -> None:
    with Site(tmp_path / "site", streams=SMALL) as site:
        text = site.device_config.read_text().replace("[device]", '[device]\npolicy = "/nowhere/policy.toml"', 1)
        site.device_config.write_text(text)
        site.start_recorder()
        record_session(site)
        site.recorder.stop()
    faults = [record.body for record in stream_records(site.spool, 0) if isinstance(record.body, Fault)]
    assert [fault.code for fault in faults] == ["policy_missing"]
    assert chunks(site.spool)


def test_a_policy_file_that_nobody_understands_is_a_signed_fault_and_no_session_names_it(tmp_path: Path) -> None:
    with Site(tmp_path / "site", streams=SMALL) as site:
        file = site.folder / "policy.toml"
        file.write_text('version = "1"\nof_a_later_program = true\n')
        text = site.device_config.read_text().replace("[device]", f'[device]\npolicy = "{file}"', 1)
        site.device_config.write_text(text)
        site.start_recorder()
        record_session(site)
        site.recorder.stop()
    (fault,) = [record.body for record in stream_records(site.spool, 0) if isinstance(record.body, Fault)]
    assert fault.code == "policy_missing"
    assert fault.detail is not None
    assert "cannot be understood" in fault.detail
    (opened,) = [record.body for record in stream_records(site.spool) if isinstance(record.body, SessionOpen)]
    assert opened.policy_sha256 == NO_FILE_SHA256


def test_no_recorder_to_ask_is_said_in_the_language_of_the_device(tmp_path: Path) -> None:
    site = Site(tmp_path / "site", streams=SMALL)
    try:
        assert "记录服务没有响应" in refused("status", "--config", str(site.device_config))
    finally:
        site.close()


def test_a_second_recorder_on_one_spool_is_refused(tmp_path: Path) -> None:
    with Site(tmp_path / "site", streams=SMALL) as site:
        site.start_recorder()
        assert "another process writes this spool" in refused("record", "--config", str(site.device_config))
        site.check_running()


@pytest.mark.rule("R20")
def test_a_missing_camera_leaves_the_sound_and_a_signed_gap(tmp_path: Path) -> None:
    streams = SMALL.replace(
        'kind = "synthetic"\ntracks = ["video"]', 'kind = "input"\nurl = "/dev/video99"\ntracks = ["video"]'
    )
    with Site(tmp_path / "site", streams=streams) as site:
        site.start_recorder()
        site.wait_for(
            lambda: site.ask("status")["streams"][0]["sources"]["microphone"]["connected"], "the microphone is there"
        )
        site.ask("start")
        site.wait_for(lambda: state(site) == "audio_only", "sound alone is recorded")
        site.wait_for(lambda: bool(chunks(site.spool)), "a chunk of sound")
        site.ask("stop", statement=True)
        site.wait_for(lambda: site.ask("status")["streams"][0]["session"] is None, "closed")
        site.recorder.stop()
    assert all(set(chunk.tracks) == {"audio"} for _, chunk in chunks(site.spool))
    gaps = [record.body for record in stream_records(site.spool) if isinstance(record.body, Gap)]
    assert gaps
    assert all(gap.tracks == ["video"] and gap.cause == "camera" for gap in gaps)
    assert "No such file or directory" in site.recorder.log()


def test_the_brokers_port_in_use_is_said_and_nothing_is_lost(tmp_path: Path) -> None:
    with Site(tmp_path / "site", streams=SMALL) as site, socket.create_server(("127.0.0.1", site.broker.device_port)):
        site.start_recorder()
        site.uplink.start()
        record_session(site)
        made = len(chunks(site.spool))
        site.wait_for(lambda: "TLS" in site.uplink.log() or "broker" in site.uplink.log(), "the uplink says so")
        assert site.ask("status")["unreceipted_files"] == made


@pytest.mark.slow
@pytest.mark.rule("R12")
def test_a_device_in_1970_records_uploads_and_says_that_its_clock_is_unset(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Site(tmp_path / "site", streams=SMALL) as site:
        site.start_broker()
        site.central.start()
        monkeypatch.setenv("LD_PRELOAD", str(FAKETIME))
        monkeypatch.setenv("FAKETIME", "@1970-01-01 00:05:00")
        monkeypatch.setenv("FAKETIME_DONT_FAKE_MONOTONIC", "1")
        site.start_recorder()
        site.uplink.start()
        monkeypatch.delenv("LD_PRELOAD")
        monkeypatch.delenv("FAKETIME")
        record_session(site)
        site.wait_for(lambda: all_receipted(site), "receipted", 60)
        found = stream_records(site.spool)
        session = next(record.session for record in found if record.session)
        out = tmp_path / "package"
        subprocess.run(
            [
                *(*LIUHEN, "export", "--config", str(site.central_config), "--session", session.hex()),
                *("--out", str(out), "--reason", "test"),
            ],
            check=True,
        )
    assert {record.clock for record in found} == {"unset"}
    done = subprocess.run(
        [*LIUHEN, "verify", str(out), "--authority", str(site.authority)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
    assert "时间未校准" in (out / "evidence" / "report.txt").read_text()
    assert "1970" not in (out / "evidence" / "report.txt").read_text()
