"""What the index says of sessions, devices and alarms: kept up to date with each record, so that asking is cheap."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from uplink.central.archive import (
    Alarm,
    Branching,
    DeviceState,
    Entry,
    File,
    SessionState,
)
from uplink.central.errors import NoSuchSessionError

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator

    from recorder.evidence.records import Record

MAX_ALARMS: Final = 1000
MAX_ISSUED: Final = 1 << 16
"""So many receipts are remembered a device."""
_PRUNE_EVERY: Final = 256
_SESSION: Final = (
    "SELECT l.device, l.log, l.stream, s.session, s.open_sequence, s.last_sequence, s.close_sequence IS NOT NULL,"
    " s.start_utc_ns, s.end_utc_ns, s.records, s.files, s.held, s.missing_size_bytes, s.last_received_utc_ns,"
    " s.complete_utc_ns FROM session s JOIN log l ON l.id = s.log_id"
)
_COMPLETE: Final = _SESSION + (  # noqa: S608 - constants
    " WHERE s.log_id = ? AND s.attestation IS NULL AND s.held = s.files"
    " AND s.open_sequence IS NOT NULL AND s.close_sequence IS NOT NULL"
    " AND EXISTS (SELECT 1 FROM record r WHERE r.log_id = s.log_id AND r.session = s.session"
    "  AND r.kind = 'session-close' AND r.branch IS NOT NULL)"
    " AND NOT EXISTS (SELECT 1 FROM lost o WHERE o.log_id = s.log_id"
    "  AND o.first_sequence <= s.close_sequence AND o.last_sequence >= s.open_sequence)"
)


class Queries:
    """The part of the embedded store that keeps and answers summaries."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database
        self._touched_logs: set[int] = set()

    def _one(self, sql: str, *values: object) -> Any:
        return self._database.execute(sql, values).fetchone()

    def _all(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        return self._database.execute(sql, values).fetchall()

    def _rows(self, sql: str, *values: object) -> Iterator[tuple[Any, ...]]:
        return iter(self._database.execute(sql, values))

    def _log_id(self, device: str, log: bytes) -> int | None:
        row = self._one("SELECT id FROM log WHERE device = ? AND log = ?", device, log)
        return None if row is None else int(row[0])

    # -- kept with each record -------------------------------------------------------------------------------------

    def _note_file(self, log_id: int, record_id: int, record: Record) -> None:
        body = record.file
        if body is not None:
            self._database.execute(
                "INSERT INTO file (record_id, log_id, sequence, session, stored_sha256, content_sha256,"
                " stored_size_bytes) VALUES (?, ?, ?, ?, ?, ?, ?)",
                (
                    record_id,
                    log_id,
                    record.sequence,
                    record.session,
                    body.stored_sha256,
                    body.content_sha256,
                    body.stored_size_bytes,
                ),
            )

    def _note_session(self, log_id: int, record: Record, received_utc_ns: int) -> None:
        if record.session is None:
            return
        utc_ns = received_utc_ns if record.clock == "unset" else record.utc_ns
        size = 0 if record.file is None else record.file.stored_size_bytes
        opens, closes = record.kind == "session-open", record.kind == "session-close"
        values = {
            "log_id": log_id,
            "session": record.session,
            "sequence": record.sequence,
            "open": record.sequence if opens else None,
            "close": record.sequence if closes else None,
            "utc": utc_ns,
            "received": received_utc_ns,
            "files": 1 if size else 0,
            "size": size,
        }
        # What comes behind the first close belongs to the session, but does not move its end.
        self._database.execute(
            "INSERT INTO session VALUES (:log_id, :session, :open, :sequence, :close, :utc, :utc, 1, :files, 0, :size,"
            " :received, NULL, NULL)"
            " ON CONFLICT (log_id, session) DO UPDATE SET"
            " open_sequence = coalesce(open_sequence, :open),"
            " last_sequence = CASE WHEN close_sequence IS NOT NULL THEN last_sequence WHEN :close IS NOT NULL"
            "  THEN :close ELSE max(last_sequence, :sequence) END,"
            " end_utc_ns = CASE WHEN close_sequence IS NOT NULL THEN end_utc_ns WHEN :close IS NOT NULL"
            "  THEN :utc ELSE max(end_utc_ns, :utc) END,"
            " close_sequence = coalesce(close_sequence, :close),"
            " start_utc_ns = min(start_utc_ns, :utc), records = records + 1, files = files + :files,"
            " missing_size_bytes = missing_size_bytes + :size, attestation = NULL,"
            " last_received_utc_ns = max(last_received_utc_ns, :received)",
            values,
        )

    def _note_held(self, file: File, standing: str, problem: str | None, held_utc_ns: int) -> None:
        cursor = self._database.execute(
            "UPDATE file SET held_utc_ns = ?, standing = ?, problem = ? WHERE record_id = ? AND held_utc_ns IS NULL",
            (held_utc_ns, standing, problem, file.key),
        )
        log_id = self._log_id(file.device, file.log)
        if cursor.rowcount and file.session is not None and log_id is not None:
            self._database.execute(
                "UPDATE session SET held = held + 1, missing_size_bytes = missing_size_bytes - ?,"
                " last_received_utc_ns = max(last_received_utc_ns, ?) WHERE log_id = ? AND session = ?",
                (file.stored_size_bytes, held_utc_ns, log_id, file.session),
            )
            self._touched_logs.add(log_id)

    def heard(self, device: str, utc_ns: int, software: str | None, outstanding_size_bytes: int | None) -> None:
        """Note that a device spoke."""
        self._database.execute(
            "INSERT INTO device VALUES (:device, :utc, coalesce(:software, ''), coalesce(:outstanding, 0))"
            " ON CONFLICT (device) DO UPDATE SET last_heard_utc_ns = max(last_heard_utc_ns, :utc),"
            " software = coalesce(:software, software),"
            " outstanding_size_bytes = coalesce(:outstanding, outstanding_size_bytes)",
            {"device": device, "utc": utc_ns, "software": software, "outstanding": outstanding_size_bytes},
        )

    def alarm(self, utc_ns: int, device: str, code: str, detail: str) -> None:
        """Note something for people; the same again only counts."""
        self._database.execute(
            "INSERT INTO alarm VALUES (?, ?, ?, ?, ?, 1) ON CONFLICT (device, code, detail)"
            " DO UPDATE SET last_utc_ns = excluded.last_utc_ns, count = count + 1",
            (device, code, detail, utc_ns, utc_ns),
        )

    def issue(self, device: str, sha256: bytes) -> None:
        """Remember that a receipt is given out with this batch."""
        cursor = self._database.execute("INSERT INTO issued (device, sha256) VALUES (?, ?)", (device, sha256))
        if (cursor.lastrowid or 0) % _PRUNE_EVERY == 0:
            self._database.execute(
                "DELETE FROM issued WHERE device = ?1 AND id <="
                " (SELECT id FROM issued WHERE device = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2)",
                (device, MAX_ISSUED),
            )

    def issued(self, device: str, sha256: bytes) -> bool:
        """Tell whether a receipt is among the newest ones given to a device."""
        return self._one("SELECT 1 FROM issued WHERE device = ? AND sha256 = ?", device, sha256) is not None

    # -- asked by people -------------------------------------------------------------------------------------------

    def branches(self, device: str, log: bytes, first: int, last: int) -> list[Branching]:
        """Return the branches that begin within a range."""
        rows = self._all(
            "SELECT b.first_sequence, b.first_sha256, b.classed FROM branch b JOIN log l ON l.id = b.log_id"
            " WHERE l.device = ? AND l.log = ? AND b.branch > 0 AND b.first_sequence BETWEEN ? AND ? ORDER BY b.branch",
            device,
            log,
            first,
            last,
        )
        return [Branching(*row) for row in rows]

    def devices(self) -> list[DeviceState]:
        """Return all devices by id."""
        return [DeviceState(*row) for row in self._all("SELECT * FROM device ORDER BY device")]

    def known_devices(self) -> list[str]:
        """Return the ids of all devices that logs are held of."""
        return [str(row[0]) for row in self._all("SELECT DISTINCT device FROM log ORDER BY device")]

    def followed_branch(self, device: str, log: bytes) -> int | None:
        """Return the branch that a log's device follows now; None where nothing hangs together yet."""
        row = self._one("SELECT branch FROM log WHERE device = ? AND log = ?", device, log)
        return None if row is None or row[0] is None else int(row[0])

    def logs(self, device: str) -> list[tuple[bytes, int]]:
        """Return (log id, stream) of a device's logs, oldest first."""
        return [
            (row[0], row[1]) for row in self._all("SELECT log, stream FROM log WHERE device = ? ORDER BY id", device)
        ]

    def entries_of_session(self, device: str, log: bytes, session: bytes) -> Iterator[Entry]:
        """Yield the held records that name a session, by ascending sequence, of all branches."""
        rows = self._rows(
            "SELECT message, sequence, sha256, kind, session, kid, received_utc_ns, standing, branch FROM record"
            " WHERE log_id = ? AND session = ? ORDER BY sequence, id",
            self._log_id(device, log),
            session,
        )
        return (Entry(*row) for row in rows)

    def hand_over_signs(self, device: str) -> Iterator[Entry]:
        """Yield a device's deferrals and returns, of all its logs, in the order of arrival."""
        rows = self._rows(
            "SELECT r.message, r.sequence, r.sha256, r.kind, r.session, r.kid, r.received_utc_ns, r.standing, r.branch"
            " FROM record r JOIN log l ON l.id = r.log_id"
            " WHERE l.device = ? AND r.kind IN ('deferral', 'return') ORDER BY r.id",
            device,
        )
        return (Entry(*row) for row in rows)

    def first_missing(self, state: SessionState) -> int | None:
        """Return the sequence of the oldest record of a session whose file is not held."""
        row = self._one(
            "SELECT min(sequence) FROM file WHERE log_id = ? AND session = ? AND held_utc_ns IS NULL",
            self._log_id(state.device, state.log),
            state.session,
        )
        return None if row is None or row[0] is None else int(row[0])

    def sessions(self, device: str | None = None, unfinished_only: bool = False) -> list[SessionState]:
        """Return sessions, oldest first."""
        order = " ORDER BY s.start_utc_ns, s.session"
        condition = " WHERE (?1 IS NULL OR l.device = ?1)"
        if unfinished_only:
            condition += " AND (s.complete_utc_ns IS NULL OR s.held < s.files)"
        return [_session(row) for row in self._all(_SESSION + condition + order, device)]

    def session(
        self, prefix: bytes, odd_digit: str = "", device: str | None = None, log: str | None = None
    ) -> SessionState:
        """Return the one session whose id begins with these bytes and, behind them, this hex digit.

        A device chooses the ids of its sessions, so it can repeat another one's: then device or log decides.

        Args:
            prefix: first bytes of the id.
            odd_digit: the hex digit behind them, where their number is odd.
            device: only of this device.
            log: only of logs whose id begins with these hex digits.

        Raises:
            NoSuchSessionError: none, or more than one.
        """
        low = (prefix.hex() + odd_digit).ljust(32, "0")
        high = (prefix.hex() + odd_digit).ljust(32, "f")
        rows = self._all(
            _SESSION + " WHERE s.session BETWEEN ?1 AND ?2 AND (?3 IS NULL OR l.device = ?3)"
            " AND (?4 IS NULL OR substr(hex(l.log), 1, length(?4)) = upper(?4)) ORDER BY l.id LIMIT 3",
            bytes.fromhex(low),
            bytes.fromhex(high),
            device,
            log,
        )
        named = prefix.hex() + odd_digit
        if not rows:
            raise NoSuchSessionError(f"no session has an id that begins with {named!r}")
        if len(rows) > 1:
            found = "; ".join(f"{row[3].hex()} of {row[0]}, log {row[1].hex()[:8]}" for row in rows)
            raise NoSuchSessionError(
                f"several sessions have ids that begin with {named!r} ({found}); give more digits, --device or --log"
            )
        return _session(rows[0])

    def earliest_deadline_base(self, device: str) -> int | None:
        """Return the earliest end (UTC ns) of a session that still lacks files; None when nothing is missing."""
        row = self._one(
            "SELECT min(s.end_utc_ns) FROM session s JOIN log l ON l.id = s.log_id"
            " WHERE l.device = ? AND s.missing_size_bytes > 0",
            device,
        )
        return None if row[0] is None else int(row[0])

    def newly_complete(self) -> list[SessionState]:
        """Return sessions of the batch's logs that have everything and carry no attestation yet."""
        found: list[SessionState] = []
        for log_id in self._touched_logs:
            found += [_session(row) for row in self._all(_COMPLETE, log_id)]
        return found

    def keep_attestation(self, state: SessionState, message: bytes, utc_ns: int) -> None:
        """Keep the attestation of a complete session."""
        self._database.execute(
            "UPDATE session SET complete_utc_ns = coalesce(complete_utc_ns, ?), attestation = ?"
            " WHERE log_id = ? AND session = ?",
            (utc_ns, message, self._log_id(state.device, state.log), state.session),
        )

    def attestation(self, state: SessionState) -> bytes | None:
        """Return the kept attestation."""
        row = self._one(
            "SELECT attestation FROM session WHERE log_id = ? AND session = ?",
            self._log_id(state.device, state.log),
            state.session,
        )
        return None if row is None or row[0] is None else bytes(row[0])

    def alarms(self) -> list[Alarm]:
        """Return the alarms, newest first."""
        rows = self._all(
            "SELECT first_utc_ns, last_utc_ns, device, code, detail, count FROM alarm"
            " ORDER BY last_utc_ns DESC LIMIT ?",
            MAX_ALARMS,
        )
        return [Alarm(*row) for row in rows]


def _session(row: tuple[Any, ...]) -> SessionState:
    return SessionState._make((*row[:6], bool(row[6]), *row[7:]))
