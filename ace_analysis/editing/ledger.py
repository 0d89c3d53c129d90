"""The ledger of edits: named models, each a base and the edits that were made of it, in order.

Nothing here touches the weights that were downloaded. An edit becomes a file of thin matrices and a receipt;
undoing leaves it out of the list, so what comes back is the same to the bit. Two edits that change a row in
common have to be undone last first, because the later one was worked out from what the earlier one left.

How names become weights is in model/edits.py, how files are written in ledger_files.py.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ace_analysis.editing.deltas import RowDelta
from ace_analysis.editing.ledger_files import (
    bytes_of,
    clear_unnamed,
    ledger_locked,
    sha256_of_content,
    write_changes,
    write_description,
)
from ace_analysis.editing.plan import EditPlan
from ace_analysis.editing.receipt import ChangedRows, EditReceipt, receipt_from_json, receipt_to_json
from ace_analysis.errors import Cancelled, FingerprintError, InputError, ModelNotFound
from ace_analysis.model.aliases import ALIASES
from ace_analysis.model.catalogue import KNOWN
from ace_analysis.model.disk import Progress, silent
from ace_analysis.model.edits import NAME, edited_fingerprint, edited_names, edits_dir, read_description
from ace_analysis.model.scan import never
from ace_analysis.model.store import StoredModel, is_hub_name


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Edit:
    """What is to be made of a model. `name` None: a new name is made up from the base's.

    The name of the edited model itself: the edit is added to that one.
    """

    model: StoredModel
    deltas: Sequence[RowDelta]
    parameters: Mapping[str, Any]
    reason: str = ""
    name: str | None = None
    measured: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of_plan(cls, model: StoredModel, plan: EditPlan, **more: Any) -> "Edit":
        return cls(model=model, deltas=plan.deltas, parameters=plan.parameters, **more)


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerEntry:
    """A name in the ledger; without edits where all were undone."""

    name: str
    base: str
    base_fingerprint: str
    edits: tuple[EditReceipt, ...]
    undone: tuple[EditReceipt, ...] = ()
    recorded: str = ""
    """The fingerprint that was written with the last change."""

    @property
    def fingerprint(self) -> str:
        return edited_fingerprint(self.base_fingerprint, [each.sha256 for each in self.edits])


class EditLedger:
    """The edits on this machine, in the folder `edits` of ACE's cache."""

    def plan(self, edit: Edit) -> EditReceipt:
        """The receipt that `apply` would write; nothing is written.

        Raises:
            InputError: a name that is taken or can't be used, or an edit that changes nothing.
        """
        entry, name = self._target(edit)
        return _receipt(edit, name, entry, bytes_of(edit.deltas, edit.model.fingerprint))

    def apply(
        self, edit: Edit, progress: Progress = silent, cancelled: Callable[[], bool] = never
    ) -> EditReceipt:
        """Write an edit under its name.

        Raises:
            InputError: see `plan`.
            FingerprintError: the model has been edited since it was read.
            StorageError: the disk is full or not writable; nothing has changed then.
            Cancelled: before anything was written.
        """
        content = bytes_of(edit.deltas, edit.model.fingerprint)
        with ledger_locked(progress):
            entry, name = self._target(edit)
            receipt = _receipt(edit, name, entry, content)
            if cancelled():
                raise Cancelled("the edit was cancelled; nothing was written")
            folder = edits_dir() / name
            for earlier in entry.edits:
                source = edits_dir() / edit.model.name / f"{earlier.sha256}.safetensors"
                if edit.model.name != name:
                    write_changes(folder, source.read_bytes())
            write_changes(folder, content)
            self._write(replace(entry, name=name, edits=(*entry.edits, receipt)))
        return receipt

    def entries(self) -> tuple[LedgerEntry, ...]:
        """All names, those whose edits were all undone too."""
        return tuple(self.show(name) for name in edited_names())

    def show(self, name: str) -> LedgerEntry:
        """What is known of a name.

        Raises ModelNotFound where the ledger has none such.
        """
        described = read_description(name)
        if described is None:
            known = ", ".join(edited_names()) or "none yet"
            raise ModelNotFound(
                f"expected an edited model ({known}), got {name!r}; make one with: ace edit apply"
            )
        return LedgerEntry(
            name=name,
            base=str(described.get("base", "")),
            base_fingerprint=str(described.get("base_fingerprint", "")),
            edits=tuple(receipt_from_json(each) for each in described.get("edits", ())),
            undone=tuple(receipt_from_json(each) for each in described.get("undone", ())),
            recorded=str(described.get("fingerprint", "")),
        )

    def undo(self, name: str, edit: str | None = None, progress: Progress = silent) -> EditReceipt:
        """Take an edit back: the last, or the one whose id begins as `edit` does.

        Raises:
            ModelNotFound: no such name.
            InputError: no such edit, or a later one changes the same rows.
        """
        with ledger_locked(progress):
            entry = self.show(name)
            at = _place(entry, edit)
            gone = entry.edits[at]
            for later in entry.edits[at + 1 :]:
                if (met := later.in_the_way_of(gone)) is not None:
                    raise InputError(
                        f"edit {gone.id} of {name} can't be undone before {later.id}, which changes the same"
                        f" rows ({met}); undo that one first: ace edit undo {name} --edit {later.id}"
                    )
            kept = (*entry.edits[:at], *entry.edits[at + 1 :])
            undone = replace(gone, undone=_now())
            self._write(replace(entry, edits=kept, undone=(*entry.undone, undone)))
        return undone

    def _target(self, edit: Edit) -> tuple[LedgerEntry, str]:
        """What the edit is added to, and the name that comes of it."""
        entry = self._before(edit.model)
        if not any(bool((each.left != 0).any() and (each.right != 0).any()) for each in edit.deltas):
            raise InputError("expected an edit that changes something, got one that changes nothing")
        name = edit.name or _free_name(entry.base)
        _check_name(name)
        if name == edit.model.name:
            return entry, name
        described = read_description(name)
        if described is not None and described.get("edits"):
            raise InputError(
                f"expected a name that is free, got {name!r}; choose another with --name, or add the edit to"
                f" that model: --model {name} --name {name}"
            )
        undone = self.show(name).undone if described is not None else ()
        return replace(entry, undone=undone), name

    def _before(self, model: StoredModel) -> LedgerEntry:
        if model.edit is None:
            base = _lasting_name(model)
            return LedgerEntry(name="", base=base, base_fingerprint=model.fingerprint, edits=())
        entry = self.show(model.edit.name)
        if entry.fingerprint != model.fingerprint:
            raise FingerprintError(
                f"{model.name} has been edited since it was read (now {entry.fingerprint[-12:]}, then"
                f" {model.fingerprint[-12:]}); nothing was written. Plan the edit again"
            )
        return entry

    def _write(self, entry: LedgerEntry) -> None:
        folder = edits_dir() / entry.name
        described = {
            "name": entry.name,
            "base": entry.base,
            "base_fingerprint": entry.base_fingerprint,
            "fingerprint": entry.fingerprint,
            "edits": [receipt_to_json(each) for each in entry.edits],
            "undone": [receipt_to_json(each) for each in entry.undone],
        }
        write_description(folder, described)
        clear_unnamed(folder, [each.sha256 for each in (*entry.edits, *entry.undone)])


