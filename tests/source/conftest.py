from __future__ import annotations

import os
import secrets
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from recorder.evidence.boxes import Run, TrackInit, parse_fragment, parse_init
from recorder.source import link

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

TRACK_IDS = {"video": 1, "audio": 2}


class FakeRecorder:
    """The recorder's end of the link, for one source: it takes everything, and acknowledges when told to."""

    def __init__(self, run: Path) -> None:
        self.path = run / "source.sock"
        self.session = secrets.token_bytes(16)
        # The session began a moment ago: a served file with B-frames is ahead of itself; before zero nothing counts.
        self.zero_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME) - 1_000_000_000
        self.acknowledge = True
        self.hellos: list[link.Hello] = []
        self.inits: list[tuple[link.Init, bytes]] = []
        self.fragments: list[tuple[link.Fragment, bytes, int]] = []
        self.events: list[link.Event] = []
        self.ended: list[link.Ended] = []
        self.heard: list[link.Heard] = []
        self.photos: list[tuple[link.Taken, bytes]] = []
        self.not_taken: list[link.NotTaken] = []
        self.probed: list[link.Probed] = []
        self.shown: list[tuple[link.Shown, bytes]] = []
        self._server: socket.socket | None = None
        self._peer: socket.socket | None = None
        self._decoder = link.Decoder()
        self.listen()

    def listen(self) -> None:
        self.path.unlink(missing_ok=True)
        self._server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._server.bind(str(self.path))
        self._server.listen(4)

    def accept(self, deadline_s: float = 15) -> link.Hello:
        """Wait for a source and its hello."""
        assert self._server is not None
        self._server.settimeout(deadline_s)
        self._peer, _ = self._server.accept()
        self._decoder = link.Decoder()
        count = len(self.hellos)
        self.until(lambda: len(self.hellos) > count, deadline_s)
        return self.hellos[-1]

    def start(self, tracks: tuple[str, ...] = ("video", "audio"), wait_ms: int = 1000) -> None:
        self.send(link.Welcome())
        self.begin(tracks, wait_ms)

    def begin(self, tracks: tuple[str, ...] = ("video", "audio"), wait_ms: int = 1000) -> None:
        ids = {track: TRACK_IDS[track] for track in tracks}
        self.send(link.Start(session=self.session, zero_boottime_ns=self.zero_ns, track_ids=ids, wait_ms=wait_ms))

    def send(self, message: link.Message, payload: bytes = b"") -> None:
        assert self._peer is not None
        self._peer.sendall(link.encode(message, payload))

    def vanish(self) -> None:
        """Die as a killed recorder does: the sockets close."""
        for one in (self._peer, self._server):
            if one is not None:
                one.close()
        self._peer = self._server = None

    def until(self, done: Callable[[], object], deadline_s: float = 30) -> None:
        """Take messages until ``done()`` is true."""
        assert self._peer is not None
        end = time.monotonic() + deadline_s
        while not done():
            left = end - time.monotonic()
            if left <= 0:
                raise TimeoutError(
                    f"waited {deadline_s} s: {len(self.fragments)} fragments, {[one.event for one in self.events]}"
                )
            self._peer.settimeout(left)
            try:
                data = self._peer.recv(1 << 16)
            except TimeoutError:
                continue
            if not data:
                self._peer.close()
                if done():
                    return
                raise ConnectionError("the source closed the connection")
            for message, payload in self._decoder.feed(data):
                self._take(message, payload)

    def until_gone(self, deadline_s: float = 30) -> None:
        """Take messages until the source closes the connection."""
        try:
            self.until(lambda: False, deadline_s)
        except ConnectionError:
            return

    def _take(self, message: link.Message, payload: bytes) -> None:
        if isinstance(message, link.Hello):
            self.hellos.append(message)
        elif isinstance(message, link.Init):
            self.inits.append((message, payload))
        elif isinstance(message, link.Fragment):
            self.fragments.append((message, payload, time.clock_gettime_ns(time.CLOCK_BOOTTIME)))
            if self.acknowledge:
                self.send(link.Ack(instance=message.instance, number=message.number))
        elif isinstance(message, link.Event):
            self.events.append(message)
        elif isinstance(message, link.Ended):
            self.ended.append(message)
        elif isinstance(message, link.Heard):
            self.heard.append(message)
        elif isinstance(message, link.Taken):
            self.photos.append((message, payload))
        elif isinstance(message, link.NotTaken):
            self.not_taken.append(message)
        elif isinstance(message, link.Probed):
            self.probed.append(message)
        elif isinstance(message, link.Shown):
            self.shown.append((message, payload))

    @property
    def tracks(self) -> dict[int, TrackInit]:
        return parse_init(self.inits[-1][1])

    def runs(self, track_id: int, instance: bytes | None = None) -> list[tuple[Run, bytes]]:
        return [
            (run, payload)
            for message, payload, _ in self.fragments
            if instance is None or message.instance == instance
            for run in parse_fragment(payload, self.tracks)
            if run.track_id == track_id
        ]

    def samples(self, track_id: int, instance: bytes | None = None) -> list[tuple[float, bytes, bool]]:
        """(presentation time in seconds, bytes, key) of every sample."""
        scale = self.tracks[track_id].timescale
        return [
            (
                (sample.decode + sample.composition_offset) / scale,
                payload[sample.offset : sample.offset + sample.size_bytes],
                sample.sync,
            )
            for run, payload in self.runs(track_id, instance)
            for sample in run.samples
        ]

    def told(self) -> list[tuple[str, list[str], str]]:
        """The events, without those that only say that the source lives."""
        return [(one.event, one.tracks, one.cause) for one in self.events if one.event != "waiting"]

    def film(self) -> bytes:
        return self.inits[-1][1] + b"".join(payload for _, payload, _ in self.fragments)

    def total(self, track: str, field: str) -> int:
        return sum(
            getattr(message.tracks[track], field) or 0 for message, _, _ in self.fragments if track in message.tracks
        )

    def discarded(self, track: str) -> dict[str, int]:
        result: dict[str, int] = {}
        for message, _, _ in self.fragments:
            if track in message.tracks:
                for reason, count in message.tracks[track].discarded.items():
                    result[reason] = result.get(reason, 0) + count
        return result


