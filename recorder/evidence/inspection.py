"""Judges a package: a folder from a stranger. Bounded, no symbolic links, no file that is not accounted for.

Every file is either checked against a signature, computed again and compared, or refused.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import TYPE_CHECKING, BinaryIO, Final

from keys.certificates import check_der
from keys.errors import CertificateError
from recorder.evidence import package, records, report, sequence, statements, verdict
from recorder.evidence.accounting import NOT_HERE, Content
from recorder.evidence.derived import DerivedFiles
from recorder.evidence.errors import PackageError, RecordError
from recorder.evidence.findings import Finding, found

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from keys.certificates import Anchors
    from recorder.evidence.checkcode import CheckCode
    from recorder.evidence.records import Record

MAX_FILES: Final = 400_000
"""A day of two-second chunks has a tenth."""
MAX_RECORDS_SIZE_BYTES: Final = 512 << 20
MIN_RECORD_SIZE_BYTES: Final = 256
"""The names and digests that every record holds take more."""
MAX_RECORDS: Final = 400_000
"""As many as files: what is read is held in memory until it is judged."""
MAX_CERTIFICATES: Final = 64
MAX_CERTIFICATE_SIZE_BYTES: Final = 4096


@dataclass
class Listing:
    """The files of a package, by their path in it."""

    root: Path
    sizes: dict[str, int] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)

    def open(self, name: str) -> BinaryIO:
        """Open a listed file; never through a symbolic link."""
        return os.fdopen(os.open(self.root / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb")

    def read(self, name: str, limit: int) -> bytes | None:
        """Return a file's bytes; None where it is not there or, with a finding, too large."""
        if name not in self.sizes:
            return None
        if self.sizes[name] > limit:
            self.findings.append(found("file-too-large", file=name))
            return None
        with self.open(name) as file:
            return file.read(limit)


def list_package(root: Path) -> Listing:
    """List a package; what may not be there is a finding.

    Raises:
        PackageError: ``root`` is not a folder with ``evidence`` in it.
    """
    if not (root / "evidence").is_dir():
        raise PackageError(f"{root} is not a package: it has no folder 'evidence'")
    listing = Listing(root)
    waiting = [""]
    while waiting:
        folder = waiting.pop()
        with os.scandir(root / folder) as entries:
            for entry in entries:
                name = f"{folder}/{entry.name}" if folder else entry.name
                if len(listing.sizes) + len(listing.findings) > MAX_FILES:
                    raise PackageError(f"{root} holds more than {MAX_FILES} files; no package does")
                _list(listing, name, entry, waiting)
    return listing


def _list(listing: Listing, name: str, entry: os.DirEntry[str], waiting: list[str]) -> None:
    status = entry.stat(follow_symlinks=False)
    if stat.S_ISDIR(status.st_mode) and name in package.FOLDERS:
        waiting.append(name)
    elif not stat.S_ISREG(status.st_mode):
        listing.findings.append(found("file-irregular", file=name))
    elif not _expected(name):
        listing.findings.append(found("file-unlisted", file=name))
    else:
        listing.sizes[name] = status.st_size


def _expected(name: str) -> bool:
    fixed = (package.RECORDS, package.ATTESTATION, package.WITHHELD, package.REPORT_JSON, package.REPORT_TEXT)
    if name in (*fixed, report.PAGE_NAME):
        return True
    return any(form.fullmatch(name) for form in (package.FILM_NAME, package.CERTIFICATE_NAME, package.MEDIA_NAME))


def judge_package(
    root: Path, anchors: Anchors, workers: int | None = None, codes: Sequence[CheckCode] = ()
) -> verdict.Verdict:
    """Judge the package in the folder ``root``.

    Args:
        root: the folder.
        anchors: the authorities that the one who asks trusts; may be empty.
        workers: threads that read and hash; by default one a processor.
        codes: check codes that were written down of the recording.

    Raises:
        PackageError: it is not a package at all.
    """
    listing = list_package(root)
    messages = read_records(listing)
    evidence = verdict.Evidence(
        messages=messages,
        certificates=_certificates(listing),
        contents=lambda files: read_in_order(files, lambda record: _content(listing, record), workers),
        attestation=listing.read(package.ATTESTATION, statements.MAX_SIZE_BYTES),
        withholding=listing.read(package.WITHHELD, statements.MAX_SIZE_BYTES),
        codes=codes,
    )
    with DerivedFiles(listing) as derived:
        result = verdict.judge(evidence, anchors, derived.watch)
        derived.finish()
    findings = [*listing.findings, *result.findings, *result.notes]
    checked = replace(result.checked, derived=tuple(derived.compared))
    return verdict.conclude(derived.timeline, findings, checked, result.witness_utc_ns)


def read_records(listing: Listing) -> list[bytes]:
    """Return the signed records of a package, as far as its file of records can be read."""
    data = listing.read(package.RECORDS, MAX_RECORDS_SIZE_BYTES)
    messages: list[bytes] = []
    if data is None:
        listing.findings.append(found("file-missing", file=package.RECORDS))
        return messages
    try:
        for message in sequence.split(data, records.MAX_RECORD_SIZE_BYTES):
            if len(messages) == MAX_RECORDS or len(message) < MIN_RECORD_SIZE_BYTES:
                problem = f"item {len(messages)} of {len(message)} bytes is too short, or one too many"
                listing.findings.append(found("records-unreadable", error=problem))
                break
            messages.append(message)
    except RecordError as error:
        listing.findings.append(found("records-unreadable", error=error))
    return messages


def _certificates(listing: Listing) -> list[bytes]:
    certificates: list[bytes] = []
    for name in sorted(listing.sizes):
        match = package.CERTIFICATE_NAME.fullmatch(name)
        if match is None:
            continue
        data = listing.read(name, MAX_CERTIFICATE_SIZE_BYTES)
        if len(certificates) == MAX_CERTIFICATES or data is None:
            listing.findings.append(found("file-unlisted", file=name))
        elif hashlib.sha256(data).hexdigest() != match[1]:
            listing.findings.append(found("certificate-misnamed", file=name))
        elif not _is_certificate(data):
            listing.findings.append(found("file-unlisted", file=name))
        else:
            certificates.append(data)
    return certificates


def _is_certificate(data: bytes) -> bool:
    try:
        check_der(data)
    except CertificateError:
        return False
    return True


def _content(listing: Listing, record: Record) -> Content:
    name = package.media_name(record)
    if name not in listing.sizes:
        return NOT_HERE
    if listing.sizes[name] > records.MAX_MEDIA_SIZE_BYTES:
        return Content(b"", hashlib.sha256().digest())
    with listing.open(name) as file:
        data = file.read(records.MAX_MEDIA_SIZE_BYTES)
    return Content(data, hashlib.sha256(data).digest())


def read_in_order(
    files: Sequence[Record], read: Callable[[Record], Content], workers: int | None = None
) -> Iterator[Content]:
    """Read files on all processors and yield them in order, holding only a few at a time."""
    workers = workers or os.cpu_count() or 1
    if workers == 1:
        yield from map(read, files)
        return
    with ThreadPoolExecutor(workers) as pool:
        waiting = iter(files)
        futures = deque(pool.submit(read, record) for record in islice(waiting, workers + 1))
        while futures:
            content = futures.popleft().result()
            following = next(waiting, None)
            if following is not None:
                futures.append(pool.submit(read, following))
            yield content
