"""A device that signs nonsense with its own good key: the verdict may be anything, but it is a verdict, and soon."""

from __future__ import annotations

import contextlib
import hashlib
import struct
import time
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from keys import cbor, cose
from recorder.evidence import accounting, boxes, film, records, report, verdict
from recorder.evidence.errors import BoxError
from tests.support import forge
from tests.support.forge import Site

SITE = Site.make()
NUMBERS = st.sampled_from([0, 1, -1, 2**31, 2**53, 2**62, 2**63 - 1, 2**64 - 1, -(2**63)]) | st.integers(
    -(2**63), 2**64 - 1
)
TEXTS = st.text(max_size=40) | st.sampled_from(
    ["{sequence}", "{0.__class__}", "<script>", "\x00\n\r", "断", "video", "camera"]
)
VALUES = NUMBERS | TEXTS | st.binary(max_size=40) | st.booleans() | st.none() | st.lists(NUMBERS, max_size=3)


def leaves(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a payload where a value stands."""
    if isinstance(value, dict):
        return [place for key, inner in value.items() for place in leaves(inner, (*path, key))]
    if isinstance(value, list):
        return [place for index, inner in enumerate(value) for place in leaves(inner, (*path, index))]
    return [path]


def judge(recording: forge.Recording) -> verdict.Verdict:
    """Judge, compose the film and write the texts, as for a package."""

    def contents(files: Any) -> Any:
        for record in files:
            data = recording.media.get(record.sequence)
            yield accounting.NOT_HERE if data is None else accounting.Content(data, hashlib.sha256(data).digest())

    evidence = verdict.Evidence(
        recording.records, SITE.certificates, contents, recording.attestation, recording.withholding
    )

    def watch(timeline: Any, attestation: Any, withholding: Any) -> Any:
        assert b"<script" not in report.render(timeline, attestation, withholding)[report.PAGE_NAME]
        composer = film.FilmComposer(timeline)

        def chunk(index: int, content: bytes | None) -> None:
            with contextlib.suppress(BoxError):
                assert sum(len(data) for _, data in composer.add(index, content)) < 4 << 20

        return chunk

    result = verdict.judge(evidence, SITE.anchors, watch)
    for finding in (*result.findings, *result.notes):
        assert finding.sentence("zh")
        assert finding.sentence("en")
    return result


@pytest.fixture(scope="module")
def recording() -> forge.Recording:
    return forge.record(SITE, count=3, gap=True)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_value_in_any_field(recording: forge.Recording, data: st.DataObject) -> None:
    hostile = recording.copy()
    for _ in range(data.draw(st.integers(1, 3))):
        index = data.draw(st.integers(0, len(hostile.records) - 1))
        payload: Any = cose.payload_map(cose.parse(hostile.records[index], records.MAX_RECORD_SIZE_BYTES))
        path = data.draw(st.sampled_from(leaves(payload)))
        place = payload
        for step in path[:-1]:
            place = place[step]
        place[path[-1]] = data.draw(VALUES)
        hostile.records[index] = cose.sign(cbor.encode(payload), SITE.device)
    judge(hostile)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_value_in_any_field_of_a_statement(recording: forge.Recording, data: st.DataObject) -> None:
    hostile = recording.copy()
    withheld = data.draw(st.booleans())
    message = forge.withhold(hostile, [(3, 4)]) if withheld else hostile.attestation
    assert message is not None
    payload: Any = cose.payload_map(cose.parse(message, 1 << 20))
    path = data.draw(st.sampled_from(leaves(payload)))
    place = payload
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = data.draw(VALUES)
    signed = cose.sign(cbor.encode(payload), SITE.store, (SITE.store.certificate,))
    if withheld:
        hostile.withholding = signed
    else:
        hostile.attestation = signed
    judge(hostile)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.integers(0, 90_000), byte=st.integers(0, 255), head=st.booleans())
def test_any_byte_in_signed_media(recording: forge.Recording, at: int, byte: int, head: bool) -> None:
    """The boxes themselves are hostile, and the device has signed them."""
    clip = forge.clips(2)[0]
    content = bytearray(clip.content)
    content[at % (len(clip.init) + 2000 if head else len(content))] = byte
    drafts = forge.session_drafts(count=2)
    data = bytes(content)
    drafts[2].content = data
    drafts[2] = drafts[2].changed(
        content_sha256=hashlib.sha256(data).digest(), init_sha256=hashlib.sha256(data[: len(clip.init)]).digest()
    )
    judge(forge.record(SITE, drafts))
    del recording


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.permutations(range(11)))
def test_any_order_of_records(recording: forge.Recording, order: list[int]) -> None:
    hostile = recording.copy()
    hostile.records = [hostile.records[index] for index in order]
    assert judge(hostile).exit_code == (0 if order == sorted(order) else 1)


def bomb(truns: int, trafs: int = 1) -> bytes:
    """A fragment whose samples have no bytes: eight bytes of a trun claim a hundred thousand."""
    trun = film.box(b"trun", struct.pack(">II", 0, boxes.MAX_SAMPLES))
    traf = film.box(
        b"traf",
        film.box(b"tfhd", struct.pack(">II", 0x020000 | 0x10, 1), bytes(4)),
        film.box(b"tfdt", struct.pack(">IQ", 1 << 24, 0)),
        trun * truns,
    )
    return film.box(b"moof", film.box(b"mfhd", bytes(8)), traf * trafs) + film.box(b"mdat")


def test_samples_without_bytes_are_bounded() -> None:
    clip = forge.clips(2)[0]
    tracks = boxes.parse_init(clip.init)
    with pytest.raises(BoxError):
        boxes.parse_fragment(bomb(2), tracks)
    drafts = forge.session_drafts(count=2)
    data = clip.init + bomb(1) * 3000
    digest = hashlib.sha256(data).digest()
    drafts[2].content = data
    drafts[2] = drafts[2].changed(content_sha256=digest, content_size_bytes=len(data))
    began = time.monotonic()
    codes = [finding.code for finding in judge(forge.record(SITE, drafts)).findings]
    assert "media-unreadable" in codes
    assert time.monotonic() - began < 20


def test_an_init_segment_of_absurd_length_is_not_walked() -> None:
    with pytest.raises(BoxError, match="init segment"):
        boxes.parse_init(forge.clips(2)[0].init + film.box(b"free") * (1 << 20))
