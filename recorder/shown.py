"""What becomes of a code that was shown to the lens: pure decisions for one stream.

1. In a session it adds what it says to the session, once, however often it is shown.
2. Before a session it is kept for :data:`KEPT_NS` and used for the next start: of tasks the newest, of officers all.
3. What cannot be believed is told to the officer, at most once in :data:`BAD_EVERY_NS`, and adds nothing.

Times are boot-time in nanoseconds. Each method returns what is to be done, in order.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from recorder.evidence.lens_code import OfficerCode, TaskCode, details_of

if TYPE_CHECKING:
    from recorder.evidence.details import SessionDetails
    from recorder.evidence.lens_code import Shown

SECOND_NS: Final = 1_000_000_000
KEPT_NS: Final = 300 * SECOND_NS
BAD_EVERY_NS: Final = 10 * SECOND_NS
MAX_KEPT: Final = 16
"""More codes than that are not kept for one start."""
MAX_IN_SESSION: Final = 64
"""More codes than that add nothing to one session: a flood must not fill its log."""


@dataclass(frozen=True, slots=True)
class Add:
    """Add details to the session that is open."""

    details: SessionDetails
    when: str
    """``start``: shown before it; or ``during``."""


@dataclass(frozen=True, slots=True)
class Cue:
    """Tell the officer; a name in the arguments is for the ear only, never for a log or record."""

    text: str
    arguments: dict[str, str]


Order = Add | Cue


@dataclass(frozen=True, slots=True)
class Kept:
    """A code that waits for a session."""

    shown: Shown
    details: SessionDetails
    read_ns: int


class ShownCodes:
    """The codes of one stream."""

    def __init__(self) -> None:
        self._kept: dict[bytes, Kept] = {}
        self._session: bytes | None = None
        self._in_session: set[bytes] = set()
        self._bad_ns: int | None = None

    def read(self, shown: Shown, now_ns: int, session: bytes | None, *, dates_judged: bool) -> list[Order]:
        """Take a code that is believed.

        Args:
            shown: the code.
            now_ns: boot-time.
            session: the session that is open.
            dates_judged: the code's dates were held against the clock.
        """
        details = details_of(shown, dates_judged=dates_judged)
        if session is None:
            return self._keep(Kept(shown, details, now_ns))
        orders = self.opened(now_ns, session)
        if shown.sha256 in self._in_session or len(self._in_session) >= MAX_IN_SESSION:
            return orders
        self._in_session.add(shown.sha256)
        return [*orders, Add(details, "during"), _cue(shown)]

    def bad(self, now_ns: int) -> list[Order]:
        """A code cannot be read or believed."""
        if self._bad_ns is not None and now_ns - self._bad_ns < BAD_EVERY_NS:
            return []
        self._bad_ns = now_ns
        return [Cue("cue.code.bad", {})]

    def matter(self, now_ns: int) -> str | None:
        """Return the matter that a session which opens now is of, as far as codes tell."""
        self._forget(now_ns)
        tasks = [one.shown.code for one in self._kept.values() if isinstance(one.shown.code, TaskCode)]
        return tasks[-1].matter if tasks else None

    def opened(self, now_ns: int, session: bytes, *, photographs: bool = False) -> list[Order]:
        """A session is open: what was shown before it is added to it. May be called as often as one likes.

        Args:
            now_ns: boot-time.
            session: its id.
            photographs: it is one for photographs alone: what was shown stays for the recording that may follow.
        """
        self._forget(now_ns)
        if session != self._session:
            self._session, self._in_session = session, set()
        fresh = {digest: one for digest, one in self._kept.items() if digest not in self._in_session}
        if not photographs:
            self._kept = {}
        self._in_session |= set(fresh)
        return [Add(one.details, "start") for one in fresh.values()]

    def _keep(self, kept: Kept) -> list[Order]:
        self._forget(kept.read_ns)
        known = self._kept.pop(kept.shown.sha256, None) is not None
        if isinstance(kept.shown.code, TaskCode):
            self._kept = {digest: one for digest, one in self._kept.items() if not isinstance(one.shown.code, TaskCode)}
        if len(self._kept) >= MAX_KEPT:
            return []
        self._kept[kept.shown.sha256] = kept
        return [] if known else [_cue(kept.shown)]

    def _forget(self, now_ns: int) -> None:
        self._kept = {digest: one for digest, one in self._kept.items() if now_ns - one.read_ns <= KEPT_NS}


def _cue(shown: Shown) -> Cue:
    code = shown.code
    if isinstance(code, OfficerCode):
        return Cue("cue.code.officer", {"name": code.name})
    return Cue("cue.code.read", {"matter": f"matter.{code.matter}"})
