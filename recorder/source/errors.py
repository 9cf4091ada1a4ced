"""The error tree of sources."""

from __future__ import annotations

from recorder.errors import RecorderError


class SourceError(RecorderError):
    """A source cannot go on; the message says what happened."""


class LinkError(SourceError):
    """The other end of the link sent something that is not a message, or the connection was lost."""


class MuxError(SourceError):
    """What came from the device cannot be put into the film as it is."""


class DeviceError(SourceError):
    """The camera or microphone failed, and this source must be replaced.

    Attributes:
        cause: Id from the list of gap causes, for example ``camera_network``.
    """

    def __init__(self, cause: str, message: str) -> None:
        super().__init__(message)
        self.cause = cause
