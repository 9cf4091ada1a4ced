"""A complete site on this machine: broker, central store, one device. Real processes, real sockets, real TLS.

Each process leads a process group of its own and carries a mark in its environment. :meth:`Site.close` ends them
gently, then kills whatever still bears the mark, also a source whose recorder was killed.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from keys.authority import write_site
from recorder.config import DeviceConfig, load
from recorder.control import RefusedError, ask
from tests.support.broker import Broker
from tests.support.commands import LIUHEN, environment

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from tests.support.shifted import Shift

MARK = "LIUHEN_TEST_SITE"
GENTLE_END_S = 15.0
LOG_TAIL_LINES = 15

SYNTHETIC = """
[[streams]]
name = "counter"

[streams.sources.camera]
kind = "synthetic"
tracks = ["video"]
width_px = 1280
height_px = 720
frames_per_second = 25

[streams.sources.microphone]
kind = "synthetic"
tracks = ["audio"]
"""
"""A camera with a running clock and frame number, and a microphone that beeps on each flash."""


class SiteError(Exception):
    """A part of the site failed, or did not do in time what was waited for."""


@dataclass
class Part:
    """One process of the site."""

    name: str
    command: list[str]
    log_path: Path
    mark: str
    surroundings: dict[str, str] = field(default_factory=dict)
    """More of its environment."""
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> Part:
        """Start it; its output goes to the end of its log."""
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env=environment(**{MARK: self.mark, **self.surroundings}),
            )
        return self

    @property
    def pid(self) -> int:
        assert self.process is not None, f"{self.name} was never started"
        return self.process.pid

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def kill(self) -> None:
        """SIGKILL this process alone, as a crash would; what it started lives on."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def stop(self, timeout_s: float = GENTLE_END_S) -> int | None:
        """Ask it to end; kill its group when it does not. Return its exit code; from now on it need not run."""
        process, self.process = self.process, None
        if process is None:
            return None
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        return process.returncode

    def log(self) -> str:
        """Return what it has said so far."""
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def tail(self) -> str:
        """Return the last lines of its log."""
        return "\n".join(self.log().splitlines()[-LOG_TAIL_LINES:])


