"""As much of an editor as a measurement of the server takes: a process that is spoken to on stdio."""

import json
import queue
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any

from ace_analysis.errors import AceError

URI = "untitled:speed.py"
LONGEST_WAIT = 1800.0
"""Seconds until the next sign of life: a model may read a thousand lines on a machine that is busy."""

SETTLING = 0.1
"""Seconds after the engine rests in which what it found may still arrive."""


@dataclass(frozen=True, slots=True)
class Cancel:
    """Seconds from a cancel to the request's answer, and to the engine at rest."""

    answered: float
    rested: float


@contextmanager
def running(command: Sequence[str]) -> Iterator["Editor"]:
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL)
    try:
        if process.stdin is None or process.stdout is None:
            raise AceError(f"expected pipes to {command[0]}, got none")
        yield Editor(process.stdin, process.stdout)
    finally:
        process.kill()
        process.wait()


class Editor:
    """Speaks to a server. Each message is heard with the time at which it came."""

    def __init__(self, sink: IO[bytes], source: IO[bytes]) -> None:
        self._sink = sink
        self._source = source
        self._heard: queue.Queue[tuple[float, dict[str, Any] | None]] = queue.Queue()
        self._ids = 0
        self._version = 1
        self.diagnostics: list[dict[str, Any]] = []
        """What the server has published last."""
        threading.Thread(target=self._listen, daemon=True).start()

    def initialize(self, options: Mapping[str, Any]) -> float:
        """Returns when the answer came."""
        capabilities = {"experimental": {"serverStatusNotification": True}}
        params = {"processId": None, "rootUri": None, "capabilities": capabilities}
        answered, _ = self._ask("initialize", {**params, "initializationOptions": dict(options)})
        self._send({"method": "initialized", "params": {}})
        return answered

    def open(self, text: str) -> None:
        item = {"uri": URI, "languageId": "python", "version": 1, "text": text}
        self._send({"method": "textDocument/didOpen", "params": {"textDocument": item}})

    def replace(self, text: str) -> None:
        self._version += 1
        document = {"uri": URI, "version": self._version}
        params = {"textDocument": document, "contentChanges": [{"text": text}]}
        self._send({"method": "textDocument/didChange", "params": params})

    def wait_to_be_asked(self) -> None:
        """From now on only a command makes it analyse, so that the command's answer counts all scopes."""
        self.set(run="manual")

    def set(self, **settings: Any) -> None:
        """Change settings of section "ace"."""
        params = {"settings": {"ace": settings}}
        self._send({"method": "workspace/didChangeConfiguration", "params": params})

    def hover(self, position: Mapping[str, int]) -> str:
        """What the server says there; empty where it says nothing."""
        params = {"textDocument": {"uri": URI}, "position": dict(position)}
        _, found = self._ask("textDocument/hover", params)
        return "" if found is None else str(found["contents"]["value"])

    def idle(self, seconds: float) -> None:
        """Wait until the engine, which rests, has not been at work for some seconds."""
        status = "ready"
        while (heard := self._hear(seconds if status == "ready" else LONGEST_WAIT)) is not None:
            status = _status(heard[1]) or status

    def edit_time(self, text: str) -> float:
        """Seconds until the diagnostics of a new text are there and the engine rests."""
        begin = time.perf_counter()
        self.replace(text)
        return self.rest() - begin

    def rest(self) -> float:
        """Wait until the engine has worked and rests; returns when it did, or its last diagnostics came."""
        self._until(lambda message: _status(message) == "busy")
        end, _ = self._until(lambda message: _status(message) == "ready")
        while (heard := self._hear(SETTLING)) is not None:
            came, message = heard
            if message.get("method") == "textDocument/publishDiagnostics":
                end = max(end, came)
        return end

    def analyse(self) -> dict[str, Any]:
        return self.command("ace.analyzeFile", URI)

    def command(self, name: str, *arguments: Any) -> dict[str, Any]:
        return self._ask("workspace/executeCommand", {"command": name, "arguments": list(arguments)})[1]

    def command_time(self, name: str, *arguments: Any) -> float:
        """Seconds until a command's answer."""
        begin = time.perf_counter()
        params = {"command": name, "arguments": list(arguments)}
        return self._ask("workspace/executeCommand", params)[0] - begin

    def cancel_time(self, after: float, name: str, *arguments: Any) -> Cancel | None:
        """Cancel a command when the engine has been at it for some seconds; None if it was done before."""
        params = {"command": name, "arguments": list(arguments)}
        number = self._request("workspace/executeCommand", params)
        self._until(lambda message: _status(message) == "busy")
        end = time.perf_counter() + after
        while (left := end - time.perf_counter()) > 0 and (heard := self._hear(left)) is not None:
            if _answers(heard[1], number):
                return None
        begin = time.perf_counter()
        self._send({"method": "$/cancelRequest", "params": {"id": number}})
        answered = rested = 0.0
        while not (answered and rested):
            came, message = self._until(
                lambda message: _answers(message, number) or _status(message) == "ready"
            )
            if _answers(message, number):
                answered = came
            else:
                rested = came
        return Cancel(answered - begin, rested - begin)

    def _ask(self, method: str, params: Mapping[str, Any]) -> tuple[float, Any]:
        number = self._request(method, params)
        came, answer = self._until(lambda message: _answers(message, number))
        if "error" in answer:
            raise AceError(f"the server answered {method} with an error: {answer['error'].get('message')}")
        return came, answer.get("result")

    def _request(self, method: str, params: Mapping[str, Any]) -> int:
        self._ids += 1
        self._send({"id": self._ids, "method": method, "params": params})
        return self._ids

    def _until(self, wanted: Callable[[dict[str, Any]], bool]) -> tuple[float, dict[str, Any]]:
        while (heard := self._hear(LONGEST_WAIT)) is not None:
            if wanted(heard[1]):
                return heard
            if heard[1].get("params", {}).get("health") == "error":
                raise AceError(f"the server can't analyse: {heard[1]['params']['message']}")
        raise AceError(f"expected the server to go on within {LONGEST_WAIT:.0f} s, and it did not")

    def _hear(self, seconds: float) -> tuple[float, dict[str, Any]] | None:
        try:
            came, message = self._heard.get(timeout=seconds)
        except queue.Empty:
            return None
        if message is None:
            raise AceError("expected an answer from the server, and it ended before")
        return came, message

    def _send(self, message: Mapping[str, Any]) -> None:
        body = json.dumps({"jsonrpc": "2.0", **message}).encode()
        try:
            self._sink.write(b"Content-Length: %d\r\n\r\n" % len(body) + body)
            self._sink.flush()
        except OSError as error:
            raise AceError(f"expected a server that reads, and it ended before ({error})") from error

    def _listen(self) -> None:
        while line := self._source.readline():
            length = 0
            while line.strip():
                name, _, value = line.partition(b":")
                length = int(value) if name.lower() == b"content-length" else length
                line = self._source.readline()
            message = json.loads(self._source.read(length))
            if message.get("method") == "textDocument/publishDiagnostics":
                self.diagnostics = message["params"]["diagnostics"]
            self._heard.put((time.perf_counter(), message))
        self._heard.put((time.perf_counter(), None))


def _answers(message: Mapping[str, Any], number: int) -> bool:
    return message.get("id") == number and "method" not in message


def _status(message: Mapping[str, Any]) -> str:
    """The engine's state, in a message that tells it: its first word."""
    if message.get("method") != "experimental/serverStatus":
        return ""
    return str(message["params"]["message"]).split(":", 1)[0]
