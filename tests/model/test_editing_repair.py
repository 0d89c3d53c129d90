"""On the real model: the line of a planted bug is filled in right, and found likelier than the bug."""

import pytest

from ace_analysis.evaluation.disentangler import Telling
from ace_analysis.evaluation.editing_repair import Hole, read_holes, told_repair
from ace_analysis.model.causal import load_causal

pytestmark = pytest.mark.model

BEFORE = "def largest(values):\n    best = values[0]\n    for value in values:\n"
AFTER = "\n            best = value\n    return best\n"


def test_the_line_of_a_planted_bug_is_filled_in_right_whatever_the_bug_was() -> None:
    causal = load_causal("qwen2.5-coder-0.5b-instruct", "cpu", "float32")
    right = "if value > best:"
    holes = [
        Hole(project="p", kind=kind, before=f"{BEFORE}        ", after=AFTER, right=right, wrong=wrong)
        for kind, wrong in (("comparison", "if value < best:"), ("variable_misuse", "if value > values:"))
    ]
    read = read_holes(causal, holes, Telling())
    assert read["filled"] == [True, True] and min(read["gain"]) > 1
    told = told_repair("comparison", read, read)
    assert told["own"]["filled"]["value"] == told["others"]["preferred"]["value"] == 1
