"""The device's own account of its health: hand-over by records and receipts, the heartbeat of an idle device, room."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from recorder.advice import Uploads
from recorder.config import DeviceConfig, DeviceSection, KeysSection, SourceSection, StreamSection
from recorder.daemon import HEADS_IDLE_NS, Daemon
from recorder.evidence import records
from recorder.evidence.deadlines import HandoverRule
from recorder.evidence.records import Chunk, Heads, SessionClose, SessionOpen
from recorder.handover import uploads
from recorder.spool.check import check
from tests.support.clock import FakeClock
from tests.support.session import stream_records
from tests.support.shifted import Shift
from tests.support.site import Site
from tests.support.spools import CAMERA, DEVICE, close_session, make_site, open_session, record_chunk

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from recorder.evidence.records import Record
    from recorder.spool.spool import Spool
    from tests.support import spools

HOUR = 3600
TUNED = HandoverRule(deferral_reasons=frozenset({"remote"}))


# -- hand-over, by records and receipts alone ------------------------------------------------------------------------


class Duty:
    """A device that has recorded one session of three chunks."""

    def __init__(self, site: spools.Site) -> None:
        self.site = site
        self.clock = FakeClock()
        self.spool = site.open(self.clock)
        self.files, self.close = self.record()

    def record(self) -> tuple[list[Record], Record]:
        first = self.spool.head(CAMERA)[0] + 1
        session = open_session(self.spool)
        files = [record_chunk(self.spool, session, number) for number in range(3)]
        return files, close_session(self.spool, session, first, 3)

    def receive(self, *files: Record) -> None:
        self.site.deliver(*[self.site.media_receipt(one, self.clock.utc_ns) for one in files])
        self.spool.take_receipts()

    def stand(self, rule: HandoverRule = HandoverRule()) -> Uploads:  # noqa: B008 - immutable
        return uploads(self.spool, lambda _log: rule, self.clock.now())


@pytest.fixture
def duty(tmp_path: Path) -> Duty:
    return Duty(make_site(tmp_path / "site"))


@pytest.mark.rule("R12")
def test_the_device_counts_its_own_deadline_without_any_network(duty: Duty) -> None:
    due = duty.close.utc_ns + 24 * HOUR * 10**9
    assert duty.stand() == Uploads(pending=1, first_due_utc_ns=due)
    duty.clock.advance(20.5 * HOUR)
    assert duty.stand() == Uploads(pending=1, soon=1, soon_hours=4, first_due_utc_ns=due)
    duty.record()
    assert duty.stand()[:3] == (2, 1, 4)
    duty.clock.advance(4 * HOUR)
    assert duty.stand()[:5] == (2, 0, 0, 1, 0)


@pytest.mark.rule("R12")
def test_only_receipts_for_all_of_it_end_the_wait(duty: Duty) -> None:
    duty.receive(*duty.files[:2])
    assert duty.stand().pending == 1
    duty.receive(duty.files[2])
    assert duty.stand() == Uploads()


def test_an_index_made_again_knows_the_same(duty: Duty) -> None:
    duty.receive(*duty.files[1:])
    duty.spool.append(0, None, [records.Check(passed=["storage"])])
    duty.clock.advance(25 * HOUR)
    before = duty.stand()
    assert before.overdue == 1
    duty.spool.close()
    for path in duty.site.root.glob("index.db*"):
        path.unlink()
    duty.spool = duty.site.open(duty.clock)
    assert duty.stand() == before
    (newest,) = duty.spool.past.newest("check", limit=5)
    assert newest.body == records.Check(passed=["storage"])


@pytest.mark.rule("R13")
def test_a_deferral_waits_for_the_return_where_the_rule_knows_one(duty: Duty) -> None:
    duty.spool.append(0, None, [records.Deferral(reason="remote", max_days=7)])
    duty.clock.advance(60 * HOUR)
    assert duty.stand()[3:5] == (1, 0)  # under a rule without exceptions it changes nothing
    assert duty.stand(TUNED) == Uploads(pending=1)
    duty.spool.append(0, None, [records.Return(sign="statement")])
    duty.clock.advance(21 * HOUR)
    assert duty.stand(TUNED)[:3] == (1, 1, 3)
    duty.clock.advance(4 * HOUR)
    assert duty.stand(TUNED)[3:5] == (0, 1)


@pytest.mark.rule("R12")
def test_an_unset_clock_is_never_called_late(duty: Duty) -> None:
    duty.clock.advance(100 * HOUR)
    duty.clock.quality = "unset"
    assert duty.stand() == Uploads(pending=1)
    duty.record()  # made while it was unset
    duty.clock.quality = "synchronised"
    duty.clock.advance(100 * HOUR)
    assert duty.stand()[:5] == (2, 0, 0, 1, 0)


@pytest.mark.rule("R12")
def test_a_device_that_comes_on_tells_what_is_due_and_that_it_is_done(tmp_path: Path) -> None:
    shift = Shift(tmp_path / "time")
    streams = """
[[streams]]
name = "worn"
mode = "audio"

