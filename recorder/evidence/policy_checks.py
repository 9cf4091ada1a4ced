"""What a policy file may not say though its form is right: values that contradict each other or the rule."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from recorder.evidence import texts
from recorder.evidence.policy_form import ARTICLE_PATTERN, MATTERS, Section

if TYPE_CHECKING:
    from collections.abc import Sequence

    from recorder.evidence.policy_form import Announcement, Duty, Ground, NotRecorded, PolicyFile, Term


def problems(form: PolicyFile) -> list[str]:
    """Say what is wrong beyond types, one sentence each, with the key."""
    return [*_articles_of(form, form.rule.letter, ""), *_problems(form)]


def _problems(form: PolicyFile) -> list[str]:
    found = _term_problems(form.term)
    if not re.fullmatch(r"[A-Z]", form.rule.letter):
        found.append(f"rule.letter: {form.rule.letter!r} is not one capital letter")
    found += [
        f"matters: {name} is missing: each act is named, as unnamed where the rule is silent"
        for name in MATTERS
        if name not in form.matters
    ]
    for table, names in (
        ("matters", form.matters),
        ("announcement.matters", form.announcement.matters),
        ("officers.matters", form.officers.matters),
        ("rights.matters", form.rights.matters),
    ):
        found += [f"{table}: {name!r} is not an act of the closed list" for name in names if name not in MATTERS]
    for name, duty in form.matters.items():
        found += [f"matters.{name}: {problem}" for problem in _duty_problems(duty)]
    found += _announcement_problems(form.announcement)
    found += [f"not_recorded.reasons: {name} is there twice" for name in _twice(form.not_recorded.reasons)]
    found += [f"deferral.reasons: {name} is there twice" for name in _twice(form.deferral.reasons)]
    if form.hand_over.officers_may_not_keep_articles and not form.hand_over.officers_may_not_keep:
        found.append("hand_over: officers_may_not_keep_articles without officers_may_not_keep")
    return found


def _twice(entries: Sequence[NotRecorded | Ground]) -> list[str]:
    names = [entry.reason for entry in entries]
    return sorted({name for name in names if names.count(name) > 1})


def _term_problems(term: Term) -> list[str]:
    found = []
    if term.years is not None and (term.last_day is not None or term.years < 1):
        found.append("term.years: at least 1, and not together with last_day")
    if term.first_day is not None and term.last_day is not None and term.last_day < term.first_day:
        found.append(f"term: it would end on {term.last_day}, before it begins on {term.first_day}")
    return found


def _duty_problems(duty: Duty) -> list[str]:
    found = []
    if duty.recorded == "unnamed" and duty.articles:
        found.append("has articles, and is called unnamed")
    if duty.recorded != "unnamed" and not duty.articles:
        found.append(f"is called {duty.recorded!r} without an article that says so")
    if duty.whole_articles and not duty.whole:
        found.append("has whole_articles, and whole is false")
    if duty.condition is None and (duty.otherwise != "unnamed" or duty.otherwise_articles):
        found.append("has 'otherwise' without a condition")
    if (duty.otherwise == "unnamed") == bool(duty.otherwise_articles):
        found.append("'otherwise' and otherwise_articles go together")
    return found


def _announcement_problems(announcement: Announcement) -> list[str]:
    spoken = {name: getattr(announcement, name) for name in ("video", "audio", "photo", "again", "reminder")}
    spoken |= {f"matters.{name}": text for name, text in announcement.matters.items()}
    found = [
        f"announcement.{name}: {text!r} is not a text that is spoken (say.…)"
        for name, text in spoken.items()
        if not (text.startswith("say.") and texts.known(text))
    ]
    if announcement.articles and announcement.pre_event_max_seconds:
        rule = ", ".join(announcement.articles)
        found.append(
            f"announcement.pre_event_max_seconds: must be 0, because {rule} asks that the party be told first:"
            " nothing may be kept from before the telling"
        )
    return found


def _articles_of(section: Section, letter: str, where: str) -> list[str]:
    """Say which articles, anywhere below, are not of the form or not of this rule."""
    found: list[str] = []
    for name in section.__struct_fields__:
        value, at = getattr(section, name), f"{where}.{name}" if where else name
        if name == "articles" or name.endswith("_articles"):
            for article in value:
                match = ARTICLE_PATTERN.fullmatch(article)
                if match is None:
                    found.append(f"{at}: {article!r} is not an article: letter, number, item, for example {letter}8(1)")
                elif match[1] != letter:
                    found.append(f"{at}: {article} is not of this rule, whose articles begin with {letter}")
        else:
            children = (
                value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, tuple) else ()
            )
            below = [(at, value), *((f"{at}.{key}", child) for key, child in children)]
            for path, child in below:
                if isinstance(child, Section):
                    found += _articles_of(child, letter, path)
    return found
