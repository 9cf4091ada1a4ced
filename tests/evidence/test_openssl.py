"""One record and one chunk, checked by openssl and sha256sum alone, as docs/evidence-format.md says."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from keys import cose

if TYPE_CHECKING:
    from pathlib import Path

    from tests.evidence.conftest import Sample

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")


def head(major: int, length: int) -> bytes:
    """A CBOR head written by hand, so that no library of ours takes part."""
    if length < 24:
        return bytes([major << 5 | length])
    if length < 256:
        return bytes([major << 5 | 24, length])
    return bytes([major << 5 | 25]) + length.to_bytes(2, "big")


def take_apart(message: bytes) -> tuple[bytes, bytes, bytes]:
    """Protected header, payload and signature of a record, by their place alone."""
    assert message[:2] == b"\xd2\x84"
    assert message[2:4] == b"\x58\x26"
    protected = message[4:42]
    assert message[42:43] == b"\xa0"
    assert message[43] == 0x59
    length = int.from_bytes(message[44:46], "big")
    payload = message[46 : 46 + length]
    assert message[46 + length : 48 + length] == b"\x58\x40"
    return protected, payload, message[48 + length :]


def check(tmp: Path, certificate: bytes, protected: bytes, payload: bytes, signature: bytes) -> bool:
    signed = (
        b"\x84\x6aSignature1" + head(2, len(protected)) + protected + b"\x48liuhen/1" + head(2, len(payload)) + payload
    )
    (tmp / "signed").write_bytes(signed)
    (tmp / "signature").write_bytes(signature)
    (tmp / "certificate.der").write_bytes(certificate)
    subprocess.run(
        ["openssl", "x509", "-inform", "DER", "-in", "certificate.der", "-pubkey", "-noout", "-out", "key.pem"],
        cwd=tmp,
        check=True,
    )
    done = subprocess.run(
        [
            "openssl",
            "pkeyutl",
            "-verify",
            "-pubin",
            "-inkey",
            "key.pem",
            "-rawin",
            "-in",
            "signed",
            "-sigfile",
            "signature",
        ],
        cwd=tmp,
        check=False,
        capture_output=True,
        text=True,
    )
    return done.returncode == 0 and "Signature Verified Successfully" in done.stdout


def test_one_record_by_openssl(honest: Sample, tmp_path: Path) -> None:
    recording = honest.recording
    message = recording.records[recording.at("chunk")]
    protected, payload, signature = take_apart(message)
    parsed = cose.parse(message, 4096)
    assert (protected, payload, signature) == (parsed.protected, parsed.payload, parsed.signature)
    (certificate,) = (path.read_bytes() for path in (honest.folder / "evidence/certificates").iterdir())
    assert check(tmp_path, certificate, protected, payload, signature)
    altered = payload[:-1] + bytes([payload[-1] ^ 1])
    assert not check(tmp_path, certificate, protected, altered, signature)


def test_chain_by_sha256sum(honest: Sample, tmp_path: Path) -> None:
    recording = honest.recording
    (tmp_path / "first").write_bytes(recording.records[0])
    digest = subprocess.run(["sha256sum", "first"], cwd=tmp_path, check=True, capture_output=True, text=True).stdout[
        :64
    ]
    assert bytes.fromhex(digest) == recording.parsed[1].previous_sha256
    # In the bytes of the next record the digest stands behind the text "prev".
    assert b"dprev\x58\x20" + bytes.fromhex(digest) in recording.records[1]


def test_one_chunk_by_sha256sum(honest: Sample) -> None:
    recording = honest.recording
    message = recording.records[recording.at("chunk")]
    path = min((honest.folder / "evidence/media").glob("*.mp4"))
    digest = subprocess.run(["sha256sum", path], check=True, capture_output=True, text=True).stdout[:64]
    assert digest == path.stem
    marks = [one.index(b"\x6econtent_sha256\x58\x20") for one in recording.records if b"content_sha256" in one]
    assert marks
    assert any(bytes.fromhex(digest) in one for one in recording.records)
    assert b"content_sha256" in message
