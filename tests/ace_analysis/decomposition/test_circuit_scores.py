"""A circuit's nodes are ranked by the frozen network, and against inner heads by gradients."""

from pathlib import Path
from typing import Any

import pytest
import torch

from ace_analysis.decomposition.ablator import Ablator, upstream_nodes
from ace_analysis.decomposition.circuit_scores import SCORE_METHODS, SCORED, ScoreMethod, scores_against
from ace_analysis.decomposition.compared import compared_cdt, compared_one_pass
from ace_analysis.decomposition.nodes import Head
from ace_analysis.decomposition.patching import prepare
from ace_analysis.decomposition.relp import NodeRule, OnePassOptions
from ace_analysis.decomposition.targets import HeadTarget, LogitDifference
from ace_analysis.decomposition.walk import CDTOptions
from ace_analysis.errors import Cancelled
from ace_analysis.evaluation.known_circuits import known_circuit

IDS = torch.tensor([[0, 17, 42, 8, 42, 31, 5, 77, 12, 9]])
TARGET = LogitDifference(12, 30, 8)


@pytest.fixture(scope="module")
def prepared(tiny_qwen2: Path) -> Ablator:
    from transformers import AutoModelForCausalLM

    model: Any = AutoModelForCausalLM.from_pretrained(tiny_qwen2, dtype=torch.float64, local_files_only=True)
    return prepare(model.eval(), IDS, TARGET)


@pytest.mark.parametrize(("method", "nodes"), [("one-pass", "frozen"), ("hover", "mixed")])
def test_against_the_target_the_rule_is_the_methods(
    prepared: Ablator, method: ScoreMethod, nodes: NodeRule
) -> None:
    found = scores_against(prepared, [TARGET], method, CDTOptions())
    assert torch.equal(found, compared_one_pass(prepared, [TARGET], OnePassOptions(nodes=nodes)))


def test_the_two_one_passes_rank_differently(prepared: Ablator) -> None:
    frozen, hover = (
        scores_against(prepared, [TARGET], method, CDTOptions())[:, 0].abs().argsort()
        for method in ("one-pass", "hover")
    )
    assert not torch.equal(frozen, hover)


@pytest.mark.parametrize("method", ["one-pass", "hover"])
def test_against_inner_heads_gradients_are_taken(prepared: Ablator, method: ScoreMethod) -> None:
    heads = [HeadTarget(2, 1), HeadTarget(1, 0)]
    found = scores_against(prepared, heads, method, CDTOptions())
    assert torch.equal(found, compared_one_pass(prepared, heads, OnePassOptions(nodes="mixed")))


def test_what_an_induction_head_looks_by_is_seen_against_the_head_and_not_by_frozen_patterns() -> None:
    """The head in front of it acts on its keys, and hardly on its values."""
    known = known_circuit("induction", 0)
    prompt = known.prompts(1)[0]
    ready = prepare(known.model, prompt.ids, prompt.target)
    before, inducing = sorted(
        (node for node in known.circuit if isinstance(node, Head)), key=lambda node: node.layer
    )
    row = upstream_nodes(ready.run.model.anatomy, ready.bound.site).index(before)
    target = HeadTarget(inducing.layer, inducing.head)
    frozen = compared_one_pass(ready, [target], OnePassOptions(nodes="frozen"))
    found = scores_against(ready, [target], "one-pass", CDTOptions())
    assert abs(found[row, 0]) > 20 * abs(frozen[row, 0]) and abs(found[row, 0]) > 0.01


def test_cd_t_is_asked_with_the_rules(prepared: Ablator) -> None:
    rules = CDTOptions(attention="frozen")
    found = scores_against(prepared, [TARGET], "cd-t", rules)
    assert torch.equal(found, compared_cdt(prepared, [TARGET], rules))


@pytest.mark.parametrize("method", SCORE_METHODS)
def test_it_can_be_cancelled(prepared: Ablator, method: ScoreMethod) -> None:
    with pytest.raises(Cancelled):
        scores_against(prepared, [TARGET], method, CDTOptions(), cancelled=lambda: True)


def test_every_method_is_said_in_words() -> None:
    assert {*SCORED} == {*SCORE_METHODS} and len({*SCORED.values()}) == len(SCORED)
