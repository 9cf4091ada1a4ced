from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from recorder.evidence import inspection, package
from tests.support import forge

if TYPE_CHECKING:
    from pathlib import Path

    from recorder.evidence.verdict import Verdict


@dataclass(frozen=True)
class Sample:
    """An honest session and its package; made once, copied by whoever alters it."""

    recording: forge.Recording
    folder: Path

    def copy(self, to: Path) -> Path:
        shutil.copytree(self.folder, to, symlinks=True)
        return to


def write(recording: forge.Recording, folder: Path) -> Path:
    package.write_package(
        folder,
        records=recording.records,
        attestation=recording.attestation,
        certificates=recording.site.certificates,
        media=lambda record: recording.media.get(record.sequence),
        withheld=recording.withholding,
    )
    return folder


def judge(folder: Path, site: forge.Site) -> Verdict:
    return inspection.judge_package(folder, site.anchors)


@pytest.fixture(scope="session")
def site() -> forge.Site:
    return forge.Site.make()


@pytest.fixture(scope="session")
def honest(site: forge.Site, tmp_path_factory: pytest.TempPathFactory) -> Sample:
    recording = forge.record(site, gap=True)
    return Sample(recording, write(recording, tmp_path_factory.mktemp("honest") / "package"))
