"""The files that people copy and read: configurations load, and documents name things that exist."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from recorder.config import DeviceConfig, load
from tests.support.commands import ROOT, environment

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


ALLOWED = {
    "keys": {"keys"},
    "recorder/evidence": {"keys", "recorder.evidence"},
    "recorder/source": {"keys", "recorder.evidence", "recorder.source", "recorder.config", "recorder.errors"},
    "recorder/spool": {"keys", "recorder.evidence", "recorder.spool", "recorder.config", "recorder.errors"},
    "uplink": {
        "keys",
        "recorder.evidence",
        "recorder.spool",
        "recorder.config",
        "recorder.errors",
        "recorder.uplink_status",
        "uplink",
    },
}
"""What each package may import of the others; the edges of a package (its commands) may also ask the clock."""
EDGES = {
    "recorder/source": {"recorder", "recorder.clock"},
    "recorder/spool": {"recorder.clock"},
    "uplink": {"recorder", "recorder.clock", "recorder.verify", "recorder.report_command"},
}


def _imports(path: Path) -> set[str]:
    """Return the modules of ours that a file imports, also inside functions."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module)
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return {name for name in found if name.split(".")[0] in ("keys", "recorder", "uplink")}


@pytest.mark.parametrize("package", ALLOWED)
def test_imports_point_one_way(package: str) -> None:
    allowed = ALLOWED[package] | EDGES.get(package, set())
    wrong = {
        f"{path.relative_to(ROOT)}: {name}"
        for path in (ROOT / package).rglob("*.py")
        for name in _imports(path)
        if not any(name == one or name.startswith(f"{one}.") for one in allowed if one != "recorder")
        and name not in allowed
    }
    assert not wrong


def test_a_recorder_loads_no_codecs_no_network_and_no_certificates() -> None:
    code = "import sys, recorder.commands, recorder.daemon, recorder.spool.spool; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment())
    assert not {"av", "paho", "cryptography", "uplink", "pyaudio"} & {
        name.split(".")[0] for name in done.stdout.split()
    }


def test_a_verifier_needs_neither_camera_nor_broker() -> None:
    code = """
import sys
sys.modules |= dict.fromkeys(("av", "paho", "pyaudio"))
from recorder.cli import main
sys.argv = ["liuhen", "verify", "--help"]
main()
"""
    subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, env=environment())
