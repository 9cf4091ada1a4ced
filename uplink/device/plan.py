"""What the agent says next: a state machine without input or output.

The rules:

1. After each connect: who we are, then what the store has (``hello``, ``have``); nothing that was under way counts.
2. Records need no leave and overtake everything; they are sent in the order of their log, a little at a time.
3. Media need a grant (a level with an end), the record before them, and the store's answer on this connection.
4. Their order is the caller's (:mod:`uplink.device.order`); at most a window of bytes has no PUBACK.
5. A receipt that does not come, an expired grant and silence make a question. One question is open at a time; what
   was asked in vain is asked, and what was sent in vain is sent, ever more rarely, but always again.
6. A PUBACK frees the window and nothing else. A file is done when its receipt has been verified by the caller.
7. A PUBACK that says that nobody listens stops everything but the question.

Times are seconds of one monotonic clock that the caller passes in.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from uplink.device.logs import LogState
from uplink.device.rate import LinkRate
from uplink.device.transfers import Grant, Key, Transfers, piece_size
from uplink.protocol import MAX_ASKED, MAX_BATCH_SIZE_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from recorder.evidence.statements import RecordsReceipt
    from uplink.device.transfers import Candidate
    from uplink.protocol import Holdings

SILENCE_S: Final = 30.0
IDLE_SILENCE_S: Final = 300.0
"""With nothing to hand over a device asks this rarely whether the store still has everything."""
OVERDUE_S: Final = 10.0
OVERDUE_PIECE_TIMES: Final = 3.0
DEAF_MIN_S: Final = 0.2
DEAF_MAX_S: Final = 60.0
STARTED_SPREAD_S: Final = 5.0
"""Devices ask a store that has just started within so long of each other, not all at once."""
FIRST_ANSWER_S: Final = 10.0
"""So long a device with many unreceipted records waits for the first answer before it sends them anyhow."""
FEW_RECORDS: Final = 200
MIN_BATCH_SIZE_BYTES: Final = 4 << 10
QUESTION_PAUSE_S: Final = 0.2
READY_FILES: Final = 8
"""With fewer files ready to send, files in doubt are asked about."""
WORK_FILES: Final = 2 * MAX_ASKED
_BATCH_OVERHEAD_BYTES: Final = 4 << 10


@dataclass(frozen=True)
class SendHello:
    """Say who signs on this device."""


@dataclass(frozen=True)
class SendRecords:
    """Send records of one log from ``first`` on, in order: below ``end``, at most ``size_bytes``, at least one."""

    log: bytes
    first: int
    end: int
    size_bytes: int


@dataclass(frozen=True)
class SendPiece:
    """Send some bytes of a file."""

    key: Key
    offset: int
    end: int


@dataclass(frozen=True)
class Ask:
    """Ask what the store has."""

    logs: list[bytes]
    media: list[Key]


@dataclass(frozen=True)
class CheckFile:
    """Compare a file with its record: the store does not take it."""

    key: Key


Action = SendHello | SendRecords | SendPiece | Ask | CheckFile


@dataclass
class _Question:
    nonce: bytes
    until_s: float
    """Then it counts as lost."""
    logs: list[bytes]
    media: list[Key]


@dataclass
class Plan:
    """What is known of log, store and link; see the module for the rules."""

    jitter: Callable[[], float]
    """Random numbers from 0 to 1: a fleet must not ask in step."""
    rate: LinkRate = field(default_factory=LinkRate)
    logs: dict[bytes, LogState] = field(default_factory=dict)
    transfers: Transfers = field(default_factory=Transfers)
    grant_level: Grant = field(default_factory=Grant)
    connected_s: float | None = None
    """When the connection was made; None without one."""
    media_allowed: bool = True
    """False while receipts could not be kept: then no media are sent."""
    fell_back: set[bytes] = field(default_factory=set)
    """Logs of which the store has less than it had receipted; the caller takes them out."""
    _say_hello: bool = False
    _answered: bool = False
    _heard_s: float = 0.0
    _to_ask: list[bytes] = field(default_factory=list)
    _question: _Question | None = None
    _unanswered: int = 0
    _ask_not_before_s: float = 0.0
    _deaf_until_s: float = 0.0
    _deaf: int = 0
    _records_under_way: int = 0
    _tokens: dict[int, tuple[str, int, Key | None]] = field(default_factory=dict)
    _turn: int = 0
    _sent_since_question: bool = False

    # -- what happens ----------------------------------------------------------------------------------------------

    def connected(self, now_s: float, max_packet_size_bytes: int | None = None) -> None:
        """A connection stands; the broker takes packets of that size at most."""
        self.rate.connected(max_packet_size_bytes)
        self.connected_s = self._heard_s = now_s
        self._say_hello = True
        self._answered = False
        self._deaf = 0
        self._deaf_until_s = self._ask_not_before_s = 0.0
        self._unanswered = 0
        self._forget_under_way()
        self._to_ask = list(self.logs)

    def disconnected(self, now_s: float) -> None:
        """The connection ended."""
        self.rate.lost(now_s)
        self.connected_s = None
        self._forget_under_way()

    def _forget_under_way(self) -> None:
        self._tokens.clear()
        self._records_under_way = 0
        self._question = None
        for state in self.logs.values():
            state.connected()
        for transfer in self.transfers.files.values():
            transfer.doubt()
            transfer.not_before_s = 0.0

    def log_grew(self, log: bytes, next_sequence: int, acknowledged: int = 0, floor_utc_ns: int = 0) -> None:
        """A log has records below ``next_sequence``; of a new one, those below ``acknowledged`` are receipted."""
        state = self.logs.get(log)
        if state is None:
            state = self.logs[log] = LogState(
                log, acknowledged=acknowledged, sent=acknowledged, confirmed=acknowledged, floor_utc_ns=floor_utc_ns
            )
            if self.connected_s is not None:
                self._to_ask.append(log)
        state.next_sequence = max(state.next_sequence, next_sequence)

    def log_replaced(self, log: bytes) -> None:
        """A log file is not the one that it was: forget it; :meth:`log_grew` begins it anew."""
        self.logs.pop(log, None)
        for key in [key for key in self.transfers.files if key.log == log]:
            self.transfers.remove(key)

    def published(self, action: Action, token: int, size_bytes: int, now_s: float, end: int | None = None) -> None:
        """An action of :meth:`next` was handed to the connection.

        Args:
            action: what was done.
            token: names the publish.
            size_bytes: of the message.
            now_s: the time.
            end: of records: one behind the last that was sent.
        """
        self.rate.published(token, size_bytes, now_s)
        if isinstance(action, SendHello):
            self._say_hello = False
            self._tokens[token] = ("hello", size_bytes, None)
        elif isinstance(action, SendRecords):
            self.logs[action.log].published(action.first, action.end if end is None else end, now_s)
            self._records_under_way += size_bytes
            self._tokens[token] = ("records", size_bytes, None)
        elif isinstance(action, SendPiece):
            self.transfers.files[action.key].published(action.offset, action.end, now_s)
            self._sent_since_question = True
            self._tokens[token] = ("piece", size_bytes, action.key)

    def asked(self, question: Ask, nonce: bytes, token: int, size_bytes: int, now_s: float) -> None:
        """The question of :meth:`next` was sent under ``nonce``."""
        self.rate.published(token, size_bytes, now_s)
        self._tokens[token] = ("have", size_bytes, None)
        patience = self.overdue_after_s * 2.0 ** min(self._unanswered, 4)
        self._question = _Question(nonce, now_s + patience * (1 + self.jitter()), question.logs, question.media)
        self._to_ask = [log for log in self._to_ask if log not in question.logs]
        self._sent_since_question = False
        for log in question.logs:
            if log in self.logs:
                self.logs[log].asked()
        for key in question.media:
            if key in self.transfers.files:
                self.transfers.files[key].ask()

    def acknowledged(self, token: int, now_s: float, *, delivered: bool) -> None:
        """A PUBACK came; ``delivered`` is False when the broker threw the message away."""
        self.rate.acknowledged(token, now_s)
        kind, size_bytes, key = self._tokens.pop(token, ("", 0, None))
        if kind == "records":
            self._records_under_way -= size_bytes
        if delivered or not kind:
            return
        if key is not None and key in self.transfers.files:
            self.transfers.files[key].doubt()
        if self._deaf_until_s <= now_s:
            self._deaf_until_s = now_s + DEAF_MIN_S + self.jitter() * min(DEAF_MAX_S, 2.0**self._deaf)
            self._deaf = min(self._deaf + 1, 10)
        self._drop_question()
        self._say_hello = True
        self._to_ask = list(self.logs)

    def heard(self, now_s: float) -> None:
        """Something came from the store."""
        self._heard_s = now_s
        if self._deaf:
            self._deaf = 0
            self._deaf_until_s = 0.0

    def who(self) -> None:
        """The store does not know who signs here."""
        self._say_hello = self.connected_s is not None

    def store_started(self, now_s: float) -> None:
        """The store began anew, and may have lost what it had receipted: ask, but not all devices at once."""
        if self.connected_s is not None and not self._to_ask:
            self._to_ask = list(self.logs)
            self._ask_not_before_s = max(self._ask_not_before_s, now_s + STARTED_SPREAD_S * self.jitter())

    def grant(self, size_bytes: int, seconds: int, now_s: float) -> None:
        """The store grants a level."""
        self.grant_level = Grant(max(0, size_bytes), now_s + max(0, seconds))

    def records_receipt(self, receipt: RecordsReceipt, now_s: float, *, ours: bool) -> None:
        """A verified receipt for one of our logs came; ``ours``: its head is our record (or it holds none)."""
        state = self.logs.get(receipt.log)
        if state is None:
            return
        question = self._question
        if question is not None and receipt.nonce == question.nonce and receipt.log in question.logs:
            question.logs.remove(receipt.log)
            if state.answer(receipt, ours=ours, now_s=now_s, limit_s=self.overdue_after_s):
                self.fell_back.add(receipt.log)
        else:
            state.receipt(receipt, ours=ours, now_s=now_s)

    def held(self, key: Key) -> None:
        """A file's receipt was verified and kept, or the file is not to be sent any more."""
        self.transfers.remove(key)

    def holdings(self, message: Holdings, now_s: float) -> None:
        """The answer to our question came; its receipts were handed in before."""
        question = self._question
        if question is None or message.nonce != question.nonce:
            return
        self.grant(message.grant_size_bytes, message.grant_seconds, now_s)
        self._question = None
        self._unanswered = 0
        self._answered = True
        self._ask_not_before_s = now_s + QUESTION_PAUSE_S
        said = {Key(one.log, one.sequence): one for one in message.missing}
        for key in question.media:
            transfer = self.transfers.files.get(key)
            if transfer is None:
                continue
            missing = said.get(key)
            transfer.answer(missing, now_s, self.overdue_after_s)
            if missing is not None and not missing.known:
                state = self.logs.get(key.log)
                if state is not None and state.acknowledged > key.sequence:
                    # By its receipt the store had this record: find out what it has of the log now.
                    self._to_ask = [*self._to_ask, key.log] if key.log not in self._to_ask else self._to_ask
        for log in question.logs:
            if log in self.logs and log not in self._to_ask:
                self._to_ask.append(log)  # it was asked about and got no receipt
        if question.logs:
            self._ask_not_before_s = now_s + self.overdue_after_s

    def offer(self, candidates: Iterable[Candidate]) -> None:
        """Take over the files to send first; see :attr:`wants_files`."""
        self.transfers.offer(list(candidates))

    def checked(self, key: Key) -> None:
        """The file of a :class:`CheckFile` is as its record says."""
        if key in self.transfers.files:
            self.transfers.files[key].found_sound()

    # -- what is next ----------------------------------------------------------------------------------------------

    @property
    def overdue_after_s(self) -> float:
        """After so long without a receipt the store is asked."""
        return max(OVERDUE_S, OVERDUE_PIECE_TIMES * self.rate.piece_time_s)

    def next(self, now_s: float) -> Action | None:
        """Return what to do now; None when there is nothing to do before something happens or time passes."""
        for transfer in self.transfers.files.values():
            if transfer.suspected:
                return CheckFile(transfer.key)
        if self.connected_s is None:
            return None
        self._expire_question(now_s)
        if now_s < self._deaf_until_s:
            return None
        if self._say_hello:
            return SendHello()
        if self._deaf or not self._answered:
            return self._question_due(now_s) or (None if self._deaf else self._records(now_s))
        return self._records(now_s) or self._question_due(now_s) or self._piece(now_s)

    def wants_files(self, now_s: float) -> bool:
        """Tell whether :meth:`offer` should bring more files."""
        return len(self.transfers.sendable(now_s)) < READY_FILES

    def _records(self, now_s: float) -> SendRecords | None:
        if self._records_under_way >= max(2 * MIN_BATCH_SIZE_BYTES, int(self.rate.bytes_per_s / 2)):
            return None
        logs = list(self.logs.values())
        for turn in range(len(logs)):
            state = logs[(self._turn + turn) % len(logs)]
            found = state.next_range(now_s)
            if found is None:
                continue
            first, end = found
            if not self._answered and end - first > FEW_RECORDS and now_s < (self.connected_s or 0.0) + FIRST_ANSWER_S:
                continue
            self._turn = (self._turn + turn + 1) % len(logs)
            size = max(MIN_BATCH_SIZE_BYTES, int(self.rate.bytes_per_s / 4))
            size = min(size, MAX_BATCH_SIZE_BYTES - _BATCH_OVERHEAD_BYTES, self.rate.largest_size_bytes)
            return SendRecords(state.log, first, end, size)
        return None

    def _piece(self, now_s: float) -> SendPiece | None:
        if not self.media_allowed:
            return None
        under_way = self.rate.under_way_size_bytes
        granted = self.grant_level.left(self.transfers.under_way_size_bytes, now_s)
        for transfer in self.transfers.sendable(now_s):
            state = self.logs.get(transfer.key.log)
            if state is None or transfer.key.sequence >= state.sent:
                continue
            size = piece_size(transfer, self.rate.piece_size_bytes, granted)
            if not size or (under_way and under_way + size > self.rate.window_size_bytes):
                return None
            offset = transfer.missing[0][0]
            return SendPiece(transfer.key, offset, offset + size)
        return None

    # -- questions -------------------------------------------------------------------------------------------------

    def _question_due(self, now_s: float) -> Ask | None:
        if self._question is not None or now_s < self._ask_not_before_s:
            return None
        limit = self.overdue_after_s
        # Of a file whose record is not there yet the store knows nothing.
        media = [one for one in self.transfers.to_ask(now_s, limit) if not one.in_doubt or self._confirmed(one.key)][
            :MAX_ASKED
        ]
        overdue = [state.log for state in self.logs.values() if state.overdue(now_s, limit)]
        silence = SILENCE_S if self._waiting() else IDLE_SILENCE_S
        urgent = [one for one in media if not one.in_doubt]
        grant_needed = self._grant_needed(now_s)
        if not (
            self._deaf
            or not self._answered
            or self._to_ask
            or overdue
            or urgent
            or (media and len(self.transfers.sendable(now_s)) < READY_FILES)
            or grant_needed
            or now_s - self._heard_s >= silence
        ):
            return None
        if grant_needed:
            media = [*media, *(one for one in self.transfers.counted() if one not in media)][:MAX_ASKED]
        keys = [one.key for one in media]
        return Ask(self._logs_to_ask(overdue, keys), keys)

    def _confirmed(self, key: Key) -> bool:
        return key.log in self.logs and key.sequence < self.logs[key.log].confirmed

    def _logs_to_ask(self, overdue: list[bytes], keys: list[Key]) -> list[bytes]:
        behind = [state.log for state in self.logs.values() if state.confirmed < state.sent]
        wanted = dict.fromkeys([*self._to_ask, *overdue, *(key.log for key in keys), *behind, *self.logs])
        return [log for log in wanted if log in self.logs][:MAX_ASKED]

    def _grant_needed(self, now_s: float) -> bool:
        sendable = self.transfers.sendable(now_s) if self.media_allowed else []
        if not sendable:
            return False
        if now_s >= self.grant_level.until_s:
            return True
        left = self.grant_level.left(self.transfers.under_way_size_bytes, now_s)
        exhausted = not piece_size(sendable[0], self.rate.piece_size_bytes, left)
        awaited = any(one.complete for one in self.transfers.files.values())
        # A file larger than the grant: what has arrived of it stops to count when the store says so.
        return exhausted and not awaited and not self.rate.under_way_size_bytes and self._sent_since_question

    def _waiting(self) -> bool:
        return bool(self.transfers.files) or any(one.acknowledged < one.next_sequence for one in self.logs.values())

    def _expire_question(self, now_s: float) -> None:
        if self._question is not None and now_s >= self._question.until_s:
            self._unanswered += 1
            self._drop_question()

    def _drop_question(self) -> None:
        if self._question is None:
            return
        for key in self._question.media:
            if key in self.transfers.files:
                self.transfers.files[key].asked = False
        self._to_ask = list(dict.fromkeys([*self._to_ask, *self._question.logs]))
        self._question = None
