"""What a model does is measured under each arm, and told beside the model as it is."""

from pathlib import Path

import pytest
import torch

from ace_analysis.editing.deltas import RowDelta
from ace_analysis.errors import Cancelled
from ace_analysis.evaluation.disentangler import Telling
from ace_analysis.evaluation.editing_behaviour import BASE, behaviour_of
from ace_analysis.evaluation.editing_errors_measured import ErrorBench, Material
from ace_analysis.evaluation.editing_repair import Hole, holes_of, read_holes
from ace_analysis.evaluation.ledger import Ledger
from ace_analysis.evaluation.pass_at_1 import Answerer, AnswerOptions, Problem
from ace_analysis.features.examples import TreeOptions
from ace_analysis.model.causal import CausalModel, load_causal
from ace_analysis.source.corpus import CodeFunction

TREE = TreeOptions(mutants=4)
PROBLEMS = [Problem(id="a", asked="Nothing", tests="1"), Problem(id="b", asked="Write f.", tests="f()")]


@pytest.fixture
def causal(tiny_qwen2: Path) -> CausalModel:
    return load_causal(str(tiny_qwen2), "cpu", "float32")


@pytest.fixture
def holes(few_functions: list[CodeFunction]) -> list[Hole]:
    return holes_of(few_functions, TREE, 6)


def bench(
    causal: CausalModel, path: Path, telling: Telling, problems: list[Problem], holes: list[Hole]
) -> ErrorBench:
    material = Material(trees=(), tree=TREE, texts=(), longest=0, problems=problems, holes=holes)
    answerer = Answerer(causal, AnswerOptions(max_new_tokens=3, rows=2))
    return ErrorBench(causal, material, answerer, Ledger(path), "k", telling)


def delta() -> RowDelta:
    generator = torch.Generator().manual_seed(0)
    left, right = torch.randn(4, 2, generator=generator), torch.randn(2, 32, generator=generator)
    return RowDelta(layer=3, module="mlp.down", rows=(0, 3, 5, 9), left=left, right=right)


def test_arms_are_told_beside_the_model_as_it_is(
    causal: CausalModel, tmp_path: Path, holes: list[Hole]
) -> None:
    arms = {"PISCES": (delta(),), "remove_direction": (delta(),), "random directions": (delta(),)}
    told = behaviour_of(bench(causal, tmp_path / "k", Telling(), PROBLEMS, holes), arms)
    assert list(told) == [BASE, "PISCES", "remove_direction"]
    assert told["PISCES"] == told["remove_direction"] and told["PISCES"]["repair"] != told[BASE]["repair"]
    assert all(each["pass_at_1"]["problems"] == 2 for each in told.values())
    gains = read_holes(causal, holes, Telling())["gain"]
    share = sum(each > 0 for each in gains) / len(gains)
    assert told[BASE]["repair"]["own"]["preferred"]["value"] == pytest.approx(share)


def test_what_was_not_asked_for_is_not_told(causal: CausalModel, tmp_path: Path, holes: list[Hole]) -> None:
    arms = {"PISCES": (delta(),)}
    no_problems = behaviour_of(bench(causal, tmp_path / "a", Telling(), [], holes), arms)
    no_holes = behaviour_of(bench(causal, tmp_path / "b", Telling(), PROBLEMS, []), arms)
    assert set(no_problems["PISCES"]) == {"repair"} and set(no_holes["PISCES"]) == {"pass_at_1"}


def test_a_caller_that_stops_is_heard(causal: CausalModel, tmp_path: Path, holes: list[Hole]) -> None:
    stopped = bench(causal, tmp_path / "k", Telling(cancelled=lambda: True), PROBLEMS, holes)
    with pytest.raises(Cancelled):
        behaviour_of(stopped, {"PISCES": (delta(),)})
