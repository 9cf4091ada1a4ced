"""The files that people copy and read: configurations load, and documents name things that exist."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from recorder.config import DeviceConfig, load
from tests.support.commands import ROOT

if TYPE_CHECKING:
    from pathlib import Path

CONFIGS = [ROOT / "config" / f"{role}.toml" for role in ("body-worn", "counter", "hall")]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_a_role_configuration_is_accepted(path: Path) -> None:
    config = load(path, DeviceConfig)
    assert config.uplink is not None
    assert all(stream.sources for stream in config.streams)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.stem)
def test_links_of_a_document_lead_somewhere(path: Path) -> None:
    text = path.read_text()
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", text)
    missing = [link for link in links if "://" not in link and not (path.parent / link).exists()]
    assert not missing


def test_each_guarantee_names_tests_that_exist() -> None:
    text = (ROOT / "docs" / "threat-model.md").read_text().split("## Guarantees")[1].split("\n## ")[0]
    guarantees = re.split(r"^(?=\*\*G\d+\.)", text, flags=re.MULTILINE)[1:]
    wrong = []
    for guarantee in guarantees:
        named = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", guarantee)
        if not named:
            wrong.append(f"{guarantee[:8]} names no test")
        for file, function in named:
            path = ROOT / file
            if not path.exists() or (function and f"def {function}(" not in path.read_text()):
                wrong.append(f"{guarantee[:8]} names {file}::{function}")
    assert len(guarantees) >= 15
    assert not wrong
