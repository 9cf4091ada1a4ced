"""A device's spool with a real log, real signatures and real files, made without a camera."""

from __future__ import annotations

import hashlib
import os
import socket
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from keys import cose
from keys.certificates import load_der
from keys.signer import Signer, open_signer
from recorder.config import DeviceConfig, load
from recorder.evidence import records
from recorder.evidence.records import Body, Chunk, Clock, Genesis, Marker, Record, SessionClose, SessionOpen, Track
from recorder.spool.layout import Layout
from recorder.spool.logfile import LogFile

if TYPE_CHECKING:
    from pathlib import Path

DEVICE = "test-0001"
BOOT = bytes(range(16))
EPOCH = bytes(16)
TRACK = Track(codec="h264", timescale=90_000, first_decode=0, end_decode=180_000, frames_received=50, frames_written=50)


def write_config(folder: Path, keys: Path, broker_port: int, run: Path, device: str = DEVICE) -> Path:
    """Write a device's configuration."""
    own = keys / "devices" / device
    path = folder / "device.toml"
    path.write_text(
        f"""
[device]
id = "{device}"
spool = "{folder / "spool"}"
run = "{run}"

[keys]
signing = "file:{own / "signing.key"}"
certificate = "{own / "signing.crt"}"
authority = ["{keys / "authority.crt"}"]

[[streams]]
name = "counter"
sources.camera = {{ kind = "synthetic", tracks = ["video"] }}

[uplink]
broker = "localhost:{broker_port}"
key = "{own / "transport.key"}"
certificate = "{own / "transport.crt"}"
broker_authority = "{keys / "authority.crt"}"
state = "{folder / "uplink"}"
keepalive_s = 10
"""
    )
    load(path, DeviceConfig)
    return path


@dataclass
class LogBuilder:
    """Writes one log and its media as a recorder does: file, then record, then mark."""

    root: Path
    keys: Path
    device: str = DEVICE
    stream: int = 1
    log: bytes = field(default_factory=lambda: os.urandom(16))
    clock: str = "synchronised"
    boot: bytes = BOOT
    utc_offset_ns: int = 0
    wake: Path | None = None

    def __post_init__(self) -> None:
        own = self.keys / "devices" / self.device
        self.certificate = load_der(own / "signing.crt")
        self.signer: Signer = open_signer(f"file:{own / 'signing.key'}", self.certificate)
        self.layout = Layout(self.root)
        self.layout.make()
        self.file = LogFile.create(self.layout.log(self.log), records.MAX_RECORD_SIZE_BYTES)
        self.head = records.ZERO_HASH
        self.next_sequence = 0
        self.next_media = 0
        self.session: bytes | None = None
        self.written_s: dict[int, float] = {}
        self.files: dict[int, bytes] = {}
        """Sequence of the record to stored digest."""
        self.media_numbers: dict[int, int] = {}
        self.open_sequence = 0
        self.add(
            Genesis(
                certificate_sha256=hashlib.sha256(self.certificate).digest(),
                stream_name="counter",
                origin="self-started",
                software="test",
            )
        )

    def add(self, *bodies: Body) -> list[Record]:
        """Sign and append records; when it returns, they are durable."""
        made = []
        for body in bodies:
            payload = records.encode_payload(
                device=self.device,
                log=self.log,
                stream=self.stream,
                sequence=self.next_sequence,
                previous_sha256=self.head,
                session=self.session,
                utc_ns=time.time_ns() + self.utc_offset_ns,
                boottime_ns=time.clock_gettime_ns(time.CLOCK_BOOTTIME),
                boot=self.boot,
                clock=self.clock,
                body=body,
            )
            made.append(records.parse(cose.sign(payload, self.signer)))
            assert made[-1].problem is None, made[-1].problem
            self.head = made[-1].sha256
            self.next_sequence += 1
        self.file.append([record.message for record in made])
        for record in made:
            self.written_s[record.sequence] = time.monotonic()
        if self.wake is not None:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.sendto(b"", str(self.wake))
        return made

    def open_session(self) -> bytes:
        self.session = os.urandom(16)
        self.open_sequence = self.add(
            SessionOpen(
                mode="video",
                zero_boottime_ns=0,
                policy_sha256=bytes(32),
                device_head_sequence=0,
                device_head_sha256=bytes(32),
                trigger="command",
            )
        )[0].sequence
        return self.session

    def close_session(self) -> None:
        self.add(
            SessionClose(
                reason="done",
                closed_by="command",
                open_sequence=self.open_sequence,
                chunks=0,
                end_boottime_ns=0,
                device_head_sequence=0,
                device_head_sha256=bytes(32),
            )
        )
        self.session = None

    def mark(self, marker: str) -> None:
        self.add(Marker(marker=marker, at_boottime_ns=1, basis="declared"))

    def bind_clock(self, utc_ns: int) -> None:
        self.add(Clock(source="ntp", bound_utc_ns=utc_ns, bound_boottime_ns=time.clock_gettime_ns(time.CLOCK_BOOTTIME)))

    def add_file(self, size_bytes: int) -> Record:
        """Write a file of random bytes and its record; the agent looks at neither form nor content."""
        data = os.urandom(size_bytes)
        folder = self.layout.media_folder(self.log)
        folder.mkdir(parents=True, exist_ok=True)
        media, self.next_media = self.next_media, self.next_media + 1
        self.layout.media_file(self.log, media).write_bytes(data)
        digest = hashlib.sha256(data).digest()
        record = self.add(
            Chunk(
                media=media,
                epoch=EPOCH,
                stored_sha256=digest,
                stored_size_bytes=size_bytes,
                content_sha256=hashlib.sha256(b"content" + digest).digest(),
                content_size_bytes=size_bytes,
                number=media,
                part=0,
                init_sha256=bytes(32),
                init_size_bytes=1,
                fragments=1,
                start_boottime_ns=0,
                end_boottime_ns=1,
                tracks={"video": TRACK},
            )
        )[0]
        self.files[record.sequence] = digest
        self.media_numbers[record.sequence] = media
        return record
