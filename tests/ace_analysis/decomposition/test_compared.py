"""Compared with an ablation: beside zero scores stay as they are, and beside the text itself all vanish."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from ace_analysis.decomposition.ablator import upstream_nodes
from ace_analysis.decomposition.anatomy import Anatomy
from ace_analysis.decomposition.compared import compared_cdt, compared_one_pass
from ace_analysis.decomposition.patching import AblationOptions, How, prepare
from ace_analysis.decomposition.relp import NodeRule, OnePassOptions, one_pass
from ace_analysis.decomposition.targets import HeadTarget, LogitDifference, LogitTarget
from ace_analysis.decomposition.walk import CDTOptions

IDS = torch.tensor([[0, 17, 42, 8, 42, 31, 5, 77, 12, 9]])
OTHER = torch.tensor([[0, 17, 42, 8, 23, 31, 5, 61, 12, 9]])
TARGET = LogitDifference(12, 30, 8)
LINEAR = CDTOptions(bias="irrelevant", attention="frozen", mlp="gate_frozen")
NEAR = 1e-5
"""Norms of these families compute in float32, and what is compared was run by the model itself."""


@pytest.fixture
def model(tiny_model: Path) -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float64, local_files_only=True).eval()


def options(how: How, other: Tensor = OTHER) -> AblationOptions:
    return AblationOptions(how=how, counterfactual=other if how == "counterfactual" else None)


@pytest.mark.parametrize("nodes", ["mixed", "frozen"])
def test_beside_nothing_they_are_the_one_pass(model: Any, nodes: NodeRule) -> None:
    prepared, options = prepare(model, IDS, TARGET), OnePassOptions(nodes=nodes)
    anatomy = prepared.run.model.anatomy
    found = compared_one_pass(prepared, [TARGET, HeadTarget(2, 1)], options)
    for column, target in enumerate((TARGET, HeadTarget(2, 1))):
        expected = one_pass(anatomy, IDS[:, :9], target, options=options)
        for row, node in enumerate(upstream_nodes(anatomy, prepared.bound.site)):
            assert found[row, column].item() == pytest.approx(expected[node], abs=NEAR)


def test_beside_the_text_itself_nothing_is_lost(model: Any) -> None:
    prepared = prepare(model, IDS, TARGET, options("counterfactual", IDS))
    assert compared_one_pass(prepared, [TARGET]).abs().max() == 0
    assert compared_cdt(prepared, [TARGET], LINEAR).abs().max() < NEAR


@pytest.mark.parametrize("how", ["zero", "mean", "counterfactual"])
def test_the_one_pass_is_cd_t_with_everything_frozen(model: Any, how: How) -> None:
    prepared = prepare(model, IDS, TARGET, options(how))
    targets = [TARGET, LogitTarget(3, 8)]
    found = compared_one_pass(prepared, targets, OnePassOptions(nodes="frozen", gate="gate_frozen"))
    expected = compared_cdt(prepared, targets, LINEAR)
    assert expected.abs().max() > 1e-2 and (found - expected).abs().max() < NEAR


def test_nodes_are_those_upstream_of_the_prepared_target(model: Any) -> None:
    prepared = prepare(model, IDS, HeadTarget(2, 1))
    found = compared_one_pass(prepared, [HeadTarget(2, 1), HeadTarget(1, 0)])
    assert found.shape == (10, 2) and Anatomy.of(model).n_heads == 4
    assert found[5:, 1].abs().max() == 0 < found[:5, 1].abs().min()
