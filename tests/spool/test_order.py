"""What a power cut needs and no SIGKILL can show: each write is synced before anything is built on it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recorder.evidence import stored
from recorder.evidence.records import Fault
from tests.support.spools import (
    CAMERA,
    EPOCH,
    INIT,
    FakeClock,
    Site,
    account,
    fragment,
    make_site,
    open_session,
    record_chunk,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest

CALLS = ("pwrite", "writev", "fdatasync", "fsync", "fchmod", "ftruncate", "truncate")


class Trace:
    """Writes, syncs and unlinks below a folder, in their order, as ``call what``."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root = root
        self.acts: list[str] = []
        for name in CALLS:
            monkeypatch.setattr(os, name, self._wrapped(name, getattr(os, name)))
        real = Path.unlink

        def unlink(path: Path, *, missing_ok: bool = False) -> None:
            self._note("unlink", str(path))
            real(path, missing_ok=missing_ok)

        monkeypatch.setattr(Path, "unlink", unlink)

    def _wrapped(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(what: int | str, *rest: object) -> object:
            path = str(Path(f"/proc/self/fd/{what}").readlink()) if isinstance(what, int) else str(what)
            self._note(name, path)
            return real(what, *rest)

        return call

    def _note(self, name: str, path: str) -> None:
        try:
            relative = Path(path).relative_to(self.root)
        except ValueError:
            return
        kind = relative.suffix.lstrip(".") or ("media" if len(relative.name) == 12 else "folder")
        self.acts.append(f"{name} {relative.parts[0]}/{kind}" if len(relative.parts) > 1 else f"{name} {relative}")

    def take(self) -> list[str]:
        acts, self.acts = self.acts, []
        return acts


def test_records_are_synced_before_the_mark(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    spool = site.open()
    trace = Trace(site.root, monkeypatch)
    spool.append(CAMERA, None, [Fault(code="one"), Fault(code="two"), Fault(code="three")])
    assert trace.take() == ["pwrite logs/log", "fdatasync logs/log", "pwrite logs/durable"]
    spool.close()


def test_a_fragment_is_synced_when_it_is_acknowledged_and_the_name_before_the_record(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = site.open()
    session = open_session(spool)
    record_chunk(spool, session, 0)
    trace = Trace(site.root, monkeypatch)
    file = spool.begin_chunk(CAMERA, session, EPOCH, INIT)
    assert trace.take() == []
    file.append(stored.encode_account(account(1, 1)), fragment(1, 0))
    assert trace.take() == ["writev media/media", "fdatasync media/media", "fsync media/folder"]
    file.append(stored.encode_account(account(1, 2)), fragment(1, 1))
    assert trace.take() == ["writev media/media", "fdatasync media/media"]
    file.finish()
    assert trace.take() == ["fchmod media/media", "fsync media/media"]
    spool.sign_chunk(file)
    assert trace.take() == ["pwrite logs/log", "fdatasync logs/log", "pwrite logs/durable"]
    spool.close()


def test_a_receipt_is_synced_before_the_inbox_forgets_it_and_before_its_file_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site, clock = make_site(tmp_path / "site", restore_window_hours=0.0), FakeClock()
    spool = site.open(clock)
    record = record_chunk(spool, open_session(spool), 0)
    site.deliver(site.media_receipt(record, clock.utc_ns))
    trace = Trace(site.root, monkeypatch)
    spool.take_receipts()
    acts = trace.take()
    assert acts[:3] == ["pwrite receipts/log", "fdatasync receipts/log", "pwrite receipts/durable"]
    assert acts[3].startswith("unlink inbox/")
    clock.advance(1)
    spool.collect_garbage()
    assert trace.take() == ["unlink media/media", "fsync media/folder"]
    spool.close()


def test_what_recovery_cuts_is_synced_before_it_is_signed(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    spool = site.open()
    session = open_session(spool)
    file = spool.begin_chunk(CAMERA, session, EPOCH, INIT)
    file.append(stored.encode_account(account(0, 1)), fragment(0, 0))
    file.append(stored.encode_account(account(0, 2)), fragment(0, 1))
    spool.close()
    os.truncate(file.path, file.path.stat().st_size - 5)
    trace = Trace(site.root, monkeypatch)
    spool = site.open()
    acts = trace.take()
    cut, synced = acts.index("truncate media/media"), acts.index("fsync media/media")
    named = acts.index("fsync media/folder")
    boot = max(at for at, act in enumerate(acts) if act == "fdatasync logs/log")
    assert cut < synced < named < boot
    spool.close()
