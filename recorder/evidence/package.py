"""A package as a folder: what may be in it, and how one is written.

Writing is for a store (:func:`write_package`); judging one is :mod:`recorder.evidence.inspection`.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from contextlib import ExitStack
from typing import TYPE_CHECKING, BinaryIO, Final, NamedTuple

from recorder.evidence import film, jpeg, records, report, statements, timeline
from recorder.evidence.errors import PackageError
from recorder.evidence.records import Chunk, Photo, Record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

RECORDS: Final = "evidence/records.cborseq"
ATTESTATION: Final = "evidence/attestation.cose"
WITHHELD: Final = "evidence/withheld.cose"
REPORT_JSON: Final = "evidence/report.json"
REPORT_TEXT: Final = "evidence/report.txt"
FOLDERS: Final = ("evidence", "evidence/certificates", "evidence/media")
FILM_NAME: Final = re.compile(r"session(?:-([2-9]|[1-9][0-9]{1,3}))?\.mp4")
CERTIFICATE_NAME: Final = re.compile(r"evidence/certificates/([0-9a-f]{64})\.der")
MEDIA_NAME: Final = re.compile(r"evidence/media/([0-9a-f]{64})\.(mp4|jpg|bin)")


class Written(NamedTuple):
    """What a new package holds."""

    records: int
    media: int
    media_size_bytes: int
    absent: list[int]
    """Sequences of records whose file is withheld or had not arrived."""
    films: list[str]


def media_name(record: Record) -> str:
    """Return the path of a record's file in a package."""
    assert record.file is not None  # noqa: S101 - callers choose records with files
    picture = isinstance(record.body, Photo) and record.body.format == jpeg.FORMAT
    extension = "mp4" if isinstance(record.body, Chunk) else "jpg" if picture else "bin"
    return f"evidence/media/{record.file.content_sha256.hex()}.{extension}"


def write_package(
    out: Path,
    *,
    records: Sequence[bytes],
    attestation: bytes | None,
    certificates: Iterable[bytes],
    media: Callable[[Record], bytes | None],
    withheld: bytes | None = None,
) -> Written:
    """Write a package into a new folder, synced, and in place at once or not at all.

    Args:
        out: the folder to make; its parent must exist.
        records: the signed records of the session from session-open to session-close (or its newest), without
            holes, then later ones about it, in the order of their sequences.
        attestation: the store's signed attestation.
        certificates: DER certificates of the device, and what stands between them and the authority.
        media: returns the content in clear of the file that a record brings (the MP4, the details), or None where
            the store does not have it; not asked for withheld ones.
        withheld: the signed withholding statement, when parts are not given.

    Raises:
        PackageError: ``out`` exists, or a file is not the one that its record names.
        EvidenceError: a record or statement cannot be parsed.
    """
    if out.exists() or out.is_symlink():
        raise PackageError(f"{out} exists already; a package is only written into a new folder")
    partial = out.parent / f".{out.name}.{secrets.token_hex(8)}.partial"
    partial.mkdir(mode=0o750)
    try:
        written = _write(partial, records, attestation, certificates, media, withheld)
        for folder in (*reversed(FOLDERS), "."):
            _sync_folder(partial / folder)
        partial.rename(out)
        _sync_folder(out.parent)
    except BaseException:
        _remove(partial)
        raise
    return written


def _write(
    folder: Path,
    messages: Sequence[bytes],
    attestation: bytes | None,
    certificates: Iterable[bytes],
    media: Callable[[Record], bytes | None],
    withheld: bytes | None,
) -> Written:
    for name in FOLDERS:
        (folder / name).mkdir()
    parsed = [records.parse(message) for message in messages]
    attested = statements.parse(attestation, statements.Attestation) if attestation is not None else None
    withholding = statements.parse(withheld, statements.Withholding) if withheld is not None else None
    session = timeline.collect(parsed, attested, withholding, attested.session if attested else None)
    with (folder / RECORDS).open("xb") as file:
        file.writelines(messages)
        _sync(file)
    for name, data in ((ATTESTATION, attestation), (WITHHELD, withheld)):
        if data is not None:
            _write_file(folder / name, data)
    for certificate in {hashlib.sha256(der).hexdigest(): der for der in certificates}.items():
        _write_file(folder / f"evidence/certificates/{certificate[0]}.der", certificate[1])
    written = _write_media(folder, session, media)
    for name, data in report.render(session, attested, withholding).items():
        _write_file(folder / name, data)
    return written._replace(records=len(messages))


def _write_media(folder: Path, session: timeline.Timeline, media: Callable[[Record], bytes | None]) -> Written:
    composer = film.FilmComposer(session)
    films: dict[int, BinaryIO] = {}
    absent: list[int] = []
    count = size = pieces = 0
    with ExitStack() as stack:
        for record in session.files:
            away = record.sequence in session.withheld or record.sequence in session.missing
            content = None if away else media(record)
            if content is None:
                absent.append(record.sequence)
            else:
                _check(record, content)
                count, size = count + 1, size + len(content)
                path = folder / media_name(record)
                if not path.exists():  # two records may bring the same content
                    _write_file(path, content)
            if isinstance(record.body, Chunk):
                for part, data in composer.add(pieces, content):
                    if part not in films:
                        films[part] = stack.enter_context((folder / film.file_name(part)).open("xb"))
                    films[part].write(data)
                pieces += 1
        for file in films.values():
            _sync(file)
    return Written(0, count, size, absent, [film.file_name(part) for part in sorted(films)])


def _check(record: Record, content: bytes) -> None:
    assert record.file is not None  # noqa: S101 - a timeline's files have one
    if hashlib.sha256(content).digest() != record.file.content_sha256:
        raise PackageError(f"the file of record {record.sequence} is not the one that was signed; nothing was written")


def _write_file(path: Path, data: bytes) -> None:
    with path.open("xb") as file:
        file.write(data)
        _sync(file)


def _sync(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove(folder: Path) -> None:
    """Remove a folder of our own making."""
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.is_dir() and not path.is_symlink():
            path.rmdir()
        else:
            path.unlink()
    folder.rmdir()
