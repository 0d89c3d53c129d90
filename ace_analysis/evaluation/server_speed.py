"""How fast the language server is, seen from outside: a process that is spoken to on stdio, as by an editor.

The engine knows nothing of the server, so nothing of it is imported here; it is a command.
"""

import json
import queue
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from ace_analysis.errors import AceError, InputError

SERVER = (sys.executable, "-P", "-m", "ace_lsp")
EMPTY_SERVER = (
    sys.executable,
    "-P",
    "-c",
    "from pygls.lsp.server import LanguageServer; LanguageServer('empty', '1').start_io()",
)
"""What any server that is built on pygls pays, and nothing else."""

URI = "untitled:speed.py"
LONGEST_WAIT = 1800.0
"""Seconds until the next sign of life: a model may read a thousand lines on a machine that is busy."""

SETTLING = 0.1
"""Seconds after the engine rests in which what it found may still arrive."""

FUNCTION = '''\
def merge_intervals(intervals, gap=0):
    """Join the intervals that touch or overlap, or lie at most `gap` apart."""
    if not intervals:
        return []
    ordered = sorted(intervals, key=lambda interval: (interval[0], interval[1]))
    merged = [list(ordered[0])]
    widest = 0
    for start, end in ordered[1:]:
        if end < start:
            raise ValueError(f"an interval ends at {end} before it starts at {start}")
        last = merged[-1]
        if start - last[1] <= gap:
            last[1] = max(last[1], end)
        else:
            merged.append([start, end])
        widest = max(widest, merged[-1][1] - merged[-1][0])
    total = 0
    for start, end in merged:
        length = end - start
        if length > 0:
            total += length
    if total > widest * len(merged):
        raise ArithmeticError("the whole is longer than its parts")
    result = []
    for start, end in merged:
        if end - start >= EDITED:
            result.append((start, end))
    if len(result) == 1 and result[0] == (0, 0):
        return []
    return result
'''
"""Thirty lines; EDITED is replaced by another number for each edit."""

LAST = 131
"""The number in the last function of the long file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InitializeSpeed:
    """Seconds from starting a process to its answer to `initialize`, one value per round."""

    server: tuple[float, ...]
    empty: tuple[float, ...]

    @property
    def ratio(self) -> float:
        """How many times as long as an empty server it takes: the median round's."""
        return statistics.median(mine / least for mine, least in zip(self.server, self.empty, strict=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class EditingSpeed:
    """What editing costs; scopes are those of a file of a thousand lines that the model had to read."""

    edit_to_diagnostic: tuple[float, ...]
    lines: int
    scopes: int
    scopes_read_after_edit: int
    scopes_read_unchanged: int
    worker_resident_bytes: int | None

    @property
    def seconds(self) -> float:
        """The median from an edit in a function of thirty lines to its diagnostics."""
        return statistics.median(self.edit_to_diagnostic)


def measure_initialize(rounds: int = 9) -> InitializeSpeed:
    """Start both servers in turns, after one start of each that fills the disk's cache."""
    if rounds < 1:
        raise InputError(f"expected at least one round, got {rounds}")
    for command in (EMPTY_SERVER, SERVER):
        _answer_time(command)
    times = [(_answer_time(SERVER), _answer_time(EMPTY_SERVER)) for _ in range(rounds)]
    return InitializeSpeed(server=tuple(each[0] for each in times), empty=tuple(each[1] for each in times))


def measure_editing(options: Mapping[str, Any] | None = None, *, rounds: int = 5) -> EditingSpeed:
    """Edit files on the real server with its real worker, as an editor with `options` would start it.

    Nothing is kept on disk, since what an earlier run has read would cost this one nothing.
    """
    if rounds < 1:
        raise InputError(f"expected at least one round, got {rounds}")
    with _server(SERVER) as server:
        server.initialize({**(options or {}), "explainAhead": 0, "cache": {"max_megabytes": 0}})
        server.open(_function(0))
        server.rest()
        times = tuple(server.edit_time(_function(number + 1)) for number in range(rounds))
        text = _long_file()
        server.wait_to_be_asked()
        server.replace(text)
        first = server.analyse()
        server.replace(text.replace(f">= {LAST}:", f"> {LAST}:"))
        edited, unchanged = server.analyse(), server.analyse()
        pid = server.command("ace.showStatus")["workerPid"]
        return EditingSpeed(
            edit_to_diagnostic=times,
            lines=text.count("\n"),
            scopes=first["scopes"],
            scopes_read_after_edit=edited["analysed"],
            scopes_read_unchanged=unchanged["analysed"],
            worker_resident_bytes=_resident(pid),
        )


def _function(number: int) -> str:
    return FUNCTION.replace("EDITED", str(number))


def _long_file() -> str:
    """A thousand lines of functions, no two of which are the same."""
    functions = [
        _function(n).replace("merge_intervals", f"merge_intervals_{n}") for n in range(100, LAST + 1)
    ]
    return "\n\n".join(functions)


def _answer_time(command: Sequence[str]) -> float:
    begin = time.perf_counter()
    with _server(command) as server:
        return server.initialize({}) - begin


def _resident(pid: int) -> int | None:
    """Resident bytes of a process; None where there is no /proc to tell."""
    path = Path(f"/proc/{pid}/status")
    if not path.exists():
        return None
    lines = path.read_text(encoding="ascii", errors="replace").splitlines()
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS:")), None)


@contextmanager
def _server(command: Sequence[str]) -> Iterator["_Client"]:
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL)
    try:
        if process.stdin is None or process.stdout is None:
            raise AceError(f"expected pipes to {command[0]}, got none")
        yield _Client(process.stdin, process.stdout)
    finally:
        process.kill()
        process.wait()


class _Client:
    """As much of an editor as it takes. Each message is heard with the time at which it came."""

    def __init__(self, sink: IO[bytes], source: IO[bytes]) -> None:
        self._sink = sink
        self._source = source
        self._heard: queue.Queue[tuple[float, dict[str, Any] | None]] = queue.Queue()
        self._ids = 0
        self._version = 1
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
        settings = {"ace": {"run": "manual"}}
        self._send({"method": "workspace/didChangeConfiguration", "params": {"settings": settings}})

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

    def command(self, name: str, *arguments: str) -> dict[str, Any]:
        return self._ask("workspace/executeCommand", {"command": name, "arguments": list(arguments)})[1]

    def _ask(self, method: str, params: Mapping[str, Any]) -> tuple[float, Any]:
        self._ids += 1
        number = self._ids
        self._send({"id": number, "method": method, "params": params})
        came, answer = self._until(lambda message: message.get("id") == number and "method" not in message)
        if "error" in answer:
            raise AceError(f"the server answered {method} with an error: {answer['error'].get('message')}")
        return came, answer.get("result")

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
            self._heard.put((time.perf_counter(), message))
        self._heard.put((time.perf_counter(), None))


def _status(message: Mapping[str, Any]) -> str:
    """The engine's state, in a message that tells it: its first word."""
    if message.get("method") != "experimental/serverStatus":
        return ""
    return str(message["params"]["message"]).split(":", 1)[0]
