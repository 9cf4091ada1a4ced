"""Whatever libavformat opens: network cameras (``rtsp://``), V4L2 devices (``/dev/video0``), files.

H.264, H.265 and AAC pass through untouched. What MP4 cannot hold or what is not coded at all (raw video, Motion JPEG,
G.711) is coded here. A file plays at its own pace; the option ``loop`` = ``yes``, which is ours and not libavformat's,
begins it again at its end.
"""

from __future__ import annotations

import logging
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final

from recorder.errors import ConfigError
from recorder.source.driver import VIDEO_TIMESCALE, Format, Sample, boottime_ns, nanoseconds
from recorder.source.encode import AudioEncoder, VideoEncoder
from recorder.source.errors import DeviceError
from recorder.source.loudness import Loudness, LoudnessGivenUpError
from recorder.source.nal import (
    is_key,
    length_prefixed,
    sequence_sets,
    split_annex_b,
    split_length_prefixed,
)
from recorder.source.pcm import Blocks
from recorder.source.pictures import Pictures
from recorder.source.timing import Aligner, Raw, Timed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from recorder.config import SourceSection
    from recorder.source.driver import Sink

log = logging.getLogger(__name__)

_NETWORK: Final = ("rtsp://", "rtsps://", "http://", "https://", "rtmp://", "udp://", "srt://")
_OPEN_MARGIN_S: Final = 1.5
_GATHER_S: Final = 0.2
"""Packets over TCP may gather so long in the kernel before they are read: waking for each costs most of all."""
_DRAINED_NS: Final = 3_000_000
_SMALL_SIZE_BYTES: Final = 64 << 10
"""A read of a packet no larger than this that took longer has waited for it: there was nothing to read any more."""
_PASSED: Final = {"video": ("h264", "hevc"), "audio": ("aac",)}
_PREFIX_SIZE_AT: Final = {"h264": 4, "hevc": 21}
"""Where avcC and hvcC say how long the lengths before NAL units are."""


