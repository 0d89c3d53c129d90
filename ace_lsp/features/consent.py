"""Asking a person before something of theirs is run.

A command in a project's settings may come from anybody, so it is shown and run only when somebody says so;
the word holds for that command in that folder until the server ends.
"""

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from lsprotocol import types

if TYPE_CHECKING:
    from ace_lsp.server import AceServer

logger = logging.getLogger(__name__)

RUN, NOT_NOW = "Run them", "Not now"


class Consent:
    """What a person has agreed to."""

    def __init__(self, server: "AceServer") -> None:
        self._server = server
        self._given: set[tuple[str, Path]] = set()

    async def to_run(self, command: str, folder: Path) -> bool:
        """Whether the tests may be run; asked until it is agreed to, and a refusal counts once."""
        if (command, folder) in self._given:
            return True
        params = types.ShowMessageRequestParams(
            type=types.MessageType.Info,
            message=f"ACE: run `{command}` on copies of {folder}, to see which fix passes the tests?",
            actions=[types.MessageActionItem(RUN), types.MessageActionItem(NOT_NOW)],
        )
        try:
            chosen = await self._server.window_show_message_request_async(params)
        except Exception as error:
            logger.info("nobody could be asked whether the tests may run: %s", error)
            return False
        if chosen is None or chosen.title != RUN:
            return False
        self._given.add((command, folder))
        return True
