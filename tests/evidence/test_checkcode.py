"""Check codes: what was written down on paper fixes the recording, also against whoever holds the device's key."""

from __future__ import annotations

import contextlib
import hashlib
import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder.evidence import checkcode, inspection, records
from recorder.evidence.checkcode import CheckCode, CheckCodeError
from tests.evidence.conftest import Sample, write
from tests.support import forge
from tests.support.forge import Draft

if TYPE_CHECKING:
    from recorder.evidence.verdict import Verdict

LOG = bytes(range(16))
RECORD_SHA256 = hashlib.sha256(b"liuhen").digest()
KNOWN = CheckCode(4096, "873516547764")
"""Also computed with the reference program ``argon2``."""
PAGE = (Path(__file__).parents[2] / "docs/evidence-format.md").read_text()

numbers = st.integers(0, checkcode.MAX_NUMBER)
digits = st.text("0123456789", min_size=12, max_size=12)


def judge(folder: Path, site: forge.Site, *codes: CheckCode) -> Verdict:
    return inspection.judge_package(folder, site.anchors, codes=codes)


def test_the_code_of_a_record_is_for_ever() -> None:
    assert checkcode.make(LOG, 4096, RECORD_SHA256) == KNOWN
    assert str(KNOWN) == "4096:8735 1654 7764"


def test_record_log_and_number_each_change_it() -> None:
    others = [
        checkcode.make(LOG, 4097, RECORD_SHA256),
        checkcode.make(LOG[::-1], 4096, RECORD_SHA256),
        checkcode.make(LOG, 4096, RECORD_SHA256[::-1]),
    ]
    assert len({KNOWN.digits, *(one.digits for one in others)}) == 4


@pytest.mark.skipif(not (shutil.which("argon2") and shutil.which("bc")), reason="argon2 and bc are not installed")
def test_the_page_is_enough_to_compute_one(tmp_path: Path) -> None:
    script = re.search(r"^## 13 .*?\n(digest=.*?)```", PAGE, re.MULTILINE | re.DOTALL)
    assert script is not None
    (tmp_path / "record").write_bytes(b"liuhen")
    head = f"log={LOG.hex()}; number=4096\n"
    done = subprocess.run(["bash", "-ec", head + script[1]], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == KNOWN.digits
    assert KNOWN.groups in PAGE


@given(numbers, digits)
def test_what_is_written_is_read_again(number: int, code: str) -> None:
    made = CheckCode(number, code)
    assert checkcode.parse(str(made)) == made
    assert checkcode.parse(f"{number}:{code}") == made


@given(numbers, digits, st.lists(st.sampled_from([" ", "-", "–", "\u3000", "\t", "—"]), min_size=20, max_size=20))
def test_blanks_dashes_and_wide_signs_do_not_matter(number: int, code: str, between: list[str]) -> None:
    wide = str.maketrans("0123456789:", "０１２３４５６７８９：")
    signs = list(f"{number}:{code}".translate(wide))
    for place, sign in enumerate(between):
        signs.insert((place * 7) % (len(signs) + 1), sign)
    assert checkcode.parse("".join(signs)) == CheckCode(number, code)


@given(st.text(max_size=40) | st.text("0123456789:- ٣", max_size=20))
def test_anything_else_is_refused_and_nothing_breaks(written: str) -> None:
    with contextlib.suppress(CheckCodeError):
        assert re.fullmatch("[0-9]{12}", checkcode.parse(written).digits)


@pytest.mark.parametrize(
    "written",
    [
        "",
        ":",
        "4096",
        "4096:",
        ":873516547764",
        "-:873516547764",
        "4096:87351654776",
        "4096:8735165477640",
        "4096:87351654776a",
        "4096:873516547764:1",
        "4,096:873516547764",
        f"{1 << 48}:873516547764",
    ],
)
def test_malformed_codes_are_refused(written: str) -> None:
    with pytest.raises(CheckCodeError):
        checkcode.parse(written)


@pytest.mark.rule("R23")
def test_a_code_says_which_record_and_second_it_stands_for(honest: Sample, site: forge.Site) -> None:
    record = honest.recording.parsed[honest.recording.at("marker")]
    result = judge(honest.folder, site, checkcode.of(record), checkcode.of(honest.recording.parsed[-1]))
    assert (result.exit_code, result.findings) == (0, ())
    agreed = [note for note in result.notes if note.code == "code-agrees"]
    assert [note.sequence for note in agreed] == [record.sequence, honest.recording.parsed[-1].sequence]
    assert agreed[0].sentence("en").endswith("(film 0:00:04)")
    plain = next(note for note in result.plain()["notes"] if note["code"] == "code-agrees")
    assert plain["sequence"] == record.sequence
    assert plain["span_ns"] is not None


@pytest.mark.rule("R23")
@pytest.mark.parametrize("place", range(12))
def test_a_wrong_digit_does_not_fit(honest: Sample, site: forge.Site, place: int) -> None:
    right = checkcode.of(honest.recording.parsed[-1])
    wrong = right.digits[:place] + str((int(right.digits[place]) + 1) % 10) + right.digits[place + 1 :]
    result = judge(honest.folder, site, CheckCode(right.number, wrong))
    assert (result.exit_code, [one.code for one in result.findings]) == (1, ["code-differs"])
    assert "digits that differ: 1" in result.findings[0].sentence("en")


def test_the_code_of_another_record_does_not_fit(honest: Sample, site: forge.Site) -> None:
    one, other = (checkcode.of(honest.recording.parsed[place]) for place in (2, 3))
    assert judge(honest.folder, site, CheckCode(one.number, other.digits)).exit_code == 1


@pytest.mark.parametrize("number", [0, 99_999])
def test_a_number_beyond_the_package_cannot_be_judged(honest: Sample, site: forge.Site, number: int) -> None:
    result = judge(honest.folder, site, CheckCode(number, "0" * 12))
    assert (result.exit_code, [one.code for one in result.findings]) == (2, ["code-beyond"])
    # It takes nothing from what could be judged.
    assert (result.integrity, result.completeness, result.witness) == ("intact", "gaps", "attested")
    assert result.findings[0].sequence == number


@pytest.mark.rule("R23")
def test_another_last_minute_made_with_the_devices_own_key_does_not_fit(site: forge.Site, tmp_path: Path) -> None:
    """The device was off line: no store has received anything, so the second past verifies, but for the paper."""
    drafts = forge.session_drafts(count=6)
    spoken = forge.record(site, drafts)
    code = checkcode.of(spoken.parsed[-1])
    assert judge(write(spoken, tmp_path / "spoken"), site, code).exit_code == 0
    # Whoever holds the device and its key takes the last four seconds out, and closes in order at the same number.
    shorter = drafts[:-3]
    close = forge.close_draft(shorter)
    filling = [Draft(records.Fault(code="camera"), close.boottime_ns, b"S" * 16)] * 2
    forged = forge.record(site, [*shorter, *filling, close])
    assert forged.parsed[-1].sequence == code.number
    folder = write(forged, tmp_path / "forged")
    assert judge(folder, site).exit_code == 0
    result = judge(folder, site, code)
    assert (result.exit_code, result.integrity) == (1, "broken")
    assert [one.code for one in result.findings] == ["code-differs"]
