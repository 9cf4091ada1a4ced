"""The stored form of a media file: what lies on the device's disk, is sent, and lies at the centre.

::

    header  = magic (8 bytes) | length (u32) | header map (deterministic CBOR)
    frame   = payload length (u32) | type (u8) | payload | stored digest (32) | content digest (32)

The *stored digest* of a frame is the SHA-256 of all bytes of the file before it; the *content digest* the SHA-256 of
all content so far (init, fragments, or the one whole file; accounts are not content). All integers are big-endian.
A crash leaves a torn tail; :func:`scan` keeps the frames whose stored digest agrees, which needs neither a key nor any
parsing of what is inside. An *account* stands before the fragment that it includes, so a file that ends on a whole
fragment always says what it holds.
"""

from __future__ import annotations

import hashlib
import io
import struct
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from keys import cbor
from keys.errors import NotDeterministicError
from recorder.evidence.errors import StoredFormatError
from recorder.evidence.records import Track, plain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MAGIC: Final = b"LIUHEN\x00\x01"
MAX_HEADER_SIZE_BYTES: Final = 4096
DIGEST_SIZE_BYTES: Final = 32
_FRAME = struct.Struct(">IB")

INIT: Final = 1
"""ftyp and moov of the chunk."""
FRAGMENT: Final = 2
"""One moof and its mdat."""
ACCOUNT: Final = 3
"""An :class:`Account`, in clear even when the rest is sealed; holds times and counts only."""
WHOLE: Final = 4
"""The one content frame of a details or photo file."""

SEALING_NONE: Final = "none"
SEALING_SECRETSTREAM: Final = "xchacha20poly1305-secretstream"
SECRETSTREAM_OVERHEAD_BYTES: Final = 17
"""How much longer a sealed payload is than its content."""

MAX_PAYLOAD_SIZE_BYTES: Final = {INIT: 64 << 10, FRAGMENT: 16 << 20, ACCOUNT: 8 << 10, WHOLE: 48 << 20}


class Header(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=False):
    """What the file says of itself, before anything is signed."""

    v: int = 1
    device: str
    log: bytes
    media: int
    kind: str
    """``chunk``, ``details`` or ``photo``."""
    session: bytes | None = None
    epoch: bytes
    sealing: str
    opened_boottime_ns: int
    boot: bytes
    stream_header: bytes | None = None
    """secretstream header, 24 bytes, when sealed."""


