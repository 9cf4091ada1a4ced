"""A sound server without a sound card: PulseAudio with a null sink; what is played into it, its monitor records."""

from __future__ import annotations

import os
import subprocess
import time
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

SINK = "room"


class PulseServer:
    """PulseAudio in a folder of its own; use as a context manager. Needs pulseaudio and libasound2-plugins."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "pulse"
        self._process: subprocess.Popen[bytes] | None = None
        alsa = self._folder / "asound.conf"
        self.environment = {
            "XDG_RUNTIME_DIR": str(self._folder),
            "HOME": str(self._folder),
            "PULSE_SERVER": f"unix:{self._folder}/pulse/native",
            "ALSA_CONFIG_PATH": str(alsa),
        }
        """For programs that are to hear or speak."""

    def __enter__(self) -> Self:
        self._folder.mkdir(mode=0o700)
        (self._folder / "asound.conf").write_text("pcm.!default { type pulse }\nctl.!default { type pulse }\n")
        self._process = subprocess.Popen(
            [
                *("pulseaudio", "-n", "--daemonize=no", "--exit-idle-time=-1", "--disallow-exit", "--use-pid-file=no"),
                *(f"--load=module-null-sink sink_name={SINK}", "--load=module-native-protocol-unix"),
            ],
            env=os.environ | self.environment,
            stderr=subprocess.DEVNULL,
        )
        until = time.monotonic() + 15
        while self._control("info", check=False) != 0:
            if time.monotonic() > until:
                raise TimeoutError("PulseAudio did not start")
            time.sleep(0.1)
        self._control("set-default-source", f"{SINK}.monitor")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """End the server, as when the microphone is unplugged for good."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def play(self, wav: Path) -> subprocess.Popen[bytes]:
        """Play a file into the room; the caller waits for it."""
        return subprocess.Popen(
            ["paplay", "--latency-msec=60", f"--device={SINK}", str(wav)], env=os.environ | self.environment
        )

    def add_sink(self, name: str) -> None:
        """Add another room, whose monitor hears nothing of the first."""
        self._control("load-module", "module-null-sink", f"sink_name={name}")

    def route(self, sink: str, source: str) -> None:
        """Say into which room a loudspeaker opened from now on plays, and where microphones listen."""
        self._control("set-default-sink", sink)
        self._control("set-default-source", f"{source}.monitor")

    def mute(self, *, on: bool) -> None:
        """Turn the loudspeaker of the room off or on."""
        self._control("set-sink-mute", SINK, "1" if on else "0")

    def _control(self, *arguments: str, check: bool = True) -> int:
        return subprocess.run(
            ["pactl", *arguments],
            env=os.environ | self.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=check,
            timeout=10,
        ).returncode
