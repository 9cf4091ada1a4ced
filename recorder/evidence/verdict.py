"""The verdict on one session: a pure function from records, certificates, statements and media to findings.

Three answers, never one: *integrity* (was anything altered), *completeness* (is anything missing) and *witness* (did
the central store vouch for it, and when). Anchors come from outside only; without them the best result is "cannot be
judged". Breaches of the rules of recording are not judged here.
"""

from __future__ import annotations

from collections import ChainMap
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from recorder.evidence import accounting, chain, checkcode, records, statements, texts, timeline, witness
from recorder.evidence.errors import RecordError
from recorder.evidence.findings import Effect, Finding, Part, found
from recorder.evidence.records import Boot, Chunk, NotRecorded, Record
from recorder.evidence.signers import Signers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from keys.certificates import Anchors
    from recorder.evidence.accounting import Content
    from recorder.evidence.checkcode import CheckCode
    from recorder.evidence.statements import Attestation, Withholding
    from recorder.evidence.timeline import Timeline

EXIT_VERIFIED: Final = 0
EXIT_VIOLATED: Final = 1
EXIT_UNJUDGED: Final = 2

CONTRADICTED: Final = frozenset(
    ("attestation-crossed", "witness-contradicts", "time-after-receipt", "tail-missing", "later-missing")
)
"""What the store received is something else, or more, than what is here."""


@dataclass(frozen=True)
class Evidence:
    """What is to be judged: one session."""

    messages: Sequence[bytes]
    """The records, signed, in order: those of the session, and what stands between them."""
    certificates: Sequence[bytes]
    """DER; building material only."""
    contents: Callable[[Sequence[Record]], Iterator[Content]]
    """Gets the files of the given records, in their order."""
    attestation: bytes | None = None
    withholding: bytes | None = None
    receipts: witness.Receipts | None = None
    """What a device keeps of a store, where there is no attestation (its spool)."""
    session: bytes | None = None
    """Which session; by default the first that is named."""
    files_expected: bool = True
    """A file that is neither here nor accounted for by the store is a violation (a package), or just elsewhere."""
    hashes: dict[int, bytes] = field(default_factory=dict)
    """Sequence to record hash of the whole log, where more of it is at hand than the session."""
    clocks: Sequence[Record] = ()
    """Clock records of the same device's other logs, where they are at hand."""
    codes: Sequence[CheckCode] = ()
    """What was written down of this recording: it must be the one that they stand for."""


@dataclass(frozen=True)
class Checked:
    """What was looked at, so that nobody takes more for proved than was."""

    records: int = 0
    media: int = 0
    media_size_bytes: int = 0
    sealed: int = 0
    """Files whose stored form was checked, and whose content is sealed."""
    derived: tuple[str, ...] = ()
    """Derived files that were computed again."""


@dataclass(frozen=True)
class Verdict:
    """The result."""

    device: str | None
    log: bytes | None
    session: bytes | None
    integrity: str
    """``intact``, ``broken`` or ``unjudged``."""
    completeness: str
    """``closed``, ``gaps``, ``withheld``, ``unclosed`` or ``missing``."""
    witness: str
    """``attested``, ``unwitnessed`` or ``contradicted``."""
    witness_utc_ns: int | None
    """When the store had received all of the session, by its own clock."""
    findings: tuple[Finding, ...]
    notes: tuple[Finding, ...]
    checked: Checked

    @property
    def exit_code(self) -> int:
        """0 verified, 1 violated, 2 cannot be judged."""
        if any(finding.kind.effect is Effect.VIOLATION for finding in self.findings):
            return EXIT_VIOLATED
        return EXIT_UNJUDGED if self.findings else EXIT_VERIFIED

    def plain(self) -> dict[str, Any]:
        """Return the verdict for ``--json``."""
        return {
            "device": self.device,
            "log": self.log.hex() if self.log else None,
            "session": self.session.hex() if self.session else None,
            "exit_code": self.exit_code,
            "integrity": self.integrity,
            "completeness": self.completeness,
            "witness": self.witness,
            "witness_utc_ns": self.witness_utc_ns,
            "witness_time": texts.moment(self.witness_utc_ns) if self.witness_utc_ns is not None else None,
            "checked": {
                "records": self.checked.records,
                "media": self.checked.media,
                "media_size_bytes": self.checked.media_size_bytes,
                "sealed": self.checked.sealed,
                "derived": list(self.checked.derived),
            },
            "findings": [finding.plain() for finding in self.findings],
            "notes": [note.plain() for note in self.notes],
        }


def parse_records(messages: Iterable[bytes]) -> tuple[list[Record], list[Finding]]:
    """Parse records; what cannot be read is a finding, with its place in the order."""
    parsed: list[Record] = []
    found_: list[Finding] = []
    for place, message in enumerate(messages):
        try:
            parsed.append(records.parse(message))
        except RecordError as error:
            found_.append(found("record-malformed", place=place, error=error))
    return parsed, found_


