"""An edit before it is made: what it changes, and how to say that to the person who decides."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ace_analysis.editing.deltas import RowDelta

NOTE = "note"
"""The parameter that is a sentence for the person who decides."""


@dataclass(frozen=True, slots=True, eq=False)
class EditPlan:
    """`parameters` can be written as JSON: what the deltas were computed from, but for the weights."""

    deltas: tuple[RowDelta, ...]
    parameters: Mapping[str, Any]

    @property
    def rows(self) -> dict[tuple[int, str], tuple[int, ...] | None]:
        """(layer, module) to the rows that change; None: all of them."""
        return {(each.layer, each.module): each.rows for each in self.deltas}

    @property
    def rank(self) -> int:
        """The highest rank of a change of one matrix."""
        return max((each.rank for each in self.deltas), default=0)

    @property
    def norm(self) -> float:
        """Frobenius norm of all changes together."""
        squares = 0.0
        for each in self.deltas:
            left, right = each.left.double(), each.right.double()
            squares += float(((left.T @ left) * (right @ right.T)).sum())
        return max(squares, 0.0) ** 0.5

    def describe(self) -> str:
        """A line on the way it was made, one for each matrix, and a note where there is one."""
        said = {name: value for name, value in self.parameters.items() if name != NOTE}
        told = ", ".join(f"{name.replace('_', ' ')} {_short(value)}" for name, value in said.items())
        lines = [told or "an edit"]
        for each in self.deltas:
            count = len(each.left)
            rows = f"{count:,} rows" if each.rows is not None else f"all {count:,} rows"
            where = "the embedding" if each.layer < 0 else f"layer {each.layer} {each.module}"
            lines.append(f"  {where}: {rows} change, rank {each.rank} at most")
        lines += [f"  note: {self.parameters[NOTE]}"] if NOTE in self.parameters else []
        return "\n".join(lines)


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, (list, tuple)) and len(value) > 8:
        return f"[{', '.join(map(str, value[:8]))}, … {len(value)} in all]"
    return str(value)
