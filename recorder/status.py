"""What ``liuhen status`` tells: states, counts and ids only; no names, no places."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from recorder.session import State
from recorder.spool.errors import DiskFullError

if TYPE_CHECKING:
    from recorder.conduct import Conduct
    from recorder.daemon import Daemon
    from recorder.recital import Given


def status(daemon: Daemon) -> dict[str, Any]:
    """Return the state of a device as plain values for JSON."""
    now = daemon.clock.now()
    files: int | None
    size_bytes: int | None
    try:
        files, size_bytes = daemon.spool.outstanding()
    except DiskFullError:
        files = size_bytes = None  # the index is behind, and has no room to catch up
    return {
        "device": daemon.config.device.id,
        "clock": now.quality,
        "utc_ns": now.utc_ns,
        "streams": [
            _stream(conduct, daemon.recital.last.get(conduct.stream.number), now.boottime_ns)
            for conduct in daemon.conducts.values()
        ],
        "unreceipted_files": files,
        "unreceipted_size_bytes": size_bytes,
        "free_size_bytes": daemon.spool.free_bytes(),
        "battery": daemon.battery.state._asdict(),
        "panel": daemon.panel is not None and daemon.panel.present,
        "voice": daemon.speaker is not None and daemon.speaker.present,
        **daemon.health.status(),
        "position": daemon.whereabouts.status() if daemon.whereabouts is not None else None,
        "sources_run_by_the_recorder": bool(daemon.supervisor.children),
    }


def _stream(conduct: Conduct, given: Given | None, now_boottime_ns: int) -> dict[str, Any]:
    stream = conduct.stream
    session = stream.session
    return {
        "name": stream.section.name,
        "state": state_of(conduct),
        "mode": stream.mode,
        "photos": {
            "waiting": conduct.photos.waiting,
            "signed": conduct.photos.signed,
            "failed": conduct.photos.failed,
        },
        "matter": conduct.matter,
        "moments": [{"number": number, "marker": marker} for number, marker, _ in conduct.moments],
        "last_code": given.plain() if given is not None else None,
        "session": session.id.hex() if session else None,
        "length_ns": now_boottime_ns - session.zero_boottime_ns if session else None,
        "chunks": session.assembler.chunks if session else None,
        "suffers_from": stream.troubles.impairments.lasting,
        "sources": {
            slot.name: {
                "connected": slot.peer is not None,
                "pid": slot.peer.pid if slot.peer else None,
                "codes": slot.codes,
            }
            for slot in stream.slots
        },
    }


def state_of(conduct: Conduct) -> str:
    """Return the state that a stream shows: an id of the catalogue's states, without its prefix.

    While photographs are taken out of a recording nothing is being recorded, and it shows no other state than before.
    """
    stream = conduct.stream
    session = stream.session
    flowing = {track for slot in stream.slots if slot.flows for track in slot.wanted(stream.mode)}
    state = "ready"
    if session is not None and session.mode != "photo":
        whole = flowing == set(stream.tracks) and session.mode != "audio"
        state = "recording" if whole else _degraded(flowing)
        if session.ending or conduct.state is State.CLOSING:
            state = "closing"
        elif session.off is not None:
            state = "unsuitable"
    elif any(slot.peer is None for slot in stream.slots):
        state = "starting"
    return state


def _degraded(flowing: set[str]) -> str:
    if flowing == {"audio"}:
        return "audio_only"
    return "video_only" if flowing == {"video"} else "recovering"
