"""``liuhen verify``: judges a package, a device's spool or a store. Needs no network and no private key."""

from __future__ import annotations

import errno
import importlib
import json
import os
import stat
import sys
from collections import Counter
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from keys import certificates
from keys.certificates import Anchors
from recorder.errors import ConfigError
from recorder.evidence import accounting, chain, checkcode, inspection, records, texts, verdict, witness
from recorder.evidence.checkcode import CheckCodeError
from recorder.evidence.findings import found
from recorder.evidence.signers import Signers
from recorder.evidence.timeline import Timeline
from recorder.spool.reader import Entry, SpoolReader

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from recorder.evidence.accounting import Content
    from recorder.evidence.checkcode import CheckCode
    from recorder.evidence.findings import Finding
    from recorder.evidence.records import Record
    from recorder.evidence.verdict import Verdict

STORE_MARK = "store.json"
SHOWN_OF_A_KIND = 5
STORE_JUDGE = "uplink.central.verify:judge_store"
"""``judge_store(folder, anchors) -> Iterator[Verdict]``; by name, for the device's side does not import the store's."""


def _codes(_context: click.Context, _option: click.Parameter, written: tuple[str, ...]) -> tuple[CheckCode, ...]:
    try:
        return tuple(checkcode.parse(one) for one in written)
    except CheckCodeError as error:
        raise click.BadParameter(str(error)) from error


@click.command()
@click.argument("path", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--authority",
    "authorities",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    multiple=True,
    help="机关证书，须从外部取得  Certificate of a trusted authority, got from outside the package",
)
@click.option(
    "--certificate",
    "device_certificates",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    multiple=True,
    help="设备证书（核验设备存储时）  Certificate of the device, for a spool, which holds none",
)
@click.option(
    "--code",
    "codes",
    metavar="NUMBER:CODE",
    callback=_codes,
    multiple=True,
    help="笔录上的编号和核验码（可多次）  What was written down: a record's number and its check code; repeatable",
)
@click.option("--json", "as_json", is_flag=True, help="输出JSON  Write the verdicts as JSON")
@click.option("--lang", type=click.Choice(texts.LANGUAGES), default="zh", show_default=True)
def verify(
    path: Path,
    authorities: tuple[Path, ...],
    device_certificates: tuple[Path, ...],
    codes: tuple[CheckCode, ...],
    as_json: bool,
    lang: str,
) -> None:
    """核验音像记录  Verify a package, a spool or a store.

    Exit code 0: verified; 1: something was altered, contradicted or is missing; 2: cannot be judged.
    """
    anchors = Anchors.load(authorities)
    material = [certificates.load_der(one) for one in device_certificates]
    try:
        verdicts = list(judge_path(path, anchors, material, codes))
    except OSError as error:
        raise ConfigError(f"{error.filename or path} cannot be read: {error.strerror}") from error
    if as_json:
        result = {"exit_code": worst(verdicts), "authorities": anchors.fingerprints}
        click.echo(json.dumps(result | {"verdicts": [one.plain() for one in verdicts]}, ensure_ascii=False, indent=2))
    else:
        for one in verdicts:
            click.echo("\n".join(lines(one, lang)))
        for print_ in anchors.fingerprints:
            click.echo(texts.text("verdict.authority", lang, fingerprint=print_))
    sys.exit(worst(verdicts))


def judge_path(
    path: Path, anchors: Anchors, material: Sequence[bytes] = (), codes: Sequence[CheckCode] = ()
) -> Iterator[Verdict]:
    """Judge whatever ``path`` holds.

    Raises:
        ConfigError: it is none of the three, or check codes were given for anything but a package.
    """
    if codes and not (path / "evidence").is_dir():
        raise ConfigError(f"{path} is no package: a check code is of one recording, so export that and give its folder")
    if (path / STORE_MARK).is_file():
        module, _, name = STORE_JUDGE.partition(":")
        yield from getattr(importlib.import_module(module), name)(path, anchors)
    elif (path / "evidence").is_dir():
        yield inspection.judge_package(path, anchors, codes=codes)
    elif (path / "logs").is_dir():
        yield from judge_spool(path, anchors, material)
    else:
        raise ConfigError(f"{path} is no package (evidence/), no spool (logs/) and no store ({STORE_MARK})")


def worst(verdicts: Iterable[Verdict]) -> int:
    """Return one exit code for several verdicts: a violation before anything that cannot be judged."""
    codes = {one.exit_code for one in verdicts}
    if not codes:
        return verdict.EXIT_UNJUDGED
    return verdict.EXIT_VIOLATED if verdict.EXIT_VIOLATED in codes else max(codes)


@dataclass(frozen=True)
class _Log:
    """One log of a spool, read once."""

    log: bytes
    records: list[Record]
    damaged: int


def judge_spool(root: Path, anchors: Anchors, material: Sequence[bytes]) -> Iterator[Verdict]:
    """Judge each log of a spool as a whole, then each session in it.

    Media that the device has freed, because a store had receipted them, are elsewhere: the verdict is then 2.
    """
    reader = SpoolReader(root)
    material = [*material, *reader.certificates()]
    receipts = witness.Receipts((receipt.message for receipt in reader.receipts()), anchors)
    logs = [_read_log(reader, one.log) for one in reader.logs()]
    hashes = {one.log: {record.sequence: record.sha256 for record in one.records} for one in logs}
    device_logs = [record for one in logs for record in one.records if record.stream == 0]
    clocks = [record for record in device_logs if record.kind == "clock"]
    heads = list(chain.check_heads(device_logs, hashes))
    device_hashes = [hashes[one.log] for one in logs if one.records and one.records[0].stream == 0]
    signers = Signers(material, anchors)
    for one in logs:
        findings = [*signers.check(one.records), *chain.check_log(one.records, None, clocks)]
        if one.damaged:
            findings.append(found("records-unreadable", error=f"{one.damaged} frames"))
        if one.records and one.records[0].stream == 0:
            findings += heads
        else:
            findings += chain.check_device_head(one.records, device_hashes)
        line = Timeline(None, tuple(one.records))
        yield verdict.conclude(line, findings, verdict.Checked(records=len(one.records)), None)
        for messages, session in sessions_of(one.records):
            evidence = verdict.Evidence(
                messages=messages,
                certificates=material,
                contents=partial(_contents, reader),
                receipts=receipts,
                session=session,
                files_expected=False,
                hashes=hashes[one.log],
                clocks=clocks,
            )
            yield verdict.judge(evidence, anchors, signers=signers)


