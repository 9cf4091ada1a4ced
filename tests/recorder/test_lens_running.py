"""A running recorder whose sources say that something was shown: true, false, and far too much."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from recorder.evidence.records import Chunk, Details, SessionOpen
from recorder.source import link
from tests.support.cards import Issuer, officer, task
from tests.support.commands import liuhen
from tests.support.session import stream_records
from tests.support.site import Site
from tests.support.source_end import SourceEnd

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

OUTSIDE = """
[[streams]]
name = "camera"

[streams.sources.camera]
kind = "synthetic"
tracks = ["video"]
spawn = false
stall_after_s = 30.0
"""
FLOOD = 2000


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with Site(tmp_path / "site", streams=OUTSIDE) as made:
        made.start_recorder()
        yield made


def issuer_of(site: Site) -> Issuer:
    return Issuer.of_site(site.authority, site.keys / "central")


def show(source: SourceEnd, text: str | bytes) -> None:
    payload = text if isinstance(text, bytes) else text.encode()
    source.send(link.Shown(taken_boottime_ns=time.clock_gettime_ns(time.CLOCK_BOOTTIME)), payload)


def details(site: Site) -> list[tuple[str, str]]:
    return [(one.body.when, one.body.author) for one in stream_records(site.spool) if isinstance(one.body, Details)]


def test_a_press_begins_a_session_of_the_matter_that_was_shown(site: Site) -> None:
    issuer, source = issuer_of(site), SourceEnd.dial(site.run, "camera", "video", codes="read")
    show(source, issuer.text(task(matter="sampling")))
    show(source, issuer.text(officer()))
    site.wait_for(lambda: "OfficerCode" in site.recorder.log(), "both are read")
    site.ask("press")
    source.begin()
    source.fragment()
    site.wait_for(lambda: details(site) == [("start", "code")] * 2, "both are on record")
    assert site.ask("status")["streams"][0]["matter"] == "sampling"
    show(source, issuer.text(officer()))
    show(source, issuer.text(officer(certificate="06050113")))
    site.wait_for(lambda: len(details(site)) == 3, "the new one is on record, the old one not again")
    assert details(site)[-1] == ("during", "code")
    (opened,) = [one.body for one in stream_records(site.spool) if isinstance(one.body, SessionOpen)]
    assert opened.matter == "sampling"


def test_a_flood_of_what_is_shown_keeps_nothing_from_being_recorded(site: Site) -> None:
    strangers = [Issuer.make().text(task()) for _ in range(20)]
    source = SourceEnd.dial(site.run, "camera", "video")
    site.ask("start")
    source.begin()
    show(source, issuer_of(site).text(officer()))
    site.wait_for(lambda: len(details(site)) == 1, "the issuer is known")
    for number in range(FLOOD):
        show(source, strangers[number % 20] if number % 3 else b"LIUHEN1:" + str(number).encode())
        if number % 100 == 0:
            source.fragment()
    show(source, issuer_of(site).text(officer(certificate="06050113")))
    site.wait_for(lambda: source.expect(link.Ack, 20).number == FLOOD // 100 - 1, "all is on the disk")
    log = site.recorder.log()
    assert log.count("cue.code.bad") <= 3
    site.check_running()
    site.ask("stop", statement=True)
    source.expect(link.Stop, 20)
    source.ended()
    site.wait_for(lambda: site.ask("status")["streams"][0]["session"] is None, "closed")
    found = stream_records(site.spool)
    assert sum(record.body.fragments for record in found if isinstance(record.body, Chunk)) == FLOOD // 100
    assert details(site) == [("during", "code")] * 2  # before the flood, and behind it


def test_status_says_where_codes_are_not_read(site: Site) -> None:
    source = SourceEnd.dial(site.run, "camera", "video", codes="missing")
    site.wait_for(lambda: site.ask("status")["streams"][0]["sources"]["camera"]["codes"] == "missing", "it is known")
    assert "未安装 zxing-cpp" in liuhen("status", "--config", site.device_config).stdout
    source.close()
