"""Commands that a client may run by name, with or without a plugin of ours."""

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from lsprotocol import types
from pygls.exceptions import JsonRpcException

from ace_analysis.errors import AceError
from ace_lsp.features.arguments import options_of, position_of, uri_of
from ace_lsp.features.explaining import NothingThere
from ace_lsp.features.progress import CancelledByPerson, watched
from ace_lsp.features.showing import show
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
        address = uri_of("ace.analyzeFile", uri)
        async with _told():
            summary = await self._parts.sessions.analyse_now(self._server.documents, address)
        return dataclasses.asdict(summary)

    async def explain_here(self, uri: object, position: object, options: object = None) -> dict[str, Any]:
        """Why the model says what it says of a place: shown, unless `show` is false, and returned."""
        name = "ace.explainHere"
        address, where = uri_of(name, uri), position_of(name, position)
        wanted = options_of(name, options, show=True)
        async with _told():
            explained = await watched(
                self._server,
                "ACE: explaining",
                lambda report: self._parts.explainer.explain_here(address, where, report),
            )
        if wanted["show"]:
            await show(self._server, "explanation", explained["markdown"], explained["plain"])
        return explained

    async def restart_worker(self) -> None:
        """End the worker, whatever it does, and analyse what is open with a new one."""
        await self._parts.analyst.restart()
        self._parts.sessions.refresh()

    async def show_status(self) -> dict[str, Any]:
        """How the engine is: shown to the person, and returned with what a bug report needs."""
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
            "tasks": len(asyncio.all_tasks()),
            "progressBars": len(self._server.work_done_progress.tokens),
        }


@contextlib.asynccontextmanager
async def _told() -> AsyncIterator[None]:
    """What goes wrong on the way is the command's answer, in words for a person."""
    try:
        yield
    except CancelledByPerson as error:
        raise JsonRpcException("cancelled", types.LSPErrorCodes.RequestCancelled) from error
    except (NotAnalysed, NothingThere, AceError) as error:
        raise JsonRpcException(str(error), types.LSPErrorCodes.RequestFailed) from error
