"""What a central store must be able to keep, whatever keeps it.

:class:`Archive` is the seam: the embedded store (:mod:`uplink.central.embedded`, files and SQLite) is one side of it,
ingest, attestation, status and export are the other. All methods speak of what is kept, none of how. Nothing may be
receipted before :meth:`Archive.commit` has returned: only then do records and files survive a power cut.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from keys.certificates import Identity
    from recorder.evidence.records import Record

BELIEVED = "believed"
QUARANTINED = "quarantined"


class Position(NamedTuple):
    """How far one log is held, along the branch that its device follows now."""

    next_sequence: int
    head_sha256: bytes | None
    holes: list[tuple[int, int]]
    """First and last missing sequence of ranges at or above ``next_sequence``, lowest first, at most 64."""
    highest_sequence: int | None
    """Highest held sequence, where there are holes."""


class Branching(NamedTuple):
    """A second record behind one that already had a successor: another past of the same log."""

    sequence: int
    sha256: bytes
    classed: str
    """``tail-lost`` or ``fork``."""


class Placed(NamedTuple):
    """What became of one record."""

    new: bool
    """False: the same bytes were held before."""
    linked: bool
    """It hangs by held records from the first record of its log."""
    branchings: list[Branching]
    """Branches that became known with it."""


class File(NamedTuple):
    """A file that a held record names."""

    key: int
    """The archive's own name for it."""
    device: str
    log: bytes
    sequence: int
    record_sha256: bytes
    stored_sha256: bytes
    content_sha256: bytes
    stored_size_bytes: int
    held: bool
    standing: str
    session: bytes | None


class Entry(NamedTuple):
    """A held record with what the store knows of it."""

    message: bytes
    sequence: int
    sha256: bytes
    kind: str
    session: bytes | None
    kid: bytes
    received_utc_ns: int
    standing: str
    branch: int | None
    """None while a record before it is missing."""


class SessionState(NamedTuple):
    """One session, as the records tell it."""

    device: str
    log: bytes
    stream: int
    session: bytes
    open_sequence: int | None
    last_sequence: int
    closed: bool
    start_utc_ns: int
    """The device's clock at its first held record, or the store's where the device's was unset."""
    end_utc_ns: int
    """The same at the close, or at its newest record while it is not closed."""
    records: int
    files: int
    held: int
    missing_size_bytes: int
    last_received_utc_ns: int
    complete_utc_ns: int | None
    """When the store had everything from open to close."""


class DeviceState(NamedTuple):
    """One device, as the store last heard of it."""

    device: str
    last_heard_utc_ns: int
    software: str
    outstanding_size_bytes: int


class Alarm(NamedTuple):
    """Something that people must look at."""

    first_utc_ns: int
    last_utc_ns: int
    device: str
    code: str
    detail: str
    times: int


