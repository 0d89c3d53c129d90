"""Commands that a client may run by name, with or without a plugin of ours."""

import dataclasses
from typing import TYPE_CHECKING, Any

from lsprotocol import types
from pygls.exceptions import JsonRpcException, JsonRpcInvalidParams

from ace_lsp.analyst import AnalystError
from ace_lsp.features.status import sentence_of
from ace_lsp.sessions import NotAnalysed

if TYPE_CHECKING:
    from ace_lsp.parts import Parts
    from ace_lsp.server import AceServer


class Commands:
    """One method per command."""

    def __init__(self, server: "AceServer", parts: "Parts") -> None:
        self._server = server
        self._parts = parts

    async def analyze_file(self, uri: object) -> dict[str, Any]:
        """Analyse an open document now; says how many findings, and how many scopes were read for it."""
        if not isinstance(uri, str):
            raise JsonRpcInvalidParams(f"ace.analyzeFile: expected the address of a document, got {uri!r}")
        try:
            summary = await self._parts.sessions.analyse_now(self._server.documents, uri)
        except (NotAnalysed, AnalystError) as error:
            raise JsonRpcException(str(error), types.LSPErrorCodes.RequestFailed) from error
        return dataclasses.asdict(summary)

    async def restart_worker(self) -> None:
        """End the worker, whatever it does, and analyse what is open with a new one."""
        await self._parts.analyst.restart()
        self._parts.sessions.refresh()

    async def show_status(self) -> dict[str, Any]:
        """How the engine is: shown to the person, and returned."""
        status = self._parts.analyst.status
        message = f"ACE {self._server.version}: {sentence_of(status)}"
        shown = types.ShowMessageParams(type=types.MessageType.Info, message=message)
        self._server.window_show_message(shown)
        return {
            "state": status.state.value,
            "message": status.message,
            "info": dict(status.info),
            "workerPid": self._parts.analyst.pid,
            "open": len(self._parts.sessions),
            "version": self._server.version,
        }
