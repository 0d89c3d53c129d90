"""Commands that a client may run by name, with or without a plugin of ours."""

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from lsprotocol import types
from pygls.exceptions import JsonRpcException, JsonRpcInvalidParams

from ace_analysis.errors import AceError
from ace_lsp.features.arguments import options_of, position_of, range_of, uri_of, values_of
from ace_lsp.features.editing import NoText
from ace_lsp.features.explaining import NothingThere
from ace_lsp.features.progress import CancelledByPerson, watched
from ace_lsp.features.regenerating import NoPlace
from ace_lsp.features.reporting import NoDocument
from ace_lsp.features.showing import open_page, show
from ace_lsp.features.status import sentence_of
from ace_lsp.features.workspace import NoWorkspace, Result
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
        """Why the model says what it says of a place: shown, unless `show` is false, and returned; with
        `html` as a page, too."""
        name = "ace.explainHere"
        address, where = uri_of(name, uri), position_of(name, position)
        wanted = options_of(name, options, show=True, html=False)
        async with _told():
            explained = await watched(
                self._server,
                "ACE: explaining",
                lambda report: self._parts.explainer.explain_here(
                    address, where, report, html=wanted["html"]
                ),
            )
        if wanted["show"]:
            await show(self._server, "explanation", explained["markdown"], explained["plain"])
        return explained

    async def regenerate(self, uri: object, where: object, options: object = None) -> dict[str, Any]:
        """Something better for a stretch, put in place unless `apply` is false; `version` is that of the
        document which the stretch is in."""
        name = "ace.regenerate"
        address, stretch = uri_of(name, uri), range_of(name, where)
        wanted = options_of(name, options, version=-1, apply=True)
        async with _told():
            try:
                return await self._parts.regenerator.regenerate(
                    address, stretch, wanted["version"], apply=wanted["apply"]
                )
            except CancelledByPerson:
                return {"applied": False, "reason": "cancelled"}

    async def report(self, uri: object, options: object = None) -> dict[str, Any]:
        """A document's findings as a page: its address, and shown in a browser unless `show` is false."""
        address = uri_of("ace.report", uri)
        wanted = options_of("ace.report", options, show=True)
        async with _told():
            made = await watched(
                self._server,
                "ACE: making the report",
                lambda report: self._parts.reporter.report(address, report),
            )
        if wanted["show"] and not await open_page(self._server, made["uri"]):
            message = f"ACE: the report is at {made['uri']}"
            self._server.window_show_message(types.ShowMessageParams(types.MessageType.Info, message))
        return made

    async def analyze_workspace(self) -> dict[str, Any]:
        """Analyse every Python file of the workspace; what is found is shown as it comes."""
        result = Result()
        async with _told():
            try:
                await watched(
                    self._server,
                    "ACE: analysing the workspace",
                    lambda report: self._parts.workspace_scan.run(report, result),
                )
            except CancelledByPerson:
                return {**result.told(), "cancelled": True}
        return {**result.told(), "cancelled": False}

    async def switch_model(self, name: object = None) -> dict[str, Any]:
        """Take another model until the server ends; without a name, the one that is set."""
        if name is not None and (not isinstance(name, str) or not name.strip()):
            raise JsonRpcInvalidParams(f"ace.switchModel: expected the name of a model, got {name!r}")
        await self._parts.watch.choose_model(name)
        return {"model": self._parts.configuration.worker_plan().engine["model"]["name"]}

    async def preview_edit(self, what: object = None) -> dict[str, Any]:
        """What an edit of the model would change, and what it would do: shown, and returned."""
        request = _edit_of("ace.edit.preview", what)
        async with _told():
            return await self._parts.editor.preview(request)

    async def apply_edit(self, what: object = None) -> dict[str, Any]:
        """Edit the model, once a person has seen the preview and says so, and take the edited one."""
        request = _edit_of("ace.edit.apply", what)
        async with _told():
            return await self._parts.editor.apply(request)

    async def undo_edit(self, what: object = None) -> dict[str, Any]:
        """Take an edit back, the last of the model in use if none is named."""
        wanted = options_of("ace.edit.undo", what, name="", edit="")
        async with _told():
            return await self._parts.editor.undo(wanted["name"] or None, wanted["edit"] or None)

    async def pause(self) -> None:
        """Analyse nothing until `ace.resume`, unless a person asks for it."""
        self._parts.sessions.pause()
        self._parts.status.pause(True)

    async def resume(self) -> None:
        self._parts.status.pause(False)
        self._parts.sessions.resume()

    async def restart_worker(self) -> None:
        """End the worker, whatever it does, and analyse what is open with a new one."""
        await self._parts.analyst.restart()
        self._parts.sessions.refresh()

    async def show_status(self, options: object = None) -> dict[str, Any]:
        """How the engine is: shown to the person, and returned with what a bug report needs."""
        wanted = options_of("ace.showStatus", options, show=True)
        status = self._parts.analyst.status
        message = f"ACE {self._server.version}: {sentence_of(status, self._parts.sessions.paused)}"
        if wanted["show"]:
            shown = types.ShowMessageParams(type=types.MessageType.Info, message=message)
            self._server.window_show_message(shown)
        return {
            "state": status.state.value,
            "message": status.message,
            "paused": self._parts.sessions.paused,
            "info": dict(status.info),
            "workerPid": self._parts.analyst.pid,
            "open": len(self._parts.sessions),
            "version": self._server.version,
            "tasks": len(asyncio.all_tasks()),
            "requests": self._server.protocol.running,
            "progressBars": len(self._server.work_done_progress.tokens),
        }


def _edit_of(command: str, what: object) -> dict[str, Any]:
    request = values_of(command, what)
    if request.get("uri") is not None:
        uri_of(command, request["uri"])
    return request


@contextlib.asynccontextmanager
async def _told() -> AsyncIterator[None]:
    """What goes wrong on the way is the command's answer, in words for a person."""
    try:
        yield
    except CancelledByPerson as error:
        raise JsonRpcException("cancelled", types.LSPErrorCodes.RequestCancelled) from error
    except (NotAnalysed, NothingThere, NoPlace, NoWorkspace, NoDocument, NoText, AceError) as error:
        raise JsonRpcException(str(error), types.LSPErrorCodes.RequestFailed) from error
