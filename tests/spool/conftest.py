from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from recorder.spool import steps
from tests.support.spools import Site, make_site

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return make_site(tmp_path / "site")


@pytest.fixture(autouse=True)
def no_hook() -> Iterator[None]:
    yield
    steps.hook = None
