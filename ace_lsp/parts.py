"""What a server is made of, put together when the client is first listened to.

Not at the start: importing these modules would make up a fifth of the time until `initialize` is answered.
"""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from ace_lsp.configuration import Configuration
from ace_lsp.features.commands import Commands
from ace_lsp.features.editing import ModelEditor
from ace_lsp.features.explaining import Explainer
from ace_lsp.features.lenses import Lenses
from ace_lsp.features.progress import ProgressBar
from ace_lsp.features.regenerating import Regenerator
from ace_lsp.features.reporting import Reporter
from ace_lsp.features.status import StatusReporter
from ace_lsp.features.workspace import WorkspaceScan
from ace_lsp.publishing import Publisher
from ace_lsp.session import Desk
from ace_lsp.sessions import Sessions
from ace_lsp.watching import SettingsWatch
from ace_lsp.worker_analyst import WorkerAnalyst

if TYPE_CHECKING:
    from ace_lsp.server import AceServer


class Parts:
    """Made once per server, inside its running event loop and after `initialize`."""

    def __init__(self, server: "AceServer") -> None:
        self._server = server
        self.configuration = Configuration()
        self.analyst = WorkerAnalyst(self.configuration.worker_plan)
        self.status = StatusReporter(server, self._cancel_loading)
        self.analyst.subscribe(self.status)
        self.publisher = Publisher(server, lambda: self.lenses.news())
        desk = Desk(
            analyst=self.analyst,
            publisher=self.publisher,
            make_bar=self._make_bar,
            on_analysed=lambda session: self.explainer.ahead(session),
        )
        self.sessions = Sessions(desk, self.configuration)
        self.watch = SettingsWatch(server, self)
        self.watch.start(server.initialization_options)
        self.explainer = Explainer(server, self)
        self.regenerator = Regenerator(server, self)
        self.editor = ModelEditor(server, self)
        self.reporter = Reporter(server, self)
        self.lenses = Lenses(server, self)
        self.workspace_scan = WorkspaceScan(server, self)
        self.commands = Commands(server, self)
        self._cancelling: asyncio.Task[None] | None = None

    async def close(self) -> None:
        """End everything that runs, the worker too."""
        self.sessions.stop()
        self.regenerator.close()
        await self.analyst.close()
        self.status.close()

    def _make_bar(self, title: str, on_cancel: Callable[[], None]) -> ProgressBar:
        return ProgressBar(self._server, title, on_cancel=on_cancel)

    def _cancel_loading(self) -> None:
        self._cancelling = asyncio.ensure_future(self.analyst.cancel_loading())
