"""What the centre prints for the lens: by hand and from lists, on record before it is there."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

import pytest

from keys.certificates import Anchors, Role, load_der
from recorder.evidence import lens_code
from recorder.evidence.lens_code import OfficerCode, TaskCode
from recorder.source.pictures import Picture
from recorder.source.scanner import Scanner
from tests.support.cards import printed
from tests.support.commands import liuhen
from uplink.central import access, embedded, issuing
from uplink.central.errors import StoreError

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

SECOND = 10**9
TASK = ("--matter", "on_site_inspection", "--case", "31号", "--place", "胜利路12号", "--person", "party:某公司",
        "--officer", "06050112")  # fmt: skip
CARD = ("--certificate", "06050112", "--name", "王建国", "--agency", "某某局")


@pytest.fixture
def config(tmp_path: Path, site: Path) -> Path:
    keys = site / "central"
    embedded.make(tmp_path / "store", "store-1")
    path = tmp_path / "central.toml"
    path.write_text(
        f"""
[store]
folder = "{tmp_path / "store"}"
[keys]
receipt = "file:{keys / "receipt.key"}"
certificate = "{keys / "receipt.crt"}"
codes = "file:{keys / "codes.key"}"
codes_certificate = "{keys / "codes.crt"}"
authority = ["{site / "authority.crt"}"]
[intake]
broker = "localhost:1"
key = "{keys / "transport.key"}"
certificate = "{keys / "transport.crt"}"
broker_authority = "{site / "authority.crt"}"
"""
    )
    return path


def issue(config: Path, kind: str, *more: object, until: str = "2027-01-31") -> subprocess.CompletedProcess[str]:
    out = config.parent / "out"
    usual = ("--config", config, "--out", out, "--until", until, "--reason", "检查计划", "--as", "0417")
    return liuhen("central", "code", kind, *usual, *more)


def codes_in(config: Path) -> list[TaskCode | OfficerCode]:
    """Read what was printed as a camera would see it, and believe it as a device would."""
    out = config.parent / "out"
    found = []
    for png in sorted(out.glob("*.png")):
        assert png.with_suffix(".svg").exists()
        drawn = printed(png)
        scale = 4
        line = [bytes(30 if one else 220 for one in row for _ in range(scale)) for row in drawn]
        luma = b"".join(row for row in line for _ in range(scale))
        told: list[bytes] = []
        size = len(drawn) * scale
        Scanner(lambda _, text: told.append(text)).look(Picture(0, size, size, size, memoryview(luma)))  # noqa: B023
        shown = lens_code.read(told[0].decode())
        assert shown.sha256.hex().startswith(png.stem)
        found.append(shown.code)
    return found


def test_a_task_is_printed_noted_and_believed(config: Path, site: Path) -> None:
    done = issue(config, "task", *TASK, "--from", "2026-01-01")
    assert done.returncode == 0, done.stderr
    (code,) = codes_in(config)
    assert isinstance(code, TaskCode)
    assert (code.issuer, code.case, code.officers) == ("store-1", "31号", ["06050112"])
    assert [(one.role, one.name) for one in code.people] == [("party", "某公司")]
    assert (code.valid_from_utc_s, code.valid_until_utc_s) == (1_767_196_800, 1_801_411_199)  # days in Beijing
    ((_, entry),) = access.entries(config.parent / "store")
    assert (entry.action, entry.reason) == ("code", "检查计划")
    assert entry.who.endswith("(0417)")
    assert entry.subject["kind"] == "task"
    page = (config.parent / "out" / issuing.SHEET).read_text()
    assert page.index("任务二维码") < page.index("Task")
    for word in ("现场检查", "胜利路12号", "某公司", "2027-01-31 23:59:59", "<svg"):
        assert word in page
    certificate = load_der(site / "central" / "codes.crt")
    assert Anchors.load([site / "authority.crt"]).identify(certificate, Role.CODES).id == "store-1"


def test_neither_the_log_nor_a_files_name_tells_who(config: Path) -> None:
    assert issue(config, "officer", *CARD).returncode == 0
    data = (config.parent / "store" / "access.log").read_bytes()
    names = "".join(path.name for path in (config.parent / "out").iterdir())
    for word in ("王建国", "06050112"):
        assert word.encode() not in data
        assert word not in names
    assert "王建国" in (config.parent / "out" / issuing.SHEET).read_text()
    assert (config.parent / "out").stat().st_mode & 0o077 == 0


CSV = """\ufeffmatter,case,place,party,witness,officers
sampling,7号,甲路1号,甲公司; 乙公司,,06050112;06050113
hearing,8号,,,丙某,
"""
TOML = """
[[task]]
matter = "sampling"
case = "7号"
place = "甲路1号"
people = [{ role = "party", name = "甲公司" }, { role = "party", name = "乙公司" }]
officers = ["06050112", "06050113"]
[[task]]
matter = "hearing"
case = "8号"
people = [{ role = "witness", name = "丙某" }]
"""


@pytest.mark.parametrize(("name", "text"), [("list.csv", CSV), ("list.toml", TOML)])
def test_many_at_once_from_a_list(config: Path, name: str, text: str) -> None:
    (config.parent / name).write_text(text, encoding="utf-8")
    done = issue(config, "task", "--list", config.parent / name, "--bare")
    assert done.returncode == 0, done.stderr
    by_case = {code.case: code for code in codes_in(config) if isinstance(code, TaskCode)}
    assert by_case["7号"].officers == ["06050112", "06050113"]
    assert [one.name for one in by_case["7号"].people] == ["甲公司", "乙公司"]
    assert [one.role for one in by_case["8号"].people] == ["witness"]
    assert len(list(access.entries(config.parent / "store"))) == 2
    page = (config.parent / "out" / issuing.SHEET).read_text()
    assert len(re.findall("<article>", page)) == 2


WRONG = {
    "no-such-matter": (("task", "--matter", "revenge"), "closed list"),
    "no-matter": (("task", "--case", "7"), "matter"),
    "no-name": (("officer", "--certificate", "1", "--agency", "x"), "name"),
    "no-such-role": (("task", "--matter", "hall", "--person", "friend:x"), "role"),
    "past": (("task", *TASK, "--until", "2020-01-01"), "past"),
    "not-a-date": (("task", *TASK, "--until", "soon"), "Beijing"),
    "longer-than-the-key": (("task", *TASK, "--until", "2040-01-01"), "outlive"),
    "too-much": (("task", *TASK, "--unit", "科" * 180, "--matter-note", "注" * 180), "do not fit"),
    "both": (("task", *TASK, "--list", "x.csv"), "not both"),
    "no-list": (("task", "--list", "x.csv"), "cannot be read"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_be_issued_leaves_nothing(config: Path, name: str) -> None:
    arguments, problem = WRONG[name]
    done = issue(config, *arguments)
    assert done.returncode == 64
    assert problem in done.stderr
    assert not (config.parent / "out").exists()
    assert list(access.entries(config.parent / "store")) == []


def test_codes_are_never_written_over_others(config: Path) -> None:
    assert issue(config, "officer", *CARD).returncode == 0
    before = sorted((config.parent / "out").iterdir())
    assert issue(config, "officer", *CARD).returncode == 64
    assert sorted((config.parent / "out").iterdir()) == before


def test_a_key_for_receipts_issues_no_codes(config: Path) -> None:
    config.write_text(config.read_text().replace("codes.key", "receipt.key").replace("codes.crt", "receipt.crt"))
    done = issue(config, "officer", *CARD)
    assert (done.returncode, "not CODES" in done.stderr) == (64, True)
    config.write_text("\n".join(line for line in config.read_text().splitlines() if not line.startswith("codes")))
    assert "issues no codes" in issue(config, "officer", *CARD).stderr


def test_what_a_card_says_cannot_change_the_page() -> None:
    code = OfficerCode(
        issuer="store-1", valid_from_utc_s=0, valid_until_utc_s=1, certificate="1", name="<script>", agency="a&b"
    )
    card = issuing.card(issuing.Printed(code, b"x"), "", "zh")
    assert "<script>" not in card
    assert "&lt;script&gt;" in card


@pytest.mark.parametrize(
    ("start", "end", "valid"),
    [
        (None, "2026-10-01", (1_790_000_000, 1_790_870_399)),
        ("2026-10-01", "2026-10-01", (1_790_784_000, 1_790_870_399)),
        ("2026-10-01T08:30", "2026-10-01T17:00", (1_790_814_600, 1_790_845_200)),
    ],
)
def test_times_are_beijing_time(start: str | None, end: str, valid: tuple[int, int]) -> None:
    assert issuing.validity(start, end, 1_790_000_000) == valid
    with pytest.raises(StoreError):
        issuing.validity("2026-10-02", "2026-10-01", 1_790_000_000)
    assert time.gmtime(valid[1]).tm_year == 2026
