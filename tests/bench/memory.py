"""Resident memory of each process while a session is recorded and sent."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from tests.bench import Row
from tests.support.site import Site

RECORD_S = 20
RECORDER_AIM_MIB = 40


def run() -> list[Row]:
    """Record for a while with everything running, then read what each process held at most."""
    with tempfile.TemporaryDirectory(prefix="liuhen-bench-") as folder, Site(Path(folder)) as site:
        site.start()
        site.wait_for(lambda: site.ask("status")["streams"][0]["state"] == "ready", "sources are connected")
        site.ask("start")
        end = time.monotonic() + RECORD_S
        site.wait_for(lambda: time.monotonic() > end, "recording", RECORD_S + 5)
        sources = site.ask("status")["streams"][0]["sources"]
        recorder = most_mib(site.recorder.pid)
        rows = [
            Row(
                "memory: recorder",
                f"{recorder:.1f} MiB",
                f"{RECORDER_AIM_MIB} MiB",
                recorder / RECORDER_AIM_MIB,
                "≤ 1",
            )
        ]
        others = {f"source, {name}": source["pid"] for name, source in sources.items()}
        others |= {"uplink": site.uplink.pid, "central worker": site.central.pid}
        rows += [Row(f"memory: {name}", f"{most_mib(pid):.1f} MiB", "", None, "") for name, pid in others.items()]
        return rows


def most_mib(pid: int) -> float:
    """Return the most resident memory that a process has had, in MiB."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    line = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) / 1024
