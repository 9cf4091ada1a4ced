"""Wires what the device knows of its own health: storage, hand-over, certificate, advice, and the check before duty.

The decisions are elsewhere: :mod:`recorder.storage`, :mod:`recorder.handover`, :mod:`recorder.advice`,
:mod:`recorder.doctor`. Here the figures are gathered, a little at a time, and what comes of them is said and signed.
A check looks at the sources for three seconds and plays a sound; it keeps nothing of what it sees and hears.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from keys.apart import Examination
from keys.errors import CertificateError
from keys.identity import Role, read_der
from recorder import doctor, uplink_status
from recorder.advice import Adviser, Facts, Uploads
from recorder.evidence import deadlines, faults, records
from recorder.handover import uploads
from recorder.source import link
from recorder.spool.errors import DiskFullError
from recorder.storage import PLENTY, Room, Storage, Thresholds, expected_rate_bytes_per_s

if TYPE_CHECKING:
    from recorder.battery import Battery
    from recorder.clock import Clock
    from recorder.conduct import Conduct
    from recorder.config import DeviceConfig
    from recorder.slots import Slot
    from recorder.speaker import Speaker
    from recorder.spool.spool import Spool
    from recorder.stream import StreamRecorder
    from recorder.whereabouts import Whereabouts

log = logging.getLogger(__name__)

ROOM_EVERY_NS: Final = 2_000_000_000
UPLOADS_EVERY_NS: Final = 60_000_000_000
CERTIFICATE_AFTER_NS: Final = 30_000_000_000
"""Not at once: a press at power-on is to be recorded first."""
CERTIFICATE_EVERY_NS: Final = 86_400_000_000_000
ANNOUNCED_NS: Final = 15_000_000_000
"""For so long after a start, of the device or of a session, the announcement has the word."""
PROBE_MS: Final = 3000
CHECK_LONGEST_NS: Final = 20_000_000_000
"""A source or a voice that has not answered by then has failed its part of the check."""
UPLINK_FRESH_NS: Final = 60_000_000_000
"""The uplink writes its status every five seconds."""


class _Check:
    """One check that is under way."""

    def __init__(self, number: int, started_ns: int, loop: str) -> None:
        self.number = number
        self.started_ns = started_ns
        self.loop = loop
        """What came of the sound; ``""`` while it is awaited."""
        self.ear: StreamRecorder | None = None
        """Whose microphone is to hear the sound, as soon as the sources have answered."""
        self.awaited: set[tuple[str, str]] = set()
        """Stream and source that have been asked and have not answered."""
        self.answers: dict[tuple[str, str], link.Probed] = {}


class Health:
    """What one device knows of itself."""

    def __init__(
        self,
        config: DeviceConfig,
        conducts: dict[str, Conduct],
        spool: Spool,
        clock: Clock,
        speaker: Speaker | None,
        whereabouts: Whereabouts | None,
        battery: Battery,
    ) -> None:
        self._config = config
        self._conducts = conducts
        self._spool = spool
        self._clock = clock
        self._speaker = speaker
        self._whereabouts = whereabouts
        self._battery = battery
        thresholds = Thresholds(config.spool.warn_minutes, config.spool.critical_minutes)
        self._storage = Storage(thresholds, expected_rate_bytes_per_s(config.streams))
        self._adviser = Adviser()
        self._full = False
        self._room: Room | None = None
        self._uploads: Uploads | None = None
        self._certificate: tuple[str, int | None] = ("unknown", None)
        self._examination: Examination | None = None
        now_ns = self._began_ns = clock.boottime_ns()
        self._due_ns = {"room": now_ns, "uploads": now_ns, "certificate": now_ns + CERTIFICATE_AFTER_NS}
        self._check: _Check | None = None
        self._checks = 0
        self._last: dict[str, Any] | None = None
        """Answer to whoever asks for the newest check."""
        try:
            self._remember(next(iter(spool.past.newest("check")), None))
        except DiskFullError as error:
            log.warning("the newest check before duty is not known: %s", error)

    # -- what happens --------------------------------------------------------------------------------------------

    def tick(self, *, full: bool) -> None:
        """Time has passed.

        Args:
            full: the storage has refused something, and nothing has been freed since.

        Raises:
            DiskFullError: a check cannot be signed.
        """
        now_ns, self._full = self._clock.boottime_ns(), full
        if self._is_due("room", now_ns, ROOM_EVERY_NS):
            self._advise(now_ns)
        if self._certificate_is_due(now_ns):
            self._examine_certificate()
        self._look_at_certificate()
        self._go_on_checking(now_ns)

    def stepped(self, step_ns: int) -> None:
        """Somebody moved the clock."""
        self._adviser.stepped(step_ns)

    def probed(self, stream: StreamRecorder, slot: Slot, message: link.Probed) -> None:
        """A source has said what it delivers."""
        check, key = self._check, (stream.section.name, slot.name)
        if check is not None and message.number == check.number and key in check.awaited:
            check.awaited.discard(key)
            check.answers[key] = message

    def _heard(self, how: str) -> None:
        if self._check is not None:
            self._check.loop = how

    def _is_due(self, what: str, now_ns: int, every_ns: int) -> bool:
        if now_ns < self._due_ns[what]:
            return False
        self._due_ns[what] = now_ns + every_ns
        return True

    def _certificate_is_due(self, now_ns: int) -> bool:
        # Examining it takes a process of its own and some memory for a second: not while something is recorded.
        return not self._recording() and self._is_due("certificate", now_ns, CERTIFICATE_EVERY_NS)

    def _recording(self) -> bool:
        return any(one.stream.session is not None for one in self._conducts.values())

    # -- storage, hand-over, advice ------------------------------------------------------------------------------

    def _advise(self, now_ns: int) -> None:
        conducted = [one for one in self._conducts.values() if one.stream.section.mode != "continuous"]
        recording = [one for one in conducted if one.stream.session is not None]
        room = self._look_at_room(now_ns)
        if self._is_due("uploads", now_ns, UPLOADS_EVERY_NS):
            self._look_at_uploads()
        newest = recording[-1].stream.session if recording else None
        # The party is told first, also where the device is switched on to record at once.
        begun_ns = self._began_ns if newest is None else newest.zero_boottime_ns
        if now_ns - begun_ns < ANNOUNCED_NS:
            return
        now = self._clock.now()
        facts = Facts(
            recording=bool(recording),
            session=newest.id if newest is not None else None,
            room=room,
            clock=now.quality,
            utc_ns=now.utc_ns,
            uploads=self._uploads,
            certificate_not_after_utc_ns=self._certificate[1],
        )
        for advice in self._adviser.look(facts, now_ns):
            for conduct in recording or conducted[:1]:
                conduct.cue(advice.text, advice.arguments)

    def _look_at_room(self, now_ns: int) -> Room:
        try:
            freeable = self._spool.lingering().size_bytes
        except DiskFullError:
            freeable = 0  # the index is behind, and has no room to catch up
        self._room = self._storage.look(
            now_ns,
            room_bytes=self._spool.free_bytes() + freeable,
            written_bytes=sum(one.stream.writing.size_bytes for one in self._conducts.values()),
            recording=self._recording(),
            full=self._full,
        )
        return self._room

    def _look_at_uploads(self) -> None:
        conducts = {self._spool.log_id(one.stream.number): one for one in self._conducts.values()}
        fallback = next(iter(self._conducts.values()))  # of an earlier log

        def rule(log_id: bytes) -> deadlines.HandoverRule:
            conduct = conducts.get(log_id, fallback)
            return deadlines.rule_of(conduct.agency, conduct.stream.section.mode)

        try:
            self._uploads = uploads(self._spool, rule, self._clock.now())
        except DiskFullError:
            self._uploads = None

    def _examine_certificate(self) -> None:
        if self._examination is not None:
            return
        keys = self._config.keys
        try:
            authorities = [Path(path) for path in keys.authority]
            self._examination = Examination(authorities, read_der(Path(keys.certificate)), Role.SIGNING)
        except CertificateError as error:
            self._unproved(error)

    def _look_at_certificate(self) -> None:
        if self._examination is None:
            return
        try:
            identity = self._examination.answer()
        except CertificateError as error:
            self._examination = None
            self._unproved(error)
            return
        if identity is not None:
            self._examination = None
            self._certificate = ("proved", identity.not_after_utc_ns)

    def _unproved(self, error: CertificateError) -> None:
        log.warning("the certificate: %s", error)
        self._certificate = ("unproved", None)

    # -- the check before duty -----------------------------------------------------------------------------------

    def check(self, number: int | None) -> dict[str, Any]:
        """Begin a check, or tell what has come of it.

        Args:
            number: of the check that is asked for; None to begin one. One that is under way is joined.
        """
        if number is None:
            if self._check is None:
                self._begin()
            return {"check": self._checks, "done": False}
        if self._check is None and self._last is not None and number == self._checks:
            return {"check": number, "done": True, **self._last}
        return {"check": self._checks, "done": False}

    def _begin(self) -> None:
        self._checks += 1
        if not self._recording():
            self._examine_certificate()
        check = self._check = _Check(self._checks, self._clock.boottime_ns(), "not-checked")
        order = link.Probe(number=check.number, length_ms=PROBE_MS)
        for name, conduct in self._conducts.items():
            check.awaited |= {(name, source) for source in conduct.stream.slots.probe(order)}
        ears = [one.stream for one in self._conducts.values() if one.stream.slots.has_ear]
        # What is played while something is recorded would be on the recording.
        if self._speaker is not None and self._speaker.present and ears and not self._recording():
            check.loop, check.ear = "", ears[0]

    def _go_on_checking(self, now_ns: int) -> None:
        check = self._check
        if check is None:
            return
        if check.ear is not None and not check.awaited and self._speaker is not None:
            # A microphone that has just been opened hears nothing for a moment: by now it delivers.
            self._speaker.check(check.ear, self._heard)
            check.ear = None
        over = now_ns - check.started_ns > CHECK_LONGEST_NS
        if not over and (check.awaited or not check.loop or self._examination is not None):
            return
        self._look_at_room(now_ns)
        self._look_at_uploads()
        items = doctor.judge(self._condition(check))
        body = doctor.record(items)
        self._check = None
        self._last = {"result": body.result, "items": [_plain(one) for one in items]}
        self._tell(body)
        (record,) = self._spool.append(0, None, [body])
        self._remember(record)
        log.info("check before duty: %s", body.result)

    def _condition(self, check: _Check) -> doctor.Condition:
        now = self._clock.now()
        assert self._room is not None  # noqa: S101 - the caller has just looked
        speaker = "none" if self._speaker is None else "present" if self._speaker.present else "absent"
        position = self._whereabouts.status() if self._whereabouts is not None else {}
        return doctor.Condition(
            room=self._room,
            duty_minutes=self._config.spool.duty_minutes,
            clock=now.quality,
            utc_ns=now.utc_ns,
            sources=tuple(
                _source(
                    name,
                    slot,
                    check.answers.get((name, slot.name)),
                    conduct.stream.troubles.impairments.seen(slot.name),
                )
                for name, conduct in self._conducts.items()
                for slot in conduct.stream.slots
            ),
            speaker=speaker,
            loop=check.loop or "not-heard",
            battery=self._battery.state,
            position=position.get("state"),
            satellite_offset_ns=position.get("satellite_offset_ns"),
            certificate=self._certificate[0],
            certificate_not_after_utc_ns=self._certificate[1],
            uplink=self._uplink(now.utc_ns),
            uploads=self._uploads,
        )

    def _uplink(self, utc_ns: int) -> doctor.Link | None:
        if self._config.uplink is None:
            return None
        told = uplink_status.read(Path(self._config.uplink.state))
        running = told is not None and abs(utc_ns - told.utc_ns) < UPLINK_FRESH_NS
        return doctor.Link(running, running and told is not None and told.connected_since_utc_ns is not None)

    def _tell(self, body: records.Check) -> None:
        conduct = next(iter(self._conducts.values()))
        if body.result == "pass":
            conduct.cue("cue.ready")
        for code in body.failed.values():
            if code == "storage_short":
                conduct.cue("cue.storage.low.before_duty")
            elif (fault := faults.find(code)) is not None:
                conduct.cue("cue.fault", {"code": f"digits:{fault.number}"})

    def _remember(self, record: records.Record | None) -> None:
        """Let the sessions to come name this check."""
        if record is not None and isinstance(record.body, records.Check):
            for conduct in self._conducts.values():
                conduct.stream.log.checked = (record.body.result, record.utc_ns)

    # -- what is shown -------------------------------------------------------------------------------------------

    @property
    def short_minutes(self) -> int | None:
        """Minutes of room where that is worth a warning; None where there is plenty."""
        return None if self._room is None or self._room.level == PLENTY else self._room.minutes

    @property
    def overdue(self) -> bool:
        """Whether a recording should have been handed over already."""
        waiting = self._uploads
        return waiting is not None and waiting.overdue + waiting.overdue_return > 0

    # -- status --------------------------------------------------------------------------------------------------

    def status(self) -> dict[str, Any]:
        """Return what ``liuhen status`` tells."""
        return {
            "storage": None if self._room is None else self._room._asdict(),
            "hand_over": None if self._uploads is None else self._uploads._asdict(),
            "certificate_not_after_utc_ns": self._certificate[1],
        }


def _source(stream: str, slot: Slot, answer: link.Probed | None, impairments: tuple[str, ...]) -> doctor.Source:
    return doctor.Source(
        f"{stream}/{slot.name}",
        tuple(slot.section.tracks),
        slot.peer is not None,
        None if answer is None else answer.frames,
        None if answer is None else answer.peak_millibels,
        impairments,
    )


def _plain(item: doctor.Item) -> dict[str, Any]:
    return {"name": item.name, "state": item.state, "faults": list(item.faults), "values": dict(item.values)}
