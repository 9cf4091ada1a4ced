"""The process of the panel: buttons to the recorder, and what the recorder shows to lights, buzzer and vibration.

It needs the pins and the recorder's socket, nothing else. If it dies, recording goes on; if the recorder dies, the
panel shows a fault and keeps what is pressed.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import socket
from collections import deque
from typing import TYPE_CHECKING, Final

from recorder.panel import lights
from recorder.panel.board import OUTPUTS, Board
from recorder.panel.grammar import GUIDING, MS_NS, Gesture, Grammar
from recorder.panel.messages import (
    SHOW_AT_LEAST_NS,
    SOCKET_NAME,
    Acknowledged,
    Cue,
    FromPanel,
    PanelError,
    Show,
    encode,
    from_recorder,
)
from recorder.source.driver import boottime_ns

if TYPE_CHECKING:
    from pathlib import Path

    from recorder.config import PanelSection
    from recorder.panel.outbox import Outbox

log = logging.getLogger(__name__)

RECONNECT_NS: Final = 100_000_000
SILENT_NS: Final = 3 * SHOW_AT_LEAST_NS
"""A recorder that says nothing for so long hangs: it is given up, and sought anew."""
ORPHANED_NS: Final = 600_000_000_000
"""A panel that the recorder started ends by itself after so long without one."""
BETWEEN_RHYTHMS_NS: Final = 250_000_000
MAX_RHYTHMS: Final = 3
"""More are not waiting to be played: they would come too late to be understood."""
_READ_SIZE_BYTES: Final = 16 << 10


class PanelProcess:
    """Serves one recorder after the other."""

    def __init__(self, section: PanelSection, run_folder: Path, outbox: Outbox) -> None:
        """Take the pins.

        Raises:
            PanelError: they cannot be had.
        """
        self._section = section
        self._path = run_folder / SOCKET_NAME
        self._outbox = outbox
        self._grammar = Grammar(section.bounce_ms * MS_NS)
        self._edges: deque[tuple[str, bool, int]] = deque()
        self._waked, self._waker = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._connection: socket.socket | None = None
        self._lines = from_recorder()
        self._seek_ns = 0
        self._heard_ns = boottime_ns()
        self._show: Show | None = None
        self._state: str | None = None
        """The state shown last, kept over a recorder's absence."""
        self._lights = lights.shown(None)
        self._lit_since_ns = boottime_ns()
        self._rhythms: deque[str] = deque()
        self._playing: tuple[lights.Pattern, int] | None = None
        """The rhythm that is played, and since when."""
        self._on: dict[str, bool] = {}
        self.board = Board(section, self._changed)
        now = boottime_ns()
        for name in self.board.down:
            self._done(self._grammar.down_at_start(name, now))

    def run(self) -> None:
        """Run until there is no recorder for a while, or forever where systemd keeps the panel."""
        while not self._section.spawn or boottime_ns() - self._heard_ns < ORPHANED_NS:
            self.step()

    def step(self) -> None:
        """Wait for whatever comes next, and do what is due."""
        now = boottime_ns()
        files: list[int | socket.socket] = [self._waked]
        if self._connection is not None:
            files.append(self._connection)
        ready, _, _ = select.select(files, [], [], max(0, self._due_ns(now) - now) / 1e9)
        if self._waked in ready:
            with contextlib.suppress(BlockingIOError):
                os.read(self._waked, 4096)
        now = boottime_ns()
        while self._edges:
            self._done(self._grammar.edge(*self._edges.popleft()))
        self._done(self._grammar.advance(now))
        if self._connection is not None and self._connection in ready:
            self._receive()
        self._look_after(boottime_ns())
        self._play(boottime_ns())

    def close(self) -> None:
        """Give everything back."""
        self._hang_up()
        self.board.close()
        os.close(self._waked)
        os.close(self._waker)

    # -- buttons -------------------------------------------------------------------------------------------------

    def _changed(self, button: str, down: bool, at_ns: int) -> None:
        """Take an edge, in a thread of the GPIO library."""
        self._edges.append((button, down, at_ns))
        with contextlib.suppress(BlockingIOError, OSError):  # full: the loop is awake; closed: it has ended
            os.write(self._waker, b"\0")

    def _done(self, gestures: list[Gesture]) -> None:
        for gesture in gestures:
            log.info("panel: %s", gesture.kind)
            press = self._outbox.passing(gesture) if gesture.kind in GUIDING else self._outbox.put(gesture)
            if press is not None and self._connection is not None:
                self._send(press)

    # -- the recorder --------------------------------------------------------------------------------------------

    def _look_after(self, now_ns: int) -> None:
        """Seek a recorder, or give up one that hangs."""
        if self._connection is not None:
            if now_ns - self._heard_ns > SILENT_NS:
                log.warning("panel: the recorder is silent")
                self._hang_up()
            return
        if self._state is not None and now_ns - self._heard_ns > SILENT_NS:
            self._turned("fault")
        if now_ns < self._seek_ns:
            return
        self._seek_ns = now_ns + RECONNECT_NS
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.connect(str(self._path))
        except OSError:
            connection.close()
            return
        connection.setblocking(False)
        log.info("panel: connected to the recorder")
        self._connection, self._lines, self._heard_ns = connection, from_recorder(), now_ns
        for press in self._outbox.waiting:
            self._send(press)

    def _send(self, press: FromPanel) -> None:
        if self._connection is None:
            return
        data = encode(press)
        try:
            whole = self._connection.send(data) == len(data)
        except OSError:
            whole = False
        if not whole:
            self._hang_up()  # what has not been acknowledged is sent again to the next one

    def _receive(self) -> None:
        if self._connection is None:
            return
        try:
            data = self._connection.recv(_READ_SIZE_BYTES)
            messages = self._lines.feed(data)
        except (OSError, PanelError) as error:
            log.warning("panel: %s", error)
            self._hang_up()
            return
        if not data:
            self._hang_up()
            return
        self._heard_ns = boottime_ns()
        for message in messages:
            if isinstance(message, Acknowledged):
                self._outbox.acknowledged(message.instance, message.number)
            elif isinstance(message, Show):
                self._shown(message)
            elif isinstance(message, Cue):
                self._rhythm(message.rhythm)

    def _hang_up(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
            self._show = None
            self._light()

    # -- what is shown -------------------------------------------------------------------------------------------

    def _shown(self, show: Show) -> None:
        if self._show is None or self._show.state != show.state:
            log.info("panel: shows %s", show.state)
        before, self._show = self._show, show
        self._turned(show.state)
        if show.fault and before is not None and not before.fault:
            self._rhythm("warning")
        self._light()

    def _turned(self, state: str) -> None:
        """The state is another one: what matters of that is told by a rhythm."""
        rhythm = lights.rhythm_of(self._state, state)
        self._state = state
        if rhythm is not None:
            self._rhythm(rhythm)

    def _light(self) -> None:
        fresh = lights.shown(self._show)
        if fresh != self._lights:
            self._lights, self._lit_since_ns = fresh, boottime_ns()

    def _rhythm(self, name: str) -> None:
        if name in lights.RHYTHMS and len(self._rhythms) < MAX_RHYTHMS:
            self._rhythms.append(name)

    def _play(self, now_ns: int) -> None:
        if self._playing is not None:
            rhythm, since_ns = self._playing
            if now_ns - since_ns >= lights.length_ns(rhythm) + BETWEEN_RHYTHMS_NS:
                self._playing = None
        if self._playing is None and self._rhythms:
            self._playing = lights.RHYTHMS[self._rhythms.popleft()], now_ns
        beat = None
        if self._playing is not None:
            rhythm, since_ns = self._playing
            elapsed_ns = now_ns - since_ns
            beat = elapsed_ns < lights.length_ns(rhythm) and lights.is_lit(rhythm, elapsed_ns)
        for name in OUTPUTS:
            self._switch(name, self._wanted(name, beat, now_ns))

    def _wanted(self, name: str, beat: bool | None, now_ns: int) -> bool:
        if name == "vibration":
            return bool(beat)
        if name == "buzzer":
            return bool(beat) and not (self._show is not None and self._show.quiet)
        if name == "yellow" and beat is not None:
            return beat  # for those who feel and hear nothing of it
        return lights.is_lit(getattr(self._lights, name), now_ns - self._lit_since_ns)

    def _switch(self, name: str, on: bool) -> None:
        if self._on.get(name) != on:
            self._on[name] = on
            self.board.set(name, on)

    def _due_ns(self, now_ns: int) -> int:
        """Return when there is something to do if nothing comes."""
        due = [self._heard_ns + SILENT_NS + 1 if self._connection is not None else self._seek_ns]
        if self._grammar.due_ns is not None:
            due.append(self._grammar.due_ns)
        for pattern in self._lights:
            after_ns = lights.change_after_ns(pattern, now_ns - self._lit_since_ns)
            if after_ns is not None:
                due.append(now_ns + after_ns)
        if self._playing is not None:
            rhythm, since_ns = self._playing
            elapsed_ns, length_ns = now_ns - since_ns, lights.length_ns(rhythm)
            due.append(since_ns + (length_ns if elapsed_ns < length_ns else length_ns + BETWEEN_RHYTHMS_NS))
            after_ns = lights.change_after_ns(rhythm, elapsed_ns) if elapsed_ns < length_ns else None
            if after_ns is not None:
                due.append(now_ns + after_ns)
        elif self._rhythms:
            due.append(now_ns)
        return min(due)
