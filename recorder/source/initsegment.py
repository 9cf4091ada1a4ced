"""The init segment (``ftyp``, ``moov``) of a film, written by libavformat: it knows how each codec describes itself."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final

from recorder.evidence.boxes import BoxSplitter, parse_init
from recorder.evidence.errors import BoxError
from recorder.source.driver import VIDEO_TIMESCALE
from recorder.source.errors import MuxError

if TYPE_CHECKING:
    from recorder.source.driver import Format

FRAGMENTED: Final = {
    "movflags": "frag_keyframe+empty_moov+default_base_moof+cmaf+skip_trailer+frag_discont",
    "video_track_timescale": str(VIDEO_TIMESCALE),
    "use_stream_ids_as_track_ids": "1",
}


class Written:
    """A file object that keeps the boxes written to it; not seekable, so that libavformat never goes back."""

    def __init__(self) -> None:
        self._splitter = BoxSplitter()
        self.parts: list[tuple[str, bytes]] = []

    def write(self, data: bytes) -> int:
        """Take the muxer's next bytes."""
        self.parts += self._splitter.feed(bytes(data))
        return len(data)


def init_segment(formats: dict[str, Format], track_ids: dict[str, int]) -> bytes:
    """Return the init segment for these tracks, in the order of their ids.

    The same formats and ids give the same bytes.

    Raises:
        MuxError: libavformat cannot describe a codec in MP4.
    """
    import av

    written = Written()
    container: Any = av.open(written, "w", format="mp4", options=dict(FRAGMENTED))
    try:
        for track in sorted(formats, key=track_ids.__getitem__):
            form = formats[track]
            stream = container.add_stream_from_template(form.template, opaque=True)
            stream.id = track_ids[track]
            stream.time_base = Fraction(1, form.timescale)
        container.start_encoding()
        container.close()
        init = next((data for kind, data in written.parts if kind == "init"), None)
        if init is None:
            raise MuxError("libavformat wrote no init segment")
        tracks = parse_init(init)
    except (av.FFmpegError, ValueError, BoxError) as error:
        raise MuxError(f"these tracks cannot be described in MP4: {error}") from error
    for track, form in formats.items():
        if tracks[track_ids[track]].timescale != form.timescale:
            raise MuxError(f"{track} must have a timescale of {form.timescale}")
    return init
