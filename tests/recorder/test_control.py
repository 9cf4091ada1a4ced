"""Whoever may speak to the control socket may say anything: the answer is a refusal, and the recorder goes on."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

from recorder import lawful
from recorder.control import ControlPeer, RefusedError, ask
from tests.recorder.test_daemon import OUTSIDE
from tests.support.site import Site

if TYPE_CHECKING:
    from pathlib import Path


def test_half_a_character_is_no_request() -> None:
    near, far = socket.socketpair()
    with near, far:
        far.sendall(b'{"command": "defer", "reason": "\\ud800"}\n')
        with pytest.raises(RefusedError):
            ControlPeer(near).receive()


@pytest.mark.parametrize("matter", [[], {}, 1, ["on_site_inspection"]])
def test_a_matter_of_another_type_is_none(matter: object) -> None:
    with pytest.raises(RefusedError):
        lawful.matter_of({"matter": matter})


def test_a_number_that_no_file_can_hold_is_no_detail() -> None:
    with pytest.raises(RefusedError):
        lawful.details_of({"details": {"author": "x", "position": {"latitude_e7": 10**30, "longitude_e7": 1}}})


def test_a_running_recorder_survives_them(tmp_path: Path) -> None:
    odd: list[object] = [[], {}, "\ud800", 10**30, None, True, 1.5]
    with Site(tmp_path / "site", streams=OUTSIDE) as site:
        site.start_recorder()
        for command in ("start", "press", "stop", "unsuitable", "mark", "photo", "details", "not-recorded", "defer"):
            for one in odd:
                fields = {"stream": None, "matter": one, "reason": one, "details": one, "marker": one, "mode": one}
                _said(site, {"command": command, **fields})
                _said(site, {"command": command, "details": {"author": "x", "note": one, "\ud800": 1}})
                _said(site, {"command": command, "stream": one, "after": one, "number": one, "statement": one})
        assert site.ask("status")["streams"]
        site.check_running()


def _said(site: Site, request: dict[str, object]) -> None:
    """Say something; a refusal is an answer, silence is none."""
    refused = ""
    try:
        ask(site.run, request)
    except RefusedError as error:
        refused = error.code
    assert refused != "not-running", request
