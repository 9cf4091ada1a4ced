"""What the uplink tells the people on this device: ``status.json`` in its state folder, which the uplink writes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from pathlib import Path

FILE_NAME: Final = "status.json"
MAX_SIZE_BYTES: Final = 64 << 10


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """The content of the file; times are the device's clock, sizes are of files as stored."""

    utc_ns: int
    """When it was written: an old one means that no uplink runs."""
    connected_since_utc_ns: int | None
    outstanding_records: int
    outstanding_size_bytes: int
    rate_bytes_per_s: int
    newest_receipt_utc_ns: int | None
    """The store's clock in the newest receipt that was believed."""
    late_sessions: int
    """Not handed over, and past the 24 hours."""
    endangered_sessions: int
    """Not handed over in time at this rate."""
    first_deadline_utc_ns: int | None
    """The nearest deadline that will not be kept."""
    refused_receipts: int
    """Receipts that were not believed since the uplink started."""
    warnings: list[str]
    """Ids: ``store-fell-back``, ``store-holds-another-past``, ``inbox-full``, ``media-damaged``, ``media-gone``,
    ``endangered``, ``late``."""


def read(folder: Path) -> Status | None:
    """Return the newest status, None where there is none that can be read."""
    try:
        with (folder / FILE_NAME).open("rb") as file:
            return msgspec.json.decode(file.read(MAX_SIZE_BYTES), type=Status)
    except (OSError, msgspec.MsgspecError):
        return None
