"""Asking a person before something of theirs is run.

A command in a project's settings may come from anybody, so it is shown and run only when somebody says so;
the word holds for that command in that folder until the server ends.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from lsprotocol import types

from ace_lsp.features.asking import choice

if TYPE_CHECKING:
    from ace_lsp.server import AceServer

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
        question = f"ACE: run `{command}` on copies of {folder}, to see which fix passes the tests?"
        if await choice(self._server, question, RUN, NOT_NOW, kind=types.MessageType.Info) != RUN:
            return False
        self._given.add((command, folder))
        return True
