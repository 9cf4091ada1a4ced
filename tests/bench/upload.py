"""From a full spool to the last signed receipt, against bare paho with the same bytes to a writer that syncs."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from keys.certificates import load_der
from keys.signer import open_signer
from recorder.assembly import Append, Assembler, Begin, End
from recorder.clock import SystemClock
from recorder.evidence import stored
from recorder.evidence.records import MediaKey, SessionClose, SessionOpen
from recorder.source.link import Counts
from recorder.spool.spool import Spool
from tests.bench import Row
from tests.bench.verifying import BASE_S, base_clips, later
from tests.support.commands import environment
from tests.support.site import Site

if TYPE_CHECKING:
    from recorder.assembly import Action

REPEATS = 5
FRAMES = 12
"""Frames of a fragment, about: the recorder counts for itself."""
INSTANCE = b"I" * 16
EPOCH = b"E" * 16
SESSION = b"U" * 16
TIMEOUT_S = 300


def run() -> list[Row]:
    """Fill the spool once; send it barely, then send it as a device does."""
    with tempfile.TemporaryDirectory(prefix="liuhen-bench-") as folder, Site(Path(folder) / "site") as site:
        files = fill(site)
        size = sum(path.stat().st_size for path in files)
        site.start_broker()
        bare_s = bare(site, files, size)
        site.central.start()
        site.start_recorder()
        began = time.monotonic()
        site.uplink.start()
        site.wait_for(lambda: site.ask("status")["unreceipted_files"] == 0, "all is receipted", TIMEOUT_S)
        value_s = time.monotonic() - began
        return [
            Row(
                "upload, spool to signed receipt, against bare paho",
                f"{size / value_s / 1e6:.0f} MB/s",
                f"{size / bare_s / 1e6:.0f} MB/s",
                bare_s / value_s,
                "≥ 0.8",
            )
        ]


def bare(site: Site, files: list[Path], size: int) -> float:
    """Return the seconds from the start of a bare sender until all is written and synced by a bare receiver."""
    out = site.folder / "bare"
    out.mkdir()
    module = [sys.executable, "-m", "tests.support.bare"]
    broker = site.broker
    receiver = subprocess.Popen(
        [*module, "receive", str(site.keys), str(broker.central_port), "store-1", site.device, str(out),
         str(files[0].stat().st_size), str(size)],
        stdout=subprocess.PIPE,
        env=environment(),
    )  # fmt: skip
    try:
        assert receiver.stdout is not None
        assert receiver.stdout.readline() == b"ready\n"
        began = time.monotonic()
        subprocess.run(
            [*module, "send", str(site.keys), str(broker.device_port), site.device, *map(str, files)],
            check=True,
            env=environment(),
            timeout=TIMEOUT_S,
        )
        receiver.wait(TIMEOUT_S)
        return time.monotonic() - began
    finally:
        receiver.kill()
        receiver.wait()


def fill(site: Site) -> list[Path]:
    """Record ``REPEATS`` times twenty seconds of noise into the spool of a device that is not running."""
    keys = site.keys / "devices" / site.device
    spool = Spool.open(
        site.spool,
        device=site.device,
        streams=["counter"],
        signer=open_signer(f"file:{keys / 'signing.key'}", load_der(keys / "signing.crt")),
        clock=SystemClock(),
        software="bench",
    )
    sequence, sha256 = spool.head(0)
    opened = SessionOpen(
        mode="video",
        zero_boottime_ns=0,
        policy_sha256=sha256,
        device_head_sequence=sequence,
        device_head_sha256=sha256,
        trigger="command",
    )
    spool.append(1, SESSION, [opened, MediaKey(epoch=EPOCH, sealing=stored.SEALING_NONE)])
    clips = base_clips()
    assembler = Assembler(0)
    actions = assembler.init("camera", INSTANCE, clips[0].init)
    fragments = [fragment for clip in clips for fragment in clip.fragments]
    for number in range(REPEATS * len(fragments)):
        repeat, place = divmod(number, len(fragments))
        fragment = later(fragments[place], repeat * BASE_S)
        counts = {"video": Counts(received=FRAMES, written=FRAMES)}
        actions += assembler.fragment("camera", INSTANCE, number, counts, fragment)
    files = write(spool, [*actions, *assembler.finish()])
    spool.append(
        1,
        SESSION,
        [
            SessionClose(
                reason="done",
                closed_by="command",
                open_sequence=2,
                chunks=len(files),
                end_boottime_ns=assembler.end_ns,
                device_head_sequence=sequence,
                device_head_sha256=sha256,
            )
        ],
    )
    spool.close()
    return files


def write(spool: Spool, actions: list[Action]) -> list[Path]:
    """Do what the assembler says; return the media files."""
    files: list[Path] = []
    file = None
    for action in actions:
        if isinstance(action, Begin):
            file = spool.begin_chunk(1, SESSION, EPOCH, action.init)
        elif isinstance(action, Append):
            assert file is not None
            file.append(stored.encode_account(action.account), action.fragment)
        elif isinstance(action, End):
            assert file is not None
            file.finish()
            spool.sign_chunk(file, action.account, action.init_sha256)
            files.append(spool.media_path(1, file.header.media))
    return files
