from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from keys.certificates import Anchors, load_der
from keys.signer import open_signer
from recorder.evidence import statements
from uplink.central import access

if TYPE_CHECKING:
    from pathlib import Path

    from keys.signer import Signer


@pytest.fixture
def signer(site: Path) -> Signer:
    folder = site / "central"
    return open_signer(f"file:{folder / 'receipt.key'}", load_der(folder / "receipt.crt"))


def write(folder: Path, signer: Signer, count: int) -> None:
    for number in range(count):
        access.note(folder, signer, "store-1", number, "export", "clerk", "case 7", {"session": b"s" * 16})


def test_entries_are_signed_and_chained(tmp_path: Path, site: Path, signer: Signer) -> None:
    write(tmp_path, signer, 3)
    found = list(access.entries(tmp_path))
    assert [entry.sequence for _, entry in found] == [0, 1, 2]
    anchors = Anchors.load([site / "authority.crt"])
    for message, entry in found:
        statements.verify(message, anchors)
        assert (entry.who, entry.reason, entry.action) == ("clerk", "case 7", "export")


def test_a_torn_last_entry_is_cut_and_the_chain_goes_on(tmp_path: Path, signer: Signer) -> None:
    write(tmp_path, signer, 2)
    with (tmp_path / "access.log").open("ab") as file:
        file.write(b"\0\0\1\0torn")
    write(tmp_path, signer, 1)
    assert [entry.sequence for _, entry in access.entries(tmp_path)] == [0, 1, 2]


def test_a_changed_entry_is_found(tmp_path: Path, signer: Signer) -> None:
    write(tmp_path, signer, 3)
    path = tmp_path / "access.log"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(access.AccessLogError):
        list(access.entries(tmp_path))


def test_a_removed_entry_is_found(tmp_path: Path, signer: Signer) -> None:
    write(tmp_path, signer, 3)
    path = tmp_path / "access.log"
    third = len(path.read_bytes()) // 3
    path.write_bytes(path.read_bytes()[third:])
    with pytest.raises(access.AccessLogError):
        list(access.entries(tmp_path))


def test_no_reason_no_access(tmp_path: Path, signer: Signer) -> None:
    with pytest.raises(access.AccessLogError, match="reason"):
        access.note(tmp_path, signer, "store-1", 1, "export", "clerk", "  ", {})
    assert not (tmp_path / "access.log").exists()
