"""Wires the voice: obeys :mod:`recorder.announce`, between the voice's socket, the microphones and the log.

A session that opens is announced as soon as its sound is being recorded (the announcement is to be in the recording),
at the latest after :data:`SOUND_WITHIN_NS`. Everything here is at once; whatever the voice does, recording goes on.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from recorder.announce import Announcer, Cue, Listen, Sign, Speak
from recorder.source import link
from recorder.voice.messages import Order, VoiceError
from recorder.voice.peer import VoicePeer
from recorder.voice.tones import CHECK_TEXT

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterable

    from recorder.announce import Action
    from recorder.clock import Clock
    from recorder.evidence.policy import Policy
    from recorder.evidence.records import Announcement
    from recorder.spool.spool import Spool
    from recorder.stream import StreamRecorder

log = logging.getLogger(__name__)

SPOKEN_AFTER: Final = ("say.end.code",)
"""Texts that are spoken when the session is over; what became of them is signed as a later record of it."""
SOUND_WITHIN_NS: Final = 2_500_000_000
"""After so long a session is announced even if no sound of it has come: the party is to be told."""


class Speaker:
    """Speaks for all streams of one device."""

    def __init__(
        self,
        streams: Iterable[StreamRecorder],
        spool: Spool,
        clock: Clock,
        policy: Policy,
        spoken: Callable[[int, str], None],
        cued: Callable[[int, str], None],
    ) -> None:
        """Make one.

        Args:
            streams: The device's streams.
            spool: Where announcements are signed into.
            clock: Boot-time.
            policy: Says which text a session begins with.
            spoken: Called with a stream's number and a text that has been spoken to its end.
            cued: Called with a stream's number and what its officer is to be told without words.
        """
        self._streams = {stream.number: stream for stream in streams}
        self._spool = spool
        self._clock = clock
        self._policy = policy
        self._spoken = spoken
        self._cued = cued
        self._announcer = Announcer(self._can_listen)
        self._peer: VoicePeer | None = None
        self._open: dict[int, bytes] = {}
        """Sessions that are known, by stream."""
        self._due: dict[int, int] = {}
        """Streams whose session has not been announced, and when it must be at the latest."""
        self._held: dict[int, list[tuple[str, dict[str, str]]]] = {}
        """What is to be said behind such an announcement."""
        self._check_done: Callable[[str], None] | None = None
        """Whoever waits for what comes of the sound of a check."""
        self._over: dict[int, bytes] = {}
        """By stream, the session that was spoken of after its end."""
        self._began_ns = clock.boottime_ns()

    @property
    def present(self) -> bool:
        """Whether a voice is connected."""
        return self._announcer.present

    # -- the voice's connection ----------------------------------------------------------------------------------

    def accept(self, connection: socket.socket) -> None:
        """Take a new voice; the one before it is closed when the loop reads from it next.

        Raises:
            DiskFullError: what became of an announcement cannot be signed.
        """
        if self._peer is not None:
            self._peer.hang_up()
            self._obey(self._announcer.gone(self._clock.boottime_ns()))
        self._peer = VoicePeer(connection)
        log.info("the voice is connected")
        self._obey(self._announcer.connected(self._clock.boottime_ns()))

    def receive(self, connection: socket.socket) -> bool:
        """Take what the voice says; return False when its connection is to be closed.

        Raises:
            DiskFullError: what became of an announcement cannot be signed.
        """
        peer = self._peer
        if peer is None or peer.socket is not connection:
            return False
        try:
            replies = peer.receive()
        except VoiceError as error:
            self._lost(error)
            return False
        for reply in replies:
            if reply.state == "failed":
                log.warning("announcement %d failed: %s", reply.number, link.short(reply.detail or ""))
            self._obey(self._announcer.replied(reply, self._clock.boottime_ns()))
        return self._peer is peer

    def _lost(self, error: VoiceError) -> None:
        log.warning("%s", error)
        self._peer = None
        self._obey(self._announcer.gone(self._clock.boottime_ns()))

    # -- what is ordered, and what happens -----------------------------------------------------------------------

    def say(self, stream: StreamRecorder, text: str, arguments: dict[str, str] | None = None) -> None:
        """Speak to everyone present; of a session that has just opened, behind its announcement."""
        self._look(stream.number, stream, self._clock.boottime_ns())
        if stream.number in self._due:
            self._held.setdefault(stream.number, []).append((text, arguments or {}))
            return
        self._say(stream, text, arguments)

    def _say(self, stream: StreamRecorder, text: str, arguments: dict[str, str] | None = None) -> None:
        self._obey(self._announcer.say(stream.number, text, arguments or {}, self._clock.boottime_ns()))

    def say_after(
        self, stream: StreamRecorder, session: bytes, text: str, arguments: dict[str, str] | None = None
    ) -> None:
        """Speak to everyone present about a session that is over."""
        self._over[stream.number] = session
        self._say(stream, text, arguments)

    def cue(self, stream: StreamRecorder, text: str, arguments: dict[str, str] | None = None) -> None:
        """Tell the officer."""
        self._obey(self._announcer.cue(stream.number, text, arguments or {}, self._clock.boottime_ns()))

    def say_again(self, stream: StreamRecorder) -> None:
        """Announce once more, for a party that has just arrived."""
        self.say(stream, self._policy.announcement.again)

    def check(self, stream: StreamRecorder, done: Callable[[str], None]) -> None:
        """Play a sound that the stream's microphone is to hear, outside of any session; nothing of it is signed.

        Args:
            stream: Whose microphone listens.
            done: Called with what came of it, as in an announcement's ``heard``.
        """
        self._check_done = done
        self._say(stream, CHECK_TEXT)

    def _can_listen(self, number: int) -> bool:
        stream = self._streams[number]
        return stream.can_listen or (self._check_done is not None and stream.slots.has_ear)

    def set_quiet(self, stream: StreamRecorder, *, quiet: bool) -> None:
        """Say whether a stream records a quiet matter: cues are then light and vibration alone."""
        (self._announcer.quiet.add if quiet else self._announcer.quiet.discard)(stream.number)

    def heard(self, answer: link.Heard) -> None:
        """A microphone has answered.

        Raises:
            DiskFullError: what became of an announcement cannot be signed.
        """
        self._obey(self._announcer.heard(answer, self._clock.boottime_ns()))

    def tick(self) -> None:
        """Time has passed: announce sessions that have opened, give up what is overdue.

        Raises:
            DiskFullError: what became of an announcement cannot be signed.
        """
        now = self._clock.boottime_ns()
        for number, stream in self._streams.items():
            self._look(number, stream, now)
        self._obey(self._announcer.tick(now))

    def _look(self, number: int, stream: StreamRecorder, now_ns: int) -> None:
        session = stream.session
        known = self._open.get(number)
        if known is not None and (session is None or session.id != known):
            del self._open[number]
            self._due.pop(number, None)
            self._held.pop(number, None)
            self._announcer.closed(number)
        if session is None:
            return
        if number not in self._open:
            self._open[number] = session.id
            # A session of a recorder before this one goes on: it has been announced.
            if session.zero_boottime_ns + session.begin_ns >= self._began_ns:
                self._due[number] = now_ns + SOUND_WITHIN_NS
        due_ns = self._due.get(number)
        if due_ns is None or not (stream.slots.sounds or session.mode == "photo" or now_ns >= due_ns):
            return
        del self._due[number]
        text = self._policy.start_text(session.mode, session.matter)
        if text is not None:
            self._say(stream, text, {"matter": f"matter.{session.matter}"} if session.matter else None)
        for held, arguments in self._held.pop(number, []):
            self._say(stream, held, arguments)

    def _obey(self, actions: list[Action]) -> None:
        for action in actions:
            if isinstance(action, Speak):
                self._send(Order(number=action.number, say=action.text, arguments=action.arguments))
            elif isinstance(action, Listen):
                order = link.Listen(number=action.number, played_boottime_ns=action.played_boottime_ns)
                self._streams[action.stream].slots.listen_for(order, action.pattern)
            elif isinstance(action, Sign):
                self._sign(action.stream, action.body)
            elif isinstance(action, Cue):
                log.info("cue for the officer, stream %d: %s", action.stream, action.text)
                self._cued(action.stream, action.text)
            else:
                self._spoken(action.stream, action.text)

    def _send(self, order: Order) -> None:
        if self._peer is None:
            return
        try:
            self._peer.send(order)
        except VoiceError as error:
            log.warning("%s", error)
            self._peer.hang_up()  # the loop then reads its end, and the order has failed

    def _sign(self, number: int, body: Announcement) -> None:
        if body.text == CHECK_TEXT:
            done, self._check_done = self._check_done, None
            if done is not None:
                done(body.heard)
            return
        stream = self._streams[number]
        log.log(
            logging.WARNING if body.heard == "not-heard" else logging.INFO,
            "stream %s: %s: %s",
            stream.section.name,
            body.text,
            body.heard,
        )
        # Between open and close of a session nothing of another has a place.
        if body.text in SPOKEN_AFTER:
            about = self._over.get(number) if stream.session is None else None
        else:
            about = stream.session.id if stream.session is not None else None
        if about is not None:
            self._spool.append(number, about, [body])
