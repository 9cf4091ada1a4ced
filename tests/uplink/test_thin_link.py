"""Thin links: records within two seconds while media upload, and the link full of evidence."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.uplink.thin import measure

if TYPE_CHECKING:
    from tests.uplink.conftest import Bench


@pytest.mark.slow
def test_twenty_kilobytes_a_second(bench: Bench) -> None:
    figures = measure(bench, 20_000, 30)
    assert figures.percentile_s(0.99) < 2.0
    assert figures.evidence_share >= 0.9
    assert figures.media_share >= 0.85


@pytest.mark.slow
def test_a_link_that_is_cut_every_few_seconds_goes_on(bench: Bench) -> None:
    figures = measure(bench, 100_000, 20, cut_every_s=6)
    assert figures.connections >= 4
    assert figures.media_share > 0.4
