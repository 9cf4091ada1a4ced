"""Wires the panel: obeys :mod:`recorder.panel.presses`, between the panel's socket and the rules of a session.

Whatever the panel does, recording goes on; nothing here waits for it. A press that has been taken is acknowledged when
what it asked for is on the disk, or has been refused and the officer was told.
"""

from __future__ import annotations

import contextlib
import logging
import socket
from typing import TYPE_CHECKING, Final

import msgspec

from recorder.control import RefusedError
from recorder.evidence import records
from recorder.panel.lights import cue_rhythm
from recorder.panel.messages import (
    SHOW_AT_LEAST_NS,
    Acknowledged,
    Cue,
    FromRecorder,
    PanelError,
    Press,
    Show,
    encode,
    from_panel,
)
from recorder.panel.presses import Act, Memory, Presses
from recorder.session import State
from recorder.spool.errors import DiskFullError
from recorder.spool.reader import LogReader

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from recorder.clock import Clock
    from recorder.conduct import Conduct
    from recorder.spool.spool import Spool

log = logging.getLogger(__name__)

FILE_NAME: Final = "panel.taken"
UNSUITABLE_REASON: Final = "other_unsuitable"
"""A button cannot say which reason it is. The officer says it aloud, on the recording, and it is classified later."""
LOOK_BACK: Final = 64
_READ_SIZE_BYTES: Final = 16 << 10
_MAX_FILE_SIZE_BYTES: Final = 4 << 10