class Device:
    """A configuration with one stream and one source, and the processes started for it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.run = folder / "run"
        self.run.mkdir()
        self.config = folder / "device.toml"
        self.processes: list[subprocess.Popen[bytes]] = []
        self.environment: dict[str, str] = {}

    def configure(self, **source: object) -> None:
        settings = {"kind": "synthetic", "tracks": ["video", "audio"], **source}
        lines = [f"{key} = {_toml(value)}" for key, value in settings.items()]
        self.config.write_text(
            f"""[device]
id = "test-1"
spool = "{self.folder}/spool"
run = "{self.run}"
[keys]
signing = "file:{self.folder}/signing.key"
certificate = "{self.folder}/signing.der"
authority = ["{self.folder}/authority.crt"]
[[streams]]
name = "one"
[streams.sources.camera]
"""
            + "\n".join(lines)
            + "\n",
            encoding="utf-8",
        )

    def spawn(self) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, "-m", "recorder.cli", "source", "--config", str(self.config), "one", "camera"],
            env=os.environ | self.environment,
            stderr=subprocess.PIPE,
        )
        self.processes.append(process)
        return process

    def close(self) -> None:
        for process in self.processes:
            if process.poll() is None:
                process.kill()
            process.wait()
            if process.stderr is not None:
                print(process.stderr.read().decode(errors="replace"))
                process.stderr.close()


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, dict):
        return "{ " + ", ".join(f'{key} = "{item}"' for key, item in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    return str(value)


@pytest.fixture
def device(tmp_path: Path) -> Iterator[Device]:
    one = Device(tmp_path)
    yield one
    one.close()


@pytest.fixture
def recorder(device: Device) -> Iterator[FakeRecorder]:
    one = FakeRecorder(device.run)
    yield one
    one.vanish()