class Archive(Protocol):
    """One store. Writing happens between :meth:`begin` and :meth:`commit`, by one thread."""

    def begin(self) -> None:
        """Open a batch. Raises LeaseLostError when another worker has taken over."""

    def commit(self) -> None:
        """Sync the whole batch to disk. Raises StoreFullError or StoreFailedError; then nothing of it counts."""

    def rollback(self) -> None:
        """Forget the batch."""

    def snapshot(self) -> AbstractContextManager[None]:
        """See everything as it is now, for as long as the context lasts, whatever arrives meanwhile."""

    @property
    def in_batch(self) -> bool:
        """Tell whether the batch still stands; an index that found no room may have dropped it."""

    def close(self) -> None:
        """Release files and locks."""

    # certificates

    def certificate(self, kid: bytes) -> tuple[str, bytes] | None:
        """Return (device, DER) of a known signing certificate."""

    def certificates(self, device: str) -> list[bytes]:
        """Return all certificates (DER) known for a device, with what stands between them and the authority."""

    def add_certificate(self, identity: Identity, material: Sequence[bytes]) -> None:
        """Keep a proved signing certificate and its building material."""

    # records

    def holds(self, device: str, log: bytes, sequence: int, sha256: bytes) -> bool:
        """Tell whether exactly this record is held."""

    def place(self, record: Record, standing: str, received_utc_ns: int) -> Placed:
        """Keep a verified record and find its place. Raises RefusedError when the log is another stream's."""

    def position(self, device: str, log: bytes) -> Position:
        """Say how far a log is held; an unknown log is held up to 0."""

    def entries(self, device: str, log: bytes, first: int, last: int, branch: int | None = None) -> Iterator[Entry]:
        """Yield held records by ascending sequence: all of them, or those on the way to ``branch``."""

    def entries_of_session(self, device: str, log: bytes, session: bytes) -> Iterator[Entry]:
        """Yield the held records that name a session, by ascending sequence, of all branches."""

    def hand_over_signs(self, device: str) -> Iterator[Entry]:
        """Yield a device's deferrals and returns, of all its logs, in the order of arrival."""

    def first_missing(self, state: SessionState) -> int | None:
        """Return the sequence of the oldest record of a session whose file is not held."""

    def branches(self, device: str, log: bytes, first: int, last: int) -> list[Branching]:
        """Return the branches that begin within a range."""

    # files

    def file(self, device: str, log: bytes, sequence: int) -> File | None:
        """Return the file of a record (of the branch that the device follows, where there are several)."""

    def files(self, device: str, log: bytes, first: int, last: int) -> Iterator[File]:
        """Yield the files of a range of records, by sequence."""

    def missing_ranges(self, file: File) -> list[tuple[int, int]]:
        """Return what has not arrived as [offset, end), at most 64 ranges from the lowest on."""

    def make_room(self, file: File, limit_size_bytes: int) -> None:
        """Throw away the oldest unfinished files of a device until this one, too, fits below a limit."""

    def staged_size_bytes(self, device: str | None = None) -> int:
        """Return how many bytes are promised to unfinished files, of one device or of all."""

    def followed_branch(self, device: str, log: bytes) -> int | None:
        """Return the branch that a log's device follows now; None where nothing hangs together yet."""

    def forked(self, device: str, log: bytes, branch: int) -> bool:
        """Tell whether the way to the head of a branch leads over one that nothing explains."""

    def on_fork(self, file: File) -> bool:
        """Tell whether a file's record stands on a branch that nothing explains."""

    def put_piece(self, file: File, offset: int, data: bytes) -> bool:
        """Stage a piece; return True when that makes the file complete (then :meth:`complete` it).

        Raises StoreFullError when there is no room for it, RefusedError when the file is in too many parts.
        """

    def staged(self, file: File) -> Path:
        """Return where the staged bytes lie."""

    def complete(self, file: File, standing: str, problem: str | None, held_utc_ns: int) -> None:
        """Make staged bytes the held file of their record: synced, and under its final name."""

    def stage_copy(self, file: File, source: Path) -> None:
        """Stage a whole file from elsewhere. Raises StoreFullError when there is no room for it."""

    def discard(self, file: File) -> None:
        """Throw away what is staged."""

    def path(self, file: File) -> Path:
        """Return where a held file lies."""

    # receipts

    def issue(self, device: str, sha256: bytes) -> None:
        """Remember that a receipt is given out with this batch."""

    def issued(self, device: str, sha256: bytes) -> bool:
        """Tell whether a receipt is among the newest ones given to a device."""

    # what people ask

    def heard(self, device: str, utc_ns: int, software: str | None, outstanding_size_bytes: int | None) -> None:
        """Note that a device spoke."""

    def alarm(self, utc_ns: int, device: str, code: str, detail: str) -> None:
        """Note something for people; the same again only counts."""

    def devices(self) -> list[DeviceState]:
        """Return all devices by id."""

    def known_devices(self) -> list[str]:
        """Return the ids of all devices that logs are held of."""

    def logs(self, device: str) -> list[tuple[bytes, int]]:
        """Return (log id, stream) of a device's logs, oldest first."""

    def sessions(self, device: str | None = None, unfinished_only: bool = False) -> list[SessionState]:
        """Return sessions, oldest first."""

    def session(
        self, prefix: bytes, odd_digit: str = "", device: str | None = None, log: str | None = None
    ) -> SessionState:
        """Return the one session whose id begins so, of a device or log if named. Raises NoSuchSessionError."""

    def earliest_deadline_base(self, device: str) -> int | None:
        """Return the earliest end (UTC ns) of a session that still lacks files; None when nothing is missing."""

    def newly_complete(self) -> list[SessionState]:
        """Return sessions that have everything and carry no attestation yet."""

    def keep_attestation(self, state: SessionState, message: bytes, utc_ns: int) -> None:
        """Keep the attestation of a complete session."""

    def attestation(self, state: SessionState) -> bytes | None:
        """Return the kept attestation."""

    def alarms(self) -> list[Alarm]:
        """Return the alarms, newest first."""

    def free_size_bytes(self) -> int:
        """Return the room that is left."""
