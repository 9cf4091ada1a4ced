"""The report on a session as people read it: plain text, a page to print, and JSON for programs.

The same sections in each form and in both languages; their order is that of the report's headings.
"""

from __future__ import annotations

import re
from html import escape
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from recorder.evidence import before, checkcode, texts
from recorder.evidence.duties import RULES
from recorder.evidence.duty import LAWFUL_GAPS, NOT_APPLICABLE
from recorder.evidence.facts import LATER
from recorder.evidence.session_report import RENDERER, figures, marker, sentence

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from recorder.evidence.duty import Duty, Finding, Says
    from recorder.evidence.facts import Claim, Moment, Statement
    from recorder.evidence.session_report import Report

_ARTICLE: Final = re.compile(r"[A-Z]([0-9]+)(?:\(([0-9]+)\))?")
_DIGITS: Final = "〇一二三四五六七八九"


class Table(NamedTuple):
    """Rows under a heading row; without one, pairs of name and value."""

    rows: Sequence[tuple[str, ...]]
    head: tuple[str, ...] = ()
    kind: str = ""
    """How a page lays it out: ``duties``, ``answers`` or nothing."""


class Section(NamedTuple):
    """One heading with what stands below it."""

    heading: str
    blocks: list[Table | str]


class _Writer:
    """Words of one report in one language."""

    def __init__(self, report: Report, language: str) -> None:
        self.report = report
        self.facts = report.facts
        self.language = language

    def text(self, text_id: str, **values: Any) -> str:
        return texts.text(text_id, self.language, **values)

    def say(self, one: Says) -> str:
        return sentence(one.text, one.values, self.language)

    def join(self, sentences: Iterable[str]) -> str:
        return ("" if self.language == "zh" else " ").join(sentences)

    def comma(self, parts: Iterable[str]) -> str:
        return self.text("page.comma").join(parts)

    def utc(self, utc_ns: int | None) -> str:
        known = texts.moment(utc_ns) if utc_ns is not None else None
        return known or self.text("stamp.clock_unset")

    def place(self, moment: Moment | None) -> str:
        """Return where in the recording, and when, something shows."""
        if moment is None:
            return "–"
        when = texts.moment(moment.utc_ns) if moment.utc_ns is not None else None
        at = texts.clock_length(moment.media_ns) if moment.media_ns is not None else None
        return (
            self.join(
                part if index == 0 or self.language == "en" else f" {part}"
                for index, part in enumerate(filter(None, (at, when)))
            )
            or "–"
        )

    def finding(self, one: Finding) -> str:
        return sentence(f"finding.{one.id}", one.values, self.language)

    def claims(self, claims: Sequence[Claim], names: Sequence[str] | None = None) -> str:
        """Return what was said at the time; what came later has its own part and is never merged in."""
        shown = [
            texts.printable(name, 200)
            for claim, name in zip(claims, names or [claim.value for claim in claims], strict=True)
            if claim.basis != LATER
        ]
        if shown:
            return self.comma(dict.fromkeys(shown))
        return self.text("report.1.later") if claims else self.text("page.none")

    # -- the parts -----------------------------------------------------------------------------------------------

    def policy(self) -> Section:
        policy, made_under = self.report.policy, self.report.made_under
        signed = made_under.hex()[:16] if made_under else self.text("page.none")
        if policy is None:
            return Section(self.text("report.policy"), [self.text("report.policy.none", digest=signed)])
        names = {"agency": policy.agency, "rule": policy.rule}
        named = {name: one.zh if self.language == "zh" else one.en for name, one in names.items()}
        file = self.text("report.policy.file", version=policy.version, digest=policy.digest.hex()[:16], **named)
        if made_under is None:
            same = self.text("report.policy.unnamed")
        elif made_under == policy.digest:
            same = self.text("report.policy.same")
        else:
            same = self.text("report.policy.other", digest=signed)
        return Section(self.text("report.policy"), [file, same])

    def particulars(self) -> Section:
        facts, line, policy = self.facts, self.facts.line, self.report.policy
        people = facts.people()
        officers = facts.officers()
        records = facts.text_records()
        close, pieces = line.close_body, line.pieces
        parties = [one for one in people if one[0].role in ("party", "representative")]
        others = [one for one in people if one[0].role not in ("party", "representative")]
        matters = [texts.named("matter", one.value, self.language) for one in facts.matters]
        length = pieces[-1].end_ns - pieces[0].start_ns if pieces else 0
        agency = self.text("page.none")
        if policy is not None:
            agency = policy.agency.zh if self.language == "zh" else policy.agency.en
        rows = [
            ("report.number", line.session.hex() if line.session else self.text("page.none")),
            ("report.check_code", self.text("page.none") if line.closing is None else str(checkcode.of(line.closing))),
            ("report.1.agency", agency),
            ("report.1.unit", self.claims(facts.said("unit"))),
            ("report.1.matter", self.claims(facts.matters, matters)),
            ("report.1.case", self.claims(facts.said("case"))),
            (
                "report.1.text_record",
                self.claims([claim for _, claim in records], [f"{one.kind} {one.number}" for one, _ in records]),
            ),
            ("report.1.party", self.claims([claim for _, claim in parties])),
            (
                "report.1.others",
                self.claims(
                    [claim for _, claim in others],
                    [f"{one.name}（{texts.named('role.person', one.role, self.language)}）" for one, _ in others],
                ),
            ),
            (
                "report.1.officers",
                self.claims([claim for _, claim in officers], [one.name or one.certificate for one, _ in officers]),
            ),
            ("report.1.certificate", self.claims([claim for _, claim in officers])),
            ("report.1.device", line.records[0].device if line.records else self.text("page.none")),
            ("report.1.place", self.claims(facts.said("place"))),
            ("report.1.start", self.utc(facts.start_utc_ns)),
            ("report.1.end", self.utc(facts.end_utc_ns) if close is not None else self.text("page.unclosed")),
            ("report.1.length", texts.length(length, self.language)),
            ("report.mode", texts.named("mode", facts.mode, self.language)),
            (
                "report.end_reason",
                texts.named("end", close.reason, self.language) if close else self.text("page.unclosed"),
            ),
        ]
        positions = facts.positions()
        if positions:
            first = before.in_words(positions[0][0])
            value = self.text("report.positions", first=first, count=len(positions))
            place = next(at for at, (name, _) in enumerate(rows) if name == "report.1.place")
            rows.insert(place + 1, ("report.1.position", value))
        blocks: list[Table | str] = [Table([(self.text(name), value) for name, value in rows])]
        for why in ("withheld", "missing", "sealed", "unreadable"):
            count = sum(1 for one in facts.statements if one.absent == why)
            if count:
                blocks.append(self.text("report.hidden", count=count, why=self.text(f"absent.{why}")))
        return Section(self.text("report.1"), blocks)

    def duty_sentences(self, number: str, *rules: str) -> Section:
        blocks: list[Table | str] = []
        for rule in rules:
            blocks += [self.say(one) for one in self.report.duty(rule).sentences]
        return Section(self.text(number), blocks)

    def course(self) -> Section:
        rows = [
            (self.place(one.moment), marker(one.name, self.language), texts.named("basis", one.basis, self.language))
            for one in sorted(self.facts.markers, key=lambda one: one.moment.sequence)
            if one.basis != LATER
        ]
        head = tuple(self.text(f"report.column.{name}") for name in ("at", "what", "basis"))
        return Section(
            self.text("report.3"),
            [Table(rows, head), self.text("page.marks.note")] if rows else [self.text("report.nothing")],
        )

    def gaps(self) -> Section:
        rows = []
        for gap in self.facts.line.interruptions:
            end = texts.clock_length(gap.end_ns) if gap.end_ns is not None else self.text("page.open")
            length = self.text("page.unknown") if gap.length_ns is None else texts.length(gap.length_ns, self.language)
            rows.append(
                (
                    f"{texts.clock_length(gap.start_ns)}–{end}",
                    self.comma(texts.named("track", track, self.language) for track in gap.tracks),
                    texts.named("gap", gap.cause, self.language),
                    length,
                )
            )
        head = tuple(self.text(f"report.column.{name}") for name in ("place", "tracks", "cause", "length"))
        blocks: list[Table | str] = [Table(rows, head)] if rows else [self.text("report.gaps.none")]
        return Section(self.text("report.4"), blocks + [self.say(one) for one in self.report.duty("R4").sentences])

    def not_recorded(self) -> Section:
        return self.duty_sentences("report.5", "R10")

    def quality(self) -> Section:
        blocks: list[Table | str] = []
        counted: dict[str, list[int]] = {}
        for piece in self.facts.line.pieces:
            for kind, track in piece.chunk.tracks.items():
                one = counted.setdefault(kind, [0, 0, 0])
                for place, value in enumerate(
                    (track.frames_received, track.frames_written, sum(track.frames_discarded.values()))
                ):
                    one[place] += value
        for kind, (received, written, discarded) in sorted(counted.items()):
            blocks.append(
                self.text(
                    "report.quality.frames",
                    track=texts.named("track", kind, self.language),
                    received=received,
                    written=written,
                    discarded=discarded,
                )
            )
        blocks += [self.say(one) for one in before.before(self.facts)]
        clocks = sorted({record.clock for record in self.facts.line.records})
        named = self.comma(texts.named("state.clock", one, self.language) for one in clocks)
        blocks.append(self.text("report.quality.clock", clocks=named))
        blocks += [self.text("report.quality.step", seconds=f"{step / 1e9:+.1f}") for _, step in self.facts.steps]
        blocks += [
            f"{self.place(one.moment)}  {self.finding(one)}"
            for one in (*self.report.findings, *self.report.questions)
            if one.id in ("silent", "lens_blocked", "dark", "frozen", "moved", "unexplained_gap")
        ]
        return Section(self.text("report.6"), blocks)

    def hand_over(self) -> Section:
        known = self.report.attestation
        section = self.duty_sentences("report.7", "R12", "R13")
        if known is None:
            section.blocks.append(self.text("report.stored.none"))
            return section
        store = texts.printable(known.store)
        latest = max((utc_ns for _, _, utc_ns in known.received), default=None)
        if latest is not None:
            section.blocks.append(self.text("report.stored", store=store, received=self.utc(latest)))
        if known.complete_utc_ns is not None:
            section.blocks.append(self.text("report.stored.media", store=store, held=self.utc(known.complete_utc_ns)))
        if known.media_missing:
            section.blocks.append(self.text("report.stored.missing", count=len(known.media_missing)))
        return section

    def added_later(self) -> Section:
        rows = [
            (self.utc(one.moment.utc_ns), self._author(one), what)
            for one in self.facts.statements
            if one.basis == LATER
            for what in (
                self._said(one) or [self.text(f"absent.{one.absent}") if one.absent else self.text("report.nothing")]
            )
        ]
        rows += [
            (
                self.utc(one.moment.utc_ns),
                self.text("author.officer"),
                f"{self.place(one.moment)}  {marker(one.name, self.language)}",
            )
            for one in self.facts.markers
            if one.basis == LATER
        ]
        if not rows:
            return Section(self.text("report.8"), [self.text("report.later.none")])
        head = tuple(self.text(f"report.column.{name}") for name in ("time", "author", "what"))
        return Section(self.text("report.8"), [self.text("report.later.note"), Table(rows, head)])

    def _author(self, one: Statement) -> str:
        role = texts.named("author", one.role, self.language)
        name = texts.printable(one.details.author) if one.details and one.details.author != one.role else ""
        return self.text("role.author", role=role, name=name).strip()

    def _said(self, one: Statement) -> list[str]:
        details = one.details
        if details is None:
            return []
        found = [
            (self.text(f"report.1.{name}"), texts.printable(value, 2000))
            for name in ("case", "unit", "place")
            if (value := getattr(details, name)) is not None
        ]
        if details.matter is not None:
            found.append((self.text("report.1.matter"), texts.named("matter", details.matter, self.language)))
        if details.text_record is not None:
            record = f"{details.text_record.kind} {details.text_record.number}"
            found.append((self.text("report.1.text_record"), texts.printable(record, 2000)))
        found += [
            (texts.named("role.person", person.role, self.language), texts.printable(person.name, 2000))
            for person in details.people
        ]
        found += [
            (self.text("report.1.officers"), texts.printable(f"{one.name or ''} {one.certificate}".strip(), 2000))
            for one in details.officers
        ]
        if details.note is not None:
            found.append((self.text("report.11.explanation"), texts.printable(details.note, 2000)))
        colon = "：" if self.language == "zh" else ": "
        return [f"{name}{colon}{value}" for name, value in found]

    def duties(self) -> Section:
        head = tuple(self.text(f"report.column.{name}") for name in ("duty", "status", "basis", "at", "article", "how"))
        rows = [self._duty(one) for one in self.report.duties]
        return Section(
            self.text("report.9"), [*self.policy().blocks, Table(rows, head, "duties"), self.text("report.limit")]
        )

    def _duty(self, one: Duty) -> tuple[str, ...]:
        articles = self.comma(self._article(article) for article in one.articles)
        return (
            f"{RULES.index(one.rule) + 1}. {self.text(f'duty.{one.rule}')}",
            self.text(f"status.{one.status}"),
            "–" if one.status == NOT_APPLICABLE else self.text(f"basis.{one.basis}"),
            self.place(one.moment),
            articles or (self.text("report.policy.default") if self._defaulted(one) else "–"),
            self.join(self._how(one)),
        )

    def _how(self, one: Duty) -> list[str]:
        """Return the sentences of a duty, and its findings where no sentence says the same."""
        stop = "。" if self.language == "zh" else "."
        said = [self.say(sentence_) for sentence_ in one.sentences]
        found = [f"{self.finding(finding)}{stop}" for finding in one.findings]
        return said + [line for line in found if not any(line.rstrip(stop) in other for other in said)]

    def _defaulted(self, one: Duty) -> bool:
        """Tell whether a default of the policy asks for a duty: where the policy has a value for it at all."""
        return self.report.policy is not None and one.rule not in ("R2", "R5", "R10", "R13", "R23")

    def _article(self, article: str) -> str:
        match = _ARTICLE.fullmatch(article)
        if match is None:
            return texts.printable(article)
        number, item = match.groups()
        if self.language == "en":
            return (
                self.text("report.article.item", number=number, item=item)
                if item
                else self.text("report.article", number=number)
            )
        spelled = chinese(int(number))
        return (
            self.text("report.article.item", number=spelled, item=chinese(int(item)))
            if item
            else self.text("report.article", number=spelled)
        )

    def verification(self) -> Section:
        verdict = self.report.verdict
        heading = self.text("report.10")
        if verdict is None:
            return Section(heading, [self.text("report.not_verified"), self.text("report.verification")])
        time = self.utc(verdict.witness_utc_ns)
        size = f"{verdict.checked.media_size_bytes / 1e6:.1f} MB"
        derived = self.comma(verdict.checked.derived) or self.text("page.none")
        checked = self.text(
            "verdict.checked",
            records=verdict.checked.records,
            media=verdict.checked.media,
            size=size,
            derived=derived,
        )
        rows = [
            (self.text("report.10.authentic"), self.text(f"verdict.{verdict.integrity}")),
            (self.text("report.10.complete"), self.text(f"verdict.{verdict.completeness}")),
            (self.text("report.10.usable"), checked),
            (self.text("report.10.safe"), self.text(f"verdict.{verdict.witness}", time=time)),
        ]
        rows += [(f"[{one.code}]", one.sentence(self.language)) for one in verdict.findings[:20]]
        return Section(heading, [Table(rows), self.text("report.verification")])

    def explanations(self) -> Section:
        blocks: list[Table | str] = []
        head = tuple(
            [self.text(f"report.column.{name}") for name in ("what", "at")]
            + [self.text("report.11.explanation"), self.text("report.11.decision")]
        )
        for heading, found in (("report.findings", self.report.findings), ("report.questions", self.report.questions)):
            if found:
                rows = [(self.finding(one), self.place(one.moment), "", "") for one in found]
                blocks += [self.text(heading), Table(rows, head, "answers")]
        if not blocks:
            return Section(self.text("report.11"), [self.text("report.11.none")])
        return Section(self.text("report.11"), [self.text("report.11.ask"), *blocks])

    def timeline(self) -> Section:
        rows = [
            (
                texts.clock_length(one.moment.media_ns) if one.moment.media_ns is not None else "–",
                self.utc(one.moment.utc_ns),
                sentence(one.text, one.values, self.language),
            )
            for one in self.report.events
        ]
        head = tuple(self.text(f"report.column.{name}") for name in ("place", "time", "what"))
        return Section(self.text("report.annex.timeline"), [Table(rows, head)])

    def lead(self) -> str:
        return self.text("report.lead", findings=len(self.report.findings), questions=len(self.report.questions))

    def sections(self) -> list[Section]:
        return [
            self.particulars(),
            self.duty_sentences("report.2", "R3"),
            self.course(),
            self.gaps(),
            self.not_recorded(),
            self.quality(),
            self.hand_over(),
            self.added_later(),
            self.duties(),
            self.verification(),
            self.explanations(),
            self.timeline(),
            Section(self.text("report.annex.verify"), [self.text("report.how")]),
        ]


