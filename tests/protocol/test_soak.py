"""Typing for a long time: nothing grows, nothing old is shown, and other requests are answered at once.

A short run each time; the long one, 10,000 edits at 100 a second, is marked slow. The client writes and reads
bytes itself, because a client library would be slower than what is measured.
"""

import contextlib
import itertools
import json
import random
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

WORKER = Path(__file__).with_name("scripted_worker.py")
RATE = 100
"""Edits a second."""
DOCUMENTS = 3
LINES = 40
GROWTH = 8 * 2**20
"""Bytes that the server may have grown by after it has warmed up."""

RESPONSE = 0.050
"""Seconds within which 99 of 100 requests are answered while the model works."""
QUIET = 0.010
"""Seconds that a machine may wake the typist late in 1 of 100 cases and still say something of the server."""
PUBLISHED = 3
"""Messages about findings, at most, for an edit: findings that move, and what two scopes come to."""

PATIENCE = 240.0


class Typist:
    """A client that types in three documents and keeps the lines of each version."""

    def __init__(self, folder: Path) -> None:
        command = [sys.executable, "-m", "ace_lsp"]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL)
        self.server = psutil.Process(self.process.pid)
        self.published: list[dict[str, Any]] = []
        self.answers: dict[int, tuple[float, Any]] = {}
        self.lines: dict[str, list[str]] = {}
        self.versions: dict[str, int] = {}
        self.texts: dict[tuple[str, int], list[str]] = {}
        self.asked: dict[int, float] = {}
        self.overslept: list[float] = []
        """How much later than wanted the machine has woken the typist: what no server can be faster than."""
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        threading.Thread(target=self._read, daemon=True).start()
        worker = [sys.executable, str(WORKER), str(folder / "journal")]
        profile = json.loads((WORKER.parent / "profiles/neovim.json").read_text())
        options = {"debounce": 30, "worker": {"command": worker}}
        params = {"processId": None, "rootUri": None, "capabilities": profile}
        self.ask("initialize", {**params, "initializationOptions": options})
        self.send(method="initialized", params={})

    def send(self, **message: Any) -> None:
        body = json.dumps({"jsonrpc": "2.0", **message}).encode()
        stream = self.process.stdin
        assert stream is not None
        with self._lock:
            stream.write(b"Content-Length: %d\r\n\r\n" % len(body) + body)
            stream.flush()

    def request(self, method: str, params: Any = None) -> int:
        number = next(self._numbers)
        self.asked[number] = time.monotonic()
        self.send(id=number, method=method, **({} if params is None else {"params": params}))
        return number

    def ask(self, method: str, params: Any = None) -> Any:
        number = self.request(method, params)
        end = time.monotonic() + PATIENCE
        while number not in self.answers:
            assert time.monotonic() < end, f"no answer to {method}"
            time.sleep(0.005)
        return self.answers.pop(number)[1]

    def command(self, name: str, *arguments: Any) -> Any:
        return self.ask("workspace/executeCommand", {"command": name, "arguments": list(arguments)})

    def _read(self) -> None:
        stream = self.process.stdout
        assert stream is not None
        while line := stream.readline():
            length = int(line.split(b":")[1])
            while stream.readline().strip():
                pass
            message, now = json.loads(stream.read(length)), time.monotonic()
            if "method" not in message:
                self.answers[message["id"]] = now, message.get("result")
            elif message["method"] == "textDocument/publishDiagnostics":
                self.published.append(message["params"])
            elif "id" in message:
                asked = message["method"] == "workspace/configuration"
                self.send(id=message["id"], result=[{}] * len(message["params"]["items"]) if asked else None)

    def open(self, uri: str, lines: list[str]) -> None:
        self.lines[uri], self.versions[uri] = lines, 1
        self.texts[uri, 1] = list(lines)
        item = {"uri": uri, "languageId": "python", "version": 1, "text": "".join(lines)}
        self.send(method="textDocument/didOpen", params={"textDocument": item})

    def edit(self, uri: str, line: int, new: str) -> None:
        """Put another line in the place of one, so that the text stays as long as it is."""
        self.versions[uri] += 1
        self.lines[uri][line] = new
        self.texts[uri, self.versions[uri]] = list(self.lines[uri])
        where = {"start": {"line": line, "character": 0}, "end": {"line": line + 1, "character": 0}}
        document = {"uri": uri, "version": self.versions[uri]}
        changes = [{"range": where, "text": new}]
        self.send(
            method="textDocument/didChange", params={"textDocument": document, "contentChanges": changes}
        )

    def type(self, count: int) -> list[int]:
        """Bursts of keys in one document and then in the next; what was asked meanwhile."""
        source, begin, asked = random.Random(count), time.monotonic(), []
        uris = list(self.lines)
        for number in range(count):
            uri = uris[number // 7 % DOCUMENTS]
            line = 4 + source.randrange(LINES - 4)
            self.edit(uri, line, source.choice(("BUG\n", "# x\n", "# y\n", "x = 1\n")))
            if number % 4 == 0:
                at = {"line": line, "character": 0}
                params = {"textDocument": {"uri": uri}, "range": {"start": at, "end": at}}
                asked.append(
                    self.request("textDocument/codeAction", {**params, "context": {"diagnostics": []}})
                )
            due = begin + (number + 1) / RATE
            time.sleep(max(0.0, due - time.monotonic()))
            self.overslept.append(time.monotonic() - due)
        return asked

    def seconds(self, asked: list[int]) -> list[float]:
        """How long each answer took."""
        return [self.answers.pop(number)[0] - self.asked[number] for number in asked]

    def rest(self) -> Any:
        """The status once everything that was typed is analysed and explained ahead of hovers."""
        for uri in self.lines:
            self.command("ace.analyzeFile", uri)
        end, seen = time.monotonic() + PATIENCE, {}
        while time.monotonic() < end:
            time.sleep(1.0)
            status = self.command("ace.showStatus", {"show": False})
            if all(status[name] == seen.get(name) for name in ("tasks", "requests")):
                break
            seen = status
        return status

    def check_published(self) -> None:
        """Every finding that was shown stands where its version has one, and versions never go back."""
        newest: dict[str, int] = {}
        for each in self.published:
            uri, version = each["uri"], each["version"]
            assert version >= newest.get(uri, 0)
            newest[uri] = version
            for diagnostic in each["diagnostics"]:
                start = diagnostic["range"]["start"]
                text = self.texts[uri, version][start["line"]]
                assert text[start["character"] :].startswith("BUG"), (version, text)


@pytest.fixture
def typist(tmp_path: Path) -> Iterator[Typist]:
    made = Typist(tmp_path)
    yield made
    made.process.kill()
    made.process.wait()
    with contextlib.suppress(BrokenPipeError):
        made.process.stdin.close()


def soak(typist: Typist, warm_up: int, count: int) -> tuple[int, list[float]]:
    """By how many bytes the server has grown since it was warm, and how long answers took."""
    for number in range(DOCUMENTS):
        busy = ["def busy():\n", "    return 'SLOW'\n", "\n", "\n"] if number == 0 else ["\n"] * 4
        typist.open(f"file:///{number}.py", busy + ["# x\n"] * (LINES - 4))
    typist.type(warm_up)
    before = typist.rest()
    memory = typist.server.memory_info().rss
    typist.overslept.clear()
    asked = typist.type(count)
    after = typist.rest()
    assert after["tasks"] <= before["tasks"] + 1 and after["requests"] <= before["requests"]
    assert after["progressBars"] == 0
    for uri, lines in typist.lines.items():
        summary = typist.command("ace.analyzeFile", uri)
        assert (summary["version"], summary["findings"]) == (typist.versions[uri], lines.count("BUG\n"))
    typist.check_published()
    return typist.server.memory_info().rss - memory, typist.seconds(asked)


def p99(seconds: list[float]) -> float:
    return statistics.quantiles(seconds, n=100)[-1]


def test_some_seconds_of_typing_leave_nothing_behind_and_cost_little(typist):
    growth, seconds = soak(typist, 200, 400)
    assert growth < GROWTH and len(seconds) == 100
    assert len(typist.published) <= PUBLISHED * 600


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_10000_edits_at_100_a_second_leave_nothing_behind_and_nobody_waiting(typist):
    growth, seconds = soak(typist, 1000, 10_000)
    told = f"grown by {growth} bytes; answers: median {1e3 * statistics.median(seconds):.1f} ms, p99 "
    told += f"{1e3 * p99(seconds):.1f} ms; the machine's own delay: p99 {1e3 * p99(typist.overslept):.1f} ms"
    sys.stderr.write(told + "\n")
    assert growth < GROWTH, told
    if p99(typist.overslept) < QUIET:
        assert p99(seconds) < RESPONSE, told
