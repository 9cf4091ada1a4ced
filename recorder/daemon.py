"""The recorder process: one loop, one thread. It wires sockets to streams and streams to the spool.

A slow disk makes this loop wait, and nothing is lost by that: every source keeps ten seconds of what has not been
acknowledged. So there is no queue here, and no second writer.
"""

from __future__ import annotations

import logging
import signal
import socket
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from recorder import lawful, notify, policies
from recorder.battery import Battery, Exhausted
from recorder.clockwatch import ClockWatch
from recorder.conduct import Conduct, Teller
from recorder.connections import Connections
from recorder.control import RefusedError
from recorder.declare import Declarations
from recorder.evidence import records
from recorder.frontpanel import FrontPanel
from recorder.health import Health
from recorder.issuers import Issuers
from recorder.lens import Lens
from recorder.peers import wake
from recorder.recital import Recital
from recorder.requests import Requests, no_room
from recorder.source import link
from recorder.speaker import Speaker
from recorder.spool.errors import DiskFullError
from recorder.status import state_of
from recorder.stream import StreamRecorder
from recorder.supervisor import Supervisor, panel_child, position_child, source_child, voice_child
from recorder.whereabouts import Whereabouts

if TYPE_CHECKING:
    from recorder.clock import Clock
    from recorder.config import DeviceConfig
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
SHUTDOWN_LONGEST_NS: Final = 10_000_000_000
"""What is not closed and signed by then, the next start recovers."""