@dataclass
class Site:
    """A site below ``folder``: ``keys/``, ``broker/``, ``store/``, ``device/``, ``logs/``; a battery in ``power/``.

    Sockets lie in a folder with a short name: the path of a Unix socket has at most 107 bytes.
    """

    folder: Path
    device: str = "demo-0001"
    agency: str = "试点机关"
    streams: str = SYNTHETIC
    restore_window_hours: float = 0.0
    language: str = "zh"
    max_rate_bytes_per_s: int | None = None
    device_port: int | None = None
    """Port that the uplink connects to, when something stands between it and the broker."""
    policy: Path | None = None
    """File of the agency's policy."""
    shift: Shift | None = None
    """Time that the test moves."""
    mark: str = field(default_factory=lambda: secrets.token_hex(8))

    def __post_init__(self) -> None:
        self.keys = self.folder / "keys"
        self.logs = self.folder / "logs"
        self.store = self.folder / "store"
        self.spool = self.folder / "device" / "spool"
        self.uplink_state = self.folder / "device" / "uplink"
        self.power = self.folder / "power"
        self.authority = self.keys / "authority.crt"
        self.device_config = self.folder / "device.toml"
        self.central_config = self.folder / "central.toml"
        self.run = Path(tempfile.mkdtemp(prefix="liuhen-", dir="/tmp"))
        self.logs.mkdir(parents=True, exist_ok=True)
        if not self.keys.exists():
            write_site(self.keys, self.agency, [self.device])
        self.broker = Broker(self.keys, self.folder / "broker")
        self.recorder = self._part("recorder", "record", "--config", str(self.device_config))
        self.uplink = self._part("uplink", "uplink", "--config", str(self.device_config))
        self.central = self._part("central", "central", "run", "--config", str(self.central_config))
        if self.shift is not None:
            self.recorder.command = [*self.shift.recorder, str(self.device_config)]
            self.central.surroundings = self.shift.environment
        self.write_configurations()

    def _part(self, name: str, *arguments: str) -> Part:
        return Part(name, [*LIUHEN, *arguments], self.logs / f"{name}.log", self.mark)

    @property
    def parts(self) -> list[Part]:
        return [self.recorder, self.uplink, self.central]

    # -- configuration -------------------------------------------------------------------------------------------

    def write_configurations(self) -> None:
        """Write (again) the device's and the store's configuration from this object's fields."""
        keys = self.keys / "devices" / self.device
        rate = f"max_rate_bytes_per_s = {self.max_rate_bytes_per_s}" if self.max_rate_bytes_per_s else ""
        self.device_config.write_text(
            f"""
[device]
id = "{self.device}"
spool = "{self.spool}"
run = "{self.run}"
language = "{self.language}"
{f'policy = "{self.policy}"' if self.policy else ""}

[keys]
signing = "file:{keys / "signing.key"}"
certificate = "{keys / "signing.crt"}"
authority = ["{self.authority}"]
{self.streams}
[spool]
restore_window_hours = {float(self.restore_window_hours)}

[battery]
folder = "{self.power}"

[uplink]
broker = "localhost:{self.device_port or self.broker.device_port}"
key = "{keys / "transport.key"}"
certificate = "{keys / "transport.crt"}"
broker_authority = "{self.authority}"
state = "{self.uplink_state}"
{rate}
"""
        )
        self.central_config.write_text(
            f"""
[store]
folder = "{self.store}"
language = "{self.language}"
{f'policies = "{self.policy.parent}"' if self.policy else ""}

[keys]
receipt = "file:{self.keys / "central" / "receipt.key"}"
certificate = "{self.keys / "central" / "receipt.crt"}"
codes = "file:{self.keys / "central" / "codes.key"}"
codes_certificate = "{self.keys / "central" / "codes.crt"}"
authority = ["{self.authority}"]

[intake]
broker = "localhost:{self.broker.central_port}"
key = "{self.keys / "central" / "transport.key"}"
certificate = "{self.keys / "central" / "transport.crt"}"
broker_authority = "{self.authority}"
"""
        )
        load(self.device_config, DeviceConfig)

    # -- starting and ending -------------------------------------------------------------------------------------

    def start(self) -> Site:
        """Start everything, and wait until the device answers."""
        self.start_broker()
        self.central.start()
        self.start_recorder()
        self.uplink.start()
        return self

    def start_broker(self) -> None:
        """Start the broker and wait until it listens."""
        try:
            self.broker.start()
        except (OSError, RuntimeError) as error:
            raise SiteError(f"the broker did not start: {error}; its log: {self.broker.folder}") from error

    def start_recorder(self) -> None:
        """Start the recorder and wait until its control socket answers."""
        self.recorder.start()
        self.wait_for(self._answers, "the recorder answers", 30)

    def _answers(self) -> bool:
        try:
            ask(self.run, {"command": "status"})
        except RefusedError:
            return False
        return True

    def close(self) -> None:
        """End everything that this site started. Nothing of it runs afterwards, whatever happened before."""
        try:
            for part in (self.recorder, self.uplink, self.central):
                part.stop()
            self.broker.stop()
        finally:
            self._kill_all()
            shutil.rmtree(self.run, ignore_errors=True)

    def _kill_all(self) -> None:
        for part in self.parts:
            if part.process is not None:
                _kill_group(part.process.pid)
        self.broker.kill()
        for pid in marked(self.mark):
            _kill(pid)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # -- asking and waiting --------------------------------------------------------------------------------------

    def ask(self, command: str, **more: Any) -> dict[str, Any]:
        """Send one request to the recorder and return its answer."""
        return ask(self.run, {"command": command, **more})

    def check_running(self) -> None:
        """Raise :class:`SiteError` when a part that was started has ended."""
        for part in self.parts:
            if part.process is not None and part.process.poll() is not None:
                raise SiteError(
                    f"{part.name} ended with code {part.process.returncode}; its log: {part.log_path}\n{part.tail()}"
                )
        broker = self.broker.process
        if broker is not None and broker.poll() is not None:
            raise SiteError(f"the broker ended with code {broker.returncode}; its log is in {self.broker.folder}")

    def wait_for(
        self, condition: Callable[[], bool], what: str, timeout_s: float = 30.0, *, check: bool = True
    ) -> None:
        """Wait until ``condition`` holds; fail early when a part ends meanwhile, unless ``check`` is off."""
        deadline = time.monotonic() + timeout_s
        while not condition():
            if check:
                self.check_running()
            if time.monotonic() > deadline:
                tails = "\n".join(f"-- {part.name}, {part.log_path}\n{part.tail()}" for part in self.parts)
                raise SiteError(f"not within {timeout_s:.0f} s: {what}\n{tails}")
            time.sleep(0.05)


def marked(mark: str) -> list[int]:
    """Return the processes that bear a site's mark."""
    wanted = f"{MARK}={mark}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                environ = (entry / "environ").read_bytes()
            except OSError:
                continue
            if wanted in environ.split(b"\0"):
                found.append(int(entry.name))
    return found


def _kill_group(group: int) -> None:
    try:
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        return


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
