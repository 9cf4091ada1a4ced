"""The recorder process: one loop, one thread. It wires sockets to streams and streams to the spool.

A slow disk makes this loop wait, and nothing is lost by that: every source keeps ten seconds of what has not been
acknowledged. So there is no queue here, and no second writer.
"""

from __future__ import annotations

import hashlib
import logging
import selectors
import signal
import socket
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from recorder import lawful, notify
from recorder.battery import Battery, Exhausted
from recorder.clockwatch import ClockWatch
from recorder.conduct import Conduct, Teller
from recorder.control import SOCKET_NAME, ControlPeer, RefusedError, refusal, respond
from recorder.declare import Declarations
from recorder.evidence import policy as policies
from recorder.evidence import records
from recorder.frontpanel import FrontPanel
from recorder.health import Health
from recorder.issuers import Issuers
from recorder.lens import Lens
from recorder.panel.messages import SOCKET_NAME as PANEL_SOCKET_NAME
from recorder.peers import PeerLostError, SourcePeer, accept, listen, listen_datagrams, wake
from recorder.position.messages import SOCKET_NAME as POSITION_SOCKET_NAME
from recorder.recital import Recital
from recorder.session import State
from recorder.source import link
from recorder.speaker import Speaker
from recorder.spool.errors import DiskFullError
from recorder.status import state_of, status
from recorder.stream import StreamRecorder
from recorder.supervisor import Supervisor, panel_child, position_child, source_child, voice_child
from recorder.voice.messages import SOCKET_NAME as VOICE_SOCKET_NAME
from recorder.whereabouts import Whereabouts

if TYPE_CHECKING:
    from collections.abc import Callable

    from recorder.clock import Clock
    from recorder.config import DeviceConfig
    from recorder.evidence.details import SessionDetails
    from recorder.recital import Given
    from recorder.slots import Slot
    from recorder.spool.spool import Spool

log = logging.getLogger(__name__)

SOFTWARE: Final = "liuhen 0.1.0"
"""Name and version as signed into genesis and boot records."""
TICK_S: Final = 0.25
HEADS_RECORDING_NS: Final = 60_000_000_000
HEADS_IDLE_NS: Final = 3_600_000_000_000
LOOK_NS: Final = 2_000_000_000
"""How often the inbox and the garbage are looked after without being told."""
LOOK_SOONEST_NS: Final = 200_000_000
"""How often at most, however often it is told."""
SILENT_LONGEST_NS: Final = 5_000_000_000
"""A connection that has not said what it wants by then is closed."""
MAX_SILENT: Final = 16
"""Of more connections that have not said what they want, the oldest are closed."""
SHUTDOWN_LONGEST_NS: Final = 10_000_000_000
"""What is not closed and signed by then, the next start recovers."""


