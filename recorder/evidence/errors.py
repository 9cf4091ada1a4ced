"""The error tree of the evidence format."""

from __future__ import annotations


class EvidenceError(Exception):
    """Bytes that claim to be evidence are not of the form that the format allows."""


class RecordError(EvidenceError):
    """A signed payload is not a record: a field is missing, of a wrong type or out of bounds."""


class StoredFormatError(EvidenceError):
    """A stored media file does not have the form header, frames, end."""


class BoxError(EvidenceError):
    """Bytes that claim to be fragmented MP4 do not have the box structure that the format allows."""


class StatementError(EvidenceError):
    """A statement of a store is malformed, or cannot be believed."""


class PackageError(EvidenceError):
    """A package cannot be written or read: the folder exists already, or what belongs in it does not fit together."""
