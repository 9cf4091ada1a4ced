"""Starts and stops a real RTSP server for a test; see ``rtsp_server.py``."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from types import TracebackType

SYSTEM_PYTHON = "/usr/bin/python3"
_SERVER = Path(__file__).with_name("rtsp_server.py")


class RtspServer:
    """A network camera on 127.0.0.1 at a free port; use as a context manager."""

    def __init__(
        self,
        film: Path,
        codec: str = "h264",
        *,
        sound: bool = True,
        sound_seconds: int = 0,
        login: tuple[str, str] | None = None,
    ) -> None:
        command = [SYSTEM_PYTHON, str(_SERVER), str(film), codec]
        if not sound:
            command.append("--no-sound")
        if sound_seconds:
            command += ["--sound-seconds", str(sound_seconds)]
        if login:
            command += ["--user", login[0], "--password", login[1]]
        self._command = command
        self.process: subprocess.Popen[str] | None = None
        self.port = 0

    @property
    def url(self) -> str:
        return f"rtsp://127.0.0.1:{self.port}/camera"

    def start(self) -> None:
        """Start it; after a :meth:`kill`, at the same port as before."""
        command = [*self._command, "--port", str(self.port)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line.strip():
            raise RuntimeError("the RTSP server did not start: apt install gir1.2-gst-rtsp-server-1.0 python3-gi")
        self.port = int(line)

    def kill(self) -> None:
        """End it as a camera ends whose cable is pulled."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            assert self.process.stdout is not None
            self.process.stdout.close()
            self.process = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
