"""The real panel process on gpiozero's mock pins: ``python -m tests.support.mock_panel --config FILE [held pin …]``.

Lines on standard input drive pins (``17 low``); every change of an output is a line on standard output
(``<boottime_ns> 22 1``), and so is each drive, when it has been done.
"""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from typing import Any

from gpiozero import Device
from gpiozero.pins.mock import MockFactory, MockPin

from recorder.panel import commands
from recorder.source.driver import boottime_ns


def say(*words: object) -> None:
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


class TellingPin(MockPin):
    """Tells what is written to it; those that are named are held down from the start."""

    held: frozenset[int] = frozenset()

    def _set_pull(self, value: str) -> None:
        super()._set_pull(value)
        if self._number in self.held:
            self._change_state(False)

    def _set_state(self, value: Any) -> None:
        super()._set_state(value)
        say(boottime_ns(), self._number, int(value))


def drive(factory: MockFactory) -> None:
    """Do what standard input says, then leave with it."""
    for line in sys.stdin:
        number, level = line.split()
        pin = factory.pin(int(number))
        at_ns = boottime_ns()
        (pin.drive_low if level == "low" else pin.drive_high)()
        say(at_ns, number, level)


def main() -> None:
    TellingPin.held = frozenset(map(int, sys.argv[3:]))
    factory = Device.pin_factory = MockFactory(pin_class=TellingPin)
    threading.Thread(target=drive, args=(factory,), daemon=True).start()
    commands.serve(commands.make(Path(sys.argv[2])))


if __name__ == "__main__":
    main()
