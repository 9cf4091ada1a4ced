"""The framed log: nothing whole is ever lost, nothing torn is ever read, damage is always told."""

from __future__ import annotations

import os
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recorder.spool.errors import DiskFullError, LogFormatError, SpoolFatalError
from recorder.spool.layout import mark_path
from recorder.spool.logfile import Damage, Frame, LogFile, durable_size, walk

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_SIZE = 300
messages = st.lists(st.binary(min_size=1, max_size=MAX_SIZE), min_size=1, max_size=12)


@contextmanager
def log_of(batches: list[list[bytes]]) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "one.log"
        file = LogFile.create(path, MAX_SIZE)
        for batch in batches:
            file.append(batch)
        file.close()
        yield path


def read(path: Path) -> list[Frame | Damage]:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return list(walk(descriptor, 0, path.stat().st_size, MAX_SIZE))
    finally:
        os.close(descriptor)


def whole(path: Path) -> list[bytes]:
    return [item.message for item in read(path) if isinstance(item, Frame)]


def set_mark(path: Path, size: int) -> None:
    mark_path(path).write_bytes(size.to_bytes(8, "big"))


@given(st.lists(messages, max_size=5))
@settings(max_examples=40)
def test_what_was_appended_is_read(batches: list[list[bytes]]) -> None:
    with log_of(batches) as path:
        assert whole(path) == [message for batch in batches for message in batch]
        assert durable_size(path) == path.stat().st_size
        assert not any(isinstance(item, Damage) for item in read(path))


@given(messages, st.data())
@settings(max_examples=80)
def test_cut_anywhere_behind_the_mark(appended: list[bytes], data: st.DataObject) -> None:
    """A power cut: the mark on the disk is older, the tail is torn. Whole frames stay, the torn one goes."""
    with log_of([appended]) as path:
        frames = [item for item in read(path) if isinstance(item, Frame)]
        ends = [0, *(frame.end_offset for frame in frames)]
        mark = data.draw(st.sampled_from(ends))
        cut = data.draw(st.integers(mark, ends[-1]))
        os.truncate(path, cut)
        set_mark(path, mark)
        opened = LogFile.open(path, MAX_SIZE)
        kept = max(end for end in ends if end <= cut)
        assert opened.damages == []
        assert opened.torn_size_bytes == cut - kept
        assert opened.file.size_bytes == durable_size(path) == path.stat().st_size == kept
        opened.file.append([b"next"])
        opened.file.close()
        assert whole(path) == [*(frame.message for frame in frames if frame.end_offset <= kept), b"next"]


@given(messages, st.data())
@settings(max_examples=120)
def test_a_changed_byte_before_the_mark_is_told_and_costs_one_message(
    appended: list[bytes], data: st.DataObject
) -> None:
    with log_of([appended]) as path:
        content = bytearray(path.read_bytes())
        at = data.draw(st.integers(0, len(content) - 1))
        content[at] ^= data.draw(st.integers(1, 255))
        path.write_bytes(content)
        hit = next(i for i, f in enumerate(_frames(appended)) if f[0] <= at < f[1])
        opened = LogFile.open(path, MAX_SIZE)
        assert opened.torn_size_bytes == 0
        assert opened.file.size_bytes == len(content)
        assert opened.damages, "damage before the mark must be told"
        told = opened.damages
        assert any(one.offset <= at < one.end_offset for one in told)
        opened.file.append([b"next"])
        opened.file.close()
        kept = whole(path)
        assert kept[-1] == b"next"
        expected = [message for i, message in enumerate(appended) if i != hit]
        # The changed frame itself can never be read as good; all others are found again.
        assert [message for message in kept[:-1] if message in expected] == expected


def _frames(appended: list[bytes]) -> list[tuple[int, int]]:
    ends, at = [], 0
    for message in appended:
        ends.append((at, at + 8 + len(message)))
        at = ends[-1][1]
    return ends


@given(messages, messages, st.binary(min_size=1, max_size=40))
@settings(max_examples=60)
def test_garbage_between_whole_frames_is_passed_and_told(first: list[bytes], second: list[bytes], junk: bytes) -> None:
    with log_of([first]) as path, log_of([second]) as other:
        path.write_bytes(path.read_bytes() + b"\xff" * 8 + junk + other.read_bytes())
        items = read(path)
        assert any(isinstance(item, Damage) for item in items)
        assert whole(path)[: len(first)] == first
        assert whole(path)[-len(second) :] == second


def test_a_file_shorter_than_its_mark_goes_on_at_its_last_whole_frame() -> None:
    with log_of([[b"one"], [b"two"]]) as path:
        os.truncate(path, path.stat().st_size - 1)
        opened = LogFile.open(path, MAX_SIZE)
        assert opened.file.size_bytes == path.stat().st_size
        opened.file.append([b"three"])
        opened.file.close()
        assert whole(path) == [b"one", b"three"]


@pytest.mark.parametrize("mark", [None, b"", b"\x01\x02", b"\xff" * 8])
def test_the_mark_may_be_missing_or_nonsense(mark: bytes | None) -> None:
    with log_of([[b"one", b"two"]]) as path:
        if mark is None:
            mark_path(path).unlink()
        else:
            mark_path(path).write_bytes(mark)
        opened = LogFile.open(path, MAX_SIZE)
        opened.file.close()
        assert durable_size(path) == path.stat().st_size
        assert whole(path) == [b"one", b"two"]


def test_messages_of_a_wrong_length_are_refused_and_nothing_is_written() -> None:
    with log_of([[b"one"]]) as path:
        file = LogFile.open(path, MAX_SIZE).file
        for message in (b"", b"x" * (MAX_SIZE + 1)):
            with pytest.raises(LogFormatError):
                file.append([b"good", message])
        file.close()
        assert whole(path) == [b"one"]


def test_memory_is_bounded_and_long_logs_are_walked_in_windows() -> None:
    content = [bytes([n % 251]) * 251 for n in range(4000)]
    with log_of([content]) as path:
        assert path.stat().st_size > 3 * 256 << 10
        assert whole(path) == content


def test_a_full_device_takes_nothing_and_the_file_can_still_be_used(tmp_path: Path) -> None:
    """/dev/full answers every write with ENOSPC, as a full disk does."""
    file = LogFile.create(tmp_path / "one.log", MAX_SIZE)
    file.append([b"one"])
    good = os.dup(file._descriptor)
    full = os.open("/dev/full", os.O_RDWR)
    real_truncate = os.ftruncate
    os.dup2(full, file._descriptor)
    try:
        os.ftruncate = lambda _fd, size: real_truncate(good, size)  # type: ignore[assignment]
        with pytest.raises(DiskFullError):
            file.append([b"two"])
    finally:
        os.ftruncate = real_truncate
    os.dup2(good, file._descriptor)
    file.append([b"three"])
    file.close()
    assert whole(tmp_path / "one.log") == [b"one", b"three"]


def test_after_a_failed_sync_nothing_more_is_written(tmp_path: Path) -> None:
    """/dev/null takes writes and cannot be synced."""
    file = LogFile.create(tmp_path / "one.log", MAX_SIZE)
    file.append([b"one"])
    good = os.dup(file._descriptor)
    os.dup2(os.open("/dev/null", os.O_RDWR), file._descriptor)
    with pytest.raises(SpoolFatalError):
        file.append([b"two"])
    os.dup2(good, file._descriptor)
    with pytest.raises(SpoolFatalError):
        file.append([b"two"])
    file.close()
    assert whole(tmp_path / "one.log") == [b"one"]
    assert durable_size(tmp_path / "one.log") == 8 + 3
