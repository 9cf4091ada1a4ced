"""What a spool tells of recordings that are over, also after a restart and with an index made again."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest

from recorder.evidence import records
from recorder.spool.spool import rebuild_index
from tests.support.spools import CAMERA, Site, close_session, open_session, record_chunk

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from recorder.evidence.records import Record
    from recorder.spool.spool import Spool

UTC = 1_790_000_000 * 10**9


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site.make(tmp_path)


@pytest.fixture
def spool(site: Site) -> Iterator[Spool]:
    opened = site.open()
    yield opened
    with contextlib.suppress(OSError):  # a test may have closed it
        opened.close()


def record(spool: Spool, chunks: int = 2) -> tuple[bytes, list[Record], Record]:
    session = open_session(spool)
    first = spool.head(CAMERA)[0] - 1
    made = [record_chunk(spool, session, number) for number in range(chunks)]
    return session, made, close_session(spool, session, first, chunks)


def test_the_newest_close_is_found(spool: Spool) -> None:
    assert spool.past.last_close(CAMERA) is None
    record(spool)
    _, _, closed = record(spool)
    open_session(spool)
    found = spool.past.last_close(CAMERA)
    assert found is not None
    assert (found.sequence, found.sha256) == (closed.sequence, closed.sha256)


def test_a_session_is_found_by_the_beginning_of_its_id(spool: Spool) -> None:
    sessions = [record(spool, 0)[0] for _ in range(4)]
    for session in sessions:
        assert [one.session for one in spool.past.find(session.hex())] == [session]
        assert session in [one.session for one in spool.past.find(session.hex()[:7])]
    still_open = open_session(spool)
    assert spool.past.find(still_open.hex()) == []
    for wrong in ("", "xyz", "0" * 33, "é"):
        with pytest.raises(ValueError, match=r"hex|beginning"):
            spool.past.find(wrong)


@pytest.mark.rule("R12")
def test_a_session_is_handed_over_when_every_file_is_receipted(site: Site, spool: Spool) -> None:
    first, chunks, _ = record(spool)
    second, _, _ = record(spool)
    record(spool, 0)  # nothing to hand over
    recording = open_session(spool)
    record_chunk(spool, recording, 0)
    assert [one.session for one in spool.past.not_handed_over()] == [first, second]
    site.deliver(site.media_receipt(chunks[0], UTC))
    spool.take_receipts()
    assert [one.session for one in spool.past.not_handed_over()] == [first, second]
    site.deliver(site.media_receipt(chunks[1], UTC))
    spool.take_receipts()
    assert [one.session for one in spool.past.not_handed_over()] == [second]
    assert spool.past.not_handed_over()[0].stream == CAMERA


@pytest.mark.rule("R13")
def test_a_deferral_holds_until_the_return(site: Site, spool: Spool) -> None:
    deferral = records.Deferral(reason="continuous", max_days=7)
    assert spool.past.deferral() is None
    spool.append(CAMERA, record(spool)[0], [deferral])
    assert spool.past.deferral() is None  # of one session, not of the device
    spool.append(0, None, [deferral])
    assert spool.past.deferral() == deferral
    spool.close()
    again = site.open()
    assert again.past.deferral() == deferral
    again.close()
    rebuild_index(site.root)
    again = site.open()
    assert again.past.deferral() == deferral
    again.append(0, None, [records.Return(sign="statement")])
    assert again.past.deferral() is None
    again.append(0, None, [deferral])
    assert again.past.deferral() == deferral
    again.close()
