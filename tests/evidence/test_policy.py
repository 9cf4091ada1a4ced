"""Every agency's file against its rule, cell by cell, and what a file may not say."""

from __future__ import annotations

import hashlib
from datetime import date
from pathlib import Path

import pytest

from recorder.evidence import policy, texts
from recorder.evidence.policy import Duty, Policy, PolicyError

FOLDER = Path(__file__).parents[2] / "config" / "agencies"
FILES = {
    "A": "anshan-approval-bureau",
    "M": "mingshan-emergency-bureau",
    "J": "jinpu-development-bureau",
    "F": "fushun-human-resources-bureau",
    "T": "tonghua-gazetteer-office",
}


def data_of(letter: str) -> bytes:
    return (FOLDER / f"{FILES[letter]}.toml").read_bytes()


AGENCIES: dict[str, Policy] = {letter: policy.parse(data_of(letter)) for letter in FILES}

# What is said of an act, in short: the word, W for whole in words, its articles; after "if" the condition; after
# "else" what is said where that does not hold; "fitting" and "real_time" are manners, "photos" are articles.
ACTS = """
matter             | A                   | M                                          | J                                   | F                                             | T
on_site_inspection | circumstances A8    | must M13                                   | must J14 photos J7(3)               | circumstances F11                             | must T12
sampling           | -                   | must M13                                   | must J14                            | circumstances F11                             | must T12
hearing            | circumstances A8    | must M13                                   | must W J20                          | circumstances F11                             | must T12
seal_seize         | -                   | must M15                                   | -                                   | must W F10                                    | -
compulsory_other   | -                   | must M15                                   | -                                   | must W F10 if major_property                  | -
remove_restore     | -                   | must M30                                   | -                                   | must W F10 if major_property else circumstances F11 | -
enforcement_other  | -                   | text M30                                   | -                                   | must W F10 if major_property else circumstances F11 | -
preserve_evidence  | -                   | may M13 M14                                | text J14(5)                         | circumstances F11                             | may T12 T13
questioning        | -                   | may M13                                    | text J14(1)                         | circumstances F11                             | may T12
statement_defence  | -                   | text M12(5)                                | text J15                            | -                                             | text T11(5)
summary_penalty    | -                   | must M22 if dispute_likely else text M22 fitting | text J26                      | circumstances F11                             | -
service_direct     | text A11            | text M23                                   | text J27(1)                         | circumstances F11                             | text T19
service_leaving    | process A11         | must M25                                   | -                                   | circumstances F11                             | must T21
service_notice     | process A11         | must M27 fitting                           | must J27(3) fitting photos J27(3)   | circumstances F11                             | must T23 fitting
correction_check   | -                   | must M28 if safety_equipment else text M28 | must J28                            | circumstances F11                             | may T25
dispose_goods      | -                   | text M30(3)                                | must J29                            | must W F10 if major_property                  | -
case_room          | -                   | -                                          | -                                   | must W F10                                    | -
hall               | must A7 real_time   | may M7 real_time                           | -                                   | installed F16                                 | -
expert_review      | text A8             | text M18                                   | -                                   | -                                             | text T15
other              | -                   | -                                          | -                                   | -                                             | -
"""  # noqa: E501

