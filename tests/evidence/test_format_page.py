"""``docs/evidence-format.md`` stays true: what the code knows occurs on the page, and its commands run."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest
from cryptography.hazmat.primitives import serialization

from keys import cose
from keys.certificates import Role
from recorder.evidence import records, statements, stored
from recorder.evidence.findings import CODES

if TYPE_CHECKING:
    from tests.evidence.conftest import Sample
    from tests.support.forge import Site

PAGE = (Path(__file__).parents[2] / "docs/evidence-format.md").read_text()


def section(title: str) -> str:
    match = re.search(rf"^### {re.escape(title)}$(.*?)^##", PAGE, re.MULTILINE | re.DOTALL)
    assert match is not None, title
    return match[1]


COMMON = section("Files: what chunk, details and photo have in common")


@pytest.mark.parametrize("kind", records.KINDS)
def test_every_field_of_every_kind_is_on_the_page(kind: str) -> None:
    own = section(kind) + (COMMON if kind in records.WITH_FILE else "")
    for name in records.KINDS[kind].__struct_fields__:
        assert f"`{name}`" in own, name


def test_every_envelope_field_is_on_the_page() -> None:
    for name in records._Envelope.__struct_fields__:
        assert f"| `{name}` |" in PAGE, name
    for name in (*records.CLOCKS, *(stored.Header.__struct_fields__), *(stored.Account.__struct_fields__)):
        assert f"`{name}`" in PAGE, name
    for name in records.Track.__struct_fields__:
        assert f"`{name}`" in section("chunk"), name


@pytest.mark.parametrize("name", statements.TYPES)
def test_every_field_of_every_statement_is_on_the_page(name: str) -> None:
    match = re.search(rf"^\*\*{name}\*\*(.*?)(?=^\*\*|^##)", PAGE, re.MULTILINE | re.DOTALL)
    assert match is not None
    for field in msgspec.structs.fields(statements.TYPES[name]):
        assert f"`{field.name}`" in match[1] or field.name in ("store", "utc_ns"), field.name


def test_every_code_is_on_the_page_as_it_is() -> None:
    rows = re.findall(r"^\| `([a-z-]+)` \| (\w+) \| ([VUN]) \| (\w+) \|$", PAGE, re.MULTILINE)
    assert {row[0]: tuple(row[1:]) for row in rows} == {
        code: (kind.part.value, kind.effect.value[0].upper(), kind.scope) for code, kind in CODES.items()
    }


def test_roles_and_constants_are_on_the_page() -> None:
    for role in (Role.SIGNING, Role.RECEIPT, Role.OPENING, Role.CODES):
        assert f"| `{role.prefix}:` | {role.usage} |" in PAGE
    assert cose.EXTERNAL_AAD.hex() in PAGE
    assert stored.MAGIC.hex(" ") in PAGE


def test_the_commands_of_the_page_run(honest: Sample, site: Site, tmp_path: Path) -> None:
    script = re.search(r"```sh\n(.*?)```", PAGE, re.DOTALL)
    assert script is not None
    folder = honest.copy(tmp_path / "package")
    (folder / "authority.pem").write_bytes(site.authority.certificate.public_bytes(serialization.Encoding.PEM))
    done = subprocess.run(["sh", "-e", "-c", script[1]], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Signature Verified Successfully" in done.stdout
    assert ": OK" in done.stdout
    assert honest.recording.parsed[1].previous_sha256.hex() in done.stdout
