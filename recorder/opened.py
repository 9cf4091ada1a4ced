"""A session that is open: what is known of it while it lasts, and how it is to end or to go on."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

from recorder.source import link

if TYPE_CHECKING:
    from recorder.assembly import Assembler
    from recorder.evidence import records
    from recorder.gaps import GapKeeper
    from recorder.slots import Slot
    from recorder.spool.spool import ChunkFile

SILENT_NS: Final = 2_000_000_000
"""A track that ended so long before the session did has a gap there."""
LOST_CAUSE: Final = {"video": "camera", "audio": "microphone"}


class Ending(NamedTuple):
    """How a session is to be closed."""

    reason: str
    closed_by: str
    statement: bool = False
    """The officer stated that the work on site is over."""


class Recovered(NamedTuple):
    """What a session was, that goes on after a crash."""

    session: bytes
    matter: str | None
    interval: tuple[str, int] | None
    """Reason and beginning of the interval of unsuitable content that it is in."""
    power: bool
    """The machine was off; else only the recorder was."""
    off_ns: int | None
    """For how long nothing was recorded, about; None where nobody can tell."""


@dataclass(slots=True)
class Session:
    """A session that is open."""

    id: bytes
    open_sequence: int
    zero_boottime_ns: int
    epoch: bytes
    assembler: Assembler
    gaps: GapKeeper
    gather_until_ns: int | None
    sources: dict[str, tuple[bytes, int]]
    """Per source, the run and newest fragment that is on the disk: where a reconnecting source goes on."""
    pending: list[tuple[Slot, link.Fragment, bytes]] = field(default_factory=list)
    file: ChunkFile | None = None
    chunks: int = 0
    """Chunks signed so far."""
    end_boottime_ns: int = 0
    """End of what is on the disk."""
    begin_ns: int = 0
    """Media time of the start: what comes before is a pre-event buffer's, and nothing is missing there."""
    mode: str = "video"
    matter: str | None = None
    ending: Ending | None = None
    """Once the end has been ordered."""
    from_boottime_ns: int = 0
    """When it went on after it had been off: what a source took before is not recorded."""
    off: str | None = None
    """Why nothing is to be recorded now."""
    off_complete: bool = False
    """The sources have flushed what they held before that."""
    go_on_due: bool = False
    """It is to go on as soon as they have."""
    ordered_boottime_ns: int = 0
    """When it was ordered."""
    flush_until_ns: int = 0
    due: list[records.Gap | records.Fault] = field(default_factory=list)
    """What is known and not signed yet: the next look at the clock does, or the disk had no room even for records."""
    last_bodies: list[records.Gap | records.Fault | records.SessionClose] = field(default_factory=list)
    """What closes the session, once that is decided."""
    waits_for_room: bool = False
    """Nothing could be signed: tried again at each look at the clock."""

    @property
    def runs(self) -> bool:
        """Whether it is being recorded: neither ending nor off."""
        return self.ending is None and self.off is None

    @property
    def pressed_boottime_ns(self) -> int:
        """When it was started; a pre-event buffer lies before it."""
        return self.zero_boottime_ns + self.begin_ns

    @property
    def last_boottime_ns(self) -> int:
        """When it ends: with its media, unless more was wanted until its end was ordered, and nothing came."""
        end = max(self.end_boottime_ns, self.zero_boottime_ns)
        return self.ordered_boottime_ns if self.ordered_boottime_ns - end > SILENT_NS else end

    def lost(self, slot: Slot, why: str) -> None:
        """A source cannot go on: so its tracks will be silent."""
        for track in slot.wanted(self.mode):
            self.gaps.because([track], LOST_CAUSE[track], link.short(why))

    def ends(self, tracks: list[str]) -> dict[str, int]:
        """Return at which boot-time each track ends so far; one that never came, where the session begins."""
        known = self.assembler.ends_ns
        return {track: self.zero_boottime_ns + known.get(track, self.begin_ns) for track in tracks}

    def unfinished(self, tracks: list[str], end_boottime_ns: int) -> dict[str, tuple[int, int]]:
        """Return the tracks that had stopped, or never came, by the end of the session, and between when."""
        ends = self.ends(tracks)
        return {track: (end, end_boottime_ns) for track, end in ends.items() if end_boottime_ns - end > SILENT_NS}
