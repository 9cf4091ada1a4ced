"""Starts the other processes of a device, and starts them anew when they end, where systemd does not do it."""

from __future__ import annotations

import fcntl
import logging
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

log = logging.getLogger(__name__)

PAUSE_SHORTEST_NS: Final = 500_000_000
PAUSE_LONGEST_NS: Final = 4_000_000_000
STEADY_NS: Final = 30_000_000_000
"""A source that ran for so long had started well: its next pause is short again."""


@dataclass(slots=True)
class Child:
    """One process that is to be running."""

    name: str
    """As it is called in the log."""
    command: tuple[str, ...]
    """Subcommand of ``liuhen``, and its arguments after the configuration."""
    lock: str
    """Name of the lock file that it holds, in the run folder."""
    process: subprocess.Popen[bytes] | None = None
    started_ns: int = 0
    next_start_ns: int = 0
    pause_ns: int = PAUSE_SHORTEST_NS
    starts: int = 0


def source_child(stream: str, source: str) -> Child:
    """Return a source that is to be running."""
    return Child(f"source {stream}/{source}", ("source", stream, source), lock_path(Path(), stream, source).name)


def voice_child() -> Child:
    """Return the voice, which is to be running."""
    return Child("voice", ("voice",), "voice.lock")


def position_child() -> Child:
    """Return the process that asks gpsd, which is to be running."""
    return Child("position", ("position",), "position.lock")


def panel_child() -> Child:
    """Return the panel, which is to be running."""
    return Child("panel", ("panel",), "panel.lock")


def lock_path(run: Path, stream: str, source: str) -> Path:
    """Return the lock file that a running source holds."""
    return run / f"source-{stream}-{source}.lock"


def is_held(path: Path) -> bool:
    """Tell whether some process holds the lock of a child: it lives, perhaps from before this recorder."""
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False


class Supervisor:
    """Keeps the configured processes running. It replaces, never repairs."""

    def __init__(self, config_path: Path, run: Path, children: list[Child]) -> None:
        self._config_path = config_path
        self._run = run
        self.children = children

    def tick(self, now_ns: int) -> None:
        """Look after the children: bury the ended, start those whose pause is over."""
        for child in self.children:
            if child.process is not None:
                code = child.process.poll()
                if code is None:
                    continue
                log.info("%s (pid %d) ended, code %d", child.name, child.process.pid, code)
                child.process = None
                steady = now_ns - child.started_ns > STEADY_NS
                child.pause_ns = PAUSE_SHORTEST_NS if steady else min(child.pause_ns * 2, PAUSE_LONGEST_NS)
                child.next_start_ns = now_ns + child.pause_ns
            if now_ns >= child.next_start_ns and not is_held(self._run / child.lock):
                self._start(child, now_ns)

    def _start(self, child: Child, now_ns: int) -> None:
        role, *arguments = child.command
        command = [sys.executable, "-m", "recorder.cli", role, "--config", str(self._config_path), *arguments]
        try:
            child.process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        except OSError as error:
            log.warning("%s cannot be started: %s", child.name, error.strerror)
            child.next_start_ns = now_ns + PAUSE_LONGEST_NS
            return
        child.started_ns = now_ns
        child.starts += 1
        log.info("%s started, pid %d", child.name, child.process.pid)

    def stop(self) -> None:
        """End the children that this supervisor started."""
        running = [child.process for child in self.children if child.process is not None]
        for process in running:
            process.terminate()
        for process in running:
            try:
                process.wait(timeout=3)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
