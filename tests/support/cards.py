"""Codes to show to a lens: an issuer with its key, QR codes as squares, and pictures in which one is held up."""

from __future__ import annotations

import math
import random
import subprocess
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import av
import segno
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from keys.authority import Authority
from keys.certificates import Anchors, Role, load_der, read_identity
from keys.signer import SeedSigner, open_signer
from recorder.evidence import lens_code
from recorder.evidence.details import Person
from recorder.evidence.lens_code import OfficerCode, TaskCode
from uplink.central.issuing import MODULE_PX

if TYPE_CHECKING:
    from pathlib import Path

    from keys.identity import Identity
    from keys.signer import Signer

NOW_S = int(time.time())
DAY_S = 86_400
PAPER, INK, ROOM = 200, 40, 110
RATE = 25
H264 = (
    "-c:v",
    "libx264",
    "-preset",
    "ultrafast",
    "-b:v",
    "4M",
    "-maxrate",
    "4M",
    "-bufsize",
    "4M",
    "-g",
    "25",
    "-bf",
    "0",
)
"""As an ordinary network camera codes: 4 Mbit/s, a key frame each second."""
MJPEG = ("-c:v", "mjpeg", "-q:v", "4")


class Issuer(NamedTuple):
    """A store's key for codes, under an authority of its own unless one is given."""

    signer: Signer
    identity: Identity
    authority_der: bytes

    @classmethod
    def make(cls, authority: Authority | None = None, role: Role = Role.CODES, **options: Any) -> Issuer:
        authority = authority or Authority.create("试点机关")
        key = Ed25519PrivateKey.generate()
        certificate = authority.issue(key.public_key(), role, "store-1", **options)
        der = certificate.public_bytes(serialization.Encoding.DER)
        seed = key.private_bytes(
            serialization.Encoding.Raw, serialization.PrivateFormat.Raw, serialization.NoEncryption()
        )
        return cls(SeedSigner(seed, der), read_identity(der), authority.der)

    @classmethod
    def of_site(cls, authority: Path, central: Path) -> Issuer:
        """Return the issuer whose keys ``write_site`` wrote."""
        certificate = load_der(central / "codes.crt")
        signer = open_signer(f"file:{central / 'codes.key'}", certificate)
        return cls(signer, Anchors.load([authority]).identify(certificate, Role.CODES), load_der(authority))

    def text(self, code: TaskCode | OfficerCode, *, bare: bool = False) -> str:
        return lens_code.to_text(lens_code.sign(code, self.signer, carries_certificate=not bare))


def task(**fields: Any) -> TaskCode:
    """An ordinary task."""
    usual: dict[str, Any] = {
        "issuer": "store-1",
        "valid_from_utc_s": NOW_S - DAY_S,
        "valid_until_utc_s": NOW_S + DAY_S,
        "matter": "on_site_inspection",
        "case": "辽鞍市监检〔2026〕31号",
        "unit": "综合执法一科",
        "place": "鞍山市铁东区胜利路12号",
        "people": [Person(role="party", name="鞍山某某机械有限公司")],
        "officers": ["06050112", "06050113"],
    }
    return TaskCode(**usual | fields)


def officer(**fields: Any) -> OfficerCode:
    """An ordinary officer's card."""
    usual: dict[str, Any] = {
        "issuer": "store-1",
        "valid_from_utc_s": NOW_S - DAY_S,
        "valid_until_utc_s": NOW_S + DAY_S,
        "certificate": "06050112",
        "name": "王建国",
        "agency": "鞍山市行政审批局",
    }
    return OfficerCode(**usual | fields)


def squares(text: str) -> list[list[bool]]:
    """Return the dark squares of a QR code, with its quiet zone."""
    drawn = segno.make_qr(text, error="m", boost_error=False)
    return [[bool(one) for one in row] for row in drawn.matrix_iter(border=4)]