OTHERS = """
what                     | A                              | M                        | J                             | F                             | T
refusal                  | must A8                        | must M12                 | text_or_recording J14         | unnamed                       | must T11
text_sufficient          | no                             | no                       | no                            | F9                            | no
hand_over                | 24 A12                         | 24 M32                   | 24 J31                        | 24                            | 24 T26
may_not_keep             | no                             | M32                      | J31                           | no                            | T26
deferral                 | continuous elsewhere remote A12 | none                    | continuous remote J31         | none                          | none
deferral_clock           | 24                             | none                     | 24                            | none                          | none
filing                   | 30 matter_completed A12        | 30 act_ended special M32 | 30 act_ended special J31      | 30 case_closed F17            | 30 act_ended special T26
keeper                   | unit A13                       | department 局执法监察科 M33 | each_department J32         | person_in_each_department F14 | person T27
copies                   | view disclosure A15            | agency_head M34          | view disclosure also J32      | view disclosure F18           | department_head T28
supervision              | 行政执法人员所在科室 A16        | 局法制机构 M6             | 政策法规科 J5                  | 办公室 F20                     | 依法治市办 T6
devices                  | unnamed                        | as_needed M6             | unnamed                       | one_each F16                  | as_needed T6
announcement             | default                        | default                  | default                       | rule F12(1)                   | default
continuity               | default                        | default                  | default                       | rule F12(4)                   | default
place                    | default                        | default                  | default                       | rule F12(3)                   | default
particulars              | default                        | default                  | default                       | rule F12(2)                   | default
reason_in_writing        | yes A8                         | yes                      | yes                           | yes                           | yes
yearly_list              | none                           | none                     | 1/31 J32                      | none                          | none
two_officers             | none                           | 2 shown M10              | 2 J13                         | 2                             | 2 shown T9
rights                   | none                           | 4 M11                    | 5 J14                         | none                          | 4 T10
pre_event                | 30                             | 30                       | 30                            | 0                             | 30
"""  # noqa: E501


def cells(table: str) -> list[tuple[str, str, str]]:
    head, *rows = [[cell.strip() for cell in line.split("|")] for line in table.strip().splitlines()]
    return [(letter, row[0], cell) for row in rows for letter, cell in zip(head[1:], row[1:], strict=True)]


def said_of(duty: Duty) -> str:
    if duty == Duty(quiet=duty.quiet):
        return "-"
    words = [duty.recorded, *(["W"] if duty.whole and duty.whole_articles else []), *duty.articles]
    words += ["if", duty.condition] if duty.condition else []
    words += ["else", duty.otherwise, *duty.otherwise_articles] if duty.otherwise_articles else []
    words += [duty.manner] if duty.manner else []
    words += ["photos", *duty.photo_articles] if duty.photo_articles else []
    return " ".join(words)


def said(agency: Policy, what: str) -> str:  # noqa: PLR0912
    reasons = agency.deferral.reasons
    match what:
        case "refusal":
            words = [agency.refusal.recorded, *agency.refusal.articles]
        case "text_sufficient":
            found = [entry for entry in agency.not_recorded.reasons if entry.reason == what]
            words = list(found[0].articles) if found else ["no"]
        case "hand_over":
            words = [str(agency.hand_over.hours), *agency.hand_over.articles]
        case "may_not_keep":
            keep = agency.hand_over
            words = list(keep.officers_may_not_keep_articles) if keep.officers_may_not_keep else ["no"]
        case "deferral":
            words = [ground.reason for ground in reasons] + sorted({article for g in reasons for article in g.articles})
        case "deferral_clock":
            words = [str(agency.deferral.hours_after_return)] if reasons else []
        case "filing":
            filing = agency.filing
            words = [str(filing.days), filing.start, *(["special"] if filing.special_law_first else [])]
            words += filing.articles
        case "keeper":
            keeper = agency.keeper
            words = [keeper.kind, *([keeper.zh] if keeper.kind == "department" else []), *keeper.articles]
        case "copies":
            copies = agency.copies
            words = [*(["view"] if copies.view else []), copies.consent, *(["also"] if copies.also else [])]
            words += copies.articles
        case "supervision":
            words = [agency.supervision.zh, *agency.supervision.articles]
        case "devices":
            words = [agency.devices.provided, *agency.devices.articles]
        case "announcement" | "continuity" | "place" | "particulars":
            words = [getattr(agency, what).basis, *getattr(agency, what).articles]
        case "reason_in_writing":
            words = ["yes" if agency.not_recorded.in_writing else "no", *agency.not_recorded.in_writing_articles]
        case "yearly_list":
            listed = agency.yearly_list
            words = [f"{listed.month}/{listed.day}", *listed.articles] if listed else []
        case "two_officers":
            officers = agency.officers
            shown = ["shown", *officers.particulars_articles] if officers.particulars_articles else []
            words = [str(officers.minimum), *officers.articles, *shown] if officers.matters else []
        case "rights":
            words = [str(len(agency.rights.rights)), *agency.rights.articles] if agency.rights.rights else []
        case "pre_event":
            words = [str(agency.announcement.pre_event_max_seconds)]
        case _:
            raise AssertionError(what)
    return " ".join(words) or "none"


