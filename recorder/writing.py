"""From sources to the disk: obeys :mod:`recorder.assembly`, acknowledges what is safe, signs chunks and gaps."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from recorder.assembly import Append, Begin, End, FragmentRefusedError, Hole
from recorder.evidence import stored
from recorder.peers import PeerLostError
from recorder.slots import TRACK_IDS
from recorder.source import link

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from recorder.assembly import Action
    from recorder.clock import Clock
    from recorder.evidence import records
    from recorder.opened import Session
    from recorder.slots import Slot
    from recorder.spool.spool import Spool
    from recorder.streamlog import StreamLog

log = logging.getLogger(__name__)

PENDING_LARGEST_BYTES: Final = 32 << 20
"""More than this is not held while init segments are awaited."""
AHEAD_NS: Final = 60_000_000_000
"""A fragment that ends so much later than now has a wrong time; its track could never go on behind it."""


class Writing:
    """Writes the media of one stream's sessions. Every method may raise :class:`DiskFullError`: there is no room."""

    def __init__(self, number: int, spool: Spool, clock: Clock, stream_log: StreamLog) -> None:
        self.size_bytes = 0
        """Media written since the recorder started."""
        self._number = number
        self._spool = spool
        self._clock = clock
        self._log = stream_log

    def init(self, session: Session, slot: Slot, message: link.Init, payload: bytes) -> None:
        """Take the init segment of a source's new run.

        Raises:
            PeerLostError: it cannot be part of the recording; its source is to be replaced.
        """
        self.release_of(session, slot)
        allowed = {track: TRACK_IDS[track] for track in slot.wanted(session.mode)}
        with _refusing(session, slot):
            self._run(session, session.assembler.init(slot.name, message.instance, payload, allowed))
        slot.has_init = True

    def fragment(self, session: Session, slot: Slot, message: link.Fragment, payload: bytes) -> None:
        """Write a fragment and acknowledge it; hold it while init segments are awaited.

        Raises:
            PeerLostError: it cannot be part of the recording; its source is to be replaced.
        """
        if session.gather_until_ns is None:
            self._write(session, slot, message, payload)
            return
        session.pending.append((slot, message, payload))
        if sum(len(waiting) for _, _, waiting in session.pending) > PENDING_LARGEST_BYTES:
            self.release(session)

    def release(self, session: Session) -> None:
        """Init segments are awaited no longer: write what was held."""
        session.gather_until_ns = None
        pending, session.pending = session.pending, []
        refused: set[str] = set()
        for slot, message, payload in pending:
            if slot.name in refused:
                continue
            try:
                self._write(session, slot, message, payload)
            except PeerLostError as error:
                refused.add(slot.name)
                slot.kill()
                log.warning("%s", error)

    def release_of(self, session: Session, slot: Slot) -> None:
        """The run of a source is over: what waits of it is written before another one begins."""
        if any(one is slot for one, _, _ in session.pending):
            self.release(session)

    def finish(self, session: Session) -> None:
        """No more comes for now: write what was held, and sign the chunk that is being written."""
        self.release(session)
        self._run(session, session.assembler.finish())

    def cut(self, session: Session) -> None:
        """There is no room for media: sign what is on the disk of the chunk that is being written."""
        if session.file is not None:
            session.file.finish()
            if self._spool.sign_chunk(session.file) is not None:
                session.chunks += 1
            session.file = None

    def sign_gaps(self, session: Session, gaps: Sequence[records.Gap]) -> None:
        """Sign gaps, and what else is due."""
        session.due += gaps
        self.sign_due(session)

    def sign_due(self, session: Session) -> None:
        """Sign what is known and not signed yet."""
        if session.due:
            self._log.sign(session.id, list(session.due))
            session.due = []

    def _write(self, session: Session, slot: Slot, message: link.Fragment, payload: bytes) -> None:
        held = session.sources.get(slot.name)
        if held is not None and held[0] == message.instance and message.number <= held[1]:
            slot.send(link.Ack(instance=message.instance, number=held[1]))
            return  # sent again after a lost acknowledgement
        with _refusing(session, slot):
            actions = session.assembler.fragment(
                slot.name,
                message.instance,
                message.number,
                message.tracks,
                payload,
                latest_ns=self._clock.boottime_ns() - session.zero_boottime_ns + AHEAD_NS,
            )
            self._run(session, actions)
        session.sources[slot.name] = (message.instance, message.number)
        slot.flows = True
        slot.send(link.Ack(instance=message.instance, number=message.number))

    def _run(self, session: Session, actions: list[Action]) -> None:
        zero = session.zero_boottime_ns
        holes = {one.track: (zero + one.start_ns, zero + one.end_ns) for one in actions if isinstance(one, Hole)}
        gaps = session.gaps.over(holes)
        for action in actions:
            if isinstance(action, Begin):
                # Before the media behind the hole: a crash between the two must not leave a hole that nobody signed.
                self.sign_gaps(session, gaps)
                gaps = []
                session.file = self._spool.begin_chunk(self._number, session.id, session.epoch, action.init)
            elif isinstance(action, Append):
                assert session.file is not None  # noqa: S101 - begun before
                session.file.append(stored.encode_account(action.account), action.fragment)
                self.size_bytes += len(action.fragment)
                session.end_boottime_ns = max(session.end_boottime_ns, action.account.end_boottime_ns)
                session.gaps.flows([track for track in action.tracks if track not in holes])
            elif isinstance(action, End):
                assert session.file is not None  # noqa: S101
                session.file.finish()
                self._spool.sign_chunk(session.file, action.account, action.init_sha256)
                session.file = None
                session.chunks += 1
        self.sign_gaps(session, gaps)


@contextmanager
def _refusing(session: Session, slot: Slot) -> Iterator[None]:
    """What cannot be part of the recording costs its source; why is remembered for the gap that it leaves."""
    try:
        yield
    except FragmentRefusedError as error:
        session.lost(slot, str(error))
        raise PeerLostError(str(error)) from error
