"""The far end of a source's connection, in the hands of a test: it says what a test wants, true or not."""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING, TypeVar

from recorder.source import link
from recorder.source.link import Counts, TrackForm
from tests.support import media

if TYPE_CHECKING:
    from pathlib import Path

M = TypeVar("M", bound=link.Message)
FORMS = {"video": TrackForm(codec="h264", timescale=90000), "audio": TrackForm(codec="aac", timescale=48000)}
_CONNECT = """
import socket, sys
connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
connection.connect(sys.argv[1])
with socket.socket(fileno=int(sys.argv[2])) as parent:
    socket.send_fds(parent, [b"x"], [connection.fileno()])
"""


class SourceEnd:
    """One connection; real init segments and fragments, 0.5 s each, of one track."""

    def __init__(self, connection: socket.socket, source: str, track: str, stream: str = "camera") -> None:
        self.socket = connection
        self.socket.settimeout(10)
        self.source, self.track, self.stream = source, track, stream
        self.instance = secrets.token_bytes(16)
        self.session = bytes(16)
        self.number = 0
        self.seen: list[link.Message] = []
        self._decoder = link.Decoder()
        make = media.video if track == "video" else media.audio
        self.init, self.fragments = make(seconds=12)

    @classmethod
    def dial(cls, run: Path, source: str, track: str, stream: str = "camera", **hello: object) -> SourceEnd:
        """Connect to a recorder and say hello.

        A recorder kills the process behind a connection that it ends; so a process connects that is gone by then.
        """
        here, there = socket.socketpair()
        with here, there:
            command = [sys.executable, "-c", _CONNECT, str(run / "source.sock"), str(there.fileno())]
            subprocess.run(command, check=True, pass_fds=[there.fileno()])
            _, (descriptor,), _, _ = socket.recv_fds(here, 1, 1)
        end = cls(socket.socket(fileno=descriptor), source, track, stream)
        end.hello(**hello)
        return end

    def send(self, message: link.Message, payload: bytes = b"") -> None:
        self.socket.sendall(link.encode(message, payload))

    def hello(self, **more: object) -> None:
        fields = {"stream": self.stream, "source": self.source, "pid": os.getpid(), "tracks": [self.track]}
        self.send(link.Hello(**fields, software="test", **more))  # type: ignore[arg-type]

    def expect(self, form: type[M], timeout_s: float = 10.0) -> M:
        """Return the next message of a form; others are kept in :attr:`seen`."""
        deadline = time.monotonic() + timeout_s
        self.socket.settimeout(timeout_s)
        while time.monotonic() < deadline:
            for at, message in enumerate(self.seen):
                if isinstance(message, form):
                    del self.seen[at]
                    return message
            data = self.socket.recv(65536)
            assert data, f"the recorder closed the connection before a {form.__name__}"
            self.seen += [message for message, _ in self._decoder.feed(data)]
        raise AssertionError(f"no {form.__name__} in {timeout_s} s")

    def begin(self) -> None:
        """Await the start, then send the init segment of a new instance."""
        self.session = self.expect(link.Start).session
        self.instance, self.number = secrets.token_bytes(16), 0
        self.send_init()

    def send_init(self) -> None:
        tracks = {self.track: FORMS[self.track]}
        self.send(link.Init(instance=self.instance, session=self.session, tracks=tracks), self.init)

    def fragment(self, counts: Counts | None = None, at: int | None = None) -> int:
        """Send the next fragment; return its number."""
        number = self.number
        data = self.fragments[number if at is None else at]
        tracks = {self.track: counts or Counts(received=1)}
        self.send(link.Fragment(instance=self.instance, number=number, key=True, tracks=tracks), data)
        self.number += 1
        return number

    def event(self, **fields: object) -> None:
        usual: dict[str, object] = {"event": "stalled", "tracks": [self.track], "cause": "camera", "boottime_ns": 1}
        self.send(link.Event(**(usual | fields)))  # type: ignore[arg-type]

    def ended(self) -> None:
        self.send(link.Ended(instance=self.instance, session=self.session, next=self.number))

    def close(self) -> None:
        self.socket.close()
