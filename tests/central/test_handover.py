"""What is late, soon late, deferred or unclosed, by each session's own policy and from records alone."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from recorder import policies
from recorder.evidence import records
from recorder.evidence.deadlines import HOUR_NS
from tests.central.support import Log, log_of
from tests.support.acts import AGENCIES, agency
from tests.support.commands import liuhen
from uplink.central import overview

if TYPE_CHECKING:
    from pathlib import Path

    from tests.central.conftest import Store

KNOWN = policies.load([next(iter(AGENCIES.values())).parent])
SESSION = b"S" * 16


def log_under(store: Store, name: str, *, close: bool = True, mode: str = "video", **envelope: Any) -> Log:
    """A log with one session under an agency's policy; it is past nine in the evening of another day."""
    log = Log("sy-0001", log_of(store.site).signer)
    log.utc_ns -= 200 * HOUR_NS
    log.genesis()
    opening = records.SessionOpen(
        mode=mode,
        zero_boottime_ns=0,
        policy_sha256=agency(name).digest,
        device_head_sequence=0,
        device_head_sha256=bytes(32),
        trigger="button",
    )
    opened = log.add(opening, SESSION, **envelope)
    log.file(SESSION)
    if close:
        body = records.SessionClose(
            reason="done",
            closed_by="button",
            open_sequence=opened.sequence,
            chunks=0,
            end_boottime_ns=0,
            device_head_sequence=0,
            device_head_sha256=bytes(32),
        )
        log.add(body, SESSION, **envelope)
    return log


def one(store: Store, now: int) -> dict[str, Any]:
    (found,) = overview.sessions_map(store.archive, None, now, KNOWN)
    return found


@pytest.mark.rule("R13")
@pytest.mark.parametrize(("name", "deferred"), [("anshan", True), ("jinpu", False), ("mingshan", False)])
@pytest.mark.parametrize("own", [True, False])
def test_deferral_and_return(store: Store, name: str, deferred: bool, own: bool) -> None:
    log = log_under(store, name)
    end = log.utc_ns
    # Signed for this session, or for whatever the device holds.
    log.add(records.Deferral(reason="elsewhere", max_days=7), SESSION if own else None)
    store.records(log, log.messages())
    away = one(store, end + 30 * HOUR_NS)
    assert (away["hand_over"], away["late"]) == (("deferred", False) if deferred else ("late", True))
    assert away["deferrals_without_effect"] == ([] if deferred else ["elsewhere"])
    status = overview.status_map(store.archive, "store-1", end + 30 * HOUR_NS, KNOWN)
    assert (len(status["deferred"]), len(status["late"])) == ((1, 0) if deferred else (0, 1))
    zh = overview.status_text(status, "zh")
    assert ("延期移交（异地工作）" in zh) is deferred
    assert f"逾期未移交{0 if deferred else 1}，即将到期0，延期移交{int(deferred)}，未结束0。" in zh
    assert one(store, end + 24 * 9 * HOUR_NS)["deferral_open_too_long"] is deferred

    before = len(log.records)
    log.utc_ns = end + 40 * HOUR_NS
    log.add(records.Return(sign="dock"))
    store.records(log, log.messages(before))
    back = log.utc_ns
    if deferred:
        assert one(store, back + 21 * HOUR_NS)["soon_late"]
        assert one(store, back + 25 * HOUR_NS)["late"]
        assert one(store, back + HOUR_NS)["deadline_utc_ns"] == back + 24 * HOUR_NS


@pytest.mark.rule("R12")
def test_an_unset_clock_is_urgent_never_late(store: Store) -> None:
    log = log_under(store, "mingshan", clock="unset")
    store.records(log, log.messages())
    found = one(store, log.utc_ns + 9000 * HOUR_NS)
    assert (found["hand_over"], found["late"], found["deadline_utc_ns"]) == ("urgent", False, None)
    status = overview.status_map(store.archive, "store-1", log.utc_ns + 9000 * HOUR_NS, KNOWN)
    assert "设备时间未校准，请尽快移交" in overview.status_text(status, "zh")


def test_unclosed_is_shown_and_becomes_late(store: Store) -> None:
    log = log_under(store, "mingshan", close=False)
    store.records(log, log.messages())
    status = overview.status_map(store.archive, "store-1", log.utc_ns + HOUR_NS, KNOWN)
    assert (status["unclosed"], status["late"]) == ([SESSION.hex()], [])
    status = overview.status_map(store.archive, "store-1", log.utc_ns + 25 * HOUR_NS, KNOWN)
    assert (status["unclosed"], status["late"]) == ([SESSION.hex()], [SESSION.hex()])


@pytest.mark.rule("R12")
def test_footage_of_a_hall_counts_from_its_capture(store: Store) -> None:
    log = log_under(store, "anshan", close=False, mode="continuous")
    first = log.records[-1].utc_ns
    log.utc_ns += 20 * HOUR_NS
    log.file(SESSION)
    store.records(log, log.messages())
    found = one(store, first + 25 * HOUR_NS)
    assert (found["late"], found["deadline_utc_ns"]) == (True, first + 24 * HOUR_NS)


def test_the_report_of_a_session_is_noted_before_it_is_read(store: Store, site: Path, tmp_path: Path) -> None:
    log = log_under(store, "mingshan")
    store.records(log, log.messages())
    keys = site / "central"
    config = tmp_path / "central.toml"
    config.write_text(
        f"""
[store]
folder = "{store.folder}"
policies = "{next(iter(AGENCIES.values())).parent.absolute()}"
[keys]
receipt = "file:{keys / "receipt.key"}"
certificate = "{keys / "receipt.crt"}"
authority = ["{site / "authority.crt"}"]
[intake]
broker = "localhost:1"
key = "{keys / "transport.key"}"
certificate = "{keys / "transport.crt"}"
broker_authority = "{site / "authority.crt"}"
"""
    )
    asked = ("central", "report", "--config", config, "--session", "53", "--reason", "case 7")
    run = liuhen(*asked, "--format", "json")
    assert run.returncode == 0, run.stderr
    (found,) = json.loads(run.stdout)["reports"]
    assert (found["policy"]["same"], found["hand_over"]["state"]) == (True, "late")
    assert "明山区应急管理局" in liuhen(*asked).stdout
    assert liuhen("central", "report", "--config", config, "--session", "53").returncode != 0
    refused = liuhen("report", store.folder)
    assert (refused.returncode, "liuhen central report" in refused.stderr) == (64, True)
    from uplink.central import access

    assert [entry.action for _, entry in access.entries(store.folder)] == ["report", "report"]
