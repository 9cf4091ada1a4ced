"""A thin, unreliable link on loopback: a TCP proxy that lets through so many bytes a second, and cuts.

One pair of threads a connection. Each direction is paced in small steps and reads no more than it may pass on, with
small kernel buffers, so that what the sender sees is what a slow line would show it.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from dataclasses import dataclass, field

STEP_S = 0.01
BUFFER_SIZE_BYTES = 8 << 10


@dataclass
class Direction:
    """What passed in one direction."""

    bytes_per_s: float | None
    passed_size_bytes: int = 0
    _free_at_s: float = 0.0

    def wait_for_room(self, size: int) -> None:
        """Wait as long as a line of this rate takes for ``size`` bytes."""
        if self.bytes_per_s is not None:
            now = time.monotonic()
            # A late wake-up may be caught up with, a pause of the sender may not.
            self._free_at_s = max(now - 2 * STEP_S, self._free_at_s) + size / self.bytes_per_s
            time.sleep(max(0.0, self._free_at_s - now))
        self.passed_size_bytes += size

    @property
    def step_size_bytes(self) -> int:
        """How much is passed on at a time."""
        return 256 << 10 if self.bytes_per_s is None else max(256, int(self.bytes_per_s * STEP_S))


@dataclass
class ThinLink:
    """A proxy from ``port`` to ``target_port``, both on 127.0.0.1."""

    target_port: int
    bytes_per_s: float | None = None
    """Both ways; None: as fast as it goes."""
    cut_every_s: float | None = None
    """All connections are cut so often, without a goodbye."""
    connections: int = 0
    up: Direction = field(init=False)
    down: Direction = field(init=False)

    def __post_init__(self) -> None:
        self.up = Direction(self.bytes_per_s)
        self.down = Direction(self.bytes_per_s)
        self._buffer_size_bytes = max(BUFFER_SIZE_BYTES, int((self.bytes_per_s or 0) * 4 * STEP_S))
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        # Small before the connection is made: the window that the sender sees is set then.
        if self.bytes_per_s is not None:
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self._buffer_size_bytes)
        self.port = int(self._listener.getsockname()[1])
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        if self.cut_every_s is not None:
            self._threads.append(threading.Thread(target=self._cutting, daemon=True))
        for thread in self._threads:
            thread.start()

    def _accept(self) -> None:
        while not self._stop.is_set():
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            try:
                far = socket.create_connection(("127.0.0.1", self.target_port), 5)
            except OSError:
                near.close()
                continue
            for end in (near, far):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                if self.bytes_per_s is not None:
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, self._buffer_size_bytes)
            with self._lock:
                self._pairs.append((near, far))
                self.connections += 1
            for source, sink, direction in ((near, far, self.up), (far, near, self.down)):
                threading.Thread(target=self._carry, args=(source, sink, direction), daemon=True).start()

    def _carry(self, source: socket.socket, sink: socket.socket, direction: Direction) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(direction.step_size_bytes):
                direction.wait_for_room(len(data))
                sink.sendall(data)
        self._end(source, sink)

    def _end(self, *ends: socket.socket) -> None:
        for end in ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def _cutting(self) -> None:
        assert self.cut_every_s is not None
        while not self._stop.wait(self.cut_every_s):
            self.cut()

    def cut(self) -> None:
        """End all connections now, as a lost line would after its timeouts."""
        with self._lock:
            pairs, self._pairs = self._pairs, []
        for near, far in pairs:
            self._end(near, far)

    def close(self) -> None:
        """End everything."""
        self._stop.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()
        for thread in self._threads:
            thread.join(5)
