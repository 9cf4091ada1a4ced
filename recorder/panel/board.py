"""Pins of the panel, through gpiozero: edges of the buttons with their times, and outputs that are on or off."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from recorder.panel.grammar import MAIN, SECOND
from recorder.panel.messages import PanelError
from recorder.source.driver import boottime_ns

if TYPE_CHECKING:
    from collections.abc import Callable

    from recorder.config import PanelSection

OLDEST_EDGE_S: Final = 60.0
"""The kernel's time of an edge is believed when it is so old at most; else the edge is now."""
OUTPUTS: Final = ("green", "yellow", "red", "buzzer", "vibration")


class Board:
    """All pins of one panel."""

    def __init__(self, section: PanelSection, changed: Callable[[str, bool, int], None]) -> None:
        """Take the pins.

        Args:
            section: Which pins.
            changed: Called for each edge, in a thread of the GPIO library, with the button, whether it is down, and
                the edge's boot-time.

        Raises:
            PanelError: gpiozero is missing, or a pin cannot be had.
        """
        try:
            from gpiozero import DigitalOutputDevice, InputDevice
        except ImportError as error:
            raise PanelError("gpiozero is not installed; install liuhen with its extra: liuhen[panel]") from error
        self._inputs: dict[str, _Input] = {}
        self._outputs: dict[str, Any] = {}
        for name, key in ((MAIN, "button"), (SECOND, "second_button")):
            pin = getattr(section, key)
            if pin is not None:
                device = _take(key, pin, lambda at: InputDevice(at, pull_up=section.button_to_ground))
                self._inputs[name] = _Input(name, device, not section.button_to_ground, changed)
        for name in OUTPUTS:
            pin = getattr(section, name)
            if pin is not None:
                self._outputs[name] = _take(
                    name, pin, lambda at: DigitalOutputDevice(at, active_high=section.active_high)
                )

    @property
    def down(self) -> list[str]:
        """The buttons that are down now."""
        return [name for name, one in self._inputs.items() if one.device.is_active]

    def set(self, name: str, on: bool) -> None:
        """Switch an output that the panel has."""
        output = self._outputs.get(name)
        if output is not None:
            output.value = on

    def close(self) -> None:
        """Give the pins back; everything goes dark."""
        for output in self._outputs.values():
            output.off()
        for device in (*self._outputs.values(), *(one.device for one in self._inputs.values())):
            device.close()


class _Input:
    """One button. The GPIO library holds its callback by a weak reference only."""

    def __init__(self, name: str, device: Any, down_is: bool, changed: Callable[[str, bool, int], None]) -> None:
        self._name, self.device, self._down_is, self._changed = name, device, down_is, changed
        device.pin.edges = "both"
        device.pin.when_changed = self._edge

    def _edge(self, ticks: float, level: int) -> None:
        self._changed(self._name, bool(level) == self._down_is, self._boottime(ticks))

    def _boottime(self, ticks: float) -> int:
        """Return the boot-time of a moment that the GPIO library tells on its own clock."""
        factory, now_ns = self.device.pin_factory, boottime_ns()
        age_s = factory.ticks_diff(factory.ticks(), ticks)
        return now_ns - round(age_s * 1e9) if 0 <= age_s <= OLDEST_EDGE_S else now_ns


def _take(name: str, pin: int, make: Callable[[int], Any]) -> Any:
    try:
        return make(pin)
    except Exception as error:  # every backend has errors of its own, of no common class
        raise PanelError(
            f"panel.{name}: GPIO {pin} cannot be had ({type(error).__name__}: {error}); "
            "check the number, whether another program holds it, and the permissions of /dev/gpiochip*"
        ) from error
