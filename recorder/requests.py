"""What can be asked of the recorder on its control socket: each command checked, obeyed and answered."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from recorder import lawful
from recorder.control import RefusedError, refusal, respond
from recorder.session import State
from recorder.status import status

if TYPE_CHECKING:
    from collections.abc import Callable

    from recorder.conduct import Conduct
    from recorder.daemon import Daemon
    from recorder.evidence.details import SessionDetails
    from recorder.recital import Given


class Requests:
    """The commands of one device."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        declarations, conducts = daemon.declarations, daemon.conducts
        self._handlers = {
            "start": self._start,
            "press": self._press,
            "stop": self._stop,
            "unsuitable": self._unsuitable,
            "mark": self._mark,
            "photo": self._photo,
            "details": self._details,
            "again": lambda request: self.again(self._conduct(request)),
            "check": self._check,
            "not-recorded": lambda request: self._state(request, declarations.not_recorded),
            "unable": lambda request: self._state(request, declarations.unable),
            "defer": lambda request: declarations.defer(conducts.values(), str(request.get("reason"))),
            "returned": lambda _request: declarations.returned(conducts.values()),
            "status": lambda _request: status(daemon),
        }
        self._later = {"code": self._code}
        """Commands whose answer takes a while, and so is given to a function."""

    def answer(self, request: dict[str, Any], later: Callable[[dict[str, Any]], None]) -> dict[str, Any] | None:
        """Obey a request; return the answer, or None where it takes a while.

        Args:
            request: what is asked.
            later: called with an answer that takes a while.

        Raises:
            RefusedError: a command whose answer takes a while is refused at once.
            DiskFullError: there was no room for what had to be signed.
        """
        slow = self._later.get(request["command"])
        if slow is None:
            return respond(self._handlers, request)
        slow(request, later)
        return None

    def _conduct(self, request: dict[str, Any]) -> Conduct:
        name = request.get("stream") or next(iter(self._daemon.streams))
        if not isinstance(name, str) or name not in self._daemon.conducts:
            raise RefusedError("stream", "没有这一路记录。", f"There is no stream {str(name)[:40]!r}.")
        return self._daemon.conducts[name]

    def _start(self, request: dict[str, Any]) -> dict[str, Any]:
        conduct = self._conduct(request)
        matter, details = lawful.matter_of(request), lawful.details_of(request)
        mode = lawful.mode_of(request, conduct.stream.section)
        session = conduct.stream.session
        if session is not None and session.ending is None and conduct.state is State.RECORDING:
            raise RefusedError("already", "正在记录，无需再次开始。", "A recording is already under way.")
        self._daemon.ready_to_record(conduct)
        conduct.start("command", matter, details, mode)
        return _answer(conduct)

    def _press(self, request: dict[str, Any]) -> dict[str, Any]:
        conduct = self._conduct(request)
        self._daemon.ready_to_record(conduct)
        conduct.press("command")
        return _answer(conduct)

    def _stop(self, request: dict[str, Any]) -> dict[str, Any]:
        conduct = self._conduct(request)
        reason = request.get("reason") or "done"
        conduct.end(str(reason), statement=request.get("statement") is True, by="command")
        return _answer(conduct) | {"grace_s": conduct.agency.continuity.grace_seconds}

    def _unsuitable(self, request: dict[str, Any]) -> dict[str, Any]:
        conduct = self._conduct(request)
        conduct.unsuitable(str(request.get("reason")))
        return _answer(conduct)

    def _mark(self, request: dict[str, Any]) -> dict[str, Any]:
        conduct = self._conduct(request)
        marker, of = lawful.marker_of(request), lawful.number_of(request)
        if of is None:
            return _answer(conduct) | {"number": conduct.mark(marker)}
        author = str(request.get("author") or "")[:64]
        if not author:
            raise RefusedError("author", "须登记由谁补充。", "It must be said who says so.")
        if request.get("after") is not None:
            declarations, conducts = self._daemon.declarations, self._daemon.conducts.values()
            return declarations.classify_after(conducts, str(request["after"]), marker, of, author)
        conduct.classify(marker, of, author)
        return _answer(conduct)

    def _photo(self, request: dict[str, Any]) -> dict[str, Any]:
        conduct = self._conduct(request)
        self._daemon.ready_to_record(conduct)
        session = conduct.photo("command", lawful.matter_of(request))
        return _answer(conduct) | {"session": session.hex() if session is not None else None}

    def _details(self, request: dict[str, Any]) -> dict[str, Any]:
        conduct = self._conduct(request)
        stated = lawful.details_of(request)
        if stated is None:
            raise RefusedError("details", "没有登记内容。", "There is nothing to put on record.")
        if request.get("after") is not None:
            return self._daemon.declarations.details_after(
                self._daemon.conducts.values(), str(request["after"]), stated
            )
        conduct.add_details(stated)
        return _answer(conduct)

    def _check(self, request: dict[str, Any]) -> dict[str, Any]:
        number = request.get("number")
        return self._daemon.health.check(number if isinstance(number, int) else None)

    def _state(
        self, request: dict[str, Any], state: Callable[[Conduct, str, SessionDetails], dict[str, Any]]
    ) -> dict[str, Any]:
        stated = lawful.details_of(request)
        if stated is None:
            raise RefusedError("details", "没有登记内容。", "There is nothing to put on record.")
        return state(self._conduct(request), str(request.get("reason")), stated)

    def again(self, conduct: Conduct) -> dict[str, Any]:
        """Announce the recording once more, for a party that has just arrived.

        Raises:
            RefusedError: nothing is being recorded, or there is no voice.
        """
        stream, speaker = conduct.stream, self._daemon.speaker
        if stream.session is None or stream.session.ending is not None:
            raise RefusedError("idle", "没有正在进行的记录。", "Nothing is being recorded.")
        if speaker is None:
            raise RefusedError("voice", "本设备未配置语音。", "This device has no voice configured.")
        speaker.say_again(stream)
        return _answer(conduct)

    def _code(self, request: dict[str, Any], answer: Callable[[dict[str, Any]], None]) -> None:
        conduct = self._conduct(request)

        def told(given: Given | None) -> None:
            if given is None:
                error = RefusedError("code", "核验码计算失败，请再试一次。", "The code could not be made; ask again.")
                answer(refusal(error))
            else:
                answer({"ok": True, "stream": conduct.stream.section.name} | given.plain())

        self._daemon.recital.ask(conduct, told)


def _answer(conduct: Conduct) -> dict[str, Any]:
    return {
        "session": conduct.session.hex() if conduct.session else None,
        "stream": conduct.stream.section.name,
        "state": conduct.state.value,
    }


def no_room() -> RefusedError:
    """Return the refusal of what cannot be recorded, because the disk is full."""
    return RefusedError(
        "storage",
        "存储空间已满，无法记录：请先移交音像记录或者清理存储空间。",
        "The disk is full and nothing can be recorded: hand over what is recorded, or make room.",
    )
