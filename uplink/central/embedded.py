"""The embedded store: SQLite for what is known, plain files for media (``docs/store.md``).

The index runs in WAL mode with synchronous FULL; a batch is one transaction. Media get their final names, synced,
before the transaction that says so is committed. What is in memory can be thrown away at any time: another process
(take-in) may write to the same store, and is noticed.
"""

from __future__ import annotations

import json
import os
import sqlite3
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

from keys import cbor
from keys.errors import NotDeterministicError
from recorder.evidence import records
from recorder.evidence.records import MAX_SEQUENCE, Lost
from uplink.central import leases, lineage, queries, ranges, schema
from uplink.central.archive import (
    BELIEVED,
    Branching,
    Entry,
    File,
    Placed,
    Position,
)
from uplink.central.errors import LeaseLostError, NotAStoreError, RefusedError, StoreFailedError, StoreFullError
from uplink.central.folder import MediaFolder, disk_errors
from uplink.protocol import MIN_PIECE_SIZE_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from keys.certificates import Identity
    from recorder.evidence.records import Record

FORMAT: Final = 1
MARK: Final = "store.json"
INDEX: Final = "index.db"
MAX_RANGES: Final = 64
MAX_PARTS: Final = records.MAX_MEDIA_SIZE_BYTES // MIN_PIECE_SIZE_BYTES // 2
"""Every second of the smallest pieces of the largest file: honest losses leave no more holes."""
_BUSY_TIMEOUT_S: Final = 30.0
_FILE: Final = (
    "SELECT f.record_id, l.device, l.log, f.sequence, r.sha256, f.stored_sha256, f.content_sha256,"
    " f.stored_size_bytes, f.held_utc_ns IS NOT NULL, coalesce(f.standing, r.standing), f.session"
    " FROM file f JOIN record r ON r.id = f.record_id JOIN log l ON l.id = f.log_id"
)


@contextmanager
def index_errors() -> Iterator[None]:
    """Turn SQLite's errors into ours.

    Raises:
        StoreFullError: no room on the disk.
        StoreFailedError: anything else.
    """
    try:
        yield
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode == sqlite3.SQLITE_FULL:
            raise StoreFullError("no room for the index") from error
        raise StoreFailedError(f"the index failed: {error}") from error
    except sqlite3.DatabaseError as error:
        raise StoreFailedError(f"the index failed: {error}") from error


def make(folder: Path, store: str) -> None:
    """Make an empty store in ``folder``, unless there is one.

    Raises:
        NotAStoreError: the folder holds something else, or another store.
    """
    mark = folder / MARK
    if mark.exists():
        return
    if folder.exists() and any(entry.name != "lost+found" for entry in folder.iterdir()):
        raise NotAStoreError(f"{folder} is neither empty nor a store (it has no {MARK}); name another folder")
    with disk_errors(f"no store can be made in {folder}"):
        folder.mkdir(parents=True, exist_ok=True)
        temporary = folder / f"{MARK}.new"
        with temporary.open("w") as file:
            file.write(json.dumps({"liuhen-store": FORMAT, "store": store}) + "\n")
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(mark)


