"""The error tree of the ``uplink`` package."""

from __future__ import annotations

from recorder.errors import RecorderError


class UplinkError(RecorderError):
    """Something between device and store is not as it must be."""


class ProtocolError(UplinkError):
    """A message from the other side is not of the form that the protocol allows."""
