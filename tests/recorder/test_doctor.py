"""The check before duty: each thing that can be wrong, in words, as an exit code and on record; on real parts below."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from recorder import doctor
from recorder.advice import Uploads
from recorder.battery import State as Battery
from recorder.doctor import Condition, Link, Source, judge, record
from recorder.doctor_command import lines
from recorder.evidence import faults, records, texts
from recorder.storage import CRITICAL, FULL, PLENTY, Room
from tests.support.commands import liuhen
from tests.support.session import stream_records
from tests.support.site import Site

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SECOND_NS = 10**9
DAY_NS = 86_400 * SECOND_NS
NOW_NS = 1_790_000_000 * SECOND_NS
CAMERA = Source("body/camera", ("video",), connected=True, frames={"video": 75})
MICROPHONE = Source("body/microphone", ("audio",), connected=True, frames={"audio": 140}, peak_millibels=-2500)
DEAD = MICROPHONE._replace(frames={})
STILL = MICROPHONE._replace(peak_millibels=-9000)
FIT = Condition(
    room=Room(PLENTY, 300, 500_000, measured=True),
    duty_minutes=120,
    clock="synchronised",
    utc_ns=NOW_NS,
    sources=(CAMERA, MICROPHONE),
    speaker="present",
    loop="heard",
    battery=Battery(percent=80, minutes=400, on_mains=False),
    certificate_not_after_utc_ns=NOW_NS + 400 * DAY_NS,
    uplink=Link(running=True, connected=True),
    uploads=Uploads(),
    position="fix",
)


def answer(items: list[doctor.Item]) -> dict[str, Any]:
    plain = [
        {"name": one.name, "state": one.state, "faults": list(one.faults), "values": dict(one.values)} for one in items
    ]
    return {"result": doctor.result(items), "items": plain}


@pytest.mark.rule("R15")
def test_a_fit_device_passes_in_both_languages() -> None:
    items = judge(FIT)
    body = record(items)
    assert body.result == "pass"
    assert (body.noted, body.failed, body.skipped) == ({}, {}, [])
    zh, en = lines(answer(items), "zh"), lines(answer(items), "en")
    assert zh[0] == "勤前检查"
    assert "【合格】存储：按当前画质约可记录5.0小时。" in zh
    assert "【合格】扬声器：扬声器与录音部件互检正常。" in zh
    assert "【合格】电池：电量80%，约可使用400分钟。" in zh
    assert zh[-1] == "检查通过，可以出勤。"
    assert "[ok] clock: synchronised" in en
    assert "[ok] certificate: Valid for another 400 days." in en
    assert en[-1] == "All in order: fit for duty."


@pytest.mark.rule("R15")
@pytest.mark.parametrize(
    ("item", "changes", "code", "result"),
    [
        ("battery", {"battery": Battery(percent=20, minutes=40)}, "battery_low", "fail"),
        ("battery", {"battery": Battery(percent=20, minutes=40, on_mains=True)}, None, "pass"),
        ("storage", {"room": Room(PLENTY, 119, 1, measured=True)}, "storage_short", "fail"),
        ("storage", {"room": Room(CRITICAL, 5, 1, measured=True), "duty_minutes": 3}, None, "pass"),
        ("storage", {"room": Room(FULL, 0, 1, measured=True)}, "storage_full", "fail"),
        ("clock", {"clock": "unset"}, "clock_unset", "warn"),
        ("clock", {"clock": "holdover"}, None, "pass"),
        ("clock", {"satellite_offset_ns": -3 * SECOND_NS}, "clock_differs", "warn"),
        ("clock", {"satellite_offset_ns": -SECOND_NS}, None, "pass"),
        ("camera", {"sources": (CAMERA._replace(connected=False), MICROPHONE)}, "camera_absent", "fail"),
        ("camera", {"sources": (CAMERA._replace(frames=None), MICROPHONE)}, "camera_silent", "fail"),
        ("camera", {"sources": (CAMERA._replace(frames={}), MICROPHONE)}, "camera_silent", "fail"),
        ("camera", {"sources": (CAMERA._replace(impairments=("lens_blocked",)), MICROPHONE)}, "lens_blocked", "fail"),
        ("camera", {"sources": (CAMERA._replace(impairments=("picture_dark",)), MICROPHONE)}, "picture_dark", "warn"),
        ("microphone", {"sources": (CAMERA, MICROPHONE._replace(connected=False))}, "microphone_absent", "fail"),
        ("microphone", {"sources": (CAMERA, DEAD), "loop": "not-checked"}, "microphone_silent", "fail"),
        ("microphone", {"sources": (CAMERA, STILL), "loop": "not-checked"}, "microphone_silent", "fail"),
        ("microphone", {"sources": (CAMERA, STILL)}, None, "pass"),
        ("microphone", {"sources": (CAMERA, MICROPHONE._replace(peak_millibels=None))}, None, "pass"),
        ("speaker", {"speaker": "absent", "loop": "not-checked"}, "speaker_absent", "warn"),
        ("speaker", {"loop": "not-heard"}, "loop_not_heard", "warn"),
        ("speaker", {"loop": "not-checked"}, None, "pass"),
        ("keys", {"certificate_not_after_utc_ns": NOW_NS + 89 * DAY_NS}, "certificate_expiring", "warn"),
        ("keys", {"certificate_not_after_utc_ns": NOW_NS - 1}, "certificate_expired", "warn"),
        ("keys", {"certificate": "unproved", "certificate_not_after_utc_ns": None}, "certificate_unproved", "warn"),
        ("uplink", {"uplink": Link(running=False, connected=False)}, "uplink_absent", "warn"),
        ("uplink", {"uplink": Link(running=True, connected=False)}, "uplink_offline", "warn"),
        ("pending", {"uploads": Uploads(pending=2, soon=1, soon_hours=3)}, "upload_soon", "warn"),
        ("pending", {"uploads": Uploads(pending=2, overdue_return=1)}, "upload_overdue", "warn"),
        ("pending", {"uploads": Uploads(pending=2)}, None, "pass"),
        ("position", {"position": "no-gpsd"}, "position_absent", "warn"),
        ("position", {"position": "no-fix"}, None, "pass"),
    ],
)
def test_what_is_wrong_is_named_with_what_to_do(
    item: str, changes: dict[str, Any], code: str | None, result: str
) -> None:
    items = judge(FIT._replace(**changes))
    found = next(one for one in items if one.name == item)
    assert found.faults == (() if code is None else (code,))
    body = record(items)
    assert body.result == result
    assert {**body.noted, **body.failed} == ({} if code is None else {item: code})
    text = "\n".join(lines(answer(items), "zh"))
    if code is not None:
        told = faults.table()[code]
        assert f"{told.cause.zh}。{told.todo.zh}（代码{told.number}）" in text
        assert told.todo.en in "\n".join(lines(answer(items), "en"))


def test_the_gravest_of_several_is_signed_and_all_are_told() -> None:
    dark = CAMERA._replace(impairments=("picture_dark", "lens_blocked"))
    items = judge(FIT._replace(sources=(dark, MICROPHONE)))
    assert record(items).failed == {"camera": "lens_blocked"}
    text = "\n".join(lines(answer(items), "zh"))
    assert "代码43" in text
    assert "代码44" in text


def test_what_a_device_has_not_is_not_checked() -> None:
    items = judge(
        FIT._replace(
            battery=Battery(),
            speaker="none",
            uplink=None,
            uploads=None,
            certificate="unknown",
            sources=(MICROPHONE,),
            position=None,
        )
    )
    body = record(items)
    assert body.skipped == ["battery", "camera", "speaker", "keys", "uplink", "pending", "position"]
    assert body.result == "pass"
    assert set(body.passed) | set(body.skipped) == {one.name for one in items}
    assert all(texts.known(f"doctor.{one.name}") for one in items)


def test_every_code_is_in_the_table() -> None:
    assert set(faults.table()) >= doctor.FAILS


# -- on real parts ---------------------------------------------------------------------------------------------------

STREAMS = """
[[streams]]
name = "body"

