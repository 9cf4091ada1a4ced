"""What the device may say of its clock."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from recorder.clock import HOLDOVER, SYNCHRONISED, UNSET, SystemClock, boot_id, kernel_synchronised

if TYPE_CHECKING:
    from pathlib import Path

SECOND_NS = 1_000_000_000


def clock(tmp_path: Path, memory: str | None = None) -> SystemClock:
    return SystemClock(tmp_path / "mark", ask_kernel=False, memory=tmp_path / memory if memory else None)


def test_boot_time_runs_on_and_the_boot_has_an_id(tmp_path: Path) -> None:
    one = clock(tmp_path)
    first, second = one.now(), one.now()
    assert second.boottime_ns >= first.boottime_ns > 0
    assert first.boot == second.boot == boot_id()
    assert len(first.boot) == 16


def test_a_fresh_mark_means_synchronised_an_old_one_holdover_none_unset(tmp_path: Path) -> None:
    assert clock(tmp_path).now().quality == UNSET
    mark = tmp_path / "mark"
    mark.touch()
    assert clock(tmp_path).now().quality == SYNCHRONISED
    old = time.time() - 6 * 3600
    os.utime(mark, (old, old))
    assert clock(tmp_path).now().quality == HOLDOVER


def test_once_synchronised_is_remembered_across_restarts_of_the_process(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    mark.touch()
    assert clock(tmp_path, "memory").now().quality == SYNCHRONISED
    mark.unlink()
    assert clock(tmp_path, "memory").now().quality == HOLDOVER
    assert clock(tmp_path).now().quality == UNSET


def test_an_unset_clock_is_never_before_its_floor_and_runs_on_from_it(tmp_path: Path) -> None:
    one = clock(tmp_path)
    floor = time.time_ns() + 1000 * SECOND_NS
    one.raise_floor(floor)
    one.raise_floor(floor - 500 * SECOND_NS)
    first, second = one.now(), one.now()
    assert floor <= first.utc_ns < floor + 60 * SECOND_NS
    assert second.utc_ns - first.utc_ns == second.boottime_ns - first.boottime_ns
    (tmp_path / "mark").touch()
    assert abs(one.now().utc_ns - time.time_ns()) < 60 * SECOND_NS


def test_the_kernel_answers_or_may_not_be_asked() -> None:
    assert kernel_synchronised() in (True, False, None)
