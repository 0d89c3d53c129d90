"""What a model still does once a word is erased: problems that it solves, and planted bugs that it mends.

An erasure may leave perplexity alone and still cost what a model is used for, so its arms are asked for
programs, and for the lines of planted bugs. What is detected can't change: an edit behind the layer that
findings are read at leaves them as they were.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from ace_analysis.editing.deltas import RowDelta
from ace_analysis.evaluation.editing_errors import ALL, ErrorArm
from ace_analysis.evaluation.editing_errors_measured import ErrorBench
from ace_analysis.evaluation.editing_repair import told_repair
from ace_analysis.evaluation.pass_at_1 import told_passes

BASE = "the model as it is"
ASKED = ("PISCES", "remove_direction", "random rows")


def behaviour_of(bench: ErrorBench, arms: Mapping[str, Sequence[RowDelta]]) -> dict[str, Any]:
    """Of the model as it is and of each arm among ASKED: `pass_at_1` and `repair`, as far as there is any.

    Raises Cancelled where the caller asked to stop; what was measured is kept.
    """
    asked = [ErrorArm(name=BASE)]
    asked += [ErrorArm(name=name, deltas=tuple(arms[name])) for name in ASKED if name in arms]
    measured = bench.all_of(asked, [])
    told: dict[str, dict[str, Any]] = {each.name: {} for each in asked}
    base = measured[BASE]
    if "passed" in base:
        passes = told_passes({name: each["passed"] for name, each in measured.items()}, BASE)
        for name, each in passes.items():
            told[name]["pass_at_1"] = each
    if "filled" in base:
        for name, each in measured.items():
            told[name]["repair"] = told_repair(ALL, base["filled"], each["filled"])
    return told