def check_mark(folder: Path, store: str | None = None) -> str:
    """Return the id of the store in ``folder``.

    Raises:
        NotAStoreError: no store, of an unknown format, or not the one named ``store``.
    """
    try:
        found = json.loads((folder / MARK).read_text())
        version, name = found["liuhen-store"], str(found["store"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise NotAStoreError(f"{folder} is not a store: {MARK} is missing or unreadable") from error
    if version != FORMAT:
        raise NotAStoreError(f"{folder} is a store of format {version}; this program knows {FORMAT}")
    if store is not None and name != store:
        raise NotAStoreError(f"{folder} is the store of {name!r}; the receipt key belongs to {store!r}")
    return name


class EmbeddedArchive(queries.Queries):
    """A store in one folder. One object, one thread."""

    def __init__(self, folder: Path, store: str | None = None, *, read_only: bool = False) -> None:
        """Open the store in ``folder``, which :func:`make` has made.

        Args:
            folder: where it is.
            store: the id that it must have; any when absent.
            read_only: change nothing, not even a missing table.

        Raises:
            NotAStoreError: see :func:`check_mark`.
            StoreFailedError: the index cannot be opened.
        """
        self.folder = folder
        self.store = check_mark(folder, store)
        self._media = MediaFolder(folder)
        with index_errors():
            uri = f"{(folder / INDEX).resolve().as_uri()}?mode={'ro' if read_only else 'rwc'}"
            database = sqlite3.connect(uri, timeout=_BUSY_TIMEOUT_S, isolation_level=None, uri=True)
            super().__init__(database)
            if not read_only:
                database.execute("PRAGMA journal_mode = WAL")
                database.execute("PRAGMA synchronous = FULL")
                database.execute("PRAGMA foreign_keys = ON")
                self._media.make()
            self._make_tables(read_only=read_only)
        self._staged: dict[int, ranges.Ranges] = {}
        self._changed: set[int] = set()
        self._version = -1
        self._fence: int | None = None
        self._held_lease: leases.Lease | None = None

    def _make_tables(self, *, read_only: bool) -> None:
        version = self._database.execute("PRAGMA user_version").fetchone()[0]
        if version == schema.VERSION:
            return
        if version != 0 or read_only:
            raise NotAStoreError(f"{self.folder}: an index of version {version}; this program knows {schema.VERSION}")
        self._database.execute("BEGIN IMMEDIATE")
        if self._database.execute("PRAGMA user_version").fetchone()[0] == 0:
            for statement in schema.TABLES.split(";\n"):
                if statement.strip():
                    self._database.execute(statement)
            self._database.execute(f"PRAGMA user_version = {schema.VERSION}")
        self._database.execute("COMMIT")

    def lease(self, first: int, last: int) -> None:
        """Become the worker for a range of buckets; from now on every batch proves that it still is.

        Raises:
            StoreBusyError: a living process serves one of these buckets.
        """
        with index_errors():
            self._held_lease = leases.acquire(self._database, self.folder, first, last)
        self._fence = self._held_lease.fence

    def close(self) -> None:
        """Give up the lease and close the index."""
        if self._held_lease is not None:
            # Without room the row stays behind; the lock is what counts, and that is free now.
            with suppress(StoreFullError), index_errors():
                self._held_lease.release(self._database)
        self._database.close()

    # -- batches ---------------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Open a batch."""
        with index_errors():
            self._database.execute("BEGIN IMMEDIATE")
            if self._fence is not None and self._one("SELECT 1 FROM lease WHERE fence = ?", self._fence) is None:
                self._database.execute("ROLLBACK")
                raise LeaseLostError(f"{self.folder}: another worker has taken over")
            version = self._database.execute("PRAGMA data_version").fetchone()[0]
        if version != self._version:
            self._staged.clear()
            self._version = version
        self._changed.clear()
        self._touched_logs.clear()

    def commit(self) -> None:
        """Sync everything of the batch to disk."""
        self._media.sync()
        with index_errors():
            for key in self._changed:
                held = self._staged.get(key)
                if held is not None:
                    self._database.execute(
                        "INSERT INTO staging SELECT f.record_id, l.device, ? FROM file f JOIN log l ON l.id = f.log_id"
                        " WHERE f.record_id = ? ON CONFLICT (record_id) DO UPDATE SET ranges = excluded.ranges",
                        (cbor.encode([list(one) for one in held]), key),
                    )
            self._database.execute("COMMIT")

    def rollback(self) -> None:
        """Forget the batch; what is staged is read from the index again."""
        self._staged.clear()
        if self._database.in_transaction:
            with index_errors():
                self._database.execute("ROLLBACK")

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """See the index as it is now, whatever a worker takes in meanwhile; a batch sees its own anyway."""
        if self._database.in_transaction:
            yield
            return
        with index_errors():
            self._database.execute("BEGIN")
        try:
            yield
        finally:
            self._database.execute("ROLLBACK")

    @property
    def in_batch(self) -> bool:
        """Tell whether the batch still stands; an index that found no room may have dropped it."""
        return self._database.in_transaction

    # -- certificates ----------------------------------------------------------------------------------------------

    def certificate(self, kid: bytes) -> tuple[str, bytes] | None:
        """Return (device, DER) of a known signing certificate."""
        row = self._one("SELECT device, der FROM certificate WHERE kid = ? AND signing = 1", kid)
        return None if row is None else (row[0], row[1])

    def certificates(self, device: str) -> list[bytes]:
        """Return all certificates (DER) known for a device, with what stands between them and the authority."""
        return [row[0] for row in self._all("SELECT der FROM certificate WHERE device = ? ORDER BY rowid", device)]

    def add_certificate(self, identity: Identity, material: Sequence[bytes]) -> None:
        """Keep a proved signing certificate and its building material."""
        from keys.cose import digest

        with index_errors():
            self._database.execute(
                "INSERT INTO certificate VALUES (?, ?, ?, 1) ON CONFLICT (kid) DO UPDATE SET signing = 1",
                (identity.kid, identity.id, identity.certificate),
            )
            self._database.executemany(
                "INSERT OR IGNORE INTO certificate VALUES (?, ?, ?, 0)",
                [(digest(der), identity.id, der) for der in material],
            )

    # -- records ---------------------------------------------------------------------------------------------------

    def holds(self, device: str, log: bytes, sequence: int, sha256: bytes) -> bool:
        """Tell whether exactly this record is held."""
        log_id = self._log_id(device, log)
        return log_id is not None and bool(
            self._one("SELECT 1 FROM record WHERE log_id = ? AND sequence = ? AND sha256 = ?", log_id, sequence, sha256)
        )

    def place(self, record: Record, standing: str, received_utc_ns: int) -> Placed:
        """Keep a verified record and find its place in its log."""
        with index_errors():
            log_id = self._log_of(record)
            cursor = self._database.execute(
                "INSERT OR IGNORE INTO record (log_id, sequence, sha256, previous_sha256, kind, session, kid,"
                " received_utc_ns, standing, problem, message) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    log_id,
                    record.sequence,
                    record.sha256,
                    record.previous_sha256,
                    record.kind,
                    record.session,
                    record.kid,
                    received_utc_ns,
                    standing,
                    record.problem,
                    record.message,
                ),
            )
            if cursor.rowcount == 0:
                return Placed(new=False, linked=True, branchings=[])
            record_id = cursor.lastrowid or 0
            self._touched_logs.add(log_id)
            lineage.found_again(self._database, log_id, record.sequence)
            self._note_file(log_id, record_id, record)
            self._note_session(log_id, record, received_utc_ns)
            node = lineage.Node(record_id, record.sequence, record.sha256, record.previous_sha256, record.kind)
            branch, branchings = lineage.link(self._database, log_id, node)
            if isinstance(record.body, Lost) and standing == BELIEVED:
                branchings += self._note_lost(record.device, record.body, log_id)
            if branch is not None:
                self._database.execute("UPDATE log SET branch = ? WHERE id = ?", (branch, log_id))
            return Placed(new=True, linked=branch is not None, branchings=branchings)

    def _log_of(self, record: Record) -> int:
        row = self._one("SELECT id, stream FROM log WHERE device = ? AND log = ?", record.device, record.log)
        if row is None:
            cursor = self._database.execute(
                "INSERT INTO log (device, log, stream) VALUES (?, ?, ?)", (record.device, record.log, record.stream)
            )
            return cursor.lastrowid or 0
        if row[1] != record.stream:
            raise RefusedError(f"log {record.log.hex()} is of stream {row[1]}, a record says {record.stream}")
        return int(row[0])

    def _note_lost(self, device: str, body: Lost, own_log_id: int) -> list[Branching]:
        log_id = own_log_id if body.log is None else self._log_id(device, body.log)
        last = min(body.last_sequence, MAX_SEQUENCE - 1)
        if log_id is None or last < body.first_sequence:
            return []
        found: list[Branching] = []
        for node in lineage.note_lost(self._database, log_id, body.first_sequence, last):
            branch, more = lineage.link(self._database, log_id, node)
            found += more
            if branch is not None:
                self._database.execute("UPDATE log SET branch = ? WHERE id = ?", (branch, log_id))
        self._touched_logs.add(log_id)
        return found

    def position(self, device: str, log: bytes) -> Position:
        """Say how far a log is held; an unknown log is held up to 0."""
        row = self._one("SELECT id, branch FROM log WHERE device = ? AND log = ?", device, log)
        if row is None:
            return Position(0, None, [], None)
        with index_errors():
            return lineage.position(self._database, row[0], row[1])

    def entries(self, device: str, log: bytes, first: int, last: int, branch: int | None = None) -> Iterator[Entry]:
        """Yield held records by ascending sequence: all of them, or those on the way to ``branch``."""
        log_id = self._log_id(device, log)
        if log_id is None:
            return
        columns = "SELECT message, sequence, sha256, kind, session, kid, received_utc_ns, standing, branch FROM record"
        if branch is None:
            yield from (
                Entry(*row)
                for row in self._rows(
                    f"{columns} WHERE log_id = ? AND sequence BETWEEN ? AND ? ORDER BY sequence, id",
                    log_id,
                    first,
                    last,
                )
            )
            return
        for current, start, end in lineage.path(self._database, log_id, branch):
            yield from (
                Entry(*row)
                for row in self._rows(
                    f"{columns} WHERE log_id = ? AND sequence BETWEEN ? AND ? AND branch = ? ORDER BY sequence",
                    log_id,
                    max(first, start),
                    min(last, end),
                    current,
                )
            )

    # -- files -----------------------------------------------------------------------------------------------------

    def file(self, device: str, log: bytes, sequence: int) -> File | None:
        """Return the file of a record (of the branch that the device follows, where there are several)."""
        row = self._one(
            f"{_FILE} WHERE l.device = ? AND l.log = ? AND f.sequence = ?"
            " ORDER BY r.branch IS l.branch DESC, r.id DESC LIMIT 1",
            device,
            log,
            sequence,
        )
        return None if row is None else _file(row)

    def files(self, device: str, log: bytes, first: int, last: int) -> Iterator[File]:
        """Yield the files of a range of records, by sequence."""
        condition = " WHERE l.device = ? AND l.log = ? AND f.sequence BETWEEN ? AND ? ORDER BY f.sequence, r.id"
        return (_file(row) for row in self._rows(_FILE + condition, device, log, first, last))

    def missing_ranges(self, file: File) -> list[tuple[int, int]]:
        """Return what has not arrived as [offset, end), at most 64 ranges from the lowest on."""
        return [] if file.held else ranges.missing(self._received(file.key), file.stored_size_bytes, MAX_RANGES)

    def staged_size_bytes(self, device: str | None = None) -> int:
        """Return how many bytes are promised to unfinished files, of one device or of all."""
        return int(
            self._one(
                "SELECT coalesce(sum(f.stored_size_bytes), 0) FROM staging s JOIN file f USING (record_id)"
                " WHERE ? IS NULL OR s.device = ?",
                device,
                device,
            )[0]
        )

    def make_room(self, file: File, limit_size_bytes: int) -> None:
        """Throw away the oldest unfinished files of a device until another one fits below a limit."""
        if file.key in self._staged or self._received(file.key):
            return
        while self.staged_size_bytes(file.device) + file.stored_size_bytes > limit_size_bytes:
            row = self._one("SELECT min(record_id) FROM staging WHERE device = ?", file.device)
            if row[0] is None:
                return
            self._discard(int(row[0]))

    def put_piece(self, file: File, offset: int, data: bytes) -> bool:
        """Stage a piece; return True when that makes the file complete."""
        received = ranges.add(self._received(file.key), offset, offset + len(data))
        if len(received) > MAX_PARTS:
            raise RefusedError(f"a file in more than {MAX_PARTS} separate parts")
        self._media.write_piece(file.key, offset, data)
        if file.key not in self._changed and file.key not in self._staged:
            with index_errors():  # counts against the device's room from its first piece on
                self._database.execute(
                    "INSERT OR IGNORE INTO staging VALUES (?, ?, ?)", (file.key, file.device, cbor.encode([]))
                )
        self._staged[file.key] = received
        self._changed.add(file.key)
        return received == [(0, file.stored_size_bytes)]

    def on_fork(self, file: File) -> bool:
        """Tell whether a file's record stands on a branch that nothing explains."""
        row = self._one("SELECT log_id, branch FROM record WHERE id = ?", file.key)
        return row[1] is not None and self._forked(row[0], row[1])

    def forked(self, device: str, log: bytes, branch: int) -> bool:
        """Tell whether the way to the head of a branch leads over one that nothing explains."""
        log_id = self._log_id(device, log)
        return log_id is not None and self._forked(log_id, branch)

    def _forked(self, log_id: int, branch: int) -> bool:
        marks = ("SELECT 1 FROM branch WHERE log_id = ? AND branch = ? AND classed = 'fork'", log_id)
        return any(self._one(*marks, one) for one, _, _ in lineage.path(self._database, log_id, branch))

    def staged(self, file: File) -> Path:
        """Return where the staged bytes lie."""
        return self._media.staged(file.key)

    def complete(self, file: File, standing: str, problem: str | None, held_utc_ns: int) -> None:
        """Make staged bytes the held file of their record: synced, and under its final name."""
        self._media.finish(file.key, self.path(file))
        self._staged.pop(file.key, None)
        self._changed.discard(file.key)
        with index_errors():
            self._database.execute("DELETE FROM staging WHERE record_id = ?", (file.key,))
            self._note_held(file, standing, problem, held_utc_ns)

    def stage_copy(self, file: File, source: Path) -> None:
        """Stage a whole file from elsewhere."""
        self._media.copy(source, file.key)

    def discard(self, file: File) -> None:
        """Throw away what is staged."""
        self._discard(file.key)

    def _discard(self, key: int) -> None:
        self._media.discard(key)
        self._staged.pop(key, None)
        self._changed.discard(key)
        with index_errors():
            self._database.execute("DELETE FROM staging WHERE record_id = ?", (key,))

    def path(self, file: File) -> Path:
        """Return where a held file lies."""
        return self._media.path(file.device, file.log, file.sequence, file.stored_sha256)

    def sweep(self) -> None:
        """After a start: throw away staged bytes that the index does not know."""
        known = {row[0] for row in self._all("SELECT record_id FROM staging")}
        for key in self._media.staged_keys():
            if key not in known:
                self._media.discard(key)

    def free_size_bytes(self) -> int:
        """Return the room that is left."""
        return self._media.free_size_bytes()

    def _received(self, key: int) -> ranges.Ranges:
        found = self._staged.get(key)
        if found is None:
            row = self._one("SELECT ranges FROM staging WHERE record_id = ?", key)
            found = _decode_ranges(row[0]) if row is not None and self._media.staged(key).exists() else []
            if found:
                self._staged[key] = found
        return found


def _decode_ranges(encoded: bytes) -> ranges.Ranges:
    try:
        pairs: Any = cbor.decode(encoded)
        return [(int(offset), int(end)) for offset, end in pairs]
    except (NotDeterministicError, TypeError, ValueError):
        return []


def _file(row: tuple[Any, ...]) -> File:
    return File._make((*row[:8], bool(row[8]), *row[9:]))
