"""Real sessions, genuinely signed: real H.264 and AAC, real certificates. And the tools of whoever alters them.

A session is first a list of :class:`Draft`, payloads that nobody has signed; :func:`sign_all` chains and signs them.
Whoever has no key alters the signed bytes; whoever has the device's key alters drafts and signs anew.
"""

from __future__ import annotations

import copy
import datetime as dt
import functools
import hashlib
import io
import math
import struct
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import av
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from keys import cbor, cose
from keys.authority import Authority
from keys.certificates import Anchors, Role
from keys.signer import SeedSigner
from recorder.evidence import boxes, records, statements, stored
from recorder.evidence.records import Track

if TYPE_CHECKING:
    from collections.abc import Iterable

SECOND = 10**9
UTC0 = 1_790_000_000 * SECOND
"""The device's clock when the session began."""
BOOT0 = 500 * SECOND
"""The device's boot-time at the same moment."""
POLICY = hashlib.sha256(b"policy of the tests").digest()
STORED: dict[bytes, bytes] = {}
"""Every stored file that was made, by its digest: what lies on a device or in a store."""
MOVFLAGS = "frag_keyframe+empty_moov+default_base_moof+cmaf+skip_trailer+frag_discont"


@dataclass(frozen=True)
class Clip:
    """One chunk of real media."""

    init: bytes
    fragments: tuple[bytes, ...]

    @property
    def content(self) -> bytes:
        return self.init + b"".join(self.fragments)


@functools.cache
def clips(
    count: int = 6, start_s: float = 0.0, size: tuple[int, int] = (160, 120), seed: int = 0, *, audio: bool = True
) -> tuple[Clip, ...]:
    """Encode ``count`` chunks of two seconds once: a moving picture and a tone; time runs on from ``start_s``."""
    sink = _Sink()
    options = {"movflags": MOVFLAGS, "frag_duration": "500000", "video_track_timescale": "90000"}
    output = av.open(sink, "w", format="mp4", options=options)
    video = output.add_stream("libx264", rate=25, options={"g": "50", "bf": "0", "preset": "ultrafast", "threads": "1"})
    video.width, video.height, video.pix_fmt = *size, "yuv420p"
    sound = output.add_stream("aac", rate=48_000, layout="mono") if audio else None
    first, frames = round(start_s * 25), count * 50
    pending = []
    for index in range(frames):
        pending += [
            (packet.dts * packet.time_base, packet) for packet in video.encode(_picture(first + index, size, seed))
        ]
    pending += [(packet.dts * packet.time_base, packet) for packet in video.encode(None)]
    if sound is not None:
        for block in range(round(count * 2 * 48_000 / 1024)):
            frame = _tone(round(start_s * 48_000) + block * 1024, seed)
            pending += [(packet.dts * packet.time_base, packet) for packet in sound.encode(frame)]
        pending += [(packet.dts * packet.time_base, packet) for packet in sound.encode(None)]
    for _, packet in sorted((item for item in pending if item[0] >= 0), key=lambda item: item[0]):
        output.mux(packet)
    output.close()
    return tuple(_cut(sink.getvalue(), start_s))


class _Sink(io.BytesIO):
    """A sink that cannot seek, as a pipe."""

    def seekable(self) -> bool:
        return False


def _picture(number: int, size: tuple[int, int], seed: int) -> av.VideoFrame:
    frame = av.VideoFrame(*size, "yuv420p")
    for index, plane in enumerate(frame.planes):
        row = bytes((number * 3 + column + 40 * index + 7 * seed) % 256 for column in range(plane.line_size))
        plane.update(b"".join(row[line % 16 :] + row[: line % 16] for line in range(plane.height)))
    frame.pts, frame.time_base = number, _fraction(1, 25)
    return frame


def _tone(first: int, seed: int) -> av.AudioFrame:
    frame = av.AudioFrame(format="fltp", layout="mono", samples=1024)
    frame.sample_rate = 48_000
    values = [0.3 * math.sin((440 + 60 * seed) * 2 * math.pi * (first + index) / 48_000) for index in range(1024)]
    frame.planes[0].update(struct.pack("<1024f", *values))
    frame.pts, frame.time_base = first, _fraction(1, 48_000)
    return frame


def _fraction(numerator: int, denominator: int) -> Any:
    from fractions import Fraction

    return Fraction(numerator, denominator)


def _cut(data: bytes, start_s: float) -> list[Clip]:
    found = boxes.BoxSplitter().feed(data)
    init = found[0][1]
    tracks = boxes.parse_init(init)
    video = next(track for track in tracks.values() if track.kind == "video")
    groups: list[list[bytes]] = []
    for _, fragment in found[1:]:
        runs = {run.track_id: run for run in boxes.parse_fragment(fragment, tracks)}
        run = runs.get(video.track_id)
        starts = run is not None and run.samples[0].sync
        if not groups or (starts and run is not None and run.first_decode >= (start_s + 2 * len(groups)) * 90_000):
            groups.append([])
        groups[-1].append(fragment)
    return [Clip(init, tuple(group)) for group in groups]