@pytest.mark.rule("R2")
@pytest.mark.parametrize(("letter", "matter", "cell"), cells(ACTS))
def test_which_acts(letter: str, matter: str, cell: str) -> None:
    assert said_of(AGENCIES[letter].duty(matter)) == cell


@pytest.mark.parametrize(("letter", "what", "cell"), cells(OTHERS))
def test_clocks_reasons_consents(letter: str, what: str, cell: str) -> None:
    assert said(AGENCIES[letter], what) == cell


def test_the_tables_are_whole() -> None:
    assert {matter for _, matter, _ in cells(ACTS)} == set(policy.MATTERS)
    assert {file.stem for file in FOLDER.iterdir()} == set(FILES.values())
    assert {agency.agency.id for agency in AGENCIES.values()} == set(FILES.values())


@pytest.mark.rule("R13")
@pytest.mark.parametrize(
    ("letter", "grounds"),
    [
        ("A", {"continuous", "elsewhere", "remote"}),
        ("M", set()),
        ("J", {"continuous", "remote"}),
        ("F", set()),
        ("T", set()),
    ],
)
def test_deferral(letter: str, grounds: set[str]) -> None:
    asked = ("continuous", "elsewhere", "remote", "network", "")
    assert {reason for reason in asked if AGENCIES[letter].may_defer(reason)} == grounds


@pytest.mark.rule("R10")
@pytest.mark.parametrize("letter", FILES)
def test_unsuitable_content_is_a_reason_everywhere(letter: str) -> None:
    agency = AGENCIES[letter]
    for reason in ("state_secret", "trade_secret", "privacy", "explosive", "other_unsuitable"):
        for matter in (*policy.MATTERS, None):
            entry = agency.not_recorded_reason(reason, matter, "interval")
            assert entry is not None
            assert entry.articles
            assert entry.explain == (reason == "other_unsuitable")
    assert agency.not_recorded_reason("battery", "hearing") is None


@pytest.mark.rule("R23")
def test_that_text_suffices_is_a_reason_in_fushun_only_and_never_for_a_must() -> None:
    fushun = AGENCIES["F"]
    excused = {matter for matter in policy.MATTERS if fushun.not_recorded_reason("text_sufficient", matter)}
    assert excused == {matter for matter in policy.MATTERS if fushun.duty(matter).recorded != "must"}
    assert "seal_seize" not in excused
    assert "remove_restore" not in excused  # must where the property is major, which no device can judge
    assert fushun.not_recorded_reason("text_sufficient", None) is None
    assert fushun.not_recorded_reason("text_sufficient", "hearing", "end") is None
    assert fushun.not_recorded_reason("text_sufficient", "hearing", "interval") is None
    for letter in "AMJT":
        assert not any(AGENCIES[letter].not_recorded_reason("text_sufficient", matter) for matter in policy.MATTERS)


@pytest.mark.rule("R2")
def test_absence_is_a_finding_for_must_only() -> None:
    mingshan, anshan = AGENCIES["M"], AGENCIES["A"]
    assert mingshan.duty("sampling").absence == "finding"
    assert mingshan.duty("summary_penalty").absence == "question"  # whether dispute was likely
    assert anshan.duty("hearing").absence == "question"
    assert mingshan.duty("questioning").absence == "nothing"
    assert anshan.duty("service_leaving").absence == "nothing"
    assert anshan.duty(None).absence == "nothing"
    assert anshan.duty("a-later-matter") == Duty()


@pytest.mark.rule("R4")
def test_a_restart_is_never_refused_where_the_act_must_be_recorded() -> None:
    assert {AGENCIES[letter].restart(matter) for letter in FILES for matter in policy.MATTERS} == {"linked"}
    strict = policy.parse(data_of("F").replace(b'restart = "linked"', b'restart = "refused"'))
    assert strict.restart("hearing") == "refused"
    assert strict.restart("seal_seize") == "linked"
    assert strict.restart("compulsory_other") == "linked"
    assert strict.restart(None) == "linked"


