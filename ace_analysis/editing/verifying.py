"""Whether an edited model is what its receipts say: every byte is read again."""

from dataclasses import dataclass
from pathlib import Path

from ace_analysis.editing.ledger import EditLedger, LedgerEntry
from ace_analysis.editing.ledger_files import receipts_sha256
from ace_analysis.errors import ModelError
from ace_analysis.model.conversions import read_conversion
from ace_analysis.model.disk import Progress, sha256_of, silent
from ace_analysis.model.edits import edits_dir, read_description
from ace_analysis.model.fingerprints import fingerprint_of_folder
from ace_analysis.model.store import resolve_model


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """What was read; `problems` is empty where all is as it was written."""

    name: str
    fingerprint: str
    base_fingerprint: str
    edits: int
    problems: tuple[str, ...]

    @property
    def holds(self) -> bool:
        return not self.problems


def verify(name: str, progress: Progress = silent) -> Verification:
    """Read a model's base, changes and receipts again, and compare them with what was recorded.

    Raises ModelNotFound where the ledger has no such name.
    """
    entry = EditLedger().show(name)
    problems = [*_receipts(entry), *_changes(entry), *_base(entry, progress)]
    return Verification(
        name=name,
        fingerprint=entry.fingerprint,
        base_fingerprint=entry.base_fingerprint,
        edits=len(entry.edits),
        problems=tuple(problems),
    )


def _receipts(entry: LedgerEntry) -> list[str]:
    described = read_description(entry.name) or {}
    problems = []
    if described.get("receipts_sha256") != receipts_sha256(described):
        problems.append("the receipts are not those that were written")
    if entry.recorded != entry.fingerprint:
        problems.append(
            f"the fingerprint of the edits is {entry.fingerprint[-12:]}, recorded was {entry.recorded[-12:]}"
        )
    return problems


def _changes(entry: LedgerEntry) -> list[str]:
    problems = []
    for each in (*entry.edits, *entry.undone):
        path = edits_dir() / entry.name / f"{each.sha256}.safetensors"
        try:
            found = sha256_of(path)
        except OSError as error:
            problems.append(f"the changes of edit {each.id} can't be read ({error.strerror})")
            continue
        if found != each.sha256:
            problems.append(f"the changes of edit {each.id} have other bytes than were written")
    return problems


def _base(entry: LedgerEntry, progress: Progress) -> list[str]:
    try:
        base = resolve_model(entry.base, progress)
    except ModelError as error:
        return [str(error)]
    if base.fingerprint != entry.base_fingerprint:
        return [f"the base has the fingerprint {base.fingerprint[:16]}, not {entry.base_fingerprint[:16]}"]
    return [] if _as_written(base.folder, base.fingerprint, progress) else ["the base's weights have changed"]


def _as_written(folder: Path, fingerprint: str, progress: Progress) -> bool:
    conversion = read_conversion(folder)
    if conversion is None:
        return fingerprint_of_folder(folder, progress, anew=True) == fingerprint
    kept = conversion.files.items()
    return all(sha256_of(folder / n, progress, f"reading {n}") == f["sha256"] for n, f in kept)
