"""The Raspberry Pi camera, through picamera2.

The encoder is chosen in the configuration and never guessed: picamera2's own ``H264Encoder`` is the hardware on a Pi 4
and silently libx264 on a Pi 5, and on other machines it takes the hardware and fails. ``hardware`` is picamera2's V4L2
encoder, whose packets pass through; ``libx264`` is our own encoder on the camera's frames.

Times are the sensor's (``SensorTimestamp``, boot-time clock). picamera2 raises nothing when frames stop coming: the
runner watches the age of the newest frame and ends the process, since a thread may hang in the driver for ever. No
picamera2 output class that writes files is used, because those go on "recording" after an error.
"""

from __future__ import annotations

import io
import logging
import threading
from typing import TYPE_CHECKING, Any, Final

from recorder.errors import ConfigError
from recorder.source.driver import VIDEO_TIMESCALE, Format, Sample, boottime_ns, ticks
from recorder.source.encode import VideoEncoder
from recorder.source.errors import DeviceError
from recorder.source.nal import length_prefixed, split_annex_b
from recorder.source.pictures import Pictures

if TYPE_CHECKING:
    from recorder.config import SourceSection
    from recorder.source.driver import Sink

log = logging.getLogger(__name__)

BUFFERS: Final = 6
"""Frames that the camera may fill at once; more exhaust the contiguous memory of a Pi."""
_BELIEVABLE_NS: Final = 2_000_000_000
_WAIT_S: Final = 0.5


class PiCamera:
    """One camera of libcamera."""

    cause = "camera"
    ear = None

    def __init__(self, section: SourceSection) -> None:
        """Take the settings.

        Raises:
            ConfigError: the encoder is not chosen, sound is asked for, or the camera is not a number.
        """
        if section.encoder not in ("hardware", "libx264"):
            raise ConfigError('a source of kind "picamera2" needs encoder = "hardware" (Pi 4) or "libx264" (Pi 5)')
        if section.tracks != ["video"]:
            raise ConfigError('a source of kind "picamera2" delivers tracks = ["video"]; sound is a source of its own')
        if not (section.device or "0").isdecimal():
            raise ConfigError('for kind "picamera2" device is the number of the camera, for example "0"')
        self._section = section
        self._number = int(section.device or "0")
        self.pictures = Pictures(section.looks_per_second)

    def run(self, sink: Sink) -> None:
        """Capture until the sink is stopping.

        Raises:
            DeviceError: picamera2 is missing, or the camera failed.
        """
        try:
            from picamera2 import Picamera2
        except ImportError as error:
            raise DeviceError("camera", f"picamera2 is not installed: {error}") from error
        section = self._section
        try:
            camera = Picamera2(self._number)
            camera.configure(
                camera.create_video_configuration(
                    main={"size": (section.width_px, section.height_px), "format": "YUV420"},
                    raw=None,
                    buffer_count=BUFFERS,
                    controls={"FrameRate": section.frames_per_second},
                )
            )
            if section.encoder == "hardware":
                self._run_hardware(camera, sink)
            else:
                self._run_libx264(camera, sink)
        except (RuntimeError, IndexError, OSError) as error:
            raise DeviceError("camera", f"the camera failed: {error}") from error

    def _run_hardware(self, camera: Any, sink: Sink) -> None:
        from picamera2.encoders.h264_encoder import H264Encoder
        from picamera2.outputs import Output

        section = self._section
        # The period in frames is only a fallback: key frames are asked for by time.
        encoder = H264Encoder(bitrate=section.video_bitrate_bps, repeat=True, iperiod=section.frames_per_second * 10)
        passed = HardwarePackets(section, sink)
        failed = threading.Event()

        class Packets(Output):  # type: ignore[misc,unused-ignore]  # untyped base
            """Takes packets on picamera2's encoder thread."""

            def outputframe(
                self, frame: bytes, keyframe: bool = True, timestamp: int = 0, *_args: object, **_kwargs: object
            ) -> None:
                try:
                    if passed.put(bytes(frame), timestamp + encoder.firsttimestamp, keyframe=keyframe):
                        encoder.force_key_frame()
                except Exception:
                    log.exception("a packet of the hardware encoder could not be taken")
                    failed.set()

        camera.pre_callback = self._look
        self.pictures.begin(sink)
        camera.start_recording(encoder, Packets())
        log.info("camera %d opened, hardware encoder", self._number)
        while not sink.stopping():
            sink.wait(_WAIT_S)
            if failed.is_set():
                raise DeviceError("camera", "a packet of the hardware encoder could not be taken")

    def _look(self, request: Any) -> None:
        """Offer what the hardware is about to encode; called on the camera's thread, which must not fail."""
        try:
            at_ns = sensor_time_ns(request.get_metadata()["SensorTimestamp"], boottime_ns())
            if self.pictures.due(at_ns):
                main = request.config["main"]
                width_px, height_px = main["size"]
                self.pictures.offer(at_ns, width_px, height_px, main["stride"], request.make_buffer("main"))
        except Exception:
            log.exception("a picture of the camera could not be looked at")

    def _run_libx264(self, camera: Any, sink: Sink) -> None:
        section = self._section
        encoder = VideoEncoder(
            section.width_px, section.height_px, section.frames_per_second, section.video_bitrate_bps
        )
        sink.formats({"video": encoder.format})
        self.pictures.begin(sink)
        camera.start()
        main = camera.camera_configuration()["main"]
        log.info("camera %d opened, libx264 on %s", self._number, main["format"])
        every_ns = round(section.key_frame_interval_s * 1e9)
        key_due_ns = 0
        while not sink.stopping():
            try:
                request = camera.wait(camera.capture_request(wait=False), timeout=section.stall_after_s)
            except TimeoutError:
                raise DeviceError("camera", "the camera gives no frames") from None
            try:
                at_ns = sensor_time_ns(request.get_metadata()["SensorTimestamp"], boottime_ns())
                frame = planar_frame(
                    memoryview(request.make_buffer("main")).cast("B"), main["format"], main["size"], main["stride"]
                )
            finally:
                request.release()
            key = sink.key_frame_wanted() or at_ns >= key_due_ns
            if key:
                key_due_ns = at_ns + every_ns
            if self.pictures.due(at_ns):
                plane = frame.planes[0]
                self.pictures.offer(at_ns, frame.width, frame.height, plane.line_size, plane)
            for sample in encoder.encode(frame, ticks(at_ns, VIDEO_TIMESCALE), key=key, sensor_ns=at_ns):
                sink.put(sample)


