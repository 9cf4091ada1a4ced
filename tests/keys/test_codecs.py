"""CBOR and COSE codecs: one value, one encoding; whatever comes in, a typed error or a value comes out."""

from __future__ import annotations

import cbor2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keys import cbor, cose
from keys.authority import Authority
from keys.certificates import Role
from keys.errors import BadSignatureError, MalformedMessageError, NotDeterministicError
from recorder.evidence import records, sequence, statements
from recorder.evidence.errors import RecordError, StatementError
from tests.support import forge

SCALARS = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text(max_size=20) | st.binary(max_size=40)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
SIGNER = forge.signer_of(Authority.create("agency"), Role.SIGNING, "sy-0001")


@given(VALUES)
def test_decode_is_the_inverse_of_encode(value: object) -> None:
    assert cbor.decode(cbor.encode(value)) == value


@given(st.binary(max_size=200))
def test_decode_accepts_exactly_what_encode_writes(data: bytes) -> None:
    try:
        value = cbor.decode(data)
    except NotDeterministicError:
        return
    assert cbor.encode(value) == data


@pytest.mark.parametrize(
    "data",
    [
        "1801",  # 1 in two bytes
        "f93c00",  # a float
        "fb3ff0000000000000",
        "9f01ff",  # indefinite
        "bf616101ff",
        "5f4101ff",
        "a2616101616101",  # duplicate key
        "a2616201616101",  # keys out of order
        "a10101",  # a key that is not text
        "c074323031332d30332d32315432303a30343a30305a",  # a date
        "c249010000000000000000",  # a bignum
        "f7",  # undefined
        "01" * 2,  # two items
        "62c328",  # not UTF-8
        "",
        "5b7fffffffffffffff",  # an absurd length
        "81" * 64 + "01",  # too deep
    ],
)
def test_other_encodings_are_refused(data: str) -> None:
    with pytest.raises(NotDeterministicError):
        cbor.decode(bytes.fromhex(data))


@pytest.mark.parametrize("value", [1.5, {1: 2}, {"a": {1}}, 2**64, -(2**63) - 1, object()])
def test_what_has_no_place_in_a_record_is_not_encoded(value: object) -> None:
    with pytest.raises(NotDeterministicError):
        cbor.encode(value)


@given(st.dictionaries(st.text(max_size=8), SCALARS, max_size=5))
def test_signing_round_trip(payload: dict[str, object]) -> None:
    encoded = cbor.encode(payload)
    message = cose.sign(encoded, SIGNER, (SIGNER.certificate,))
    parsed = cose.parse(message, 1 << 16)
    assert (parsed.payload, parsed.kid, parsed.chain) == (encoded, SIGNER.kid, (SIGNER.certificate,))
    cose.verify(parsed, SIGNER.public_key)
    assert cose.payload_map(parsed) == payload


MESSAGE = cose.sign(cbor.encode({"v": 1, "type": "record"}), SIGNER)


@given(st.integers(0, len(MESSAGE) * 8 - 1))
def test_no_bit_of_a_message_can_be_flipped(bit: int) -> None:
    data = bytearray(MESSAGE)
    data[bit // 8] ^= 1 << bit % 8
    try:
        parsed = cose.parse(bytes(data), 4096)
    except MalformedMessageError:
        return
    if parsed.kid != SIGNER.kid:
        return  # another key is named: nobody would check it with this one
    with pytest.raises(BadSignatureError):
        cose.verify(parsed, SIGNER.public_key)


@settings(max_examples=300)
@given(st.binary(max_size=300))
def test_garbage_gives_typed_errors(data: bytes) -> None:
    for read, error in (
        (lambda: cose.parse(data, 4096), MalformedMessageError),
        (lambda: records.parse(data), RecordError),
        (lambda: statements.parse(data, statements.Attestation), StatementError),
        (lambda: list(sequence.split(data, 100)), RecordError),
    ):
        try:
            read()
        except error:
            continue


@given(st.lists(VALUES, max_size=6))
def test_a_sequence_is_split_where_it_was_joined(values: list[object]) -> None:
    items = [cbor2.dumps(cbor2.CBORTag(18, [cbor.encode(value)]), canonical=True) for value in values]
    assert list(sequence.split(b"".join(items), 1 << 16)) == items


def test_messages_of_other_shapes_are_refused() -> None:
    protected, payload, signature = cose.parse(MESSAGE, 4096)[3], cbor.encode({}), bytes(64)
    header = cbor2.dumps({1: -8, 4: SIGNER.kid}, canonical=True)
    assert header == protected
    shapes: list[object] = [
        cbor2.CBORTag(98, [protected, {}, payload, signature]),
        [protected, {}, payload, signature],
        cbor2.CBORTag(18, [protected, {}, payload]),
        cbor2.CBORTag(18, [protected, {4: SIGNER.kid}, payload, signature]),
        cbor2.CBORTag(18, [protected, [], payload, signature]),
        cbor2.CBORTag(18, [protected, {33: []}, payload, signature]),
        cbor2.CBORTag(18, [protected, {33: [1]}, payload, signature]),
        cbor2.CBORTag(18, [protected, {33: [b"x"] * 5}, payload, signature]),
        cbor2.CBORTag(18, [protected, {}, payload, signature[:63]]),
        cbor2.CBORTag(18, [protected, {}, None, signature]),
        cbor2.CBORTag(18, [cbor2.dumps({1: -7, 4: SIGNER.kid}), {}, payload, signature]),
        cbor2.CBORTag(18, [cbor2.dumps({1: -8}), {}, payload, signature]),
        cbor2.CBORTag(18, [cbor2.dumps({4: SIGNER.kid, 1: -8}), {}, payload, signature]),
        cbor2.CBORTag(18, [cbor2.dumps({1: -8, 4: b"short"}), {}, payload, signature]),
        cbor2.CBORTag(18, [b"", {}, payload, signature]),
    ]
    for shape in shapes:
        with pytest.raises(MalformedMessageError):
            cose.parse(cbor2.dumps(shape), 4096)
    with pytest.raises(MalformedMessageError):
        cose.parse(MESSAGE, len(MESSAGE) - 1)
    cose.parse(MESSAGE, len(MESSAGE))
