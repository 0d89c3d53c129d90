"""Edits of the model itself, from the editor.

    preview   ace/edit/preview ──> a message
    apply     ace/edit/preview ──> a question ──Apply──> ace/edit/apply ──> the edited model is taken
    undo      ace/edit/undo ──> the model is loaded without the edit; its base, when none is left

Nothing is written unless a person says so: a client that can't ask, or gets no answer, means no. The worker
does one job at a time, so nothing is analysed while an edit is made.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lsprotocol import types

from ace_lsp.analyst import OnProgress, Priority
from ace_lsp.features.asking import choice
from ace_lsp.features.progress import CancelledByPerson, watched

if TYPE_CHECKING:
    from ace_lsp.parts import Parts
    from ace_lsp.server import AceServer

APPLY, CANCEL = "Apply", "Cancel"
REFUSED = "cancelled"
UNASKED = (
    "nobody agreed to the edit, so nothing was written. Where an editor can't ask, `ace edit apply` makes it"
    " in a terminal."
)


class NoText(Exception):
    """Why there is no text to read words in; the message is fit for a person."""


class ModelEditor:
    """Answers `ace.edit.preview`, `ace.edit.apply` and `ace.edit.undo`."""

    def __init__(self, server: "AceServer", parts: "Parts") -> None:
        self._server = server
        self._parts = parts
        self._bases: dict[str, str] = {}
        """By the name of an edited model, what was used before it was."""

    async def preview(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """What would change and what that would do, shown and returned as it is in the receipt.

        Raises NoText, AnalystError, CancelledByPerson.
        """
        receipt = await self._previewed(self._with_text(request))
        self._say(f"ACE: an edit of the model, not made yet: {_shown(receipt)}")
        return receipt

    async def apply(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Ask for the edit that the preview shows, have it made, and take the edited model.

        Raises NoText, AnalystError.
        """
        wanted = self._with_text(request)
        try:
            receipt = await self._previewed(wanted)
            if (reason := await self._objection(receipt)) is not None:
                return {"applied": False, "reason": reason, "preview": receipt}
            params = {
                "request": {**wanted, "name": receipt["name"]},
                "fingerprint": receipt["fingerprint_before"],
            }
            made = await self._run("ace/edit/apply", params, "ACE: editing the model")
        except CancelledByPerson:
            return {"applied": False, "reason": REFUSED}
        name, before = made["name"], self._active
        if name != before:
            self._bases[name] = self._bases.get(before, before)
        await self._take(name)
        self._say(f"ACE: the model is {name} now. `ace.edit.undo` takes the edit back.")
        return {"applied": True, "reason": "", "model": name, "receipt": made}

    async def undo(self, name: str | None, edit: str | None) -> dict[str, Any]:
        """Take an edit back; the model in use is loaded anew if it was one of its edits.

        Raises AnalystError, CancelledByPerson.
        """
        params = {"name": name, "edit": edit}
        undone = await self._run("ace/edit/undo", params, "ACE: taking an edit back")
        of, left = undone["name"], undone["left"]
        if of == self._active:
            await self._take(of if left else self._bases.pop(of, undone["base"]))
        how = f"{left} of its edits left" if left else "none of its edits left"
        self._say(f"ACE: edit {undone['sha256'][:12]} of {of} is undone, {how}. The model is {self._active}.")
        return {"model": self._active, "left": left, "receipt": undone}

    @property
    def _active(self) -> str:
        return self._parts.configuration.worker_plan().engine["model"]["name"]

    def _with_text(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """The request as the engine takes it: what has no text of its own is read in the document."""
        wanted = {name: value for name, value in request.items() if name != "uri"}
        uri = request.get("uri")
        if uri is None or wanted.get("texts") or wanted.get("direction") is not None:
            return wanted
        session = self._parts.sessions.find(self._server.documents, uri)
        if session is None:
            raise NoText(f"expected a Python document that is open, got {uri!r}")
        return {**wanted, "texts": [session.unit.text]}

    async def _previewed(self, wanted: Mapping[str, Any]) -> dict[str, Any]:
        return await self._run("ace/edit/preview", {"request": wanted}, "ACE: planning an edit of the model")

    async def _run(self, method: str, params: Mapping[str, Any], title: str) -> dict[str, Any]:
        async def work(report: OnProgress) -> dict[str, Any]:
            await self._parts.sessions.configured()  # before, it isn't known which model is meant
            return await self._parts.analyst.call(method, params, Priority.COMMAND, report)

        return await watched(self._server, title, work)

    async def _objection(self, receipt: Mapping[str, Any]) -> str | None:
        """Why it is not to be done, or None where a person says that it is."""
        chosen = await choice(self._server, f"ACE: edit the model? {_shown(receipt)}", APPLY, CANCEL)
        if chosen is None:
            self._say(f"ACE: {UNASKED}")
            return UNASKED
        return None if chosen == APPLY else REFUSED

    async def _take(self, name: str) -> None:
        """Have the worker load a model, anew where it has this one, and analyse what is open with it."""
        configuration = self._parts.configuration
        if name == self._active:
            await self._parts.analyst.restart()
            self._parts.sessions.refresh()
        else:
            await self._parts.watch.choose_model(None if name == configuration.model_set else name)

    def _say(self, message: str) -> None:
        params = types.ShowMessageParams(type=types.MessageType.Info, message=message)
        self._server.window_show_message(params)


def _shown(receipt: Mapping[str, Any]) -> str:
    return (
        f"it would be called {receipt['name']}, and the weights that it is made from stay as they are.\n"
        f"{receipt['told']}"
    )
