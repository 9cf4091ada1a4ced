"""Disks that go back in time, stores that forget, indexes that vanish: nothing recorded is lost silently."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import time
from typing import TYPE_CHECKING, Any

import pytest

from recorder.evidence.records import Boot
from tests.crash.test_path_killed import held_by_store
from tests.crash.test_recorder_killed import SMALL, state
from tests.support.commands import LIUHEN
from tests.support.session import chunks, stream_records
from tests.support.site import Site

if TYPE_CHECKING:
    from pathlib import Path

RECORD_S = 5.0


def record_session(site: Site) -> None:
    """Record some seconds from start to close."""
    site.wait_for(lambda: state(site) == "ready", "sources connected")
    site.ask("start")
    site.wait_for(lambda: state(site) == "recording", "recording")
    time.sleep(RECORD_S)  # the recording has to have some length
    site.ask("stop", statement=True)
    site.wait_for(lambda: state(site) == "ready", "closed")


def all_receipted(site: Site) -> bool:
    return bool(site.ask("status")["unreceipted_files"] == 0)


def central(site: Site, *arguments: str) -> Any:
    done = subprocess.run(
        [*LIUHEN, "central", *arguments, "--config", str(site.central_config), "--json"],
        capture_output=True,
        check=True,
    )
    return json.loads(done.stdout)


def branches(site: Site) -> list[tuple[str, int]]:
    with sqlite3.connect(site.store / "index.db") as database:
        rows = database.execute("SELECT classed, first_sequence FROM branch WHERE classed <> 'main'").fetchall()
    return [(classed, sequence) for classed, sequence in rows]


def records_at_store(site: Site) -> int:
    with sqlite3.connect(site.store / "index.db") as database:
        return int(database.execute("SELECT count(*) FROM record").fetchone()[0])


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_spool_rolled_back_to_an_older_copy_goes_on_and_is_classed_as_tail_lost(tmp_path: Path) -> None:
    with Site(tmp_path / "site", streams=SMALL, restore_window_hours=1.0) as site:
        site.start()
        record_session(site)
        site.recorder.stop()
        shutil.copytree(site.spool, tmp_path / "yesterday")
        site.start_recorder()
        record_session(site)
        site.wait_for(lambda: all_receipted(site), "all receipted")
        newest = len(stream_records(site.spool))
        before = held_by_store(site)
        site.recorder.kill()
        shutil.rmtree(site.spool)
        shutil.copytree(tmp_path / "yesterday", site.spool)
        site.uplink.stop()
        site.start_recorder()
        site.uplink.start()
        record_session(site)
        site.wait_for(lambda: all_receipted(site), "the new past is receipted, too")
        found = stream_records(site.spool)
        site.wait_for(lambda: len(branches(site)) >= 2, "both logs have a branch")
        classes = branches(site)
        status = central(site, "status")

    boots = [record for record in found if isinstance(record.body, Boot)]
    assert boots[-1].sequence < newest
    assert {classed for classed, _ in classes} == {"tail-lost"}
    assert boots[-1].sequence in {sequence for _, sequence in classes}
    # Nothing of the lost tail has gone from the store, and it says that there are two pasts.
    after = held_by_store(site)
    assert before.items() <= after.items()
    assert len(after) > len(before)
    assert "tail-lost" in json.dumps(status)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_store_restored_from_a_backup_gets_everything_again(tmp_path: Path) -> None:
    with Site(tmp_path / "site", streams=SMALL, restore_window_hours=1.0) as site:
        site.start()
        record_session(site)
        site.wait_for(lambda: all_receipted(site), "receipted")
        site.central.stop()
        shutil.copytree(site.store, tmp_path / "backup")
        site.central.start()
        record_session(site)
        site.wait_for(lambda: all_receipted(site), "receipted")
        complete = held_by_store(site)
        site.central.stop()
        shutil.rmtree(site.store)
        shutil.copytree(tmp_path / "backup", site.store)
        assert held_by_store(site) != complete
        site.central.start()
        total = len(stream_records(site.spool, 0)) + len(stream_records(site.spool, 1))
        site.wait_for(lambda: records_at_store(site) >= total, "all records again", 90)
        site.wait_for(lambda: held_by_store(site) == complete, "all media again", 90)
        status = central(site, "status")
        assert len(chunks(site.spool)) == len(complete)
    # Records name the newest receipt that the device had: receipts that the store does not know give it away.
    assert "receipt that is not known here" in json.dumps(status)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_both_indexes_of_a_device_deleted_lose_nothing(tmp_path: Path) -> None:
    with Site(tmp_path / "site", streams=SMALL) as site:
        site.start()
        record_session(site)
        site.wait_for(lambda: all_receipted(site), "receipted")
        held = held_by_store(site)
        site.recorder.stop()
        site.uplink.stop()
        for path in (*site.spool.glob("index.db*"), *site.uplink_state.glob("uplink.db*")):
            path.unlink()
        site.start_recorder()
        site.uplink.start()
        assert all_receipted(site)
        record_session(site)
        site.wait_for(lambda: all_receipted(site), "receipted")
        found = stream_records(site.spool)
    assert [record.sequence for record in found] == list(range(len(found)))
    assert held.items() <= held_by_store(site).items()
