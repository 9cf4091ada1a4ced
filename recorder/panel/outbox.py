"""Presses that the recorder has not acknowledged: kept by the panel, on file, until it has.

The file lies in the run folder, which is in memory and gone after a restart of the device; a press is in it before it
is sent. So neither the recorder's end nor the panel's own loses one.
"""

from __future__ import annotations

import contextlib
import logging
import secrets
from typing import TYPE_CHECKING, Final

import msgspec

from recorder.panel.messages import Press

if TYPE_CHECKING:
    from pathlib import Path

    from recorder.panel.grammar import Gesture

log = logging.getLogger(__name__)

FILE_NAME: Final = "panel.presses"
MAX_WAITING: Final = 64
"""More are not kept while there is no recorder: the first ones tell what was wanted."""
_MAX_SIZE_BYTES: Final = 64 << 10


class _Kept(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    boot: str
    instance: str
    number: int = 0
    waiting: list[Press] = []


class Outbox:
    """What is still to be told."""

    def __init__(self, folder: Path, boot: str) -> None:
        """Take up what an earlier panel of this boot has left.

        Args:
            folder: The run folder.
            boot: Kernel boot id: boot-times of another boot mean nothing here.
        """
        self._path = folder / FILE_NAME
        self._kept = self._read(boot) or _Kept(boot=boot, instance=secrets.token_hex(16))

    @property
    def waiting(self) -> list[Press]:
        """All that has not been acknowledged, oldest first."""
        return list(self._kept.waiting)

    def put(self, gesture: Gesture) -> Press | None:
        """Keep a gesture; return it as it is to be sent, or None where too much waits already."""
        kept = self._kept
        if len(kept.waiting) >= MAX_WAITING:
            log.warning("panel: %d presses wait for the recorder; this one is not kept", MAX_WAITING)
            return None
        kept.number += 1
        press = press_of(gesture, kept.instance, kept.number)
        kept.waiting.append(press)
        self._write()
        return press

    def passing(self, gesture: Gesture) -> Press:
        """Return a gesture as it is to be sent once, if at all."""
        return press_of(gesture, self._kept.instance, 0)

    def acknowledged(self, instance: str, number: int) -> None:
        """Forget what the recorder has taken."""
        kept = self._kept
        if instance == kept.instance and kept.waiting and kept.waiting[0].number <= number:
            kept.waiting = [press for press in kept.waiting if press.number > number]
            self._write()

    def _read(self, boot: str) -> _Kept | None:
        try:
            with self._path.open("rb") as file:
                kept = msgspec.json.decode(file.read(_MAX_SIZE_BYTES), type=_Kept)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.DecodeError, ValueError) as error:
            log.warning("panel: %s cannot be used: %s", self._path, error)
            return None
        return kept if kept.boot == boot else None

    def _write(self) -> None:
        fresh = self._path.with_suffix(".new")
        # A run folder without room must not keep a press from being told.
        with contextlib.suppress(OSError):
            fresh.write_bytes(msgspec.json.encode(self._kept))
            fresh.replace(self._path)


def press_of(gesture: Gesture, instance: str, number: int) -> Press:
    """Return a gesture as a message."""
    return Press(
        instance=instance,
        number=number,
        gesture=gesture.kind,
        push_boottime_ns=gesture.push_ns,
        at_boottime_ns=gesture.at_ns,
    )