@pytest.mark.rule("R3")
def test_what_is_spoken_at_a_start() -> None:
    agency = AGENCIES["A"]
    assert agency.start_text("video", None) == "say.start.av.agency"
    assert agency.start_text("video", "hearing") == "say.start.hearing"
    assert agency.start_text("audio", "hearing") == "say.start.audio.agency"
    assert agency.start_text("photo", "sampling") == "say.start.photo"
    assert agency.start_text("continuous", "hall") is None


@pytest.mark.rule("R3")
@pytest.mark.parametrize("seconds", [1, 30])
def test_no_pre_event_buffer_under_fushun(seconds: int) -> None:
    with pytest.raises(PolicyError, match=r"pre_event_max_seconds: must be 0, because F12\(1\)"):
        policy.parse(data_of("F").replace(b"pre_event_max_seconds = 0", f"pre_event_max_seconds = {seconds}".encode()))


def test_hearings_are_quiet() -> None:
    assert all(agency.duty("hearing").quiet for agency in AGENCIES.values())


@pytest.mark.rule("R8")
def test_two_officers() -> None:
    assert AGENCIES["J"].two_officers("sampling")
    assert not AGENCIES["J"].two_officers("service_direct")
    assert not AGENCIES["A"].two_officers("on_site_inspection")
    assert not AGENCIES["J"].two_officers(None)


@pytest.mark.rule("R16")
def test_sessions_without_a_case_count_where_the_rule_says_act() -> None:
    assert {letter for letter, agency in AGENCIES.items() if agency.filing.counts_without_case} == set("MJT")


def test_when_a_version_holds() -> None:
    anshan, mingshan = AGENCIES["A"], AGENCIES["M"]
    assert (anshan.term.trial, anshan.term.end) == (True, None)
    assert anshan.holds_on(date(2019, 9, 17)) is False
    assert anshan.holds_on(date(2019, 9, 18)) is True
    assert mingshan.holds_on(date(2026, 1, 1)) is None  # the text does not tell when it was issued


def test_a_trial_of_one_year_ends_by_itself() -> None:
    assert AGENCIES["F"].term.end is None
    dated = policy.parse(data_of("F").replace(b"years = 1", b"first_day = 2020-02-29\nyears = 1"))
    assert dated.term.end == date(2021, 2, 28)
    assert dated.holds_on(date(2021, 2, 28)) is True
    assert dated.holds_on(date(2021, 3, 1)) is False
    ended = policy.parse(data_of("F").replace(b"years = 1", b"last_day = 2021-02-28"))
    assert ended.holds_on(date(2021, 3, 1)) is False
    assert ended.holds_on(date(2021, 2, 28)) is None


def test_the_digest_is_of_the_bytes() -> None:
    data = data_of("T")
    assert policy.parse(data).digest == hashlib.sha256(data).digest()
    assert policy.parse(data + b"# said later\n").digest != policy.parse(data).digest


def test_a_device_without_a_file_still_records() -> None:
    agency = policy.without_file()
    assert agency.digest == hashlib.sha256(b"").digest()
    assert agency.start_text("video", None) == "say.start.av"
    assert agency.restart("hearing") == "linked"
    assert not agency.may_defer("continuous")
    assert agency.not_recorded_reason("state_secret", None)
    assert not agency.not_recorded_reason("text_sufficient", "hearing")
    assert agency.holds_on(date(2026, 1, 1)) is None