def tracks_of(clip: Clip) -> dict[str, Track]:
    """Count what a chunk holds, from its boxes."""
    inits = boxes.parse_init(clip.init)
    found: dict[str, list[boxes.Run]] = {}
    for fragment in clip.fragments:
        for run in boxes.parse_fragment(fragment, inits):
            found.setdefault(inits[run.track_id].kind, []).append(run)
    timescale = {track.kind: track.timescale for track in inits.values()}
    return {
        kind: Track(
            codec={"video": "h264", "audio": "aac"}[kind],
            timescale=timescale[kind],
            first_decode=runs[0].first_decode,
            end_decode=runs[-1].end_decode,
            frames_received=sum(len(run.samples) for run in runs),
            frames_written=sum(len(run.samples) for run in runs),
        )
        for kind, runs in found.items()
    }


def signer_of(
    authority: Authority, role: Role, identifier: str, start: dt.datetime | None = None, days: int = 1000
) -> SeedSigner:
    """Make a key certified by ``authority``."""
    key = Ed25519PrivateKey.generate()
    certificate = authority.issue(key.public_key(), role, identifier, start=start, days=days)
    seed = key.private_bytes(serialization.Encoding.Raw, serialization.PrivateFormat.Raw, serialization.NoEncryption())
    return SeedSigner(seed, certificate.public_bytes(serialization.Encoding.DER))


@dataclass(frozen=True)
class Site:
    """An authority with one device and one store."""

    authority: Authority
    device: SeedSigner
    store: SeedSigner
    device_id: str = "sy-0001"
    store_id: str = "store-1"

    @classmethod
    def make(cls, name: str = "鞍山市行政审批局", device_id: str = "sy-0001") -> Site:
        authority = Authority.create(name)
        start = dt.datetime.fromtimestamp(UTC0 / SECOND, dt.UTC) - dt.timedelta(days=30)
        return cls(
            authority,
            signer_of(authority, Role.SIGNING, device_id, start),
            signer_of(authority, Role.RECEIPT, "store-1", start),
            device_id,
        )

    @property
    def anchors(self) -> Anchors:
        return Anchors([self.authority.der])

    @property
    def certificates(self) -> list[bytes]:
        return [self.device.certificate]


@dataclass
class Draft:
    """A record that nobody has signed yet."""

    body: records.Body
    boottime_ns: int
    session: bytes | None
    content: bytes | None = None
    """The file that it brings."""
    clock: str = "synchronised"
    utc_offset_ns: int = UTC0 - BOOT0
    boot: bytes = b"B" * 16
    log: bytes = b"L" * 16
    stream: int = 1
    device: str | None = None
    sequence: int | None = None
    """Only where an attacker sets it; counted otherwise."""
    previous: bytes | None = None
    kind: str | None = None
    """Only for kinds that nobody knows."""

    def changed(self, **fields: Any) -> Draft:
        """Copy with other fields of the body."""
        return replace(self, body=_struct_replace(self.body, **fields))


def _struct_replace(struct_: Any, **fields: Any) -> Any:
    import msgspec

    return msgspec.structs.replace(struct_, **fields)


@dataclass
class Recording:
    """A session's records as signed, with their files."""

    site: Site
    records: list[bytes]
    media: dict[int, bytes]
    """Sequence to content."""
    attestation: bytes | None = None
    withholding: bytes | None = None
    before: list[bytes] = field(default_factory=list)
    """Records of the log in front of the session."""

    @property
    def parsed(self) -> list[records.Record]:
        return [records.parse(message) for message in self.records]

    def at(self, kind: str, index: int = 0) -> int:
        """Position of the ``index``-th record of a kind."""
        return [place for place, record in enumerate(self.parsed) if record.kind == kind][index]

    def copy(self) -> Recording:
        return copy.copy(replace(self, records=list(self.records), media=dict(self.media)))


def stored_form(content: bytes, draft: Draft, media: int, clip: Clip | None, device: str) -> bytes:
    """Return the stored bytes of a file, as the recorder writes them."""
    header = stored.Header(
        device=device,
        log=draft.log,
        media=media,
        kind="chunk" if clip else "details",
        session=draft.session,
        epoch=b"E" * 16,
        sealing="none",
        opened_boottime_ns=draft.boottime_ns,
        boot=draft.boot,
    )
    writer = stored.StoredWriter(header)
    parts = [writer.header]
    if clip is None:
        parts += writer.frame(stored.WHOLE, content)
    else:
        parts += writer.frame(stored.INIT, clip.init)
        for fragment in clip.fragments:
            parts += writer.frame(stored.FRAGMENT, fragment)
    data = b"".join(parts)
    STORED[hashlib.sha256(data).digest()] = data
    return data