def _receipt(edit: Edit, name: str, before: LedgerEntry, content: bytes) -> EditReceipt:
    sha256 = sha256_of_content(content)
    plan = EditPlan(tuple(edit.deltas), edit.parameters)
    checksums = [*(each.sha256 for each in before.edits), sha256]
    return EditReceipt(
        sha256=sha256,
        name=name,
        fingerprint_before=before.fingerprint,
        fingerprint_after=edited_fingerprint(before.base_fingerprint, checksums),
        parameters=dict(edit.parameters),
        changed=tuple(ChangedRows(layer=e.layer, module=e.module, rows=e.rows) for e in edit.deltas),
        rank=plan.rank,
        norm=plan.norm,
        reason=edit.reason,
        measured=dict(edit.measured),
        time=_now(),
    )


def _place(entry: LedgerEntry, edit: str | None) -> int:
    found = [at for at, each in enumerate(entry.edits) if edit is None or each.sha256.startswith(edit)]
    if not found or edit == "":
        here = ", ".join(each.id for each in entry.edits) or "none: all were undone"
        raise InputError(f"expected an edit of {entry.name} ({here}), got {edit or 'none to undo'}")
    return found[-1]


def _check_name(name: str) -> None:
    if not NAME.fullmatch(name):
        raise InputError(
            f"expected a name of up to 80 letters, digits and . _ + - that begins with a letter or a digit,"
            f" got {name!r}"
        )
    if name.lower() in KNOWN or name in ALIASES:
        raise InputError(f"expected a new name, got {name!r}, which is a model's; choose another with --name")


def _free_name(base: str) -> str:
    stem = "".join(char if NAME.fullmatch(f"a{char}") else "-" for char in Path(base).name)[:60] or "model"
    taken, number = set(edited_names()), 1
    while f"{stem}-edit{number}" in taken:
        number += 1
    return f"{stem}-edit{number}".lstrip("._+-")


def _lasting_name(model: StoredModel) -> str:
    """What the same model will be found by later, from any folder."""
    if model.name.lower() in KNOWN or (is_hub_name(model.name) and not Path(model.name).exists()):
        return model.name
    return str(model.folder) if model.name not in ALIASES else model.name


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
