"""What one stream signs about its sessions, into its own log: how they open and close, and what belongs to them."""

from __future__ import annotations

import logging
import secrets
from typing import TYPE_CHECKING, Final

from recorder.control import RefusedError
from recorder.evidence import records, stored
from recorder.opened import Ending
from recorder.spool.reader import LogReader

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from recorder.clock import Clock
    from recorder.config import StreamSection
    from recorder.evidence.records import Body
    from recorder.session import Open
    from recorder.spool.media import FileFacts
    from recorder.spool.spool import OpenSession, Spool

log = logging.getLogger(__name__)

LOOK_BACK: Final = 64
"""Records of a session that are read to find each track's end; a track silent for longer begins anew."""
CHECK_HOLDS_NS: Final = 86_400_000_000_000
"""A session names the check before duty of the day before it."""


class StreamLog:
    """The records of one stream's sessions. Every method that signs may raise :class:`DiskFullError`: no room."""

    def __init__(self, number: int, section: StreamSection, spool: Spool, clock: Clock, policy_sha256: bytes) -> None:
        self.checked: tuple[str, int] | None = None
        """Result and UTC of the newest check before duty."""
        self.idle_since_ns = clock.boottime_ns()
        """Since when nothing has been recorded."""
        self._number = number
        self._section = section
        self._spool = spool
        self._clock = clock
        self._policy_sha256 = policy_sha256

    # -- the open session ----------------------------------------------------------------------------------------

    def open(self, session: bytes, epoch: bytes, order: Open, zero_boottime_ns: int, pre_event_ns: int) -> int:
        """Sign how a session opens; return the sequence of its first record.

        Args:
            session: its id.
            epoch: of its media files.
            order: what is to stand in its opening.
            zero_boottime_ns: its media time zero.
            pre_event_ns: for how long pictures may have been kept that it begins with.
        """
        opened = self._opening(order, zero_boottime_ns, pre_event_ns)
        sequence = self.sign(session, [opened, _media_key(epoch)])[0].sequence
        log.info(
            "stream %s: session %s opened (%s, %s%s), record %d",
            self._section.name,
            session.hex()[:8],
            opened.mode,
            order.trigger,
            f", {order.link_class}" if order.link_class else "",
            sequence,
        )
        return sequence

    def go_on(self, session: bytes, epoch: bytes) -> None:
        """Sign that media files of a session go on under another epoch."""
        self.sign(session, [_media_key(epoch)])

    def sign(self, session: bytes, bodies: Sequence[Body]) -> list[records.Record]:
        """Sign records of a session, and tell of the gaps among them."""
        written = self._spool.append(self._number, session, bodies)
        for body in bodies:
            if isinstance(body, records.Gap):
                self._tell(body)
        return written

    def sign_file(
        self, session: bytes, epoch: bytes, kind: str, content: bytes, body: Callable[[FileFacts], Body]
    ) -> None:
        """Write a small file and sign what makes it part of a session.

        Args:
            session: its id.
            epoch: of its media files.
            kind: ``details`` or ``photo``.
            content: what the file holds.
            body: makes the record's body from the facts of the file.
        """
        facts = self._spool.write_file(self._number, kind, session, epoch, content)
        self.sign(session, [body(facts)])

    def close(
        self, session: bytes, bodies: Sequence[records.Gap | records.Fault | records.SessionClose]
    ) -> records.SessionClose:
        """Sign what closes a session, its close last; return the close."""
        written = self.sign(session, bodies)
        close = bodies[-1]
        assert isinstance(close, records.SessionClose)  # noqa: S101 - the callers put it last
        log.info(
            "stream %s: session %s closed (%s, by %s), %d chunks, record %d",
            self._section.name,
            session.hex()[:8],
            close.reason,
            close.closed_by,
            close.chunks,
            written[-1].sequence,
        )
        return close

    def newest(self, found: OpenSession) -> list[records.Record]:
        """Return a session's newest records, newest first: enough to see each track's end."""
        log_id = self._spool.log_id(self._number)
        reader = LogReader(self._spool.layout.log(log_id), log_id)
        oldest = max(found.opened.sequence, found.last.sequence - LOOK_BACK)
        entries = (reader.find(sequence) for sequence in range(found.last.sequence, oldest - 1, -1))
        return [entry.record for entry in entries if entry is not None and entry.record.session == found.session]

    # -- while no session is open --------------------------------------------------------------------------------

    def put_on_record(self, order: Open, content: bytes, bodies: Callable[[FileFacts], Sequence[Body]]) -> bytes:
        """Open a session and close it at once, with a details file and no media; return its id. None may be open.

        Args:
            order: what is to stand in its opening.
            content: of the details file.
            bodies: makes what is signed between the two from the facts of the file.
        """
        session, epoch = secrets.token_bytes(16), secrets.token_bytes(16)
        now = self._clock.boottime_ns()
        facts = self._spool.write_file(self._number, "details", session, epoch, content)
        close = self.closing(self._spool.head(self._number)[0] + 1, 0, now, Ending("done", "command", statement=True))
        # All at once: a crash must not leave a session open that would then be recorded.
        self.sign(session, [self._opening(order, now), _media_key(epoch), *bodies(facts), close])
        return session

    def add_file_to(
        self, session: bytes, kind: str, content: bytes, body: Callable[[FileFacts], Body], *more: Body
    ) -> None:
        """Write a small file; sign it, and ``more``, as later records of a session that is over. None may be open."""
        epoch = secrets.token_bytes(16)
        facts = self._spool.write_file(self._number, kind, session, epoch, content)
        self.sign(session, [_media_key(epoch), body(facts), *more])

    def marker_at(self, session: bytes, sequence: int) -> records.Marker:
        """Return a marker of a session, by the sequence of its record.

        Raises:
            RefusedError: that record is none.
        """
        log_id = self._spool.log_id(self._number)
        head, _ = self._spool.head(self._number)
        entry = LogReader(self._spool.layout.log(log_id), log_id).find(sequence) if 0 <= sequence <= head else None
        if entry is None or entry.record.session != session or not isinstance(entry.record.body, records.Marker):
            raise RefusedError(
                "marker", f"第 {sequence} 号不是本次记录的标记。", f"Record {sequence} is no marker of this recording."
            )
        return entry.record.body

    # -- bodies --------------------------------------------------------------------------------------------------

    def _opening(self, order: Open, zero_boottime_ns: int, pre_event_ns: int = 0) -> records.SessionOpen:
        sequence, sha256 = self._spool.head(0)
        checked, checked_utc_ns = self._checked_today()
        return records.SessionOpen(
            mode=order.mode or self._section.mode,
            zero_boottime_ns=zero_boottime_ns,
            policy_sha256=self._policy_sha256,
            device_head_sequence=sequence,
            device_head_sha256=sha256,
            trigger=order.trigger,
            matter=order.matter,
            must_be_whole=order.must_be_whole,
            linked_session=order.linked_session,
            link_class=order.link_class,
            pre_event_ns=pre_event_ns,
            idle_since_boottime_ns=self.idle_since_ns,
            checked=checked,
            checked_utc_ns=checked_utc_ns,
            receipt_sha256=self._spool.newest_receipt_sha256,
        )

    def closing(self, open_sequence: int, chunks: int, end_boottime_ns: int, ending: Ending) -> records.SessionClose:
        """Return how a session closes.

        Args:
            open_sequence: of its first record.
            chunks: how many of it have been signed.
            end_boottime_ns: when it ends.
            ending: why, and by whom.
        """
        sequence, sha256 = self._spool.head(0)
        return records.SessionClose(
            reason=ending.reason,
            closed_by=ending.closed_by,
            statement=ending.statement,
            open_sequence=open_sequence,
            chunks=chunks,
            end_boottime_ns=max(end_boottime_ns, 0),
            device_head_sequence=sequence,
            device_head_sha256=sha256,
            receipt_sha256=self._spool.newest_receipt_sha256,
        )

    def _checked_today(self) -> tuple[str | None, int | None]:
        if self.checked is None or not 0 <= self._clock.now().utc_ns - self.checked[1] < CHECK_HOLDS_NS:
            return None, None
        return self.checked

    def _tell(self, gap: records.Gap) -> None:
        length = "unknown" if gap.length_min_ns is None else f"{gap.length_min_ns // 1_000_000} ms"
        log.warning(
            "stream %s: gap %s of %s, %s, length %s",
            self._section.name,
            gap.state,
            "+".join(gap.tracks),
            gap.cause,
            length,
        )


def _media_key(epoch: bytes) -> records.MediaKey:
    return records.MediaKey(epoch=epoch, sealing=stored.SEALING_NONE)
