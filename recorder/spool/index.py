"""What the recorder wants to know quickly about its spool, in SQLite: nothing here is the truth.

Everything can be made again from the logs, the receipts and the files that are there (:mod:`recorder.spool.keeper`).
One process writes it, and only that one opens it.
"""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from sqlite_utils import Database

from recorder.evidence import records
from recorder.evidence.statements import MediaReceipt, RecordsReceipt

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from recorder.evidence.records import Record
    from recorder.spool.logfile import Frame

SCHEMA_VERSION: Final = 3

OUTSTANDING: Final = 0
"""On the device, without a receipt."""
HELD: Final = 1
"""Receipted, but not of the class that permits freeing."""
LINGERING: Final = 2
"""Receipted; kept as long as room and the restore window permit."""
GONE: Final = 3
"""Freed."""

_ASKED_FOR: Final = (records.Check, records.Deferral, records.Return)

_SCHEMA: Final = f"""
CREATE TABLE meta (
    name TEXT PRIMARY KEY,            -- see Index.meta
    value NOT NULL
) WITHOUT ROWID;

CREATE TABLE logs (
    log BLOB PRIMARY KEY,             -- log id, 16 bytes
    indexed_size_bytes INTEGER NOT NULL, -- up to this offset of the log file everything is in this index
    head_offset INTEGER NOT NULL,     -- where the newest indexed record begins
    head_sequence INTEGER NOT NULL,
    head_sha256 BLOB NOT NULL,        -- its hash: says whether this index belongs to this log file
    head_boot BLOB NOT NULL,          -- kernel boot id of the newest record
    head_utc_ns INTEGER NOT NULL,     -- its claimed time
    media_next INTEGER NOT NULL,      -- one more than the highest media number of any record
    media_settled INTEGER NOT NULL    -- files with lower numbers need no look after a crash
) WITHOUT ROWID;

CREATE TABLE media (
    log BLOB NOT NULL,                -- log id
    sequence INTEGER NOT NULL,        -- of the record that brings the file
    media INTEGER NOT NULL,           -- number of the file
    record_offset INTEGER NOT NULL,   -- where its record begins in the log file
    record_sha256 BLOB NOT NULL,
    stored_sha256 BLOB NOT NULL,
    content_sha256 BLOB NOT NULL,
    stored_size_bytes INTEGER NOT NULL,
    state INTEGER NOT NULL,           -- 0 outstanding, 1 held, 2 lingering, 3 gone
    receipt_offset INTEGER,           -- where its newest receipt begins in receipts.log
    receipt_utc_ns INTEGER,           -- the store's time in that receipt
    storage TEXT,                     -- class in that receipt: stored or secured
    PRIMARY KEY (log, sequence)
) WITHOUT ROWID;
CREATE UNIQUE INDEX media_number ON media (log, media);
CREATE INDEX media_outstanding ON media (log, sequence) WHERE state = {OUTSTANDING};
CREATE INDEX media_lingering ON media (receipt_utc_ns) WHERE state = {LINGERING};

CREATE TABLE totals (
    state INTEGER PRIMARY KEY,        -- as in media
    files INTEGER NOT NULL,
    size_bytes INTEGER NOT NULL       -- stored bytes of these files
);
INSERT INTO totals VALUES ({OUTSTANDING}, 0, 0), ({HELD}, 0, 0), ({LINGERING}, 0, 0), ({GONE}, 0, 0);
CREATE TRIGGER media_added AFTER INSERT ON media BEGIN
    UPDATE totals SET files = files + 1, size_bytes = size_bytes + new.stored_size_bytes WHERE state = new.state;
END;
CREATE TRIGGER media_moved AFTER UPDATE OF state ON media BEGIN
    UPDATE totals SET files = files - 1, size_bytes = size_bytes - old.stored_size_bytes WHERE state = old.state;
    UPDATE totals SET files = files + 1, size_bytes = size_bytes + new.stored_size_bytes WHERE state = new.state;
END;

CREATE TABLE sessions (
    session BLOB PRIMARY KEY,         -- session id, 16 bytes
    log BLOB NOT NULL,                -- log id
    open_offset INTEGER NOT NULL,     -- where its session-open begins in the log file
    open_sequence INTEGER NOT NULL,
    opened_utc_ns INTEGER NOT NULL,   -- claimed time of session-open
    close_sequence INTEGER,           -- of session-close; NULL while the session is open
    closed_utc_ns INTEGER,
    chunks INTEGER NOT NULL,          -- chunk records so far
    last_chunk_offset INTEGER,        -- where its newest chunk record begins
    last_offset INTEGER NOT NULL      -- where its newest record of any kind begins
) WITHOUT ROWID;
CREATE INDEX sessions_open ON sessions (log) WHERE close_sequence IS NULL;
CREATE INDEX sessions_closed ON sessions (log, close_sequence) WHERE close_sequence IS NOT NULL;
CREATE INDEX sessions_time ON sessions (opened_utc_ns);

CREATE TABLE positions (
    store TEXT NOT NULL,              -- id of the store
    log BLOB NOT NULL,                -- log id
    next_sequence INTEGER NOT NULL,   -- the store holds all records below
    utc_ns INTEGER NOT NULL,          -- the store's time in its newest receipt
    receipt_sha256 BLOB NOT NULL,
    fell_to INTEGER NOT NULL,         -- sequence to which the store last fell back; 0 if it never did
    fell_utc_ns INTEGER NOT NULL,     -- the store's time when it said so; older receipts from there on count no more
    PRIMARY KEY (store, log)
) WITHOUT ROWID;

CREATE TABLE kinds (
    log BLOB NOT NULL,                -- log id
    kind TEXT NOT NULL,               -- of a record without a session that is asked for later
    sequence INTEGER NOT NULL,
    record_offset INTEGER NOT NULL,   -- where it begins in the log file
    PRIMARY KEY (log, kind, sequence)
) WITHOUT ROWID;

PRAGMA user_version = {SCHEMA_VERSION};
"""  # noqa: S608 - constants only


