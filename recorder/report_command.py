"""``liuhen report``: what a recording shows of the duties, from a package or a device's spool.

It verifies first and says so in its tenth part. Whether the rules were kept is judged apart from that and never changes
the exit code, which is that of the verification.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from keys.certificates import Anchors
from recorder import policies
from recorder.errors import ConfigError
from recorder.evidence import (
    deadlines,
    facts,
    inspection,
    package,
    session_page,
    session_report,
    statements,
    texts,
    timeline,
)
from recorder.evidence.errors import EvidenceError
from recorder.evidence.records import Details
from recorder.evidence.session_report import Handed
from recorder.evidence.verdict import parse_records
from recorder.spool.reader import SpoolReader
from recorder.verify import STORE_MARK, judge_path, sessions_of, stored_content, worst

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from recorder.evidence.deadlines import Deferred, Returned
    from recorder.evidence.policy import Policy
    from recorder.evidence.records import Record
    from recorder.evidence.session_report import Report
    from recorder.evidence.statements import Attestation, Withholding
    from recorder.evidence.verdict import Verdict

S = TypeVar("S", bound=statements.Statement)


@dataclass(frozen=True)
class Material:
    """What there is of one session."""

    records: Sequence[Record]
    contents: Mapping[int, bytes | None]
    """Of details files, by record sequence; None where one is sealed."""
    attestation: Attestation | None = None
    withholding: Withholding | None = None
    session: bytes | None = None
    handed: Handed | None = None
    """Where receipts or the store itself tell; else the attestation does."""
    deferrals: Sequence[Deferred] = field(default_factory=tuple)
    """Of the device's own log."""
    returns: Sequence[Returned] = field(default_factory=tuple)


@click.command()
@click.argument("path", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--session", "prefix", help="记录编号（可简写）  Only this session: its id, or its beginning")
@click.option(
    "--policy",
    "named",
    type=click.Path(exists=True, path_type=Path),
    multiple=True,
    help="执法机关规定文件或其目录  Policy file of the agency, or a folder of them",
)
@click.option(
    "--authority",
    "authorities",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    multiple=True,
    help="机关证书，须从外部取得  Certificate of a trusted authority, got from outside",
)
@click.option("--format", "form", type=click.Choice(["text", "json", "html"]), default="text", show_default=True)
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="写入文件  Write to this new file")
@click.option("--lang", type=click.Choice(texts.LANGUAGES), default="zh", show_default=True)
def report(
    path: Path,
    prefix: str | None,
    named: tuple[Path, ...],
    authorities: tuple[Path, ...],
    form: str,
    out: Path | None,
    lang: str,
) -> None:
    """音像记录情况报告  Report on a package or a spool: what happened, and each duty with its basis."""
    if (path / STORE_MARK).is_file():
        # Names and places are read out of a store by whoever says who they are and why.
        raise ConfigError(f"{path} is a store: use liuhen central report, which notes who looked, and why")
    known = policies.load(named)
    reports = reports_of(path, known, Anchors.load(authorities), prefix, time.time_ns())
    if not reports:
        raise ConfigError(f"{path}: no session {prefix or ''} is here".replace("  ", " "))
    written = render(reports, form, lang)
    emit(written, out)
    sys.exit(worst(one.verdict for one in reports if one.verdict is not None))


def emit(written: str, out: Path | None) -> None:
    """Print, or write into a new file.

    Raises:
        ConfigError: the file exists, or cannot be written.
    """
    if out is None:
        click.echo(written, nl=False)
        return
    try:
        with out.open("x", encoding="utf-8") as file:
            file.write(written)
    except OSError as error:
        raise ConfigError(f"{out} cannot be written: {error.strerror}") from error


def render(reports: Sequence[Report], form: str, lang: str) -> str:
    """Put reports into one text, one JSON document, or one page.

    Raises:
        ConfigError: a page was asked for, of several sessions.
    """
    if form == "json":
        plain = {"reports": [session_page.plain(one) for one in reports]}
        return json.dumps(plain, ensure_ascii=False, indent=2) + "\n"
    if form == "html":
        if len(reports) > 1:
            raise ConfigError(f"there are {len(reports)} sessions: a page holds one, name it with --session")
        return session_page.page(reports[0], lang)
    return "\n\n".join(session_page.text(one, lang) for one in reports)


