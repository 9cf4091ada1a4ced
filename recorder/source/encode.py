"""Encoders for what the device does not code itself: H.264 by libx264, AAC by libavcodec."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final

from recorder.source.driver import VIDEO_TIMESCALE, Format, Level, Sample, boottime_ns, nanoseconds
from recorder.source.initsegment import FRAGMENTED, Written
from recorder.source.nal import length_prefixed, split_annex_b

if TYPE_CHECKING:
    from collections.abc import Iterator

    from recorder.source.stamp import Stamp

AAC_FRAME: Final = 1024
"""Samples of sound in one AAC frame."""
_FULL_SCALE: Final = 32768.0
_NEVER: Final = "100000"


class VideoEncoder:
    """libx264 without B-frames and look-ahead: each picture comes out at once; key frames where they are asked for."""

    def __init__(
        self, width_px: int, height_px: int, frames_per_second: int, bitrate_bps: int, stamp: Stamp | None = None
    ) -> None:
        """Make one.

        Args:
            width_px: Of the pictures.
            height_px: Of the pictures.
            frames_per_second: The usual number.
            bitrate_bps: Aim.
            stamp: Drawn into each picture; None where it has been drawn already.
        """
        import av

        self._container: Any = av.open(Written(), "w", format="mp4", options=dict(FRAGMENTED))
        options = {
            "preset": "ultrafast",
            "tune": "zerolatency",
            "profile": "baseline",
            "forced-idr": "1",
            "x264-params": f"keyint={_NEVER}:scenecut=0",
        }
        stream: Any = self._container.add_stream("libx264", rate=frames_per_second, options=options)
        stream.width, stream.height, stream.pix_fmt = width_px, height_px, "yuv420p"
        stream.bit_rate = bitrate_bps
        stream.codec_context.time_base = Fraction(1, VIDEO_TIMESCALE)
        stream.codec_context.thread_count = 1
        self._container.start_encoding()
        self._stream = stream
        self._duration = VIDEO_TIMESCALE // frames_per_second
        self._stamp = stamp
        self._i_picture = av.video.frame.PictureType.I
        self._p_picture = av.video.frame.PictureType.NONE

    @property
    def format(self) -> Format:
        """How the picture is coded."""
        return Format("h264", VIDEO_TIMESCALE, self._stream)

    def encode(
        self, frame: Any, at: int, *, key: bool, sensor_ns: int | None = None, number: int | None = None
    ) -> Iterator[Sample]:
        """Yield the coded picture.

        Args:
            frame: An ``av.VideoFrame``, YUV 4:2:0.
            at: When it was taken, in ticks of 1/90000 s on the boot-time clock.
            key: It must be a key frame.
            sensor_ns: Boot-time at which the hardware took it, where it tells.
            number: The device's own number of it.
        """
        arrival_ns = boottime_ns()
        if self._stamp is not None:
            self._stamp.draw_frame(frame, nanoseconds(at, VIDEO_TIMESCALE))
        frame.pts = at
        frame.time_base = Fraction(1, VIDEO_TIMESCALE)
        frame.pict_type = self._i_picture if key else self._p_picture
        for packet in self._stream.encode(frame):
            yield Sample(
                track="video",
                data=length_prefixed(split_annex_b(bytes(packet))),
                decode=packet.dts,
                presentation=packet.pts,
                duration=self._duration,
                key=packet.is_keyframe,
                arrival_ns=arrival_ns,
                sensor_ns=sensor_ns,
                number=number,
            )


class AudioEncoder:
    """AAC-LC from 16-bit samples, with the level of each frame."""

    def __init__(self, rate_hz: int, channels: int, bitrate_bps: int) -> None:
        import av

        self._layout = "mono" if channels == 1 else "stereo"
        self._rate_hz = rate_hz
        self._container: Any = av.open(Written(), "w", format="mp4", options=dict(FRAGMENTED))
        stream: Any = self._container.add_stream("aac", rate=rate_hz, layout=self._layout)
        stream.bit_rate = bitrate_bps
        stream.codec_context.time_base = Fraction(1, rate_hz)
        self._container.start_encoding()
        self._stream = stream
        self._frame = av.AudioFrame
        self._resampler = av.AudioResampler(format="fltp", layout=self._layout, rate=rate_hz)
        self._levels: list[tuple[int, Level]] = []

    @property
    def format(self) -> Format:
        """How the sound is coded."""
        return Format("aac", self._rate_hz, self._stream)

    def encode(self, pcm: bytes, at: int, arrival_ns: int) -> Iterator[Sample]:
        """Yield what comes out for one frame of sound.

        Args:
            pcm: 1024 samples a channel, interleaved, 16 bit.
            at: Time of the first sample, in samples on the boot-time clock.
            arrival_ns: Boot-time at which the last of it reached this process.
        """
        frame = self._frame(format="s16", layout=self._layout, samples=AAC_FRAME)
        frame.sample_rate = self._rate_hz
        frame.planes[0].update(pcm)
        frame.pts = at
        frame.time_base = Fraction(1, self._rate_hz)
        self._levels.append((at, level(pcm)))
        for planar in self._resampler.resample(frame):
            planar.pts, planar.time_base = at, Fraction(1, self._rate_hz)
            for packet in self._stream.encode(planar):
                yield Sample(
                    track="audio",
                    data=bytes(packet),
                    decode=packet.pts,
                    presentation=packet.pts,
                    duration=AAC_FRAME,
                    key=True,
                    arrival_ns=arrival_ns,
                    level=self._level_of(packet.pts),
                )

    def _level_of(self, at: int) -> Level | None:
        """Return the level of the sound that a decoder gives for the packet of this time."""
        while self._levels and self._levels[0][0] < at - AAC_FRAME // 2:
            self._levels.pop(0)
        return self._levels[0][1] if self._levels and self._levels[0][0] <= at + AAC_FRAME // 2 else None


def level(pcm: bytes) -> Level:
    """Measure 16-bit samples."""
    values = memoryview(pcm).cast("h")
    if not len(values):
        return Level(0.0, 0.0)
    peak = max(abs(max(values)), abs(min(values)))
    return Level(peak / _FULL_SCALE, sum(value * value for value in values) / len(values) / _FULL_SCALE**2)
