"""A real gpsd with a logged track beside a real recorder: what is on record of where it was; and it harms nothing."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from recorder.evidence import details, records, stored
from recorder.places import SOONEST_NS
from recorder.spool.reader import SpoolReader
from tests.support.commands import liuhen
from tests.support.gps import START_E7, STEP_E7, FalseGpsd, Gps, track
from tests.support.session import stream_records
from tests.support.site import Site

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator

    from recorder.evidence.details import Position
    from recorder.evidence.records import Record

STREAMS = """
[[streams]]
name = "worn"

[streams.sources.microphone]
kind = "synthetic"
tracks = ["audio"]

[position]
gpsd = "127.0.0.1:{port}"
"""


@contextlib.contextmanager
def device(folder: Path, port: int, *, whole: bool = False) -> Iterator[Site]:
    with Site(folder / "site", streams=STREAMS.format(port=port), restore_window_hours=1) as site:
        if whole:
            site.start()
        else:
            site.start_recorder()
        site.wait_for(lambda: site.ask("status")["streams"][0]["state"] == "ready", "the microphone is there")
        yield site


@pytest.fixture
def gps(tmp_path: Path) -> Iterator[Gps]:
    with Gps(tmp_path) as made:
        yield made


def status(site: Site) -> dict[str, Any]:
    found: dict[str, Any] = site.ask("status")["position"]
    return found


def wait_state(site: Site, state: str, timeout_s: float = 60) -> None:
    site.wait_for(lambda: status(site)["state"] == state, f"the position is {state}", timeout_s)


def told(site: Site) -> list[tuple[Record, Position]]:
    """Return the positions on record, read as an outsider would who has the files."""
    found = []
    reader = SpoolReader(site.spool)
    for record in stream_records(site.spool):
        if isinstance(record.body, records.Details):
            with reader.media_path(record.log, record.body.media).open("rb") as file:
                said = details.decode(b"".join(stored.content(file.read)))
            if said.position is not None:
                assert (said.author, record.body.author) == ("device", "device")
                found.append((record, said.position))
    return found


def stop(site: Site) -> None:
    site.ask("stop", statement=True)
    site.wait_for(lambda: site.ask("status")["streams"][0]["session"] is None, "closed")


def pid_of(site: Site) -> int:
    """Return the position process: the one that holds the lock."""
    pids = re.findall(r"position started, pid (\d+)", site.recorder.log())
    return int(pids[-1])


@pytest.mark.slow
@pytest.mark.rule("R6")
@pytest.mark.rule("R7")
def test_the_position_of_a_session_reaches_the_report_and_stands_in_no_record(tmp_path: Path, gps: Gps) -> None:
    gps.start(track(3000))
    with device(tmp_path, gps.port, whole=True) as site:
        wait_state(site, "fix")
        site.ask("start")
        site.wait_for(lambda: len(told(site)) == 1, "the start has a position", 10)
        # The track goes north, eleven metres each fifth of a second; half a minute later that is on record too.
        site.wait_for(lambda: len(told(site)) == 2, "the move is on record", 60)
        stop(site)
        (first, begun), (second, moved) = told(site)[:2]
        assert (first.body.when, first.kind) == ("start", "details")  # type: ignore[union-attr]
        assert second.boottime_ns - first.boottime_ns >= SOONEST_NS
        assert begun.longitude_e7 == START_E7[1]
        assert 0 <= begun.latitude_e7 - START_E7[0] < 3000 * STEP_E7
        assert moved.latitude_e7 - begun.latitude_e7 > 5 * STEP_E7
        assert moved.accuracy_mm
        # No record tells it: neither the number, nor its digits.
        log = b"".join(path.read_bytes() for path in (site.spool / "logs").glob("*.log"))
        for one in (begun, moved):
            for value in (one.latitude_e7, one.longitude_e7):
                assert value.to_bytes(4, "big") not in log
                assert str(value).encode() not in log
        assert f"{begun.latitude_e7 / 1e7:.3f}" not in site.recorder.log()
        # Through the store, and as an outsider reads the package.
        session = first.session
        assert session is not None
        package = tmp_path / "package"
        common = ("--config", site.central_config, "--reason", "r", "--as", "010123")
        out = ("--session", session.hex(), "--out", package)

        def exported() -> bool:
            ready = liuhen("export", *common, *out)
            return ready.returncode == 0

        site.wait_for(exported, "the package is there", 60)
        said = liuhen("report", package, "--authority", site.authority)
    assert re.search(r"卫星定位 +41\.\d{5}°N 122\.99490°E( ±\d+ m)?（共\d次）", said.stdout), said.stdout
    assert "登记事项（设备）" in said.stdout


@pytest.mark.rule("R6")
def test_a_receiver_that_finds_itself_later_gives_the_session_its_position_then(tmp_path: Path, gps: Gps) -> None:
    gps.start(track(60, valid=False))
    with device(tmp_path, gps.port) as site:
        wait_state(site, "no-fix")
        site.ask("start")
        gps.stop()
        wait_state(site, "no-gpsd")
        assert told(site) == []
        gps.start(track(600))  # gpsd is back at the same port, and now it sees satellites
        site.wait_for(lambda: len(told(site)) == 1, "the first fix is on record", 60)
        # The track is of another hour: that is told, and the clock is not touched.
        assert abs(status(site)["satellite_offset_ns"]) > 2 * 10**9
        said = liuhen("status", "--config", site.device_config).stdout
        assert "定位：已定位" in said
        assert "设备时间与卫星时间相差" in said
        stop(site)
    assert not [one for one in stream_records(site.spool) if isinstance(one.body, records.Gap)]


def giant_line(connection: socket.socket) -> None:
    while True:
        connection.sendall(b"x" * 65536)


def garbage(connection: socket.socket) -> None:
    while True:
        connection.sendall(secrets.token_bytes(5000))
        time.sleep(0.01)


def false_reports(connection: socket.socket) -> None:
    connection.sendall(b'{"class":"TPV","mode":3,"lat":1e99,"lon":[],"time":{}}\n' * 1000)
    connection.sendall(b'{"class":"TPV","mode":3,"lat":NaN,"lon":5}\n{"class":"TPV"}\n' + b"[" * 16000 + b"\n")
    connection.recv(1 << 16)
    time.sleep(2)


def hang_up(connection: socket.socket) -> None:
    connection.close()


@pytest.mark.parametrize("treat", [giant_line, garbage, false_reports, hang_up])
def test_whoever_pretends_to_be_gpsd_harms_no_recording(tmp_path: Path, treat: Callable[[socket.socket], None]) -> None:
    with FalseGpsd(treat) as gpsd, device(tmp_path, gpsd.port) as site:
        site.ask("start")
        site.wait_for(lambda: gpsd.connections >= 2, "it is thrown away and tried again", 60)
        assert _peak_mib(pid_of(site)) < 80
        assert status(site)["state"] in ("no-gpsd", "no-fix")
        stop(site)
        site.check_running()
    found = stream_records(site.spool)
    assert told(site) == []
    assert any(isinstance(one.body, records.Chunk) for one in found)
    assert not [one for one in found if isinstance(one.body, records.Gap)]


def _peak_mib(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) >> 10
    raise AssertionError(pid)


def test_the_position_process_may_die_and_comes_back(tmp_path: Path, gps: Gps) -> None:
    gps.start(track(600))
    with device(tmp_path, gps.port) as site:
        wait_state(site, "fix")
        first = pid_of(site)
        os.kill(first, signal.SIGKILL)
        site.wait_for(lambda: pid_of(site) != first, "it was started anew")
        wait_state(site, "fix")
        site.ask("start")
        site.wait_for(lambda: len(told(site)) == 1, "a position is on record", 20)