def test_an_article_in_a_sentence() -> None:
    statement = texts.text(
        "txt.notrec.statement",
        matter=texts.named("matter", "sampling"),
        reason=texts.named("notrec", "privacy"),
        rule=AGENCIES["F"].rule.zh,
        article=policy.article_number("F13(2)"),
        officers="210101",
        time="2026-03-01 10:00",
    )
    assert "依照抚顺县人力资源和社会保障局行政执法全过程记录制度（试行）第十三条不予音像记录" in statement
    assert policy.article_number("F13(2)", "en") == "13"


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        (b'version = "1"', b'version = "1"\nsurplus = 1', r"unknown field `surplus`"),
        (b"grace_seconds = 10", b"grace_secs = 10", r"unknown field `grace_secs` - at `\$\.continuity`"),
        (b"grace_seconds = 10", b'grace_seconds = "10"', r"Expected `int`, got `str` - at `\$\.continuity"),
        (b"grace_seconds = 10", b"grace_seconds = 0", r"Expected `int` >= 5"),
        (b"hours = 24\n", b"hours = 48\n", r"Expected `int` <= 24 - at `\$\.hand_over\.hours`"),
        (b'articles = ["A13"]', b'articles = ["article 13"]', r"keeper\.articles: 'article 13' is not an article"),
        (b'articles = ["A13"]', b'articles = ["A0"]', r"keeper\.articles: 'A0' is not an article"),
        (b'articles = ["A13"]', b'articles = ["M13"]', r"keeper\.articles: M13 is not of this rule"),
        (
            b'{ reason = "remote", articles = ["A12"] }',
            b'{ reason = "remote", articles = ["12"] }',
            r"deferral\.reasons\.2\.articles: '12' is not an article",
        ),
        (
            b'hall = { recorded = "must", articles = ["A7"]',
            b'hall = { recorded = "must", articles = ["7"]',
            r"matters\.hall\.articles",
        ),
        (
            b"first_day = 2019-09-18",
            b"first_day = 2019-09-18\nlast_day = 2019-09-17",
            r"would end on 2019-09-17, before",
        ),
        (b"first_day = 2019-09-18", b"first_day = 2019-09-31", r"not readable as TOML"),
        (b"first_day = 2019-09-18", b"last_day = 2020-01-01\nyears = 1", r"not together with last_day"),
        (b'"elsewhere"', b'"network"', r"Invalid enum value 'network' - at `\$\.deferral"),
        (b'"elsewhere"', b'"continuous"', r"deferral\.reasons: continuous is there twice"),
        (b'sampling = { recorded = "unnamed" }', b"", r"matters: sampling is missing"),
        (
            b"sampling = { recorded",
            b'fishing = { recorded = "unnamed" }\nsampling = { recorded',
            r"'fishing' is not an act",
        ),
        (b'sampling = { recorded = "unnamed" }', b'sampling = { recorded = "must" }', r"without an article"),
        (
            b'sampling = { recorded = "unnamed" }',
            b'sampling = { recorded = "unnamed", articles = ["A8"] }',
            r"is called unnamed",
        ),
        (
            b'sampling = { recorded = "unnamed" }',
            b'sampling = { recorded = "may", articles = ["A8"], whole_articles = ["A8"] }',
            r"whole is false",
        ),
        (b'"say.start.photo"', b'"say.start.foto"', r"announcement\.photo: 'say\.start\.foto' is not a text"),
        (b'"say.start.photo"', b'"cue.ready"', r"announcement\.photo: 'cue\.ready' is not a text"),
        (b"pre_event_max_seconds = 30", b"pre_event_max_seconds = 31", r"Expected `int` <= 30"),
        (b'letter = "A"', b'letter = "Anshan"', r"is not one capital letter"),
        (b"[filing]", b"[filings]", r"unknown field `filings`|missing required field `filing`"),
        (
            b"officers_may_not_keep = false",
            b'officers_may_not_keep_articles = ["A12"]',
            r"without officers_may_not_keep",
        ),
    ],
)
def test_what_a_file_may_not_say(before: bytes, after: bytes, message: str) -> None:
    data = data_of("A")
    assert before in data
    with pytest.raises(PolicyError, match=message):
        policy.parse(data.replace(before, after, 1))


@pytest.mark.parametrize("data", [b"", b"\xff\xfe", b"[[[", b"version = 1\nversion = 2", b" " * (300 << 10)])
def test_what_is_no_policy_at_all(data: bytes) -> None:
    with pytest.raises(PolicyError):
        policy.parse(data)
