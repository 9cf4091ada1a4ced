"""What the device's own logs say of recordings that are over: asked by whoever speaks of them afterwards."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from recorder.evidence.records import Deferral
from recorder.spool.reader import LogReader

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from recorder.evidence.records import Record
    from recorder.spool.chain import LogWriter
    from recorder.spool.index import SessionRow
    from recorder.spool.keeper import IndexKeeper
    from recorder.spool.layout import Layout

DEVICE_STREAM: Final = 0
MOST: Final = 1000
"""More sessions that wait are not looked at: it is late enough for each of them."""
ID_DIGITS: Final = 32
"""Hex digits of a session's id."""


class Over(NamedTuple):
    """A session that has been closed, in a log that can still be written."""

    stream: int
    session: bytes


class Past:
    """Reads; its cost does not grow with the logs."""

    def __init__(
        self,
        layout: Layout,
        keeper: IndexKeeper,
        logs: Mapping[int, LogWriter],
        record_at: Callable[[bytes, int], Record],
    ) -> None:
        self._layout = layout
        self._keeper = keeper
        self._logs = logs
        self._record_at = record_at

    def last_close(self, stream: int) -> Record | None:
        """Return the session-close of a stream's session that was closed last, None where there is none.

        Raises:
            DiskFullError: the index is behind, and there is no room to bring it level.
        """
        log_id = self._logs[stream].log
        row = self._keeper.ask(lambda index: index.last_closed(log_id))
        if row is None or row.close_sequence is None:
            return None
        entry = LogReader(self._layout.log(log_id), log_id).find(row.close_sequence)
        return entry.record if entry is not None else None

    def find(self, beginning: str) -> list[Over]:
        """Return the closed sessions whose id, as hex, begins so; at most two, for one must be meant.

        Raises:
            ValueError: these are no hex digits of an id.
            DiskFullError: see :meth:`last_close`.
        """
        if not 0 < len(beginning) <= ID_DIGITS:
            raise ValueError("not the beginning of a session's id")
        first, last = (bytes.fromhex(beginning.ljust(ID_DIGITS, digit)) for digit in "0f")
        rows = self._keeper.ask(lambda index: index.sessions_between(first, last, 2))
        return self._over(row for row in rows if row.close_sequence is not None)

    def not_handed_over(self) -> list[Over]:
        """Return the closed sessions of which some file has no receipt, by log, oldest first.

        Raises:
            DiskFullError: see :meth:`last_close`.
        """
        return self._over(self._keeper.ask(lambda index: index.closed_with_outstanding(MOST)))

    def waiting(self) -> list[tuple[SessionRow, Record]]:
        """Return the same sessions as the index has them, each with its newest record, also those of earlier logs.

        Raises:
            DiskFullError: see :meth:`last_close`.
        """
        rows = self._keeper.ask(lambda index: index.closed_with_outstanding(MOST))
        return [(row, self._record_at(row.log, row.last_offset)) for row in rows]

    def newest(self, *kinds: str, limit: int = 1) -> list[Record]:
        """Return the newest ``check``, ``deferral`` or ``return`` records of the device log, newest first.

        Raises:
            DiskFullError: see :meth:`last_close`.
        """
        log_id = self._logs[DEVICE_STREAM].log
        offsets = self._keeper.ask(lambda index: index.newest(log_id, kinds, limit))
        return [self._record_at(log_id, offset) for offset in offsets]

    def deferral(self) -> Deferral | None:
        """Return the deferral of the whole device that holds: none, where its return was signed behind it.

        Raises:
            DiskFullError: see :meth:`last_close`.
        """
        newest = next(iter(self.newest("deferral", "return")), None)
        return newest.body if newest is not None and isinstance(newest.body, Deferral) else None

    def _over(self, rows: Iterable[SessionRow]) -> list[Over]:
        streams = {writer.log: stream for stream, writer in self._logs.items()}
        return [Over(streams[row.log], row.session) for row in rows if row.log in streams]
