"""Ablations by hooks and from the middle equal whole passes of a model whose parts are replaced by hand."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ace_analysis.decomposition.ablator import Batching
from ace_analysis.decomposition.anatomy import Anatomy
from ace_analysis.decomposition.nodes import Head, Mlp, Node, Token
from ace_analysis.decomposition.patching import AblationOptions, ablate, prepare, upstream_nodes
from ace_analysis.decomposition.replay import RealModel
from ace_analysis.decomposition.targets import HeadTarget, LogitDifference, LogitTarget, Target
from ace_analysis.errors import Cancelled, InputError
from ace_analysis.model.loading import load_hooked_model, load_scanner

IDS = torch.tensor([[0, 17, 42, 8, 42, 31, 5, 77, 12, 9]])
OTHER = torch.tensor([[0, 17, 42, 8, 23, 31, 5, 61, 12, 9]])
POSITION = 8
TARGET = LogitDifference(12, 30, POSITION)
NEAR = 2e-6
"""Norms of these families compute in float32 whatever the model's dtype; effects are some tenths."""


def plain_model(folder: Path, dtype: torch.dtype = torch.float64) -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, local_files_only=True).eval()


@pytest.fixture
def model(tiny_model: Path) -> Any:
    """The plain model in float64; the test runs for each family."""
    return plain_model(tiny_model)


def difference(model: Any, ids: Tensor = IDS) -> float:
    with torch.no_grad():
        logits = model(ids).logits[0, POSITION]
    return float(logits[12] - logits[30])


class Substitute(nn.Module):
    """Calls a module after its input, or its output, was changed by hand."""

    def __init__(self, inner: nn.Module, change: Callable[[Tensor], Tensor], *, output: bool) -> None:
        super().__init__()
        self.inner, self.change, self.output = inner, change, output

    def forward(self, x: Tensor) -> Tensor:
        return self.change(self.inner(x)) if self.output else self.inner(self.change(x))


def writer_name(block: nn.Module) -> str:
    return "post_feedforward_layernorm" if hasattr(block, "post_feedforward_layernorm") else "mlp"


def seen_at(model: Any, ids: Tensor, node: Node) -> Tensor:
    """A head's input to its projection [pos, head_dim], or what an MLP adds [pos, d_model]."""
    seen: list[Tensor] = []
    spied = copy.deepcopy(model)

    def spy(x: Tensor) -> Tensor:
        seen.append(x[0])
        return x

    _substitute(spied, node, spy)
    with torch.no_grad():
        spied(ids)
    if isinstance(node, Mlp):
        return seen[0]
    return seen[0].unflatten(-1, (4, -1))[:, node.head]


def _substitute(model: Any, node: Node, change: Callable[[Tensor], Tensor]) -> None:
    block = model.model.layers[node.layer]
    if isinstance(node, Head):
        block.self_attn.o_proj = Substitute(block.self_attn.o_proj, change, output=False)
    else:
        name = writer_name(block)
        setattr(block, name, Substitute(getattr(block, name), change, output=True))


def by_hand(model: Any, node: Node, value: Tensor) -> float:
    """The target in a whole pass of a copy whose node puts out `value`."""
    changed = copy.deepcopy(model)

    def put(x: Tensor) -> Tensor:
        if isinstance(node, Mlp):
            return value.expand_as(x)
        heads = x.unflatten(-1, (4, -1)).clone()
        heads[:, :, node.head] = value
        return heads.flatten(-2)

    _substitute(changed, node, put)
    return difference(changed)


def every_node() -> list[Node]:
    return [each for layer in range(4) for each in (*(Head(layer, head) for head in range(4)), Mlp(layer))]


def test_zero_ablation_equals_zeroed_weights(model: Any) -> None:
    found = ablate(model, IDS, None, TARGET)
    assert list(found.nodes) == every_node() and found.clean == pytest.approx(difference(model), abs=NEAR)
    for node, value in zip(found.nodes, found.values.tolist(), strict=True):
        changed = copy.deepcopy(model)
        block = changed.model.layers[node.layer]
        if isinstance(node, Head):
            block.self_attn.o_proj.weight.data[:, node.head * 8 : node.head * 8 + 8] = 0
        else:
            block.mlp.down_proj.weight.data[:] = 0
        assert value == pytest.approx(difference(changed), abs=NEAR), node


def test_counterfactual_ablation_equals_the_other_texts_output_put_in_by_hand(model: Any) -> None:
    options = AblationOptions(how="counterfactual", counterfactual=OTHER)
    found = ablate(model, IDS, None, TARGET, options)
    for node, value in zip(found.nodes, found.values.tolist(), strict=True):
        assert value == pytest.approx(by_hand(model, node, seen_at(model, OTHER, node)), abs=NEAR), node
    assert found.effects.abs().max() > 1e-3


