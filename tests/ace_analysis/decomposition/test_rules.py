"""Each rule by itself: complete, and what its equation says, on numbers that can be checked by hand."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from ace_analysis.decomposition import rules
from ace_analysis.decomposition.anatomy import Anatomy, Norm
from ace_analysis.decomposition.decomposition import Decomposition
from ace_analysis.decomposition.rules import BIAS_RULES, MLP_RULES, BiasRule, MlpRule
from ace_analysis.decomposition.walk import CDTOptions
from ace_analysis.errors import InputError

SILU = functional.silu


def parts(*shape: int, seed: int = 0) -> Decomposition:
    torch.manual_seed(seed)
    return Decomposition(
        torch.randn(1, *shape, dtype=torch.float64), torch.randn(1, *shape, dtype=torch.float64)
    )


def of(relevant: list[float], irrelevant: list[float]) -> Decomposition:
    return Decomposition(
        torch.tensor([[relevant]], dtype=torch.float64), torch.tensor([[irrelevant]], dtype=torch.float64)
    )


def linear_of(weight: list[list[float]], bias: list[float]) -> Any:
    return SimpleNamespace(
        weight=torch.tensor(weight, dtype=torch.float64), bias=torch.tensor(bias, dtype=torch.float64)
    )


@pytest.mark.parametrize("rule", BIAS_RULES)
def test_a_linear_map_is_complete(rule: BiasRule) -> None:
    layer, x = nn.Linear(5, 3, dtype=torch.float64), parts(2, 5)
    out: Any = rules.linear(x, layer, rule)
    assert torch.allclose(out.total, layer(x.total), rtol=0, atol=1e-14)


def test_a_bias_is_shared_by_the_sizes_of_the_terms() -> None:
    """Eqs. 4-5: |W b| : |W g| is 3 : 1, so 6 of a bias of 8 go to the relevant part."""
    out = rules.linear(of([3.0], [-1.0]), linear_of([[1.0]], [8.0]), "proportional")
    assert (out.relevant.item(), out.irrelevant.item()) == (9.0, 1.0)


def test_a_bias_is_not_lost_where_both_terms_vanish() -> None:
    """The authors' code loses it there."""
    out = rules.linear(of([0.0], [0.0]), linear_of([[1.0]], [8.0]), "proportional")
    assert (out.relevant.item(), out.irrelevant.item()) == (0.0, 8.0)


def test_a_bias_may_be_all_irrelevant() -> None:
    out = rules.linear(of([3.0], [-1.0]), linear_of([[1.0]], [8.0]), "irrelevant")
    assert (out.relevant.item(), out.irrelevant.item()) == (3.0, 7.0)


@pytest.mark.parametrize("rule", BIAS_RULES)
@pytest.mark.parametrize("norm", [nn.RMSNorm(6, eps=1e-6), nn.LayerNorm(6, eps=1e-5)], ids=["rms", "layer"])
def test_a_norm_is_complete(norm: Any, rule: BiasRule) -> None:
    norm = norm.double()
    with torch.no_grad():
        for parameter in norm.parameters():
            parameter.add_(torch.randn_like(parameter))
        x = parts(3, 6)
        out = rules.norm(x, Norm(norm, adds_one=False), rule)
        assert torch.allclose(out.total, norm(x.total), rtol=0, atol=1e-13)


def test_an_rms_norm_is_linear_at_the_scale_of_the_total() -> None:
    norm = Norm(nn.RMSNorm(2, eps=0.0).double(), adds_one=False)
    out = rules.norm(of([3.0, 0.0], [0.0, 4.0]), norm, "proportional")
    scale = (12.5) ** -0.5
    assert out.relevant.flatten().tolist() == pytest.approx([3.0 * scale, 0.0])
    assert out.irrelevant.flatten().tolist() == pytest.approx([0.0, 4.0 * scale])


def test_a_layer_norms_bias_is_shared_by_the_sizes_of_its_inputs() -> None:
    """As in the authors' code: of the inputs, not of what is normalised."""
    norm = nn.LayerNorm(2).double()
    with torch.no_grad():
        norm.bias.fill_(4.0)
    out = rules.norm(of([1.0, 1.0], [3.0, -3.0]), Norm(norm, adds_one=False), "proportional")
    assert out.relevant.flatten().tolist() == pytest.approx([1.0, 1.0])


