"""The worker's message loop, with an engine that follows a script: torch is not imported here."""

import json
import os
import subprocess
import sys
import threading
import types
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, ClassVar

import pytest

from ace_analysis import worker
from ace_analysis.errors import BundleError, Cancelled, InputError
from ace_analysis.report.attribution import Attribution, AttributionTarget, TargetKind
from ace_analysis.report.attribution_wire import attribution_from_wire
from ace_analysis.report.finding import ScopeReport
from ace_analysis.report.wire import scope_report_from_wire
from ace_analysis.source.document import TextSpan


class Options:
    def __init__(self, **given: Any) -> None:
        self.given = given


WHY = Attribution(
    target=AttributionTarget(
        kind=TargetKind.SITE, span=TextSpan(2, 3), text="=", description="d", probability=0.5
    ),
    unit="log-odds",
    value=-1.5,
)


class ScriptedEngine:
    """Says what it was asked; a text "wait" waits for a cancel, "explode" and "refuse" raise."""

    loaded: ClassVar[list[Any]] = []
    closed: ClassVar[int] = 0

    @classmethod
    def load(cls, settings: Any, progress: Callable[[str, float | None], None]) -> "ScriptedEngine":
        if settings.model.name == "none":
            raise BundleError("expected a bundle")
        progress("reading", 0.5)
        cls.loaded.append(settings)
        return cls()

    def info(self) -> dict[str, Any]:
        return {"model": self.loaded[-1].model.name}

    def close(self) -> None:
        type(self).closed += 1

    def scan(
        self, document: Any, *, options: Options, cancelled: Any, on_scope: Any
    ) -> tuple[ScopeReport, ...]:
        if document.text == "wait":
            started.set()
            while not cancelled():
                pass
            raise Cancelled("cancelled")
        if document.text == "explode":
            raise ZeroDivisionError("boom")
        if document.text == "refuse":
            raise BundleError("expected another bundle")
        scans.append((document, options.given))
        report = ScopeReport(scope=TextSpan(0, len(document.text)), name="f")
        on_scope(report)
        return (report,)

    def explain(
        self, document: Any, offset: int, *, options: Options, cancelled: Any, progress: Any
    ) -> Attribution:
        if document.text == "wait":
            started.set()
            while not cancelled():
                pass
            raise Cancelled("cancelled")
        if offset < 0:
            raise InputError("expected a place in the text")
        progress("explaining", None)
        scans.append((document, offset, options.given))
        return WHY


started = threading.Event()
scans: list[Any] = []


class Client:
    """Speaks to a worker in this process."""

    def __init__(self) -> None:
        from_client, self._into = os.pipe()
        self._out, to_client = os.pipe()
        self.sink: BinaryIO = os.fdopen(self._into, "wb")
        self.source: BinaryIO = os.fdopen(self._out, "rb")
        self.worker = worker.Worker(os.fdopen(from_client, "rb"), os.fdopen(to_client, "wb"))
        self.thread = threading.Thread(target=self.worker.serve, daemon=True)
        self.thread.start()
        self.notes: list[Any] = []

    def raw(self, body: bytes) -> None:
        self.sink.write(b"Content-Length: %d\r\n\r\n" % len(body) + body)
        self.sink.flush()

    def send(self, **message: Any) -> None:
        self.raw(json.dumps({"jsonrpc": "2.0", **message}).encode())

    def answer(self) -> Any:
        """The next answer; notes before it are kept."""
        while True:
            body = worker.read_body(self.source)
            assert body is not None
            message = json.loads(body)
            if "method" not in message:
                return message
            self.notes.append(message)

    def ask(self, method: str, **params: Any) -> Any:
        self.send(id=1, method=method, params=params)
        answer = self.answer()
        assert answer["id"] == 1
        return answer.get("result", answer.get("error"))


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    engine = types.ModuleType("ace_analysis.engine")
    engine.Engine = ScriptedEngine  # pyright: ignore
    engine.ScanOptions = engine.ExplainOptions = Options  # pyright: ignore
    monkeypatch.setitem(sys.modules, "ace_analysis.engine", engine)
    started.clear()
    scans.clear()
    made = Client()
    yield made
    made.sink.close()
    made.thread.join(5)


@pytest.fixture
def loaded(client: Client) -> Client:
    client.ask("ace/load", settings={})
    return client


def test_loading_tells_its_progress_and_then_what_was_loaded(client):
    answer = client.ask("ace/load", settings={"model": {"name": "toy"}})
    assert answer == {"model": "toy", "methods": sorted(worker.METHODS)}
    assert {"ace/explain", "ace/info", "ace/load", "ace/scan"} <= set(answer["methods"])
    assert client.notes[0]["params"] == {"id": 1, "message": "reading", "fraction": 0.5}
    assert client.ask("ace/info")["model"] == "toy"


def test_loading_again_lets_go_of_the_engine_before(loaded):
    before = ScriptedEngine.closed
    loaded.ask("ace/load", settings={})
    assert ScriptedEngine.closed == before + 1


def test_a_scan_tells_each_scope_and_all_of_them_at_the_end(loaded):
    answer = loaded.ask("ace/scan", uri="a.py", text="x = 1", version=3, first=[0, 2], max_false_alarms=0.5)
    assert scope_report_from_wire(answer["scopes"][0]).scope == TextSpan(0, 5)
    assert loaded.notes[-1] == {
        "jsonrpc": "2.0",
        "method": "ace/scope",
        "params": {"id": 1, "scope": answer["scopes"][0]},
    }
    document, options = scans[0]
    assert (document.uri, document.text, document.version) == ("a.py", "x = 1", 3)
    assert options == {"sites": False, "max_false_alarms": 0.5, "first": TextSpan(0, 2), "only": None}


