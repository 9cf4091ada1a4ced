"""The site that other tests and the demonstration run on leaves nothing behind."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from tests.support.site import Site, SiteError, marked

if TYPE_CHECKING:
    from pathlib import Path

STUBBORN = """
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if os.fork() == 0:
    os.setsid()
print("ready", flush=True)
time.sleep(600)
"""


def test_a_process_that_will_not_end_and_its_child_in_another_session_are_gone(tmp_path: Path) -> None:
    with Site(tmp_path / "site") as site:
        site.recorder.command = [sys.executable, "-c", STUBBORN]
        site.recorder.start()
        site.wait_for(lambda: site.recorder.log().count("ready") == 2, "both processes run", 20)
        site.recorder.kill()
        assert len(marked(site.mark)) == 1
    assert marked(site.mark) == []
    assert not site.run.exists()


def test_waiting_ends_when_a_part_has_ended_and_says_which(tmp_path: Path) -> None:
    with Site(tmp_path / "site") as site:
        site.uplink.command = [sys.executable, "-c", "raise SystemExit('no network today')"]
        site.uplink.start()
        with pytest.raises(SiteError, match=r"(?s)uplink ended with code 1.*uplink\.log.*no network today"):
            site.wait_for(lambda: False, "never", 20)


def test_the_broker_of_a_site_starts_and_ends(tmp_path: Path) -> None:
    with Site(tmp_path / "site") as site:
        site.start_broker()
        site.check_running()
        process = site.broker.process
    assert process is not None
    assert process.poll() is not None