def chinese(number: int) -> str:
    """Return a number below a hundred as articles are numbered: 八, 十二, 三十一."""
    if number >= 100:  # noqa: PLR2004 - no rule has so many articles
        return str(number)
    tens, ones = divmod(number, 10)
    head = "" if tens == 0 else "十" if tens == 1 else f"{_DIGITS[tens]}十"
    return head + (_DIGITS[ones] if ones or not tens else "")


def text(report: Report, language: str) -> str:
    """Return the report as plain text."""
    writer = _Writer(report, language)
    lines = [writer.text("report.title"), "", writer.lead(), ""]
    for section in writer.sections():
        lines.append(section.heading)
        for block in section.blocks:
            if isinstance(block, str):
                lines.append(f"  {block}")
            else:
                lines += [f"  {'  '.join(cell for cell in row if cell)}" for row in block.rows]
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


_STYLE: Final = (
    "@page{size:A4;margin:18mm 16mm}"
    "body{font:15px/1.65 'Noto Serif CJK SC','Source Han Serif SC',SimSun,serif;max-width:54rem;margin:0 auto;"
    "padding:1.5rem;color:#111;background:#fff}"
    "h1{font-size:1.6rem;text-align:center;margin:.2rem 0 1rem}h2{font-size:1.08rem;margin:1.6rem 0 .4rem;"
    "border-bottom:1px solid #999;break-after:avoid}"
    "p{margin:.3rem 0}.lead{text-align:center;margin-bottom:1rem}"
    "table{border-collapse:collapse;width:100%;font-size:.92em;margin:.4rem 0}"
    "th,td{border:1px solid #bbb;padding:.25rem .5rem;vertical-align:top;text-align:left;overflow-wrap:anywhere}"
    "th{background:#f3f3f3;font-weight:600}tr{break-inside:avoid}"
    "table.pairs td:first-child{width:11em;background:#f8f8f8}"
    "table.duties td:nth-child(1){width:13em}table.duties td:nth-child(2){width:4.5em;font-weight:600}"
    "table.duties td:nth-child(3){width:6em}table.duties td:nth-child(4){width:6.5em}"
    "table.duties td:nth-child(5){width:6em}"
    "table.answers td{height:3.2em}table.answers td:nth-child(2){width:7em}"
    "table.answers td:nth-child(3),table.answers td:nth-child(4){width:24%}"
    "@media print{body{padding:0;max-width:none;font-size:11pt}}"
)


