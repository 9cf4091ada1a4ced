"""Whose check code is given: on request that of the log's newest record, at the end that of the session's close (R23).

The number and the code are to be written into the paper record while people are still there. So they are spoken, and
shown in ``liuhen status`` when the session is over. What follows, their own speaking included, chains onto that record.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final, NamedTuple

from recorder.codes import CodeMaker
from recorder.control import RefusedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from recorder.clock import Clock
    from recorder.conduct import Conduct
    from recorder.evidence.checkcode import CheckCode
    from recorder.spool.spool import Spool

log = logging.getLogger(__name__)

DURING: Final = "say.code"
AFTER: Final = "say.end.code"
UNSPOKEN_ENDS: Final = ("shutdown", "interrupted", "day")
"""After these the device has no time for a code, or nobody is there who asked for the end."""


class Given(NamedTuple):
    """A code that has been given."""

    session: bytes
    code: CheckCode
    text: str
    """The sentence that it is spoken in."""

    def plain(self) -> dict[str, str | int]:
        """Return it for the control socket."""
        return {
            "session": self.session.hex(),
            "number": self.code.number,
            "code": self.code.groups,
            "text": self.text,
        }


class Recital:
    """The check codes of one device."""

    def __init__(self, spool: Spool, clock: Clock) -> None:
        self.last: dict[int, Given] = {}
        """By stream, the code of the session that was closed last."""
        self._spool = spool
        self._maker = CodeMaker(clock)

    def ask(self, conduct: Conduct, answer: Callable[[Given | None], None]) -> None:
        """Give the code of a stream's newest record, or of the close of its last session, and speak it.

        Args:
            conduct: the stream's.
            answer: called later, with None where no code could be made.

        Raises:
            RefusedError: the stream has recorded nothing, or too many codes are asked for already.
            DiskFullError: the index is behind, and there is no room to bring it level.
        """
        stream = conduct.stream
        if stream.session is None:
            self._ask_for_close(conduct, answer)
            return
        session = stream.session.id
        number, sha256 = self._spool.head(stream.number)

        def done(code: CheckCode | None) -> None:
            given = Given(session, code, DURING) if code is not None else None
            answer(given)
            if given is not None and stream.session is not None and stream.session.id == session:
                conduct.recite(given)

        self._maker.ask(self._spool.log_id(stream.number), number, sha256, done)

    def closed(self, conduct: Conduct, reason: str) -> None:
        """A session has been closed: the code of its close is spoken, unless another one is recorded by then."""
        if reason not in UNSPOKEN_ENDS and conduct.stream.section.mode != "continuous":
            try:
                self._ask_for_close(conduct, _nobody)
            except RefusedError as error:
                log.warning("stream %s: no check code at the end: %s", conduct.stream.section.name, error)

    def tick(self) -> None:
        """Take what has been made.

        Raises:
            DiskFullError: what became of speaking it cannot be signed.
        """
        self._maker.tick()

    def stop(self) -> None:
        """Make no more."""
        self._maker.stop()

    def _ask_for_close(self, conduct: Conduct, answer: Callable[[Given | None], None]) -> None:
        stream = conduct.stream
        close = self._spool.past.last_close(stream.number)
        if close is None or close.session is None:
            raise RefusedError("idle", "还没有音像记录。", "Nothing has been recorded yet.")
        session = close.session

        def done(code: CheckCode | None) -> None:
            given = Given(session, code, AFTER) if code is not None else None
            if given is not None:
                self.last[stream.number] = given
            answer(given)
            if given is not None and stream.session is None:
                conduct.recite(given)

        self._maker.ask(close.log, close.sequence, close.sha256, done)


def _nobody(_given: Given | None) -> None:
    """The device asked by itself."""