def chunk_draft(clip: Clip, number: int, media: int, session: bytes, zero: int = BOOT0, part: int = 0) -> Draft:
    """Draft the record of one chunk."""
    tracks = tracks_of(clip)
    start = min(track.first_decode * SECOND // track.timescale for track in tracks.values())
    end = max(track.end_decode * SECOND // track.timescale for track in tracks.values())
    draft = Draft(records.Body(), zero + end + SECOND // 10, session, clip.content)
    data = stored_form(clip.content, draft, media, clip, "sy-0001")
    draft.body = records.Chunk(
        media=media,
        epoch=b"E" * 16,
        stored_sha256=hashlib.sha256(data).digest(),
        stored_size_bytes=len(data),
        content_sha256=hashlib.sha256(clip.content).digest(),
        content_size_bytes=len(clip.content),
        number=number,
        part=part,
        init_sha256=hashlib.sha256(clip.init).digest(),
        init_size_bytes=len(clip.init),
        fragments=len(clip.fragments),
        start_boottime_ns=zero + start,
        end_boottime_ns=zero + end,
        tracks=tracks,
    )
    return draft


def details_draft(session: bytes, media: int, when: str = "start", boottime: int = BOOT0) -> Draft:
    """Draft a details file."""
    content = cbor.encode({"salt": b"s" * 16, "case": "鞍审罚〔2026〕1号", "media": media})
    draft = Draft(records.Body(), boottime, session, content)
    data = stored_form(content, draft, media, None, "sy-0001")
    draft.body = records.Details(
        media=media,
        epoch=b"E" * 16,
        stored_sha256=hashlib.sha256(data).digest(),
        stored_size_bytes=len(data),
        content_sha256=hashlib.sha256(content).digest(),
        content_size_bytes=len(content),
        when=when,
        author="officer",
    )
    return draft


def before_drafts() -> list[Draft]:
    """Draft what stands in the log before the session."""
    genesis = records.Genesis(
        certificate_sha256=b"c" * 32, stream_name="counter", origin="enrolled", software="liuhen 0.1.0"
    )
    return [Draft(genesis, BOOT0 - 9 * SECOND, None)]


def session_drafts(
    session: bytes = b"S" * 16, count: int = 6, *, gap: bool = False, shift_s: float = 0, close: bool = True
) -> list[Draft]:
    """Draft a plain session: open, details, chunks, a marker, close; with ``gap``, six seconds without picture."""
    media = clips(count)
    later = clips(count, 2 * count + 6.0) if gap else ()
    zero = round(BOOT0 + shift_s * SECOND)
    opening = records.SessionOpen(
        mode="video",
        zero_boottime_ns=zero,
        policy_sha256=POLICY,
        device_head_sequence=7,
        device_head_sha256=b"h" * 32,
        trigger="command",
        matter="on_site_inspection",
    )
    drafts = [Draft(opening, zero, session), details_draft(session, 0, boottime=zero)]
    for number, clip in enumerate(media):
        drafts.append(chunk_draft(clip, number, number + 1, session, zero))
        if number == 1:
            at = drafts[-1].boottime_ns
            drafts.append(Draft(records.Marker(marker="credentials", at_boottime_ns=at, basis="declared"), at, session))
    if gap:
        last, first = drafts[-1], chunk_draft(later[0], count, count + 1, session, zero)
        assert isinstance(last.body, records.Chunk)
        assert isinstance(first.body, records.Chunk)
        body = records.Gap(
            cause="camera",
            tracks=["audio", "video"],
            state="whole",
            start_boottime_ns=last.body.end_boottime_ns,
            end_boottime_ns=first.body.start_boottime_ns,
        )
        drafts.append(Draft(body, first.body.start_boottime_ns, session))
        drafts += [
            chunk_draft(clip, count + index, count + 1 + index, session, zero) for index, clip in enumerate(later)
        ]
    if close:
        drafts.append(close_draft(drafts))
    return drafts


def close_draft(drafts: list[Draft]) -> Draft:
    """Draft the session-close of the drafts of a session that begins at sequence 1."""
    chunks = [draft.body for draft in drafts if isinstance(draft.body, records.Chunk)]
    end = chunks[-1].end_boottime_ns
    body = records.SessionClose(
        reason="done",
        closed_by="command",
        open_sequence=1,
        chunks=len(chunks),
        end_boottime_ns=end,
        statement=True,
        device_head_sequence=9,
        device_head_sha256=b"i" * 32,
    )
    return Draft(body, max(end, drafts[-1].boottime_ns) + SECOND // 5, drafts[-1].session)


def sign_all(
    drafts: Iterable[Draft],
    site: Site,
    signer: SeedSigner | None = None,
    start: int = 0,
    previous: bytes = records.ZERO_HASH,
) -> tuple[list[bytes], dict[int, bytes]]:
    """Chain and sign drafts; return the messages and the files by sequence."""
    messages: list[bytes] = []
    media: dict[int, bytes] = {}
    for sequence, draft in enumerate(drafts, start):
        number = sequence if draft.sequence is None else draft.sequence
        payload = records.encode_payload(
            device=draft.device or site.device_id,
            log=draft.log,
            stream=draft.stream,
            sequence=number,
            previous_sha256=previous if draft.previous is None else draft.previous,
            session=draft.session,
            utc_ns=draft.boottime_ns + draft.utc_offset_ns,
            boottime_ns=draft.boottime_ns,
            boot=draft.boot,
            clock=draft.clock,
            body=draft.body,
        )
        if draft.kind is not None:
            payload = cbor.encode(cbor.decode_map(payload) | {"kind": draft.kind})
        messages.append(cose.sign(payload, signer or site.device))
        previous = cose.digest(messages[-1])
        if draft.content is not None:
            media[number] = draft.content
    return messages, media


def record(site: Site, drafts: list[Draft] | None = None, *, attested: bool = True, **options: Any) -> Recording:
    """Sign a session behind its log's first records; with ``attested`` the store has received it all."""
    before = before_drafts()
    drafts = session_drafts(**options) if drafts is None else drafts
    messages, media = sign_all([*before, *drafts], site)
    recording = Recording(site, messages[len(before) :], media, before=messages[: len(before)])
    if attested:
        recording.attestation = attest(recording)
    return recording


def attest(recording: Recording, site: Site | None = None, **changes: Any) -> bytes:
    """Let the store attest what it received: the whole session, a minute after its last record."""
    site = site or recording.site
    parsed = recording.parsed
    own = [item for item in parsed if item.session == parsed[0].session]
    closing = next((item for item in own if item.kind == "session-close"), None)
    last = closing or own[-1]
    received = max(item.utc_ns for item in parsed) + 60 * SECOND
    fields: dict[str, Any] = {
        "store": site.store_id,
        "utc_ns": received + SECOND,
        "device": own[0].device,
        "log": own[0].log,
        "stream": own[0].stream,
        "session": own[0].session,
        "first_sequence": own[0].sequence,
        "first_sha256": own[0].sha256,
        "last_sequence": last.sequence,
        "last_sha256": last.sha256,
        "closed": closing is not None,
        "head_sequence": parsed[-1].sequence,
        "head_sha256": parsed[-1].sha256,
        "received": [(own[0].sequence, last.sequence, received)],
        "later": [item.sequence for item in own if item.sequence > last.sequence],
        "later_sha256": [item.sha256 for item in own if item.sequence > last.sequence],
        "media_held": [(own[0].sequence, own[-1].sequence)],
    }
    return statements.sign(statements.Attestation(**fields | changes), site.store)


def withhold(recording: Recording, sequences: list[tuple[int, int]], site: Site | None = None, **changes: Any) -> bytes:
    """Let the store sign that files are lawfully not given."""
    site = site or recording.site
    first = recording.parsed[0]
    fields: dict[str, Any] = {
        "store": site.store_id,
        "utc_ns": UTC0 + 3600 * SECOND,
        "device": first.device,
        "log": first.log,
        "session": first.session,
        "sequences": sequences,
        "ground": "trade_secret",
        "decision": "鞍审不予〔2026〕3号",
    }
    return statements.sign(statements.Withholding(**fields | changes), site.store)


def alter(message: bytes, *, part: str = "payload", index: int = -1) -> bytes:
    """Flip one bit of a signed message: in its ``payload`` or its ``signature``."""
    parsed = cose.parse(message, 1 << 22)
    target = parsed.payload if part == "payload" else parsed.signature
    at = message.index(target) + (index if index >= 0 else len(target) // 2)
    return message[:at] + bytes([message[at] ^ 1]) + message[at + 1 :]


def payload_changed(message: bytes, signer: SeedSigner | None = None, **fields: Any) -> bytes:
    """Change envelope fields of a record; signed anew with ``signer``, else with the old signature."""
    import cbor2

    parsed = cose.parse(message, 1 << 22)
    payload = cbor.encode(cose.payload_map(parsed) | fields)
    if signer is not None:
        return cose.sign(payload, signer, parsed.chain)
    return cbor2.dumps(cbor2.CBORTag(18, [parsed.protected, {}, payload, parsed.signature]), canonical=True)