class Input:
    """One input of libavformat."""

    def __init__(self, section: SourceSection) -> None:
        """Take the settings.

        Raises:
            ConfigError: there is no ``url``.
        """
        if not section.url:
            raise ConfigError('a source of kind "input" needs a url')
        self._section = section
        self._url: str = section.url
        self._network = self._url.startswith(_NETWORK)
        self._device = self._url.startswith("/dev/")
        self.cause = "camera_network" if self._network else "camera"
        self.ear = None
        self.pictures = Pictures(section.looks_per_second)

    def run(self, sink: Sink) -> None:
        """Capture until the sink is stopping.

        Raises:
            DeviceError: the input cannot be opened, ended, or gave what cannot be used.
        """
        import av

        try:
            container = self._open(av)
            try:
                self._capture(container, sink)
            finally:
                container.close()
        except (av.FFmpegError, OSError, ValueError) as error:
            raise self._failure(av, error) from None

    def _open(self, av: Any) -> Any:
        section = self._section
        options = {name: value for name, value in section.options.items() if name != "loop"}
        form = None
        if self._network:
            defaults = {
                "rtsp_transport": "tcp",
                "timeout": str(round(section.stall_after_s * 1e6)),
                "analyzeduration": "500000",
                "fpsprobesize": "0",
            }
            options = defaults | options
        elif self._device:
            form = "v4l2"
            size = f"{section.width_px}x{section.height_px}"
            options = {"video_size": size, "framerate": str(section.frames_per_second)} | options
        limit_s = section.stall_after_s + _OPEN_MARGIN_S
        # No limit for reading: whoever watches the age of the frames (vigil.py) ends this process, and asking the clock
        # in each read costs a tenth of all.
        return av.open(self._url, format=form, options=options, timeout=(limit_s, None))

    def _failure(self, av: Any, error: Exception) -> DeviceError:
        """Say what went wrong, without the address: it may hold a password."""
        words = getattr(error, "strerror", None) or type(error).__name__
        if isinstance(error, av.HTTPUnauthorizedError | av.HTTPForbiddenError):
            return DeviceError("camera_password", f"the camera refuses the log-in: {words}")
        if isinstance(error, av.InvalidDataError):
            return DeviceError("camera", f"the camera sends what cannot be read: {words}")
        if isinstance(error, av.ExitError):
            words = "no answer in time"
        return DeviceError(self.cause, f"the input failed: {words}")

    def _capture(self, container: Any, sink: Sink) -> None:
        streams: dict[str, Any] = {}
        for track in self._section.tracks:
            found = container.streams.video if track == "video" else container.streams.audio
            if found and found[0].codec_context is not None:
                streams[track] = found[0]
        if not streams:
            raise DeviceError("camera", "the input has none of the wanted tracks")
        lanes = {track: self._lane(track, stream) for track, stream in streams.items()}
        sink.formats({track: lane.format for track, lane in lanes.items()})
        if "video" in lanes:
            self.pictures.begin(sink)
        described = ", ".join(f"{track} {stream.codec_context.name}" for track, stream in streams.items())
        log.info("input opened: %s", described)
        timescales = {track: lane.timescale for track, lane in lanes.items()}
        aligner = Aligner(timescales, reports=self._url.startswith("rtsp"))
        for raw in self._packets(container, streams, aligner, sink):
            for timed in aligner.put(raw):
                for sample in lanes[timed.raw.track].samples(timed, sink):
                    sink.put(sample)
            for moved in aligner.moved:
                detail = f"a sender report moved the stream by {moved.by_ns // 1_000_000} ms"
                sink.event("timestamps", [moved.track], "camera", detail)
            aligner.moved.clear()
            if sink.stopping():
                return
        raise DeviceError(self.cause, "the input has ended")

    def _lane(self, track: str, stream: Any) -> _Passed | _CodedVideo | _CodedAudio:
        codec = stream.codec_context.name
        extradata = stream.codec_context.extradata
        if codec in _PASSED[track] and extradata:
            return _Passed(
                track, codec, stream, bytes(extradata), self.pictures, listens=self._section.looks_per_second > 0
            )
        if track == "video":
            return _CodedVideo(self._section, stream, self.pictures)
        return _CodedAudio(self._section, stream)

    def _packets(self, container: Any, streams: dict[str, Any], aligner: Aligner, sink: Sink) -> Iterator[Raw]:
        timescales = aligner.timescales
        names = {stream.index: track for track, stream in streams.items()}
        # Ticks of the stream to ticks of the track, as two integers: reading them from each packet costs more than all.
        ratios = {
            track: (stream.time_base.numerator * timescales[track], stream.time_base.denominator)
            for track, stream in streams.items()
        }
        last: dict[str, int | None] = {}
        reports = self._url.startswith("rtsp") and len(streams) > 1
        paced = not self._network and not self._device
        start_ns: int | None = None
        shift_ns = 0
        gathers = self._url.startswith("rtsp") and self._section.options.get("rtsp_transport", "tcp") == "tcp"
        asked_ns = boottime_ns()
        while True:
            end_ns = 0
            for packet in container.demux(*streams.values()):
                if packet.size == 0:
                    continue
                track = names[packet.stream.index]
                scale = timescales[track]
                moved = shift_ns * scale // 1_000_000_000
                ratio = ratios[track]
                shown = _rescale(packet.pts, ratio)
                decoded = _rescale(packet.dts, ratio)
                duration = _rescale(packet.duration, ratio) or 0
                raw = Raw(
                    track=track,
                    packet=packet,
                    presentation=None if shown is None else shown + moved,
                    decode=None if decoded is None else decoded + moved,
                    duration=duration,
                    arrival_ns=boottime_ns(),
                    reported=reports
                    # Asking is dear, and of use only at the start and where the stream steps.
                    and (aligner.holding or decoded is None or last.get(track) != decoded - duration)
                    and packet.has_sidedata("rtcp_sr"),
                )
                last[track] = decoded
                if paced:
                    due_ns = nanoseconds(raw.decode or raw.presentation or 0, scale)
                    start_ns = raw.arrival_ns - due_ns if start_ns is None else start_ns
                    while (left_ns := start_ns + due_ns - boottime_ns()) > 0 and not sink.stopping():
                        sink.wait(left_ns / 1e9)
                    raw = raw._replace(arrival_ns=max(start_ns + due_ns, raw.arrival_ns))
                    end_ns = max(end_ns, nanoseconds((shown or decoded or 0) + duration, scale))
                yield raw
                waited = raw.arrival_ns - asked_ns > _DRAINED_NS and packet.size <= _SMALL_SIZE_BYTES
                if gathers and waited and not aligner.holding:
                    sink.pause(_GATHER_S)
                asked_ns = boottime_ns()
            if not paced or self._section.options.get("loop") != "yes":
                return
            container.seek(0)
            shift_ns += end_ns


def _rescale(value: int | None, ratio: tuple[int, int]) -> int | None:
    return None if value is None else (2 * value * ratio[0] + ratio[1]) // (2 * ratio[1])


