"""The spool as the recorder uses it: the only thing that writes it.

Everything is called from one thread. Streams are called by their number: 0 is the device log, from 1 on they are
the configured streams in their order. After a :class:`~recorder.spool.errors.SpoolFatalError` the process must end.
"""

from __future__ import annotations

import fcntl
import logging
import os
import secrets
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import msgspec

from recorder.clock import UNSET
from recorder.config import SpoolSection
from recorder.evidence import records, stored
from recorder.evidence.records import Boot, Fault, Genesis, Lost, SessionOpen
from recorder.evidence.statements import MAX_RECEIPT_SIZE_BYTES
from recorder.spool import garbage, index, media, recovery
from recorder.spool.chain import LogWriter
from recorder.spool.errors import DiskFullError, SpoolFatalError, SpoolLockedError
from recorder.spool.keeper import IndexKeeper
from recorder.spool.layout import MEDIA_FINISHED_MODE, Layout, free_bytes, open_descriptor, sync_directory
from recorder.spool.logfile import LogFile, read_frame
from recorder.spool.past import Past
from recorder.spool.reader import MAX_RECORD_SIZE_BYTES
from recorder.spool.receipts import ReceiptTaker, ReceiptVerifier, Taken
from recorder.spool.reserve import Reserve

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from keys.signer import Signer
    from recorder.clock import Clock
    from recorder.evidence.records import Body, Record
    from recorder.spool.garbage import Freed
    from recorder.spool.index import SessionRow, Total
    from recorder.spool.media import FileFacts, MediaFile
    from recorder.spool.recovery import FoundLog, RecoveredChunk

log = logging.getLogger(__name__)

T = TypeVar("T")
DEVICE_STREAM_NAME = "device"
LAST_RESERVE_PART = 4
"""Of the reserve, as much again as one part in this many is kept for receipts: without them nothing can be freed."""
_ANY_TIME = 1 << 63
_HOUR_NS = 3_600_000_000_000
_ALWAYS_NS = 1 << 63


class OpenSession(NamedTuple):
    """A session without session-close, found at start: to be gone on with, or closed."""

    stream: int
    session: bytes
    opened: Record
    """Its session-open; the body is a :class:`recorder.evidence.records.SessionOpen`."""
    chunks: int
    """Its chunk records so far, the recovered ones that have been signed included."""
    last: Record
    """Its newest record of any kind."""
    last_chunk: Record | None
    last_chunk_path: Path | None
    """The file of that chunk; None when it is not on the device any more."""


