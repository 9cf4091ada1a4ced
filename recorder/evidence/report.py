"""The derived texts of a package: ``report.json``, ``report.txt`` and ``请先打开.html``.

They are functions of the records, the attestation and the withholding statement alone, byte for byte, so a verifier
writes them again and compares. They add nothing and prove nothing; whoever doubts them verifies the package.
"""

from __future__ import annotations

import json
import re
from html import escape
from typing import TYPE_CHECKING, Any, Final

from recorder.evidence import film, texts
from recorder.evidence.records import NotRecorded

if TYPE_CHECKING:
    from collections.abc import Iterable

    from recorder.evidence.statements import Attestation, Withholding
    from recorder.evidence.timeline import Timeline

RENDERER: Final = "liuhen-report/3"
"""Changes whenever another byte would come out of the same records, the film's subtitle included."""
_STATED: Final = re.compile(rb'"renderer"\s*:\s*"([ -~]{1,64}?)"')
PAGE_NAME: Final = "请先打开.html"


def summary(timeline: Timeline, attestation: Attestation | None, withholding: Withholding | None) -> dict[str, Any]:
    """Return the content of ``report.json``: digests as hex, moments and lengths in nanoseconds."""
    opening, closing = timeline.open_body, timeline.close_body
    first = timeline.records[0] if timeline.records else None
    pieces = timeline.pieces
    return {
        "renderer": RENDERER,
        "session": timeline.session.hex() if timeline.session else None,
        "device": first.device if first else None,
        "log": first.log.hex() if first else None,
        "stream": first.stream if first else None,
        "records": [record.sequence for record in timeline.records[:1] + timeline.records[-1:]],
        "head_sha256": timeline.records[-1].sha256.hex() if timeline.records else None,
        "mode": opening.mode if opening else None,
        "matter": opening.matter if opening else None,
        "trigger": opening.trigger if opening else None,
        "policy_sha256": opening.policy_sha256.hex() if opening else None,
        "start": _moment(timeline, 0, pieces[0].start_ns) if pieces else None,
        "end": _moment(timeline, len(pieces) - 1, pieces[-1].end_ns) if pieces else None,
        "clocks": sorted({record.clock for record in timeline.records}),
        "close": {"reason": closing.reason, "closed_by": closing.closed_by} if closing else None,
        "length_ns": pieces[-1].end_ns - pieces[0].start_ns if pieces else 0,
        "chunks": len(pieces),
        "media_size_bytes": sum(record.file.content_size_bytes for record in timeline.files if record.file),
        "films": films(timeline),
        "frames": _frames(timeline),
        "gaps": [
            {
                "sequence": gap.record.sequence,
                "cause": gap.cause,
                "tracks": list(gap.tracks),
                "start_ns": gap.start_ns,
                "end_ns": gap.end_ns,
                "length_ns": gap.length_ns,
            }
            for gap in timeline.interruptions
        ],
        "markers": [
            {"sequence": mark.record.sequence, "marker": mark.name, "at_ns": mark.at_ns, "utc_ns": mark.record.utc_ns}
            for mark in timeline.marks
        ],
        "not_recorded": [
            {"sequence": record.sequence, "reason": record.body.reason, "lawful": record.body.lawful}
            for record in timeline.records
            if isinstance(record.body, NotRecorded)
        ],
        "withheld": [
            {"sequence": record.sequence, "kind": record.kind, "ground": timeline.withheld[record.sequence]}
            for record in timeline.files
            if record.sequence in timeline.withheld
        ],
        "decision": withholding.decision if withholding else None,
        "missing": [record.sequence for record in timeline.files if record.sequence in timeline.missing],
        "attestation": _attestation(attestation),
    }


def films(timeline: Timeline) -> list[str]:
    """Return the names of the films, one for each part of which a chunk is given."""
    return [
        film.file_name(part) for part in sorted({piece.chunk.part for piece in timeline.pieces if not piece.absent})
    ]


def _moment(timeline: Timeline, index: int, media_ns: int) -> dict[str, Any]:
    piece = timeline.pieces[index]
    return {"media_ns": media_ns, "utc_ns": piece.utc_ns(media_ns), "clock": piece.clock}


def _frames(timeline: Timeline) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {}
    for piece in timeline.pieces:
        for kind, track in piece.chunk.tracks.items():
            counts = found.setdefault(kind, {"received": 0, "written": 0, "discarded": 0})
            counts["received"] += track.frames_received
            counts["written"] += track.frames_written
            counts["discarded"] += sum(track.frames_discarded.values())
    return found


