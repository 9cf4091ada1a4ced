"""Was that our own voice? Compares what the microphone takes with what was played. Pure, without numpy.

What is compared is not the sound but its pattern (after Haitsma and Kalker, "A Highly Robust Audio Fingerprinting
System", 2002): fifty times a second, for sixteen pairs of neighbouring bands of the spectrum, one bit that says whether
the difference of their energies grows or falls. Loudness, a small loudspeaker, a room or a coat over the microphone
change energies, but few of these bits; another voice that talks at the same time leaves more of them right than chance
would. The pattern of a text takes two kilobytes, and comparing it at one time is one operation on two large
integers, so a Raspberry Pi looks at every fiftieth of a second without effort.

The score is 0 where half the bits agree (chance) and 1000 where all do.
"""

from __future__ import annotations

import cmath
import math
import struct
from collections import deque
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Final, NamedTuple

from recorder.source.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

RATE_HZ: Final = 8000
"""Everything is brought to this rate first."""
STEP: Final = 160
"""Samples from one frame to the next: 20 ms."""
WINDOW: Final = 256
STEP_NS: Final = STEP * 1_000_000_000 // RATE_HZ
BANDS: Final = 17
LOWEST_HZ: Final = 300
HIGHEST_HZ: Final = 3400
BITS: Final = BANDS - 1
SMOOTH: Final = 3
"""Frames whose energies are added, so that half a step of difference in time does not matter."""
LAG: Final = 3
"""Frames between the two moments that a bit compares."""
QUIET: Final = 3e-3
"""Bands so much weaker than the strongest (25 dB) drown in the noise of any room: their bits do not count."""
CLEAR: Final = 1.0
"""Nor do bits that hang on a smaller change (of the logarithm): the next noise turns them over."""

MAX_FRAMES: Final = 2000
"""Forty seconds; of a longer text the beginning is compared."""
MIN_BITS: Final = 300
"""Fewer bits that count are no pattern: chance would find them everywhere. A second of speech has some 500."""
PATTERN_VERSION: Final = 1
MAX_PATTERN_SIZE_BYTES: Final = 3 + 2 * 2 * MAX_FRAMES
_NOTHING: Final = 1e-12
_HEAD: Final = struct.Struct(">BH")

HEARD_PERMILLE: Final = 300
"""A higher score is our voice. Chosen by ``tests/bench/listening.py``, on trials that no reported rate is from."""
PARTS: Final = 4
"""All of a text but one such part must be heard."""
EARLIEST_NS: Final = -200_000_000
LATEST_NS: Final = 2_000_000_000
"""When our own voice can be heard, against the time that the player says; at another time it is a companion's."""
BEFORE_NS: Final = 5_000_000_000
"""A companion's voice is looked for so much earlier; not later, since an officer is to be warned at once."""
_APART_NS: Final = 300_000_000
"""Closer to our own voice nothing is a second one: neighbouring times agree by half."""


class PatternError(SourceError):
    """These bytes are not the pattern of a sound."""


class Frame(NamedTuple):
    """Twenty milliseconds of sound."""

    energies: tuple[float, ...]
    """Per band."""
    mean_square: float
    """Of the samples, full scale = 1."""


class Pattern(NamedTuple):
    """What a sound is recognised by."""

    bits: int
    """Sixteen bits a frame; the first frame is the lowest."""
    mask: int
    """Ones for the bits that count: where the sound is strong and changes clearly."""
    frames: int

    @property
    def length_ns(self) -> int:
        """How long the sound lasts."""
        return self.frames * STEP_NS

    def encode(self) -> bytes:
        """Return it as it is sent: version, number of frames, bits, mask."""
        size = self.frames * BITS // 8
        head = _HEAD.pack(PATTERN_VERSION, self.frames)
        return head + self.bits.to_bytes(size, "little") + self.mask.to_bytes(size, "little")


