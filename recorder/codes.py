"""Makes check codes beside the loop: each is stretched in a process of its own, one at a time.

Stretching takes 64 MiB and, on a Pi, most of a second. A thread would let the recorder grow to three times its size
for as long, and where memory is short it would be the recorder that is killed for it. The child holds no key, is the
first to be killed, and its memory is gone when it has answered. It needs no socket: the loop looks every tick.
"""

from __future__ import annotations

import logging
import subprocess
import sys
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from recorder.control import RefusedError
from recorder.evidence.checkcode import DIGITS, CheckCode, make

if TYPE_CHECKING:
    from collections.abc import Callable

    from recorder.clock import Clock

log = logging.getLogger(__name__)

LONGEST_NS: Final = 10_000_000_000
"""A child that has not answered by then never will."""
MAX_WAITING: Final = 8
_FIRST_TO_DIE: Final = "1000"
"""``oom_score_adj`` of the child."""


@dataclass(slots=True)
class _Job:
    log: bytes
    number: int
    sha256: bytes
    done: list[Callable[[CheckCode | None], None]] = field(default_factory=list)


class CodeMaker:
    """Makes the codes that one recorder is asked for."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._waiting: deque[_Job] = deque()
        self._child: subprocess.Popen[bytes] | None = None
        self._due_ns = 0

    def ask(self, log_id: bytes, number: int, record_sha256: bytes, done: Callable[[CheckCode | None], None]) -> None:
        """Let the code of a record be made; ``done`` gets it from :meth:`tick`, or None where that failed.

        Raises:
            RefusedError: too many are asked for already.
        """
        if sum(len(job.done) for job in self._waiting) >= MAX_WAITING:
            raise RefusedError("busy", "核验码正在计算，请稍候再试。", "Check codes are being made; ask again soon.")
        for job in self._waiting:
            if (job.log, job.number) == (log_id, number):
                job.done.append(done)
                return
        self._waiting.append(_Job(log_id, number, record_sha256, [done]))

    def tick(self) -> None:
        """Look after the child: take its answer, begin the next."""
        if self._child is not None:
            code = self._child.poll()
            if code is None:
                if self._clock.boottime_ns() < self._due_ns:
                    return
                self._child.kill()
            self._finish(self._child)
        if self._child is None and self._waiting:
            self._begin(self._waiting[0])

    def stop(self) -> None:
        """End the child; what was asked for is not answered any more."""
        self._waiting.clear()
        if self._child is not None:
            self._child.kill()
            self._child.communicate()
            self._child = None

    def _begin(self, job: _Job) -> None:
        command = [sys.executable, "-m", "recorder.codes", job.log.hex(), str(job.number), job.sha256.hex()]
        try:
            self._child = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            )
        except OSError as error:
            log.warning("the check code of record %d cannot be made: %s", job.number, error.strerror)
            self._answer(None)
            return
        self._due_ns = self._clock.boottime_ns() + LONGEST_NS

    def _finish(self, child: subprocess.Popen[bytes]) -> None:
        said = child.communicate()[0].decode(errors="replace").strip()
        self._child = None
        if child.returncode == 0 and len(said) == DIGITS and said.isdecimal():
            self._answer(said)
            return
        log.warning("the check code of record %d was not made: code %d", self._waiting[0].number, child.returncode)
        self._answer(None)

    def _answer(self, digits: str | None) -> None:
        job = self._waiting.popleft()
        for done in job.done:
            done(CheckCode(job.number, digits) if digits is not None else None)


def _main(log_id: str, number: str, record_sha256: str) -> None:
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(_FIRST_TO_DIE, encoding="ascii")
    sys.stdout.write(make(bytes.fromhex(log_id), int(number), bytes.fromhex(record_sha256)).digits)


if __name__ == "__main__":
    _main(*sys.argv[1:4])