class _Passed:
    """A coded track that goes into the film as it is."""

    def __init__(
        self, track: str, codec: str, stream: Any, extradata: bytes, pictures: Pictures, *, listens: bool
    ) -> None:
        self._pictures = pictures
        self._parameters = extradata
        self._track = track
        self._codec = codec
        self._prefix = 0
        self._sets: list[bytes] | None = None
        self._loudness: Loudness | None = None
        if track == "video":
            self.timescale = VIDEO_TIMESCALE
            if extradata[0] == 1 and len(extradata) > _PREFIX_SIZE_AT[codec]:
                self._prefix = (extradata[_PREFIX_SIZE_AT[codec]] & 3) + 1
        else:
            self.timescale = stream.codec_context.sample_rate
            self._loudness = Loudness(extradata) if listens else None
        self.format = Format(codec, self.timescale, stream)

    def samples(self, timed: Timed, sink: Sink) -> Iterator[Sample]:
        """Yield the packet as a sample.

        Raises:
            DeviceError: the camera's settings were changed while it ran; a new film has to begin.
        """
        raw = timed.raw
        data, key = bytes(raw.packet), True
        peak = None if self._loudness is None else self._peak(self._loudness, data, sink)
        if self._track == "video":
            units = split_length_prefixed(data, self._prefix) if self._prefix else split_annex_b(data)
            key = raw.packet.is_keyframe and is_key(units, self._codec)
            at_ns = nanoseconds(timed.presentation, self.timescale)
            if key and self._pictures.due(at_ns, coded=True):
                self._pictures.offer_coded(at_ns, self._codec, self._parameters, data)
            if not self._prefix:
                data = length_prefixed(units)
            self._check(units)
        if not data:
            return
        yield Sample(
            track=self._track,
            data=data,
            decode=timed.decode,
            presentation=timed.presentation,
            duration=raw.duration,
            key=key,
            arrival_ns=raw.arrival_ns,
            peak=peak,
        )

    def _peak(self, loudness: Loudness, data: bytes, sink: Sink) -> float | None:
        try:
            return loudness.peak(data)
        except LoudnessGivenUpError as error:
            log.warning("the sound is not listened to any more: %s", error)
            sink.event("unwatched", [self._track], "unwatched", str(error))
            self._loudness = None
            return None

    def _check(self, units: list[bytes]) -> None:
        sets = sequence_sets(units, self._codec)
        if not sets:
            return
        if self._sets is not None and not set(sets) <= set(self._sets):
            raise DeviceError("camera", "the camera changed how it codes the picture")
        self._sets = sets if self._sets is None else self._sets


class _CodedVideo:
    """A track that is decoded, if it is coded at all, and coded as H.264 here."""

    def __init__(self, section: SourceSection, stream: Any, pictures: Pictures) -> None:
        self._pictures = pictures
        context = stream.codec_context
        rate = round(stream.average_rate or section.frames_per_second)
        self._encoder = VideoEncoder(context.width, context.height, max(1, rate), section.video_bitrate_bps)
        self._key_every = round(section.key_frame_interval_s * VIDEO_TIMESCALE)
        self._key_due: int | None = None
        self.timescale = VIDEO_TIMESCALE
        self.format = self._encoder.format

    def samples(self, timed: Timed, sink: Sink) -> Iterator[Sample]:
        """Yield the coded pictures of a packet."""
        packet = timed.raw.packet
        packet.pts, packet.dts, packet.time_base = timed.presentation, timed.decode, Fraction(1, VIDEO_TIMESCALE)
        for frame in packet.decode():
            at = timed.presentation if frame.pts is None else frame.pts
            key = sink.key_frame_wanted() or self._key_due is None or at >= self._key_due
            if key:
                self._key_due = at + self._key_every
            planar = frame.reformat(format="yuv420p")
            at_ns = nanoseconds(at, VIDEO_TIMESCALE)
            if self._pictures.due(at_ns):
                plane = planar.planes[0]
                self._pictures.offer(at_ns, planar.width, planar.height, plane.line_size, plane)
            yield from self._encoder.encode(planar, at, key=key)


class _CodedAudio:
    """A track that is coded as AAC here, at its own rate."""

    def __init__(self, section: SourceSection, stream: Any) -> None:
        import av

        self.timescale = stream.codec_context.sample_rate
        self._channels = min(2, stream.codec_context.channels)
        self._encoder = AudioEncoder(self.timescale, self._channels, section.audio_bitrate_bps)
        self._resampler = av.AudioResampler(
            format="s16", layout="mono" if self._channels == 1 else "stereo", rate=self.timescale
        )
        self._blocks = Blocks(self.timescale, self._channels)
        self.format = self._encoder.format

    def samples(self, timed: Timed, sink: Sink) -> Iterator[Sample]:
        """Yield the coded sound of a packet."""
        del sink
        packet = timed.raw.packet
        taken_ns = nanoseconds(timed.presentation, self.timescale)
        for frame in packet.decode():
            for plain in self._resampler.resample(frame):
                pcm = bytes(plain.planes[0])[: plain.samples * 2 * self._channels]
                for block in self._blocks.put(pcm, taken_ns, timed.raw.arrival_ns):
                    yield from self._encoder.encode(block.pcm, block.at, block.arrival_ns)
                taken_ns += nanoseconds(plain.samples, self.timescale)
