"""Every method answers the question that the ablation asks, for every node in the same order."""

from pathlib import Path
from typing import Any

import pytest
import torch

from ace_analysis.decomposition.patching import HOWS, How, ablate
from ace_analysis.decomposition.targets import LogitDifference
from ace_analysis.evaluation.attribution_methods import EAP, FAST, METHODS, ONE_PASS, PAPER, SLOW, Case, score

IDS = torch.tensor([[0, 17, 42, 8, 42, 31, 5, 77, 12, 9]])
OTHER = torch.tensor([[0, 17, 42, 8, 23, 31, 5, 61, 12, 9]])
TARGET = LogitDifference(12, 30)


@pytest.fixture(scope="module")
def model(tiny_qwen2: Path) -> Any:
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(tiny_qwen2, dtype=torch.float64, local_files_only=True)
    torch.manual_seed(0)
    for name, parameter in model.named_parameters():
        if name.endswith("proj.bias"):
            # A new model's biases are zero, and rules for them would all be the same.
            parameter.data.normal_()
    return model.eval()


@pytest.fixture(scope="module")
def case(model: Any) -> Case:
    return Case(model, IDS, OTHER, TARGET)


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("name", METHODS)
def test_the_last_mlp_is_scored_as_it_is_ablated_but_for_the_last_norm(
    name: str, how: How, case: Case
) -> None:
    """Behind it there is nothing but that norm, so its frozen effect is what every method has to say."""
    nodes = case.nodes
    found = score(name, case, how)
    assert found.shape == (len(nodes),) and torch.isfinite(found).all()
    exact = ablate(case.model, case.ids, nodes[-1:], case.target, case.ablation(how))
    if name == PAPER:
        return  # Its sign heuristic makes scores wrong by more than their own size.
    if name in SLOW:
        assert found[-1].item() == pytest.approx(exact.linear_effects.item(), abs=1e-5)
    else:
        # Gradients let that norm move along to first order.
        assert abs(found[-1].item()) < 3 * abs(exact.linear_effects.item())


@pytest.mark.parametrize("name", METHODS)
def test_beside_the_text_itself_nothing_is_lost(name: str, model: Any) -> None:
    same = Case(model, IDS, IDS, TARGET)
    assert score(name, same, "counterfactual").abs().max() < 1e-5


def test_fast_and_slow_are_all_methods_and_different(case: Case) -> None:
    assert {*FAST} | {*SLOW} == {*METHODS} and not {*FAST} & {*SLOW}
    # Where no MLP is much of the residual stream, as in this model, the one-pass takes the gradient for all.
    scores = [score(name, case, "zero") for name in METHODS if name != ONE_PASS]
    pairs = [(a, b) for a in range(len(scores)) for b in range(a)]
    assert all(not torch.allclose(scores[a], scores[b], atol=1e-6) for a, b in pairs)


def test_eap_needs_no_other_text_to_estimate_zeros(case: Case) -> None:
    other = Case(case.model, case.ids, case.ids, case.target)
    assert torch.equal(score(EAP, case, "zero"), score(EAP, other, "zero"))