def _attestation(attestation: Attestation | None) -> dict[str, Any] | None:
    if attestation is None:
        return None
    return {
        "store": attestation.store,
        "utc_ns": attestation.utc_ns,
        "closed": attestation.closed,
        "first_sequence": attestation.first_sequence,
        "last_sequence": attestation.last_sequence,
        "received_first_utc_ns": min((utc_ns for _, _, utc_ns in attestation.received), default=None),
        "received_last_utc_ns": max((utc_ns for _, _, utc_ns in attestation.received), default=None),
    }


def render(timeline: Timeline, attestation: Attestation | None, withholding: Withholding | None) -> dict[str, bytes]:
    """Return the derived texts by their path in the package."""
    facts = summary(timeline, attestation, withholding)
    encoded = json.dumps(facts, ensure_ascii=False, indent=2, sort_keys=True) + "\n"
    return {
        "evidence/report.json": encoded.encode(),
        "evidence/report.txt": _text(timeline, facts).encode(),
        PAGE_NAME: _page(timeline, facts).encode(),
    }


def renderer_of(report_json: bytes) -> str | None:
    """Return which renderer a ``report.json`` says it was made by.

    It is not parsed: this is the word of a stranger, and a megabyte of JSON can take a hundred of memory.
    """
    match = _STATED.search(report_json)
    return match[1].decode() if match else None


def _when(moment: dict[str, Any] | None, language: str) -> str:
    if moment is None:
        return texts.text("page.none", language)
    clock = texts.moment(moment["utc_ns"])
    if moment["clock"] == "unset" or clock is None:
        return f"{texts.text('stamp.clock_unset', language)} {texts.clock_length(moment['media_ns'])}"
    return texts.text("page.time", language, time=clock)


def _particulars(facts: dict[str, Any], language: str) -> list[tuple[str, str]]:
    def text(text_id: str, **values: object) -> str:
        return texts.text(text_id, language, **values)

    close = texts.named("end", facts["close"]["reason"], language) if facts["close"] else text("page.unclosed")
    clocks = text("page.comma").join(texts.named("state.clock", clock, language) for clock in facts["clocks"])
    rows = [
        (text("report.number"), facts["session"] or text("page.none")),
        (text("report.1.device"), facts["device"] or text("page.none")),
        (text("report.1.start"), _when(facts["start"], language)),
        (text("report.1.end"), _when(facts["end"], language)),
        (text("report.1.length"), texts.length(facts["length_ns"], language)),
        (text("page.end_reason"), close),
        (text("page.clock"), clocks),
    ]
    if facts["matter"]:
        rows.insert(2, (text("report.1.matter"), texts.named("matter", facts["matter"], language)))
    return rows


def _gap_rows(facts: dict[str, Any], language: str) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for gap in facts["gaps"]:
        tracks = texts.text("page.comma", language).join(
            texts.named("track", track, language) for track in gap["tracks"]
        )
        end = texts.clock_length(gap["end_ns"]) if gap["end_ns"] is not None else texts.text("page.open", language)
        whole = gap["length_ns"]
        rows.append(
            (
                f"{texts.clock_length(gap['start_ns'])}–{end}",
                tracks,
                texts.named("gap", gap["cause"], language),
                texts.length(whole, language) if whole is not None else texts.text("page.unknown", language),
            )
        )
    return rows


def _mark_rows(facts: dict[str, Any], language: str) -> list[tuple[str, ...]]:
    return [
        (texts.clock_length(mark["at_ns"]), texts.named("marker", mark["marker"], language))
        for mark in facts["markers"]
    ]


def _absent_rows(timeline: Timeline, facts: dict[str, Any], language: str) -> list[tuple[str, ...]]:
    places = {
        piece.record.sequence: f"{texts.clock_length(piece.start_ns)}–{texts.clock_length(piece.end_ns)}"
        for piece in timeline.pieces
    }
    rows: list[tuple[str, ...]] = [
        (
            places.get(entry["sequence"], texts.named("kind", entry["kind"], language)),
            texts.named("notrec", entry["ground"], language),
        )
        for entry in facts["withheld"]
    ]
    return rows + [
        (places.get(sequence, str(sequence)), texts.text("film.missing", language)) for sequence in facts["missing"]
    ]


def _store_lines(facts: dict[str, Any], language: str) -> list[str]:
    known = facts["attestation"]
    if known is None:
        return [texts.text("page.unattested", language)]
    received = known["received_last_utc_ns"]
    return [
        texts.text(
            "page.attested",
            language,
            store=known["store"],
            received=(texts.moment(received) if received is not None else None) or "–",
            signed=texts.moment(known["utc_ns"]) or "–",
        )
    ]


