"""How the engine is, told to the client.

As a status, as a progress bar while a model loads, and once in words when there won't be any engine without
the user.
"""

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from lsprotocol import types

from ace_lsp.analyst import State, Status
from ace_lsp.features.progress import ProgressBar

if TYPE_CHECKING:
    from ace_lsp.server import AceServer

logger = logging.getLogger(__name__)

SERVER_STATUS = "experimental/serverStatus"
HOW_TO_RETRY = "Then run the command ace.restartWorker."

_RESTING = (State.ABSENT, State.READY, State.FAILED)


class StatusReporter:
    """Hears of each change of the analyst's status."""

    def __init__(self, server: "AceServer", cancel_loading: Callable[[], None]) -> None:
        self._server = server
        self._cancel_loading = cancel_loading
        self._loading: ProgressBar | None = None
        self._last: dict[str, Any] | None = None
        self._failed = False
        self._status = Status()
        self.paused = False

    def pause(self, paused: bool) -> None:
        """Tell that nothing is analysed unasked, or that it is again."""
        self.paused = paused
        self._tell()

    def __call__(self, status: Status) -> None:
        self._show_loading(status)
        if status.state is State.FAILED and not self._failed:
            self._say_failed(status)
        self._failed = status.state is State.FAILED
        self._status = status
        self._tell()

    def _tell(self) -> None:
        if not self._server.client.server_status:
            return
        told = server_status_of(self._status, paused=self.paused)
        if told != self._last:
            self._last = told
            self._server.protocol.notify(SERVER_STATUS, told)

    def close(self) -> None:
        if self._loading is not None:
            self._loading.end()

    def _show_loading(self, status: Status) -> None:
        if status.state in (State.STARTING, State.LOADING):
            if self._loading is None:
                self._loading = ProgressBar(self._server, "ACE", on_cancel=self._cancel_loading)
            self._loading.report(status.message, status.fraction)
        elif self._loading is not None:
            self._loading.end()
            self._loading = None

    def _say_failed(self, status: Status) -> None:
        logger.error("no analysis: %s", status.message)
        if status.info.get("by_user"):
            return
        message = f"ACE: {status.message.rstrip('.')}. {HOW_TO_RETRY}"
        self._server.window_show_message(
            types.ShowMessageParams(type=types.MessageType.Error, message=message)
        )


def server_status_of(status: Status, *, paused: bool = False) -> dict[str, Any]:
    """The params of `experimental/serverStatus`."""
    health = "error" if status.state is State.FAILED else "ok"
    return {"health": health, "quiescent": status.state in _RESTING, "message": sentence_of(status, paused)}


def sentence_of(status: Status, paused: bool = False) -> str:
    """The status in one line for a person."""
    parts = [*(["paused"] if paused else []), status.state.value]
    if status.message:
        parts.append(status.message)
    if (model := status.info.get("model")) is not None:
        dtype = str(status.info.get("dtype", "")).removeprefix("torch.")
        place = " ".join(filter(None, (str(status.info.get("device", "")), dtype)))
        if (base := status.info.get("edited_from")) is not None:
            model = f"{model} (edited from {base})"
        parts.append(f"{model} on {place}" if place else str(model))
    return ": ".join(parts)
