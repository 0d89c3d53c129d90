"""Where the server's log goes: stderr or a file, and the client's log."""

import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from lsprotocol import types

if TYPE_CHECKING:
    from ace_lsp.server import AceServer

LEVELS = ("debug", "info", "warning", "error")
_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"

_TYPES = (
    (logging.ERROR, types.MessageType.Error),
    (logging.WARNING, types.MessageType.Warning),
    (logging.INFO, types.MessageType.Info),
)


def configure(level: str, file: Path | None) -> None:
    """Log to `file`, or to stderr. pygls keeps quiet: at INFO it logs each body, the user's code among it."""
    handler = logging.FileHandler(file, encoding="utf-8") if file else logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter(_FORMAT))
    handler.setLevel(level.upper())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("ace_lsp").setLevel(min(logging.INFO, handler.level))
    logging.getLogger("pygls").setLevel(logging.CRITICAL)


class ClientLog(logging.Handler):
    """Sends what ACE itself says, from INFO on, to the client; of the worker's own output only warnings, and
    nothing of what the transport says, since sending that may be what fails."""

    def __init__(self, server: "AceServer") -> None:
        super().__init__(logging.INFO)
        self._server = server

    def emit(self, record: logging.LogRecord) -> None:
        if record.name == "ace_lsp.transport" or (
            record.name == "ace_lsp.worker" and record.levelno < logging.WARNING
        ):
            return
        kind = next(kind for level, kind in _TYPES if record.levelno >= level)
        try:
            self._server.window_log_message(types.LogMessageParams(type=kind, message=record.getMessage()))
        except Exception:
            self.handleError(record)
