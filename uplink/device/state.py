"""The uplink's own index of the spool, ``uplink.db``: where each record stands, which files have no receipt.

It can be deleted at any time: it is made again from the logs and the receipts that the recorder keeps, and what only
it knew costs a question to the store. One connection, one process; nothing else reads it.
"""

from __future__ import annotations

import logging
import sqlite3
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import sqlite_utils

from recorder.evidence import records
from uplink.device.order import HAND_OVER_NS, Waiting
from uplink.device.transfers import Candidate, Key

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from pathlib import Path

    from recorder.evidence.records import Record
    from recorder.evidence.statements import MediaReceipt

log = logging.getLogger(__name__)

INCIDENT_MARKERS: Final = ("important", "obstruction", "refusal.")
"""Beginnings of the markers that let a session go before all others."""

WAITING: Final = 0
_LEVELS: Final = {
    ("stored", "quarantined"): 1,
    ("stored", "believed"): 2,
    ("secured", "quarantined"): 3,
    ("secured", "believed"): 4,
}
GONE: Final = 8
DAMAGED: Final = 9

_SCHEMA: Final = """
CREATE TABLE logs (
    id INTEGER PRIMARY KEY,
    log BLOB NOT NULL UNIQUE,
    next_sequence INTEGER NOT NULL,   -- records below it are indexed
    next_offset INTEGER NOT NULL,     -- in the log file: go on reading here
    head_offset INTEGER NOT NULL,     -- of the newest indexed record
    head_sha256 BLOB NOT NULL,        -- of that record: tells whether the file is still the same
    acknowledged INTEGER NOT NULL,    -- records below it are receipted
    floor_utc_ns INTEGER NOT NULL     -- receipts from before then do not count: the store fell back
);
CREATE TABLE records (
    log_id INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    offset INTEGER NOT NULL,          -- in the log file
    PRIMARY KEY (log_id, sequence)
) WITHOUT ROWID;
CREATE TABLE unreadable (log_id INTEGER NOT NULL, first INTEGER NOT NULL, end INTEGER NOT NULL);
CREATE TABLE sessions (
    id INTEGER PRIMARY KEY,
    log_id INTEGER NOT NULL,
    session BLOB NOT NULL,            -- empty for files outside sessions
    incident INTEGER NOT NULL DEFAULT 0,
    newest_utc_ns INTEGER,            -- of its newest record; NULL while that boot's clock is not bound to UTC
    newest_boottime_ns INTEGER NOT NULL,
    boot BLOB NOT NULL,
    waiting_size_bytes INTEGER NOT NULL DEFAULT 0,
    UNIQUE (log_id, session)
);
CREATE INDEX sessions_waiting ON sessions (id) WHERE waiting_size_bytes > 0;
CREATE TABLE media (
    id INTEGER PRIMARY KEY,
    log_id INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    session_id INTEGER NOT NULL,
    media INTEGER NOT NULL,           -- the file's number in the spool
    size_bytes INTEGER NOT NULL,      -- as stored
    record_sha256 BLOB NOT NULL,
    stored_sha256 BLOB NOT NULL,
    content_sha256 BLOB NOT NULL,
    level INTEGER NOT NULL DEFAULT 0, -- 0 waiting, 1-4 receipted, 8 gone without a receipt, 9 damaged on the disk
    UNIQUE (log_id, sequence)
);
CREATE INDEX media_waiting ON media (session_id, sequence) WHERE level = 0;
CREATE TABLE boots (boot BLOB PRIMARY KEY, utc_minus_boottime_ns INTEGER NOT NULL);
CREATE TABLE receipts (next_offset INTEGER NOT NULL);
INSERT INTO receipts VALUES (0);
PRAGMA user_version = 1;
"""


@dataclass(frozen=True)
class LogRow:
    """A followed log."""

    id: int
    log: bytes
    next_sequence: int
    next_offset: int
    head_offset: int
    head_sha256: bytes
    acknowledged: int
    floor_utc_ns: int


