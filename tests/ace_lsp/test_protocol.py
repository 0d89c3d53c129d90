"""What can't be seen from outside; the specification's answers are in tests/protocol/test_conformance.py."""

import asyncio
import json
from typing import Any

from ace_lsp.server import AceServer

URI = "file:///a.js"


class Sink:
    """A transport that keeps what is sent."""

    def __init__(self) -> None:
        self.sent: list[Any] = []

    def write(self, data: bytes) -> None:
        self.sent.append(json.loads(data.partition(b"\r\n\r\n")[2]))


def call(method: str, params: Any, **more: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "method": method, "params": params, **more}


async def running(capabilities: dict[str, Any] | None = None) -> tuple[AceServer, Sink]:
    server, sink = AceServer(), Sink()
    server.protocol.set_writer(sink)
    params = {"processId": None, "rootUri": None, "capabilities": capabilities or {}}
    server.protocol.receive(call("initialize", params, id=1))
    server.protocol.receive(call("initialized", {}))
    await asyncio.sleep(0.01)
    return server, sink


async def test_u_notifications_leave_nothing_behind():
    server, _ = await running()
    item = {"uri": URI, "languageId": "javascript", "version": 1, "text": ""}
    for _ in range(50):
        server.protocol.receive(call("textDocument/didOpen", {"textDocument": item}))
        server.protocol.receive(call("textDocument/didSave", {"textDocument": {"uri": URI}}))
        server.protocol.receive(call("workspace/didChangeConfiguration", {"settings": None}))
        server.protocol.receive(call("textDocument/didClose", {"textDocument": {"uri": URI}}))
    await asyncio.sleep(0.05)
    assert server.protocol._request_futures == {}
    await server.close()


async def test_t_an_answer_that_cannot_be_read_fails_the_request_that_it_is_for():
    server, sink = await running({"window": {"workDoneProgress": True}})
    asking = asyncio.ensure_future(server.work_done_progress.create_async("token"))
    await asyncio.sleep(0)
    asked = next(
        message for message in sink.sent if message.get("method") == "window/workDoneProgress/create"
    )
    server.protocol.receive({"jsonrpc": "2.0", "id": asked["id"], "error": 3})
    done, _ = await asyncio.wait({asking}, timeout=5)
    assert done and asking.exception() is not None
    await server.close()


async def test_the_client_is_told_only_what_the_server_does():
    _, sink = await running()
    told = sink.sent[0]["result"]["capabilities"]
    assert set(told) == {
        "codeActionProvider",
        "codeLensProvider",
        "executeCommandProvider",
        "hoverProvider",
        "inlayHintProvider",
        "positionEncoding",
        "textDocumentSync",
        "workspace",
    }
    _, sink = await running(
        {"textDocument": {"diagnostic": {}}, "workspace": {"diagnostics": {"refreshSupport": True}}}
    )
    assert sink.sent[0]["result"]["capabilities"]["diagnosticProvider"] == {
        "identifier": "ace",
        "interFileDependencies": False,
        "workspaceDiagnostics": False,
    }