def test_mean_ablation_equals_the_mean_put_in_by_hand_but_at_the_prefix(model: Any) -> None:
    nodes = [Head(0, 1), Head(2, 3), Mlp(1)]
    found = ablate(model, IDS, nodes, TARGET, AblationOptions(how="mean"))
    for node, value in zip(nodes, found.values.tolist(), strict=True):
        # The text ends at the target, so that the mean is of what the target can see.
        own = seen_at(model, IDS, node)
        means = torch.cat([own[:1], own[1 : POSITION + 1].mean(0).expand_as(own[1:])])
        assert value == pytest.approx(by_hand(model, node, means), abs=NEAR), node


def test_means_can_be_those_of_other_texts(tiny_qwen2: Path) -> None:
    model, others = plain_model(tiny_qwen2), (OTHER[:, :6], OTHER[:, :4])
    found = ablate(model, IDS, [Mlp(2)], TARGET, AblationOptions(how="mean", others=others))
    own = seen_at(model, IDS, Mlp(2))
    mean = torch.cat([seen_at(model, ids, Mlp(2))[1:] for ids in others]).mean(0)
    value = by_hand(model, Mlp(2), torch.cat([own[:1], mean.expand_as(own[1:])]))
    assert found.values[0].item() == pytest.approx(value, abs=NEAR)


def test_a_text_put_in_its_own_place_changes_nothing(model: Any) -> None:
    options = AblationOptions(how="counterfactual", counterfactual=IDS)
    assert ablate(model, IDS, None, TARGET, options).effects.abs().max() < NEAR


@pytest.mark.parametrize("rows", [1, 3, 100])
def test_a_batch_equals_one_by_one(model: Any, rows: int) -> None:
    found = ablate(model, IDS, None, TARGET, AblationOptions(batching=Batching(rows=rows)))
    for node, value in zip(found.nodes, found.values.tolist(), strict=True):
        alone = ablate(model, IDS, [node], TARGET)
        assert value == pytest.approx(alone.values.item(), abs=NEAR)


def test_sets_of_nodes_are_taken_out_together(tiny_qwen2: Path) -> None:
    model = plain_model(tiny_qwen2)
    prepared = prepare(model, IDS, TARGET)
    values, _ = prepared.values([(), (Head(3, 0), Mlp(1)), [Mlp(3)]])
    changed = copy.deepcopy(model)
    changed.model.layers[3].self_attn.o_proj.weight.data[:, :8] = 0
    changed.model.layers[1].mlp.down_proj.weight.data[:] = 0
    assert values[0].item() == pytest.approx(difference(model), abs=NEAR)
    assert values[1].item() == pytest.approx(difference(changed), abs=NEAR)


def test_the_hooked_model_the_plain_one_and_its_anatomy_agree(tiny_model: Path) -> None:
    hooked = load_hooked_model(str(tiny_model), device="cpu", dtype="float32")
    plain = plain_model(tiny_model, torch.float32)
    values = [ablate(each, IDS, None, TARGET).values for each in (hooked, plain, RealModel.of(plain))]
    assert torch.allclose(values[0], values[1], atol=2e-4) and torch.equal(values[1], values[2])


def test_a_scanner_of_two_blocks_ablates_what_a_head_reads(tiny_model: Path) -> None:
    scanner = load_scanner(str(tiny_model), device="cpu", dtype="float32", n_blocks=2)
    found = ablate(scanner, IDS, None, HeadTarget(1, 2))
    whole = plain_model(tiny_model, torch.float32)
    assert [node.layer for node in found.nodes] == [0] * 5 and found.clean == pytest.approx(1.0, abs=1e-5)
    clean = seen_at(whole, IDS, Head(1, 2))
    for node, value in zip(found.nodes, found.values.tolist(), strict=True):
        changed = copy.deepcopy(whole)
        _substitute(changed, node, lambda x, node=node: _zeroed(x, node))
        got = seen_at(changed, IDS, Head(1, 2))
        assert value == pytest.approx(float((got * clean).sum() / clean.square().sum()), abs=1e-4)


def _zeroed(x: Tensor, node: Node) -> Tensor:
    if isinstance(node, Mlp):
        return torch.zeros_like(x)
    heads = x.unflatten(-1, (4, -1)).clone()
    heads[:, :, node.head] = 0
    return heads.flatten(-2)


