"""The derived files of a package, computed again and compared byte for byte while its media pass by."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, BinaryIO, Final, Protocol, Self

from recorder.evidence import film, package, report
from recorder.evidence.errors import BoxError
from recorder.evidence.findings import found
from recorder.evidence.timeline import Timeline

if TYPE_CHECKING:
    from collections.abc import Callable

    from recorder.evidence.findings import Finding
    from recorder.evidence.statements import Attestation, Withholding

MAX_REPORT_SIZE_BYTES: Final = 64 << 20


class Files(Protocol):
    """The files of a package."""

    sizes: dict[str, int]
    findings: list[Finding]

    def open(self, name: str) -> BinaryIO:
        """Open a listed file."""

    def read(self, name: str, limit: int) -> bytes | None:
        """Return a file's bytes."""


class DerivedFiles:
    """Computes films and texts again; adds what differs to the findings of the package."""

    def __init__(self, files: Files) -> None:
        self._files = files
        self._stack = ExitStack()
        self._composer = film.FilmComposer(Timeline(None, ()))
        self._films: dict[int, BinaryIO | None] = {}
        self._unsound: set[int] = set()
        self._differing: set[int] = set()
        self._statements: tuple[Attestation | None, Withholding | None] = (None, None)
        self.timeline = Timeline(None, ())
        self.compared: list[str] = []
        """Names of the files that were computed again."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def watch(
        self, timeline: Timeline, attestation: Attestation | None, withholding: Withholding | None
    ) -> Callable[[int, bytes | None], None]:
        """Take the timeline; return what takes the chunks."""
        self.timeline, self._statements = timeline, (attestation, withholding)
        self._composer = film.FilmComposer(timeline)
        return self._chunk

    def _chunk(self, index: int, content: bytes | None) -> None:
        piece = self.timeline.pieces[index]
        # A film of a damaged or lost chunk could only differ: that finding is the chunk's.
        if content is None and not piece.absent:
            self._unsound.add(piece.chunk.part)
        try:
            for part, data in self._composer.add(index, content):
                self._compare(part, data)
        except BoxError:
            self._unsound.add(piece.chunk.part)

    def _compare(self, part: int, data: bytes) -> None:
        if part not in self._films:
            name = film.file_name(part)
            there = name in self._files.sizes
            self._films[part] = self._stack.enter_context(self._files.open(name)) if there else None
        file = self._films[part]
        if file is not None and part not in self._differing and file.read(len(data)) != data:
            self._differing.add(part)

    def finish(self) -> None:
        """Compare what only the end shows: the films' ends, films too many or too few, the texts."""
        stated = report.renderer_of(self._files.read(package.REPORT_JSON, MAX_REPORT_SIZE_BYTES) or b"")
        # Another version of this program may word things differently; that is not forgery, and not proof either.
        foreign = stated is not None and stated != report.RENDERER
        names = {film.file_name(part) for part in self._films}
        for part, file in self._films.items():
            name = film.file_name(part)
            if file is None:
                self._files.findings.append(found("file-missing", file=name))
            elif part not in self._unsound:
                self._judge(name, foreign=foreign, same=part not in self._differing and not file.read(1), code="film")
        for name in sorted(self._files.sizes):
            unsound = any(film.file_name(part) == name for part in self._unsound)
            if package.FILM_NAME.fullmatch(name) and name not in names and not unsound:
                self._files.findings.append(found("file-unlisted", file=name))
        self._media(set(self._files.sizes))
        for name, data in report.render(self.timeline, *self._statements).items():
            if name not in self._files.sizes:
                self._files.findings.append(found("file-missing", file=name))
            else:
                same = self._files.read(name, MAX_REPORT_SIZE_BYTES) == data
                self._judge(name, foreign=foreign, same=same, code="report")

    def _media(self, names: set[str]) -> None:
        """Refuse media that no record of the session brings."""
        named = {package.media_name(record) for record in self.timeline.files}
        for name in sorted(names):
            if package.MEDIA_NAME.fullmatch(name) and name not in named:
                self._files.findings.append(found("file-unlisted", file=name))

    def _judge(self, name: str, *, foreign: bool, same: bool, code: str) -> None:
        if same:
            self.compared.append(name)
        elif foreign:
            self._files.findings.append(found("derived-not-checked", file=name))
        else:
            self._files.findings.append(found(f"{code}-differs", file=name))
