"""Between the loop, which is told to listen, and the microphone's thread, which has the sound."""

from __future__ import annotations

import logging
import threading
from collections import deque
from typing import TYPE_CHECKING, Final

from recorder.source.link import Heard
from recorder.source.listen import BEFORE_NS, Listening, PatternError, decode_pattern

if TYPE_CHECKING:
    from recorder.source.link import Listen

log = logging.getLogger(__name__)

KEPT_NS: Final = BEFORE_NS + 1_000_000_000
"""So much of the past is kept: a companion may have spoken first, and the order to listen takes its time."""
_MAX_ORDERS: Final = 4


class Ear:
    """Holds the last seconds of sound and whatever is being listened for."""

    def __init__(self, rate_hz: int) -> None:
        self._rate_hz = rate_hz
        self._lock = threading.Lock()
        self._orders: deque[tuple[Listen, bytes]] = deque(maxlen=_MAX_ORDERS)
        self._past: deque[tuple[bytes, int]] = deque()
        self._under_way: list[tuple[Listen, Listening]] = []

    def order(self, message: Listen, payload: bytes) -> None:
        """Take an order to listen; called from the loop."""
        with self._lock:
            self._orders.append((message, payload))

    def put(self, pcm: bytes, at_ns: int) -> list[Heard]:
        """Take sound (16 bit, one channel) and return the answers that are due; called from the microphone's thread."""
        for _, listening in self._under_way:
            listening.put(pcm, at_ns)
        self._past.append((pcm, at_ns))
        while self._past[0][1] < at_ns - KEPT_NS:
            self._past.popleft()
        answers = self._begin()
        answers += [_answer(message, listening) for message, listening in self._under_way if listening.done]
        self._under_way = [one for one in self._under_way if not one[1].done]
        return answers

    def _begin(self) -> list[Heard]:
        with self._lock:
            orders = list(self._orders)
            self._orders.clear()
        refused: list[Heard] = []
        for message, payload in orders:
            try:
                wanted = decode_pattern(payload)
            except PatternError as error:
                log.warning("announcement %d cannot be listened for: %s", message.number, error)
                refused.append(Heard(number=message.number, heard=False))
                continue
            listening = Listening(wanted, message.played_boottime_ns, self._rate_hz)
            for pcm, at_ns in self._past:
                listening.put(pcm, at_ns)
            self._under_way.append((message, listening))
        return refused


def _answer(message: Listen, listening: Listening) -> Heard:
    result = listening.result()
    log.info(
        "announcement %d was %s%s, score %d of 1000, after %s ms",
        message.number,
        "heard" if result.heard else "not heard",
        ", a companion's too" if result.heard and result.companion else ", a companion's was" * result.companion,
        result.score_permille,
        "-" if result.delay_ns is None else result.delay_ns // 1_000_000,
    )
    return Heard(
        number=message.number,
        heard=result.heard,
        companion=result.companion,
        delay_ns=result.delay_ns,
        level_millibels=result.level_millibels,
        score_permille=result.score_permille,
    )