class Daemon:
    """One device. :meth:`run` returns when the device has been told to stop."""

    def __init__(self, config: DeviceConfig, config_path: Path, spool: Spool, clock: Clock) -> None:
        self.config = config
        self.spool = spool
        self.clock = clock
        self.run_folder = Path(config.device.run)
        agency, self._policy_fault = policies.in_force(config.device.policy)
        self._pre_event_faults = [
            problem for section in config.streams if (problem := lawful.pre_event_problem(agency, section)) is not None
        ]
        self.streams = {
            section.name: StreamRecorder(
                number, section, spool, clock, agency.digest, lawful.pre_event_ns(agency, section)
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
        only_at_unit = config.uplink is not None and config.uplink.only_at_unit
        self.declarations = Declarations(spool, clock, agency, only_at_unit=only_at_unit)
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
        self.requests = Requests(self)
        self._connections = Connections(self)
        self._clock_watch = ClockWatch(clock)
        self._heads_due_ns = 0
        self._look_due_ns = 0
        self._ending: str | None = None
        self._ending_until_ns = 0
        self._told: int | None = None
        """Signal that has come. Its handler does no more: it may run in the middle of writing a record."""
        self._recovered = False
        self._full = False
        self._to_begin: list[Conduct] = []
        """Streams that record by themselves, to begin when there is room."""
        self._due_clock: list[records.Clock] = []
        self._looked_ns = 0

    def run(self) -> None:
        """Record until SIGTERM or SIGINT; then close what is open and return."""
        waker, waked = socket.socketpair()
        waked.setblocking(False)
        waker.setblocking(False)
        signal.set_wakeup_fd(waker.fileno())
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._hear)
        self._connections.watch(waked, lambda: waked.recv(64))
        self._connections.listen()
        self.careful(self._recover)
        self._tell_policy_faults()
        self.careful(self._look_at_battery)
        self.careful(self._heads)
        notify.ready("recording service is ready")
        log.info("recorder of %s is ready: %s", self.config.device.id, ", ".join(self.streams))
        while self._ending is None or (self._open_sessions() and self.clock.boottime_ns() < self._ending_until_ns):
            before, recording = self.spool.records_count, self._open_sessions()
            self._connections.wait(TICK_S)
            if self._told is not None and self._ending is None:
                self._end_all(self._told)
            self._tick()
            if self._open_sessions() != recording:
                self.careful(self._heads)
            if self.spool.records_count != before:
                wake(self.run_folder / "uplink.sock")
        self.careful(lambda: self._heads(off=True))
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
            self.careful(lambda one=fault: self.spool.append(0, None, [one]))

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
            self.careful(lambda one=conduct: one.recovered(goes_on.get(one.stream.number)))
            if conduct.stream.section.auto_start and conduct.stream.session is None:
                self._begin(conduct)

    def _begin(self, conduct: Conduct) -> None:
        """Let a stream that records by itself do so; without room for it, it waits."""
        try:
            conduct.start("start-up")
        except DiskFullError as error:
            self._to_begin.append(conduct)
            self.disk_full(str(error))

    def _begin_what_waits(self) -> None:
        waiting, self._to_begin = self._to_begin, []
        for conduct in waiting:
            session = conduct.stream.session
            if session is None:
                self._begin(conduct)
            elif session.ending is not None:
                self._to_begin.append(conduct)  # there is room, and its close is yet to be signed

    def _tick(self) -> None:
        now = self.clock.boottime_ns()
        self.supervisor.tick(now)
        moved = self._clock_watch.tick()
        self._due_clock += moved
        for one in moved:
            self.health.stepped(one.step_ns or 0)
        if self._due_clock:
            self.careful(self._sign_clock)
        for stream in self.streams.values():
            self.careful(stream.tick)
        if self.speaker is not None:
            self.careful(self.speaker.tick)
        for conduct in self.conducts.values():
            self.careful(conduct.tick)
        self.careful(self.recital.tick)
        self.careful(self.lens.tick)
        self.careful(self._look_at_battery)
        if self.whereabouts is not None:
            self.careful(self.whereabouts.tick)
        self.careful(lambda: self.health.tick(full=self._full or self.spool.full))
        self._show()
        if now >= self._heads_due_ns:
            self.careful(self._heads)
        if now >= self._look_due_ns:
            self._look(now)
        self._connections.close_silent(now)
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

    def look_soon(self) -> None:
        """Somebody put something into the inbox."""
        self._look_due_ns = min(self._look_due_ns, self._looked_ns + LOOK_SOONEST_NS)

    def _look(self, now_ns: int) -> None:
        self._looked_ns, self._look_due_ns = now_ns, now_ns + LOOK_NS
        try:
            if self.spool.take_receipts().kept:
                self.declarations.heard_store(self.conducts.values())
        except DiskFullError as error:
            log.warning("receipts wait: %s", error)
        self.spool.collect_garbage()
        if not self._recovered:
            self.careful(self._recover)
        if self._full and not self.spool.full:
            self._full = False
            log.info("there is room again")
        if not self._full and self._ending is None:
            self._begin_what_waits()

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

    @property
    def told_to_stop(self) -> bool:
        """Whether the device is being switched off."""
        return self._told is not None

    def _hear(self, number: int, _frame: object) -> None:
        self._told = number

    def _end_all(self, number: int) -> None:
        self._ending = signal.Signals(number).name
        self._ending_until_ns = self.clock.boottime_ns() + SHUTDOWN_LONGEST_NS
        log.info("told to stop (%s)", self._ending)
        for conduct in self.conducts.values():
            self.careful(lambda one=conduct: one.automatic("shutdown"))

    def careful(self, action: Any) -> None:
        """Run what writes; a full disk ends the recording in order and keeps everything."""
        try:
            action()
        except DiskFullError as error:
            self.disk_full(str(error))

    def disk_full(self, detail: str) -> None:
        """A record or media found no room: end what is being recorded in order.

        Args:
            detail: what found none.
        """
        if not self._full:
            log.error("%s", detail)
            self._full = True
            try:
                self.spool.append(0, None, [records.Fault(code="storage_full", detail=link.short(detail))])
            except DiskFullError as error:
                log.error("not even a fault can be recorded: %s", error)  # noqa: TRY400 - no traceback for a full disk
        self._to_begin += [
            conduct
            for conduct in self.conducts.values()
            if conduct.stream.section.auto_start
            and conduct.stream.session is not None
            and conduct not in self._to_begin
        ]
        for stream in self.streams.values():
            stream.disk_full()

    def _spoken(self, stream: int, text: str) -> None:
        for conduct in self.conducts.values():
            if conduct.stream.number == stream:
                self.careful(lambda one=conduct: one.spoken(text))

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
            ready=lambda: self.ready_to_record(conduct),
            again=lambda: self.requests.again(conduct),
        )

    def _cued(self, stream: int, text: str) -> None:
        if self.panel is not None and self.panel.conduct.stream.number == stream:
            self.panel.cued(text)

    def _teller_of(self, stream: StreamRecorder) -> Speaker | Teller:
        """In a hall that is recorded all day a sign tells, and nothing is spoken."""
        return Teller(self._cued) if self.speaker is None or stream.section.mode == "continuous" else self.speaker

    def ready_to_record(self, conduct: Conduct) -> None:
        """Make sure that a recording can begin, where none is under way.

        Raises:
            RefusedError: it cannot, and why.
        """
        if self._ending is not None:
            raise RefusedError("stopping", "设备正在关机。", "The device is being switched off.")
        if conduct.stream.session is not None and conduct.stream.session.ending is None:
            return
        self.spool.collect_garbage()
        if self.spool.full or not self._recovered:
            raise no_room()
        self._full = False