def judge(
    evidence: Evidence,
    anchors: Anchors,
    watch: Callable[[Timeline, Attestation | None, Withholding | None], Callable[[int, bytes | None], None]]
    | None = None,
    signers: Signers | None = None,
) -> Verdict:
    """Judge one session.

    Args:
        evidence: what is there.
        anchors: the authorities that the one who asks trusts; may be empty.
        watch: called with the timeline, once; what it returns is called with each chunk.
        signers: who signed, where the caller has looked at the same certificates before.
    """
    parsed, findings = parse_records(evidence.messages)
    signers = signers or Signers(evidence.certificates, anchors)
    findings += signers.check(parsed)
    attestation, attested = _statement(evidence.attestation, statements.Attestation, anchors)
    withholding, withheld = _statement(evidence.withholding, statements.Withholding, anchors)
    session = evidence.session or (attestation.session if attestation is not None else None)
    line = timeline.collect(parsed, attestation, withholding, session)
    if not line.records:
        line = timeline.collect(parsed, attestation, withholding)
    whole_until = line.closing.sequence if line.closing else attestation.last_sequence if attestation else None
    findings += chain.check_log(parsed, whole_until, evidence.clocks)
    findings += check_session(line, parsed)
    if evidence.withholding is not None and withheld is not None:
        findings += witness.check_withholding(line, withholding, withheld)
    received: int | None = None
    by_sequence = {record.sequence: record for record in parsed}
    if attested is not None:
        received, more = _attested(line, by_sequence, attestation, attested, signers)
        findings += more
    elif evidence.receipts is not None:
        hashes = ChainMap({sequence: record.sha256 for sequence, record in by_sequence.items()}, evidence.hashes)
        received, more = witness.receipted(line, hashes, evidence.receipts)
        findings += more
    if received is None:
        findings.append(found("unwitnessed"))
    checked = _check_media(evidence, line, findings, watch(line, attestation, withholding) if watch else None)
    findings += _notes(line, parsed)
    findings += _check_codes(parsed, evidence.codes)
    return conclude(line, findings, Checked(len(parsed), *checked), received)


def conclude(line: Timeline, findings: Iterable[Finding], checked: Checked, received: int | None) -> Verdict:
    """Turn findings into a verdict."""
    places = timeline.spans(line)
    every = tuple(dict.fromkeys(_placed(finding, line, places) for finding in findings))
    notes = tuple(finding for finding in every if finding.kind.effect is Effect.NOTE)
    serious = tuple(finding for finding in every if finding.kind.effect is not Effect.NOTE)
    effects = {(finding.kind.part, finding.kind.effect) for finding in serious}
    codes = {finding.code for finding in every}
    integrity = "intact"
    if (Part.INTEGRITY, Effect.VIOLATION) in effects:
        integrity = "broken"
    elif (Part.INTEGRITY, Effect.UNJUDGED) in effects:
        integrity = "unjudged"
    completeness = "closed"
    if (Part.COMPLETENESS, Effect.VIOLATION) in effects or codes & {
        "media-not-here",
        "sequence-missing",
        "records-lost",
    }:
        completeness = "missing"
    else:
        for code, name in (("session-unclosed", "unclosed"), ("media-withheld", "withheld"), ("gap", "gaps")):
            if code in codes:
                completeness = name
                break
    vouched = "unwitnessed" if received is None else "attested"
    if codes & CONTRADICTED:
        vouched = "contradicted"
    first = line.records[0] if line.records else None
    return Verdict(
        device=first.device if first else None,
        log=first.log if first else None,
        session=line.session,
        integrity=integrity,
        completeness=completeness,
        witness=vouched,
        witness_utc_ns=received if vouched == "attested" else None,
        findings=serious,
        notes=notes,
        checked=checked,
    )


def _placed(finding: Finding, line: Timeline, places: Mapping[int, tuple[int, int]]) -> Finding:
    place = places.get(-1 if finding.sequence is None else finding.sequence)
    if place is None or finding.log != line.records[0].log:
        return finding
    start = place[0] if finding.media_ns is None else min(place[0], finding.media_ns)
    return finding._replace(span_ns=(start, place[1]))


def _statement(message: bytes | None, form: Any, anchors: Anchors) -> tuple[Any, witness.Read | None]:
    return (None, None) if message is None else witness.read(message, form, anchors)


def _attested(
    line: Timeline,
    by_sequence: dict[int, Record],
    attestation: Attestation | None,
    state: witness.Read,
    signers: Signers,
) -> tuple[int | None, list[Finding]]:
    if attestation is None:
        return None, [found("attestation-malformed")]
    if not by_sequence:
        return None, []
    findings = list(witness.check_attestation(line, by_sequence, attestation, state))
    findings += signers.check_dates(line.records, attestation)
    spoiled = any(finding.kind.part is Part.WITNESS and finding.code != "tail-lost-known" for finding in findings)
    if not state.trusted or not attestation.received or (spoiled and _fatal(findings)):
        return None, findings
    return max(received for _, _, received in attestation.received), findings