def test_the_linear_form_is_exact_where_nothing_is_taken_out(model: Any) -> None:
    prepared = prepare(model, IDS, TARGET)
    real, linear = prepared.values([()])
    assert real.item() == pytest.approx(linear.item(), abs=NEAR)


def hooks_left(model: nn.Module) -> int:
    return sum(len(each._forward_hooks) + len(each._forward_pre_hooks) for each in model.modules())


def test_no_hook_stays_behind_an_error(tiny_qwen2: Path) -> None:
    model = plain_model(tiny_qwen2)
    calls = 0

    def soon() -> bool:
        nonlocal calls
        calls += 1
        return calls > 6

    with pytest.raises(Cancelled, match="cancelled by the caller"):
        ablate(model, IDS, None, TARGET, cancelled=soon)
    assert calls > 6 and hooks_left(model) == 0
    with pytest.raises(Cancelled, match="nothing was kept"):
        ablate(model, IDS, None, TARGET, cancelled=lambda: True)
    assert hooks_left(model) == 0

    class Broken(nn.Module):
        def forward(self, *_: Any, **__: Any) -> Tensor:
            raise ZeroDivisionError

    prepared = prepare(model, IDS, TARGET)
    model.model.layers[2].mlp.act_fn = Broken()
    with pytest.raises(ZeroDivisionError):
        prepared.values([(Head(1, 1),)])
    assert hooks_left(model) == 0


def test_progress_reaches_the_end(tiny_qwen2: Path) -> None:
    told: list[float | None] = []
    batching = Batching(rows=4, progress=lambda message, share: told.append(share))
    ablate(plain_model(tiny_qwen2), IDS, None, TARGET, AblationOptions(batching=batching))
    assert told == sorted(told, key=float) and told[-1] == 1.0 and len(told) == 5


def test_a_batch_is_as_small_as_memory_asks(tiny_qwen2: Path) -> None:
    real = RealModel.of(plain_model(tiny_qwen2))
    assert Batching(max_bytes=1).rows_of(real, 64) == 1
    assert Batching().rows_of(real, 64) == 1024 // 64
    assert Batching(max_bytes=2_000_000).rows_of(real, 64) < 1024 // 64


@pytest.mark.parametrize(
    ("nodes", "target"),
    [([Head(0, 4)], TARGET), ([Mlp(4)], TARGET), ([Token(0)], TARGET), ([Mlp(2)], HeadTarget(2, 0))],
    ids=["no such head", "no such layer", "a token", "not upstream"],
)
def test_what_is_not_upstream_is_refused(tiny_qwen2: Path, nodes: list[Node], target: Target) -> None:
    with pytest.raises(InputError, match="expected heads and MLPs upstream of"):
        ablate(plain_model(tiny_qwen2), IDS, nodes, target)


def test_upstream_of_a_head_are_the_layers_before_it(tiny_qwen2: Path) -> None:
    anatomy = Anatomy.of(plain_model(tiny_qwen2))
    assert [str(each) for each in upstream_nodes(anatomy, HeadTarget(1, 0).site(anatomy))] == [
        "L0H0",
        "L0H1",
        "L0H2",
        "L0H3",
        "MLP0",
    ]
    assert list(upstream_nodes(anatomy, LogitTarget(1).site(anatomy))) == every_node()


def test_a_counterfactual_of_another_length_is_refused(tiny_qwen2: Path) -> None:
    options = AblationOptions(how="counterfactual", counterfactual=OTHER[:, :-1])
    with pytest.raises(InputError, match=r"expected a counterfactual of 10 tokens.*got 9"):
        ablate(plain_model(tiny_qwen2), IDS, None, TARGET, options)


@pytest.mark.usefixtures("unchecked_shapes")
@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"how": "noise"}, "how: expected one of zero, mean, counterfactual, got 'noise'"),
        ({"how": "counterfactual"}, "counterfactual: expected token ids with how='counterfactual'"),
        ({"counterfactual": OTHER}, "got how='zero' with them"),
        ({"others": (OTHER,)}, "others: expected texts with how='mean' only"),
    ],
)
def test_options_that_contradict_each_other_are_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        AblationOptions(**wrong)


def test_a_batch_of_no_rows_is_refused() -> None:
    with pytest.raises(InputError, match="rows: expected at least 1, got 0"):
        Batching(rows=0)


def test_more_than_one_text_is_refused(tiny_qwen2: Path) -> None:
    with pytest.raises(InputError, match="expected the token ids of one text"):
        ablate(plain_model(tiny_qwen2), torch.cat([IDS, OTHER]), None, TARGET)