[streams.sources.microphone]
kind = "synthetic"
tracks = ["audio"]
"""
    with Site(tmp_path / "site", streams=streams, shift=shift) as site:
        site.start_recorder()
        site.wait_for(lambda: site.ask("status")["streams"][0]["state"] == "ready", "ready")
        site.ask("start")
        site.wait_for(lambda: site.ask("status")["streams"][0]["chunks"], "something is signed")
        site.ask("stop", statement=True)
        site.wait_for(lambda: site.ask("status")["streams"][0]["session"] is None, "closed")
        for hours, cue in ((21, "cue.upload.soon"), (4, "cue.upload.overdue")):
            site.recorder.stop()
            shift.pass_time(hours=hours)
            shift.reboot()
            site.start_recorder()
            site.wait_for(lambda text=cue: text in site.recorder.log(), cue)
        stands = site.ask("status")["hand_over"]
        assert (stands["pending"], stands["overdue"]) == (1, 1)
        site.start_broker()
        site.central.start()
        site.uplink.start()
        site.wait_for(lambda: "cue.upload.done" in site.recorder.log(), "all has been handed over", 120)
        assert site.ask("status")["hand_over"]["pending"] == 0


# -- the heartbeat of an idle device ---------------------------------------------------------------------------------


def heads(found: list[Record]) -> list[tuple[int, Heads]]:
    return [(one.boottime_ns, one.body) for one in found if isinstance(one.body, Heads)]


def test_an_idle_device_signs_every_hour_that_it_is_on(tmp_path: Path) -> None:
    site = make_site(tmp_path / "site")
    clock = FakeClock()
    spool: Spool = site.open(clock)
    section = StreamSection(
        name="camera", sources={"camera": SourceSection(kind="synthetic", tracks=["video"], spawn=False)}
    )
    config = DeviceConfig(
        device=DeviceSection(id=DEVICE, spool=str(site.root), run=str(tmp_path)),
        keys=KeysSection(signing="file:", certificate=str(tmp_path / "none.crt"), authority=[]),
        streams=[section],
    )
    daemon = Daemon(config, tmp_path / "device.toml", spool, clock)
    log = spool.log_id(0)
    began = clock.boottime_ns()
    for _ in range(5 * 60 + 1):
        daemon._tick()
        clock.advance(60)
    signed = [at - began for at, _ in heads(site.records(log))]
    assert signed == [hour * HEADS_IDLE_NS for hour in range(6)]
    spool.close()


def test_the_log_tells_a_device_that_was_switched_off_from_one_that_died(tmp_path: Path) -> None:
    with Site(tmp_path / "site") as site:
        site.start_recorder()
        assert site.recorder.stop() == 0
        newest = stream_records(site.spool, 0)[-1]
        assert isinstance(newest.body, Heads)
        assert newest.body.off
        site.start_recorder()
        site.recorder.kill()
        found = stream_records(site.spool, 0)
    assert isinstance(found[-1].body, Heads)
    assert not found[-1].body.off


# -- room ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Site]:
    streams = """
[[streams]]
name = "worn"
mode = "audio"

[streams.sources.microphone]
kind = "synthetic"
tracks = ["audio"]
audio_bitrate_bps = 320_000
"""
    made = Site(tmp_path / "site", streams=streams)
    made.device_config.write_text(
        made.device_config.read_text().replace(
            "[spool]", "[spool]\nreserve_size_mib = 1\nwarn_minutes = 5\ncritical_minutes = 1"
        )
    )
    made.spool.mkdir(parents=True)
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(made.spool)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        made.close()
        pytest.skip(f"a tmpfs cannot be mounted here: {done.stderr.strip()}")
    try:
        with made:
            yield made
    finally:
        subprocess.run(["umount", "-l", str(made.spool)], check=True)


def leave(folder: Path, room_bytes: int) -> None:
    """Take the room of a file system but for so much."""
    free = os.statvfs(folder)
    size = free.f_bavail * free.f_frsize - room_bytes
    with (folder / f"ballast-{secrets.token_hex(4)}").open("wb") as file, contextlib.suppress(OSError):
        while size > 0:
            file.write(bytes(min(size, 1 << 16)))
            file.flush()
            size -= 1 << 16


@pytest.mark.rule("R20")
@pytest.mark.slow
def test_room_that_runs_out_is_told_in_minutes_and_nothing_that_was_recorded_is_lost(
    small: Site, tmp_path: Path
) -> None:
    small.start_recorder()
    small.wait_for(lambda: small.ask("status")["streams"][0]["state"] == "ready", "ready")
    storage = small.ask("status")["storage"]
    assert storage["level"] == "plenty"
    small.ask("start")
    leave(small.spool, 9 << 20)  # 320 kbit/s: some three and a half minutes
    small.wait_for(lambda: "cue.storage.low" in small.recorder.log(), "low", 60)
    storage = small.ask("status")["storage"]
    assert (storage["level"], storage["minutes"]) in (("low", 3), ("low", 2))
    leave(small.spool, 1 << 20)
    small.wait_for(lambda: "cue.storage.critical" in small.recorder.log(), "critical", 30)
    media = small.spool / "media"
    before = {path: path.read_bytes() for path in media.rglob("*") if path.is_file()}
    leave(small.spool, 64 << 10)
    small.wait_for(lambda: "cue.storage.full" in small.recorder.log(), "full", 90)
    assert "say.end.storage" in small.recorder.log()
    assert small.ask("status")["streams"][0]["session"] is None
    assert small.ask("status")["storage"]["level"] == "full"
    # What had no receipt is there, byte for byte; the fault and the end are on record.
    after = {path: path.read_bytes() for path in media.rglob("*") if path.is_file()}
    assert all(after[path].startswith(content) for path, content in before.items())
    found = stream_records(small.spool)
    assert [one.body.reason for one in found if isinstance(one.body, SessionClose)] == ["storage"]
    assert "storage_full" in [one.body.code for one in stream_records(small.spool, 0) if one.kind == "fault"]  # type: ignore[union-attr]
    chunks = [one.body for one in found if isinstance(one.body, Chunk)]
    opened = next(one.body for one in found if isinstance(one.body, SessionOpen))
    assert len(chunks) == len(after)
    assert chunks[-1].end_boottime_ns - opened.zero_boottime_ns > 10**10
    copy = tmp_path / "copy"
    shutil.copytree(small.spool, copy, ignore=shutil.ignore_patterns("ballast*", "*.sock"))
    assert check(copy).findings == []
