"""What the device says, and whether it was heard (R3): a state machine without I/O.

1. One text is spoken at a time, in the order in which they were ordered; the newest warning goes first. What was to be
   said of a recording that is over gives way to the telling of the next.
2. While a text for everyone is played, the stream's microphone is told to listen for it. What comes of that is signed:
   heard, not heard, a companion's heard, or not checked where the device has no microphone that could.
3. An announcement that tells the party of the recording and was not heard is a warning to the officer at once, and is
   repeated once. What the repetition was, is signed too.
4. A voice that is absent, hangs or fails is an announcement that was not heard. Nothing here can delay a recording.
5. A quiet matter (a hearing, a questioning) has no cue that sounds: lights and vibration alone.

Times are boot-time in nanoseconds. Every method returns what the daemon is to do, in order.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from recorder.evidence.records import Announcement
from recorder.source.listen import EARLIEST_NS, LATEST_NS

if TYPE_CHECKING:
    from collections.abc import Callable

    from recorder.source.link import Heard
    from recorder.voice.messages import Reply

BEGINS_WITHIN_NS: Final = 6_000_000_000
"""A voice may have to start first, and to make the sound."""
TONE_LONGEST_NS: Final = 2_000_000_000
"""A tone goes before the words, which are what is listened for."""
DONE_LATE_NS: Final = 5_000_000_000
HEARD_LATE_NS: Final = LATEST_NS + 3_000_000_000
"""After the end of a text, so long for the microphone's answer; then it is dead, and nothing was heard."""
MAX_WAITING: Final = 16
"""More texts than that are never waiting in earnest; the oldest cue, else the newest text, is dropped."""
TELLING: Final = ("say.start.", "say.again")
"""Texts that tell the party of the recording."""
OF_THE_PAST: Final = ("say.end.code",)
"""Texts about a recording that is over: the party of the next one need not wait for them."""
QUIET: Final = ("say.reminder",)
"""Texts for everyone that a quiet matter does without."""


@dataclass(frozen=True, slots=True)
class Speak:
    """Send an order to the voice."""

    number: int
    text: str
    arguments: dict[str, str]


@dataclass(frozen=True, slots=True)
class Listen:
    """Tell a stream's microphone to listen."""

    stream: int
    number: int
    played_boottime_ns: int
    pattern: bytes


@dataclass(frozen=True, slots=True)
class Sign:
    """Sign what became of an announcement, into the stream's session."""

    stream: int
    body: Announcement


@dataclass(frozen=True, slots=True)
class Cue:
    """Tell the officer by light and vibration; where it may sound, the voice has been ordered too."""

    stream: int
    text: str
    arguments: dict[str, str]


@dataclass(frozen=True, slots=True)
class Spoken:
    """A text has been spoken to its end."""

    stream: int
    text: str


Action = Speak | Listen | Sign | Cue | Spoken


@dataclass(slots=True)
class _Item:
    number: int
    stream: int
    text: str
    arguments: dict[str, str]
    ordered_ns: int
    cue: bool
    attempt: int = 0
    sent: bool = False
    played_ns: int | None = None
    due_ns: int = 0
    """The voice's next answer, after the end the microphone's, must come before."""
    judged: bool = False
    """What became of it has been signed."""