[streams.sources.camera]
kind = "synthetic"
tracks = ["video"]
width_px = 320
height_px = 240
frames_per_second = 10

[streams.sources.microphone]
kind = "synthetic"
tracks = ["audio"]
{more}
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with Site(tmp_path_factory.mktemp("doctor"), streams=STREAMS.format(more="")) as made:
        made.start_recorder()
        ready(made)
        yield made


def ready(site: Site) -> None:
    site.wait_for(lambda: site.ask("status")["streams"][0]["state"] == "ready", "camera and microphone are there")


def checks(site: Site) -> list[records.Check]:
    return [one.body for one in stream_records(site.spool, 0) if isinstance(one.body, records.Check)]


def examine(site: Site, *options: str) -> tuple[int, str]:
    done = liuhen("doctor", "--config", site.device_config, *options)
    assert not done.stderr, done.stderr
    return done.returncode, done.stdout


@pytest.mark.rule("R15")
def test_the_doctor_looks_at_a_running_device_and_signs_what_it_found(site: Site) -> None:
    code, said = examine(site)
    # This machine's clock is unset, and no uplink runs: points to note.
    assert code == 1, said
    assert "【合格】摄像" in said
    assert "【合格】录音" in said
    assert "【未检查】扬声器" in said
    assert "【注意】网络：上传服务未运行。" in said
    assert "可以出勤。" in said
    newest = checks(site)[-1]
    assert {"storage", "camera", "microphone", "keys", "pending"} <= set(newest.passed)
    assert newest.noted["uplink"] == "uplink_absent"
    shown = json.loads(examine(site, "--json")[1])
    assert shown["result"] == "warn"
    assert next(one for one in shown["items"] if one["name"] == "uplink")["numbers"] == [64]
    # Nothing of the look is kept: no session, no media.
    assert not [one for one in stream_records(site.spool) if one.kind not in ("genesis", "boot")]
    assert not list((site.spool / "media").rglob("*0*1"))