class Spool:
    """An open spool. Make one with :meth:`open`."""

    def __init__(
        self, layout: Layout, lock: int, device: str, signer: Signer, clock: Clock, settings: SpoolSection
    ) -> None:
        self.layout = layout
        self.device = device
        self.settings = settings
        self.recovered: list[RecoveredChunk] = []
        """Chunks that a crash left without a record, in their order; sign each with :meth:`sign_recovered`."""
        self.records_count = 0
        """Records appended since the start."""
        self._lock = lock
        self._signer = signer
        self._clock = clock
        self._reserve = Reserve(layout.reserve, settings.reserve_size_mib << 20)
        self._last_reserve = Reserve(layout.last_reserve, self._reserve.size_bytes // LAST_RESERVE_PART)
        for reserve in (self._reserve, self._last_reserve):
            if free_bytes(layout.root) < self._last_reserve.size_bytes:
                reserve.release()  # a start needs some room, too
        self._keeper = IndexKeeper(layout, settings.free_on)
        self._receipts = _open_receipts(layout, self._keeper)
        self._files: dict[bytes, LogFile] = {}
        self._logs: dict[int, LogWriter] = {}
        self.past = Past(layout, self._keeper, self._logs, self._record_at)
        self._media_next: dict[int, int] = {}
        self._taker: ReceiptTaker | None = None
        self._newest_receipt_sha256: bytes | None = None

    @classmethod
    def open(
        cls,
        root: Path,
        *,
        device: str,
        streams: Sequence[str],
        signer: Signer,
        clock: Clock,
        software: str,
        authorities: Sequence[Path] = (),
        settings: SpoolSection | None = None,
        origin: str = "self-started",
    ) -> Spool:
        """Open a spool: mend what a crash left, choose or begin the logs, and sign ``boot`` in each.

        Args:
            root: folder of the spool; made when missing.
            device: device number.
            streams: names of the streams, for the numbers from 1 on.
            signer: the device's signing key.
            clock: where records get their times from.
            software: name and version of this program.
            authorities: certificate files of the authorities that receipts must come from.
            settings: the configuration's ``[spool]``.
            origin: what the genesis of a new log says: ``self-started``, or ``enrolled`` by a technician.

        Raises:
            SpoolLockedError: another process has it open.
            SpoolFatalError: the disk failed.
        """
        layout = Layout(root)
        try:
            layout.make()
            lock = _lock(layout.lock)
            try:
                spool = cls(layout, lock, device, signer, clock, settings or SpoolSection())
                spool._start([DEVICE_STREAM_NAME, *streams], software, origin, authorities)
            except BaseException:
                os.close(lock)
                raise
        except OSError as error:
            raise SpoolFatalError(f"the spool {root} cannot be opened: {error}") from error
        return spool

    def _start(self, names: list[str], software: str, origin: str, authorities: Sequence[Path]) -> None:
        self._last_reserve.restore()
        self._reserve.restore()
        _keep_certificate(self.layout, self._signer)
        found = recovery.open_logs(self.layout, self._keeper)
        self._files = {one.log: one.file for one in found}
        self._keeper.attach(self._files, self._receipts)
        self._taker = ReceiptTaker(self.layout, self.device, self._receipts, self._keeper, ReceiptVerifier(authorities))
        self._look_up_newest_receipt()
        if found:
            self._clock.raise_floor(max(one.head.utc_ns for one in found))
        for stream, name in enumerate(names):
            current, previous = recovery.choose(found, self.device, stream, name)
            if current is None:
                self._begin_log(stream, name, software, origin, previous)
            else:
                self._go_on(stream, name, software, current)

    def _begin_log(self, stream: int, name: str, software: str, origin: str, previous: FoundLog | None) -> None:
        log_id = secrets.token_bytes(16)
        file = LogFile.create(self.layout.log(log_id), MAX_RECORD_SIZE_BYTES)
        self._files[log_id] = file
        self._keeper.attach_log(log_id, file)
        writer = self._writer(stream, log_id, file, None)
        genesis = Genesis(
            certificate_sha256=self._signer.kid,
            stream_name=name,
            origin=origin,
            software=software,
            previous_log=previous.log if previous else None,
            previous_head_sha256=previous.head.sha256 if previous else None,
        )
        writer.append(None, [genesis])
        writer.append(None, [self._boot(writer, "power-on", software)])
        self.records_count += 2
        self._media_next[stream] = 1
        log.info("stream %s: log %s begun (%s)", name, log_id.hex(), origin)

    def _go_on(self, stream: int, name: str, software: str, found: FoundLog) -> None:
        writer = self._writer(stream, found.log, found.file, found.head)
        now = self._clock.now()
        reason = "restart" if found.head.boot == now.boot else "power-on"
        bodies: list[Body] = [self._boot(writer, reason, software, found.torn_size_bytes)]
        for first, last in self._keeper.holes.get(found.log, []):
            bodies.append(Lost(first_sequence=first, last_sequence=last, reason="unreadable"))
        if found.unreadable_size_bytes:
            bodies.append(Fault(code="log_damaged", detail=f"{found.unreadable_size_bytes} bytes behind the head"))
        media_found = recovery.find_media(self.layout, self._keeper, found.log, stream)
        if media_found.removed:
            numbers = " ".join(map(str, media_found.removed[:16]))
            detail = f"nothing whole in media {numbers}"
            bodies.append(Fault(code="media_removed", detail=detail, count=len(media_found.removed)))
        self.recovered += media_found.chunks
        self._media_next[stream] = media_found.next_number
        writer.append(None, bodies)
        self.records_count += len(bodies)
        log.info("stream %s: log %s goes on behind record %d (%s)", name, found.log.hex(), found.head.sequence, reason)

    def _boot(self, writer: LogWriter, reason: str, software: str, torn_size_bytes: int = 0) -> Boot:
        return Boot(
            found_sequence=writer.sequence,
            found_sha256=writer.sha256,
            reason=reason,
            software=software,
            torn_size_bytes=torn_size_bytes,
            receipt_sha256=self._newest_receipt_sha256,
        )

    def _writer(self, stream: int, log_id: bytes, file: LogFile, head: Record | None) -> LogWriter:
        self._logs[stream] = LogWriter(
            file,
            device=self.device,
            log=log_id,
            stream=stream,
            head=head,
            signer=self._signer,
            clock=self._clock,
            keeper=self._keeper,
            reserve=self._reserve,
        )
        return self._logs[stream]

    def close(self) -> None:
        """Close everything and give up the lock. Nothing needs to be written."""
        for file in (*self._files.values(), self._receipts):
            file.close()
        self._keeper.close()
        os.close(self._lock)

    # -- records -------------------------------------------------------------------------------------------------

    def append(self, stream: int, session: bytes | None, bodies: Sequence[Body]) -> list[Record]:
        """Sign records into a stream's log, durable on return, with one sync.

        Raises:
            DiskFullError: no room even after the reserve was given up; nothing was appended.
            SpoolFatalError: the disk failed; the process must end.
        """
        made = self._logs[stream].append(session, bodies)
        self.records_count += len(made)
        return made

    def head(self, stream: int) -> tuple[int, bytes]:
        """Return sequence and hash of a stream's newest record."""
        writer = self._logs[stream]
        return writer.sequence, writer.sha256

    def log_id(self, stream: int) -> bytes:
        """Return the id of a stream's log."""
        return self._logs[stream].log

    @property
    def newest_receipt_sha256(self) -> bytes | None:
        """Hash of the newest receipt that has been verified, None before the first."""
        return self._newest_receipt_sha256

    # -- media ---------------------------------------------------------------------------------------------------

    def begin_chunk(self, stream: int, session: bytes, epoch: bytes, init: bytes) -> MediaFile:
        """Begin a chunk's file; its init segment reaches the disk with the first fragment.

        Raises:
            DiskFullError: no room, or what room there is belongs to the records.
            SpoolFatalError: the disk failed.
        """
        file = self._begin(stream, "chunk", session, epoch)
        file.write_init(init)
        return file

    def sign_chunk(
        self, file: MediaFile, account: stored.Account | None = None, init_sha256: bytes | None = None
    ) -> Record | None:
        """Make a finished chunk part of the recording: sign and append its record.

        Args:
            file: from :meth:`begin_chunk`, finished.
            account: what it holds, when it is about the fragments that are durable; else the newest account in it.
            init_sha256: of its init segment; by default what was written.

        Returns:
            The record, or None where the disk was full before the first fragment: then there is no file.
        """
        if file.empty or file.account is None:
            return None
        durable = media.decode_account(file.account)
        if account is None or account.fragments != durable.fragments:
            account = durable
        init = init_sha256 or file.init_sha256 or b""
        stream = self._stream_of(file.header.log)
        return self.append(stream, file.header.session, [media.chunk_body(file.facts, account, init)])[0]

    def write_file(self, stream: int, kind: str, session: bytes | None, epoch: bytes, content: bytes) -> FileFacts:
        """Write a details or photo file; append a record with these facts to make it part of the recording.

        Raises:
            DiskFullError: no room; nothing remains.
            SpoolFatalError: the disk failed.
        """
        file = self._begin(stream, kind, session, epoch)
        try:
            file.write_whole(content)
        finally:
            file.finish()
        return file.facts

    def _begin(self, stream: int, kind: str, session: bytes | None, epoch: bytes) -> MediaFile:
        number = self._media_next[stream]
        log_id = self._logs[stream].log
        now = self._clock.now()
        header = stored.Header(
            device=self.device,
            log=log_id,
            media=number,
            kind=kind,
            session=session,
            epoch=epoch,
            sealing=stored.SEALING_NONE,
            opened_boottime_ns=now.boottime_ns,
            boot=now.boot,
        )
        file = media.MediaFile(self.layout.media_file(log_id, number), header, self._reserve)
        self._media_next[stream] = number + 1
        return file

    def media_path(self, stream: int, number: int) -> Path:
        """Return where a stream's media file lies."""
        return self.layout.media_file(self._logs[stream].log, number)

    # -- after a crash -------------------------------------------------------------------------------------------

    def sign_recovered(self, chunk: RecoveredChunk) -> Record:
        """Sign one of :attr:`recovered` into its log."""
        body = chunk.body
        if chunk.header.boot != self._clock.now().boot:
            body = msgspec.structs.replace(body, media_boot=chunk.header.boot)
        (record,) = self.append(chunk.stream, chunk.session, [body])
        chunk.path.chmod(MEDIA_FINISHED_MODE)
        self.recovered.remove(chunk)
        return record

    def open_sessions(self) -> list[OpenSession]:
        """Return the sessions of the current logs that have no session-close, oldest first."""
        streams = {writer.log: stream for stream, writer in self._logs.items()}
        found = []
        for row in self._keeper.ask(lambda index: index.open_sessions()):
            if row.log not in streams:
                continue
            try:
                found.append(self._open_session(streams[row.log], row))
            except SpoolFatalError as error:
                # Damage on the disk: recording must go on without this session.
                log.error("session %s can neither go on nor be closed: %s", row.session.hex(), error)  # noqa: TRY400
        return found

    def _open_session(self, stream: int, row: SessionRow) -> OpenSession:
        opened, last = self._record_at(row.log, row.open_offset), self._record_at(row.log, row.last_offset)
        chunk = self._record_at(row.log, row.last_chunk_offset) if row.last_chunk_offset is not None else None
        path = None
        if chunk is not None and chunk.file is not None:
            path = self.layout.media_file(row.log, chunk.file.media)
        if not isinstance(opened.body, SessionOpen):
            raise SpoolFatalError(f"the index is wrong about session {row.session.hex()}; run: liuhen check --rebuild")
        return OpenSession(
            stream, row.session, opened, row.chunks, last, chunk, path if path is not None and path.exists() else None
        )

    def _record_at(self, log_id: bytes, offset: int) -> Record:
        frame = self._files[log_id].read(offset)
        if frame is None:
            raise SpoolFatalError(f"log {log_id.hex()}: the record at {offset} cannot be read any more")
        return records.parse(frame.message)

    # -- receipts and room ---------------------------------------------------------------------------------------

    def take_receipts(self) -> Taken:
        """Verify and keep the receipts in the inbox.

        Raises:
            DiskFullError: no room to keep them; they wait.
            SpoolFatalError: the disk failed.
        """
        if self._taker is None:
            return Taken(0, 0, 0)
        taker = self._taker
        taken = self._with_last_room(lambda: taker.take(self._files))
        if taken.kept:
            self._look_up_newest_receipt()
        return taken

    def _look_up_newest_receipt(self) -> None:
        self._newest_receipt_sha256 = self._keeper.ask(lambda one: one.meta("newest_receipt_sha256"))

    def collect_garbage(self) -> Freed:
        """Free some receipted media that have lingered long enough or whose room is needed; restore the reserve.

        Raises:
            SpoolFatalError: the disk failed.
        """
        window_ns = int(self.settings.restore_window_hours * _HOUR_NS)
        now = self._clock.now()
        if window_ns == 0:
            older_than_utc_ns = _ALWAYS_NS  # nothing is to linger, whatever the time
        else:
            # A clock that is not set may be years ahead: then only a lack of room ends the lingering.
            older_than_utc_ns = _ANY_TIME if window_ns == 0 else now.utc_ns - window_ns if now.quality != UNSET else 0
        try:
            freed = self._with_last_room(
                lambda: garbage.collect(
                    self.layout,
                    self._keeper,
                    self._files,
                    self._receipts,
                    older_than_utc_ns=older_than_utc_ns,
                    wanted_bytes=3 * self._reserve.size_bytes - self.free_bytes(),
                    free_on=self.settings.free_on,
                )
            )
        except DiskFullError as error:
            log.warning("nothing can be freed now: %s", error)
            freed = garbage.Freed(0, 0)
        self._last_reserve.restore()
        self._reserve.restore()
        return freed

    def _with_last_room(self, act: Callable[[], T]) -> T:
        """Do what leads to more room; when there is none left for that, give up the last reserve."""
        try:
            return act()
        except DiskFullError:
            if not self._last_reserve.held:
                raise
            self._last_reserve.release()
            return act()

    @property
    def full(self) -> bool:
        """The reserve is given up: records only, until there is room again."""
        return not self._reserve.held

    def outstanding(self) -> Total:
        """Return the files that have no receipt: how many, and their stored bytes."""
        return self._total(index.OUTSTANDING)

    def held(self) -> Total:
        """Return the files whose receipt does not permit freeing yet."""
        return self._total(index.HELD)

    def lingering(self) -> Total:
        """Return the files that may be freed and are still here."""
        return self._total(index.LINGERING)

    def _total(self, state: int) -> Total:
        return self._keeper.ask(lambda one: one.total(state))

    def received_below(self, stream: int) -> int:
        """Return the sequence below which a store has receipted all records of a stream's log."""
        log_id = self._logs[stream].log
        return self._keeper.ask(lambda one: one.received_below(log_id))

    def sessions(self, limit: int) -> list[SessionRow]:
        """Return the newest sessions, newest first."""
        return self._keeper.ask(lambda one: one.sessions(limit))

    def free_bytes(self) -> int:
        """Return the room on the spool's file system, the reserve not counted."""
        return free_bytes(self.layout.root)

    @property
    def logs(self) -> Mapping[int, LogWriter]:
        """The current log of each stream."""
        return self._logs

    def _stream_of(self, log_id: bytes) -> int:
        return next(stream for stream, writer in self._logs.items() if writer.log == log_id)


ChunkFile = media.MediaFile


def rebuild_index(root: Path) -> None:
    """Make the index of a spool again that no recorder has open.

    Raises:
        SpoolLockedError: a recorder has it open.
        OSError: the disk failed.
    """
    layout = Layout(root)
    lock = _lock(layout.lock)
    try:
        keeper = IndexKeeper(layout, SpoolSection().free_on)
        found = recovery.open_logs(layout, keeper)
        receipts = _open_receipts(layout, keeper)
        keeper.attach({one.log: one.file for one in found}, receipts)
        keeper.rebuild()
        for file in (*(one.file for one in found), receipts):
            file.close()
        keeper.close()
    finally:
        os.close(lock)


def _lock(path: Path) -> int:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise SpoolLockedError(f"{path.parent}: another process writes this spool") from error
    return descriptor


def _keep_certificate(layout: Layout, signer: Signer) -> None:
    """Put the signing certificate beside the logs that it is needed to judge, once."""
    path = layout.certificates / f"{signer.kid.hex()}.der"
    if path.exists():
        return
    unfinished = path.with_suffix(".new")
    unfinished.write_bytes(signer.certificate)
    with open_descriptor(unfinished, os.O_RDONLY) as descriptor:
        os.fsync(descriptor)
    unfinished.rename(path)
    sync_directory(layout.certificates)


def _open_receipts(layout: Layout, keeper: IndexKeeper) -> LogFile:
    path = layout.receipts_log
    if not path.exists():
        return LogFile.create(path, MAX_RECEIPT_SIZE_BYTES)
    with open_descriptor(path, os.O_RDONLY) as descriptor:
        size = os.fstat(descriptor).st_size
        start = keeper.hint(None, lambda at: read_frame(descriptor, at, size, MAX_RECEIPT_SIZE_BYTES))
    opened = LogFile.open(path, MAX_RECEIPT_SIZE_BYTES, start)
    for damage in opened.damages:
        log.error("%s: %d bytes at %d are unreadable", path.name, damage.end_offset - damage.offset, damage.offset)
    return opened.file
