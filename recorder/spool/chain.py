"""One log, as its only writer sees it: builds records, signs them, chains them, makes them durable."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

from keys import cose
from recorder.evidence import records
from recorder.evidence.records import ZERO_HASH
from recorder.spool.errors import DiskFullError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from keys.signer import Signer
    from recorder.clock import Clock
    from recorder.evidence.records import Body, Record
    from recorder.spool.keeper import IndexKeeper
    from recorder.spool.logfile import LogFile
    from recorder.spool.reserve import Reserve

_KINDS: Final = {body: kind for kind, body in records.KINDS.items()}


class LogWriter:
    """Appends records to one log.

    The head moves only when records are durable, so a sequence is used again only if nothing of its first use is on
    the disk.
    """

    def __init__(
        self,
        file: LogFile,
        *,
        device: str,
        log: bytes,
        stream: int,
        head: Record | None,
        signer: Signer,
        clock: Clock,
        keeper: IndexKeeper,
        reserve: Reserve,
    ) -> None:
        self.device = device
        self.log = log
        self.stream = stream
        self.file = file
        self.sequence = head.sequence if head else -1
        """Sequence of the newest record; -1 in an empty log."""
        self.sha256 = head.sha256 if head else ZERO_HASH
        """Hash of the newest record: ``prev`` of the next."""
        self._signer = signer
        self._clock = clock
        self._keeper = keeper
        self._reserve = reserve

    def append(self, session: bytes | None, bodies: Sequence[Body]) -> list[Record]:
        """Sign records and make them durable, all with one sync; return them.

        On a full disk the reserve is given up first.

        Raises:
            DiskFullError: not even the reserve was enough; nothing was appended.
            LogFormatError: a record is longer than 4 KiB; nothing was appended.
            SpoolFatalError: the disk failed; the process must end.
        """
        if not bodies:
            return []
        now = self._clock.now()
        made: list[Record] = []
        sequence, previous = self.sequence, self.sha256
        for body in bodies:
            sequence += 1
            payload = records.encode_payload(
                device=self.device,
                log=self.log,
                stream=self.stream,
                sequence=sequence,
                previous_sha256=previous,
                session=session,
                utc_ns=now.utc_ns,
                boottime_ns=now.boottime_ns,
                boot=now.boot,
                clock=now.quality,
                body=body,
            )
            message = cose.sign(payload, self._signer)
            record = records.Record(
                device=self.device,
                log=self.log,
                stream=self.stream,
                sequence=sequence,
                previous_sha256=previous,
                kind=_KINDS[type(body)],
                session=session,
                utc_ns=now.utc_ns,
                boottime_ns=now.boottime_ns,
                boot=now.boot,
                clock=now.quality,
                body=body,
                kid=self._signer.kid,
                message=message,
                sha256=hashlib.sha256(message).digest(),
            )
            previous = record.sha256
            made.append(record)
        messages = [record.message for record in made]
        try:
            frames = self.file.append(messages)
        except DiskFullError:
            if not self._reserve.held:
                raise
            self._reserve.release()
            frames = self.file.append(messages)
        self.sequence, self.sha256 = sequence, previous
        self._keeper.appended(self.log, list(zip(frames, made, strict=True)))
        return made
