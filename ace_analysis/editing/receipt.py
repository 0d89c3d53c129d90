"""What is written down of an edit, so that it can be understood, checked and taken back later."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from ace_analysis.errors import ModelError


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangedRows:
    """Rows of one matrix that an edit changes; `rows` None: all of them."""

    layer: int
    module: str
    rows: tuple[int, ...] | None

    def overlaps(self, other: "ChangedRows") -> bool:
        """Whether both change a row in common."""
        if (self.layer, self.module) != (other.layer, other.module):
            return False
        return self.rows is None or other.rows is None or not set(self.rows).isdisjoint(other.rows)

    def __str__(self) -> str:
        where = "the embedding" if self.layer < 0 else f"layer {self.layer} {self.module}"
        return f"{where}: {'all rows' if self.rows is None else f'{len(self.rows):,} rows'}"


@dataclass(frozen=True, slots=True, kw_only=True)
class EditReceipt:
    """One edit of a named model.

    `sha256` is that of the file of its changes; `fingerprint_before` and `fingerprint_after` are those of the
    model when the edit was made; `measured` what was measured before and after it, by name; `time` is UTC.
    """

    sha256: str
    name: str
    fingerprint_before: str
    fingerprint_after: str
    parameters: Mapping[str, Any]
    changed: tuple[ChangedRows, ...]
    rank: int
    norm: float
    reason: str
    time: str
    measured: Mapping[str, Any] = field(default_factory=dict)
    undone: str | None = None
    """When it was taken back."""

    @property
    def id(self) -> str:
        """How a person names it."""
        return self.sha256[:12]

    @property
    def effects(self) -> list[str]:
        """What was measured, a line each; none where nothing was."""
        pairs = [(name, each) for name, each in self.measured.items() if isinstance(each, Mapping)]
        lines = [
            f"  {name.replace('_', ' ')}: {each['before']:.4g} -> {each['after']:.4g}" for name, each in pairs
        ]
        return [*lines, *([f"  on {self.measured['on']}"] if lines and "on" in self.measured else [])]

    def in_the_way_of(self, earlier: "EditReceipt") -> ChangedRows | None:
        """What this edit changes that an earlier one changed before, if anything."""
        met = (mine for mine in self.changed if any(mine.overlaps(theirs) for theirs in earlier.changed))
        return next(met, None)


def receipt_to_json(receipt: EditReceipt) -> dict[str, Any]:
    return {**asdict(receipt), "parameters": dict(receipt.parameters), "measured": dict(receipt.measured)}


def receipt_from_json(data: Mapping[str, Any]) -> EditReceipt:
    """The receipt; entries that a later version has added are left out.

    Raises ModelError for one that is damaged.
    """
    known = {each.name for each in fields(EditReceipt)}
    try:
        changed = tuple(_changed(each) for each in data["changed"])
        values = {name: value for name, value in data.items() if name in known}
        return EditReceipt(**{**values, "changed": changed})
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(f"expected the receipt of an edit, got a damaged one ({error!r})") from error


def _changed(data: Mapping[str, Any]) -> ChangedRows:
    rows: Sequence[int] | None = data["rows"]
    kept = None if rows is None else tuple(int(row) for row in rows)
    return ChangedRows(layer=int(data["layer"]), module=str(data["module"]), rows=kept)