class FrontPanel:
    """Buttons and lights of one stream."""

    def __init__(
        self,
        conduct: Conduct,
        spool: Spool,
        clock: Clock,
        run_folder: Path,
        ready: Callable[[], None],
        again: Callable[[], object],
    ) -> None:
        """Make one.

        Args:
            conduct: The sessions that the buttons are for.
            spool: Where faults are signed into, and markers are looked up.
            clock: Boot-time.
            run_folder: Where it is remembered which presses have been taken.
            ready: Raises ``RefusedError`` where nothing can be recorded now.
            again: Announces once more; raises ``RefusedError`` where it cannot.
        """
        self.conduct = conduct
        self._spool = spool
        self._clock = clock
        self._path = run_folder / FILE_NAME
        self._ready = ready
        self._again = again
        self._presses = Presses(self._remembered(), self._keep)
        self._connection: socket.socket | None = None
        self._lines = from_panel()
        self._shown: Show | None = None
        self._show_due_ns = 0
        self._stuck = False

    @property
    def present(self) -> bool:
        """Whether a panel is connected."""
        return self._connection is not None

    # -- the panel's connection ----------------------------------------------------------------------------------

    def accept(self, connection: socket.socket) -> None:
        """Take a new panel; the one before it is closed when the loop reads from it next."""
        self._hang_up()
        connection.setblocking(False)
        self._connection, self._lines, self._show_due_ns = connection, from_panel(), 0
        log.info("the panel is connected")

    def receive(self, connection: socket.socket, *, take: bool = True) -> bool:
        """Take what the panel says; return False when its connection is to be closed.

        Args:
            connection: Where something has come.
            take: Whether presses are taken; what is not, is told again to the next recorder.

        Raises:
            DiskFullError: there was no room for what was pressed.
        """
        if connection is not self._connection:
            return False
        try:
            data = connection.recv(_READ_SIZE_BYTES)
            presses = self._lines.feed(data)
        except BlockingIOError:
            return True
        except (OSError, PanelError) as error:
            log.warning("the panel: %s", error)
            self._connection = None
            return False
        if not data:
            log.warning("the panel closed the connection")
            self._connection = None
            return False
        for press in presses if take else ():
            self._take(press)
        return self._connection is connection

    def _take(self, press: Press) -> None:
        session = self.conduct.stream.session
        zero_ns = session.zero_boottime_ns if session is not None else 0
        act = self._presses.begin(press, self.conduct.state, zero_ns, self._clock.boottime_ns(), self._is_marked)
        try:
            if act is not None:
                log.info("panel: %s: %s", press.gesture, act.value)
                self._do(act, press)
        except RefusedError as error:
            log.warning("panel: %s was refused: %s", press.gesture, error)
            self._send(Cue(rhythm="refused"))
            if error.code == "storage":
                self.conduct.cue("cue.storage.full")
        except DiskFullError:
            self._send(Cue(rhythm="refused"))
            raise
        finally:
            if press.number:
                self._presses.done(press)
                instance, number = self._presses.newest
                self._send(Acknowledged(instance=instance, number=number))

    def _do(self, act: Act, press: Press) -> None:
        if act is Act.STUCK:
            self._stuck = True
            self._spool.append(0, None, [records.Fault(code="button_stuck")])
            return
        if act is Act.GUIDE:
            self._guide(press.gesture)
            return
        self._stuck = False
        if act is Act.PRESS:
            self._ready()
            self.conduct.press("button", press.push_boottime_ns)
        elif act is Act.AGAIN:
            self._again()
        elif act is Act.END:
            # The hold is the statement that the work on site is over: so the card says.
            self.conduct.end("done", statement=True, by="button")
        elif act is Act.UNSUITABLE:
            self.conduct.unsuitable(UNSUITABLE_REASON)
        else:
            self._send(Cue(rhythm="refused"))

    def _guide(self, gesture: str) -> None:
        if gesture == "holding" and self.conduct.state is State.RECORDING:
            self.conduct.cue("cue.hold.end")
        else:
            self._send(Cue(rhythm=gesture))

    # -- what is shown -------------------------------------------------------------------------------------------

    def cued(self, text: str) -> None:
        """The officer is told something: here by a rhythm."""
        self._send(Cue(rhythm=cue_rhythm(text)))

    def warn(self) -> None:
        """Tell the officer that something is amiss, where there are no words for it."""
        self._send(Cue(rhythm="warning"))

    def show(self, state: str, *, battery_minutes: int | None, storage_minutes: int | None, fault: bool) -> None:
        """Say what is to be shown; it is sent when it has changed, and now and then."""
        quiet = self.conduct.agency.duty(self.conduct.matter).quiet
        show = Show(
            # Its reason is being spoken, and recorded: to an officer that is an end which a press still takes back.
            state="closing" if self.conduct.state is State.LEAVING else state,
            quiet=quiet,
            battery_minutes=battery_minutes,
            storage_minutes=storage_minutes,
            fault=fault or self._stuck,
        )
        now_ns = self._clock.boottime_ns()
        if show != self._shown or now_ns >= self._show_due_ns:
            self._shown, self._show_due_ns = show, now_ns + SHOW_AT_LEAST_NS * 3 // 4
            self._send(show)

    def _send(self, message: FromRecorder) -> None:
        if self._connection is None:
            return
        data = encode(message)
        try:
            whole = self._connection.send(data) == len(data)
        except OSError:
            whole = False
        if not whole:
            log.warning("the panel does not read what it is sent")
            self._hang_up()

    def _hang_up(self) -> None:
        """End the connection; the loop reads its end and closes it."""
        if self._connection is not None:
            with contextlib.suppress(OSError):
                self._connection.shutdown(socket.SHUT_RDWR)
            self._connection = None

    # -- what has been taken -------------------------------------------------------------------------------------

    def _remembered(self) -> Memory:
        boot = self._clock.now().boot.hex()
        try:
            with self._path.open("rb") as file:
                memory = msgspec.json.decode(file.read(_MAX_FILE_SIZE_BYTES), type=Memory)
        except FileNotFoundError:
            return Memory(boot=boot)
        except (OSError, msgspec.DecodeError, ValueError) as error:
            log.warning("%s cannot be used: %s", self._path, error)
            return Memory(boot=boot)
        return memory if memory.boot == boot else Memory(boot=boot)

    def _keep(self, memory: Memory) -> None:
        fresh = self._path.with_suffix(".new")
        with contextlib.suppress(OSError):  # a run folder without room must not keep a press from being obeyed
            fresh.write_bytes(msgspec.json.encode(memory))
            fresh.replace(self._path)

    def _is_marked(self, at_ns: int) -> bool:
        """Tell whether the recorder before this one had signed a marker of that moment before it ended."""
        number = self.conduct.stream.number
        log_id = self._spool.log_id(number)
        reader = LogReader(self._spool.layout.log(log_id), log_id)
        head, _ = self._spool.head(number)
        found = (reader.find(sequence) for sequence in range(head, max(head - LOOK_BACK, -1), -1))
        bodies = (entry.record.body for entry in found if entry is not None)
        return any(isinstance(body, records.Marker) and body.at_boottime_ns == at_ns for body in bodies)
