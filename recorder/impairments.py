"""What a recording suffers from while it goes on: covered lens, dark or frozen picture, silence. A state machine.

The sources see it (:mod:`recorder.source.sight`, :mod:`recorder.source.hush`) and tell of its beginning and its end.
Nothing is missing from the recording, so it is a fault with a beginning and an end, and no gap.

1. Only a recording suffers. What a device sees and hears before it starts is remembered, and counts from the start on.
2. A beginning is signed at once, and the officer is told at once.
3. An end is signed when it has lasted a minute, or the session closes. What comes again before that belongs to the
   same record, which counts how often, and how long it was together: a lens that is covered and cleared in turn makes
   no more than two records a minute.
4. A picture that stays frozen is a source to be replaced; each time without success the patience doubles.

Times are boot-time in nanoseconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from recorder.evidence.records import Fault

if TYPE_CHECKING:
    from collections.abc import Collection

CUES: Final[dict[str, str | None]] = {
    "lens_blocked": "cue.lens.blocked",
    "picture_dark": "cue.picture.dark",
    "picture_frozen": "cue.picture.frozen",
    "sound_silent": "cue.sound.silent",
    "unwatched": None,
}
"""Code to the text that tells the officer. ``unwatched``: the source looks, or listens, for these no more."""
TOGETHER_NS: Final = 60_000_000_000
PATIENCE_LONGEST_NS: Final = 3_600_000_000_000
_MOST_DOUBLINGS: Final = 20


@dataclass(frozen=True, slots=True)
class Sign:
    """Sign this into the session."""

    body: Fault


@dataclass(frozen=True, slots=True)
class Cue:
    """Tell the officer."""

    text: str


@dataclass(frozen=True, slots=True)
class Replace:
    """End this source: its picture is frozen, another process may do better."""

    source: str


Action = Sign | Cue | Replace


@dataclass(slots=True)
class _Episode:
    source: str
    start_ns: int
    since_ns: int | None
    """The present beginning; None while it is over."""
    ended_ns: int = 0
    length_ns: int = 0
    """Of what is over."""
    count: int = 1

    def end(self, at_ns: int) -> None:
        if self.since_ns is not None:
            self.ended_ns = max(at_ns, self.since_ns)
            self.length_ns += self.ended_ns - self.since_ns
            self.since_ns = None


class Impairments:
    """Keeps account of one stream."""

    def __init__(self, frozen_patience_ns: dict[str, int]) -> None:
        """Make one.

        Args:
            frozen_patience_ns: by source, how long a picture may be frozen before the source is replaced; 0: for ever.
        """
        self._patience_ns = frozen_patience_ns
        self._lasting: dict[str, tuple[str, int, str | None]] = {}
        """What the sources say now, by code: source, since when, detail."""
        self._episodes: dict[str, _Episode] = {}
        self._opened_ns: int | None = None
        """Since when there is a recording."""
        self._recorded: Collection[str] = ()
        """Sources that are recorded: no recording suffers from what another one sees."""
        self._replaced: dict[str, tuple[int, int]] = {}
        """Sources that were replaced for their frozen picture: how often in a row, and when last."""

    @property
    def lasting(self) -> list[str]:
        """Codes of what the recording suffers from now."""
        return sorted(code for code, episode in self._episodes.items() if episode.since_ns is not None)

    def seen(self, source: str) -> tuple[str, ...]:
        """Return the codes of what a source says now, whether anything is recorded or not."""
        return tuple(sorted(code for code, (who, _, _) in self._lasting.items() if who == source))

    # -- what happens --------------------------------------------------------------------------------------------

    def begins(self, source: str, code: str, at_ns: int, detail: str | None = None) -> list[Action]:
        """A source says that something began; a code that is not known here is passed over."""
        if code not in CUES or code in self._lasting:
            return []
        self._lasting[code] = (source, at_ns, detail)
        if code == "picture_frozen" and at_ns - self._replaced.get(source, (0, at_ns))[1] > TOGETHER_NS:
            del self._replaced[source]  # it had helped
        return self._suffer(code)

    def ends(self, source: str, code: str, at_ns: int) -> None:
        """A source says that it is over."""
        known = self._lasting.get(code)
        if known is None or known[0] != source:
            return
        del self._lasting[code]
        if code == "picture_frozen":
            self._replaced.pop(source, None)
        episode = self._episodes.get(code)
        if episode is not None:
            episode.end(at_ns)

    def gone(self, source: str, at_ns: int) -> None:
        """A source has ended: nobody knows whether what it saw goes on; the next one will tell."""
        for code in [code for code, known in self._lasting.items() if known[0] == source]:
            del self._lasting[code]
            if code in self._episodes:
                self._episodes[code].end(at_ns)

    def opened(self, now_ns: int, recorded: Collection[str]) -> list[Action]:
        """A recording of these sources begins, or goes on after a fault of the device."""
        self._opened_ns, self._recorded = now_ns, recorded
        return [action for code in sorted(self._lasting) for action in self._suffer(code)]

    def closed(self, at_ns: int) -> list[Fault]:
        """The recording ends: return what is to be signed before its last record."""
        for episode in self._episodes.values():
            episode.end(at_ns)
        bodies = [_over(code, episode) for code, episode in sorted(self._episodes.items())]
        self._episodes.clear()
        self._opened_ns = None
        return bodies

    def tick(self, now_ns: int) -> list[Action]:
        """Look at the clock."""
        actions: list[Action] = []
        for code, episode in sorted(self._episodes.items()):
            if episode.since_ns is None and now_ns - episode.ended_ns >= TOGETHER_NS:
                actions.append(Sign(_over(code, episode)))
                del self._episodes[code]
            elif code == "picture_frozen" and episode.since_ns is not None and self._waited(episode, now_ns):
                self._replaced[episode.source] = (self._replaced.get(episode.source, (0, 0))[0] + 1, now_ns)
                episode.end(now_ns)
                del self._lasting[code]
                actions.append(Replace(episode.source))
        return actions

    def _waited(self, episode: _Episode, now_ns: int) -> bool:
        patience_ns = self._patience_ns.get(episode.source, 0)
        if patience_ns <= 0 or episode.since_ns is None:
            return False
        tries = min(self._replaced.get(episode.source, (0, 0))[0], _MOST_DOUBLINGS)
        return now_ns - episode.since_ns >= min(patience_ns << tries, max(PATIENCE_LONGEST_NS, patience_ns))

    def _suffer(self, code: str) -> list[Action]:
        if self._opened_ns is None:
            return []
        source, since_ns, detail = self._lasting[code]
        if source not in self._recorded:
            return []
        at_ns = max(since_ns, self._opened_ns)
        episode = self._episodes.get(code)
        if episode is not None:
            episode.source, episode.since_ns = source, max(at_ns, episode.ended_ns)
            episode.count += 1
            return []
        self._episodes[code] = _Episode(source, at_ns, at_ns)
        text = CUES[code]
        begun = Sign(Fault(code=code, detail=detail or None, start_boottime_ns=at_ns))
        return [begun] if text is None else [begun, Cue(text)]


def _over(code: str, episode: _Episode) -> Fault:
    return Fault(
        code=code,
        start_boottime_ns=episode.start_ns,
        end_boottime_ns=episode.ended_ns,
        length_ns=episode.length_ns,
        count=episode.count,
    )