def _sections(timeline: Timeline, facts: dict[str, Any], language: str) -> list[tuple[str, list[tuple[str, ...]], str]]:
    """Return (heading, rows of a table, sentence) of each section that has something to say."""

    def text(text_id: str) -> str:
        return texts.text(text_id, language)

    gaps, absent = _gap_rows(facts, language), _absent_rows(timeline, facts, language)
    sections: list[tuple[str, list[tuple[str, ...]], str]] = [
        (text("page.particulars"), [tuple(row) for row in _particulars(facts, language)], ""),
        (text("page.gaps"), gaps, "" if gaps else text("page.no_gaps")),
    ]
    if facts["markers"]:
        sections.append((text("page.marks"), _mark_rows(facts, language), text("page.marks.note")))
    if absent:
        decision = facts["decision"]
        note = texts.text("page.decision", language, number=texts.printable(decision)) if decision else ""
        sections.append((text("page.absent"), absent, note))
    sections.append((text("page.store"), [], " ".join(_store_lines(facts, language))))
    return sections


def _text(timeline: Timeline, facts: dict[str, Any]) -> str:
    lines: list[str] = []
    for language in texts.LANGUAGES:
        lines += [texts.text("report.title", language), ""]
        for heading, rows, sentence in _sections(timeline, facts, language):
            lines.append(heading)
            lines += ["  " + "  ".join(row) for row in rows]
            lines += [f"  {sentence}"] if sentence else []
            lines.append("")
        lines += [texts.text("page.how", language), ""]
        lines += [f"  {line}" for line in _how(language)]
        lines += ["", ""]
    return "\n".join(lines).rstrip() + "\n"


def _how(language: str) -> list[str]:
    return [texts.text(f"page.how.{step}", language) for step in range(1, 6)]


_STYLE: Final = (
    "body{font:16px/1.7 sans-serif;max-width:46rem;margin:0 auto;padding:1.5rem;color:#1a1a1a;background:#fff}"
    "h1{font-size:1.6rem;line-height:1.3}h2{font-size:1.15rem;margin-top:2rem;border-bottom:1px solid #bbb}"
    "video{width:100%;background:#000}table{border-collapse:collapse;width:100%}"
    "td{border-bottom:1px solid #ddd;padding:.3rem .8rem .3rem 0;vertical-align:top;overflow-wrap:anywhere}"
    "code{background:#f2f2f2;padding:.1rem .3rem;overflow-wrap:anywhere}.note{color:#444}"
    "section[lang=en]{margin-top:3rem;font-size:.92rem}"
)


def _page(timeline: Timeline, facts: dict[str, Any]) -> str:
    parts = [
        "<!DOCTYPE html>",
        '<html lang="zh-CN"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width,initial-scale=1">',
        f"<title>{escape(texts.text('page.title'))}</title><style>{_STYLE}</style></head><body>",
    ]
    for language in texts.LANGUAGES:
        tag = "zh-CN" if language == "zh" else "en"
        parts.append(f'<section lang="{tag}"><h1>{escape(texts.text("page.title", language))}</h1>')
        parts.append(f"<p>{escape(texts.text('page.what', language))}</p>")
        if language == "zh":
            parts += [
                f'<p><video controls preload="metadata" src="{escape(name)}"></video></p>' for name in facts["films"]
            ]
        parts.append(
            f'<p class="note">{escape(texts.text("page.film" if facts["films"] else "page.no_film", language))}</p>'
        )
        for heading, rows, sentence in _sections(timeline, facts, language):
            parts.append(f"<h2>{escape(heading)}</h2>")
            if rows:
                parts += ["<table>", *_table(rows), "</table>"]
            if sentence:
                parts.append(f"<p>{escape(sentence)}</p>")
        parts.append(f"<h2>{escape(texts.text('page.how', language))}</h2><ol>")
        parts += [f"<li>{_code(line)}</li>" for line in _how(language)]
        parts.append(f"</ol><h2>{escape(texts.text('page.files', language))}</h2><table>")
        parts += _table(_file_rows(facts, language))
        parts.append(f'</table><p class="note">{escape(texts.text("page.derived", language))}</p></section>')
    return "\n".join([*parts, "</body></html>"]) + "\n"


def _table(rows: Iterable[tuple[str, ...]]) -> list[str]:
    return ["<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows]


def _code(line: str) -> str:
    """Escape a line; what stands between backticks is code."""
    parts = escape(line).split("`")
    return "".join(f"<code>{part}</code>" if index % 2 else part for index, part in enumerate(parts))


def _file_rows(facts: dict[str, Any], language: str) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [(name, texts.text("page.files.film", language)) for name in facts["films"]]
    names = ("records.cborseq", "attestation.cose", "withheld.cose", "certificates/", "media/", "report.txt")
    present = {"attestation.cose": facts["attestation"], "withheld.cose": facts["withheld"] or facts["decision"]}
    return rows + [
        (f"evidence/{name}", texts.text(f"page.files.{name.split('.')[0].strip('/')}", language))
        for name in names
        if present.get(name, True)
    ]
