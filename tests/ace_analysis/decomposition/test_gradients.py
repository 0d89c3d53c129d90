"""EAP is the derivative of an ablation, and EAP-IG adds up to the difference of two texts."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ace_analysis.decomposition.ablator import Replacement, upstream_nodes
from ace_analysis.decomposition.gradients import GradientOptions, eap
from ace_analysis.decomposition.patching import AblationOptions, ablate, prepare
from ace_analysis.decomposition.replay import RealModel
from ace_analysis.decomposition.scores import NodeScores
from ace_analysis.decomposition.targets import HeadTarget, LogitDifference, Target
from ace_analysis.errors import Cancelled, InputError
from ace_analysis.model.loading import load_hooked_model

IDS = torch.tensor([[0, 17, 42, 8, 42, 31, 5, 77, 12, 9]])
OTHER = torch.tensor([[0, 17, 42, 8, 23, 31, 5, 61, 12, 9]])
TARGET = LogitDifference(12, 30, 8)
AGAINST = AblationOptions(how="counterfactual", counterfactual=OTHER)


@pytest.fixture
def model(tiny_model: Path) -> Any:
    return plain_model(tiny_model)


def plain_model(folder: Path) -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float64, local_files_only=True).eval()


def derivative(model: Any, target: Target, against: AblationOptions, step: float = 3e-3) -> Tensor:
    """What each node's ablation does, a small part of the way and both ways, divided by that part."""
    prepared = prepare(model, IDS, target, against)
    nodes = [(node,) for node in upstream_nodes(prepared.run.model.anatomy, prepared.bound.site)]
    clean, whole = Replacement.outputs(prepared.run), prepared.replacement
    found = []
    for share in (step, -step):
        part = Replacement(
            whole.embedding,
            tuple(own + share * (put - own) for own, put in zip(clean.z, whole.z, strict=True)),
            tuple(own + share * (put - own) for own, put in zip(clean.mlp, whole.mlp, strict=True)),
        )
        ready = type(prepared)(prepared.run, prepared.bound, part, prepared.batching)
        found.append(ready.values(nodes)[0])
    return (found[1] - found[0]) / (2 * step)


def scores_of(model: Any, found: NodeScores, target: Target) -> Tensor:
    anatomy = RealModel.of(model).anatomy
    return torch.tensor([found[node] for node in upstream_nodes(anatomy, target.site(anatomy))]).double()


@pytest.mark.parametrize("target", [TARGET, HeadTarget(2, 1)], ids=["logits", "head"])
@pytest.mark.parametrize(
    "against", [AblationOptions(), AblationOptions(how="mean"), AGAINST], ids=["zero", "mean", "other text"]
)
def test_eap_is_the_derivative_of_an_ablation(model: Any, target: Target, against: AblationOptions) -> None:
    found = scores_of(model, eap(model, IDS, target, GradientOptions(against=against)), target)
    expected = derivative(model, target, against)
    assert expected.abs().max() > 1e-3
    assert (found - expected).abs().max() < 2e-3 * expected.abs().max()


def test_eap_ig_adds_up_to_the_difference_of_the_two_texts(model: Any) -> None:
    found = eap(model, IDS, TARGET, GradientOptions(against=AGAINST, steps=400))
    other = prepare(model, OTHER, TARGET).clean
    assert abs(found.total - other) > 0.1
    assert float(found.tokens.sum()) == pytest.approx(found.total - other, abs=0.01)
    assert found.unexplained == pytest.approx(found.total - float(found.tokens.sum()))
    unchanged = (IDS == OTHER)[0, : len(found.tokens)]
    assert found.tokens[unchanged].abs().max() == 0 < found.tokens[~unchanged].abs().min()


def test_one_step_of_eap_ig_is_eap(model: Any) -> None:
    plain = eap(model, IDS, TARGET, GradientOptions(against=AGAINST))
    one = eap(model, IDS, TARGET, GradientOptions(against=AGAINST, steps=1, path=OTHER))
    five = eap(model, IDS, TARGET, GradientOptions(against=AGAINST, steps=5))
    assert torch.equal(plain.heads, one.heads) and not torch.allclose(plain.heads, five.heads)


def test_what_eap_ig_goes_along_can_be_another_text_than_what_it_compares_with(tiny_qwen2: Path) -> None:
    model = plain_model(tiny_qwen2)
    zero = eap(model, IDS, TARGET, GradientOptions(steps=5, path=OTHER))
    assert not torch.allclose(zero.heads, eap(model, IDS, TARGET).heads)
    assert zero.total == pytest.approx(ablate(model, IDS, [], TARGET).clean)


def test_the_hooked_model_has_the_same_gradients(tiny_model: Path) -> None:
    hooked = load_hooked_model(str(tiny_model), device="cpu", dtype="float32")
    options = GradientOptions(against=AGAINST, steps=2)
    found = [eap(each, IDS, TARGET, options) for each in (hooked, plain_model(tiny_model))]
    for name in ("heads", "mlps", "tokens"):
        first, second = (getattr(each, name) for each in found)
        assert torch.allclose(first, second, atol=1e-3 * float(second.abs().max()))


def test_nothing_is_left_behind_a_cancelled_pass(tiny_qwen2: Path) -> None:
    model = plain_model(tiny_qwen2)
    calls = 0

    def later() -> bool:
        nonlocal calls
        calls += 1
        return calls > 10

    with pytest.raises(Cancelled):
        eap(model, IDS, TARGET, GradientOptions(against=AGAINST, steps=5), cancelled=later)
    hooks: list[nn.Module] = [
        each for each in model.modules() if each._forward_hooks or each._forward_pre_hooks
    ]
    assert not hooks and all(each.grad is None for each in model.parameters())


def test_a_way_without_a_beginning_is_refused() -> None:
    with pytest.raises(InputError, match="path: expected the text that the way of EAP-IG begins at"):
        GradientOptions(steps=5)


def test_no_step_at_all_is_refused() -> None:
    with pytest.raises(InputError, match="steps: expected at least 1, got 0"):
        GradientOptions(steps=0)


def test_texts_of_different_lengths_are_refused(tiny_qwen2: Path) -> None:
    with pytest.raises(InputError, match="expected a counterfactual of 10 tokens"):
        eap(plain_model(tiny_qwen2), IDS, TARGET, GradientOptions(steps=5, path=OTHER[:, :9]))
