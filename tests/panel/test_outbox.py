"""Presses wait on file for the recorder, through the panel's own end."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from recorder.panel.grammar import Gesture
from recorder.panel.messages import PanelError, Show, encode, from_panel, from_recorder
from recorder.panel.outbox import FILE_NAME, MAX_WAITING, Outbox

if TYPE_CHECKING:
    from pathlib import Path

DOWN = Gesture("down", 5, 5)


def test_what_is_not_acknowledged_outlives_the_panel(tmp_path: Path) -> None:
    first = Outbox(tmp_path, "boot")
    sent = [first.put(Gesture("down", at, at)) for at in (1, 2, 3)]
    assert sent[0] is not None
    first.acknowledged(sent[0].instance, 1)
    second = Outbox(tmp_path, "boot")
    assert second.waiting == sent[1:]
    fresh = second.put(DOWN)
    assert fresh is not None
    assert (fresh.instance, fresh.number) == (sent[0].instance, 4), "numbers go on, so that none is taken for another"
    second.acknowledged("another", 4)
    assert len(second.waiting) == 3


def test_another_boot_begins_anew(tmp_path: Path) -> None:
    first = Outbox(tmp_path, "boot").put(DOWN)
    second = Outbox(tmp_path, "next boot")
    fresh = second.put(DOWN)
    assert second.waiting == [fresh]
    assert first is not None
    assert fresh is not None
    assert fresh.instance != first.instance


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"boot": "boot", "instance": 3}', b"\xff" * 100])
def test_a_spoiled_file_keeps_nobody_from_pressing(tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILE_NAME).write_bytes(content)
    assert Outbox(tmp_path, "boot").put(DOWN) is not None


def test_presses_without_end_take_no_room_without_end(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path, "boot")
    kept = [outbox.put(DOWN) for _ in range(MAX_WAITING + 5)]
    assert kept[MAX_WAITING - 1] is not None
    assert kept[MAX_WAITING:] == [None] * 5
    assert Outbox(tmp_path, "boot").waiting == outbox.waiting


@pytest.mark.parametrize(
    "line",
    [
        b"{}",
        b"null",
        b'{"type":"press"}',
        b'{"type":"show","state":"ready"}',
        b'{"type":"press","instance":"","number":1,"gesture":"down","push_boottime_ns":1,"at_boottime_ns":1}',
        b'{"type":"press","instance":"a","number":-1,"gesture":"down","push_boottime_ns":1,"at_boottime_ns":1}',
        b'{"type":"press","instance":"a","number":1,"gesture":"erase","push_boottime_ns":1,"at_boottime_ns":1}',
        b'{"type":"press","instance":"a","number":1e3,"gesture":"down","push_boottime_ns":1,"at_boottime_ns":1}',
        b"[" * 3000,
        b"x" * 5000,
    ],
)
def test_what_no_panel_says_is_refused(line: bytes) -> None:
    with pytest.raises(PanelError):
        from_panel().feed(line + b"\n")


def test_messages_come_whole_whatever_the_pieces() -> None:
    show = Show(state="recording", battery_minutes=12)
    lines, got = from_recorder(), []
    for byte in encode(show) * 2:
        got += lines.feed(bytes([byte]))
    assert got == [show, show]
