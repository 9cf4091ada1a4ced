"""What the uplink tells the people on this device: ``status.json`` in its state folder, always whole."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import msgspec

from recorder.uplink_status import FILE_NAME, Status, read

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["FILE_NAME", "Status", "read", "write"]


def write(folder: Path, status: Status) -> None:
    """Replace the file in one step."""
    path = folder / FILE_NAME
    temporary = path.with_name(f".{FILE_NAME}.{os.getpid()}")
    temporary.write_text(json.dumps(msgspec.to_builtins(status), ensure_ascii=False) + "\n")
    temporary.replace(path)
