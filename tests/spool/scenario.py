"""A recorder's life in a process of its own, killed at the n-th time that it comes to a named step.

It says on standard output what it has promised to others, each line only after the promise holds: ``record`` (sequence
and hash), ``fragment`` (chunk and count), ``receipt`` (sequence). The test holds the disk against these lines.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from recorder.config import SpoolSection
from recorder.evidence import stored
from recorder.spool import steps
from tests.support.spools import (
    CAMERA,
    EPOCH,
    INIT,
    FakeClock,
    Site,
    account,
    close_session,
    fragment,
    open_session,
)

SETTINGS = SpoolSection(reserve_size_mib=1, restore_window_hours=0.0)
CHUNKS = 4
FRAGMENTS = 3


def say(line: str) -> None:
    os.write(1, f"{line}\n".encode())


def kill_at(name: str, occurrence: int) -> None:
    left = occurrence

    def hook(step: str) -> None:
        nonlocal left
        if step == name:
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    steps.hook = hook


def live(site: Site) -> None:
    clock = FakeClock()
    spool = site.open(clock)
    for chunk in list(spool.recovered):
        record = spool.sign_recovered(chunk)
        say(f"record {CAMERA} {record.sequence} {record.sha256.hex()}")
    for found in spool.open_sessions():
        close_session(spool, found.session, found.opened.sequence, found.chunks)
    session = open_session(spool)
    open_sequence = spool.head(CAMERA)[0] - 1
    for number in range(CHUNKS):
        clock.advance(2)
        file = spool.begin_chunk(CAMERA, session, EPOCH, INIT)
        for index in range(FRAGMENTS):
            file.append(stored.encode_account(account(number, index + 1)), fragment(number, index))
            say(f"fragment {session.hex()} {number} {index + 1}")
        file.finish()
        record = spool.sign_chunk(file)
        assert record is not None
        say(f"record {CAMERA} {record.sequence} {record.sha256.hex()}")
        if number % 2 == 0:
            site.deliver(
                site.media_receipt(record, clock.utc_ns),
                site.records_receipt(record, record.log, clock.utc_ns),
            )
            spool.take_receipts()
            say(f"receipt {record.sequence}")
            clock.advance(1)
            spool.collect_garbage()
    close = close_session(spool, session, open_sequence, CHUNKS)
    say(f"record {CAMERA} {close.sequence} {close.sha256.hex()}")
    spool.close()


if __name__ == "__main__":
    kill_at(sys.argv[2], int(sys.argv[3]))
    live(Site.load(Path(sys.argv[1]), SETTINGS))
