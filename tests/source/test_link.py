from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keys import cbor
from recorder.evidence.lens_code import MAX_TEXT_CHARACTERS
from recorder.source import link
from recorder.source.errors import LinkError

ID = bytes(range(16))
MESSAGES: list[tuple[link.Message, bytes]] = [
    (link.Hello(stream="one", source="camera", pid=7, tracks=["video"], software="liuhen 0"), b""),
    (
        link.Hello(
            stream="一号",
            source="camera",
            pid=7,
            tracks=["video", "audio"],
            software="liuhen 0",
            instance=ID,
            session=ID,
            oldest=3,
            next=9,
        ),
        b"",
    ),
    (link.Welcome(), b""),
    (link.Welcome(instance=ID, next=4), b""),
    (link.Start(session=ID, zero_boottime_ns=5_000_000_000, track_ids={"video": 1, "audio": 2}, wait_ms=300), b""),
    (link.Init(instance=ID, session=ID, tracks={"video": link.TrackForm(codec="h264", timescale=90_000)}), b"init"),
    (
        link.Fragment(
            instance=ID,
            number=0,
            key=True,
            tracks={
                "video": link.Counts(received=12, written=10, discarded={"before-key-frame": 2}, expected=12),
                "audio": link.Counts(received=20, written=20, peak_millibels=-1200, rms_millibels=-3000),
            },
        ),
        b"moof" * 1000,
    ),
    (link.Ack(instance=ID, number=0), b""),
    (link.Event(event="stalled", tracks=["video"], cause="camera_network", detail="x", boottime_ns=1), b""),
    (link.Stop(session=ID), b""),
    (link.Ended(instance=ID, session=ID, next=1), b""),
    (link.Listen(number=7, played_boottime_ns=5), b"pattern"),
    (
        link.Heard(number=7, heard=False, companion=True, delay_ns=-900, level_millibels=-2100, score_permille=410),
        b"",
    ),
    (link.Take(number=3), b""),
    (link.Taken(number=3, taken_boottime_ns=8), b"jpeg"),
    (link.NotTaken(number=3, detail="no picture"), b""),
    (link.Probe(number=8, length_ms=3000), b""),
    (link.Probed(number=8, frames={"video": 75}, peak_millibels=-1200), b""),
    (link.Shown(taken_boottime_ns=9), b"LIUHEN1:6BFOXN"),
]


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_messages_survive_pieces_of_any_size(data: st.DataObject) -> None:
    sent = data.draw(st.lists(st.sampled_from(MESSAGES), min_size=1, max_size=6))
    stream = b"".join(link.encode(message, payload) for message, payload in sent)
    decoder = link.Decoder()
    got: list[tuple[link.Message, bytes]] = []
    at = 0
    while at < len(stream):
        size = data.draw(st.integers(1, len(stream)))
        got += decoder.feed(stream[at : at + size])
        at += size
    assert got == sent


@given(st.binary(max_size=300))
@settings(deadline=None)
def test_any_bytes_are_messages_or_refused(data: bytes) -> None:
    try:
        link.Decoder().feed(data)
    except LinkError:
        return


@given(st.sampled_from(MESSAGES), st.integers(0, 10_000), st.integers(1, 255))
@settings(deadline=None)
def test_a_changed_byte_raises_nothing_but_link_error(one: tuple[link.Message, bytes], at: int, flip: int) -> None:
    stream = bytearray(link.encode(*one))
    stream[at % len(stream)] ^= flip
    try:
        link.Decoder().feed(bytes(stream))
    except LinkError:
        return


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text(max_size=8) | st.binary(max_size=17),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["video", "v", "x"]), inner),
        max_leaves=8,
    ),
    st.sampled_from(sorted(link.MESSAGES)),
    st.data(),
)
@settings(deadline=None)
def test_wrong_fields_raise_nothing_but_link_error(value: object, name: str, data: st.DataObject) -> None:
    field = data.draw(st.sampled_from(link.MESSAGES[name].__struct_fields__))
    good = {link._NAME_OF[type(message)]: (message, payload) for message, payload in MESSAGES}[name]
    header = cbor.encode(link.plain(good[0]) | {"type": name, field: value})
    stream = struct.pack(">II", len(header), len(good[1])) + header + good[1]
    try:
        link.Decoder().feed(stream)
    except LinkError:
        return


def _raw(fields: dict[str, object], payload: bytes = b"") -> bytes:
    header = cbor.encode(fields)
    return struct.pack(">II", len(header), len(payload)) + header + payload


@pytest.mark.parametrize(
    "stream",
    [
        struct.pack(">II", 0, 0),
        struct.pack(">II", link.MAX_HEADER_SIZE_BYTES + 1, 0),
        struct.pack(">II", 10, link.MAX_PAYLOAD_SIZE_BYTES + 1),
        _raw({"type": "ack", "instance": ID[:-1], "number": 1}),
        _raw({"type": "shown", "taken_boottime_ns": 1}),
        _raw({"type": "shown", "taken_boottime_ns": 1}, b"A" * (MAX_TEXT_CHARACTERS + 1)),
        _raw({"type": "shown", "taken_boottime_ns": 1}, "LIUHEN1:留痕".encode()),
        _raw({"type": "ack", "instance": ID, "number": -1}),
        _raw({"type": "ack", "instance": ID, "number": 1 << 63}),
        _raw({"type": "ack", "instance": ID}),
        _raw({"type": "ack", "instance": ID, "number": 1}, b"payload"),
        _raw({"type": "fragment", "instance": ID, "number": 1, "key": True, "tracks": {"video": {}}}),
        _raw({"type": "fragment", "instance": ID, "number": 1, "key": True, "tracks": {}}, b"x"),
        _raw({"type": "fragment", "instance": ID, "number": 1, "key": True, "tracks": {"text": {}}}, b"x"),
        _raw(
            {"type": "fragment", "instance": ID, "number": 1, "key": True, "tracks": {"video": {"written": -1}}}, b"x"
        ),
        _raw({"type": "start", "session": ID, "zero_boottime_ns": 1, "track_ids": {"video": 0}}),
        _raw({"type": "hello", "v": 2, "stream": "a", "source": "b", "pid": 1, "tracks": ["video"], "software": "x"}),
        _raw({"type": "event", "event": "x" * 1001, "tracks": ["video"], "cause": "camera", "boottime_ns": 1}),
        _raw({"type": "format-disk"}),
        _raw({"v": 1}),
    ],
)
def test_refused(stream: bytes) -> None:
    with pytest.raises(LinkError):
        link.Decoder().feed(stream)


def test_what_would_be_refused_is_not_sent() -> None:
    with pytest.raises(LinkError):
        link.encode(link.Ack(instance=b"short", number=1))
    with pytest.raises(LinkError):
        link.encode(link.Ack(instance=ID, number=1), b"payload")
    with pytest.raises(LinkError):
        link.encode(link.Fragment(instance=ID, number=1, key=True, tracks={"video": link.Counts()}))


def test_detail_is_ascii_and_one_line() -> None:
    assert link.short("摄像机\n refused\tit" + "x" * 500) == ("??? refused it" + "x" * 500)[:200]
