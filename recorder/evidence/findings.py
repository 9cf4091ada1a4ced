"""What a verification can find: each kind of finding with a stable code, decided here, once.

The sentence of a code is the text ``found.<code>`` of the catalogue, in Chinese and English.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from recorder.evidence import texts

if TYPE_CHECKING:
    from recorder.evidence.records import Record


class Part(Enum):
    """Which part of the verdict a finding belongs to."""

    INTEGRITY = "integrity"
    COMPLETENESS = "completeness"
    WITNESS = "witness"


class Effect(Enum):
    """What a finding does to the verdict."""

    VIOLATION = "violation"
    """Something is not as it was signed, or is gone without ground: exit code 1."""
    UNJUDGED = "unjudged"
    """Something that is needed is not here: exit code 2, unless there is a violation too."""
    NOTE = "note"
    """Disclosed and lawful: listed, and nothing else."""


class Kind(NamedTuple):
    """What is fixed for a code."""

    part: Part
    effect: Effect
    scope: str
    """``log``, ``session``, ``record``, ``chunk``, ``statement`` or ``package``."""


def _kinds(part: Part, effect: Effect, **scopes: str) -> dict[str, Kind]:
    return {code: Kind(part, effect, scope) for scope, codes in scopes.items() for code in codes.split()}


CODES: Final[dict[str, Kind]] = {
    **_kinds(
        Part.INTEGRITY,
        Effect.VIOLATION,
        log=(
            "sequence-missing sequence-repeated sequence-reordered chain-broken device-mixed log-mixed stream-mixed "
            "genesis-wrong boot-missing boot-head-wrong boottime-back head-contradicted stream-missing"
        ),
        record="record-malformed signature-invalid signer-foreign signer-wrong code-differs",
        session="session-mixed open-repeated close-contradicted",
        chunk=(
            "media-altered stored-altered media-unreadable init-altered init-changed account-wrong chunk-number "
            "part-wrong media-number-repeated media-overlap hole-without-gap time-wrong"
        ),
        statement="withholding-invalid withholding-crossed",
        package=(
            "file-unlisted file-irregular file-missing file-too-large certificate-misnamed records-unreadable "
            "film-differs report-differs"
        ),
    ),
    **_kinds(
        Part.INTEGRITY,
        Effect.UNJUDGED,
        log="clock-moved",
        record="no-anchor signer-unknown body-malformed",
        chunk="media-sealed",
        package="derived-not-checked",
    ),
    **_kinds(
        Part.COMPLETENESS,
        Effect.VIOLATION,
        session="open-missing tail-missing later-missing no-session",
        chunk="media-absent",
    ),
    **_kinds(
        Part.COMPLETENESS, Effect.UNJUDGED, session="session-unclosed", log="records-lost", chunk="media-not-here"
    ),
    **_kinds(
        Part.WITNESS,
        Effect.VIOLATION,
        statement=(
            "attestation-malformed attestation-invalid attestation-foreign attestation-crossed witness-contradicts"
        ),
        record="time-after-receipt",
    ),
    **_kinds(
        Part.WITNESS,
        Effect.UNJUDGED,
        session="unwitnessed witness-partial",
        statement="fork-known standing-doubted store-certificate-not-valid",
        record="certificate-not-valid code-beyond",
    ),
    **_kinds(Part.INTEGRITY, Effect.NOTE, record="kind-unknown", session="frames-unaccounted", log="boot"),
    **_kinds(Part.COMPLETENESS, Effect.NOTE, session="gap not-recorded", chunk="media-withheld recovered"),
    **_kinds(Part.WITNESS, Effect.NOTE, statement="tail-lost-known", record="code-agrees"),
}


class Finding(NamedTuple):
    """One thing that a verification found."""

    code: str
    sequence: int | None = None
    log: bytes | None = None
    utc_ns: int | None = None
    """The device's clock in the record that it is about."""
    media_ns: int | None = None
    """Media time within the session."""
    values: tuple[tuple[str, str], ...] = ()
    """What fills the sentence."""
    span_ns: tuple[int, int] | None = None
    """From when to when in the film, in media time; the same twice for a moment. People look there."""

    @property
    def kind(self) -> Kind:
        """Part, effect and scope."""
        return CODES[self.code]

    def sentence(self, language: str) -> str:
        """Return the finding as a sentence."""
        values = {"sequence": "–" if self.sequence is None else str(self.sequence), **dict(self.values)}
        for name, group in (("cause", "gap"), ("reason", "notrec")):
            if name in values:
                values[name] = texts.named(group, values[name], language)
        for name in ("track", "tracks"):
            if name in values:
                tracks = (texts.named("track", track, language) for track in values[name].split("+"))
                values[name] = texts.text("page.comma", language).join(tracks)
        if "length_ns" in values:
            known = values["length_ns"]
            values["length"] = texts.length(int(known), language) if known else texts.text("page.unknown", language)
        return texts.text(f"found.{self.code}", language, **values) + self._place(language)

    def _place(self, language: str) -> str:
        """Return where in the film it is, to the second, or nothing."""
        if self.span_ns is None:
            return ""
        start, end = (texts.clock_length(moment) for moment in self.span_ns)
        if start == end:
            return texts.text("verdict.at", language, at=start)
        return texts.text("verdict.within", language, start=start, end=end)

    def plain(self) -> dict[str, Any]:
        """Return the finding for ``--json``."""
        kind = self.kind
        return {
            "code": self.code,
            "part": kind.part.value,
            "effect": kind.effect.value,
            "scope": kind.scope,
            "log": self.log.hex() if self.log else None,
            "sequence": self.sequence,
            "utc_ns": self.utc_ns,
            "media_ns": self.media_ns,
            "span_ns": list(self.span_ns) if self.span_ns else None,
            "zh": self.sentence("zh"),
            "en": self.sentence("en"),
        }


def found(code: str, record: Record | None = None, media_ns: int | None = None, **values: object) -> Finding:
    """Make a finding; its place is that of ``record``."""
    filled = tuple((name, texts.printable(str(value), 200)) for name, value in values.items())
    if record is None:
        return Finding(code, media_ns=media_ns, values=filled)
    return Finding(code, record.sequence, record.log, record.utc_ns, media_ns, filled)
