"""The error tree of the spool."""

from __future__ import annotations

from recorder.errors import RecorderError


class SpoolError(RecorderError):
    """The spool cannot do what it was asked; the message says what happened and what to do."""


class SpoolLockedError(SpoolError):
    """Another process writes this spool."""


class SpoolFatalError(SpoolError):
    """A write or sync failed: what is on the disk is unknown. The process must end; the next start reads the disk.

    Never retry: after a failed sync the kernel may have dropped the pages, and a second sync would succeed on nothing.
    """


class DiskFullError(SpoolError):
    """No room is left. Nothing half-written remains; records can still be made from the reserve."""


class LogFormatError(SpoolError):
    """A log file cannot be opened as one: its mark is unreadable, or a message is longer than the log allows."""


class ReceiptRefusedError(SpoolError):
    """A receipt is not believed, or is not about what this spool holds; nothing changes."""
