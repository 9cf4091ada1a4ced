"""The process of one source: device thread on one side, recorder on the other, one loop between them.

The loop never waits for either. A device that hangs in the kernel takes only its own thread with it: the process ends
by :func:`os._exit`, and whoever supervises it starts another. A recorder that is gone is looked for twice a second,
while fragments are kept.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import secrets
import select
import signal
import socket
import threading
from collections import deque
from typing import TYPE_CHECKING, Any, Final

from recorder.source import link, scanner
from recorder.source.driver import Sample, boottime_ns, nanoseconds
from recorder.source.errors import DeviceError, LinkError, SourceError
from recorder.source.hush import Hush
from recorder.source.instance import Instance
from recorder.source.intake import Code, Discarded, Failed, Intake, Photo
from recorder.source.past import Past
from recorder.source.probe import Probing
from recorder.source.sight import Watcher
from recorder.source.vigil import Vigil

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from recorder.config import SourceSection
    from recorder.source.driver import Driver, Format

log = logging.getLogger(__name__)

EXIT_FAILED: Final = 75
"""The device failed; start the source anew (sysexits: EX_TEMPFAIL)."""
ORPHANED_NS: Final = 60_000_000_000
"""A source that the recorder started ends by itself after so long without one."""
RECONNECT_NS: Final = 500_000_000
FLUSH_NS: Final = 2_000_000_000
"""At the end, so long for the recorder to take what is left."""
ALIVE_NS: Final = 2_500_000_000
"""Without a fragment for so long (a key frame may be awaited), the recorder is told that the source lives."""
_REPORT_NS: Final = 60_000_000_000
_TICK_S: Final = 0.25
"""The loop looks at the clock so often, where neither frames nor the recorder wake it."""
_READ_SIZE_BYTES: Final = 64 << 10
_SEND_BUFFER_SIZE_BYTES: Final = 1 << 20
_MAX_UNSENT_SIZE_BYTES: Final = 1 << 20
_MAX_WAITING_EVENTS: Final = 64


def lock(path: Path) -> None:
    """Take the flock file that keeps a second process of the same source out; it is held until the process ends.

    Raises:
        SourceError: another process has it, or the run folder cannot be written.
    """
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    except OSError as error:
        raise SourceError(f"{path}: cannot be opened: {error.strerror}") from error
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(fd)
        raise SourceError(f"{path.stem} is running already; end it first") from error


class Connection:
    """A non-blocking connection to the recorder."""

    def __init__(self, path: Path) -> None:
        """Connect.

        Raises:
            OSError: nobody listens.
        """
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self.socket.connect(str(path))
        except OSError:
            self.socket.close()
            raise
        # Room for a fragment, so that it passes in one piece.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_SIZE_BYTES)
        self.socket.setblocking(False)
        self.welcomed = False
        self.unsent = bytearray()
        self._decoder = link.Decoder()

    def receive(self) -> list[tuple[link.Message, bytes]]:
        """Return what has come.

        Raises:
            LinkError: the recorder is gone, or sent what is not a message.
        """
        try:
            data = self.socket.recv(_READ_SIZE_BYTES)
        except BlockingIOError:
            return []
        except OSError as error:
            raise LinkError(f"the recorder is gone: {error.strerror}") from error
        if not data:
            raise LinkError("the recorder is gone")
        return self._decoder.feed(data)

    def flush(self) -> None:
        """Send what the socket takes.

        Raises:
            LinkError: the recorder is gone.
        """
        while self.unsent:
            try:
                sent = self.socket.send(self.unsent)
            except BlockingIOError:
                return
            except OSError as error:
                raise LinkError(f"the recorder is gone: {error.strerror}") from error
            del self.unsent[:sent]

    def say_no_more(self) -> None:
        """Let the recorder read to the end; it closes then."""
        with contextlib.suppress(OSError):  # it is gone already
            self.socket.shutdown(socket.SHUT_WR)


class Runner:
    """Runs one source until its device fails, the recorder stays away, or it is told to end."""

    def __init__(
        self, stream: str, source: str, section: SourceSection, run_folder: Path, driver: Driver, software: str
    ) -> None:
        self._name = f"{stream}/{source}"
        self._section = section
        self._path = run_folder / "source.sock"
        self._driver = driver
        self._intake = Intake()
        self._past = Past()
        self._hush = Hush()
        if driver.pictures is not None and "video" in section.tracks:
            driver.pictures.add(Watcher(self._intake))
        self._impaired: dict[str, link.Event] = {}
        """What lasts, by its code: a recorder that connects is told of it again."""
        self._hello = link.Hello(
            stream=stream,
            source=source,
            pid=os.getpid(),
            tracks=section.tracks,
            software=software,
            codes=scanner.attach(section, driver, self._intake.shown),
        )
        self._formats: dict[str, Format] | None = None
        self._connection: Connection | None = None
        self._instance: Instance | None = None
        self._start: link.Start | None = None
        self._events: deque[tuple[link.Message, bytes]] = deque(maxlen=_MAX_WAITING_EVENTS)
        now = boottime_ns()
        self._vigil = Vigil(list(section.tracks), round(section.stall_after_s * 1e9), now)
        self._without_recorder_since_ns = now
        self._next_connect_ns = now
        self._last_sent_ns = now
        self._corrected = 0
        self._next_report_ns = 0
        self._probing: Probing | None = None
        self._exit: int | None = None
        self._last_words: link.Event | None = None
        """Why the device failed: told after the last fragment, since what comes after it is what is missing."""
        self._orders: dict[type, Callable[[Any], None]] = {
            link.Welcome: self._welcome,
            link.Start: self._started,
            link.Stop: self._stop,
            link.Ack: self._acknowledged,
            link.Take: self._take_photo,
            link.Probe: self._probe,
        }

    def run(self) -> int:
        """Run; return the exit code. The caller must leave by :func:`os._exit`, since the device thread may hang."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._end(0))
        thread = threading.Thread(target=self._capture, name="device", daemon=True)
        thread.start()
        log.info("source %s: running, pid %d", self._name, os.getpid())
        while self._exit is None:
            self._wait()
            self._take()
            self._look()
            self._send()
        self._finish()
        log.info("source %s: ends with code %d", self._name, self._exit)
        return self._exit

    def _capture(self) -> None:
        try:
            self._driver.run(self._intake)
        except DeviceError as error:
            self._intake.failed(error.cause, str(error))
        except Exception as error:  # whatever a driver raises means the same: replace it
            log.exception("source %s: the driver failed", self._name)
            self._intake.failed(self._driver.cause, f"{type(error).__name__}: {error}")
        else:
            self._intake.failed(self._driver.cause, "the device has no more to give")

    def _end(self, code: int) -> None:
        if self._exit is None:
            self._exit = code

    # -- the loop ------------------------------------------------------------------------------------------------

    def _wait(self, *, intake: bool = True) -> None:
        readers: list[Any] = [self._intake.fileno] if intake else []
        writers: list[Any] = []
        connection = self._connection
        if connection is not None:
            readers.append(connection.socket)
            if connection.unsent:
                writers.append(connection.socket)
        readable, _, _ = select.select(readers, writers, [], _TICK_S)
        if connection is not None and connection.socket in readable:
            try:
                messages = connection.receive()
            except LinkError as error:
                self._lost(error)
                return
            for message, payload in messages:
                if isinstance(message, link.Listen):
                    self._listen(message, payload)
                    continue
                order = self._orders.get(type(message))
                if order is None:
                    self._lost(LinkError(f"the recorder sent a {type(message).__name__}"))
                    return
                order(message)

    def _take(self) -> None:
        now = boottime_ns()
        for item in self._intake.take():
            if isinstance(item, Sample):
                if self._vigil.seen(item.track, now):
                    self._event("restored", [item.track], self._cause(item.track), "frames come again")
                self._listen_to(item)
                self._put(item)
            elif isinstance(item, Discarded):
                self._discarded(item)
            elif isinstance(item, link.Event):
                if item.event == "hole":
                    self._cut(item.tracks)
                self._tell(item)
            elif isinstance(item, link.Heard | link.NotTaken):
                self._events.append((item, b""))
            elif isinstance(item, Code | Photo):
                self._events.append((item[0], item[1]))
            elif isinstance(item, Failed):
                self._fail("failed", self._section.tracks, item.cause, item.detail)
            else:
                self._formats_known(item)

    def _listen_to(self, sample: Sample) -> None:
        peak = sample.peak if sample.level is None else sample.level.peak
        if peak is None or self._formats is None:
            return
        at_ns = nanoseconds(sample.presentation, self._formats[sample.track].timescale)
        change = self._hush.put(at_ns, peak)
        if change is not None:
            event = "impaired" if change.begins else "unimpaired"
            self._tell(_make_event(event, [sample.track], change.code, change.detail, at_ns=change.at_ns))

    def _put(self, sample: Sample) -> None:
        if self._probing is not None:
            self._probing.put(sample)
        if self._instance is None:
            if self._start is None:
                self._past.put(sample)
            return
        try:
            self._instance.put(sample)
        except SourceError as error:
            self._fail("failed", [sample.track], self._cause(sample.track), str(error))

    def _discarded(self, lost: Discarded) -> None:
        self._cut([lost.track])
        self._event("discarded", [lost.track], "overload", "no room in the queue", lost.frames)
        if self._instance is not None:
            self._instance.discard(lost.track, "overload", lost.frames)

    def _cut(self, tracks: list[str]) -> None:
        """What came before a hole is sent before the event that tells of it."""
        if self._instance is not None:
            for track in tracks:
                self._instance.cut(track)
            self._send()

    def _look(self) -> None:
        """Look at the clock."""
        now = boottime_ns()
        if self._instance is not None:
            self._instance.tick(now)
            if now >= self._next_report_ns and self._instance.corrected > self._corrected:
                self._next_report_ns = now + _REPORT_NS
                self._report_corrections(self._instance)
        if self._probing is not None and (answer := self._probing.answer(now)) is not None:
            self._events.append((answer, b""))
            self._probing = None
        for stall in self._vigil.stalls(now):
            detail = f"no frame for {stall.silent_ns // 1_000_000} ms"
            tell = self._fail if stall.fatal else self._event
            tell("stalled", [stall.track], self._cause(stall.track), detail)
        if self._connection is None:
            if self._section.spawn and now - self._without_recorder_since_ns > ORPHANED_NS:
                log.warning("source %s: no recorder for %d s", self._name, ORPHANED_NS // 1_000_000_000)
                self._end(0)
            if now >= self._next_connect_ns:
                self._next_connect_ns = now + RECONNECT_NS
                self._connect()
        elif self._instance is not None and not self._instance.finished and now - self._last_sent_ns > ALIVE_NS:
            self._last_sent_ns = now
            self._event("waiting", list(self._instance.formats), self._driver.cause, "no whole fragment yet")

    def _report_corrections(self, instance: Instance) -> None:
        count = instance.corrected - self._corrected
        self._corrected = instance.corrected
        detail = "times that did not grow were moved on"
        self._event("timestamps", list(instance.formats), self._driver.cause, detail, count)

    # -- the recorder --------------------------------------------------------------------------------------------

    def _connect(self) -> None:
        try:
            self._connection = Connection(self._path)
        except OSError as error:
            log.debug("source %s: no recorder at %s: %s", self._name, self._path, error.strerror)
            return
        hello = self._hello if self._instance is None else self._instance.hello(self._hello)
        self._connection.unsent += link.encode(hello)
        log.info("source %s: connected to the recorder", self._name)
        self._send()

    def _lost(self, error: LinkError) -> None:
        if self._connection is not None:
            self._connection.socket.close()
        self._connection = None
        self._start = None
        self._without_recorder_since_ns = boottime_ns()
        kept = 0
        if self._instance is not None:
            self._instance.connection_lost()
            kept = self._instance.kept_size_bytes
        if self._exit is None:
            log.warning("source %s: %s; %d bytes are kept for it", self._name, error, kept)

    def _welcome(self, message: link.Welcome) -> None:
        assert self._connection is not None  # noqa: S101 - it came from there
        self._connection.welcomed = True
        self._past.keep_ns = message.keep_ns
        waiting = [event for event, _ in self._events]
        self._events.extend((event, b"") for event in self._impaired.values() if event not in waiting)
        instance = self._instance
        if instance is not None and message.instance == instance.id and message.next is not None:
            log.info("source %s: goes on with fragment %d", self._name, message.next)
            instance.resume(message.next)
        else:
            self._instance = None

    def _started(self, message: link.Start) -> None:
        self._start = message
        self._instance = None
        if not message.past_ns:
            self._past.forget()
        self._intake.ask_key_frame()
        if self._formats is not None:
            self._begin()

    def _formats_known(self, formats: dict[str, Format]) -> None:
        self._formats = formats
        for track in self._section.tracks:
            if track not in formats:
                self._vigil.without(track)
                self._event("failed", [track], self._cause(track), "the device does not deliver this track")
        if self._start is not None:
            self._begin()

    def _begin(self) -> None:
        assert self._start is not None  # noqa: S101 - the callers know both
        assert self._formats is not None  # noqa: S101
        try:
            instance = Instance(secrets.token_bytes(link.ID_SIZE_BYTES), self._start, self._formats)
        except SourceError as error:
            self._fail("failed", self._section.tracks, self._driver.cause, str(error))
            return
        if not instance.formats:
            return
        self._instance = instance
        self._corrected = 0
        for sample in self._past.take(self._start.zero_boottime_ns):
            self._put(sample)
        log.info(
            "source %s: session %s begins, instance %s, %s",
            self._name,
            self._start.session.hex()[:8],
            instance.id.hex()[:8],
            ", ".join(f"{track} {form.codec}" for track, form in instance.formats.items()),
        )

    def _stop(self, message: link.Stop) -> None:
        self._start = None
        self._past.forget()
        self._past.keep_ns = message.keep_ns
        instance = self._instance
        if instance is not None and instance.session == message.session:
            instance.finish()
            log.info(
                "source %s: session %s ends, %d fragments",
                self._name,
                message.session.hex()[:8],
                instance.next_number,
            )

    def _acknowledged(self, message: link.Ack) -> None:
        instance = self._instance
        if instance is not None and message.instance == instance.id:
            instance.acknowledge(message.number)
            if instance.done:
                self._instance = None

    def _listen(self, message: link.Listen, payload: bytes) -> None:
        if self._driver.ear is None:
            log.warning("source %s: told to listen, but has no uncoded sound", self._name)
            return
        self._driver.ear.order(message, payload)

    def _take_photo(self, message: link.Take) -> None:
        if self._formats is None or "video" not in self._formats:
            self._intake.no_photo(message.number, "there is no picture yet")
        else:
            self._intake.ask_photo(message.number)

    def _probe(self, message: link.Probe) -> None:
        self._probing = Probing(message, boottime_ns())

    def _event(self, event: str, tracks: list[str], cause: str, detail: str, count: int = 1) -> None:
        self._tell(_make_event(event, tracks, cause, detail, count))

    def _tell(self, event: link.Event) -> None:
        tracks = "+".join(event.tracks)
        log.warning("source %s: %s of %s (%s): %s", self._name, event.event, tracks, event.cause, event.detail)
        self._events.append((event, b""))
        if event.event in ("impaired", "unwatched"):
            self._impaired[event.cause] = event
        elif event.event == "unimpaired":
            self._impaired.pop(event.cause, None)

    def _fail(self, event: str, tracks: list[str], cause: str, detail: str) -> None:
        """This process is to be replaced; the first reason counts."""
        self._last_words = self._last_words or _make_event(event, tracks, cause, detail)
        self._end(EXIT_FAILED)

    def _cause(self, track: str) -> str:
        return "microphone" if track == "audio" else self._driver.cause

    def _send(self) -> None:
        connection = self._connection
        if connection is None:
            return
        try:
            if connection.welcomed:
                # Fragments first: an event tells of what is missing after them.
                if self._instance is not None and len(connection.unsent) < _MAX_UNSENT_SIZE_BYTES:
                    for data in self._instance.outgoing():
                        connection.unsent += data
                        self._last_sent_ns = boottime_ns()
                        if len(connection.unsent) >= _MAX_UNSENT_SIZE_BYTES:
                            break
                while self._events:
                    connection.unsent += link.encode(*self._events.popleft())
            connection.flush()
        except LinkError as error:
            self._lost(error)

    def _finish(self) -> None:
        """Give the recorder what is left, for a while."""
        self._intake.stop()
        if self._instance is not None:
            self._instance.finish()
        if self._last_words is not None:
            self._tell(self._last_words)
        until = boottime_ns() + FLUSH_NS
        said_all = False
        while boottime_ns() < until and self._connection is not None:
            self._send()
            connection = self._connection
            if connection is not None and not (said_all or connection.unsent or self._events or self._instance):
                # The recorder closes when it has read all; whoever leaves earlier may take the last words along.
                said_all = True
                connection.say_no_more()
            self._wait(intake=False)


def _make_event(
    event: str, tracks: list[str], cause: str, detail: str, count: int = 1, at_ns: int | None = None
) -> link.Event:
    return link.Event(
        event=event,
        tracks=tracks,
        cause=cause,
        detail=link.short(detail),
        boottime_ns=boottime_ns() if at_ns is None else max(at_ns, 0),
        count=count,
    )