class Account(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the chunk holds once the next fragment is in it: all that its record needs, besides the digests."""

    sources: dict[str, tuple[bytes, int]]
    """Per source of the stream: its run (16 random bytes) and the number of its newest fragment that is in the log."""
    number: int
    part: int
    continues: bool = False
    init_size_bytes: int
    fragments: int
    start_boottime_ns: int
    end_boottime_ns: int
    tracks: dict[str, Track]


class Frame(NamedTuple):
    """One whole frame of a stored file."""

    type: int
    payload: bytes
    end_offset: int
    """Offset behind the frame."""
    stored_sha256: bytes
    """SHA-256 of the file cut at ``end_offset``."""
    content_sha256: bytes
    """Running digest of the content, this frame included."""


class StoredWriter:
    """Turns content into the bytes of a stored file. It writes nothing: the caller appends what it returns."""

    def __init__(self, header: Header) -> None:
        encoded = cbor.encode(plain(header) | {"v": header.v})
        self._stored = hashlib.sha256()
        self._content = hashlib.sha256()
        self.header = MAGIC + struct.pack(">I", len(encoded)) + encoded
        """The first bytes of the file."""
        self._stored.update(self.header)
        self.stored_size_bytes = len(self.header)
        self.content_size_bytes = 0

    def frame(self, kind: int, payload: bytes, content: bytes | None = None) -> list[bytes]:
        """Return the pieces of one frame, to be written in this order.

        Args:
            kind: :data:`INIT`, :data:`FRAGMENT`, :data:`ACCOUNT` or :data:`WHOLE`.
            payload: what is stored, sealed or in clear.
            content: the content in clear; ``payload`` itself by default. Ignored for accounts.

        Raises:
            StoredFormatError: the payload is longer than its type allows.
        """
        if len(payload) > MAX_PAYLOAD_SIZE_BYTES[kind]:
            raise StoredFormatError(f"a frame of type {kind} with {len(payload)} bytes is too long")
        head = _FRAME.pack(len(payload), kind)
        self._stored.update(head)
        self._stored.update(payload)
        if kind != ACCOUNT:
            clear = payload if content is None else content
            self._content.update(clear)
            self.content_size_bytes += len(clear)
        digests = self._stored.digest() + self._content.digest()
        self._stored.update(digests)
        self.stored_size_bytes += len(head) + len(payload) + len(digests)
        return [head, payload, digests]

    @property
    def stored_sha256(self) -> bytes:
        """SHA-256 of the whole file so far."""
        return self._stored.digest()

    @property
    def content_sha256(self) -> bytes:
        """SHA-256 of the content so far."""
        return self._content.digest()


class Scan(NamedTuple):
    """What is good in a stored file that may be torn."""

    header: Header
    keep_size_bytes: int
    """The file is good up to here: behind the last whole content frame. The rest is to be cut off."""
    stored_sha256: bytes
    """SHA-256 of the file cut there."""
    content_sha256: bytes
    content_size_bytes: int
    init_sha256: bytes | None
    account: Account | None
    """The account of the kept fragments; None when no whole fragment is there."""


def read_header(read: Callable[[int], bytes]) -> tuple[Header, bytes]:
    """Read the header; return it and its raw bytes.

    Args:
        read: returns up to that many next bytes of the file, b"" at its end.

    Raises:
        StoredFormatError: not a stored file.
    """
    start = _exactly(read, len(MAGIC) + 4)
    if start is None or start[: len(MAGIC)] != MAGIC:
        raise StoredFormatError("not a stored media file: its first bytes are wrong")
    (length,) = struct.unpack(">I", start[len(MAGIC) :])
    if length > MAX_HEADER_SIZE_BYTES:
        raise StoredFormatError("the header is longer than allowed")
    encoded = _exactly(read, length)
    if encoded is None:
        raise StoredFormatError("the file ends inside its header")
    try:
        header = msgspec.convert(cbor.decode_map(encoded), Header, strict=True)
    except (NotDeterministicError, msgspec.ValidationError) as error:
        raise StoredFormatError(f"unreadable header: {error}") from error
    return header, start + encoded


def frames(read: Callable[[int], bytes]) -> tuple[Header, Iterator[Frame]]:
    """Open a stored file: its header, and each whole frame whose stored digest agrees.

    The frames end silently at the end of the file or at the first one that is torn or wrong; a caller that needs to
    know compares the last ``end_offset`` with the file's size.

    Raises:
        StoredFormatError: the header is unreadable.
    """
    header, raw = read_header(read)
    return header, _frames_after(raw, read)


def _frames_after(raw_header: bytes, read: Callable[[int], bytes]) -> Iterator[Frame]:
    stored = hashlib.sha256(raw_header)
    offset = len(raw_header)
    while True:
        head = _exactly(read, _FRAME.size)
        if head is None:
            return
        length, kind = _FRAME.unpack(head)
        if length > MAX_PAYLOAD_SIZE_BYTES.get(kind, -1):
            return
        payload = _exactly(read, length)
        digests = _exactly(read, 2 * DIGEST_SIZE_BYTES) if payload is not None else None
        if payload is None or digests is None:
            return
        stored.update(head)
        stored.update(payload)
        if stored.digest() != digests[:DIGEST_SIZE_BYTES]:
            return
        stored.update(digests)
        offset += len(head) + len(payload) + len(digests)
        yield Frame(kind, payload, offset, stored.digest(), digests[DIGEST_SIZE_BYTES:])


def scan(read: Callable[[int], bytes]) -> Scan:
    """Say how much of a possibly torn file is good, and what it holds, without any key.

    Raises:
        StoredFormatError: the header is unreadable: nothing of the file can be kept.
    """
    header, raw = read_header(read)
    kept = Scan(header, len(raw), hashlib.sha256(raw).digest(), hashlib.sha256().digest(), 0, None, None)
    pending: Account | None = None
    overhead = 0 if header.sealing == SEALING_NONE else SECRETSTREAM_OVERHEAD_BYTES
    for frame in _frames_after(raw, read):
        if frame.type == ACCOUNT:
            pending = _account_or_none(frame.payload)
            continue
        kept = Scan(
            header,
            frame.end_offset,
            frame.stored_sha256,
            frame.content_sha256,
            kept.content_size_bytes + len(frame.payload) - overhead,
            frame.content_sha256 if frame.type == INIT else kept.init_sha256,
            pending if frame.type == FRAGMENT else kept.account,
        )
    return kept


def encode_account(account: Account) -> bytes:
    """Return the payload of an account frame."""
    return cbor.encode(plain(account))


def content(read: Callable[[int], bytes]) -> Iterator[bytes]:
    """Yield the content of a stored file in clear (sealing ``none``): init, fragments, or the whole file.

    Raises:
        StoredFormatError: the header is unreadable, or the file is sealed.
    """
    header, walk = frames(read)
    if header.sealing != SEALING_NONE:
        raise StoredFormatError(f"the file is sealed ({header.sealing}); it must be opened first")
    for frame in walk:
        if frame.type != ACCOUNT:
            yield frame.payload


def payloads(data: bytes) -> Iterator[bytes]:
    """Yield the content payloads of a whole stored file in memory, accounts left out.

    The running digests are not computed: this is for callers who hold the digest of the whole file against a record.

    Raises:
        StoredFormatError: the header is unreadable, or the file does not end on a whole frame.
    """
    _, raw = read_header(io.BytesIO(data).read)
    at = len(raw)
    while at < len(data):
        if len(data) - at < _FRAME.size:
            raise StoredFormatError("the file ends inside a frame")
        length, kind = _FRAME.unpack_from(data, at)
        at += _FRAME.size
        end = at + length + 2 * DIGEST_SIZE_BYTES
        if length > MAX_PAYLOAD_SIZE_BYTES.get(kind, -1) or end > len(data):
            raise StoredFormatError("a frame is longer than allowed, or the file ends inside it")
        if kind != ACCOUNT:
            yield data[at : at + length]
        at = end


def decode_account(payload: bytes) -> Account:
    """Parse the payload of an account frame.

    Raises:
        StoredFormatError: it is not an account.
    """
    try:
        return msgspec.convert(cbor.decode_map(payload), Account, strict=True)
    except (NotDeterministicError, msgspec.ValidationError) as error:
        raise StoredFormatError(f"unreadable account: {error}") from error


def _account_or_none(payload: bytes) -> Account | None:
    try:
        return decode_account(payload)
    except StoredFormatError:
        return None


def _exactly(read: Callable[[int], bytes], size: int) -> bytes | None:
    """Read ``size`` bytes, or return None where the file ends before."""
    parts: list[bytes] = []
    missing = size
    while missing:
        part = read(missing)
        if not part:
            return None
        parts.append(part)
        missing -= len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)
