"""The edges out of a node add up to its score."""

from pathlib import Path
from typing import Any

import pytest
import torch

from ace_analysis.decomposition.edges import eap_edges
from ace_analysis.decomposition.gradients import GradientOptions, eap
from ace_analysis.decomposition.nodes import Head, Mlp
from ace_analysis.decomposition.patching import AblationOptions
from ace_analysis.decomposition.targets import HeadTarget, LogitDifference, Target
from ace_analysis.errors import Cancelled

IDS = torch.tensor([[0, 17, 42, 8, 42, 31, 5, 77, 12, 9]])
OTHER = torch.tensor([[0, 17, 42, 8, 23, 31, 5, 61, 12, 9]])
TARGET = LogitDifference(12, 30, 8)
AGAINST = AblationOptions(how="counterfactual", counterfactual=OTHER)


@pytest.fixture
def model(tiny_model: Path) -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float64, local_files_only=True).eval()


@pytest.mark.parametrize("target", [TARGET, HeadTarget(2, 1)], ids=["logits", "head"])
@pytest.mark.parametrize("steps", [1, 3])
def test_the_edges_out_of_a_node_add_up_to_its_score(model: Any, target: Target, steps: int) -> None:
    options = GradientOptions(against=AGAINST, steps=steps)
    edges, nodes = eap_edges(model, IDS, target, options), eap(model, IDS, target, options)
    expected = torch.tensor([nodes[node] for node in edges.nodes]).double()
    near = 1e-5 * float(expected.abs().max())
    assert torch.allclose(edges.outgoing, expected, atol=near)
    assert torch.allclose(edges.from_tokens.sum(1) + edges.tokens_to_target, nodes.tokens, atol=near)
    assert edges.unit == nodes.unit


def test_edges_lead_forward_only(model: Any) -> None:
    edges = eap_edges(model, IDS, TARGET, GradientOptions())
    at = {node: index for index, node in enumerate(edges.nodes)}
    assert len(at) == 20 and edges.between.tril().abs().max() == 0
    assert edges.between[at[Head(1, 0)], at[Head(1, 3)]] == 0
    assert edges.between[at[Head(1, 0)], at[Mlp(1)]] != 0 and edges.between[at[Mlp(1)], at[Head(2, 0)]] != 0


def test_the_last_mlp_acts_on_the_target_alone(model: Any) -> None:
    edges = eap_edges(model, IDS, TARGET, GradientOptions())
    assert edges.between[-1].abs().max() == 0 != edges.to_target[-1]


def test_edges_can_be_cancelled(model: Any) -> None:
    calls = 0

    def later() -> bool:
        nonlocal calls
        calls += 1
        return calls > 12

    with pytest.raises(Cancelled, match="scores of edges"):
        eap_edges(model, IDS, TARGET, GradientOptions(), cancelled=later)
