"""Wires the codes that sources read: proves them, obeys :mod:`recorder.shown`.

Nothing here is in the way of recording: a code that cannot be judged at once waits for the next look at the clock, and
of a flood the rest is dropped. What a code says goes into a sealed file; names are never logged.
"""

from __future__ import annotations

import logging
from collections import deque
from typing import TYPE_CHECKING, Final, Protocol

from recorder.evidence import lens_code
from recorder.evidence.lens_code import LensCodeError
from recorder.issuers import NotNowError
from recorder.shown import Add, ShownCodes
from recorder.source.link import short

if TYPE_CHECKING:
    from recorder.clock import Clock
    from recorder.evidence.details import SessionDetails
    from recorder.issuers import Issuers
    from recorder.shown import Order

log = logging.getLogger(__name__)

MAX_WAITING: Final = 16
"""Codes of issuers that are not known yet; those of known ones never wait."""


class Stage(Protocol):
    """One stream, as far as codes concern it."""

    @property
    def name(self) -> str:
        """What the stream is called."""

    @property
    def open_session(self) -> bytes | None:
        """The session that details can be added to now."""

    @property
    def off(self) -> bool:
        """Whether nothing is to be recorded now, the codes that are shown neither."""

    @property
    def photographs(self) -> bool:
        """Whether that session is one for photographs alone."""

    def add_details(self, stated: SessionDetails, *, when: str, author: str) -> None:
        """Sign details into the session."""

    def cue(self, text: str, arguments: dict[str, str] | None = None) -> None:
        """Tell the officer; never log what is in the arguments."""


class Lens:
    """The codes of all streams of one device."""

    def __init__(self, issuers: Issuers, clock: Clock) -> None:
        self._issuers = issuers
        self._clock = clock
        self._codes: dict[str, ShownCodes] = {}
        self._stages: dict[str, Stage] = {}
        self._waiting: deque[tuple[Stage, lens_code.Shown]] = deque()

    def read(self, stage: Stage, text: bytes) -> None:
        """A source has read a code of ours.

        Raises:
            DiskFullError: there is no room for what it says.
        """
        self._stages[stage.name] = stage
        if stage.off:
            return  # whatever shows there is not recorded
        try:
            shown = lens_code.read(text.decode("ascii"))
        except (LensCodeError, UnicodeDecodeError) as error:
            self._bad(stage, error)
            return
        self._judge(stage, shown)

    def tick(self) -> None:
        """Judge what waits, as far as that may be now; add what was shown before a session to it.

        Raises:
            DiskFullError: there is no room for what a code says.
        """
        for stage in self._stages.values():
            session = stage.open_session
            if session is not None and not stage.off:
                now_ns = self._clock.boottime_ns()
                self._obey(stage, self._of(stage.name).opened(now_ns, session, photographs=stage.photographs))
        for _ in range(len(self._waiting)):
            stage, shown = self._waiting.popleft()
            if stage.off:
                self._waiting.append((stage, shown))
            else:
                self._judge(stage, shown)

    def matter(self, stream: str) -> str | None:
        """Return the matter that a session of this stream which opens now is of, as far as codes tell."""
        return self._of(stream).matter(self._clock.boottime_ns())

    def _judge(self, stage: Stage, shown: lens_code.Shown) -> None:
        now = self._clock.now()
        judged = now.quality != "unset"
        try:
            issuer = self._issuers.of(shown, now.boottime_ns)
            lens_code.believe(shown, issuer, now.utc_ns if judged else None)
        except NotNowError:
            if len(self._waiting) < MAX_WAITING:
                self._waiting.append((stage, shown))
            return
        except LensCodeError as error:
            self._bad(stage, error)
            return
        log.info("stream %s: a %s of %s was read", stage.name, type(shown.code).__name__, issuer.subject)
        self._obey(
            stage,
            self._of(stage.name).read(shown, now.boottime_ns, stage.open_session, dates_judged=judged),
        )

    def _bad(self, stage: Stage, error: Exception) -> None:
        orders = self._of(stage.name).bad(self._clock.boottime_ns())
        if orders:
            log.warning("stream %s: a code is of no use: %s", stage.name, short(str(error)))
        self._obey(stage, orders)

    def _obey(self, stage: Stage, orders: list[Order]) -> None:
        for order in orders:
            if isinstance(order, Add):
                stage.add_details(order.details, when=order.when, author=lens_code.AUTHOR)
            else:
                stage.cue(order.text, order.arguments)

    def _of(self, stream: str) -> ShownCodes:
        return self._codes.setdefault(stream, ShownCodes())
