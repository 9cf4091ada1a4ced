"""The table of faults: whole, told apart, printed as it is, and the only one."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from recorder import impairments
from recorder.evidence import faults

ROOT = Path(__file__).parents[2]


def test_the_printed_page_is_the_table() -> None:
    assert (ROOT / "docs" / "faults.md").read_text() == faults.page()


def test_no_two_faults_have_one_number() -> None:
    numbers = [one.number for one in faults.table().values()]
    assert len(set(numbers)) == len(numbers)
    assert all(10 <= number <= 99 for number in numbers)


@pytest.mark.parametrize("code", faults.table())
def test_each_says_what_it_is_and_what_to_do(code: str) -> None:
    one = faults.table()[code]
    assert re.fullmatch(r"[a-z]+(_[a-z]+)*", code)
    for words in (one.cause, one.todo):
        assert re.search(r"[\u4e00-\u9fff]", words.zh)
        assert words.en
        assert not re.search(r"[\u4e00-\u9fff]", words.en)
        assert not words.zh.endswith("。")
        assert not words.en.endswith(".")


def test_every_fault_that_the_program_signs_is_in_the_table() -> None:
    signed = set()
    for path in (ROOT / "recorder").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] == "Fault":
                signed |= {
                    word.value.value
                    for word in node.keywords
                    if word.arg == "code" and isinstance(word.value, ast.Constant)
                }
    assert {"storage_full", "log_damaged", "policy_missing"} <= signed
    assert signed <= set(faults.table())
    assert set(impairments.CUES) <= set(faults.table())
