"""The agent between a real recorder and a real store."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from recorder.control import ask
from tests.support.site import Site
from tests.uplink.conftest import wait_for
from uplink.device.status import read

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.slow
def test_a_recording_is_handed_over_and_freed(tmp_path: Path) -> None:
    site = Site(tmp_path)
    try:
        site.start()
        ask(site.run, {"command": "start"})
        media = site.spool / "media"
        wait_for(lambda: len([path for path in media.rglob("*") if path.is_file()]) >= 2, "chunks", 30)
        site.uplink.kill()
        site.uplink.start()
        site.central.kill()
        site.central.start()
        receipts = site.spool / "receipts" / "receipts.log"
        kept = receipts.stat().st_size
        wait_for(lambda: receipts.stat().st_size > kept + 5000, "receipts after the restarts", 30)
        ask(site.run, {"command": "stop", "statement": True})
        # The window in which receipted files stay is 0 hours here, so what has been handed over goes.
        wait_for(lambda: not any(path.is_file() for path in media.rglob("*")), "all freed", 60)
        wait_for(
            lambda: (
                (status := read(site.uplink_state)) is not None
                and status.outstanding_size_bytes == 0
                and status.outstanding_records <= 1
                and not status.warnings
            ),
            "all handed over",
            20,
        )
    finally:
        site.close()
