"""Time that a test moves: a real recorder whose UTC is shifted, and real programs of the store beside it.

The recorder's boot-time runs on with the kernel's, which its sources use too; its UTC is the machine's and a shift, and
counts as synchronised. A power loss is a kill and a new boot id. The store's programs run under libfaketime.
"""

from __future__ import annotations

import json
import logging
import secrets
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from recorder.clock import SYNCHRONISED, Instant
from recorder.service import serve

FAKETIME = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), Path("libfaketime.so.1"))


@dataclass
class Shift:
    """What a recorder is to take for its time; written for the next one that starts."""

    folder: Path
    seconds: int = 0
    boot: str = ""

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.file, self._store_file = self.folder / "shift.json", self.folder / "store-shift"
        self.reboot()

    def reboot(self) -> None:
        """The next recorder starts on another kernel boot."""
        self.boot = secrets.token_hex(16)
        self._write()

    def pass_time(self, *, hours: float = 0, minutes: float = 0) -> None:
        """Let time pass: for the store at once, for the device when it is switched on next."""
        self.seconds += round(hours * 3600 + minutes * 60)
        self._write()

    @property
    def utc_ns(self) -> int:
        return time.time_ns() + self.seconds * 10**9

    def _write(self) -> None:
        self.file.write_text(json.dumps({"seconds": self.seconds, "boot": self.boot}))
        fresh = self._store_file.with_suffix(".new")
        fresh.write_text(f"+{self.seconds}\n")
        fresh.replace(self._store_file)

    @property
    def recorder(self) -> list[str]:
        """Command that runs a recorder in this time; the path of its configuration goes behind it."""
        return [sys.executable, "-m", "tests.support.shifted", str(self.file)]

    @property
    def environment(self) -> dict[str, str]:
        """Environment that shifts the store's programs."""
        return {
            "LD_PRELOAD": str(FAKETIME),
            "FAKETIME_TIMESTAMP_FILE": str(self._store_file),
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "FAKETIME_NO_CACHE": "1",
        }


class ShiftedClock:
    """The machine's boot-time, a boot id of the test's, and UTC that is shifted and counts as synchronised."""

    def __init__(self, shift_seconds: int, boot: bytes) -> None:
        self._shift_ns, self._boot = shift_seconds * 10**9, boot

    def now(self) -> Instant:
        return Instant(self.boottime_ns(), time.time_ns() + self._shift_ns, self._boot, SYNCHRONISED)

    def boottime_ns(self) -> int:
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME)

    def raise_floor(self, utc_ns: int) -> None:
        """A synchronised clock needs none."""


def main() -> None:
    """Run a recorder: ``python -m tests.support.shifted SHIFT CONFIG``."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    shift = json.loads(Path(sys.argv[1]).read_text())
    serve(Path(sys.argv[2]), ShiftedClock(shift["seconds"], bytes.fromhex(shift["boot"])))


if __name__ == "__main__":
    main()
