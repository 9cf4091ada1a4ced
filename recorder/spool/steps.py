"""The named steps of the lifecycle, in code as in ``docs/lifecycle.md``.

Production code calls :func:`step` behind each act that a crash could separate from the next. Nothing hangs on it
there. A test installs a hook that kills the process at one of them, so that every crash point of the document is also
a test.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

STEPS: Final = (
    "log.created",
    "log.directory-synced",
    "log.written",
    "log.synced",
    "log.marked",
    "index.committed",
    "media.created",
    "media.written",
    "media.synced",
    "media.directory-synced",
    "media.finished",
    "receipts.verified",
    "receipts.synced",
    "receipts.indexed",
    "inbox.removed",
    "garbage.unlinked",
    "garbage.directory-synced",
    "garbage.indexed",
    "recovery.cut",
    "recovery.removed",
    "reserve.made",
)
"""Every step there is; a test runs once for each."""

hook: Callable[[str], None] | None = None
"""None in production."""


def step(name: str) -> None:
    """Say that the step ``name`` has just been done."""
    if hook is not None:
        hook(name)
