"""Checks a spool against itself, without writing anything and without the index.

Levels, each with those before it: *presence* (logs readable, no sequence missing, every file there or receipted),
*size* (of files), *digest* (the hash chain; every file's digests, frames and header).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from recorder.evidence import stored
from recorder.evidence.errors import StatementError, StoredFormatError
from recorder.evidence.records import ZERO_HASH
from recorder.evidence.statements import MediaReceipt
from recorder.spool.keeper import parse_receipt
from recorder.spool.logfile import Damage, durable_size
from recorder.spool.reader import SpoolReader

if TYPE_CHECKING:
    from pathlib import Path

    from recorder.evidence.records import FileRecord, Record
    from recorder.spool.reader import LogReader

LEVELS: Final = ("presence", "size", "digest")
_READ_SIZE_BYTES: Final = 1 << 20

TEXTS: Final = {
    "log-damaged": (
        "日志{log}第{offset}字节起有{size_bytes}字节无法读取。",
        "Log {log}: {size_bytes} bytes at {offset} cannot be read.",
    ),
    "log-short": (
        "日志{log}比应有的长度少{size_bytes}字节。",
        "Log {log} is {size_bytes} bytes shorter than it should be.",
    ),
    "records-missing": (
        "日志{log}缺少第{sequence}号至第{last}号记录。",
        "Log {log}: records {sequence} to {last} are missing.",
    ),
    "chain-broken": (
        "日志{log}第{sequence}号记录与前一条不相连。",
        "Log {log}: record {sequence} does not follow from the one before it.",
    ),
    "file-missing": (
        "日志{log}第{sequence}号记录的文件（{media}）缺失，且没有中心回执。",
        "Log {log}: the file of record {sequence} (media {media}) is missing, and no receipt accounts for it.",
    ),
    "file-size": (
        "日志{log}第{sequence}号记录的文件（{media}）应为{expected_bytes}字节，实为{size_bytes}字节。",
        "Log {log}: the file of record {sequence} (media {media}) has {size_bytes} bytes instead of {expected_bytes}.",
    ),
    "file-digest": (
        "日志{log}第{sequence}号记录的文件（{media}）内容与记录不符。",
        "Log {log}: the file of record {sequence} (media {media}) is not the one that was recorded.",
    ),
    "file-unreadable": (
        "日志{log}第{sequence}号记录的文件（{media}）无法读取。",
        "Log {log}: the file of record {sequence} (media {media}) cannot be read.",
    ),
}
"""What can be found, in Chinese and English."""


class Finding(NamedTuple):
    """One thing that is not as it should be."""

    code: str
    values: dict[str, Any]
    """What fills the text's places: log id (hex), sequence, sizes."""

    def text(self, language: str) -> str:
        """Return the sentence in ``zh`` or ``en``."""
        return TEXTS[self.code][0 if language == "zh" else 1].format_map(self.values)


@dataclass(slots=True)
class Report:
    """What was looked at, and what was found."""

    level: str
    logs: int = 0
    records: int = 0
    files: int = 0
    """Files that a record brings and that are here."""
    freed: int = 0
    """Files that a record brings and that a store has receipted; no longer here."""
    unrecorded: int = 0
    """Files without a record: being written now, or left by a crash for the next start."""
    size_bytes: int = 0
    """Stored bytes of the files that are here."""
    findings: list[Finding] = field(default_factory=list)


def check(root: Path, level: str = "digest") -> Report:
    """Check a spool; it may be in use.

    Raises:
        OSError: a folder or log cannot be read at all.
    """
    report = Report(level)
    reader = SpoolReader(root)
    missing: list[Record] = []
    for log in reader.logs():
        report.logs += 1
        missing += _check_log(reader, log, report)
    receipted = _receipted(reader) if missing else set()
    for record in missing:
        if (record.log, record.sequence, record.sha256) in receipted:
            report.freed += 1
        else:
            report.findings.append(_about("file-missing", record))
    return report