class Daemon:
    """One device. :meth:`run` returns when the device has been told to stop."""

    def __init__(self, config: DeviceConfig, config_path: Path, spool: Spool, clock: Clock) -> None:
        self.config = config
        self.spool = spool
        self.clock = clock
        self.run_folder = Path(config.device.run)
        policy_file, self._policy_fault = _policy_file(config)
        policy_sha256 = hashlib.sha256(policy_file).digest()
        agency = _agency_policy(policy_file)
        self._pre_event_faults = [
            problem for section in config.streams if (problem := lawful.pre_event_problem(agency, section)) is not None
        ]
        self.streams = {
            section.name: StreamRecorder(
                number, section, spool, clock, policy_sha256, lawful.pre_event_ns(agency, section)
            )
            for number, section in enumerate(config.streams, 1)
        }
        children = [
            source_child(section.name, name)
            for section in config.streams
            for name, source in section.sources.items()
            if source.spawn
        ]
        if config.voice is not None and config.voice.spawn:
            children.append(voice_child())
        if config.position is not None and config.position.spawn:
            children.append(position_child())
        if config.panel is not None and config.panel.spawn:
            children.append(panel_child())
        self.supervisor = Supervisor(config_path, self.run_folder, children)
        self.speaker: Speaker | None = None
        if config.voice is not None:
            self.speaker = Speaker(self.streams.values(), spool, clock, agency, self._spoken, self._cued)
        self.recital = Recital(spool, clock)
        self.declarations = Declarations(spool, clock, agency)
        issuers = Issuers([Path(one) for one in config.keys.authority], [Path(one) for one in config.keys.codes])
        self.lens = Lens(issuers, clock)
        self.conducts = {
            name: Conduct(
                stream, agency, spool, clock, self._teller_of(stream), self._closed, partial(self.lens.matter, name)
            )
            for name, stream in self.streams.items()
        }
        self.panel: FrontPanel | None = None
        if config.panel is not None:
            self.panel = self._front_panel(config.panel.stream or config.streams[0].name)
        self.battery = Battery(config.battery, clock.boottime_ns)
        self.whereabouts = Whereabouts(self.conducts.values(), clock) if config.position is not None else None
        self.health = Health(config, self.conducts, spool, clock, self.speaker, self.whereabouts, self.battery)
        self._selector = selectors.DefaultSelector()
        self._clock_watch = ClockWatch(clock)
        self._heads_due_ns = 0
        self._look_due_ns = 0
        self._ending: str | None = None
        self._ending_until_ns = 0
        self._told: int | None = None
        """Signal that has come. Its handler does no more: it may run in the middle of writing a record."""
        self._recovered = False
        self._full = False
        self._ended_by_full: list[Conduct] = []
        """Streams that record by themselves, to begin again when there is room."""
        self._due_clock: list[records.Clock] = []
        self._looked_ns = 0
        self._silent: dict[socket.socket, int] = {}
        """Connections that have not said what they want, oldest first, and since when."""
        self._handlers = {
            "start": self._start,
            "press": self._press,
            "stop": self._stop,
            "unsuitable": self._unsuitable,
            "mark": self._mark,
            "photo": self._photo,
            "details": self._details,
            "again": self._again,
            "check": self._check,
            "not-recorded": lambda request: self._state(request, self.declarations.not_recorded),
            "unable": lambda request: self._state(request, self.declarations.unable),
            "defer": lambda request: self.declarations.defer(self.conducts.values(), str(request.get("reason"))),
            "returned": lambda _request: self.declarations.returned(self.conducts.values()),
            "status": lambda _request: status(self),
        }
        self._later = {"code": self._code}
        """Commands whose answer takes a while, and so is given to a function."""

    def run(self) -> None:
        """Record until SIGTERM or SIGINT; then close what is open and return."""
        waker, waked = socket.socketpair()
        waked.setblocking(False)
        waker.setblocking(False)
        signal.set_wakeup_fd(waker.fileno())
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._hear)
        self._selector.register(waked, selectors.EVENT_READ, lambda: waked.recv(64))
        self._listen_all()
        waking = listen_datagrams(self.run_folder / "wake.sock")
        self._selector.register(waking, selectors.EVENT_READ, lambda: self._waked(waking))
        self._careful(self._recover)
        self._tell_policy_faults()
        self._careful(self._look_at_battery)
        self._careful(self._heads)
        notify.ready("recording service is ready")
        log.info("recorder of %s is ready: %s", self.config.device.id, ", ".join(self.streams))
        while self._ending is None or (self._open_sessions() and self.clock.boottime_ns() < self._ending_until_ns):
            before, recording = self.spool.records_count, self._open_sessions()
            for key, _ in self._selector.select(TICK_S):
                key.data()
            if self._told is not None and self._ending is None:
                self._told_to_stop(self._told)
            self._tick()
            if self._open_sessions() != recording:
                self._careful(self._heads)
            if self.spool.records_count != before:
                wake(self.run_folder / "uplink.sock")
        self._careful(lambda: self._heads(off=True))
        for stream in self.streams.values():
            stream.slots.dismiss()
        self.supervisor.stop()
        self.recital.stop()
        self.spool.close()
        log.info("recorder of %s has stopped", self.config.device.id)

    def _tell_policy_faults(self) -> None:
        """Sign what of the agency's policy cannot be had, or is configured against it; recording goes on without."""
        faults = [
            records.Fault(code="pre_event_forbidden", detail=link.short(problem)) for problem in self._pre_event_faults
        ]
        if self._policy_fault is not None:
            faults.insert(0, records.Fault(code="policy_missing", detail=link.short(self._policy_fault)))
        for fault in faults:
            log.error("%s: %s", fault.code, fault.detail)
            self._careful(lambda one=fault: self.spool.append(0, None, [one]))

    # -- what happens by itself ----------------------------------------------------------------------------------

    def _open_sessions(self) -> set[bytes]:
        return {stream.session.id for stream in self.streams.values() if stream.session is not None}

    def _recover(self) -> None:
        """Sign what a crash left, and go on with the sessions that it interrupted; repeated until there is room."""
        for chunk in list(self.spool.recovered):
            self.spool.sign_recovered(chunk)
        streams = {stream.number: stream for stream in self.streams.values()}
        goes_on = {}
        for found in self.spool.open_sessions():
            stream = streams.get(found.stream)
            if stream is not None and (stream.session is None or stream.session.id != found.session):
                goes_on[stream.number] = stream.recover(found)
        self._recovered = True
        for conduct in self.conducts.values():
            conduct.recovered(goes_on.get(conduct.stream.number))
            if conduct.stream.section.auto_start and conduct.stream.session is None:
                conduct.start("start-up")

    def _tick(self) -> None:
        now = self.clock.boottime_ns()
        self.supervisor.tick(now)
        moved = self._clock_watch.tick()
        self._due_clock += moved
        for one in moved:
            self.health.stepped(one.step_ns or 0)
        if self._due_clock:
            self._careful(self._sign_clock)
        for stream in self.streams.values():
            self._careful(stream.tick)
        if self.speaker is not None:
            self._careful(self.speaker.tick)
        for conduct in self.conducts.values():
            self._careful(conduct.tick)
        self._careful(self.recital.tick)
        self._careful(self.lens.tick)
        self._careful(self._look_at_battery)
        if self.whereabouts is not None:
            self._careful(self.whereabouts.tick)
        self._careful(lambda: self.health.tick(full=self._full or self.spool.full))
        self._show()
        if now >= self._heads_due_ns:
            self._careful(self._heads)
        if now >= self._look_due_ns:
            self._look(now)
        self._close_silent(now)
        notify.watchdog()

    def _sign_clock(self) -> None:
        """Sign what the clock did: into the device log, and into what is being recorded.

        A package holds one session's records: what moved its clock must be among them.
        """
        self.spool.append(0, None, self._due_clock)
        for stream in self.streams.values():
            if stream.session is not None:
                self.spool.append(stream.number, stream.session.id, self._due_clock)
        self._due_clock = []

    def _look(self, now_ns: int) -> None:
        self._looked_ns, self._look_due_ns = now_ns, now_ns + LOOK_NS
        try:
            self.spool.take_receipts()
        except DiskFullError as error:
            log.warning("receipts wait: %s", error)
        self.spool.collect_garbage()
        if not self._recovered:
            self._careful(self._recover)
        if self._full and not self.spool.full:
            self._full = False
            log.info("there is room again")
            again, self._ended_by_full = self._ended_by_full, []
            for conduct in again:
                if conduct.stream.session is None and self._ending is None:
                    self._careful(lambda one=conduct: one.start("start-up"))

    def _heads(self, *, off: bool = False) -> None:
        """Write where every stream's log stands into the device log."""
        recording = any(stream.session is not None for stream in self.streams.values())
        self._heads_due_ns = self.clock.boottime_ns() + (HEADS_RECORDING_NS if recording else HEADS_IDLE_NS)
        heads = [
            (stream.number, self.spool.log_id(stream.number), *self.spool.head(stream.number))
            for stream in self.streams.values()
        ]
        power = self.battery.state
        body = records.Heads(
            heads=heads,
            off=off,
            receipt_sha256=self.spool.newest_receipt_sha256,
            battery_percent=power.percent,
            battery_minutes=power.minutes,
            on_mains=power.on_mains,
        )
        self.spool.append(0, None, [body])

    def _look_at_battery(self) -> None:
        """Warn of a battery that is low, and end in order when it is exhausted."""
        for due in self.battery.tick():
            if isinstance(due, Exhausted):
                log.warning("the battery is exhausted: %s", self.battery.state)
                for conduct in self.conducts.values():
                    conduct.automatic("battery")
                continue
            log.warning("the battery is low: %s", self.battery.state)
            if due.minutes is not None:
                conduct = self.panel.conduct if self.panel is not None else next(iter(self.conducts.values()))
                conduct.cue("cue.battery.low", {"minutes": f"count:{due.minutes}"})
            elif self.panel is not None:
                self.panel.warn()

    def _show(self) -> None:
        """Say on the panel what this device is doing."""
        if self.panel is not None:
            state = state_of(self.panel.conduct)
            self.panel.show(
                "overdue" if state == "ready" and self.health.overdue else state,
                battery_minutes=self.battery.low_minutes,
                storage_minutes=self.health.short_minutes,
                fault=self._full,
            )

    def _hear(self, number: int, _frame: object) -> None:
        self._told = number

    def _told_to_stop(self, number: int) -> None:
        self._ending = signal.Signals(number).name
        self._ending_until_ns = self.clock.boottime_ns() + SHUTDOWN_LONGEST_NS
        log.info("told to stop (%s)", self._ending)
        for conduct in self.conducts.values():
            self._careful(lambda one=conduct: one.automatic("shutdown"))

    def _careful(self, action: Any) -> None:
        """Run what writes; a full disk ends the recording in order and keeps everything."""
        try:
            action()
        except DiskFullError as error:
            self._disk_full(str(error))

    def _disk_full(self, detail: str) -> None:
        if not self._full:
            log.error("%s", detail)
            self._full = True
            self._ended_by_full = [
                conduct
                for conduct in self.conducts.values()
                if conduct.stream.section.auto_start and conduct.stream.session is not None
            ]
            try:
                self.spool.append(0, None, [records.Fault(code="storage_full", detail=link.short(detail))])
            except DiskFullError as error:
                log.error("not even a fault can be recorded: %s", error)  # noqa: TRY400 - no traceback for a full disk
        for stream in self.streams.values():
            stream.disk_full()

    # -- sockets -------------------------------------------------------------------------------------------------

    def _listen_all(self) -> None:
        self._listen(listen(self.run_folder / "source.sock"), self._accept_source)
        self._listen(listen(self.run_folder / SOCKET_NAME), self._accept_control)
        if self.speaker is not None:
            self._listen(listen(self.run_folder / VOICE_SOCKET_NAME), self._accept_voice)
        if self.whereabouts is not None:
            self._listen(listen(self.run_folder / POSITION_SOCKET_NAME), self._accept_position)
        if self.panel is not None:
            self._listen(listen(self.run_folder / PANEL_SOCKET_NAME), self._accept_panel)

    def _listen(self, server: socket.socket, accept: Any) -> None:
        self._selector.register(server, selectors.EVENT_READ, lambda: accept(server))

    def _accept_source(self, server: socket.socket) -> None:
        connection = accept(server)
        if connection is None:
            return
        peer = SourcePeer(connection)
        self._silent[connection] = self.clock.boottime_ns()
        self._selector.register(connection, selectors.EVENT_READ, lambda: self._greet(peer))

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
            self._disk_full(str(error))
            self._forget(peer.socket)  # it connects anew
            return
        self._silent.pop(peer.socket, None)
        peer.name = f"source {hello.stream}/{hello.source}"
        self._selector.modify(peer.socket, selectors.EVENT_READ, lambda: self._source(stream, slot, peer))
        self._deliver(stream, slot, peer, messages[1:])

    def _stream_of(self, hello: link.Hello) -> StreamRecorder:
        stream = self.streams.get(hello.stream)
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
                if isinstance(message, link.Heard):
                    self._heard(message)
                    continue
                if isinstance(message, link.Taken):
                    self.conducts[stream.section.name].photos.taken(message, payload)
                    continue
                if isinstance(message, link.NotTaken):
                    self.conducts[stream.section.name].photos.not_taken(message)
                    continue
                if isinstance(message, link.Probed):
                    self.health.probed(stream, slot, message)
                    continue
                if isinstance(message, link.Shown):
                    self.lens.read(self.conducts[stream.section.name], payload)
                    continue
                stream.received(slot, message, payload)
        except PeerLostError as error:
            peer.kill()
            self._lost(stream, slot, peer, str(error))
        except DiskFullError as error:
            self._disk_full(str(error))

    def _lost(self, stream: StreamRecorder, slot: Slot, peer: SourcePeer, why: str) -> None:
        self._forget(peer.socket)
        if slot.peer is peer:
            self._careful(lambda: stream.lost(slot, why))

    def _heard(self, message: link.Heard) -> None:
        if self.speaker is not None:
            self.speaker.heard(message)

    def _accept_voice(self, server: socket.socket) -> None:
        connection = accept(server)
        if connection is None or self.speaker is None:
            return
        speaker = self.speaker
        self._selector.register(connection, selectors.EVENT_READ, lambda: self._voice(speaker, connection))
        self._careful(lambda: speaker.accept(connection))

    def _voice(self, speaker: Speaker, connection: socket.socket) -> None:
        try:
            if not speaker.receive(connection):
                self._forget(connection)
        except DiskFullError as error:
            self._disk_full(str(error))

    def _spoken(self, stream: int, text: str) -> None:
        for conduct in self.conducts.values():
            if conduct.stream.number == stream:
                self._careful(lambda one=conduct: one.spoken(text))

    def _closed(self, conduct: Conduct, session: bytes, reason: str) -> None:
        self.declarations.closed(conduct.stream, session)
        self.recital.closed(conduct, reason)

    def _front_panel(self, stream: str) -> FrontPanel:
        conduct = self.conducts[stream]
        return FrontPanel(
            conduct,
            self.spool,
            self.clock,
            self.run_folder,
            ready=lambda: self._ready_to_record(conduct),
            again=lambda: self._again({"stream": stream}),
        )

    def _accept_panel(self, server: socket.socket) -> None:
        connection = accept(server)
        if connection is None or self.panel is None:
            return
        panel = self.panel
        self._selector.register(connection, selectors.EVENT_READ, lambda: self._panel(panel, connection))
        panel.accept(connection)

    def _panel(self, panel: FrontPanel, connection: socket.socket) -> None:
        try:
            # What is pressed while the device is being switched off is for the next recorder.
            if not panel.receive(connection, take=self._told is None):
                self._forget(connection)
        except DiskFullError as error:
            self._disk_full(str(error))

    def _cued(self, stream: int, text: str) -> None:
        if self.panel is not None and self.panel.conduct.stream.number == stream:
            self.panel.cued(text)

    def _teller_of(self, stream: StreamRecorder) -> Speaker | Teller:
        """In a hall that is recorded all day a sign tells, and nothing is spoken."""
        return Teller(self._cued) if self.speaker is None or stream.section.mode == "continuous" else self.speaker

    def _accept_position(self, server: socket.socket) -> None:
        connection = accept(server)
        if connection is None or self.whereabouts is None:
            return
        whereabouts = self.whereabouts
        self._selector.register(connection, selectors.EVENT_READ, lambda: self._position(whereabouts, connection))
        whereabouts.accept(connection)

    def _position(self, whereabouts: Whereabouts, connection: socket.socket) -> None:
        try:
            if not whereabouts.receive(connection):
                self._forget(connection)
        except DiskFullError as error:
            self._disk_full(str(error))

    def _accept_control(self, server: socket.socket) -> None:
        connection = accept(server)
        if connection is None:
            return
        peer = ControlPeer(connection)
        self._silent[connection] = self.clock.boottime_ns()
        self._selector.register(connection, selectors.EVENT_READ, lambda: self._control(peer))

    def _control(self, peer: ControlPeer) -> None:
        try:
            request = peer.receive()
            if request is None:
                return
            later = self._later.get(request["command"])
            answer = later(request, peer.answer) if later else respond(self._handlers, request)
        except RefusedError as error:
            answer = refusal(error)
        except DiskFullError as error:
            self._disk_full(str(error))
            answer = refusal(_no_room())
        except EOFError:
            self._forget(peer.socket)
            return
        self._silent.pop(peer.socket, None)
        self._selector.unregister(peer.socket)
        if answer is not None:
            peer.answer(answer)

    def _waked(self, waking: socket.socket) -> None:
        try:
            while True:
                waking.recv(64)
        except BlockingIOError:
            self._look_due_ns = min(self._look_due_ns, self._looked_ns + LOOK_SOONEST_NS)

    def _close_silent(self, now_ns: int) -> None:
        """Close connections that do not say what they want; not between two callbacks of the selector."""
        excess = len(self._silent) - MAX_SILENT
        for index, (connection, since_ns) in enumerate(list(self._silent.items())):
            if index < excess or now_ns - since_ns > SILENT_LONGEST_NS:
                self._forget(connection)

    def _forget(self, connection: socket.socket) -> None:
        self._silent.pop(connection, None)
        self._selector.unregister(connection)
        connection.close()

    # -- commands ------------------------------------------------------------------------------------------------

    def _conduct(self, request: dict[str, Any]) -> Conduct:
        name = request.get("stream") or next(iter(self.streams))
        if not isinstance(name, str) or name not in self.conducts:
            raise RefusedError("stream", "没有这一路记录。", f"There is no stream {str(name)[:40]!r}.")
        return self.conducts[name]

    def _ready_to_record(self, conduct: Conduct) -> None:
        if self._ending is not None:
            raise RefusedError("stopping", "设备正在关机。", "The device is being switched off.")
        if conduct.stream.session is not None and conduct.stream.session.ending is None:
            return
        self.spool.collect_garbage()
        if self.spool.full or not self._recovered:
            raise _no_room()
        self._full = False

    def _start(self, request: dict[str, Any]) -> dict[str, Any]:
        conduct = self._conduct(request)
        matter, details = lawful.matter_of(request), lawful.details_of(request)
        mode = lawful.mode_of(request, conduct.stream.section)
        session = conduct.stream.session
        if session is not None and session.ending is None and conduct.state is State.RECORDING:
            raise RefusedError("already", "正在记录，无需再次开始。", "A recording is already under way.")
        self._ready_to_record(conduct)
        conduct.start("command", matter, details, mode)
        return _answer(conduct)

    def _press(self, request: dict[str, Any]) -> dict[str, Any]:
        conduct = self._conduct(request)
        self._ready_to_record(conduct)
        conduct.press("command")
        return _answer(conduct)

    def _stop(self, request: dict[str, Any]) -> dict[str, Any]:
        conduct = self._conduct(request)
        reason = request.get("reason") or "done"
        conduct.end(str(reason), statement=request.get("statement") is True, by="command")
        return _answer(conduct) | {"grace_s": conduct.agency.continuity.grace_seconds}

    def _unsuitable(self, request: dict[str, Any]) -> dict[str, Any]:
        conduct = self._conduct(request)
        conduct.unsuitable(str(request.get("reason")))
        return _answer(conduct)

    def _mark(self, request: dict[str, Any]) -> dict[str, Any]:
        conduct = self._conduct(request)
        marker, of = lawful.marker_of(request), lawful.number_of(request)
        if of is None:
            return _answer(conduct) | {"number": conduct.mark(marker)}
        author = str(request.get("author") or "")[:64]
        if not author:
            raise RefusedError("author", "须登记由谁补充。", "It must be said who says so.")
        if request.get("after") is not None:
            return self.declarations.classify_after(self.conducts.values(), str(request["after"]), marker, of, author)
        conduct.classify(marker, of, author)
        return _answer(conduct)

    def _photo(self, request: dict[str, Any]) -> dict[str, Any]:
        conduct = self._conduct(request)
        self._ready_to_record(conduct)
        session = conduct.photo("command", lawful.matter_of(request))
        return _answer(conduct) | {"session": session.hex()}

    def _details(self, request: dict[str, Any]) -> dict[str, Any]:
        conduct = self._conduct(request)
        stated = lawful.details_of(request)
        if stated is None:
            raise RefusedError("details", "没有登记内容。", "There is nothing to put on record.")
        if request.get("after") is not None:
            return self.declarations.details_after(self.conducts.values(), str(request["after"]), stated)
        conduct.add_details(stated)
        return _answer(conduct)

    def _check(self, request: dict[str, Any]) -> dict[str, Any]:
        number = request.get("number")
        return self.health.check(number if isinstance(number, int) else None)

    def _state(
        self, request: dict[str, Any], state: Callable[[Conduct, str, SessionDetails], dict[str, Any]]
    ) -> dict[str, Any]:
        stated = lawful.details_of(request)
        if stated is None:
            raise RefusedError("details", "没有登记内容。", "There is nothing to put on record.")
        return state(self._conduct(request), str(request.get("reason")), stated)

    def _again(self, request: dict[str, Any]) -> dict[str, Any]:
        conduct = self._conduct(request)
        stream = conduct.stream
        if stream.session is None or stream.session.ending is not None:
            raise RefusedError("idle", "没有正在进行的记录。", "Nothing is being recorded.")
        if self.speaker is None:
            raise RefusedError("voice", "本设备未配置语音。", "This device has no voice configured.")
        self.speaker.say_again(stream)
        return _answer(conduct)

    def _code(self, request: dict[str, Any], answer: Callable[[dict[str, Any]], None]) -> None:
        conduct = self._conduct(request)

        def told(given: Given | None) -> None:
            if given is None:
                error = RefusedError("code", "核验码计算失败，请再试一次。", "The code could not be made; ask again.")
                answer(refusal(error))
            else:
                answer({"ok": True, "stream": conduct.stream.section.name} | given.plain())

        self.recital.ask(conduct, told)


