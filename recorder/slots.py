"""The sources of one stream, connected or not: which tracks each is to deliver, and what it is told and asked."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from recorder.peers import PeerLostError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from recorder.config import SourceSection
    from recorder.peers import SourcePeer
    from recorder.source import link

log = logging.getLogger(__name__)

HUNG_NS: Final = 3_000_000_000
"""A source has its own watchdog; so much later the recorder ends it."""
TRACK_IDS: Final = {"video": 1, "audio": 2}
TRACKS_OF: Final = {"audio": ("audio",), "photo": ()}
"""Tracks that a session of this mode has; of another mode it has all that the sources deliver."""
LISTENING_KINDS: Final = ("pyaudio",)
"""Sources that have the sound uncoded and can listen to it."""


@dataclass(slots=True)
class Slot:
    """A configured source, connected or not."""

    name: str
    section: SourceSection
    peer: SourcePeer | None = None
    started: bool = False
    """It has been told to begin, and so answers a stop."""
    has_init: bool = False
    flows: bool = False
    """A fragment of its present run is on the disk."""
    ended: bool = False
    heard_boottime_ns: int = 0
    codes: str | None = None
    """What becomes of codes shown to the lens, as its ``hello`` said."""

    def wanted(self, mode: str) -> list[str]:
        """Return the tracks that a recording in this mode takes from it."""
        return [track for track in self.section.tracks if track in TRACKS_OF.get(mode, TRACK_IDS)]

    def hangs(self, now_boottime_ns: int) -> bool:
        """Tell whether it has been silent for longer than its own watchdog can have let it."""
        silent_ns = now_boottime_ns - self.heard_boottime_ns
        return self.peer is not None and silent_ns > self.section.stall_after_s * 1e9 + HUNG_NS

    def stopped(self) -> None:
        """It is not being recorded any more."""
        self.started = self.has_init = self.flows = False

    def send(self, message: link.Message, payload: bytes = b"") -> None:
        """Send it a message; one that is not there gets none, one that does not read is ended."""
        if self.peer is None:
            return
        try:
            self.peer.send(message, payload)
        except PeerLostError as error:
            log.warning("%s", error)
            self.kill()

    def kill(self) -> None:
        """End it, where it is there: another process may do better. The loop then reads the end of its connection."""
        if self.peer is not None:
            self.peer.kill()


class Slots:
    """The sources that are configured for one stream."""

    def __init__(self, sections: dict[str, SourceSection]) -> None:
        self._slots = {name: Slot(name, section) for name, section in sections.items()}

    def __iter__(self) -> Iterator[Slot]:
        return iter(self._slots.values())

    def __getitem__(self, name: str) -> Slot:
        return self._slots[name]

    def find(self, name: str) -> Slot | None:
        """Return the source of this name; None where none is configured."""
        return self._slots.get(name)

    def tracks(self, mode: str) -> list[str]:
        """Return the tracks that a recording in this mode is to have."""
        return sorted({track for slot in self for track in slot.wanted(mode)}, reverse=True)

    def recorded(self, mode: str) -> frozenset[str]:
        """Return the names of the sources that are recorded in this mode."""
        return frozenset(slot.name for slot in self if slot.wanted(mode))

    # -- the camera ----------------------------------------------------------------------------------------------

    @property
    def camera(self) -> SourcePeer | None:
        """The camera that can be asked for a photograph; None where it is not connected."""
        return next((slot.peer for slot in self if "video" in slot.section.tracks), None)

    def tell_camera(self, message: link.Take) -> None:
        """Ask the camera for a photograph; one that is not there will not answer."""
        for slot in self:
            if "video" in slot.section.tracks:
                slot.send(message)

    # -- the microphone ------------------------------------------------------------------------------------------

    @property
    def has_ear(self) -> bool:
        """Whether a microphone is configured that can be told to listen."""
        return any(slot.section.kind in LISTENING_KINDS for slot in self)

    @property
    def sounds(self) -> bool:
        """Whether sound of the present session is coming: what is spoken now will be in it."""
        return any("audio" in slot.section.tracks and slot.has_init for slot in self)

    def listen_for(self, message: link.Listen, pattern: bytes) -> None:
        """Tell the microphone to listen; one that is not there will not answer."""
        for slot in self:
            if slot.section.kind in LISTENING_KINDS:
                slot.send(message, pattern)

    # -- all of them ---------------------------------------------------------------------------------------------

    def probe(self, order: link.Probe) -> list[str]:
        """Have the connected sources count what they deliver; return which were asked."""
        asked = [slot for slot in self if slot.peer is not None]
        for slot in asked:
            slot.send(order)
        return [slot.name for slot in asked]

    def dismiss(self) -> None:
        """The recorder ends in order: so do the sources that are its own, also those of a recorder before it."""
        for slot in self:
            if slot.peer is not None and slot.section.spawn:
                slot.peer.dismiss()