def decode_pattern(data: bytes) -> Pattern:
    """Read what :meth:`Pattern.encode` wrote.

    Raises:
        PatternError: not a pattern, or one that is too short to be recognised.
    """
    if not _HEAD.size < len(data) <= MAX_PATTERN_SIZE_BYTES:
        raise PatternError(f"{len(data)} bytes are not a pattern")
    version, frames = _HEAD.unpack_from(data)
    size = frames * BITS // 8
    if version != PATTERN_VERSION or frames > MAX_FRAMES or len(data) != _HEAD.size + 2 * size:
        raise PatternError("not a pattern of this version")
    bits = int.from_bytes(data[_HEAD.size : _HEAD.size + size], "little")
    return _enough(Pattern(bits, int.from_bytes(data[_HEAD.size + size :], "little"), frames))


def pattern(pcm: bytes, rate_hz: int) -> Pattern:
    """Return the pattern of a sound (16-bit samples, one channel).

    Raises:
        PatternError: there is too little sound in it.
    """
    tail = bytes(2 * (2 * STEP + WINDOW) * rate_hz // RATE_HZ * 2)
    frames = Frames(rate_hz).put(pcm + tail)[:MAX_FRAMES]
    strongest = max((max(one.energies) for one in frames), default=0.0)
    bits, mask = [], []
    for energies, change in _changes(frames):
        bits.append(_word(change))
        strong = [one > QUIET * SMOOTH * strongest for one in energies]
        mask.append(
            sum(1 << bit for bit in range(BITS) if (strong[bit] or strong[bit + 1]) and abs(change[bit]) > CLEAR)
        )
    while mask and not mask[-1]:
        mask.pop()
    return _enough(Pattern(_joined(bits[: len(mask)]), _joined(mask), len(mask)))


def _enough(one: Pattern) -> Pattern:
    if one.mask.bit_count() < MIN_BITS:
        raise PatternError("too little sound to be recognised")
    return one


class Frames:
    """Turns samples, in pieces of any size, into frames."""

    def __init__(self, rate_hz: int) -> None:
        self._thin = _Thin(rate_hz)
        self._samples: list[float] = []

    def put(self, pcm: bytes) -> list[Frame]:
        """Take the next samples (16 bit, one channel); return the frames that they complete."""
        self._samples += self._thin.put(memoryview(pcm).cast("h"))
        done: list[Frame] = []
        at = 0
        # One transform serves two frames: one is its real part, the other its imaginary part.
        while at + STEP + WINDOW <= len(self._samples):
            done += _two_frames(self._samples[at : at + WINDOW], self._samples[at + STEP : at + STEP + WINDOW])
            at += 2 * STEP
        del self._samples[:at]
        return done


class _Thin:
    """Brings samples to :data:`RATE_HZ`: each new sample is the mean of the old ones in its time, parts included."""

    def __init__(self, rate_hz: int) -> None:
        self._ratio = rate_hz / RATE_HZ
        self._rest: list[int] = []
        self._from = 0.0
        """Where the next mean begins, in samples from the start of ``_rest``."""

    def put(self, samples: Sequence[int]) -> list[float]:
        """Take the next samples, return the means that are complete; full scale is 1."""
        values = [*self._rest, *samples]
        sums = [0, *accumulate(values)]
        values.append(0)
        count = int((len(values) - 1 - self._from) / self._ratio)
        ratio, start = self._ratio, self._from
        edges = [start + ratio * index for index in range(count + 1)]
        until = [sums[int(edge)] + (edge - int(edge)) * values[int(edge)] for edge in edges]
        scale = 1 / (ratio * 32768)
        thin = [(after - before) * scale for before, after in pairwise(until)]
        used = int(edges[-1])
        self._rest = values[used:-1]
        self._from = edges[-1] - used
        return thin


class Match(NamedTuple):
    """How well a pattern fits at one time."""

    at_ns: int
    """Boot-time of its beginning."""
    score_permille: int
    frame: int


class Result(NamedTuple):
    """What listening found."""

    heard: bool
    """Our own voice, at the time when we spoke."""
    companion: bool
    """The same text at another time: another device spoke it."""
    delay_ns: int | None
    """From the time that the player says to the beginning of what was heard (ours, else the companion's)."""
    level_millibels: int | None
    score_permille: int
    """Of our own voice; of the companion's where only that was heard."""


class Listening:
    """Listens for one pattern until enough was heard. Told all times, it knows no clock."""

    def __init__(self, wanted: Pattern, played_ns: int, rate_hz: int) -> None:
        """Begin.

        Args:
            wanted: What was played.
            played_ns: Boot-time at which the player began.
            rate_hz: Sampling rate of the sound that :meth:`put` will be given.
        """
        self._wanted = wanted
        self._played_ns = played_ns
        self._rate_hz = rate_hz
        self._frames = Frames(rate_hz)
        self._heard: list[Frame] = []
        self._start_ns: int | None = None
        self._next_ns = 0
        self._joined: tuple[int, int] | None = None
        self.until_ns = played_ns + LATEST_NS + wanted.length_ns + (SMOOTH + LAG) * STEP_NS + 2 * STEP_NS
        """Boot-time up to which sound is wanted."""

    @property
    def done(self) -> bool:
        """Whether all that is wanted has come."""
        return self._next_ns >= self.until_ns

    def put(self, pcm: bytes, at_ns: int) -> None:
        """Take sound whose first sample was taken at ``at_ns``."""
        length_ns = len(pcm) // 2 * 1_000_000_000 // self._rate_hz
        if at_ns + length_ns <= self._played_ns - BEFORE_NS:
            return
        if self._start_ns is None:
            self._start_ns = self._next_ns = at_ns
        missing_ns = min(at_ns, self.until_ns) - self._next_ns
        if missing_ns > STEP_NS // 2:
            # Sound was lost; silence keeps what comes later in its place.
            silence = bytes(2 * (missing_ns * self._rate_hz // 1_000_000_000))
            self._heard += self._frames.put(silence)
        self._heard += self._frames.put(pcm)
        self._joined = None
        self._next_ns = at_ns + length_ns

    def result(self) -> Result:
        """Compare what has come so far."""
        matches = self.matches()
        ours = max((one for one in matches if self._is_ours(one)), key=_score, default=None)
        heard = ours is not None and self._is_heard(ours)
        others = [
            one
            for one in matches
            if not self._is_ours(one) and not (heard and ours is not None and abs(one.at_ns - ours.at_ns) < _APART_NS)
        ]
        other = max(others, key=_score, default=None)
        companion = other is not None and self._is_heard(other)
        told = ours if heard else other if companion else None
        if told is None:
            score = max(ours.score_permille, 0) if ours is not None else 0
            return Result(heard=False, companion=False, delay_ns=None, level_millibels=None, score_permille=score)
        return Result(heard, companion, told.at_ns - self._played_ns, self._level(told.frame), told.score_permille)

    def matches(self) -> list[Match]:
        """Compare at every time at which the whole pattern could have begun."""
        if self._start_ns is None:
            return []
        mask = self._wanted.mask
        return [
            Match(self._start_ns + frame * STEP_NS, self._agreement(frame, mask), frame)
            for frame in range(len(self._heard) - self._wanted.frames + 1)
        ]

    def _agreement(self, frame: int, mask: int) -> int:
        """Return how well the wanted bits of a mask agree with what was heard from a frame on, in thousandths."""
        heard, known = (bits >> (frame * BITS) for bits in self._bits())
        wrong = ((heard ^ self._wanted.bits) & mask & known).bit_count()
        # Where nothing was heard at all, half the bits are right by chance.
        return 1000 - (2000 * wrong + 1000 * (mask & ~known).bit_count()) // max(mask.bit_count(), 1)

    def _is_ours(self, one: Match) -> bool:
        return EARLIEST_NS <= one.at_ns - self._played_ns <= LATEST_NS

    def _is_heard(self, one: Match) -> bool:
        """Say whether it is our text: as a whole, and in most of its parts, for many texts end with the same words."""
        if one.score_permille < HEARD_PERMILLE:
            return False
        wanted = self._wanted
        size = -(-wanted.frames // PARTS)
        good = 0
        for part in range(PARTS):
            mask = wanted.mask & (((1 << (size * BITS)) - 1) << (part * size * BITS))
            good += self._agreement(one.frame, mask) >= HEARD_PERMILLE // 2
        return good >= PARTS - 1

    def _bits(self) -> tuple[int, int]:
        """Return the bits of all that was heard, and which of them mean anything: in dead silence nothing changes."""
        if self._joined is None:
            changes = [change for _, change in _changes(self._heard)]
            known = [sum(1 << bit for bit, one in enumerate(change) if one) for change in changes]
            self._joined = _joined([_word(change) for change in changes]), _joined(known)
        return self._joined

    def _level(self, frame: int) -> int | None:
        frames = self._heard[frame : frame + self._wanted.frames]
        mean = sum(one.mean_square for one in frames) / max(len(frames), 1)
        return max(round(1000 * math.log10(mean)), -12_000) if mean > 0 else None


def _changes(frames: Iterable[Frame]) -> Iterator[tuple[list[float], list[float]]]:
    """Yield, for each frame, its smoothed energies and how the differences of neighbouring bands have changed."""
    recent: deque[tuple[float, ...]] = deque(maxlen=SMOOTH)
    slopes: deque[list[float]] = deque(maxlen=LAG + 1)
    for frame in frames:
        recent.append(frame.energies)
        energies = [sum(band) for band in zip(*recent, strict=True)]
        levels = [math.log(one + _NOTHING) for one in energies]
        slopes.append([low - high for low, high in pairwise(levels)])
        yield energies, [now - then for now, then in zip(slopes[-1], slopes[0], strict=True)]


def _word(change: list[float]) -> int:
    return sum(1 << bit for bit, one in enumerate(change) if one > 0)


def _joined(words: Sequence[int]) -> int:
    return int.from_bytes(struct.pack(f"<{len(words)}H", *words), "little")


def _score(one: Match) -> int:
    return one.score_permille


def _edges() -> list[int]:
    """Return the first bin of each band, and the end of the last."""
    steps = (HIGHEST_HZ / LOWEST_HZ) ** (1 / BANDS)
    return [round(LOWEST_HZ * steps**band * WINDOW / RATE_HZ) for band in range(BANDS + 1)]


_EDGES: Final = _edges()
_HANN: Final = [0.5 - 0.5 * math.cos(2 * math.pi * index / WINDOW) for index in range(WINDOW)]
_TWIDDLES: Final = {
    size: [cmath.exp(-2j * math.pi * index / size) for index in range(size // 2)]
    for size in (1 << power for power in range(1, WINDOW.bit_length()))
}


def _transform(values: list[complex]) -> list[complex]:
    """Return the discrete Fourier transform (radix 2; the length is a power of two)."""
    size = len(values)
    if size == 2:  # noqa: PLR2004
        first, second = values
        return [first + second, first - second]
    even = _transform(values[::2])
    odd = [turn * value for turn, value in zip(_TWIDDLES[size], _transform(values[1::2]), strict=True)]
    return [one + other for one, other in zip(even, odd, strict=True)] + [
        one - other for one, other in zip(even, odd, strict=True)
    ]


def _two_frames(first: list[float], second: list[float]) -> tuple[Frame, Frame]:
    both = [complex(one, other) * weight for one, other, weight in zip(first, second, _HANN, strict=True)]
    spectrum = _transform(both)
    low, high = _EDGES[0], _EDGES[-1]
    pairs = [(spectrum[index], spectrum[-index].conjugate()) for index in range(low, high)]
    squares = [(abs(one + mirror) ** 2, abs(one - mirror) ** 2) for one, mirror in pairs]
    frames = []
    for which, samples in enumerate((first, second)):
        energies = tuple(
            sum(square[which] for square in squares[_EDGES[band] - low : _EDGES[band + 1] - low])
            for band in range(BANDS)
        )
        frames.append(Frame(energies, sum(value * value for value in samples) / WINDOW))
    return frames[0], frames[1]