def _fatal(findings: Iterable[Finding]) -> bool:
    """Tell whether the attestation does not speak for these records at all, or not for all of them."""
    return any(
        finding.code in ("attestation-crossed", "witness-contradicts", "witness-partial", "standing-doubted")
        for finding in findings
    )


def check_session(line: Timeline, parsed: Sequence[Record]) -> Iterator[Finding]:
    """Check that the records make one session: one opening, one close, nothing of another between."""
    if not line.records:
        yield found("no-session")
        return
    opening, closing = line.opening, line.closing
    if opening is None or line.records[0] is not opening:
        yield found("open-missing", line.records[0])
    for record in line.records:
        if record.kind in ("session-open", "session-close") and record not in (opening, closing):
            yield found("open-repeated", record)
    if closing is None:
        yield found("session-unclosed", line.records[-1])
    last = closing.sequence if closing else max(record.sequence for record in line.records)
    first = line.records[0].sequence
    for record in parsed:
        inside = first <= record.sequence <= last
        if record.session != line.session and not (inside and record.session is None):
            yield found("session-mixed", record)
    yield from _check_close(line)


def _check_close(line: Timeline) -> Iterator[Finding]:
    opening, closing, close = line.opening, line.closing, line.close_body
    if closing is None or close is None:
        return
    chunks = sum(1 for piece in line.pieces if piece.record.sequence < closing.sequence)
    if opening is not None and close.open_sequence != opening.sequence:
        yield found("close-contradicted", closing, what="open_sequence")
    elif close.chunks != chunks:
        yield found("close-contradicted", closing, what="chunks")


def _check_media(
    evidence: Evidence, line: Timeline, findings: list[Finding], watcher: Callable[[int, bytes | None], None] | None
) -> tuple[int, int, int]:
    accountant = accounting.Accountant(line)
    index = count = size = sealed = 0
    for record, content in zip(line.files, evidence.contents(line.files), strict=True):
        file = record.file
        if file is None:
            continue
        findings += accountant.file(record, file)
        given = content.data
        if record.sequence in line.withheld and not content.here:
            findings.append(found("media-withheld", record, reason=line.withheld[record.sequence]))
        elif not content.here:
            findings.append(_absent(record, line, evidence))
        else:
            findings += accounting.check_file(record, file, content)
            count, size = count + 1, size + file.content_size_bytes
            if content.sealed:
                sealed += 1
                findings.append(found("media-sealed", record))
        if isinstance(record.body, Chunk):
            piece = line.pieces[index]
            findings += accountant.chunk(piece)
            sound = given if content.content_sha256 == file.content_sha256 else None
            if sound is not None:
                findings += accounting.check_chunk(piece, sound)
            if watcher is not None:
                watcher(index, None if piece.absent else sound)
            index += 1
    findings += accountant.finish()
    return count, size, sealed


def _absent(record: Record, line: Timeline, evidence: Evidence) -> Finding:
    elsewhere = record.sequence in line.missing or not evidence.files_expected
    return found("media-not-here" if elsewhere else "media-absent", record)


def _check_codes(parsed: Sequence[Record], codes: Iterable[CheckCode]) -> Iterator[Finding]:
    for code in dict.fromkeys(codes):
        written = {"number": str(code.number), "digits": code.groups}
        own = [(record, checkcode.of(record)) for record in parsed if record.sequence == code.number]
        if not own:
            yield found("code-beyond", None, None, **written)._replace(sequence=code.number)
            continue
        record, nearest = min(own, key=lambda one: checkcode.differing(one[1], code))
        differing = checkcode.differing(nearest, code)
        if differing:
            yield found("code-differs", record, None, **written, differing=differing)
        else:
            when = texts.moment(record.utc_ns) if record.clock != "unset" else None
            yield found("code-agrees", record, None, **written, time=when or "–")


def _notes(line: Timeline, parsed: Sequence[Record]) -> Iterator[Finding]:
    for record in parsed:
        if record.body is None:
            code = "body-malformed" if record.kind in records.KINDS else "kind-unknown"
            yield found(code, record, kind=record.kind, problem=record.problem)
        elif isinstance(record.body, Boot):
            yield found("boot", record, kind=record.body.reason)
        elif isinstance(record.body, NotRecorded):
            yield found("not-recorded", record, reason=record.body.reason)
        elif isinstance(record.body, Chunk) and record.body.recovered is not None:
            yield found("recovered", record, how=record.body.recovered)
    for gap in line.interruptions:
        whole = "" if gap.length_ns is None else gap.length_ns
        yield found("gap", gap.record, gap.start_ns, cause=gap.cause, tracks="+".join(gap.tracks), length_ns=whole)