@pytest.mark.rule("R15")
def test_the_session_after_it_says_that_and_since_when_the_device_was_idle(site: Site) -> None:
    examine(site)
    site.ask("start")
    site.wait_for(lambda: site.ask("status")["streams"][0]["state"] == "recording", "it records")
    during = len(checks(site))
    assert examine(site)[0] == 1  # and a check in the middle of it harms nothing
    assert len(checks(site)) == during + 1
    site.ask("stop", statement=True)
    ready(site)
    opened, found = [
        (one.body, one) for one in stream_records(site.spool) if isinstance(one.body, records.SessionOpen)
    ][-1]
    signed = [one for one in stream_records(site.spool, 0) if isinstance(one.body, records.Check)]
    assert opened.checked == "warn"
    assert opened.checked_utc_ns in [one.utc_ns for one in signed]
    assert opened.idle_since_boottime_ns is not None
    assert 0 < opened.zero_boottime_ns - opened.idle_since_boottime_ns < found.boottime_ns
    said = liuhen("report", site.spool, "--authority", site.authority).stdout
    assert "此前待机（已开机、未记录）" in said
    assert "通过，有需要注意的事项" in said
    assert not [one for one in stream_records(site.spool) if isinstance(one.body, records.Gap)]


@pytest.mark.rule("R15")
def test_a_camera_that_is_gone_is_not_fit_for_duty(tmp_path: Path) -> None:
    more = "spawn = false"
    streams = STREAMS.format(more="").replace("frames_per_second = 10", f"frames_per_second = 10\n{more}")
    with Site(tmp_path / "site", streams=streams) as site:
        site.start_recorder()
        site.wait_for(
            lambda: site.ask("status")["streams"][0]["sources"]["microphone"]["connected"], "the microphone is there"
        )
        code, said = examine(site)
        assert code == 2
        assert "【不合格】摄像：摄像部件未连接。检查连线后重新开机；仍不正常的，更换设备（代码41）。" in said
        assert "有1项不合格，请更换设备或者联系设备管理员。" in said
        assert checks(site)[-1].failed == {"camera": "camera_absent"}
        # It warns; it never refuses.
        site.ask("start")
        site.wait_for(lambda: site.ask("status")["streams"][0]["state"] == "audio_only", "it records")
        opened = [one.body for one in stream_records(site.spool) if isinstance(one.body, records.SessionOpen)]
        assert opened[-1].checked == "fail"


def test_a_recorder_that_does_not_run_is_told_as_a_fault(tmp_path: Path) -> None:
    with Site(tmp_path / "site") as site:
        code, said = examine(site)
    assert code == 2
    assert "记录服务没有响应" in said
    assert "代码71" in said


@pytest.mark.rule("R15")
def test_a_battery_that_does_not_last_for_one_session_is_found(tmp_path: Path) -> None:
    with Site(tmp_path / "site", streams=STREAMS.format(more="")) as site:
        supply = site.power / "BAT0"
        supply.mkdir(parents=True)
        for name, value in {
            "type": "Battery",
            "status": "Discharging",
            "capacity": "30",
            "energy_now": "3000000",
            "power_now": "3000000",
        }.items():
            (supply / name).write_text(f"{value}\n")
        site.start_recorder()
        ready(site)
        site.wait_for(lambda: site.ask("status")["battery"]["minutes"] == 60, "an hour is left")
        code, said = examine(site)
        assert code == 2
        assert "【不合格】电池：电量30%，约可使用60分钟。电池电量不足。" in said
        assert checks(site)[-1].failed == {"battery": "battery_low"}


@pytest.mark.rule("R15")
def test_a_camera_that_films_nothing_but_darkness_is_found_before_anybody_records(tmp_path: Path) -> None:
    film = tmp_path / "black.mp4"
    black = ("-f", "lavfi", "-i", "color=black:size=320x240:rate=10", "-t", "20")
    command = ["ffmpeg", "-v", "error", "-nostdin", *black, "-c:v", "libx264", "-preset", "ultrafast", "-g", "10"]
    subprocess.run([*command, str(film)], check=True, timeout=120)
    streams = f"""
[[streams]]
name = "body"

[streams.sources.camera]
kind = "input"
tracks = ["video"]
url = "{film}"
options = {{ loop = "yes" }}
"""
    with Site(tmp_path / "site", streams=streams) as site:
        site.start_recorder()
        ready(site)
        site.wait_for(lambda: "impaired of video" in site.recorder.log(), "the source has seen it", 60)
        code, said = examine(site)
        assert "画面过暗" in said or "镜头被遮挡" in said
        found = checks(site)[-1]
        assert {**found.noted, **found.failed}["camera"] in ("picture_dark", "lens_blocked", "picture_frozen")
        assert code == (2 if found.failed else 1)
        assert not [one for one in stream_records(site.spool) if one.kind not in ("genesis", "boot")]
