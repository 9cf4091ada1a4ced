"""Public test vectors: Ed25519 of Wycheproof, COSE of the cose-wg."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cbor2
import pytest

from keys import cose
from keys.errors import BadSignatureError, MalformedMessageError

VECTORS = Path(__file__).parents[2].parent / "shared/vectors"
WYCHEPROOF = VECTORS / "ed25519/wycheproof_ed25519_test.json"

pytestmark = pytest.mark.skipif(not WYCHEPROOF.exists(), reason=f"no test vectors in {VECTORS}")


def accepted(public_key: bytes, signature: bytes, signed: bytes) -> bool:
    try:
        cose.verify_raw(public_key, signature, signed)
    except BadSignatureError:
        return False
    return True


def test_wycheproof() -> None:
    tests = 0
    for group in json.loads(WYCHEPROOF.read_text())["testGroups"]:
        public_key = bytes.fromhex(group["publicKey"]["pk"])
        for one in group["tests"]:
            good = accepted(public_key, bytes.fromhex(one["sig"]), bytes.fromhex(one["msg"]))
            assert good == (one["result"] == "valid"), (one["tcId"], one["comment"], one["flags"])
            tests += 1
    assert tests == 151


def load(name: str) -> dict[str, Any]:
    return dict(json.loads((VECTORS / "cose" / f"{name}.json").read_text()))


def test_sig_structure_is_that_of_the_cose_examples() -> None:
    """RFC 9052, 4.4: the bytes under the signature, and Ed25519 over them."""
    vector = load("eddsa-examples-eddsa-sig-01")
    outer = cbor2.loads(bytes.fromhex(vector["output"]["cbor"]))
    protected, _, payload, signature = outer.value
    signed = cose.to_be_signed(protected, payload, b"")
    assert signed.hex().upper() == vector["intermediates"]["ToBeSign_hex"]
    assert accepted(bytes.fromhex(vector["input"]["sign0"]["key"]["x_hex"]), signature, signed)
    assert not accepted(bytes.fromhex(vector["input"]["sign0"]["key"]["x_hex"]), signature, signed + b"x")


def test_external_data_is_under_the_signature() -> None:
    vector = load("sign1-tests-sign-pass-02")
    outer = cbor2.loads(bytes.fromhex(vector["output"]["cbor"]))
    protected, _, payload, _ = outer.value
    external = bytes.fromhex(vector["input"]["sign0"]["external"])
    assert cose.to_be_signed(protected, payload, external).hex().upper() == vector["intermediates"]["ToBeSign_hex"]


@pytest.mark.parametrize(
    "path", sorted((VECTORS / "cose").glob("*.json")) if VECTORS.exists() else [], ids=lambda path: path.stem
)
def test_messages_of_any_other_form_are_refused(path: Path) -> None:
    """Valid COSE of another algorithm, another tag or with other headers is none of ours."""
    data = bytes.fromhex(json.loads(path.read_text())["output"]["cbor"])
    with pytest.raises(MalformedMessageError):
        cose.parse(data, 1 << 16)