def test_attention_gives_all_interactions_to_the_irrelevant_part(qwen2: Anatomy) -> None:
    """Eqs. 6-15: what is relevant is what the relevant parts alone would do."""
    attention = qwen2.blocks[0].attn
    q, k, v = (parts(heads, 5, 8, seed=heads + at) for at, heads in enumerate((4, 2, 2)))
    out = rules.attention_decomposed(q, k, v, attention)
    nothing = torch.zeros_like(q.relevant), torch.zeros_like(k.relevant)
    alone = rules.attention_decomposed(
        Decomposition(q.relevant, nothing[0]),
        Decomposition(k.relevant, nothing[1]),
        Decomposition(v.relevant, nothing[1]),
        attention,
    )
    assert torch.equal(out.relevant, alone.total)


@pytest.mark.parametrize("rule", MLP_RULES)
def test_a_gate_is_complete(rule: MlpRule) -> None:
    gate, up = parts(4, 7, seed=1), parts(4, 7, seed=2)
    out = rules.gated(gate, up, SILU, rule)
    assert torch.allclose(out.total, SILU(gate.total) * up.total, rtol=0, atol=1e-14)


def test_gates_are_split_as_their_rules_say() -> None:
    gate, up = of([1.0], [2.0]), of([3.0], [-1.0])
    silu = lambda x: float(SILU(torch.tensor(x, dtype=torch.float64)))  # noqa: E731
    full = silu(3.0) * 2.0
    expected: dict[MlpRule, float] = {
        "gamma_first": full - silu(2.0) * -1.0,
        "shapley": 0.5 * (silu(1.0) * 3.0 + full - silu(2.0) * -1.0),
        "gate_frozen": silu(3.0) * 3.0,
        "half": 0.5 * silu(3.0) * 3.0 + 0.5 * (silu(3.0) / 3.0) * 2.0 * 1.0,
    }
    for rule, value in expected.items():
        assert rules.gated(gate, up, SILU, rule).relevant.item() == pytest.approx(value)


@pytest.mark.parametrize("rule", MLP_RULES)
def test_an_activation_is_complete(rule: MlpRule) -> None:
    x = parts(4, 7)
    out = rules.activation(x, SILU, rule)
    assert torch.allclose(out.total, SILU(x.total), rtol=0, atol=1e-14)


def test_an_activation_gives_interactions_to_the_relevant_part() -> None:
    """ACD: the opposite of attention's convention."""
    out = rules.activation(of([1.0], [2.0]), functional.relu, "gamma_first")
    assert (out.relevant.item(), out.irrelevant.item()) == (1.0, 2.0)
    out = rules.activation(of([3.0], [-1.0]), functional.relu, "gamma_first")
    assert (out.relevant.item(), out.irrelevant.item()) == (2.0, 0.0)


def test_the_sign_heuristic_lets_the_larger_take_the_sum() -> None:
    out = rules.cancel_signs(of([3.0, -1.0, 2.0], [-1.0, 4.0, 1.0]))
    assert out.relevant.flatten().tolist() == [2.0, 0.0, 2.0]
    assert out.irrelevant.flatten().tolist() == [0.0, 3.0, 1.0]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("bias", "bias: expected one of proportional, irrelevant, got 'open'"),
        ("attention", "attention: expected one of decomposed, frozen, got 'open'"),
        ("mlp", "mlp: expected one of gamma_first, shapley, gate_frozen, half, got 'open'"),
    ],
)
def test_an_unknown_rule_is_an_error_that_names_the_known_ones(name: str, message: str) -> None:
    unknown: dict[str, Any] = {name: "open"}
    with pytest.raises(InputError, match=message):
        CDTOptions(**unknown)


def test_zero_stays_exactly_zero_under_every_rule() -> None:
    other = parts(2, 5).irrelevant
    nothing = Decomposition(torch.zeros_like(other), other)
    layer: Any = nn.Linear(5, 5, dtype=torch.float64)

    def is_silent(x: Decomposition) -> bool:
        return not bool(x.relevant.any())

    for bias in BIAS_RULES:
        assert is_silent(rules.linear(nothing, layer, bias))
    for rule in MLP_RULES:
        assert is_silent(rules.gated(nothing, nothing, SILU, rule))
        assert is_silent(rules.activation(nothing, SILU, rule))
    assert is_silent(rules.cancel_signs(nothing))


def test_positions_turn_both_parts_alike() -> None:
    x, angle = parts(2, 3, 8), torch.randn(3, 8, dtype=torch.float64)
    rope: tuple[Tensor, Tensor] = (angle.cos(), angle.sin())
    turned = rules.rotate(x, rope)
    whole = rules.rotate(Decomposition(x.total, torch.zeros_like(x.total)), rope)
    assert torch.allclose(turned.total, whole.relevant, rtol=0, atol=1e-14)
