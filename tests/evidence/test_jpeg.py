"""What a photograph's bytes say of its size, true or hostile."""

from __future__ import annotations

import av
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder.evidence.jpeg import PictureError, size_px
from recorder.source.photo import encode


def photograph(width: int = 320, height: int = 180) -> bytes:
    return encode(av.VideoFrame(width, height, "yuvj420p"))


@pytest.mark.parametrize("size", [(320, 180), (1920, 1080), (64, 1000)])
def test_the_size_of_a_real_picture(size: tuple[int, int]) -> None:
    assert size_px(photograph(*size)) == size


@given(st.binary(max_size=400) | st.binary(max_size=400).map(lambda data: b"\xff\xd8" + data + b"\xff\xd9"))
def test_any_bytes_are_refused_or_have_a_size(data: bytes) -> None:
    try:
        width, height = size_px(data)
    except PictureError:
        return
    assert 0 < width < 65536
    assert 0 < height < 65536


@given(st.data())
def test_a_damaged_head_is_refused_or_has_a_size(data: st.DataObject) -> None:
    jpeg = bytearray(photograph())
    jpeg[data.draw(st.integers(0, 700))] = data.draw(st.integers(0, 255))
    try:
        assert min(size_px(bytes(jpeg))) > 0
    except PictureError:
        return


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff\xd8\xff\xd9",
        b"\xff\xd8" + b"\xff" * 100_000 + b"\xff\xd9",
        b"\xff\xd8" + b"\xff\xe0\x00\x02" * 2000 + b"\xff\xd9",
        b"\xff\xd8\xff\xc0\x00\x08\x08\x00\x00\x00\x10\x00\xff\xd9",  # no lines
        b"\xff\xd8\xff\xc0\x00\x03\x08\xff\xd9",
        b"\xff\xd8\xff\xda\x00\x08\x08\x00\x10\x00\x10\x00\xff\xd9",  # coded data before the size
        b"\xff\xd8\xff\xc0\xff\xff\x08\x00\x10\x00\x10\x00\xff\xd9",
    ],
)
def test_what_is_not_a_picture_is_refused(data: bytes) -> None:
    with pytest.raises(PictureError):
        size_px(data)


def test_a_cut_picture_is_refused() -> None:
    with pytest.raises(PictureError):
        size_px(photograph()[:-1])