def _check_log(reader: SpoolReader, log: LogReader, report: Report) -> list[Record]:
    """Check one log and its files; return the records whose file is not here."""
    name = log.log.hex()
    # The list of files is made first: a file that comes later has a record that comes later.
    present = set(reader.layout.media_numbers(log.log))
    short = durable_size(log.path) - log.path.stat().st_size
    if short > 0:
        report.findings.append(Finding("log-short", {"log": name, "size_bytes": short}))
    missing: list[Record] = []
    recorded: set[int] = set()
    expected, previous, whole = 0, ZERO_HASH, True
    for item in log.entries():
        if isinstance(item, Damage):
            size = item.end_offset - item.offset
            report.findings.append(Finding("log-damaged", {"log": name, "offset": item.offset, "size_bytes": size}))
            whole = False
            continue
        record = item.record
        report.records += 1
        if record.sequence > expected:
            values = {"log": name, "sequence": expected, "last": record.sequence - 1}
            report.findings.append(Finding("records-missing", values))
            whole = False
        if report.level == "digest" and whole and record.previous_sha256 != previous:
            report.findings.append(_about("chain-broken", record))
        expected, previous, whole = record.sequence + 1, record.sha256, True
        if record.file is not None:
            recorded.add(record.file.media)
            if record.file.media in present or reader.media_path(log.log, record.file.media).exists():
                _check_file(reader.media_path(log.log, record.file.media), record, record.file, report, missing)
            else:
                missing.append(record)
    report.unrecorded += len(present - recorded)
    return missing


def _check_file(path: Path, record: Record, file: FileRecord, report: Report, missing: list[Record]) -> None:
    try:
        size = path.stat().st_size
        code = None
        if report.level != "presence" and size != file.stored_size_bytes:
            code = "file-size"
        elif report.level == "digest":
            code = _digest_problem(path, record, file)
    except FileNotFoundError:
        missing.append(record)  # freed while we were looking
        return
    except OSError:
        size, code = 0, "file-unreadable"
    report.files += 1
    report.size_bytes += size
    if code is not None:
        values = {"expected_bytes": file.stored_size_bytes, "size_bytes": size}
        report.findings.append(_about(code, record, **values))


def _digest_problem(path: Path, record: Record, file: FileRecord) -> str | None:
    whole, content = hashlib.sha256(), hashlib.sha256()
    with path.open("rb") as opened:
        while data := opened.read(_READ_SIZE_BYTES):
            whole.update(data)
        if whole.digest() != file.stored_sha256:
            return "file-digest"
        opened.seek(0)
        try:
            header, frames = stored.frames(opened.read)
        except StoredFormatError:
            return "file-digest"
        last = None
        for frame in frames:
            last = frame
            if frame.type != stored.ACCOUNT and header.sealing == stored.SEALING_NONE:
                content.update(frame.payload)
    named = (header.device, header.log, header.media) == (record.device, record.log, file.media)
    if last is None or not named or last.end_offset != file.stored_size_bytes:
        return "file-digest"
    clear = header.sealing == stored.SEALING_NONE
    if last.content_sha256 != file.content_sha256 or (clear and content.digest() != file.content_sha256):
        return "file-digest"
    return None


def _about(code: str, record: Record, **values: int) -> Finding:
    media = record.file.media if record.file is not None else None
    return Finding(code, {"log": record.log.hex(), "sequence": record.sequence, "media": media, **values})


def _receipted(reader: SpoolReader) -> set[tuple[bytes, int, bytes]]:
    """Return (log, sequence, record hash) of every file that a store has receipted."""
    found = set()
    for receipt in reader.receipts():
        try:
            parsed = parse_receipt(receipt.message)
        except StatementError:
            continue
        if isinstance(parsed, MediaReceipt):
            found.add((parsed.log, parsed.sequence, parsed.record_sha256))
    return found
