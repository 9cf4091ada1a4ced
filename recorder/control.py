"""The control socket: one request, one answer, one line of JSON each. No command can harm a recording.

``{"command": "status"}`` → ``{"ok": true, …}`` or ``{"ok": false, "error": code, "zh": …, "en": …}``. Who may connect
is decided by the permissions of the socket.
"""

from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING, Any, Final

import msgspec

from recorder.errors import RecorderError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MAX_LINE_SIZE_BYTES: Final = 64 << 10
TIMEOUT_S: Final = 15.0
SOCKET_NAME: Final = "control.sock"


class RefusedError(RecorderError):
    """The recorder does not do what was asked, and says why in both languages."""

    def __init__(self, code: str, zh: str, en: str) -> None:
        super().__init__(en)
        self.code, self.zh, self.en = code, zh, en


class ControlPeer:
    """One connection on the control socket, at the recorder's end."""

    def __init__(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        self.socket = connection
        self._request = bytearray()

    def receive(self) -> dict[str, Any] | None:
        """Return the request when it is whole, else None.

        Raises:
            RefusedError: too long, or not a request.
            EOFError: the other end went away.
        """
        try:
            data = self.socket.recv(4096)
        except BlockingIOError:
            return None
        except OSError as error:
            raise EOFError from error
        self._request += data
        if len(self._request) > MAX_LINE_SIZE_BYTES:
            raise RefusedError("request", "请求过长。", "The request is too long.")
        if b"\n" not in self._request:
            if not data:
                raise EOFError
            return None
        try:
            # Python's own reader lets halves of characters through, which nothing can write again.
            request = msgspec.json.decode(self._request.split(b"\n", 1)[0])
        except (msgspec.DecodeError, ValueError, RecursionError) as error:
            raise RefusedError("request", "请求无法识别。", "The request is not JSON.") from error
        if not isinstance(request, dict) or not isinstance(request.get("command"), str):
            raise RefusedError("request", "请求缺少命令。", "The request names no command.")
        return request

    def answer(self, answer: dict[str, Any]) -> None:
        """Send the answer and close; a caller that does not read loses it."""
        try:
            self.socket.send(json.dumps(answer, ensure_ascii=False).encode() + b"\n")
        except OSError:
            return
        finally:
            self.socket.close()


def respond(handlers: dict[str, Callable[[dict[str, Any]], dict[str, Any]]], request: dict[str, Any]) -> dict[str, Any]:
    """Run the handler of a request's command and return the answer; a refusal is an answer too."""
    handler = handlers.get(request["command"])
    if handler is None:
        return refusal(RefusedError("command", "没有这个命令。", f"There is no command {request['command'][:40]!r}."))
    try:
        return {"ok": True, **handler(request)}
    except RefusedError as error:
        return refusal(error)


def refusal(error: RefusedError) -> dict[str, Any]:
    """Return a refusal as an answer."""
    return {"ok": False, "error": error.code, "zh": error.zh, "en": error.en}


def ask(run: Path, request: dict[str, Any]) -> dict[str, Any]:
    """Ask the recorder whose run folder is given, and return its answer.

    Raises:
        RefusedError: the recorder refused, or does not answer.
    """
    path = run / SOCKET_NAME
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(TIMEOUT_S)
        try:
            client.connect(str(path))
            client.sendall(json.dumps(request).encode() + b"\n")
            answer = _read_line(client)
        except OSError as error:
            raise RefusedError(
                "not-running",
                f"记录服务没有响应（{path}）：请检查服务是否已启动。",
                f"The recorder does not answer at {path} ({error}): check whether it is running.",
            ) from error
    if not isinstance(answer, dict):
        raise RefusedError("answer", "记录服务的答复无法识别。", "The recorder's answer is not readable.")
    if not answer.get("ok"):
        raise RefusedError(str(answer.get("error")), str(answer.get("zh")), str(answer.get("en")))
    return answer


def _read_line(client: socket.socket) -> Any:
    data = bytearray()
    while b"\n" not in data:
        part = client.recv(65536)
        if not part or len(data) > 1 << 20:
            break
        data += part
    try:
        return json.loads(data)
    except ValueError:
        return None
