"""The specification's answers, byte for byte: one test per correction in ace_lsp/protocol.py, by its letter.

No client library stands in between, because one would repair or hide what is looked for.
"""

import contextlib
import json
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ace_lsp import serving

WORKER = Path(__file__).with_name("scripted_worker.py")
URI = "file:///a.py"
PARSE_ERROR, INVALID_REQUEST, METHOD_NOT_FOUND, INVALID_PARAMS = -32700, -32600, -32601, -32602
NOT_INITIALIZED, CANCELLED = -32002, -32800
PATIENCE = 120.0


class Raw:
    """A client that writes bytes and reads messages."""

    def __init__(self, *arguments: str, journal: Path, reads: bool = True) -> None:
        self.journal = journal
        command = [sys.executable, "-m", "ace_lsp", *arguments]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        self.heard: queue.Queue[Any] = queue.Queue()
        self.answered: dict[Any, Any] = {}
        """Answers that came before they were asked after: a server may answer in any order."""
        self.hold = threading.Event()
        """Set to stop reading."""
        self._id = 0
        if reads:
            threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        stream = self.process.stdout
        assert stream is not None
        while not self.hold.is_set() and (line := stream.readline()):
            length = 0
            while line.strip():
                name, _, value = line.partition(b":")
                length = int(value) if name.lower() == b"content-length" else length
                line = stream.readline()
            self.heard.put(json.loads(stream.read(length)))
        self.heard.put(None)

    def write(self, data: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def body(self, body: bytes, header: bytes = b"Content-Length") -> None:
        self.write(header + b": %d\r\n\r\n" % len(body) + body)

    def send(self, **message: Any) -> None:
        self.body(json.dumps({"jsonrpc": "2.0", **message}).encode())

    def request(self, method: str, params: Any = None) -> int:
        self._id += 1
        self.send(id=self._id, method=method, **({} if params is None else {"params": params}))
        return self._id

    def notify(self, method: str, params: Any = None) -> None:
        self.send(method=method, **({} if params is None else {"params": params}))

    def answer(self, to: int | None) -> Any:
        """The answer with this id, whenever it came; notifications in between are passed over."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            if to in self.answered:
                return self.answered.pop(to)
            with contextlib.suppress(queue.Empty):
                message = self.heard.get(timeout=0.1)
                assert message is not None, "the server has closed its output"
                if "method" not in message:
                    self.answered[message["id"]] = message
        raise AssertionError(f"no answer to {to}")

    def error(self, to: int | None) -> int:
        message = self.answer(to)
        assert "error" in message, message
        return message["error"]["code"]

    def ask(self, method: str, params: Any = None) -> Any:
        return self.answer(self.request(method, params))["result"]

    def initialize(self, **params: Any) -> Any:
        options = {"worker": {"command": [sys.executable, str(WORKER), str(self.journal)]}, "debounce": 0}
        what = {"processId": None, "rootUri": None, "capabilities": {}, "initializationOptions": options}
        result = self.ask("initialize", {**what, **params})
        self.notify("initialized", {})
        return result

    def open(self, text: str) -> None:
        item = {"uri": URI, "languageId": "python", "version": 1, "text": text}
        self.notify("textDocument/didOpen", {"textDocument": item})

    def still_works(self) -> bool:
        return self.ask("workspace/executeCommand", {"command": "ace.showStatus"})["state"] != ""

    def wait(self, seconds: float = PATIENCE) -> int:
        return self.process.wait(seconds)


Connect = Callable[..., Raw]


@pytest.fixture
def connect(tmp_path: Path) -> Iterator[Connect]:
    made: list[Raw] = []

    def connected(*arguments: str, reads: bool = True) -> Raw:
        made.append(Raw(*arguments, journal=tmp_path / "journal", reads=reads))
        return made[-1]

    yield connected
    for raw in made:
        raw.process.kill()
        raw.process.wait()


@pytest.fixture
def raw(connect: Connect) -> Raw:
    return connect()


@pytest.fixture
def ready(raw: Raw) -> Raw:
    raw.initialize()
    return raw


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Raw]:
    """One server for all tests that have to leave it working, which is most of what they test."""
    raw = Raw(journal=tmp_path_factory.mktemp("shared") / "journal")
    raw.initialize()
    yield raw
    raw.process.kill()
    raw.process.wait()


# --- life cycle


def test_a_request_before_initialize_is_answered_server_not_initialized(raw):
    assert raw.error(raw.request("shutdown")) == NOT_INITIALIZED
    assert raw.error(raw.request("textDocument/hover", {})) == NOT_INITIALIZED
    assert raw.initialize()["serverInfo"]["name"] == "ace-lsp"


def test_b_notification_before_initialize_is_dropped(raw):
    raw.open("x = 1\n")
    raw.notify("initialized", {})
    raw.initialize()
    assert raw.ask("workspace/executeCommand", {"command": "ace.showStatus"})["open"] == 0


def test_b_exit_before_initialize_ends_the_server_with_1(raw):
    raw.notify("exit")
    assert raw.wait() == 1


def test_c_second_initialize_is_refused_and_changes_nothing(ready):
    ready.open("x = 1\n")
    params = {"processId": None, "rootUri": None, "capabilities": {}}
    assert ready.error(ready.request("initialize", params)) == INVALID_REQUEST
    assert ready.ask("workspace/executeCommand", {"command": "ace.showStatus"})["open"] == 1


def test_d_request_after_shutdown_is_answered_invalid_request(ready):
    assert ready.ask("shutdown") is None
    assert ready.error(ready.request("workspace/executeCommand", {"command": "x"})) == INVALID_REQUEST
    assert ready.error(ready.request("shutdown")) == INVALID_REQUEST


def test_e_exit_after_shutdown_is_0(ready):
    ready.ask("shutdown")
    ready.notify("exit")
    assert ready.wait() == 0


def test_e_exit_without_shutdown_is_1(ready):
    ready.notify("exit")
    assert ready.wait() == 1


def test_f_shutdown_succeeds_while_commands_run_and_cancels_them(ready):
    ready.open("def f():\n    return 'STUCK'\n")
    running = ready.request("workspace/executeCommand", {"command": "ace.analyzeFile", "arguments": [URI]})
    down = ready.request("shutdown")
    answers = {}
    while len(answers) < 2:
        message = ready.heard.get(timeout=PATIENCE)
        if message.get("id") in (running, down) and "method" not in message:
            answers[message["id"]] = message
    assert answers[down]["result"] is None
    assert "error" in answers[running]


def test_k_exit_waits_for_nothing_that_still_runs(ready):
    ready.open("def f():\n    return 'STUCK'\n")
    wait_for(lambda: ready.journal.exists() and "stuck" in ready.journal.read_text())
    ready.ask("shutdown")
    ready.notify("exit")
    assert ready.wait() == 0


def test_the_end_of_the_input_ends_server_and_worker(ready):
    ready.open("def f():\n    return 'STUCK'\n")
    wait_for(lambda: ready.journal.exists() and "stuck" in ready.journal.read_text())
    worker = json.loads(ready.journal.read_text().splitlines()[0])["pid"]
    ready.process.stdin.close()
    assert ready.wait() == 1
    wait_for(lambda: not alive(worker))


def test_the_end_of_the_input_after_shutdown_is_0(ready):
    ready.ask("shutdown")
    ready.process.stdin.close()
    assert ready.wait() == 0


def test_p_the_server_ends_with_its_parent(connect, monkeypatch):
    parent = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    raw = connect()
    raw.initialize(processId=parent.pid)
    parent.kill()
    parent.wait()
    assert raw.wait() == 1


def test_p_a_parent_that_lives_on_another_machine_is_not_missed(connect):
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    raw = connect()
    raw.initialize(processId=gone.pid)
    time.sleep(serving.PARENT_POLL * 2)
    assert raw.still_works()


def test_killing_the_server_leaves_no_worker(ready):
    ready.open("x = 1\n")
    wait_for(lambda: ready.journal.exists() and "done" in ready.journal.read_text())
    worker = json.loads(ready.journal.read_text().splitlines()[0])["pid"]
    os.kill(ready.process.pid, signal.SIGKILL)
    wait_for(lambda: not alive(worker))


# --- messages


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("workspace/executeCommand", {"command": 3}),
        ("workspace/executeCommand", {}),
        ("workspace/executeCommand", []),
        ("workspace/executeCommand", None),
        ("textDocument/hover", {}),
        ("textDocument/hover", {"textDocument": {"uri": URI}, "position": {"line": "a", "character": 0}}),
        ("textDocument/codeAction", {"textDocument": {"uri": URI}}),
        ("textDocument/codeLens", None),
        ("textDocument/inlayHint", {"textDocument": 3}),
    ],
)
def test_g_malformed_params_are_answered_invalid_params(shared, method, params):
    assert shared.error(shared.request(method, params)) == INVALID_PARAMS


def test_g_initialize_with_malformed_params_may_be_said_again(raw):
    assert raw.error(raw.request("initialize", {"capabilities": 3})) == INVALID_PARAMS
    assert raw.initialize()["serverInfo"]["name"] == "ace-lsp"


def test_g_a_notification_with_malformed_params_is_passed_over(shared):
    shared.notify("textDocument/didOpen", {"textDocument": 3})
    shared.notify(
        "textDocument/didChange", {"textDocument": {"uri": URI, "version": 2}, "contentChanges": []}
    )
    assert shared.still_works()


@pytest.mark.parametrize(
    "body",
    [b"{", b"\xff\xfe", b'{"jsonrpc": "2.0", "id": 1', b"nonsense", b"[" * 100_000],
    ids=["cut off", "not UTF-8", "no end", "no JSON", "deep and cut off"],
)
def test_h_a_body_that_is_not_json_is_answered_parse_error(shared, body):
    shared.body(body)
    assert shared.error(None) == PARSE_ERROR
    assert shared.still_works()


@pytest.mark.parametrize(
    "body",
    [
        b"[]",
        b'[{"jsonrpc": "2.0", "id": 1, "method": "shutdown"}]',
        b"3",
        b"null",
        b"{}",
        b'{"jsonrpc": "2.0"}',
        b'{"jsonrpc": "2.0", "method": 3}',
        b'{"jsonrpc": "2.0", "id": null, "method": "shutdown"}',
        b'{"jsonrpc": "2.0", "id": {}, "method": "shutdown"}',
        b'{"jsonrpc": "2.0", "id": true, "method": "shutdown"}',
    ],
)
def test_h_what_is_json_and_no_message_is_answered_invalid_request(shared, body):
    shared.body(body)
    if body == b'{"jsonrpc": "2.0", "method": 3}':
        assert shared.still_works()  # it may be a notification, which is never answered
    else:
        assert shared.error(None) == INVALID_REQUEST


def test_h_a_message_of_another_protocol_version_is_answered_by_its_id(shared):
    shared.body(b'{"jsonrpc": "1.0", "id": 77, "method": "shutdown"}')
    assert shared.error(77) == INVALID_REQUEST


@pytest.mark.parametrize("header", [b"content-length", b"CONTENT-LENGTH", b"Content-Length"])
def test_i_header_names_are_case_insensitive(shared, header):
    body = json.dumps(
        {
            "jsonrpc": "2.0",
            "id": 5,
            "method": "workspace/executeCommand",
            "params": {"command": "ace.showStatus"},
        }
    )
    shared.body(body.encode(), header)
    assert "result" in shared.answer(5)


def test_i_other_header_fields_may_stand_before_and_after(ready):
    body = b'{"jsonrpc": "2.0", "id": 5, "method": "shutdown"}'
    kind = b"Content-Type: application/vscode-jsonrpc; charset=utf-8\r\n"
    ready.write(kind + b"Content-Length: %d\r\n" % len(body) + kind + b"\r\n" + body)
    assert ready.answer(5)["result"] is None


def test_messages_may_come_in_any_pieces(ready):
    body = b'{"jsonrpc": "2.0", "id": 5, "method": "shutdown"}'
    for byte in b"Content-Length: %d\r\n\r\n" % len(body) + body:
        ready.write(bytes([byte]))
    assert ready.answer(5)["result"] is None


@pytest.mark.parametrize(
    "garbage",
    [
        b"\r\n\r\n",
        b"Content-Length: x\r\n\r\n",
        b"Content-Length: -5\r\n\r\n",
        b"Content-Length: 0\r\n\r\n",
        b"Content-Length: 99999999999999999999\r\n\r\n{}",
        b"X" * 200_000 + b"\r\n\r\n",
        b"no header at all\r\n",
    ],
    ids=lambda garbage: repr(garbage[:30]),
)
def test_garbage_between_messages_costs_at_most_itself(shared, garbage):
    shared.write(garbage)
    assert shared.still_works()


def test_a_message_as_long_as_a_large_file_is_read(ready):
    ready.open("x = 1  # 😋\n" * 100_000)
    assert ready.ask("workspace/executeCommand", {"command": "ace.showStatus"})["open"] == 1


def test_j_a_key_jsonrpc_deep_inside_params_is_data(raw):
    result = raw.initialize(initializationOptions={"model": {"jsonrpc": "2.0", "method": "x", "id": 1}})
    assert "capabilities" in result
    assert raw.still_works()


def test_deep_json_in_params_is_survived(shared):
    deep = "[" * 50_000 + "]" * 50_000
    params = f'{{"command": "ace.analyzeFile", "arguments": {deep}}}'
    message = f'{{"jsonrpc": "2.0", "id": 9, "method": "workspace/executeCommand", "params": {params}}}'
    shared.body(message.encode())
    shared.heard.get(timeout=PATIENCE)
    assert shared.still_works()


def test_unknown_requests_are_answered_method_not_found(shared):
    assert shared.error(shared.request("textDocument/nonsense", {})) == METHOD_NOT_FOUND
    assert shared.error(shared.request("$/nonsense", {})) == METHOD_NOT_FOUND
    assert shared.error(shared.request("textDocument/rename", {})) == METHOD_NOT_FOUND
    assert shared.error(shared.request("codeAction/resolve", {"title": "x"})) == METHOD_NOT_FOUND


def test_unknown_notifications_are_passed_over(shared):
    shared.notify("$/nonsense", {})
    shared.notify("textDocument/nonsense", {"x": [1]})
    assert shared.still_works()


def test_an_answer_nobody_asked_for_is_passed_over(shared):
    shared.send(id="who?", result=3)
    shared.send(id=None, error={"code": 1, "message": "?"})
    shared.send(id="who?", error={"code": 1, "message": "?"})
    assert shared.still_works()


def test_lone_surrogates_in_a_text_do_no_harm(ready):
    ready.body(
        b'{"jsonrpc":"2.0","method":"textDocument/didOpen","params":{"textDocument":{"uri":"file:///a.py",'
        b'"languageId":"python","version":1,"text":"x = \\"\\ud83d\\"\\n"}}}'
    )
    summary = ready.ask("workspace/executeCommand", {"command": "ace.analyzeFile", "arguments": [URI]})
    assert summary["scopes"] == 1


def seen_by_the_worker(raw: Raw) -> str:
    """The text that the server has of the open document."""
    raw.ask("workspace/executeCommand", {"command": "ace.analyzeFile", "arguments": [URI]})
    lines = [json.loads(line) for line in raw.journal.read_text().splitlines()]
    return [line["text"] for line in lines if line["what"] == "scan"][-1]


def change(raw: Raw, version: int, start: tuple[int, int], end: tuple[int, int], text: str) -> None:
    where = {
        name: {"line": line, "character": character}
        for name, (line, character) in (("start", start), ("end", end))
    }
    document = {"uri": URI, "version": version}
    changes = [{"range": where, "text": text}]
    raw.notify("textDocument/didChange", {"textDocument": document, "contentChanges": changes})


def test_m_lines_end_where_the_specification_says(ready):
    ready.open("a = '\x0c\u2028\x85\x1c'\r\nb = 1\rc = 2\n")
    change(ready, 2, (2, 4), (2, 5), "3")
    assert seen_by_the_worker(ready) == "a = '\x0c\u2028\x85\x1c'\r\nb = 1\rc = 3\n"


def test_n_a_position_behind_the_end_is_clamped_to_the_end(ready):
    ready.open("abc")
    change(ready, 2, (0, 99), (7, 99), "X")
    assert seen_by_the_worker(ready) == "abcX"


def test_o_finished_progress_bars_are_forgotten(raw):
    raw.initialize(capabilities={"window": {"workDoneProgress": True}})
    raw.open("x = 1\n")
    begun = ended = 0
    while not ended:
        message = raw.heard.get(timeout=PATIENCE)
        if message.get("method") == "window/workDoneProgress/create":
            raw.send(id=message["id"], result=None)
        elif message.get("method") == "$/progress":
            kind = message["params"]["value"]["kind"]
            begun, ended = begun + (kind == "begin"), ended + (kind == "end")
    assert begun == ended == 1
    status = raw.ask("workspace/executeCommand", {"command": "ace.showStatus"})
    assert status["progressBars"] == 0


def test_s_cancelling_a_command_cancels_its_work(ready):
    ready.open("BUG  # LONG_WHY\n")
    where = {"line": 0, "character": 0}
    params = {"command": "ace.explainHere", "arguments": [URI, where]}
    running = ready.request("workspace/executeCommand", params)
    wait_for(lambda: ready.journal.exists() and '"explain"' in ready.journal.read_text())
    ready.notify("$/cancelRequest", {"id": running})
    assert ready.error(running) == CANCELLED
    wait_for(lambda: '"cancelled"' in ready.journal.read_text())


def test_u_notifications_leave_nothing_behind(ready):
    ready.open("x = 1\n")
    ready.ask("workspace/executeCommand", {"command": "ace.analyzeFile", "arguments": [URI]})
    before = ready.ask("workspace/executeCommand", {"command": "ace.showStatus"})
    for _ in range(200):
        ready.notify("textDocument/didSave", {"textDocument": {"uri": URI}})
        ready.notify("workspace/didChangeWatchedFiles", {"changes": []})
    ready.ask("workspace/executeCommand", {"command": "ace.analyzeFile", "arguments": [URI]})
    after = ready.ask("workspace/executeCommand", {"command": "ace.showStatus"})
    assert after["tasks"] <= before["tasks"] and after["requests"] <= before["requests"]


def test_v_many_hovers_can_be_cancelled_while_the_first_one_runs(ready):
    """Editors ask at each move of the mouse; none may wait for the ones before it."""
    ready.open("BUG  # LONG_WHY\n")
    ready.ask("workspace/executeCommand", {"command": "ace.analyzeFile", "arguments": [URI]})
    place = {"textDocument": {"uri": URI}, "position": {"line": 0, "character": 1}}
    asked = [ready.request("textDocument/hover", place) for _ in range(50)]
    for number in asked[:-1]:
        ready.notify("$/cancelRequest", {"id": number})
    answers = [ready.answer(number) for number in asked[:-1]]
    cancelled = [each["error"]["code"] for each in answers if "error" in each]
    # A hover that waited its whole second before its cancel was read has an answer.
    assert set(cancelled) == {CANCELLED}
    assert "latent" in ready.answer(asked[-1])["result"]["contents"]["value"]


def test_t_an_answer_of_ours_that_cannot_be_read_does_not_stop_the_first_scan(raw):
    raw.initialize(capabilities={"workspace": {"configuration": True}})
    asked = raw.heard.get(timeout=PATIENCE)
    while asked.get("method") != "workspace/configuration":
        asked = raw.heard.get(timeout=PATIENCE)
    raw.body(b'{"jsonrpc": "2.0", "id": "%s", "error": 3}' % asked["id"].encode())
    raw.open("x = BUG\n")
    wait_for(lambda: raw.journal.exists() and "done" in raw.journal.read_text())


# --- cancelling


def test_a_cancelled_request_is_answered_and_the_work_ends(ready):
    ready.open("def f():\n    return 'LONG'\n")
    running = ready.request("workspace/executeCommand", {"command": "ace.analyzeFile", "arguments": [URI]})
    wait_for(lambda: ready.journal.exists() and "slow" in ready.journal.read_text())
    ready.notify("$/cancelRequest", {"id": running})
    assert ready.error(running) == CANCELLED
    wait_for(lambda: "cancelled" in ready.journal.read_text())


@pytest.mark.parametrize("params", [{"id": 12345}, {"id": "x"}, {}, None, {"id": None}])
def test_cancelling_what_is_not_there_does_no_harm(shared, params):
    shared.notify("$/cancelRequest", params)
    assert shared.still_works()


def test_l_twenty_slow_requests_leave_the_server_listening(ready):
    ready.open("def f():\n    return 'STUCK'\n")
    for _ in range(20):
        ready.request("workspace/executeCommand", {"command": "ace.analyzeFile", "arguments": [URI]})
    assert ready.still_works()


def test_a_client_that_does_not_read_is_no_reason_to_stop_reading(connect):
    """More answers than a pipe holds, and a notification behind them that must still get in."""
    raw = connect(reads=False)
    raw.request("initialize", {"processId": None, "rootUri": None, "capabilities": {}})
    for _ in range(3000):
        raw.request("nonsense/" + "x" * 100)
    raw.notify("exit")
    assert raw.wait() == 1


def test_a_client_that_never_reads_again_is_given_up_and_the_worker_with_it(connect):
    """Its pipe is full and 64 MiB wait for it: the server ends, since nobody is there."""
    raw = connect()
    raw.initialize()
    raw.open("x = 1\n")
    wait_for(lambda: raw.journal.exists() and "done" in raw.journal.read_text())
    worker = json.loads(raw.journal.read_text().splitlines()[0])["pid"]
    raw.hold.set()
    with contextlib.suppress(BrokenPipeError):
        for _ in range(100):
            raw.request("workspace/executeCommand", {"command": "x" * 1_000_000})
    assert raw.wait() == 1
    wait_for(lambda: not alive(worker))


# --- ways in


def test_stdout_carries_messages_only_and_the_log_goes_to_the_file(connect, tmp_path):
    raw = connect("--log-file", str(tmp_path / "log"), "--log-level", "debug")
    raw.initialize()
    raw.open("x = 'NOISE'\n")
    wait_for(lambda: raw.journal.exists() and "done" in raw.journal.read_text())
    assert raw.still_works()
    assert "worker" in (tmp_path / "log").read_text()
    assert "NOISE" not in (tmp_path / "log").read_text()


@pytest.mark.skipif(sys.platform == "win32", reason="needs unix sockets")
def test_the_server_connects_to_a_pipe_of_the_clients(tmp_path):
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "pipe"))
        listener.listen()
        process = start("--pipe", str(tmp_path / "pipe"))
        listener.settimeout(PATIENCE)
        check_socket(listener.accept()[0], process)


def test_the_server_connects_to_a_socket_of_the_clients():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        process = start("--socket", str(listener.getsockname()[1]))
        listener.settimeout(PATIENCE)
        check_socket(listener.accept()[0], process)


def test_the_server_listens_for_one_client():
    process = start("--tcp", "0")
    assert process.stderr is not None
    said = process.stderr.readline().decode()
    assert said.startswith("ace-lsp: listening on 127.0.0.1:")
    check_socket(socket.create_connection(("127.0.0.1", int(said.rpartition(":")[2]))), process)


def start(*arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-m", "ace_lsp", *arguments], stderr=subprocess.PIPE)


def check_socket(connection: socket.socket, process: subprocess.Popen[bytes]) -> None:
    """A whole session over a socket."""
    params = {"processId": None, "rootUri": None, "capabilities": {}}
    stream = connection.makefile("rwb")
    for message in (
        {"id": 1, "method": "initialize", "params": params},
        {"id": 2, "method": "shutdown"},
        {"method": "exit"},
    ):
        body = json.dumps({"jsonrpc": "2.0", **message}).encode()
        stream.write(b"Content-Length: %d\r\n\r\n" % len(body) + body)
    stream.flush()
    heard = stream.read()
    assert b'"id": 1' in heard and b'"id": 2' in heard
    assert process.wait(PATIENCE) == 0
    connection.close()


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