def test_a_cancel_gets_in_while_a_scan_runs(loaded):
    loaded.send(id=7, method="ace/scan", params={"uri": "a", "text": "wait"})
    assert started.wait(5)
    loaded.send(method="$/cancelRequest", params={"id": 7})
    answer = loaded.answer()
    assert (answer["id"], answer["error"]["code"]) == (7, worker.CANCELLED)
    assert loaded.ask("ace/info")["model"]


def test_an_explanation_is_answered_as_it_crosses_the_wire(loaded):
    answer = loaded.ask("ace/explain", uri="a.py", text="x = 1", version=3, offset=2, expectation=True)
    assert attribution_from_wire(answer) == WHY
    assert loaded.notes[-1]["params"] == {"id": 1, "message": "explaining", "fraction": None}
    document, offset, options = scans[0]
    assert (document.uri, document.text, document.version, offset) == ("a.py", "x = 1", 3, 2)
    assert options == {"expectation": True, "max_false_alarms": None, "check": 0}


def test_an_explanation_can_be_cancelled(loaded):
    loaded.send(id=7, method="ace/explain", params={"uri": "a", "text": "wait", "offset": 0})
    assert started.wait(5)
    loaded.send(method="$/cancelRequest", params={"id": 7})
    assert loaded.answer()["error"]["code"] == worker.CANCELLED


def test_what_was_cancelled_while_it_waited_never_runs(loaded):
    for number in (7, 8):
        loaded.send(id=number, method="ace/scan", params={"uri": "a", "text": "wait"})
    assert started.wait(5)
    loaded.send(method="$/cancelRequest", params={"id": 8})
    loaded.send(method="$/cancelRequest", params={"id": 7})
    assert [loaded.answer()["error"]["code"] for _ in range(2)] == [worker.CANCELLED] * 2


@pytest.mark.parametrize(
    ("method", "params", "kind", "told"),
    [
        ("ace/scan", {"text": ""}, "InputError", "ace/scan: expected a parameter 'uri'"),
        ("ace/scan", {"uri": "a", "text": "", "first": [1]}, "InputError", r"expected a span [start, end]"),
        ("ace/scan", {"uri": "a", "text": "", "only": [[2, 1]]}, "InputError", "expected a span"),
        ("ace/scan", {"uri": "a", "text": "refuse"}, "BundleError", "expected another bundle"),
        ("ace/scan", {"uri": "a", "text": "explode"}, "ZeroDivisionError", "boom"),
        ("ace/explain", {"uri": "a", "text": "x"}, "InputError", "expected a parameter 'offset'"),
        ("ace/explain", {"uri": "a", "text": "x", "offset": "1"}, "InputError", "offset: expected a whole"),
        (
            "ace/explain",
            {"uri": "a", "text": "x", "offset": 0, "check": "all"},
            "InputError",
            "check: expected",
        ),
        ("ace/explain", {"uri": "a", "text": "x", "offset": -1}, "InputError", "expected a place in the"),
        ("ace/load", {"settings": {"model": {"name": "none"}}}, "BundleError", "expected a bundle"),
        ("ace/load", {"settings": {"modle": {}}}, "SettingsError", "did you mean 'model'"),
        ("ace/nonsense", {}, "MethodNotFound", "expected one of ace/load, ace/info, ace/scan"),
    ],
)
def test_what_goes_wrong_is_answered_with_its_class_and_its_words(loaded, method, params, kind, told):
    error = loaded.ask(method, **params)
    assert error["data"]["type"] == kind
    assert told in error["message"]
    assert loaded.ask("shutdown") is None


def test_scanning_before_loading_is_refused(client):
    assert "expected ace/load first" in client.ask("ace/scan", uri="a", text="")["message"]


def test_without_the_engines_libraries_it_is_said_how_to_install_them(client, monkeypatch):
    monkeypatch.setitem(sys.modules, "ace_analysis.engine", None)
    error = client.ask("ace/load", settings={})
    assert "pip install 'ace-lsp[engine]'" in error["message"]
    assert sys.executable in error["message"]


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"\xff",
        b"[]",
        b'{"id": 1}',
        b'{"id": 1, "method": "ace/info", "params": [1]}',
        b'{"id": {}, "method": "ace/info"}',
        b"[" * 100_000,
    ],
    ids=lambda body: repr(body[:50]),
)
def test_what_is_no_request_is_answered_and_the_worker_goes_on(loaded, body):
    loaded.raw(body)
    answer = loaded.answer()
    assert answer["id"] is None and answer["error"]["code"] in (worker.PARSE_ERROR, worker.INVALID_REQUEST)
    assert loaded.ask("ace/info")["model"]


def test_shutdown_is_answered_and_exit_ends_the_loop(client):
    assert client.ask("shutdown") is None
    client.send(method="exit")
    client.thread.join(5)
    assert not client.thread.is_alive()


def test_the_end_of_the_input_stops_what_runs(loaded):
    loaded.send(id=7, method="ace/scan", params={"uri": "a", "text": "wait"})
    assert started.wait(5)
    loaded.sink.close()
    loaded.thread.join(5)
    assert not loaded.thread.is_alive()
    loaded.worker.wait_for_jobs(5)
    assert loaded.worker._open == {}


def process() -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "ace_analysis.worker"]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def test_the_process_answers_on_stdio_and_ends_with_its_input():
    body = b'{"jsonrpc": "2.0", "id": 1, "method": "shutdown"}'
    out, err = process().communicate(b"content-length: %d\r\n\r\n" % len(body) + body, timeout=60)
    assert out.endswith(b'{"jsonrpc": "2.0", "id": 1, "result": null}')
    assert err == b""


def test_starting_the_process_does_not_import_torch():
    code = "import sys, ace_analysis.worker; print('torch' in sys.modules, 'numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
