"""The device's clocks: boot-time, which only runs on; UTC, which may be wrong; and how far UTC is to be trusted.

*Synchronised* means now; *holdover* means synchronised earlier in this boot; anything else is *unset*, also where a
saved time or a battery-backed clock has set the date: whether that clock was right when it was set is not known here.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import time
import uuid
from pathlib import Path
from typing import Final, NamedTuple, Protocol

SYNCHRONISED: Final = "synchronised"
HOLDOVER: Final = "holdover"
UNSET: Final = "unset"

TIMESYNCD_MARK: Final = Path("/run/systemd/timesync/synchronized")
"""systemd-timesyncd touches this file at every good answer of a time server; it is gone after a reboot."""
MEMORY_NAME: Final = "clock-was-synchronised"
"""File in the run folder by which the device's processes remember that this boot was once synchronised."""
MARK_FRESH_NS: Final = 3 * 2048 * 1_000_000_000
"""So long after its last touch the mark still means now: three of timesyncd's longest polling intervals."""
_STA_UNSYNC: Final = 0x0040
_TIMEX_SIZE_BYTES: Final = 256
_TIMEX_STATUS_OFFSET: Final = 5 * ctypes.sizeof(ctypes.c_long)
"""In ``struct timex``, ``status`` stands behind modes (padded to a long) and four longs."""


class Instant(NamedTuple):
    """One reading of all clocks."""

    boottime_ns: int
    """CLOCK_BOOTTIME: runs on from power-on, through suspend, and is never set."""
    utc_ns: int
    """Nanoseconds since 1970, a claim."""
    boot: bytes
    """Kernel boot id, 16 bytes: boot-times are comparable only within one."""
    quality: str
    """:data:`SYNCHRONISED`, :data:`HOLDOVER` or :data:`UNSET`."""


class Clock(Protocol):
    """Where everything on the device gets its time from."""

    def now(self) -> Instant:
        """Return one reading of all clocks."""

    def boottime_ns(self) -> int:
        """Return CLOCK_BOOTTIME alone, the cheap reading."""

    def raise_floor(self, utc_ns: int) -> None:
        """Say that it is not earlier than ``utc_ns``: an unset clock then does not claim an earlier time."""


class SystemClock:
    """The clocks of this machine.

    Args:
        mark: file that the time service touches when it has synchronised.
        ask_kernel: ask the kernel too (``adjtimex``), where a sandbox permits; chrony tells it with ``rtcsync``.
        memory: file in a folder that is gone after a reboot, to remember across restarts that this boot was once
            synchronised; None to remember in this process only.
    """

    def __init__(self, mark: Path = TIMESYNCD_MARK, *, ask_kernel: bool = True, memory: Path | None = None) -> None:
        self.boot = boot_id()
        self._mark = mark
        self._ask_kernel = ask_kernel
        self._memory = memory
        self._once_synchronised = memory is not None and memory.exists()
        self._floor_utc_ns = 0
        self._floor_boottime_ns = 0

    def boottime_ns(self) -> int:
        """Return CLOCK_BOOTTIME."""
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME)

    def now(self) -> Instant:
        """Return one reading of all clocks."""
        boottime_ns, utc_ns = self.boottime_ns(), time.time_ns()
        quality = self._quality(utc_ns)
        if quality == UNSET:
            utc_ns = max(utc_ns, self._floor_utc_ns + boottime_ns - self._floor_boottime_ns)
        return Instant(boottime_ns, utc_ns, self.boot, quality)

    def raise_floor(self, utc_ns: int) -> None:
        """Take a lower bound of the time now; used only as long as the clock is unset."""
        if utc_ns > self._floor_utc_ns:
            self._floor_utc_ns, self._floor_boottime_ns = utc_ns, self.boottime_ns()

    def _quality(self, utc_ns: int) -> str:
        try:
            touched_ns = self._mark.stat().st_mtime_ns
        except OSError:
            touched_ns = None
        now = touched_ns is not None and abs(utc_ns - touched_ns) < MARK_FRESH_NS
        if not now and self._ask_kernel:
            synchronised = kernel_synchronised()
            self._ask_kernel = synchronised is not None
            now = bool(synchronised)
        if (now or touched_ns is not None) and not self._once_synchronised:
            self._once_synchronised = True
            if self._memory is not None:
                with contextlib.suppress(OSError):  # a source may read it and not write it; the recorder writes it
                    self._memory.touch()
        if now:
            return SYNCHRONISED
        return HOLDOVER if self._once_synchronised else UNSET


def boot_id() -> bytes:
    """Return the kernel's id of this boot, 16 bytes."""
    return uuid.UUID(Path("/proc/sys/kernel/random/boot_id").read_text().strip()).bytes


def kernel_synchronised() -> bool | None:
    """Ask the kernel whether a time service keeps its clock; None where asking is not permitted.

    Raises:
        OSError: the call failed for another reason than a missing permission.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    timex = ctypes.create_string_buffer(_TIMEX_SIZE_BYTES)  # modes 0: read only
    if libc.adjtimex(timex) < 0:
        code = ctypes.get_errno()
        if code in (errno.EPERM, errno.ENOSYS):
            return None
        raise OSError(code, os.strerror(code))
    status = ctypes.c_int.from_buffer(timex, _TIMEX_STATUS_OFFSET).value
    return not status & _STA_UNSYNC
