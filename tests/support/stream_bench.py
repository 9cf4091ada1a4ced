"""One stream of a recorder in this process: a real spool, real sockets, and a clock that a test moves."""

from __future__ import annotations

import socket
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from recorder.config import SourceSection, StreamSection
from recorder.peers import PeerLostError, SourcePeer
from recorder.source import link
from recorder.stream import StreamRecorder
from tests.support.clock import FakeClock
from tests.support.source_end import SourceEnd
from tests.support.spools import CAMERA, Site

if TYPE_CHECKING:
    from recorder.evidence.records import Record
    from recorder.slots import Slot
    from recorder.spool.spool import Spool

SECTION = StreamSection(
    name="camera",
    sources={
        "camera": SourceSection(kind="synthetic", tracks=["video"]),
        "microphone": SourceSection(kind="synthetic", tracks=["audio"]),
    },
)
TRACK = {"camera": "video", "microphone": "audio"}


@dataclass
class Line:
    """A source and the recorder's end of its connection."""

    far: SourceEnd
    peer: SourcePeer
    slot: Slot


@dataclass
class StreamBench:
    """Sources connect, say something, and the stream takes it when the test says so."""

    site: Site
    clock: FakeClock = field(default_factory=FakeClock)
    pre_event_ns: int = 0

    def __post_init__(self) -> None:
        self.start()

    def start(self) -> None:
        """Open the spool (again), as a start of the recorder does."""
        self.spool: Spool = self.site.open(self.clock)
        self.stream = StreamRecorder(1, SECTION, self.spool, self.clock, bytes(32), self.pre_event_ns)
        for chunk in list(self.spool.recovered):
            self.spool.sign_recovered(chunk)
        for found in self.spool.open_sessions():
            self.stream.recover(found)

    def connect(self, source: str, **hello: object) -> Line:
        near, far = socket.socketpair()
        end = SourceEnd(far, source, TRACK[source])
        fields = {"stream": "camera", "source": source, "pid": 1, "tracks": [end.track], "software": "test"}
        peer = SourcePeer(near)
        slot = self.stream.connected(peer, link.Hello(**fields, **hello))  # type: ignore[arg-type]
        return Line(end, peer, slot)

    def take(self, *lines: Line) -> None:
        """Let the stream take what the sources have sent."""
        for line in lines:
            for message, payload in line.peer.receive():
                self.stream.received(line.slot, message, payload)

    def take_and_lose(self, line: Line) -> str | None:
        """As the daemon does with a source whose messages are refused; return why."""
        try:
            self.take(line)
        except PeerLostError as error:
            line.peer.kill()
            self.stream.lost(line.slot, str(error))
            return str(error)
        return None

    def records(self) -> list[Record]:
        return self.site.records(self.spool.log_id(CAMERA))

    def bodies(self, form: type) -> list:
        return [record.body for record in self.records() if isinstance(record.body, form)]


class Tongue:
    """A voice that keeps what it is to say: (text, session that it is about where that is over)."""

    def __init__(self) -> None:
        self.said: list[tuple[str, bytes | None]] = []
        self.cues: list[str] = []

    def say(self, _stream: StreamRecorder, text: str, _arguments: dict[str, str] | None = None) -> None:
        self.said.append((text, None))

    def say_after(
        self, _stream: StreamRecorder, session: bytes, text: str, _arguments: dict[str, str] | None = None
    ) -> None:
        self.said.append((text, session))

    def cue(self, _stream: StreamRecorder, text: str, _arguments: dict[str, str] | None = None) -> None:
        self.cues.append(text)

    def set_quiet(self, _stream: StreamRecorder, *, quiet: bool) -> None:
        """Nothing sounds."""
