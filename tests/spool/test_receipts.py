"""Only a proved receipt for exactly these bytes lets a file go, and nothing else does."""

from __future__ import annotations

import os
import secrets
from typing import TYPE_CHECKING

import pytest

from keys.authority import Authority
from keys.certificates import Role
from recorder.evidence.records import Boot
from recorder.spool.receipts import Taken
from tests.support.spools import (
    CAMERA,
    EPOCH,
    FakeClock,
    Site,
    issue_store,
    make_site,
    open_session,
    record_chunk,
)

if TYPE_CHECKING:
    from pathlib import Path

    from recorder.evidence.records import Record
    from recorder.spool.spool import Spool

HOUR = 3600


class Scene:
    """A recorder with four chunks on the disk."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.clock = FakeClock()
        self.spool = site.open(self.clock)
        self.session = open_session(self.spool)
        self.records = [record_chunk(self.spool, self.session, number) for number in range(4)]

    def path(self, record: Record) -> Path:
        assert record.file is not None
        return self.spool.media_path(CAMERA, record.file.media)

    def restart(self) -> Spool:
        self.spool.close()
        self.spool = self.site.open(self.clock)
        return self.spool

    def receipt(self, record: Record, **changes: object) -> bytes:
        return self.site.media_receipt(record, self.clock.utc_ns, **changes)


@pytest.fixture
def scene(site: Site) -> Scene:
    return Scene(site)


def test_a_receipt_frees_its_file_after_the_window_and_no_other(scene: Scene) -> None:
    scene.site.deliver(scene.receipt(scene.records[1]))
    assert scene.spool.take_receipts() == Taken(1, 0, 0)
    assert scene.spool.lingering().files == 1
    scene.clock.advance(71 * HOUR)
    assert scene.spool.collect_garbage().files == 0
    scene.clock.advance(2 * HOUR)
    freed = scene.spool.collect_garbage()
    assert (freed.files, freed.size_bytes) == (1, scene.records[1].file.stored_size_bytes)  # type: ignore[union-attr]
    assert [scene.path(record).exists() for record in scene.records] == [True, False, True, True]
    assert scene.spool.outstanding().files == 3
    assert not list((scene.site.root / "inbox").iterdir())
    scene.restart()
    assert (scene.spool.outstanding().files, scene.spool.lingering().files) == (3, 0)


@pytest.mark.parametrize(
    "changes",
    [
        {"stored_sha256": bytes(32)},
        {"content_sha256": bytes(32)},
        {"record_sha256": bytes(32)},
        {"stored_size_bytes": 1},
        {"device": "sy-0002"},
        {"log": bytes(16)},
        {"sequence": 0},
        {"sequence": 5000},
        {"storage": "hoped"},
        {"standing": "unknown"},
        {"store": "store-2"},
    ],
    ids=lambda changes: "-".join(map(str, changes)),
)
def test_a_receipt_about_anything_else_frees_nothing(scene: Scene, changes: dict[str, object]) -> None:
    scene.site.deliver(scene.receipt(scene.records[0], **changes))
    assert scene.spool.take_receipts() == Taken(0, 0, 1)
    assert scene.spool.outstanding().files == 4
    assert list(scene.site.reader.receipts()) == []
    assert not list((scene.site.root / "inbox").iterdir())


def test_crossed_receipts_of_two_chunks_free_neither(scene: Scene) -> None:
    first, second = scene.records[:2]
    scene.site.deliver(scene.receipt(first, sequence=second.sequence), scene.receipt(second, sequence=first.sequence))
    assert scene.spool.take_receipts() == Taken(0, 0, 2)


def test_receipts_of_strangers_are_refused(scene: Scene) -> None:
    stranger = issue_store(Authority.create("another agency"))
    device = issue_store(Authority.create("agency"), Role.SIGNING, "sy-0001")
    genuine = bytearray(scene.receipt(scene.records[0]))
    genuine[-1] ^= 1
    scene.site.deliver(
        scene.receipt(scene.records[0], signer=stranger),
        scene.receipt(scene.records[0], signer=device),
        bytes(genuine),
        b"no receipt at all",
        scene.records[0].message,
        secrets.token_bytes(9000),
    )
    taken = [scene.spool.take_receipts() for _batch in range(4)]
    # One certificate is examined with each batch: a flood of strangers does not keep the recorder from recording.
    assert [one.refused for one in taken] == [4, 1, 1, 0]
    assert not any(one.kept for one in taken)
    assert not list((scene.site.root / "inbox").iterdir())
    assert scene.spool.outstanding().files == 4


def test_a_proved_certificate_does_not_prove_a_bad_signature(scene: Scene) -> None:
    scene.site.deliver(scene.receipt(scene.records[0]))
    scene.spool.take_receipts()
    altered = bytearray(scene.receipt(scene.records[1]))
    altered[-1] ^= 1
    scene.site.deliver(bytes(altered), scene.receipt(scene.records[1], store="store-2"))
    assert scene.spool.take_receipts() == Taken(0, 0, 2)


def test_what_is_no_plain_file_in_the_inbox_is_refused(scene: Scene) -> None:
    inbox = scene.site.root / "inbox"
    (inbox / "link").symlink_to("/etc/passwd")
    os.mkfifo(inbox / "pipe")
    (inbox / "empty").touch()
    (inbox / ".unfinished").write_bytes(scene.receipt(scene.records[0]))
    assert scene.spool.take_receipts() == Taken(0, 0, 3)
    assert [path.name for path in inbox.iterdir()] == [".unfinished"]


def test_a_receipt_that_comes_again_is_harmless(scene: Scene) -> None:
    receipt = scene.receipt(scene.records[0])
    for kept, repeated in ((1, 0), (0, 1), (0, 1)):
        scene.site.deliver(receipt)
        assert scene.spool.take_receipts() == Taken(kept, repeated, 0)
    scene.clock.advance(80 * HOUR)
    scene.spool.collect_garbage()
    scene.site.deliver(receipt)
    assert scene.spool.take_receipts() == Taken(0, 1, 0)
    assert len(list(scene.site.reader.receipts())) == 1


def test_quarantined_is_kept_too(scene: Scene) -> None:
    scene.site.deliver(scene.receipt(scene.records[0], standing="quarantined"))
    scene.spool.take_receipts()
    assert scene.spool.lingering().files == 1


def test_where_the_second_copy_is_asked_for_the_first_does_not_free(tmp_path: Path) -> None:
    scene = Scene(make_site(tmp_path / "site", free_on="secured", restore_window_hours=0.0))
    scene.site.deliver(scene.receipt(scene.records[0]), scene.receipt(scene.records[1], storage="secured"))
    scene.spool.take_receipts()
    assert (scene.spool.held().files, scene.spool.lingering().files) == (1, 1)
    scene.clock.advance(HOUR)
    assert scene.spool.collect_garbage().files == 1
    assert scene.path(scene.records[0]).exists()
    scene.site.deliver(scene.receipt(scene.records[0], storage="secured"))
    assert scene.spool.take_receipts().kept == 1
    scene.clock.advance(HOUR)
    assert scene.spool.collect_garbage().files == 1


def test_another_policy_takes_effect_at_the_next_start(tmp_path: Path) -> None:
    scene = Scene(make_site(tmp_path / "site", free_on="secured"))
    scene.site.deliver(scene.receipt(scene.records[0]))
    scene.spool.take_receipts()
    scene.site.settings = make_site(tmp_path / "other").settings
    scene.restart()
    assert (scene.spool.held().files, scene.spool.lingering().files) == (0, 1)


def test_a_false_index_does_not_free_anything(scene: Scene) -> None:
    """Someone, or a damaged card, makes the index say that all is receipted."""
    scene.spool._keeper._index._db.execute(
        "UPDATE media SET state = 2, receipt_offset = 0, receipt_utc_ns = 0, storage = 'stored'"
    )
    scene.clock.advance(100 * HOUR)
    assert scene.spool.collect_garbage().files == 0
    assert all(scene.path(record).exists() for record in scene.records)
    assert scene.spool.outstanding().files == 4


def test_a_store_that_fell_back_gets_again_what_lingers(scene: Scene) -> None:
    log, last = scene.records[0].log, scene.records[-1]
    scene.site.deliver(scene.site.records_receipt(last, log, scene.clock.utc_ns), *map(scene.receipt, scene.records))
    scene.spool.take_receipts()
    assert scene.spool.outstanding().files == 0
    old_receipt = scene.receipt(scene.records[3])
    scene.clock.advance(HOUR)
    scene.site.deliver(scene.site.records_receipt(scene.records[1], log, scene.clock.utc_ns))
    assert scene.spool.take_receipts().kept == 1
    assert (scene.spool.outstanding().files, scene.spool.lingering().files) == (2, 2)
    scene.site.deliver(old_receipt)
    assert scene.spool.take_receipts().refused == 1
    # The same after the index was made again, and new receipts count.
    (scene.site.root / "index.db").unlink()
    scene.restart()
    assert (scene.spool.outstanding().files, scene.spool.lingering().files) == (2, 2)
    scene.site.deliver(scene.receipt(scene.records[2]), scene.receipt(scene.records[3]))
    scene.spool.take_receipts()
    assert scene.spool.outstanding().files == 0
    # Every record can still be given, by its sequence.
    reader = scene.site.reader.log(log)
    found = [reader.find(record.sequence) for record in scene.records]
    assert [entry.record.sha256 for entry in found if entry] == [record.sha256 for record in scene.records]


def test_a_records_receipt_of_another_past_is_refused(scene: Scene) -> None:
    log = scene.records[0].log
    scene.site.deliver(
        scene.site.records_receipt(scene.records[0], log, scene.clock.utc_ns, head_sha256=bytes(32)),
        scene.site.records_receipt(scene.records[-1], log, scene.clock.utc_ns, next_sequence=9999),
    )
    assert scene.spool.take_receipts() == Taken(0, 0, 2)


def test_the_newest_receipt_is_named_at_the_next_boot(scene: Scene) -> None:
    receipt = scene.receipt(scene.records[0])
    scene.site.deliver(receipt)
    scene.spool.take_receipts()
    newest = scene.spool.newest_receipt_sha256
    assert newest is not None
    scene.restart()
    boots = [r.body for r in scene.site.records(scene.records[0].log) if isinstance(r.body, Boot)]
    assert boots[-1].receipt_sha256 == newest


def test_room_goes_before_the_window(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene(make_site(tmp_path / "site"))
    scene.site.deliver(scene.receipt(scene.records[0]))
    scene.spool.take_receipts()
    scene.clock.advance(1)
    scene.site.deliver(scene.receipt(scene.records[1]), scene.receipt(scene.records[2]))
    scene.spool.take_receipts()
    wanted = scene.records[0].file.stored_size_bytes + 1  # type: ignore[union-attr]
    monkeypatch.setattr(scene.spool, "free_bytes", lambda: 3 * (1 << 20) - wanted)
    assert scene.spool.collect_garbage().files == 2
    assert not scene.path(scene.records[0]).exists()
    assert scene.path(scene.records[3]).exists()


def test_a_details_file_is_freed_like_a_chunk(scene: Scene) -> None:
    from recorder.evidence.records import Details

    facts = scene.spool.write_file(CAMERA, "details", scene.session, EPOCH, b"\xa1dcasecone")
    (record,) = scene.spool.append(CAMERA, scene.session, [Details(**facts.fields(), when="during", author="officer")])
    scene.site.deliver(scene.receipt(record))
    assert scene.spool.take_receipts().kept == 1