@dataclass(slots=True)
class Announcer:
    """All that one device says."""

    can_listen: Callable[[int], bool]
    """Whether a stream has a microphone that can listen."""
    present: bool = False
    """A voice is connected."""
    quiet: set[int] = field(default_factory=set)
    """Streams that record a quiet matter."""
    _number: int = 0
    _waiting: deque[_Item] = field(default_factory=deque)
    _current: _Item | None = None
    _listening: dict[int, _Item] = field(default_factory=dict)
    _played: deque[tuple[str, int]] = field(default_factory=lambda: deque(maxlen=8))
    """Texts played of late, and when: they are not a companion's."""

    # -- what is ordered -----------------------------------------------------------------------------------------

    def say(self, stream: int, text: str, arguments: dict[str, str], now_ns: int) -> list[Action]:
        """Speak a text to everyone present."""
        if stream in self.quiet and text in QUIET:
            return [Cue(stream, text, arguments)]
        if text.startswith(TELLING):
            self._waiting = deque(one for one in self._waiting if one.stream != stream or one.text not in OF_THE_PAST)
        self._put(self._item(stream, text, arguments, now_ns, cue=False))
        return self._next(now_ns)

    def cue(self, stream: int, text: str, arguments: dict[str, str], now_ns: int) -> list[Action]:
        """Tell the officer something."""
        if stream not in self.quiet:
            self._put(self._item(stream, text, arguments, now_ns, cue=True))
        return [Cue(stream, text, arguments), *self._next(now_ns)]

    # -- what happens --------------------------------------------------------------------------------------------

    def connected(self, now_ns: int) -> list[Action]:
        """A voice has come."""
        self.present = True
        return self._next(now_ns)

    def gone(self, now_ns: int) -> list[Action]:
        """The voice is gone: what it was speaking has failed."""
        self.present = False
        return self._failed(now_ns) if self._current is not None else []

    def replied(self, reply: Reply, now_ns: int) -> list[Action]:
        """The voice has said what became of an order; of an old order nothing is taken."""
        item = self._current
        if item is None or reply.number != item.number:
            return []
        if reply.state == "failed":
            return self._failed(now_ns)
        if reply.state == "playing" and item.played_ns is None:
            item.played_ns = min(reply.boottime_ns, now_ns + TONE_LONGEST_NS)
            item.due_ns = now_ns + reply.length_ns + DONE_LATE_NS
            if not item.cue and reply.pattern is not None and self.can_listen(item.stream):
                self._listening[item.number] = item
                return [Listen(item.stream, item.number, item.played_ns, reply.pattern)]
        if reply.state == "done" and item.played_ns is not None:
            self._current = None
            actions: list[Action] = [Spoken(item.stream, item.text)]
            if item.number in self._listening:
                item.due_ns = now_ns + HEARD_LATE_NS
            elif not item.cue and not item.judged:
                actions += self._result(item, "not-checked", None, None, now_ns)
            return actions + self._next(now_ns)
        return []

    def heard(self, answer: Heard, now_ns: int) -> list[Action]:
        """The microphone has said what it heard."""
        item = self._listening.pop(answer.number, None)
        if item is None or item.played_ns is None:
            return []
        companion = answer.companion and not self._ours(item, answer)
        how = "heard" if answer.heard else "companion" if companion else "not-heard"
        level = answer.level_millibels if how != "not-heard" else None
        # A record's delay is never negative: a microphone's time may be early by a little, a companion's is another.
        delay = max(answer.delay_ns, 0) if how == "heard" and answer.delay_ns is not None else None
        self._played.append((item.text, item.played_ns))
        return self._result(item, how, delay, level, now_ns)

    def tick(self, now_ns: int) -> list[Action]:
        """Time has passed."""
        actions: list[Action] = []
        current = self._current
        if current is not None and now_ns >= current.due_ns:
            actions += self._failed(now_ns)
        if not self.present and self._waiting and now_ns >= self._waiting[0].ordered_ns + BEGINS_WITHIN_NS:
            self._current = self._waiting.popleft()
            actions += self._failed(now_ns)
        for item in [one for one in self._listening.values() if one is not self._current and now_ns >= one.due_ns]:
            del self._listening[item.number]
            actions += self._result(item, "not-heard", None, None, now_ns)
        return actions + self._next(now_ns)

    def closed(self, stream: int) -> None:
        """The stream's session has been closed: what has not been signed of it cannot be any more."""
        for number in [number for number, item in self._listening.items() if item.stream == stream]:
            del self._listening[number]
        for again in [one for one in self._waiting if one.stream == stream and one.attempt]:
            self._waiting.remove(again)
        self.quiet.discard(stream)

    # -- inside --------------------------------------------------------------------------------------------------

    def _item(self, stream: int, text: str, arguments: dict[str, str], now_ns: int, *, cue: bool) -> _Item:
        self._number += 1
        return _Item(self._number, stream, text, arguments, now_ns, cue)

    def _put(self, item: _Item, *, first: bool = False) -> None:
        if len(self._waiting) >= MAX_WAITING:
            cues = [one for one in self._waiting if one.cue]
            self._waiting.remove(cues[0] if cues else self._waiting[-1])
        if first:
            self._waiting.appendleft(item)
        else:
            self._waiting.append(item)

    def _next(self, now_ns: int) -> list[Action]:
        if self._current is not None or not self._waiting or not self.present:
            return []
        item = self._current = self._waiting.popleft()
        item.due_ns = now_ns + BEGINS_WITHIN_NS
        return [Speak(item.number, item.text, item.arguments)]

    def _failed(self, now_ns: int) -> list[Action]:
        item, self._current = self._current, None
        if item is None:
            return []
        self._listening.pop(item.number, None)
        result = [] if item.cue or item.judged else self._result(item, "not-heard", None, None, now_ns)
        return result + self._next(now_ns)

    def _result(
        self, item: _Item, how: str, delay_ns: int | None, level_millibels: int | None, now_ns: int
    ) -> list[Action]:
        item.judged = True
        spoken_ns = item.played_ns if item.played_ns is not None else item.ordered_ns
        body = Announcement(
            text=item.text,
            spoken_boottime_ns=spoken_ns,
            heard=how,
            delay_ns=delay_ns,
            level_millibels=level_millibels,
        )
        actions: list[Action] = [Sign(item.stream, body)]
        if not item.text.startswith(TELLING):
            return actions
        if how == "not-heard":
            if item.attempt == 0:
                again = self._item(item.stream, item.text, item.arguments, now_ns, cue=False)
                again.attempt = 1
                self._put(again, first=True)
            return actions + self._warn(item.stream, "cue.heard.no", now_ns)
        if how == "companion":
            return actions + self._warn(item.stream, "cue.heard.companion", now_ns)
        if how == "heard" and item.attempt:
            return actions + self._warn(item.stream, "cue.heard.after_retry", now_ns)
        return actions

    def _warn(self, stream: int, text: str, now_ns: int) -> list[Action]:
        if stream not in self.quiet:
            self._put(self._item(stream, text, {}, now_ns, cue=True), first=True)
        return [Cue(stream, text, {}), *self._next(now_ns)]

    def _ours(self, item: _Item, answer: Heard) -> bool:
        """Say whether what seems to be a companion's is what this device itself played a moment before."""
        if item.played_ns is None or answer.delay_ns is None:
            return False
        at_ns = item.played_ns + answer.delay_ns
        return any(text == item.text and EARLIEST_NS <= at_ns - played <= LATEST_NS for text, played in self._played)
