"""systemd's notification socket (sd_notify(3)): ready, and still alive. Silent where systemd did not start us."""

from __future__ import annotations

import os
import socket
import time
from typing import Final

_last_ns = 0
_PAUSE_NS: Final = 1_000_000_000


def ready(status: str) -> None:
    """Say that the service is up, with a sentence for ``systemctl status``."""
    _send(f"READY=1\nSTATUS={status}")


def watchdog() -> None:
    """Say that every duty has progressed. Callers call it as often as they like; it is sent once a second at most."""
    global _last_ns  # noqa: PLW0603 - one process, one watchdog
    now = time.monotonic_ns()
    if now - _last_ns >= _PAUSE_NS:
        _last_ns = now
        _send("WATCHDOG=1")


def _send(text: str) -> None:
    path = os.environ.get("NOTIFY_SOCKET")
    if not path:
        return
    address = "\0" + path[1:] if path.startswith("@") else path
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
        sender.setblocking(False)
        try:
            sender.sendto(text.encode(), address)
        except OSError:
            return  # systemd is too busy or gone: the next call comes within a second