def page(report: Report, language: str) -> str:
    """Return the report as a page to read or print; it holds no script and loads nothing."""
    writer = _Writer(report, language)
    title = escape(writer.text("report.title"))
    tag = "zh-CN" if language == "zh" else "en"
    parts = [
        "<!DOCTYPE html>",
        f'<html lang="{tag}"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width,initial-scale=1">',
        f"<title>{title}</title><style>{_STYLE}</style></head><body>",
        f'<h1>{title}</h1><p class="lead">{escape(writer.lead())}</p>',
    ]
    for section in writer.sections():
        parts.append(f"<h2>{escape(section.heading)}</h2>")
        parts += [f"<p>{escape(one)}</p>" if isinstance(one, str) else _table(one) for one in section.blocks]
    return "\n".join([*parts, "</body></html>"]) + "\n"


def _table(table: Table) -> str:
    kind = table.kind or ("" if table.head else "pairs")
    head = "<tr>" + "".join(f"<th>{escape(cell)}</th>" for cell in table.head) + "</tr>" if table.head else ""
    rows = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in table.rows)
    return f'<table class="{kind}">{head}{rows}</table>'


def plain(report: Report) -> dict[str, Any]:
    """Return the report for programs: ids, nanoseconds, and each sentence in both languages."""
    facts, policy = report.facts, report.policy
    line = facts.line
    return {
        "renderer": RENDERER,
        "session": line.session.hex() if line.session else None,
        "check_code": None if line.closing is None else str(checkcode.of(line.closing)),
        "device": line.records[0].device if line.records else None,
        "mode": facts.mode,
        "matter": facts.matter,
        "start_utc_ns": facts.start_utc_ns,
        "end_utc_ns": facts.end_utc_ns,
        "policy": {
            "agency": policy.agency.id if policy else None,
            "version": policy.version if policy else None,
            "sha256": policy.digest.hex() if policy else None,
            "made_under_sha256": report.made_under.hex() if report.made_under else None,
            "same": None if policy is None or report.made_under is None else policy.digest == report.made_under,
        },
        "duties": {one.rule: _plain_duty(one) for one in report.duties},
        "findings": [_plain_finding(one) for one in report.findings],
        "questions": [_plain_finding(one) for one in report.questions],
        "gaps": [
            {
                "cause": gap.cause,
                "tracks": list(gap.tracks),
                "start_ns": gap.start_ns,
                "end_ns": gap.end_ns,
                "length_ns": gap.length_ns,
                "lawful": gap.cause in LAWFUL_GAPS,
            }
            for gap in line.interruptions
        ],
        "not_recorded": [
            {
                "reason": one.reason,
                "scope": one.scope,
                "lawful": one.lawful,
                "start_ns": one.start_ns,
                "end_ns": one.end_ns,
                "length_ns": one.length_ns,
            }
            for one in facts.intervals
        ],
        "hand_over": {
            "state": report.deadline.state,
            "due_utc_ns": report.deadline.due_utc_ns,
            "late_ns": report.deadline.late_ns,
            "deferral": report.deadline.deferral.reason if report.deadline.deferral else None,
            "returned": report.deadline.returned.sign if report.deadline.returned else None,
        },
        "timeline": [_plain_moment(one.moment) | _both(one.text, one.values) for one in report.events],
        "figures": figures(report),
        "verification": report.verdict.plain() if report.verdict else None,
    }


def _plain_duty(one: Duty) -> dict[str, Any]:
    return {
        "status": one.status,
        "basis": one.basis,
        "articles": list(one.articles),
        "moment": _plain_moment(one.moment) if one.moment else None,
        "sentences": [_both(sentence_.text, sentence_.values) for sentence_ in one.sentences],
        "findings": [finding.id for finding in one.findings],
    }


def _plain_finding(one: Finding) -> dict[str, Any]:
    moment = _plain_moment(one.moment) if one.moment else None
    return {"id": one.id, "rule": one.rule, "moment": moment} | _both(f"finding.{one.id}", one.values)


def _plain_moment(moment: Moment) -> dict[str, Any]:
    return {"media_ns": moment.media_ns, "utc_ns": moment.utc_ns}


def _both(text_id: str, values: Iterable[tuple[str, Any]]) -> dict[str, str]:
    known = tuple(values)
    return {language: sentence(text_id, known, language) for language in texts.LANGUAGES}
