"""From the centre's printer before the lens to the party's package: a task and officers, shown and never typed."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest

from keys.certificates import Anchors, Role, load_der
from recorder.evidence import details as particulars
from recorder.evidence import lens_code, texts
from recorder.evidence.records import Details, SessionOpen
from tests.support.cards import Held, Issuer, film, officer, picture, printed, squares
from tests.support.commands import ROOT, liuhen
from tests.support.pictures import camera_stream, export_session
from tests.support.rtsp import RtspServer
from tests.support.session import stream_records
from tests.support.site import Site

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CASE, PLACE, PARTY = "明应急检记〔2026〕31号", "本溪市明山区胜利路12号", "某某机械有限公司"
NAMES = {"06050112": "王建国", "06050113": "李敏"}
PERSONAL = [CASE, PLACE, PARTY, *NAMES, *NAMES.values()]


def issue(site: Site, out: Path, kind: str, *particulars: str) -> Path:
    """Have the centre issue one code, as a clerk does; return its PNG."""
    until = time.strftime("%Y-%m-%d", time.gmtime(time.time() + 2 * 86_400))
    done = liuhen(
        "central", "code", kind, "--config", site.central_config, "--out", out, "--until", until,
        "--reason", "检查计划", *particulars,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (png,) = out.glob("*.png")
    return png


def scene(site: Site, folder: Path) -> Path:
    """A task is shown to an idle camera; then a forged card, two officers' cards, and the task once more."""
    shown = [
        issue(site, folder / "task", "task", "--matter", "on_site_inspection", "--case", CASE, "--place", PLACE,
              "--person", f"party:{PARTY}", "--officer", "06050112"),
        *(issue(site, folder / number, "officer", "--certificate", number, "--name", name, "--agency", "明山区应急局")
          for number, name in NAMES.items()),
    ]  # fmt: skip
    task, first, second = (bytes_of(printed(png), turned) for png, turned in zip(shown, (0, 8, -12), strict=True))
    forged = bytes_of(squares(Issuer.make().text(officer())), 3)
    room = picture([])
    scenes = [task, task, task, room, room, forged, forged, first, first, task, task, second, second, room, room]
    return film(folder / "film.mp4", scenes)


def bytes_of(drawn: list[list[bool]], turned: float) -> bytearray:
    return picture([Held(drawn, width=0.35, turned=turned)])


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with Site(tmp_path / "site") as one:
        one.start_broker()
        one.central.start()
        one.wait_for((one.store / "store.json").exists, "the store is there")
        with RtspServer(scene(one, tmp_path)) as camera:
            policy = ROOT / "config" / "agencies" / "mingshan-emergency-bureau.toml"
            one.streams = camera_stream(camera.url)
            one.write_configurations()
            text = one.device_config.read_text()
            one.device_config.write_text(text.replace("[device]", f'[device]\npolicy = "{policy}"', 1))
            yield one


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.rule("R2")
@pytest.mark.rule("R6")
@pytest.mark.rule("R8")
def test_a_task_and_two_officers_are_shown_and_stand_in_the_report(site: Site, tmp_path: Path) -> None:
    site.start_recorder()
    site.uplink.start()
    site.wait_for(lambda: "a TaskCode of store:store-1 was read" in site.recorder.log(), "the task is read", 60)
    assert site.ask("status")["streams"][0]["sources"]["camera"]["codes"] == "read"
    site.ask("start")
    assert site.ask("status")["streams"][0]["matter"] == "on_site_inspection"
    site.wait_for(lambda: site.recorder.log().count("cue.code.officer") == 2, "two officers are read", 60)
    site.ask("mark", marker="credentials")
    recorded = export_session(site, tmp_path / "package")

    records = stream_records(site.spool)
    (opened,) = [one.body for one in records if isinstance(one.body, SessionOpen)]
    assert opened.matter == "on_site_inspection"
    stated = [one for one in records if isinstance(one.body, Details)]
    said = [one.body for one in stated if isinstance(one.body, Details)]
    assert [(one.when, one.author, one.officers_count) for one in said] == [
        ("start", "code", 1),
        ("during", "code", 1),
        ("during", "code", 1),
    ]
    log = site.recorder.log()
    assert [log.count(cue) for cue in ("cue.code.read", "cue.code.officer")] == [1, 2]
    assert log.count("cue.code.bad") >= 1

    # Anyone who has the package and the authority can check that the centre issued what was shown.
    contents = [recorded.package / "evidence" / "media" / f"{one.content_sha256.hex()}.bin" for one in said]
    issuer = Anchors.load([site.authority]).identify(load_der(site.keys / "central" / "codes.crt"), Role.CODES)
    for record, path in zip(stated, contents, strict=True):
        one = particulars.decode(path.read_bytes())
        assert one.code is not None
        assert one.code_dates_judged == (record.clock != "unset")
        lens_code.believe(lens_code.read(lens_code.to_text(one.code)), issuer, record.utc_ns)

    found = report(site, recorded.package)
    statuses = found["duties"]
    on_record = statuses["R6"]["sentences"][0]["zh"]
    for name in ("place", "matter", "officers", "party"):  # the time only where this machine's clock is set
        assert texts.named("particular", name) in on_record
    assert (statuses["R8"]["status"], statuses["R8"]["basis"]) == ("met", "declared")
    assert statuses["R7"]["status"] == "not_met"  # a place in a code is not its sign in the picture
    text = liuhen("report", recorded.package, "--authority", site.authority, *POLICY).stdout
    for word in (CASE, PLACE, PARTY, *NAMES.values()):
        assert word in text, word

    unset = any(record.clock == "unset" for record in stated)
    assert ("有效期未核对" in text) == unset

    # Names stand in the sealed files and in the report made from them, and nowhere else.
    for path in [*site.logs.iterdir(), *(site.spool / "logs").iterdir(), site.store / "access.log"]:
        data = path.read_bytes()
        assert [word for word in PERSONAL if word.encode() in data] == [], path


POLICY = ("--policy", ROOT / "config" / "agencies" / "mingshan-emergency-bureau.toml")


def report(site: Site, package: Path) -> dict[str, Any]:
    done = liuhen("report", package, "--authority", site.authority, *POLICY, "--format", "json")
    assert done.returncode == 0, done.stderr
    (found,) = json.loads(done.stdout)["reports"]
    assert isinstance(found, dict)
    return found
