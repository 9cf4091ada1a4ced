"""Deterministic CBOR: one value, one encoding (RFC 8949, 4.2.1).

Allowed are maps with text keys (the two integer labels of a COSE header aside), arrays, text, byte strings, integers
of 64 bits, true, false and null. Floats, tags, undefined, indefinite lengths and duplicate keys are refused: two
programs could disagree about them, and evidence must have one reading.
"""

from __future__ import annotations

from typing import TypeAlias

import cbor2

from keys.errors import NotDeterministicError

Value: TypeAlias = "bool | int | str | bytes | list[Value] | dict[str, Value] | None"

MAX_DEPTH = 12
"""Deepest nesting accepted; our own records need five."""

_INT_MIN, _INT_MAX = -(2**63), 2**64 - 1


def encode(value: object) -> bytes:
    """Return the deterministic encoding of ``value``.

    Raises:
        NotDeterministicError: ``value`` holds something that has no place in a record (a float, a tag, a set …).
    """
    _check(value, 0)
    return cbor2.dumps(value, canonical=True)


def decode(data: bytes) -> Value:
    """Return the value that ``data`` encodes; ``data`` must be exactly its deterministic encoding.

    Raises:
        NotDeterministicError: anything else, trailing bytes included.
    """
    try:
        value: Value = cbor2.loads(data, max_depth=MAX_DEPTH, allow_indefinite=False, allow_duplicate_keys=False)
    # cbor2 turns tags into Python objects and these constructors raise what they like; any of it means "refused".
    except Exception as error:
        raise NotDeterministicError(f"not readable as CBOR: {error}") from error
    _check(value, 0)
    if cbor2.dumps(value, canonical=True) != data:
        raise NotDeterministicError("readable, but not the deterministic encoding of its content")
    return value


def decode_map(data: bytes) -> dict[str, Value]:
    """Like :func:`decode`, for a map with text keys.

    Raises:
        NotDeterministicError: ``data`` is not such a map.
    """
    value = decode(data)
    if not isinstance(value, dict):
        raise NotDeterministicError("a map was expected")
    return value


def _check(value: object, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise NotDeterministicError(f"nested deeper than {MAX_DEPTH}")
    if value is None or isinstance(value, bool | str | bytes):
        return
    if isinstance(value, int):
        if not _INT_MIN <= value <= _INT_MAX:
            raise NotDeterministicError("an integer of more than 64 bits")
        return
    if isinstance(value, list | tuple):
        for item in value:
            _check(item, depth + 1)
        return
    if isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                raise NotDeterministicError("a map key that is not text")
            _check(item, depth + 1)
        return
    raise NotDeterministicError(f"{type(value).__name__} has no place here")
