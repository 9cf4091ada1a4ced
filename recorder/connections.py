"""The recorder's sockets: who connects, what comes of it, and to whom it goes. Nothing here makes the loop wait."""

from __future__ import annotations

import logging
import selectors
from typing import TYPE_CHECKING, Final

from recorder.control import SOCKET_NAME, ControlPeer, RefusedError, refusal
from recorder.panel.messages import SOCKET_NAME as PANEL_SOCKET_NAME
from recorder.peers import PeerLostError, SourcePeer, accept, listen, listen_datagrams
from recorder.position.messages import SOCKET_NAME as POSITION_SOCKET_NAME
from recorder.requests import no_room
from recorder.source import link
from recorder.spool.errors import DiskFullError
from recorder.voice.messages import SOCKET_NAME as VOICE_SOCKET_NAME

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from recorder.daemon import Daemon
    from recorder.slots import Slot
    from recorder.stream import StreamRecorder

log = logging.getLogger(__name__)

SILENT_LONGEST_NS: Final = 5_000_000_000
"""A connection that has not said what it wants by then is closed."""
MAX_SILENT: Final = 16
"""Of more connections that have not said what they want, the oldest are closed."""


class Connections:
    """Everything that the recorder's loop waits for."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._selector = selectors.DefaultSelector()
        self._silent: dict[socket.socket, int] = {}
        """Connections that have not said what they want, oldest first, and since when."""

    def listen(self) -> None:
        """Make the sockets; from now on others can connect.

        Raises:
            RecorderError: one cannot be made.
        """
        daemon = self._daemon
        self._listen("source.sock", self._accept_source)
        self._listen(SOCKET_NAME, self._accept_control)
        if (speaker := daemon.speaker) is not None:
            self._serve(VOICE_SOCKET_NAME, speaker.accept, speaker.receive)
        if (whereabouts := daemon.whereabouts) is not None:
            self._serve(POSITION_SOCKET_NAME, whereabouts.accept, whereabouts.receive)
        if (panel := daemon.panel) is not None:
            # What is pressed while the device is being switched off is for the next recorder.
            self._serve(PANEL_SOCKET_NAME, panel.accept, lambda one: panel.receive(one, take=not daemon.told_to_stop))
        waking = listen_datagrams(daemon.run_folder / "wake.sock")
        self.watch(waking, lambda: self._waked(waking))

    def watch(self, connection: socket.socket, come: Callable[[], object]) -> None:
        """Call a function whenever something can be read."""
        self._selector.register(connection, selectors.EVENT_READ, come)

    def wait(self, longest_s: float) -> None:
        """Wait for something to come, and see to it."""
        for key, _ in self._selector.select(longest_s):
            key.data()

    def close_silent(self, now_ns: int) -> None:
        """Close connections that do not say what they want; not between two callbacks of the selector."""
        excess = len(self._silent) - MAX_SILENT
        for index, (connection, since_ns) in enumerate(list(self._silent.items())):
            if index < excess or now_ns - since_ns > SILENT_LONGEST_NS:
                self._forget(connection)

    def _forget(self, connection: socket.socket) -> None:
        self._silent.pop(connection, None)
        self._selector.unregister(connection)
        connection.close()

    def _listen(self, name: str, come: Callable[[socket.socket], None]) -> None:
        server = listen(self._daemon.run_folder / name)

        def accepted() -> None:
            connection = accept(server)
            if connection is not None:
                come(connection)

        self.watch(server, accepted)

    def _waked(self, waking: socket.socket) -> None:
        try:
            while True:
                waking.recv(64)
        except BlockingIOError:
            self._daemon.look_soon()

    # -- voice, position, panel: one connection each, the newest counts ------------------------------------------

    def _serve(
        self, name: str, take: Callable[[socket.socket], None], receive: Callable[[socket.socket], bool]
    ) -> None:
        """Let whoever wires a process take its connections, and what comes on them until it says that one is over."""

        def come(connection: socket.socket) -> None:
            self.watch(connection, lambda: self._daemon.careful(lambda: received(connection)))
            self._daemon.careful(lambda: take(connection))

        def received(connection: socket.socket) -> None:
            if not receive(connection):
                self._forget(connection)

        self._listen(name, come)

    # -- sources -------------------------------------------------------------------------------------------------

    def _accept_source(self, connection: socket.socket) -> None:
        peer = SourcePeer(connection)
        self._silent[connection] = self._daemon.clock.boottime_ns()
        self.watch(connection, lambda: self._greet(peer))

    def _greet(self, peer: SourcePeer) -> None:
        """The first message of a connection must say who it is."""
        try:
            messages = peer.receive()
            if not messages:
                return
            hello = _hello(messages[0][0])
            stream = self._stream_of(hello)
            slot = stream.connected(peer, hello)
        except PeerLostError as error:
            log.warning("%s: %s", peer.name, error)
            self._forget(peer.socket)
            return
        except DiskFullError as error:
            self._daemon.disk_full(str(error))
            self._forget(peer.socket)  # it connects anew
            return
        self._silent.pop(peer.socket, None)
        peer.name = f"source {hello.stream}/{hello.source}"
        self._selector.modify(peer.socket, selectors.EVENT_READ, lambda: self._source(stream, slot, peer))
        self._deliver(stream, slot, peer, messages[1:])

    def _stream_of(self, hello: link.Hello) -> StreamRecorder:
        stream = self._daemon.streams.get(hello.stream)
        if stream is None:
            raise PeerLostError(f"there is no stream {hello.stream!r}")
        return stream

    def _source(self, stream: StreamRecorder, slot: Slot, peer: SourcePeer) -> None:
        try:
            peer.flush()
            messages = peer.receive()
        except PeerLostError as error:
            self._lost(stream, slot, peer, str(error))
            return
        self._deliver(stream, slot, peer, messages)

    def _deliver(
        self, stream: StreamRecorder, slot: Slot, peer: SourcePeer, messages: list[tuple[link.Message, bytes]]
    ) -> None:
        try:
            for message, payload in messages:
                self._pass_on(stream, slot, message, payload)
        except PeerLostError as error:
            peer.kill()
            self._lost(stream, slot, peer, str(error))
        except DiskFullError as error:
            self._daemon.disk_full(str(error))

    def _pass_on(self, stream: StreamRecorder, slot: Slot, message: link.Message, payload: bytes) -> None:
        """Give a message to whom it is for: answers to whoever asked, everything else to the stream."""
        daemon = self._daemon
        conduct = daemon.conducts[stream.section.name]
        if isinstance(message, link.Heard):
            if daemon.speaker is not None:
                daemon.speaker.heard(message)
        elif isinstance(message, link.Taken):
            conduct.photos.taken(message, payload)
        elif isinstance(message, link.NotTaken):
            conduct.photos.not_taken(message)
        elif isinstance(message, link.Probed):
            daemon.health.probed(stream, slot, message)
        elif isinstance(message, link.Shown):
            daemon.lens.read(conduct, payload)
        else:
            stream.received(slot, message, payload)

    def _lost(self, stream: StreamRecorder, slot: Slot, peer: SourcePeer, why: str) -> None:
        self._forget(peer.socket)
        if slot.peer is peer:
            self._daemon.careful(lambda: stream.lost(slot, why))

    # -- commands ------------------------------------------------------------------------------------------------

    def _accept_control(self, connection: socket.socket) -> None:
        peer = ControlPeer(connection)
        self._silent[connection] = self._daemon.clock.boottime_ns()
        self.watch(connection, lambda: self._control(peer))

    def _control(self, peer: ControlPeer) -> None:
        try:
            request = peer.receive()
            if request is None:
                return
            answer = self._daemon.requests.answer(request, peer.answer)
        except RefusedError as error:
            answer = refusal(error)
        except DiskFullError as error:
            self._daemon.disk_full(str(error))
            answer = refusal(no_room())
        except EOFError:
            self._forget(peer.socket)
            return
        self._silent.pop(peer.socket, None)
        self._selector.unregister(peer.socket)
        if answer is not None:
            peer.answer(answer)


def _hello(message: link.Message) -> link.Hello:
    if not isinstance(message, link.Hello):
        raise PeerLostError("did not say who it is")
    return message
