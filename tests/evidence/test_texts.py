"""The catalogue of texts: whole, the same in both languages, in the terms of the rules."""

from __future__ import annotations

import re
import string
from typing import get_args

import pytest

from recorder.evidence import policy, texts

IDS = texts.ids()
FORBIDDEN_ZH = ("暂停", "删除", "丢弃", "用户", "上报领导", "录像文件", "视频文件")
"""Functions that do not exist, and words that are not those of the rules."""
IN_THE_LAW = {"marker.refusal.evidence", "matter.preserve_evidence", "say.start.photo"}
"""证据 and 取证 as the rules use them, of evidence and of taking it, never of a recording."""


def names(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}


@pytest.mark.parametrize("text_id", IDS)
def test_both_languages_say_the_same(text_id: str) -> None:
    assert re.fullmatch(r"[a-z]+(\.[A-Za-z0-9_-]+)+", text_id)
    assert set(texts._catalogue()[text_id]) == set(texts.LANGUAGES)
    zh, en = (texts._catalogue()[text_id][language] for language in texts.LANGUAGES)
    assert zh.strip()
    assert en.strip()
    assert names(zh) == names(en)
    assert all(re.fullmatch(r"[a-z_]+", name) for name in names(zh))
    assert not re.search(r"[\u4e00-\u9fff]", en)


@pytest.mark.parametrize("text_id", IDS)
def test_words_that_are_not_written(text_id: str) -> None:
    zh = texts._catalogue()[text_id]["zh"]
    assert not [word for word in FORBIDDEN_ZH if word in zh]
    if text_id.split(".", maxsplit=1)[0] in ("report", "finding", "found", "status", "verify", "verdict"):
        assert "违法" not in zh
        assert "违规" not in zh
    if "证据" in zh:
        assert text_id in IN_THE_LAW


@pytest.mark.parametrize("text_id", [text_id for text_id in IDS if text_id.startswith(("say.", "cue."))])
def test_what_is_spoken_holds_nothing_that_only_an_eye_can_read(text_id: str) -> None:
    assert not re.search(r"[0-9A-Za-z%]", re.sub(r"\{[a-z_]+\}", "", texts._catalogue()[text_id]["zh"]))


def test_the_closed_lists_have_their_texts() -> None:
    assert {text_id.removeprefix("matter.") for text_id in IDS if text_id.startswith("matter.")} == set(policy.MATTERS)
    for group, form in (
        ("notrec", policy.NotRecordedReason),
        ("defer", policy.DeferralReason),
        ("right", policy.Right),
    ):
        assert {text_id for text_id in IDS if text_id.startswith(f"{group}.")} == {
            f"{group}.{name}" for name in get_args(form)
        }


def test_reasons_fit_their_sentence() -> None:
    spoken = texts.text("say.end.unsuitable", reason=texts.named("notrec", "trade_secret"))
    assert spoken == "因涉及商业秘密，依照规定停止音像记录，改作文字记录。"


def test_a_name_that_nobody_knows_is_shown_as_it_is() -> None:
    assert texts.named("gap", "later-cause\x1b[2J") == "later-cause?[2J"
