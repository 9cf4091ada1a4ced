"""A device in the field with its store behind it: what officers do, and what an outsider finds in the package."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recorder.evidence import records
from tests.support.commands import liuhen
from tests.support.session import stream_records

if TYPE_CHECKING:
    from recorder.evidence.records import Record
    from tests.support.site import Site

AGENCIES = {path.stem.split("-")[0]: path for path in sorted(Path("config/agencies").glob("*.toml"))}
WORN = """
[[streams]]
name = "worn"

[streams.sources.camera]
kind = "synthetic"
tracks = ["video"]
width_px = 320
height_px = 240
frames_per_second = 10
key_frame_interval_s = 0.5

[streams.sources.microphone]
kind = "synthetic"
tracks = ["audio"]
"""
OFFICERS = [{"certificate": "06050112", "name": "王明"}, {"certificate": "06050113", "name": "李强"}]


def policy_of(name: str, folder: Path, grace_seconds: int = 5) -> Path:
    """Write an agency's policy with a shorter grace, and return its file."""
    text = AGENCIES[name].read_text(encoding="utf-8")
    assert "grace_seconds = 10" in text
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / AGENCIES[name].name
    path.write_text(text.replace("grace_seconds = 10", f"grace_seconds = {grace_seconds}"), encoding="utf-8")
    return path


@dataclass
class Field:
    """One device; what is done with it, by its commands."""

    site: Site

    # -- what officers do ----------------------------------------------------------------------------------------

    def ready(self) -> None:
        """Wait until camera and microphone are there and nothing is recorded."""
        self.site.wait_for(lambda: self.state == "ready", "the device is ready", 40)

    def start(self, matter: str | None = None) -> str:
        """Begin; return the session once sound and picture are recorded."""
        session = str(self.site.ask("start", matter=matter)["session"])
        self.recording()
        return session

    def recording(self) -> None:
        self.site.wait_for(lambda: self.state == "recording", "sound and picture are recorded", 40)

    def film(self, seconds: float = 2.5) -> None:
        """Let so much be recorded, by what is signed."""
        since_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        self.site.wait_for(
            lambda: any(
                chunk.end_boottime_ns > since_ns + seconds * 1e9
                for chunk in (one.body for one in self.records())
                if isinstance(chunk, records.Chunk)
            ),
            f"{seconds} s are recorded",
            40,
        )

    def end(self, reason: str = "done") -> None:
        """End, and wait until the session is closed."""
        self.site.ask("stop", reason=reason, statement=True)
        self.ready()

    def away(self, reason: str, seconds: float = 1.5) -> None:
        """Unsuitable content: off for a while, then a press."""
        self.site.ask("unsuitable", reason=reason)
        self.site.wait_for(lambda: self.state == "unsuitable", "it is off", 40)
        until = time.monotonic() + seconds
        self.site.wait_for(lambda: time.monotonic() > until, "a while")
        self.site.ask("press")
        self.recording()

    @property
    def store_time(self) -> dict[str, str]:
        """Environment of the store's programs."""
        return self.site.shift.environment if self.site.shift is not None else {}

    # -- what there is to see ------------------------------------------------------------------------------------

    @property
    def state(self) -> str:
        return str(self.site.ask("status")["streams"][0]["state"])

    def records(self, session: str | None = None) -> list[Record]:
        """Return the records of the device's stream, or of one session."""
        found = stream_records(self.site.spool)
        return [one for one in found if session is None or (one.session or b"").hex() == session]

    def bodies(self, session: str, kind: type) -> list[Any]:
        return [one.body for one in self.records(session) if isinstance(one.body, kind)]

    def handed_over(self) -> None:
        """Wait until the store has everything."""
        self.site.wait_for(lambda: self.site.ask("status")["unreceipted_files"] == 0, "all is receipted", 90)

    def package(self, session: str) -> Path:
        """Have the store export a session; return the package that an outsider gets, verified."""
        out = self.site.folder / f"package-{session[:8]}"
        if not out.exists():
            self.handed_over()
            done = liuhen(
                *("export", "--config", self.site.central_config, "--session", session, "--out", out),
                *("--as", "T-1", "--reason", "test"),
                **self.store_time,
            )
            assert done.returncode == 0, done.stderr
            verified = liuhen("verify", out, "--authority", self.site.authority)
            assert verified.returncode == 0, verified.stdout
        return out

    def report(self, session: str, *policies: Path) -> dict[str, Any]:
        """Return the report on a session's package, as JSON."""
        named = [part for one in policies or (self.site.policy,) for part in ("--policy", one)]
        done = liuhen(
            *("report", self.package(session), "--authority", self.site.authority, "--format", "json", *named)
        )
        assert done.returncode == 0, done.stderr
        (found,) = json.loads(done.stdout)["reports"]
        assert isinstance(found, dict)
        return found