def sessions_of(log: Sequence[Record]) -> Iterator[tuple[list[bytes], bytes]]:
    """Yield (records, session id) of each session of a log: from its open to its close, then later ones about it."""
    places: dict[bytes, list[int]] = {}
    for place, record in enumerate(log):
        if record.session is not None and (record.session in places or record.kind == "session-open"):
            places.setdefault(record.session, []).append(place)
    for session, own in places.items():
        end = next((place for place in own if log[place].kind == "session-close"), own[-1])
        later = [place for place in own if place > end]
        yield [log[place].message for place in [*range(own[0], end + 1), *later]], session


def _read_log(reader: SpoolReader, log: bytes) -> _Log:
    parsed: list[records.Record] = []
    damaged = 0
    for item in reader.log(log).entries():
        if isinstance(item, Entry):
            parsed.append(item.record)
        else:
            damaged += 1
    return _Log(log, parsed, damaged)


def _contents(reader: SpoolReader, files: Sequence[Record]) -> Iterator[Content]:
    return inspection.read_in_order(files, partial(_stored, reader))


def _stored(reader: SpoolReader, record: Record) -> Content:
    assert record.file is not None  # noqa: S101 - a session's files have one
    return stored_content(reader.media_path(record.log, record.file.media))


def stored_content(path: Path) -> Content:
    """Read a file in its stored form; one that is not there is not here, and a pipe or link is none.

    Raises:
        OSError: it cannot be read.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return accounting.NOT_HERE
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):
            return accounting.from_stored(b"")
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        return accounting.from_stored(b"")
    with os.fdopen(descriptor, "rb") as file:
        return accounting.from_stored(file.read(records.MAX_MEDIA_SIZE_BYTES + 1))


def lines(one: Verdict, lang: str) -> list[str]:
    """Return a verdict for a person: three answers, what was checked, what was found."""

    def text(text_id: str, **values: object) -> str:
        return texts.text(text_id, lang, **values)

    what = text("verdict.session", session=one.session.hex()) if one.session else text("verdict.log", log=_hex(one.log))
    if one.session is None and one.log is None:
        what = text("verdict.nothing")
    said = [
        f"{what}  {text('report.1.device')} {one.device or '–'}",
        f"  {text('verdict.integrity')}  {text(f'verdict.{one.integrity}')}",
    ]
    if one.session is not None:
        when = texts.moment(one.witness_utc_ns) if one.witness_utc_ns is not None else None
        said += [
            f"  {text('verdict.completeness')}  {text(f'verdict.{one.completeness}')}",
            f"  {text('verdict.witness')}  {text(f'verdict.{one.witness}', time=when or '–')}",
        ]
    said.append(f"  {text('verdict.checked', **_checked(one, lang))}")
    said += _listed(one.findings, "  ! [{code}] {sentence}", lang) + _listed(one.notes, "  - {sentence}", lang)
    said.append(f"  => {_result(one, lang)}")
    return said


def _listed(findings: Sequence[Finding], form: str, lang: str) -> list[str]:
    """One line each; of a kind that fills the screen the first ones and a count (``--json`` has them all)."""
    counts = Counter(finding.code for finding in findings)
    shown: Counter[str] = Counter()
    said: list[str] = []
    for finding in findings:
        shown[finding.code] += 1
        if shown[finding.code] <= SHOWN_OF_A_KIND:
            said.append(form.format(code=finding.code, sentence=finding.sentence(lang)))
        elif shown[finding.code] == counts[finding.code]:
            more = counts[finding.code] - SHOWN_OF_A_KIND
            said.append("  … " + texts.text("verdict.more", lang, count=more, code=finding.code))
    return said


def _hex(value: bytes | None) -> str:
    return value.hex() if value else "–"


def _checked(one: Verdict, lang: str) -> dict[str, Any]:
    checked = one.checked
    derived = texts.text("page.comma", lang).join(checked.derived) or texts.text("page.none", lang)
    size = f"{checked.media_size_bytes / 1e6:.1f} MB"
    return {"records": checked.records, "media": checked.media, "size": size, "derived": derived}


def _result(one: Verdict, lang: str) -> str:
    """The one sentence at the end."""
    if one.exit_code == verdict.EXIT_VIOLATED:
        return texts.text("verify.violated", lang, count=len(one.findings))
    if one.exit_code == verdict.EXIT_UNJUDGED:
        # The same sentence once, though a thousand files are elsewhere.
        reasons = list(dict.fromkeys(finding.code for finding in one.findings))
        return texts.text("verify.unknown", lang, what=", ".join(reasons))
    withheld = sum(1 for note in one.notes if note.code == "media-withheld")
    if withheld:
        return texts.text("verify.withheld", lang, count=withheld)
    gaps = sum(1 for note in one.notes if note.code == "gap")
    if gaps:
        return texts.text("verdict.gaps_listed", lang, count=gaps)
    return texts.text("verify.intact", lang)
