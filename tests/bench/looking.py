"""How surely a covered lens, darkness and a frozen picture are seen, how often wrongly, and what looking costs.

The thresholds of :mod:`recorder.source.sight` are chosen on the scenes of one seed and counted on those of another
(other cuts of the footage, other photographs, other noise). The cost is that of a source that looks twice a second, or
at each key frame, against the same source that doesn't look.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import av

from recorder.source.loudness import Loudness
from recorder.source.pictures import Picture
from recorder.source.sight import BLOCKED, DARKNESS, FROZEN, SMOOTH, Sight, glance
from tests.bench import Row, cpu_s
from tests.bench.recording import film, pause
from tests.bench.scenes import EVENT_S, EVENTS, LENGTH_S, pictures, scenes
from tests.support.footage import footage
from tests.support.rtsp import RtspServer
from tests.support.site import Site

if TYPE_CHECKING:
    from recorder.source.sight import Glance
    from tests.bench.scenes import Scene

EACH = 5
"""Scenes of each event, in each half."""
CHOSEN_SEED, REPORTED_SEED = 11, 13
CODE = {"blocked": BLOCKED, "dark": DARKNESS, "frozen": FROZEN}
MEASURE_S = 40


class Trial(NamedTuple):
    """One scene, and what was said of it."""

    scene: Scene
    glances: list[Glance]
    told: dict[str, float]
    """Code to the seconds after the event at which it was told."""


def trial(scene: Scene) -> Trial:
    """Look at one scene."""
    sight = Sight()
    told: dict[str, float] = {}
    glances: list[Glance] = []
    for picture in pictures(scene):
        seen = glance(picture)
        assert seen is not None
        glances.append(seen)
        for change in sight.look(picture.at_boottime_ns, seen):
            if change.begins:
                told.setdefault(change.code, picture.at_boottime_ns / 1e9 - EVENT_S)
    return Trial(scene, glances, told)


def trials(seed: int, each: int = EACH) -> list[Trial]:
    """Return the trials of one half."""
    return [trial(scene) for scene in scenes(each, seed)]


def chosen_structure(found: list[Trial]) -> float:
    """Return the middle between the most structure under a cover, and the least in a picture that is only dark."""
    covered, dark = [], []
    for one in found:
        late = one.glances[-3:]
        if one.scene.event in ("black", "hand", "cloth"):
            covered += [seen.structure for seen in late]
        elif one.scene.event == "lights off":
            dark += [seen.structure for seen in late]
    return (max(covered) + min(dark)) / 2


def rates(found: list[Trial]) -> list[Row]:
    """Count."""
    rows = []
    for event, wanted in EVENTS.items():
        if wanted == "clear":
            continue
        for coded in (False, True) if wanted == "frozen" else (None,):
            of = [one for one in found if one.scene.event == event and coded in (None, one.scene.coded)]
            right = [one.told[CODE[wanted]] for one in of if CODE[wanted] in one.told]
            way = {None: "", False: ", plain", True: ", coded"}[coded]
            late = f", told after {sorted(right)[len(right) // 2]:.0f} s" if right else ""
            name = f"looking: {event}{way} seen as {wanted}{late}"
            rows.append(Row(name, str(len(right)), f"{len(of)} scenes", len(right) / len(of), ""))
    clear = [one for one in found if one.scene.wanted == "clear"]
    wrong = [one for one in clear if one.told]
    seconds = len(clear) * LENGTH_S
    name = f"looking: false alarms where all is well ({seconds // 60} minutes of scenes)"
    rows.append(Row(name, str(len(wrong)), f"{len(clear)} scenes", len(wrong) / len(clear), "≤ 0.05"))
    early = [one for one in found if any(after < 0 for after in one.told.values())]
    rows.append(Row("looking: told before it happened", str(len(early)), f"{len(found)} scenes", None, ""))
    other = [
        one for one in found if one.told and one.scene.wanted != "clear" and CODE[one.scene.wanted] not in one.told
    ]
    named = ", ".join(sorted({f"{one.scene.event}: {'+'.join(one.told)}" for one in other}))
    rows.append(Row("looking: told as something else", str(len(other)), named or "none", None, ""))
    return rows


def glance_ms() -> float:
    """Return the CPU milliseconds of one look at 720p."""
    chance = memoryview(bytes(range(256)) * (1280 * 720 // 256))
    sight, count = Sight(), 100
    began = time.process_time()
    for number in range(count):
        seen = glance(Picture(number * 10**9, 1280, 720, 1280, chance))
        assert seen is not None
        sight.look(number * 10**9, seen)
    return (time.process_time() - began) / count * 1000


def sound_ms() -> float:
    """Return the CPU milliseconds that listening to a second of passed-through AAC takes."""
    with av.open(str(footage("plain", 79))) as container:
        stream = container.streams.audio[0]
        loudness = Loudness(bytes(stream.codec_context.extradata or b""))
        packets = [bytes(packet) for packet in container.demux(stream) if packet.size]
    began = time.process_time()
    for data in packets:
        loudness.peak(data)
    return (time.process_time() - began) / 79 * 1000


def source_cpu(folder: Path, streams: str) -> float:
    """Return the CPU seconds of recorder and sources of a device that records, for a second."""
    with Site(folder, streams=streams) as site:
        site.start_recorder()
        site.wait_for(lambda: site.ask("status")["streams"][0]["state"] == "ready", "the source is there")
        site.ask("start")
        site.wait_for(lambda: (site.ask("status")["streams"][0]["chunks"] or 0) > 1, "chunks are made")
        pids = [one["pid"] for one in site.ask("status")["streams"][0]["sources"].values()]
        pids.append(site.recorder.pid)
        before = sum(cpu_s(pid, children=False) for pid in pids)
        pause(site, MEASURE_S)
        return (sum(cpu_s(pid, children=False) for pid in pids) - before) / MEASURE_S


PASSED = """
[[streams]]
name = "counter"

[streams.sources.camera]
kind = "input"
tracks = ["video", "audio"]
url = "{url}"
looks_per_second = {looks}
"""
ENCODED = """
[[streams]]
name = "worn"

[streams.sources.camera]
kind = "synthetic"
tracks = ["video", "audio"]
looks_per_second = {looks}
"""


def costs() -> list[Row]:
    """Measure what looking adds to recording."""
    rows = [Row("looking: CPU of one look at 720p", f"{glance_ms():.1f} ms", "", None, "")]
    rows.append(Row("looking: CPU for a second of sound passed through", f"{sound_ms():.2f} ms", "", None, ""))
    with tempfile.TemporaryDirectory(prefix="liuhen-bench-") as name:
        folder = Path(name)
        with RtspServer(film(folder / "film.mp4")) as server:
            cases = (("passed through, 720p25, 4 Mbit/s", PASSED, "≤ 1.5"), ("encoded here, 720p25", ENCODED, "≤ 1.1"))
            for number, (what, streams, aim) in enumerate(cases):
                without, looking = (
                    source_cpu(folder / f"site{number}-{looks}", streams.format(url=server.url, looks=looks))
                    for looks in (0, 2)
                )
                title = f"looking: CPU of a recording that looks, {what}"
                shown = f"{looking * 100:.2f} %", f"{without * 100:.2f} %"
                rows.append(Row(title, *shown, looking / without, aim))
    return rows


def run() -> list[Row]:
    """Measure."""
    threshold = chosen_structure(trials(CHOSEN_SEED))
    rows = [Row("looking: structure of a cover, by half the scenes", f"{threshold:.2f}", f"{SMOOTH} used", None, "")]
    return rows + rates(trials(REPORTED_SEED)) + costs()
