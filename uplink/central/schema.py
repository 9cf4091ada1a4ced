"""The index of the embedded store: its tables, as SQLite keeps them (the comments too: ``.schema`` shows them)."""

from __future__ import annotations

from typing import Final

VERSION: Final = 1
"""``PRAGMA user_version`` of an index of this form."""

TABLES: Final = """
CREATE TABLE certificate (
    kid BLOB PRIMARY KEY CHECK (length(kid) = 32),   -- SHA-256 of der
    device TEXT NOT NULL,                            -- whose it is, or whose chain it helps to build
    der BLOB NOT NULL,
    signing INTEGER NOT NULL CHECK (signing IN (0, 1)) -- 1: proved as a signing certificate; 0: building material only
) STRICT;

CREATE TABLE device (
    device TEXT PRIMARY KEY,
    last_heard_utc_ns INTEGER NOT NULL,
    software TEXT NOT NULL DEFAULT '',
    outstanding_size_bytes INTEGER NOT NULL DEFAULT 0 -- media without receipt, as the device says
) STRICT;

CREATE TABLE log (
    id INTEGER PRIMARY KEY,
    device TEXT NOT NULL,
    log BLOB NOT NULL CHECK (length(log) = 16),
    stream INTEGER NOT NULL,
    branch INTEGER,                                  -- the one that the device follows now; NULL before the first
    UNIQUE (device, log)
) STRICT;

CREATE TABLE record (
    id INTEGER PRIMARY KEY,                          -- order of arrival
    log_id INTEGER NOT NULL REFERENCES log (id),
    sequence INTEGER NOT NULL CHECK (sequence >= 0),
    sha256 BLOB NOT NULL CHECK (length(sha256) = 32), -- of message
    previous_sha256 BLOB NOT NULL CHECK (length(previous_sha256) = 32),
    branch INTEGER,                                  -- NULL while a record before it is missing
    kind TEXT NOT NULL,
    session BLOB CHECK (length(session) = 16),
    kid BLOB NOT NULL,
    received_utc_ns INTEGER NOT NULL,                -- the store's clock, never earlier than the arrival
    standing TEXT NOT NULL CHECK (standing IN ('believed', 'quarantined')),
    problem TEXT,                                    -- why the body was not understood
    message BLOB NOT NULL,                           -- the signed bytes, verbatim
    UNIQUE (log_id, sequence, sha256)
) STRICT;
CREATE INDEX record_of_session ON record (log_id, session, sequence) WHERE session IS NOT NULL;
CREATE INDEX record_of_hand_over ON record (log_id) WHERE kind IN ('deferral', 'return');
CREATE INDEX record_floating ON record (log_id, sequence) WHERE branch IS NULL;

CREATE TABLE branch (
    log_id INTEGER NOT NULL REFERENCES log (id),
    branch INTEGER NOT NULL,
    parent INTEGER,                                  -- branch that it leaves
    first_sequence INTEGER NOT NULL,
    first_sha256 BLOB NOT NULL,
    classed TEXT NOT NULL CHECK (classed IN ('main', 'tail-lost', 'fork')),
    next_sequence INTEGER NOT NULL,                  -- behind its newest record
    head_sha256 BLOB NOT NULL,                       -- its newest record
    PRIMARY KEY (log_id, branch)
) STRICT, WITHOUT ROWID;

CREATE TABLE lost (                                  -- records that a device says it can no longer read
    log_id INTEGER NOT NULL REFERENCES log (id),
    first_sequence INTEGER NOT NULL,
    last_sequence INTEGER NOT NULL CHECK (last_sequence >= first_sequence),
    PRIMARY KEY (log_id, first_sequence)
) STRICT, WITHOUT ROWID;

CREATE TABLE file (
    record_id INTEGER PRIMARY KEY REFERENCES record (id),
    log_id INTEGER NOT NULL REFERENCES log (id),
    sequence INTEGER NOT NULL,
    session BLOB,
    stored_sha256 BLOB NOT NULL CHECK (length(stored_sha256) = 32),
    content_sha256 BLOB NOT NULL CHECK (length(content_sha256) = 32),
    stored_size_bytes INTEGER NOT NULL CHECK (stored_size_bytes > 0),
    held_utc_ns INTEGER,                             -- NULL: not (wholly) here
    standing TEXT CHECK (standing IN ('believed', 'quarantined')),
    problem TEXT
) STRICT;
CREATE INDEX file_of_log ON file (log_id, sequence);

CREATE TABLE staging (                               -- files of which some bytes are here
    record_id INTEGER PRIMARY KEY REFERENCES file (record_id),
    device TEXT NOT NULL,
    ranges BLOB NOT NULL                             -- received [offset, end), CBOR
) STRICT;

CREATE TABLE session (
    log_id INTEGER NOT NULL REFERENCES log (id),
    session BLOB NOT NULL CHECK (length(session) = 16),
    open_sequence INTEGER,
    last_sequence INTEGER NOT NULL,
    close_sequence INTEGER,
    start_utc_ns INTEGER NOT NULL,
    end_utc_ns INTEGER NOT NULL,
    records INTEGER NOT NULL,
    files INTEGER NOT NULL,
    held INTEGER NOT NULL,
    missing_size_bytes INTEGER NOT NULL,
    last_received_utc_ns INTEGER NOT NULL,
    complete_utc_ns INTEGER,                         -- when everything from open to close was here
    attestation BLOB,                                -- NULL again when a record comes later
    PRIMARY KEY (log_id, session)
) STRICT, WITHOUT ROWID;
CREATE INDEX session_by_id ON session (session);
CREATE INDEX session_unattested ON session (log_id) WHERE attestation IS NULL;
CREATE INDEX session_missing ON session (log_id) WHERE missing_size_bytes > 0;

CREATE TABLE issued (                                -- the newest receipts given to each device
    id INTEGER PRIMARY KEY,
    device TEXT NOT NULL,
    sha256 BLOB NOT NULL CHECK (length(sha256) = 32)
) STRICT;
CREATE INDEX issued_to ON issued (device, sha256);

CREATE TABLE alarm (
    device TEXT NOT NULL,
    code TEXT NOT NULL,
    detail TEXT NOT NULL,
    first_utc_ns INTEGER NOT NULL,
    last_utc_ns INTEGER NOT NULL,
    count INTEGER NOT NULL,
    PRIMARY KEY (device, code, detail)
) STRICT, WITHOUT ROWID;

CREATE TABLE lease (                                 -- which worker serves which buckets
    first INTEGER NOT NULL CHECK (first BETWEEN 0 AND 255),
    last INTEGER NOT NULL CHECK (last BETWEEN first AND 255),
    fence INTEGER PRIMARY KEY AUTOINCREMENT,         -- grows with every worker that takes over
    pid INTEGER NOT NULL
) STRICT;
"""
