"""Fingers and eyes for a panel: drives the mock pins of a real panel process, and sees its outputs."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from tests.support.commands import ROOT, environment
from tests.support.site import MARK, Site

if TYPE_CHECKING:
    from types import TracebackType

BUTTON, SECOND = 17, 27
GREEN, YELLOW, RED, BUZZER, VIBRATION = 5, 6, 13, 19, 26
SECTION = f"""
[panel]
button = {BUTTON}
second_button = {SECOND}
green = {GREEN}
yellow = {YELLOW}
red = {RED}
buzzer = {BUZZER}
vibration = {VIBRATION}
spawn = false
"""
SHORT_S = 0.12


@dataclass
class MockPanel:
    """One panel process of a site."""

    site: Site
    held: tuple[int, ...] = ()
    """Buttons that are down from the start."""
    surroundings: dict[str, str] = field(default_factory=dict)
    """More of its environment."""
    edges: dict[int, list[tuple[int, bool]]] = field(default_factory=dict)
    """Pin to (boot-time, high), all that has happened there."""

    def __post_init__(self) -> None:
        self.log_path = self.site.logs / "panel.log"
        self.start()

    def start(self) -> None:
        """Start the process (again)."""
        command = [sys.executable, "-m", "tests.support.mock_panel", "--config", str(self.site.device_config)]
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                [*command, *map(str, self.held)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=ROOT,
                env=environment(**{MARK: self.site.mark, **self.surroundings}),
                text=True,
            )
        threading.Thread(target=self._read, args=(self.process.stdout,), daemon=True).start()

    def _read(self, lines: object) -> None:
        for line in lines:  # type: ignore[attr-defined]
            at_ns, pin, level = line.split()
            self.edges.setdefault(int(pin), []).append((int(at_ns), level in ("1", "high")))

    # -- fingers -------------------------------------------------------------------------------------------------

    def down(self, pin: int = BUTTON) -> int:
        """Press a button down; return the boot-time of its edge."""
        return self._drive(pin, "low")

    def up(self, pin: int = BUTTON) -> int:
        """Let it go."""
        return self._drive(pin, "high")

    def push(self, seconds: float = SHORT_S, pin: int = BUTTON, *, after_s: float = 0.5) -> int:
        """Hold a button for so long, ``after_s`` after whatever was before; return the boot-time of its first edge.

        Half a second is more than a double press has between its two.
        """
        time.sleep(after_s)
        at_ns = self.down(pin)
        time.sleep(seconds)  # what is tested is how long it was held
        self.up(pin)
        return at_ns

    def _drive(self, pin: int, level: str) -> int:
        count = len(self.edges.get(pin, ()))
        assert self.process.stdin is not None
        self.process.stdin.write(f"{pin} {level}\n")
        self.process.stdin.flush()
        self.site.wait_for(lambda: len(self.edges.get(pin, ())) > count, f"pin {pin} is {level}", check=False)
        return self.edges[pin][-1][0]

    def bounce(self, pin: int = BUTTON, *, down: bool, times: int = 4) -> None:
        """Let a contact chatter before it comes to rest."""
        assert self.process.stdin is not None
        first, last = ("high", "low") if down else ("low", "high")
        lines = [f"{pin} {last}", *[f"{pin} {one}" for _ in range(times) for one in (first, last)]]
        count = len(self.edges.get(pin, ()))
        self.process.stdin.write("\n".join(lines) + "\n")
        self.process.stdin.flush()
        self.site.wait_for(lambda: len(self.edges.get(pin, ())) >= count + len(lines), "it chattered", check=False)

    # -- eyes ----------------------------------------------------------------------------------------------------

    def is_lit(self, pin: int) -> bool:
        """Tell whether an output is on now."""
        seen = self.edges.get(pin)
        return bool(seen) and seen[-1][1]

    def lit_count(self, pin: int, since_ns: int = 0) -> int:
        """Count how often an output has been switched on."""
        return sum(on for at_ns, on in self.edges.get(pin, ()) if at_ns >= since_ns)

    def wait_lit(self, *pins: int, timeout_s: float = 20) -> None:
        """Wait until of the three lights exactly these are on."""
        wanted = {pin: pin in pins for pin in (GREEN, YELLOW, RED)}
        self.site.wait_for(
            lambda: {pin: self.is_lit(pin) for pin in wanted} == wanted, f"lights {pins} are on", timeout_s, check=False
        )

    # -- the process ---------------------------------------------------------------------------------------------

    def log(self) -> str:
        """Return what it has said."""
        return self.log_path.read_text(errors="replace")

    def kill(self) -> None:
        """SIGKILL it."""
        self.process.kill()
        self.process.wait()

    def close(self) -> None:
        """End it."""
        self.process.terminate()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.kill()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
