"""`ace/edit/*`: edits of the model that an engine holds: previewed, written to the ledger, taken back.

A person agrees to a preview, so what is written has to be what was shown: the edit that was worked out last
is kept for that, and a model that is another by then is refused. The engine's own weights end as they were;
an edit is seen by loading the model of its name.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ace_analysis.editing.ledger import Edit, EditLedger
from ace_analysis.editing.plan import EditPlan
from ace_analysis.editing.preparing import Searcher, prepare
from ace_analysis.editing.receipt import EditReceipt, receipt_to_json
from ace_analysis.editing.requesting import EditRequest, request_from
from ace_analysis.errors import Cancelled, FingerprintError, InputError
from ace_analysis.model.disk import Progress, silent
from ace_analysis.model.edits import edited_names
from ace_analysis.model.scan import never

if TYPE_CHECKING:
    from ace_analysis.engine.scanning import Engine


class Editor:
    """Makes edits of an engine's model; `searcher` is what finds a mu and a tau where that is asked for."""

    def __init__(self, engine: "Engine", searcher: Searcher | None = None) -> None:
        self._engine = engine
        self._searcher = searcher
        self._ledger = EditLedger()
        self._planned: tuple[EditRequest, Edit, EditPlan] | None = None
        """What was worked out last, without the name that was asked for."""

    def preview(
        self,
        asked: Mapping[str, Any],
        *,
        cancelled: Callable[[], bool] = never,
        progress: Progress = silent,
    ) -> dict[str, Any]:
        """The receipt that `apply` would write, as JSON, with `told`: the same for a person.

        `asked` is as `request_from` has it.

        Raises:
            InputError: what can't be done as it was asked for.
            BundleError: no disentangler is there for it.
            Cancelled: when `cancelled()` turns true.
        """
        edit, plan = self._worked_out(request_from(asked), cancelled, progress)
        return _told(self._ledger.plan(edit), plan)

    def apply(
        self,
        asked: Mapping[str, Any],
        fingerprint: str,
        *,
        cancelled: Callable[[], bool] = never,
        progress: Progress = silent,
    ) -> dict[str, Any]:
        """Write an edit of the model with this fingerprint; the answer is as `preview` has it.

        Raises:
            FingerprintError: the model here is another one, or has been edited since it was loaded.
            InputError: what can't be done as it was asked for, or a name that is taken.
            StorageError: the disk is full or not writable; nothing has changed then.
            Cancelled: when `cancelled()` turns true; the ledger has no such edit then.
        """
        here = self._engine.scanner.info
        if here.fingerprint != fingerprint:
            raise FingerprintError(
                f"expected the model that the edit was planned for ({fingerprint[-12:]}), got {here.name}"
                f" ({here.fingerprint[-12:]}); nothing was written. Preview the edit again"
            )
        request = request_from(asked)
        if self._planned is not None and self._planned[0] == replace(request, name=None):
            _, edit, plan = self._planned
        else:
            edit, plan = self._worked_out(request, cancelled, progress)
        receipt = self._ledger.apply(replace(edit, name=request.name), progress, cancelled)
        if cancelled():
            self._ledger.undo(receipt.name, receipt.id)
            raise Cancelled("the edit was cancelled, and taken back")
        return _told(receipt, plan)

    def undo(
        self, name: str | None = None, edit: str | None = None, progress: Progress = silent
    ) -> dict[str, Any]:
        """Take an edit back, the last if none is named; of this model where no name is given.

        The answer is its receipt with `name`, its `base`, and how many edits of it are `left`.

        Raises:
            ModelNotFound: no such name.
            InputError: no name, and this model isn't edited; no such edit, or it can't be undone first.
        """
        about = self._engine.scanner.info
        if name is None and about.edited_from is None:
            known = ", ".join(edited_names()) or "none yet"
            raise InputError(
                f"expected the name of an edited model ({known}), got none, and {about.name} is not edited"
            )
        of = about.name if name is None else name
        receipt = self._ledger.undo(of, edit, progress)
        entry = self._ledger.show(of)
        return {**receipt_to_json(receipt), "name": of, "base": entry.base, "left": len(entry.edits)}

    def _worked_out(
        self, request: EditRequest, cancelled: Callable[[], bool], progress: Progress
    ) -> tuple[Edit, EditPlan]:
        causal = self._engine.causal(progress)
        edit, plan = prepare(causal, request, progress, cancelled, self._searcher)
        if edit.model.fingerprint != causal.info.fingerprint:
            raise FingerprintError(
                f"{causal.info.name} has been edited since it was loaded (now {edit.model.fingerprint[-12:]},"
                f" then {causal.info.fingerprint[-12:]}); nothing was written. Load it again"
            )
        self._planned = replace(request, name=None), edit, plan
        return edit, plan


def _told(receipt: EditReceipt, plan: EditPlan) -> dict[str, Any]:
    return {**receipt_to_json(receipt), "told": "\n".join((plan.describe(), *receipt.effects))}
