"""One instance: a muxer from a ``start`` on, its init segment, and what the recorder has not yet acknowledged. Pure."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from recorder.source import link
from recorder.source.buffer import KEEP_NS, Kept
from recorder.source.initsegment import init_segment
from recorder.source.mux import Muxer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from recorder.source.driver import Format, Sample
    from recorder.source.mux import Piece

log = logging.getLogger(__name__)


class Instance:
    """The states are: running, finished (no more frames), done (finished and all acknowledged)."""

    def __init__(self, instance: bytes, start: link.Start, formats: dict[str, Format]) -> None:
        """Make a muxer for the tracks that both the recorder asks for and the driver has.

        Raises:
            MuxError: they cannot be described in MP4.
        """
        self.id = instance
        self.session = start.session
        self.formats = {track: form for track, form in formats.items() if track in start.track_ids}
        self._init = init_segment(self.formats, start.track_ids)
        self._muxer = Muxer(
            self.formats,
            start.track_ids,
            start.zero_boottime_ns,
            start.wait_ms * 1_000_000,
            from_boottime_ns=start.from_boottime_ns,
            # What is kept from before a press are pictures: sound that still waits here from then is not.
            sound_from_boottime_ns=start.zero_boottime_ns + start.past_ns,
        )
        self._kept = Kept(KEEP_NS + start.past_ns)
        self._init_sent = False
        self._ended_sent = False
        self._acknowledged = -1
        self.finished = False

    @property
    def done(self) -> bool:
        """Whether everything is on the recorder's disk and nothing more will come."""
        return self.finished and self._acknowledged >= self._muxer.next_number - 1

    @property
    def corrected(self) -> int:
        """Decode times that the muxer had to move on."""
        return self._muxer.corrected

    @property
    def next_number(self) -> int:
        """Number that the next fragment will have."""
        return self._muxer.next_number

    @property
    def kept_size_bytes(self) -> int:
        """Bytes that wait to be acknowledged."""
        return self._kept.size_bytes

    def hello(self, hello: link.Hello) -> link.Hello:
        """Return a ``hello`` that tells of this instance."""
        return link.Hello(
            stream=hello.stream,
            source=hello.source,
            pid=hello.pid,
            tracks=hello.tracks,
            software=hello.software,
            codes=hello.codes,
            instance=self.id,
            session=self.session,
            oldest=self._kept.oldest if self._kept.oldest is not None else self._muxer.next_number,
            next=self._muxer.next_number,
        )

    def put(self, sample: Sample) -> None:
        """Take a frame.

        Raises:
            MuxError: it cannot be put into the film.
        """
        if sample.track in self.formats and not self.finished:
            self._keep(self._muxer.put(sample))

    def discard(self, track: str, reason: str, count: int) -> None:
        """Count frames that were received but could not be taken."""
        if not self.finished:
            self._muxer.discard(track, reason, count)

    def cut(self, track: str) -> None:
        """Frames of a track are known to be missing now; what came before them goes out first."""
        if not self.finished:
            self._keep(self._muxer.cut(track))

    def tick(self, now_ns: int) -> None:
        """Tell the time."""
        if not self.finished:
            self._keep(self._muxer.tick(now_ns))

    def finish(self) -> None:
        """Close the muxer: what it holds becomes a last fragment."""
        if not self.finished:
            self._keep(self._muxer.finish())
            self.finished = True

    def acknowledge(self, number: int) -> None:
        """The recorder has the fragments up to ``number`` on its disk."""
        self._acknowledged = max(self._acknowledged, number)
        self._kept.acknowledge(number)

    def connection_lost(self) -> None:
        """Nothing counts as sent any more."""
        self._init_sent = self._ended_sent = False
        self._kept.connection_lost()

    def resume(self, next_number: int) -> None:
        """A recorder wants the instance to go on with ``next_number``; it gets the init segment once more."""
        self.acknowledge(next_number - 1)

    def outgoing(self) -> Iterator[bytes]:
        """Yield the messages that wait to be sent, in order; each then counts as sent."""
        if not self._init_sent:
            self._init_sent = True
            tracks = {
                track: link.TrackForm(codec=form.codec, timescale=form.timescale)
                for track, form in self.formats.items()
            }
            yield link.encode(link.Init(instance=self.id, session=self.session, tracks=tracks), self._init)
        while (piece := self._kept.next_to_send()) is not None:
            message = link.Fragment(instance=self.id, number=piece.number, key=piece.key, tracks=piece.counts)
            yield link.encode(message, piece.data)
        if self.finished and not self._ended_sent:
            self._ended_sent = True
            yield link.encode(link.Ended(instance=self.id, session=self.session, next=self._muxer.next_number))

    def _keep(self, pieces: list[Piece]) -> None:
        for piece in pieces:
            dropped = self._kept.append(piece)
            if dropped:
                log.warning(
                    "instance %s: %d fragments up to number %d dropped, the recorder has not taken them",
                    self.id.hex()[:8],
                    dropped,
                    piece.number,
                )
