"""Acts of enforcement as sessions, step by step: real media (:mod:`tests.support.forge`), details, markers, intervals.

Seconds count from the session's zero, on one clock.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from recorder.evidence import details, facts, policy, records, session_report, timeline
from recorder.evidence.details import Officer, Person, SessionDetails, TextRecord
from recorder.evidence.session_report import Handed
from tests.support import forge
from tests.support.forge import BOOT0, SECOND, UTC0, Draft

HOUR = 3600 * SECOND
AGENCIES = {path.stem.split("-")[0]: path for path in sorted(Path("config/agencies").glob("*.toml"))}
OFFICERS = [Officer(certificate="06050112", name="王明"), Officer(certificate="06050113", name="李强")]
PARTY = [Person(role="party", name="鞍山某某商贸有限公司")]


def agency(name: str) -> policy.Policy:
    """Load the policy of an agency by the first part of its file's name."""
    return policy.parse(AGENCIES[name].read_bytes())


@dataclass
class Act:
    """A session that is being put together."""

    matter: str | None = "on_site_inspection"
    policy: policy.Policy | None = None
    mode: str = "video"
    session: bytes = b"S" * 16
    linked: bytes | None = None
    link_class: str | None = None
    clock: str = "synchronised"
    start: int = 0
    """When it began, in seconds after :data:`forge.UTC0`."""
    drafts: list[Draft] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.zero = BOOT0 + self.start * SECOND
        self._media = 0
        opening = records.SessionOpen(
            mode=self.mode,
            zero_boottime_ns=self.zero,
            policy_sha256=self.policy.digest if self.policy else records.ZERO_HASH,
            device_head_sequence=7,
            device_head_sha256=b"h" * 32,
            trigger="button",
            matter=self.matter,
            linked_session=self.linked,
            link_class=self.link_class,
        )
        self.add(opening, 0)

    def add(self, body: records.Body, at_s: float, content: bytes | None = None) -> Act:
        """Add a record made at a second of the session."""
        at = self.at(at_s)
        self.drafts.append(Draft(body, at, self.session, content, clock=self.clock))
        return self

    def at(self, at_s: float) -> int:
        return self.zero + round(at_s * SECOND)

    def film(self, first: int = 0, count: int = 6, *, silent: bool = False, tracks: tuple[str, ...] = ()) -> Act:
        """Add chunks of two seconds each from number ``first`` on."""
        for number, clip in enumerate(forge.clips(first + count)[first:], first):
            draft = forge.chunk_draft(clip, number, self._next(), self.session, self.zero)
            assert isinstance(draft.body, records.Chunk)
            kept = {
                name: forge._struct_replace(track, peak_millibels=-12_000) if silent and name == "audio" else track
                for name, track in draft.body.tracks.items()
                if not tracks or name in tracks
            }
            draft.clock = self.clock
            self.drafts.append(draft.changed(tracks=kept))
        return self

    def _next(self) -> int:
        self._media += 1
        return self._media - 1

    def say(self, text: str = "say.start.av", heard: str = "heard", at_s: float = 1) -> Act:
        """Announce."""
        body = records.Announcement(
            text=text, spoken_boottime_ns=self.at(at_s), heard=heard, delay_ns=120_000_000, level_millibels=-1800
        )
        return self.add(body, at_s)

    def mark(self, *names: str, at_s: float = 4, basis: str = "declared", made_s: float | None = None) -> Act:
        """Set markers."""
        for name in names:
            body = records.Marker(marker=name, at_boottime_ns=self.at(at_s), basis=basis)
            self.add(body, at_s if made_s is None else made_s)
        return self

    def details(self, at_s: float = 0, *, when: str = "start", role: str = "officer", **fields: Any) -> Act:
        """Add a statement of particulars."""
        said = SessionDetails(**{"author": "06050112"} | fields)
        content = details.encode(said)
        draft = Draft(records.Body(), self.at(at_s), self.session, content, clock=self.clock)
        media = self._next()
        data = forge.stored_form(content, draft, media, None, "sy-0001")
        draft.body = records.Details(
            media=media,
            epoch=b"E" * 16,
            stored_sha256=hashlib.sha256(data).digest(),
            stored_size_bytes=len(data),
            content_sha256=hashlib.sha256(content).digest(),
            content_size_bytes=len(content),
            when=when,
            author=role,
            officers_count=len(said.officers) or None,
        )
        self.drafts.append(draft)
        return self

    def usual(self) -> Act:
        """Add what an inspection that keeps every rule has."""
        self.details(
            unit="执法监察科",
            case="明应急检记〔2026〕12号",
            place="明山区某某路18号",
            people=PARTY,
            officers=OFFICERS,
            text_record=TextRecord(kind="现场检查记录", number="（明）应急检记〔2026〕12号"),
        )
        return self.say().mark("place.sign", "credentials", "rights.oral.statement+defence")

    def unsuitable(self, reason: str, start_s: float, end_s: float | None) -> Act:
        """Leave an interval unrecorded."""
        start = self.at(start_s)
        self.add(records.NotRecorded(reason=reason, scope="interval", lawful=True, start_boottime_ns=start), start_s)
        if end_s is not None:
            over = records.NotRecorded(
                reason=reason, scope="interval", lawful=True, start_boottime_ns=start, end_boottime_ns=self.at(end_s)
            )
            self.gap("unsuitable", start_s, end_s)
            self.add(over, end_s)
        return self

    def gap(self, cause: str, start_s: float, end_s: float) -> Act:
        """Sign a gap of both tracks."""
        length = round((end_s - start_s) * SECOND)
        body = records.Gap(
            cause=cause,
            tracks=["video", "audio"],
            state="whole",
            start_boottime_ns=self.at(start_s),
            end_boottime_ns=self.at(end_s),
            length_min_ns=length,
            length_max_ns=length,
        )
        return self.add(body, end_s)

    def close(self, reason: str = "done", *, statement: bool | None = None) -> Act:
        """End the session."""
        chunks = [draft.body for draft in self.drafts if isinstance(draft.body, records.Chunk)]
        end = chunks[-1].end_boottime_ns if chunks else self.at(2)
        body = records.SessionClose(
            reason=reason,
            closed_by="button",
            open_sequence=1,
            chunks=len(chunks),
            end_boottime_ns=end,
            statement=reason in ("done", "moved") if statement is None else statement,
            device_head_sequence=9,
            device_head_sha256=b"i" * 32,
        )
        self.drafts.append(Draft(body, end + SECOND // 5, self.session, clock=self.clock))
        return self

    def record(self, site: forge.Site) -> forge.Recording:
        """Sign it all, in the order of time up to the close."""
        close = next((i for i, one in enumerate(self.drafts) if isinstance(one.body, records.SessionClose)), None)
        end = len(self.drafts) if close is None else close
        inside = sorted(self.drafts[1:end], key=lambda draft: draft.boottime_ns)
        return forge.record(site, [self.drafts[0], *inside, *self.drafts[end:]])

    def facts(self, site: forge.Site, hidden: tuple[int, ...] = ()) -> facts.Facts:
        """Return what its records say; of ``hidden`` details (by place) the content is sealed."""
        recording = self.record(site)
        line = timeline.collect(recording.parsed)
        own = [record.sequence for record in line.records if isinstance(record.body, records.Details)]
        contents: dict[int, bytes | None] = {
            sequence: None if place in hidden else recording.media[sequence] for place, sequence in enumerate(own)
        }
        return facts.collect(line, contents)

    def report(
        self,
        site: forge.Site,
        handed_after_h: float | None = 1,
        *,
        now_after_h: float = 2,
        hidden: tuple[int, ...] = (),
        **options: Any,
    ) -> session_report.Report:
        """Report on it; handed over so many hours after its start, or not at all."""
        moment = UTC0 + self.start * SECOND
        handed = Handed(complete=False)
        if handed_after_h is not None:
            handed = Handed(complete=True, utc_ns=moment + round(handed_after_h * HOUR))
        now = moment + round(now_after_h * HOUR)
        return session_report.report(self.facts(site, hidden), self.policy, now, handed, **options)