class HardwarePackets:
    """Turns packets of the hardware encoder into samples, and says when a key frame is due."""

    def __init__(self, section: SourceSection, sink: Sink) -> None:
        self._section = section
        self._sink = sink
        self._every_ns = round(section.key_frame_interval_s * 1e9)
        self._asked_ns = 0
        self._format: Format | None = None
        self._probe: Any = None

    def put(self, data: bytes, taken_us: int, *, keyframe: bool) -> bool:
        """Take a packet; return whether the encoder should make a key frame next.

        Args:
            data: One access unit, Annex B.
            taken_us: Sensor time, microseconds since boot.
            keyframe: What the encoder says of it.
        """
        arrival_ns = boottime_ns()
        at_ns = sensor_time_ns(taken_us * 1000, arrival_ns)
        if self._format is None:
            if not keyframe:
                return True
            self._probe = probe(data)
            self._format = Format("h264", VIDEO_TIMESCALE, self._probe.streams.video[0])
            self._sink.formats({"video": self._format})
        at = ticks(at_ns, VIDEO_TIMESCALE)
        self._sink.put(
            Sample(
                track="video",
                data=length_prefixed(split_annex_b(data)),
                decode=at,
                presentation=at,
                duration=VIDEO_TIMESCALE // self._section.frames_per_second,
                key=keyframe,
                arrival_ns=arrival_ns,
                sensor_ns=at_ns,
            )
        )
        if keyframe:
            self._asked_ns = at_ns
        if self._sink.key_frame_wanted() or at_ns - self._asked_ns >= self._every_ns:
            self._asked_ns = at_ns
            return True
        return False


def probe(access_unit: bytes) -> Any:
    """Return an open ``av`` container on one coded key frame; its stream holds the parameters for an init segment."""
    import av

    return av.open(io.BytesIO(access_unit), format="h264")


def sensor_time_ns(claimed_ns: int, arrival_ns: int) -> int:
    """Return the sensor's time if it can be on the boot-time clock, otherwise the arrival."""
    return claimed_ns if arrival_ns - _BELIEVABLE_NS < claimed_ns <= arrival_ns else arrival_ns


def planar_frame(data: memoryview, form: str, size: tuple[int, int], stride: int) -> Any:
    """Return the camera's buffer as an ``av.VideoFrame``.

    Raises:
        DeviceError: the camera delivers another format than it was asked for.
    """
    import av

    width, height = size
    if form == "YUV420":
        name, strides = "yuv420p", [stride, stride // 2, stride // 2]
    elif form == "NV12":
        name, strides = "nv12", [stride, stride]
    else:
        raise DeviceError("camera", f"the camera delivers {form}, which is not encoded here")
    frame: Any = av.VideoFrame(width, height, name)
    at = 0
    for index, plane in enumerate(frame.planes):
        rows = height if index == 0 else height // 2
        plane.update(repack(data[at : at + rows * strides[index]], rows, strides[index], plane.line_size))
        at += rows * strides[index]
    return frame if name == "yuv420p" else frame.reformat(format="yuv420p")


def repack(data: memoryview, rows: int, stride: int, line_size: int) -> bytes | memoryview:
    """Return a plane with lines of another length."""
    if stride == line_size:
        return data
    common = min(stride, line_size)
    pad = bytes(line_size - common)
    return b"".join(bytes(data[row * stride : row * stride + common]) + pad for row in range(rows))
