"""Small real media, muxed as the sources mux: init segments and fragments with times that run on."""

from __future__ import annotations

from functools import cache

import av

from recorder.evidence.boxes import BoxSplitter

MUX_OPTIONS = {
    "movflags": "frag_keyframe+empty_moov+default_base_moof+cmaf+skip_trailer+frag_discont",
    "frag_duration": "500000",
    "use_stream_ids_as_track_ids": "1",
    "video_track_timescale": "90000",
}


class Sink:
    """A file object that splits what the muxer writes."""

    def __init__(self) -> None:
        self.splitter = BoxSplitter()
        self.parts: list[tuple[str, bytes]] = []

    def write(self, data: bytes) -> int:
        self.parts += self.splitter.feed(bytes(data))
        return len(data)


@cache
def video(
    seconds: int = 6, gop: int = 25, start_s: int = 0, size: int = 64, track_id: int = 1
) -> tuple[bytes, tuple[bytes, ...]]:
    """Return (init, fragments) of H.264 at 25 pictures a second, a key frame every ``gop`` pictures."""
    sink = Sink()
    container = av.open(sink, "w", format="mp4", options=dict(MUX_OPTIONS))
    options = {"g": str(gop), "keyint_min": str(gop), "sc_threshold": "0", "bf": "0"}
    options |= {"preset": "ultrafast", "tune": "zerolatency"}
    stream = container.add_stream("libx264", rate=25, options=options)
    stream.width = stream.height = size
    stream.pix_fmt = "yuv420p"
    stream.id = track_id
    for number in range(seconds * 25):
        frame = av.VideoFrame(size, size, "yuv420p")
        for index, plane in enumerate(frame.planes):
            plane.update(bytes([(number * 3 + index * 40) % 256]) * plane.buffer_size)
        frame.pts = number + start_s * 25
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))
    container.close()
    return _split(sink)


@cache
def audio(seconds: int = 6, start_s: int = 0, track_id: int = 2) -> tuple[bytes, tuple[bytes, ...]]:
    """Return (init, fragments) of AAC, mono, 48 kHz."""
    sink = Sink()
    container = av.open(sink, "w", format="mp4", options=dict(MUX_OPTIONS))
    stream = container.add_stream("aac", rate=48000, layout="mono")
    stream.id = track_id
    for number in range(seconds * 48000 // 1024):
        frame = av.AudioFrame(format="fltp", layout="mono", samples=1024)
        frame.sample_rate = 48000
        frame.planes[0].update(bytes(frame.planes[0].buffer_size))
        frame.pts = (number + 1) * 1024 + start_s * 48000  # the encoder's priming goes before
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))
    container.close()
    return _split(sink)


def _split(sink: Sink) -> tuple[bytes, tuple[bytes, ...]]:
    (init,) = [part for kind, part in sink.parts if kind == "init"]
    return init, tuple(part for kind, part in sink.parts if kind == "fragment")
