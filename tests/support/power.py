"""A folder like the kernel's of power supplies."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def write_supply(folder: Path, name: str, **properties: str | int) -> None:
    """Write (again) one supply: each property is a file, and no other files remain."""
    supply = folder / name
    supply.mkdir(parents=True, exist_ok=True)
    for file in supply.iterdir():
        if file.name not in properties:
            file.unlink()
    for key, value in properties.items():
        (supply / key).write_text(f"{value}\n")