def printed(png: Path) -> list[list[bool]]:
    """Return the dark squares of a code that was written as PNG, eight pixels a square."""
    with av.open(str(png)) as container:
        frame = next(container.decode(video=0)).reformat(format="gray")
    plane = frame.planes[0]
    view, line = bytes(plane), plane.line_size
    return [
        [view[y * line + x] < 128 for x in range(MODULE_PX // 2, frame.width, MODULE_PX)]
        for y in range(MODULE_PX // 2, frame.height, MODULE_PX)
    ]


class Held(NamedTuple):
    """How a code is held before the lens."""

    squares: list[list[bool]]
    width: float = 0.4
    """Of the picture's width, quiet zone included."""
    x: float = 0.5
    """Its middle, of the picture's width."""
    y: float = 0.5
    turned: float = 0.0
    """Degrees in the plane of the picture."""
    tilted: float = 0.0
    """Degrees away from the lens, about the upright axis."""


def picture(held: list[Held], width_px: int = 1280, height_px: int = 720) -> bytearray:
    """Return the brightness of a grey room in which codes are held up."""
    luma = bytearray([ROOM]) * (width_px * height_px)
    for one in held:
        _hold(luma, one, width_px, height_px)
    return luma


def _hold(luma: bytearray, held: Held, width_px: int, height_px: int) -> None:
    count, side = len(held.squares), held.width * width_px
    cos, sin = math.cos(math.radians(held.turned)), math.sin(math.radians(held.turned))
    squeeze, depth = math.cos(math.radians(held.tilted)), math.sin(math.radians(held.tilted))
    middle_x, middle_y, reach = held.x * width_px, held.y * height_px, int(side)
    for y in range(max(0, int(middle_y) - reach), min(height_px, int(middle_y) + reach)):
        for x in range(max(0, int(middle_x) - reach), min(width_px, int(middle_x) + reach)):
            dx, dy = (x + 0.5 - middle_x) / side, (y + 0.5 - middle_y) / side
            u, v = cos * dx + sin * dy, cos * dy - sin * dx
            # The lens is two and a half widths away: what leans back is smaller.
            scale = squeeze - u * depth / 2.5
            if scale <= 0:
                continue
            u, v = u / scale, v * (1 + u / scale * depth / 2.5)
            if -0.5 <= u < 0.5 and -0.5 <= v < 0.5:
                dark = held.squares[int((v + 0.5) * count)][int((u + 0.5) * count)]
                luma[y * width_px + x] = INK if dark else PAPER


def blurred(luma: bytearray, radius_px: int, width_px: int = 1280) -> bytearray:
    """Return the picture out of focus: each pixel the mean of its neighbours, twice along lines and columns."""
    for _ in range(2):
        luma = _smeared(luma, radius_px, 1)
        luma = _smeared(luma, radius_px, width_px)
    return luma


def _smeared(luma: bytearray, radius_px: int, step: int) -> bytearray:
    size, reach = len(luma), radius_px * step
    count = 2 * radius_px + 1
    padded = bytes([luma[0]]) * reach + luma + bytes([luma[-1]]) * reach
    rows = [padded[offset * step : offset * step + size] for offset in range(count)]
    return bytearray(sum(values) // count for values in zip(*rows, strict=True))


def darkened(luma: bytearray, factor: float, noise: int, seed: int = 1) -> bytearray:
    """Return the picture in bad light: contrast is lost, and the sensor's noise is seen."""
    source = random.Random(seed)
    table = bytes(round(16 + (value - 16) * factor) if value > 16 else 16 for value in range(256))
    dim = luma.translate(table)
    noisy = source.randbytes(len(dim))
    return bytearray(
        max(0, min(255, value + one % (2 * noise + 1) - noise)) for value, one in zip(dim, noisy, strict=True)
    )


def film(path: Path, pictures: list[bytearray], *, each_s: float = 2.0, options: tuple[str, ...] = H264) -> Path:
    """Write a film in which each picture stands for a while, with a sound that never stops.

    A little noise is on all of it, as from a sensor: a picture that never changes costs an encoder nothing.
    """
    command = [
        "ffmpeg", "-y", "-v", "error", "-f", "rawvideo", "-pix_fmt", "gray", "-s", "1280x720",
        "-r", str(RATE), "-i", "pipe:0", "-f", "lavfi", "-i", "sine=440:sample_rate=48000",
        "-vf", "noise=alls=6:allf=t,format=yuv420p", "-shortest", *options, "-c:a", "aac", "-b:a", "64k", str(path),
    ]  # fmt: skip
    count = round(each_s * RATE)
    raw = b"".join(bytes(one) * count for one in pictures)
    subprocess.run(command, input=raw, check=True)
    return path