class LogState(NamedTuple):
    """How far a log is in the index."""

    indexed_size_bytes: int
    head_offset: int
    head_sequence: int
    head_sha256: bytes
    head_boot: bytes
    head_utc_ns: int
    media_next: int
    media_settled: int


class MediaRow(NamedTuple):
    """A file that a record brings."""

    log: bytes
    sequence: int
    media: int
    record_offset: int
    record_sha256: bytes
    stored_sha256: bytes
    content_sha256: bytes
    stored_size_bytes: int
    state: int
    receipt_offset: int | None
    receipt_utc_ns: int | None
    storage: str | None


class Total(NamedTuple):
    """How many files, and their stored bytes."""

    files: int
    size_bytes: int


class SessionRow(NamedTuple):
    """A session."""

    session: bytes
    log: bytes
    open_offset: int
    open_sequence: int
    opened_utc_ns: int
    close_sequence: int | None
    closed_utc_ns: int | None
    chunks: int
    last_chunk_offset: int | None
    last_offset: int


class Index:
    """The index; every method may raise :class:`sqlite3.DatabaseError` when the file is damaged or the disk full."""

    def __init__(self, path: Path) -> None:
        connection = sqlite3.connect(path, timeout=0.0, check_same_thread=False)
        try:
            self._db = Database(connection, execute_plugins=False, recursive_triggers=False)
            self._prepare(path)
        except BaseException:
            connection.close()
            raise

    def _prepare(self, path: Path) -> None:
        connection = self._db.conn
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")  # a lost tail is caught up from the logs
        connection.execute("PRAGMA cache_size = -1024")
        connection.execute("PRAGMA wal_autocheckpoint = 128")  # pages: little of a full disk's reserve
        connection.execute("PRAGMA journal_size_limit = 524288")
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version == 0 and not connection.execute("SELECT 1 FROM sqlite_master").fetchone():
            connection.executescript("BEGIN;" + _SCHEMA + "COMMIT;")
        elif version != SCHEMA_VERSION:
            raise sqlite3.DatabaseError(f"the index has version {version}, not {SCHEMA_VERSION}")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        if path.stat().st_size < pages * connection.execute("PRAGMA page_size").fetchone()[0]:
            raise sqlite3.DatabaseError("the index is shorter than it says")

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def _rows(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        return self._db.execute(sql, values).fetchall()

    # -- logs ------------------------------------------------------------------------------------------------------

    def log_ids(self) -> list[bytes]:
        """Return the logs that the index knows."""
        return [row[0] for row in self._rows("SELECT log FROM logs")]

    def log_state(self, log: bytes) -> LogState | None:
        """Return how far a log is indexed, None when it is not."""
        rows = self._rows(f"SELECT {', '.join(LogState._fields)} FROM logs WHERE log = ?", log)  # noqa: S608
        return LogState(*rows[0]) if rows else None

    def add(self, log: bytes, entries: Iterable[tuple[Frame, Record]], indexed_size_bytes: int) -> None:
        """Take records in, in their order, with one commit.

        Args:
            log: id of their log.
            entries: each record and its frame in the log file.
            indexed_size_bytes: offset in the log file behind which reading would go on.
        """
        with self._db.atomic():
            state = self.log_state(log)
            media_next = state.media_next if state else 1
            head: tuple[Frame, Record] | None = None
            for frame, record in entries:
                head = (frame, record)
                if record.file is not None:
                    media_next = max(media_next, record.file.media + 1)
                    self._add_media(frame, record, record.file)
                if record.session is not None:
                    self._add_to_session(frame, record, record.session)
                if record.session is None and isinstance(record.body, _ASKED_FOR):
                    self._add_kind(frame, record)
            if head is None:
                self._db.execute("UPDATE logs SET indexed_size_bytes = ? WHERE log = ?", (indexed_size_bytes, log))
                return
            frame, record = head
            settled = state.media_settled if state else 1
            self._db.execute(
                "INSERT OR REPLACE INTO logs VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    log,
                    indexed_size_bytes,
                    frame.offset,
                    record.sequence,
                    record.sha256,
                    record.boot,
                    record.utc_ns,
                    media_next,
                    settled,
                ),
            )

    def _add_media(self, frame: Frame, record: Record, file: records.FileRecord) -> None:
        self._db.execute(
            "INSERT OR IGNORE INTO media VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, NULL, NULL, NULL)",
            (
                record.log,
                record.sequence,
                file.media,
                frame.offset,
                record.sha256,
                file.stored_sha256,
                file.content_sha256,
                file.stored_size_bytes,
                OUTSTANDING,
            ),
        )

    def _add_to_session(self, frame: Frame, record: Record, session: bytes) -> None:
        if isinstance(record.body, records.SessionOpen):
            self._db.execute(
                "INSERT OR IGNORE INTO sessions VALUES (?, ?, ?, ?, ?, NULL, NULL, 0, NULL, ?)",
                (session, record.log, frame.offset, record.sequence, record.utc_ns, frame.offset),
            )
            return
        self._db.execute("UPDATE sessions SET last_offset = ? WHERE session = ?", (frame.offset, session))
        if isinstance(record.body, records.Chunk):
            self._db.execute(
                "UPDATE sessions SET chunks = chunks + 1, last_chunk_offset = ? WHERE session = ?",
                (frame.offset, session),
            )
        elif isinstance(record.body, records.SessionClose):
            self._db.execute(
                "UPDATE sessions SET close_sequence = ?, closed_utc_ns = ? WHERE session = ?",
                (record.sequence, record.utc_ns, session),
            )

    def _add_kind(self, frame: Frame, record: Record) -> None:
        self._db.execute(
            "INSERT OR IGNORE INTO kinds VALUES (?, ?, ?, ?)",
            (record.log, record.kind, record.sequence, frame.offset),
        )

    def newest(self, log: bytes, kinds: Sequence[str], limit: int) -> list[int]:
        """Return the offsets of the newest records of these kinds that name no session, newest first.

        Only ``check``, ``deferral`` and ``return`` are found so.
        """
        marks = ", ".join("?" * len(kinds))
        query = f"SELECT record_offset FROM kinds WHERE log = ? AND kind IN ({marks}) ORDER BY sequence DESC LIMIT ?"  # noqa: S608 - marks only
        return [offset for (offset,) in self._rows(query, log, *kinds, limit)]

    def settle(self, log: bytes, media_settled: int) -> None:
        """Remember that every file numbered below has been looked at after the last crash."""
        with self._db.atomic():
            self._db.execute("UPDATE logs SET media_settled = ? WHERE log = ?", (media_settled, log))

    # -- media -----------------------------------------------------------------------------------------------------

    def media(self, log: bytes, sequence: int) -> MediaRow | None:
        """Return the file that a record brings, or None."""
        rows = self._rows(
            f"SELECT {', '.join(MediaRow._fields)} FROM media WHERE log = ? AND sequence = ?",  # noqa: S608
            log,
            sequence,
        )
        return MediaRow(*rows[0]) if rows else None

    def has_record(self, log: bytes, media: int) -> bool:
        """Tell whether a record brings the file with this number."""
        return bool(self._rows("SELECT 1 FROM media WHERE log = ? AND media = ?", log, media))

    def total(self, state: int) -> Total:
        """Return how many files are in a state. Its cost does not grow with the spool."""
        return Total(*self._rows("SELECT files, size_bytes FROM totals WHERE state = ?", state)[0])

    def lingering(self, limit: int) -> list[MediaRow]:
        """Return lingering files, those receipted longest ago first."""
        rows = self._rows(
            f"SELECT {', '.join(MediaRow._fields)} FROM media WHERE state = {LINGERING}"  # noqa: S608
            " ORDER BY receipt_utc_ns LIMIT ?",
            limit,
        )
        return [MediaRow(*row) for row in rows]

    def set_state(self, rows: Iterable[MediaRow], state: int) -> None:
        """Move files to another state, with one commit."""
        with self._db.atomic():
            for row in rows:
                self._db.execute(
                    "UPDATE media SET state = ? WHERE log = ? AND sequence = ?", (state, row.log, row.sequence)
                )

    # -- sessions --------------------------------------------------------------------------------------------------

    def open_sessions(self) -> list[SessionRow]:
        """Return the sessions without session-close, oldest first."""
        return self._sessions("WHERE close_sequence IS NULL ORDER BY opened_utc_ns")

    def sessions(self, limit: int) -> list[SessionRow]:
        """Return the newest sessions, newest first."""
        return self._sessions("ORDER BY opened_utc_ns DESC LIMIT ?", limit)

    def last_closed(self, log: bytes) -> SessionRow | None:
        """Return the session of a log that was closed last."""
        where = "WHERE log = ? AND close_sequence IS NOT NULL ORDER BY close_sequence DESC LIMIT 1"
        return next(iter(self._sessions(where, log)), None)

    def sessions_between(self, first: bytes, last: bytes, limit: int) -> list[SessionRow]:
        """Return the sessions whose ids lie between two, these included."""
        return self._sessions("WHERE session BETWEEN ? AND ? LIMIT ?", first, last, limit)

    def closed_with_outstanding(self, limit: int) -> list[SessionRow]:
        """Return the closed sessions with a file that has no receipt, by log, oldest first."""
        # Which index is best SQLite cannot know: nearly all media are received, and only this one holds the others.
        # The state stands in the text, not in a parameter: only so it may be taken.
        outstanding = (
            "SELECT 1 FROM media INDEXED BY media_outstanding"  # noqa: S608 - constants only
            f" WHERE media.log = sessions.log AND media.state = {OUTSTANDING}"
            " AND media.sequence BETWEEN open_sequence AND close_sequence"
        )
        where = f"WHERE close_sequence IS NOT NULL AND EXISTS ({outstanding}) ORDER BY log, open_sequence LIMIT ?"
        return self._sessions(where, limit)

    def _sessions(self, which: str, *values: Any) -> list[SessionRow]:
        rows = self._rows(f"SELECT {', '.join(SessionRow._fields)} FROM sessions {which}", *values)  # noqa: S608
        return [SessionRow(*row) for row in rows]

    # -- receipts --------------------------------------------------------------------------------------------------

    def meta(self, name: str) -> Any:
        """Return one value, None where there is none yet.

        ``free_on`` (the class under which they were taken in), ``receipts_size_bytes``, ``receipts_head_offset``,
        ``receipts_head_sha256`` (how far receipts.log is indexed), ``newest_receipt_sha256``,
        ``newest_receipt_utc_ns``.
        """
        rows = self._rows("SELECT value FROM meta WHERE name = ?", name)
        return rows[0][0] if rows else None

    def _set_meta(self, **values: Any) -> None:
        for name, value in values.items():
            self._db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, value))

    def position(self, store: str, log: bytes) -> tuple[int, int] | None:
        """Return (next sequence, the store's time) of a store's newest receipt for a log."""
        rows = self._rows("SELECT next_sequence, utc_ns FROM positions WHERE store = ? AND log = ?", store, log)
        return (rows[0][0], rows[0][1]) if rows else None

    def received_below(self, log: bytes) -> int:
        """Return the sequence below which some store says that it holds all records of a log."""
        return self._rows("SELECT COALESCE(MAX(next_sequence), 0) FROM positions WHERE log = ?", log)[0][0]  # type: ignore[no-any-return]

    def add_receipts(
        self, receipts: Iterable[tuple[Frame, bytes, RecordsReceipt | MediaReceipt]], *, free_on: str
    ) -> None:
        """Take verified receipts in, in the order of receipts.log, with one commit.

        Args:
            receipts: frame in receipts.log, SHA-256 of the message, and what it says.
            free_on: class of receipt that permits freeing, ``stored`` or ``secured``.
        """
        with self._db.atomic():
            for frame, sha256, receipt in receipts:
                if isinstance(receipt, MediaReceipt):
                    self._add_media_receipt(frame, receipt, free_on)
                else:
                    self._add_records_receipt(receipt, sha256)
                newest = self.meta("newest_receipt_utc_ns")
                if newest is None or receipt.utc_ns > newest:
                    self._set_meta(newest_receipt_utc_ns=receipt.utc_ns, newest_receipt_sha256=sha256)
                self._set_meta(
                    free_on=free_on,
                    receipts_size_bytes=frame.end_offset,
                    receipts_head_offset=frame.offset,
                    receipts_head_sha256=sha256,
                )

    def _add_media_receipt(self, frame: Frame, receipt: MediaReceipt, free_on: str) -> None:
        row = self.media(receipt.log, receipt.sequence)
        if row is None or row.state == GONE or self.outlived(receipt):
            return
        frees = free_on in ("stored", receipt.storage)
        state = LINGERING if frees or row.state == LINGERING else HELD
        self._db.execute(
            "UPDATE media SET state = ?, receipt_offset = ?, receipt_utc_ns = ?, storage = ?"
            " WHERE log = ? AND sequence = ?",
            (state, frame.offset, receipt.utc_ns, receipt.storage, receipt.log, receipt.sequence),
        )

    def outlived(self, receipt: MediaReceipt) -> bool:
        """Tell whether the store has since said that it holds no more what this receipt is for."""
        return bool(
            self._rows(
                "SELECT 1 FROM positions WHERE store = ? AND log = ? AND fell_to <= ? AND fell_utc_ns > ?",
                receipt.store,
                receipt.log,
                receipt.sequence,
                receipt.utc_ns,
            )
        )

    def _add_records_receipt(self, receipt: RecordsReceipt, sha256: bytes) -> None:
        rows = self._rows(
            "SELECT next_sequence, utc_ns, fell_to, fell_utc_ns FROM positions WHERE store = ? AND log = ?",
            receipt.store,
            receipt.log,
        )
        next_sequence, utc_ns, fell_to, fell_utc_ns = rows[0] if rows else (0, 0, 0, 0)
        if rows and receipt.utc_ns <= utc_ns:
            return
        if receipt.next_sequence < next_sequence:
            # The store fell behind what it had receipted: what it held from there on, it holds no more.
            fell_to, fell_utc_ns = receipt.next_sequence, receipt.utc_ns
            self._db.execute(
                f"UPDATE media SET state = {OUTSTANDING} WHERE log = ? AND sequence >= ? AND receipt_utc_ns < ?"  # noqa: S608
                f" AND state IN ({HELD}, {LINGERING})",
                (receipt.log, receipt.next_sequence, receipt.utc_ns),
            )
        self._db.execute(
            "INSERT OR REPLACE INTO positions VALUES (?, ?, ?, ?, ?, ?, ?)",
            (receipt.store, receipt.log, receipt.next_sequence, receipt.utc_ns, sha256, fell_to, fell_utc_ns),
        )