def _answer(conduct: Conduct) -> dict[str, Any]:
    return {
        "session": conduct.session.hex() if conduct.session else None,
        "stream": conduct.stream.section.name,
        "state": conduct.state.value,
    }


def _hello(message: link.Message) -> link.Hello:
    if not isinstance(message, link.Hello):
        raise PeerLostError("did not say who it is")
    return message


def _no_room() -> RefusedError:
    return RefusedError(
        "storage",
        "存储空间已满，无法记录：请先移交音像记录或者清理存储空间。",
        "The disk is full and nothing can be recorded: hand over what is recorded, or make room.",
    )


def _agency_policy(data: bytes) -> policies.Policy:
    """Return the agency's policy from its file; without one that can be understood, what holds without one."""
    if not data:
        return policies.without_file()
    try:
        return policies.parse(data)
    except policies.PolicyError as error:
        log.error("the policy file: %s; announcements are those of no agency", error)  # noqa: TRY400 - told
        return policies.without_file()


def _policy_file(config: DeviceConfig) -> tuple[bytes, str | None]:
    """Return the bytes of the agency's policy file, and what is wrong with it.

    Without one a session is made under no policy, and names the digest of no bytes: the device never refuses to
    record.
    """
    if not config.device.policy:
        return b"", None
    try:
        return Path(config.device.policy).read_bytes(), None
    except OSError as error:
        return b"", f"the policy file cannot be read: {error.strerror}: {config.device.policy}"