@dataclass(frozen=True)
class Media:
    """A file as its record describes it."""

    key: Key
    media: int
    size_bytes: int
    record_sha256: bytes
    stored_sha256: bytes
    content_sha256: bytes
    level: int

    def fits(self, receipt: MediaReceipt) -> bool:
        """Tell whether a receipt speaks of exactly these bytes."""
        return (
            receipt.record_sha256 == self.record_sha256
            and receipt.stored_sha256 == self.stored_sha256
            and receipt.content_sha256 == self.content_sha256
            and receipt.stored_size_bytes == self.size_bytes
        )


def receipt_level(receipt: MediaReceipt) -> int:
    """Return how much a receipt says, 1 to 4; 0 for a class that is not known here."""
    return _LEVELS.get((receipt.storage, receipt.standing), 0)


class State:
    """The index; see the module. All numbers are those of the records."""

    def __init__(self, path: Path) -> None:
        """Open or make it; a damaged one is thrown away."""
        try:
            self._open(path)
        except sqlite3.DatabaseError as error:
            log.warning("the uplink's index cannot be used and is made anew: %s: %s", path, error)
            for suffix in ("", "-wal", "-shm"):
                path.with_name(path.name + suffix).unlink(missing_ok=True)
            self._open(path)
        row = self._one("SELECT coalesce(sum(waiting_size_bytes), 0) FROM sessions WHERE waiting_size_bytes > 0")
        self.waiting_size_bytes: int = row[0]
        self.in_doubt_below: int = self.newest_media()
        """Files with an index number up to this one may have been sent in part by an earlier run."""

    def _open(self, path: Path) -> None:
        connection = sqlite3.connect(path, isolation_level=None)
        try:
            self._db = sqlite_utils.Database(connection, execute_plugins=False)
            self._db.conn.execute("PRAGMA journal_mode = WAL")
            self._db.conn.execute("PRAGMA synchronous = NORMAL")
            if self._db.conn.execute("PRAGMA user_version").fetchone()[0] == 0:
                self._db.conn.executescript(f"BEGIN; {_SCHEMA} COMMIT;")
            self._db.conn.execute("SELECT next_offset FROM receipts").fetchone()
        except sqlite3.DatabaseError:
            connection.close()
            raise

    def close(self) -> None:
        """Close the database."""
        self._db.conn.close()

    def _one(self, sql: str, *values: Any) -> Any:
        return self._db.conn.execute(sql, values).fetchone()

    def _do(self, sql: str, *values: Any) -> sqlite3.Cursor:
        cursor: sqlite3.Cursor = self._db.conn.execute(sql, values)
        return cursor

    def begin(self) -> None:
        """Begin a transaction; what follows is kept by :meth:`commit`, together."""
        self._do("BEGIN")

    def commit(self) -> None:
        """End a transaction."""
        self._do("COMMIT")

    # -- logs ------------------------------------------------------------------------------------------------------

    def logs(self) -> list[LogRow]:
        """Return all followed logs."""
        sql = (
            "SELECT id, log, next_sequence, next_offset, head_offset, head_sha256, acknowledged, floor_utc_ns FROM logs"
        )
        return [LogRow(*row) for row in self._do(sql)]

    def add_log(self, log_id: bytes) -> LogRow:
        """Begin to follow a log."""
        sql = (
            "INSERT INTO logs (log, next_sequence, next_offset, head_offset, head_sha256, acknowledged, floor_utc_ns)"
            " VALUES (?, 0, 0, 0, x'', 0, 0)"
        )
        return LogRow(int(self._do(sql, log_id).lastrowid or 0), log_id, 0, 0, 0, b"", 0, 0)

    def forget_log(self, row: LogRow) -> None:
        """Forget all of a log, because its file is not the one that was indexed."""
        self.begin()
        for table in ("records", "unreadable", "sessions", "media"):
            self._do(f"DELETE FROM {table} WHERE log_id = ?", row.id)  # noqa: S608 - names from the line above
        self._do("DELETE FROM logs WHERE id = ?", row.id)
        self._do("UPDATE receipts SET next_offset = 0")
        self.commit()
        self.waiting_size_bytes = self._one("SELECT coalesce(sum(waiting_size_bytes), 0) FROM sessions")[0]

    def move_log(self, row: LogRow, offset: int) -> None:
        """Go on reading behind what is no record."""
        self._do("UPDATE logs SET next_offset = ? WHERE id = ?", offset, row.id)

    def add_record(self, row: LogRow, record: Record, offset: int, end_offset: int) -> None:
        """Index one record (in a transaction)."""
        self._do("INSERT OR IGNORE INTO records VALUES (?, ?, ?)", row.id, record.sequence, offset)
        self._do("UPDATE logs SET next_sequence = ?, next_offset = ?, head_offset = ?, head_sha256 = ? WHERE id = ?",
                 record.sequence + 1, end_offset, offset, record.sha256, row.id)  # fmt: skip
        if isinstance(record.body, records.Clock):
            self._bind(record.boot, record.body)
        file = record.file
        if record.session is None and file is None:
            return
        session_id = self._session(row, record)
        if isinstance(record.body, records.Marker) and record.body.marker.startswith(INCIDENT_MARKERS):
            self._do("UPDATE sessions SET incident = 1 WHERE id = ?", session_id)
        if file is not None:
            self._do("INSERT INTO media (log_id, sequence, session_id, media, size_bytes, record_sha256, stored_sha256,"
                     " content_sha256) VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row.id, record.sequence, session_id,
                     file.media, file.stored_size_bytes, record.sha256, file.stored_sha256,
                     file.content_sha256)  # fmt: skip
            self._wait(session_id, file.stored_size_bytes)

    def add_unreadable(self, row: LogRow, first: int, end: int) -> None:
        """Note that the log file does not hold records ``first`` to ``end - 1`` (any more)."""
        self._do("INSERT INTO unreadable VALUES (?, ?, ?)", row.id, first, end)

    def unreadable(self, row: LogRow) -> list[tuple[int, int]]:
        """Return the ranges that the log file does not hold."""
        return list(self._do("SELECT first, end FROM unreadable WHERE log_id = ? ORDER BY first", row.id))

    def offset(self, row: LogRow, sequence: int) -> int | None:
        """Return where a record stands in its log file."""
        found = self._one("SELECT offset FROM records WHERE log_id = ? AND sequence = ?", row.id, sequence)
        return None if found is None else int(found[0])

    def acknowledge(self, row: LogRow, next_sequence: int) -> None:
        """Note up to where the records are receipted."""
        self._do("UPDATE logs SET acknowledged = ? WHERE id = ?", next_sequence, row.id)

    def fell_back(self, row: LogRow, next_sequence: int, utc_ns: int) -> int:
        """Note that the store has lost what it had receipted behind ``next_sequence`` (in a transaction).

        All receipted files of the log wait again: which of them it still has, it must be asked. Return how many.
        """
        self._do("UPDATE logs SET acknowledged = ?, floor_utc_ns = ? WHERE id = ?", next_sequence, utc_ns, row.id)
        count = self._do("UPDATE media SET level = 0 WHERE log_id = ? AND level BETWEEN 1 AND 4", row.id).rowcount
        self._do("UPDATE sessions SET waiting_size_bytes = (SELECT coalesce(sum(size_bytes), 0) FROM media"
                 " WHERE session_id = sessions.id AND level = 0) WHERE log_id = ?", row.id)  # fmt: skip
        self.waiting_size_bytes = self._one("SELECT coalesce(sum(waiting_size_bytes), 0) FROM sessions")[0]
        self.in_doubt_below = self.newest_media()
        return count

    def _bind(self, boot: bytes, clock: records.Clock) -> None:
        difference = clock.bound_utc_ns - clock.bound_boottime_ns
        self._do("INSERT OR REPLACE INTO boots VALUES (?, ?)", boot, difference)
        self._do("UPDATE sessions SET newest_utc_ns = newest_boottime_ns + ? WHERE boot = ? AND newest_utc_ns IS NULL",
                 difference, boot)  # fmt: skip

    def _session(self, row: LogRow, record: Record) -> int:
        utc_ns: int | None = record.utc_ns
        if record.clock == "unset":
            bound = self._one("SELECT utc_minus_boottime_ns FROM boots WHERE boot = ?", record.boot)
            utc_ns = None if bound is None else record.boottime_ns + bound[0]
        found = self._one("INSERT INTO sessions (log_id, session, newest_utc_ns, newest_boottime_ns, boot)"
                          " VALUES (?, ?, ?, ?, ?) ON CONFLICT (log_id, session) DO UPDATE SET"
                          " newest_utc_ns = excluded.newest_utc_ns, boot = excluded.boot,"
                          " newest_boottime_ns = excluded.newest_boottime_ns RETURNING id",
                          row.id, record.session or b"", utc_ns, record.boottime_ns, record.boot)  # fmt: skip
        return int(found[0])

    def _wait(self, session_id: int, size_bytes: int) -> None:
        self._do("UPDATE sessions SET waiting_size_bytes = waiting_size_bytes + ? WHERE id = ?", size_bytes, session_id)
        self.waiting_size_bytes += size_bytes

    # -- media -----------------------------------------------------------------------------------------------------

    def media(self, key: Key) -> Media | None:
        """Return a file by its record, None where no such record is indexed."""
        found = self._one("SELECT media, size_bytes, record_sha256, stored_sha256, content_sha256, level FROM media"
                          " WHERE log_id = (SELECT id FROM logs WHERE log = ?) AND sequence = ?", *key)  # fmt: skip
        return None if found is None else Media(key, *found)

    def newest_media(self) -> int:
        """Return the largest index number of a file."""
        return int(self._one("SELECT coalesce(max(id), 0) FROM media")[0])

    def set_level(self, key: Key, level: int) -> None:
        """Note that a file is receipted, gone or damaged: it is not to be sent."""
        found = self._one("UPDATE media SET level = ? WHERE log_id = (SELECT id FROM logs WHERE log = ?)"
                          " AND sequence = ? AND level = 0 RETURNING session_id, size_bytes", level, *key)  # fmt: skip
        if found is not None:
            self._wait(found[0], -found[1])
            return
        self._do("UPDATE media SET level = ? WHERE log_id = (SELECT id FROM logs WHERE log = ?) AND sequence = ?",
                 level, *key)  # fmt: skip

    def waiting(self) -> list[Waiting]:
        """Return the sessions with files that have no receipt."""
        sql = "SELECT id, incident, newest_utc_ns, waiting_size_bytes FROM sessions WHERE waiting_size_bytes > 0"
        return [
            Waiting(number, bool(incident), None if utc_ns is None else utc_ns + HAND_OVER_NS, size)
            for number, incident, utc_ns, size in self._do(sql)
        ]

    def candidates(self, sessions: Iterable[Waiting], besides: Collection[Key], most: int) -> list[Candidate]:
        """Return up to ``most`` files without a receipt, session by session, in the order of their records."""
        found: list[Candidate] = []
        for session in sessions:
            sql = (
                "SELECT logs.log, media.sequence, media.size_bytes, media.id FROM media JOIN logs ON logs.id = log_id"
                " WHERE session_id = ? AND level = 0 ORDER BY sequence LIMIT ?"
            )
            for log_id, sequence, size, number in self._do(sql, session.session, most + len(besides)):
                key = Key(log_id, sequence)
                if key not in besides:
                    found.append(Candidate(key, size, number <= self.in_doubt_below))
                if len(found) >= most:
                    return found
        return found

    # -- receipts of the recorder ----------------------------------------------------------------------------------

    def receipts_offset(self) -> int:
        """Return up to where the recorder's receipts have been read."""
        return int(self._one("SELECT next_offset FROM receipts")[0])

    def move_receipts(self, offset: int) -> None:
        """Note up to where they have been read."""
        self._do("UPDATE receipts SET next_offset = ?", offset)