def reports_of(path: Path, known: Sequence[Policy], anchors: Anchors, prefix: str | None, now: int) -> list[Report]:
    """Verify and report what ``path`` holds.

    Raises:
        ConfigError: it is no package and no spool, or cannot be read.
    """
    try:
        verdicts = {one.session: one for one in judge_path(path, anchors)}
        return [
            report_on(one, verdicts.get(one.session), known, now)
            for one in materials(path)
            if prefix is None or (one.session or b"").hex().startswith(prefix.lower())
        ]
    except OSError as error:
        raise ConfigError(f"{error.filename or path} cannot be read: {error.strerror}") from error


def report_on(material: Material, verdict: Verdict | None, known: Sequence[Policy], now_utc_ns: int) -> Report:
    """Report on one session."""
    line = timeline.collect(material.records, material.attestation, material.withholding, material.session)
    made_under = line.open_body.policy_sha256 if line.open_body else None
    # What nobody trusted vouches for says nothing of a hand-over.
    vouched = material.attestation if verdict is not None and verdict.witness == "attested" else None
    return session_report.report(
        facts.collect(line, material.contents),
        policies.choose(known, made_under),
        now_utc_ns,
        material.handed or (Handed.attested(vouched) if vouched is not None else None),
        vouched,
        verdict,
        material.deferrals,
        material.returns,
    )


def materials(path: Path) -> Iterator[Material]:
    """Gather each session of a package or a spool."""
    if (path / "evidence").is_dir():
        yield _of_package(path)
    else:
        yield from _of_spool(path)


def _of_package(root: Path) -> Material:
    listing = inspection.list_package(root)
    parsed, _ = parse_records(inspection.read_records(listing))
    attested = _statement(listing.read(package.ATTESTATION, statements.MAX_SIZE_BYTES), statements.Attestation)
    withheld = _statement(listing.read(package.WITHHELD, statements.MAX_SIZE_BYTES), statements.Withholding)
    contents = details_of(parsed, lambda record: listing.read(package.media_name(record), MAX_DETAILS_SIZE_BYTES))
    session = attested.session if attested else next((one.session for one in parsed if one.session), None)
    return Material(parsed, contents, attested, withheld, session)


MAX_DETAILS_SIZE_BYTES = 1 << 20


def details_of(records: Iterable[Record], read: Callable[[Record], bytes | None]) -> dict[int, bytes | None]:
    """Read the details files that records bring, those that are here."""
    found: dict[int, bytes | None] = {}
    for record in records:
        if isinstance(record.body, Details):
            content = read(record)
            if content is not None:
                found[record.sequence] = content
    return found


def _statement(data: bytes | None, form: type[S]) -> S | None:
    """Parse a statement; one that cannot be parsed is the verification's business."""
    try:
        return statements.parse(data, form) if data is not None else None
    except EvidenceError:
        return None


def _of_spool(root: Path) -> Iterator[Material]:
    reader = SpoolReader(root)
    logs = [list(one.records()) for one in reader.logs()]
    device = [record for log in logs for record in log if record.stream == 0]
    held = _receipted(reader)
    for log in logs:
        for messages, session in sessions_of(log):
            parsed, _ = parse_records(messages)
            yield Material(
                parsed,
                _stored_details(parsed, reader),
                session=session,
                handed=handed_by_receipts(parsed, held),
                deferrals=deadlines.deferrals_of(device, session),
                returns=deadlines.returns_of(device),
            )


def _receipted(reader: SpoolReader) -> dict[bytes, int]:
    """Return, by record hash, when the store said that it holds the file; the recorder has verified each receipt."""
    found: dict[bytes, int] = {}
    for receipt in reader.receipts():
        if statements.type_of(receipt.message) == "media-receipt":
            media = statements.parse(receipt.message, statements.MediaReceipt)
            found.setdefault(media.record_sha256, media.utc_ns)
    return found


def handed_by_receipts(records: Iterable[Record], held: Mapping[bytes, int]) -> Handed:
    """Return what receipts for files tell of a session's hand-over."""
    files = [record for record in records if record.file is not None]
    missing = frozenset(record.sequence for record in files if record.sha256 not in held)
    if missing:
        return Handed(complete=False, missing=missing)
    return Handed(complete=True, utc_ns=max((held[record.sha256] for record in files), default=None))


def _stored_details(parsed: Iterable[Record], reader: SpoolReader) -> dict[int, bytes | None]:
    found: dict[int, bytes | None] = {}
    for record in parsed:
        if isinstance(record.body, Details):
            content = stored_content(reader.media_path(record.log, record.body.media))
            if content.here:
                found[record.sequence] = content.data
    return found
