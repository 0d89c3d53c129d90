"""Keeps the configuration as the client and the project's files have it, and acts on what changes."""

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lsprotocol import types
from pygls.uris import to_fs_path

from ace_lsp.configuration import CONFIG_FILES
from ace_lsp.features.workspace import paths_of
from ace_lsp.worker_process import WorkerPlan

if TYPE_CHECKING:
    from ace_lsp.parts import Parts
    from ace_lsp.server import AceServer

logger = logging.getLogger(__name__)


class SettingsWatch:
    """The conversation with the client about settings."""

    def __init__(self, server: "AceServer", parts: "Parts") -> None:
        self._server = server
        self._parts = parts
        self._configuration = parts.configuration

    def start(self, options: object) -> None:
        """What `initialize` brings."""
        self._configuration.start(options, self._roots())

    async def settle_in(self) -> None:
        """Once the client may be asked: its settings, and to be told when they or the files change."""
        await asyncio.gather(self._subscribe(), self.settings_changed(None))

    async def settings_changed(self, pushed: object) -> None:
        """Ask for the settings; a client that can't be asked has `pushed` them."""
        before = self._plan()
        whole, of_folders = pushed, {}
        if self._server.client.configuration:
            whole, of_folders = await self._asked()
        self._configuration.set_client(whole, of_folders)
        await self._act(before)

    async def folders_changed(self) -> None:
        self._configuration.set_roots(self._roots())
        await self.settings_changed(None)

    async def choose_model(self, name: str | None) -> None:
        """On a person's word, above what is set anywhere."""
        before = self._plan()
        self._configuration.choose_model(name)
        await self._act(before)

    async def files_changed(self, changes: Sequence[types.FileEvent]) -> None:
        """Files on disk are others now: configuration, or what a run over the workspace has looked at."""
        changed = paths_of(changes)
        self._parts.workspace_scan.forget(changed)
        if all(uri.endswith((".py", ".pyw")) for uri in changed):
            return
        before = self._plan()
        self._configuration.forget_files()
        await self._act(before)

    async def document_saved(self) -> None:
        """The time to look for changed files, for clients that don't watch them."""
        if self._server.client.watches_files:
            return
        before = self._plan()
        self._configuration.forget_files()
        if before is not None and before.identity != self._configuration.worker_plan().identity:
            await self._act(before)

    def _plan(self) -> WorkerPlan | None:
        """The worker's plan, once one can have been started by it."""
        return self._configuration.worker_plan() if self._configuration.ready.is_set() else None

    async def _act(self, before: WorkerPlan | None) -> None:
        plan = self._configuration.worker_plan()
        if before is not None and before.identity != plan.identity:
            await self._parts.analyst.restart()
        self._parts.sessions.refresh()
        for problem in self._configuration.new_problems():
            logger.warning("%s", problem)
            self._server.window_show_message(
                types.ShowMessageParams(type=types.MessageType.Warning, message=f"ACE: {problem}")
            )

    def _roots(self) -> tuple[Path, ...]:
        workspace = self._server.workspace
        uris = [folder.uri for folder in workspace.folders.values()] or [workspace.root_uri or ""]
        paths = [to_fs_path(uri) for uri in uris if uri]
        return tuple(Path(path) for path in paths if path)

    async def _asked(self) -> tuple[object, dict[Path, object]]:
        """The section "ace" for everything and each folder; nothing from a client that answers otherwise."""
        roots = self._configuration.roots
        items = [types.ConfigurationItem(section="ace")]
        items += [types.ConfigurationItem(section="ace", scope_uri=root.as_uri()) for root in roots]
        answer: object = None
        try:
            params = types.ConfigurationParams(items=items)
            answer = await self._server.workspace_configuration_async(params)
        except Exception as error:
            logger.warning("the client did not say what is set: %s", error)
        if not isinstance(answer, list | tuple) or len(answer) != len(items):
            return None, {}
        return answer[0], dict(zip(roots, answer[1:], strict=True))

    async def _subscribe(self) -> None:
        client, wanted = self._server.client, []
        if client.watches_configuration:
            options = types.DidChangeConfigurationRegistrationOptions(section="ace")
            method = types.WORKSPACE_DID_CHANGE_CONFIGURATION
            wanted.append(types.Registration(id="ace-settings", method=method, register_options=options))
        if client.watches_files:
            watcher = types.FileSystemWatcher(glob_pattern=CONFIG_FILES)
            options = types.DidChangeWatchedFilesRegistrationOptions(watchers=[watcher])
            method = types.WORKSPACE_DID_CHANGE_WATCHED_FILES
            wanted.append(types.Registration(id="ace-files", method=method, register_options=options))
        if wanted:
            with contextlib.suppress(Exception):
                await self._server.client_register_capability_async(types.RegistrationParams(wanted))
