"""One pass gives what the frozen contextual decomposition gives source by source."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from ace_analysis.decomposition.anatomy import Anatomy
from ace_analysis.decomposition.cdt import ContextualDecomposition
from ace_analysis.decomposition.frozen import FROZEN_GATES, FrozenGate, freeze
from ace_analysis.decomposition.nodes import Head, Mlp, Node, Token
from ace_analysis.decomposition.relp import OnePassOptions, bind, one_pass, scores_in
from ace_analysis.decomposition.scores import NodeScores
from ace_analysis.decomposition.targets import HeadTarget, LatentTarget, LogitDifference, LogitTarget, Target
from ace_analysis.decomposition.walk import CDTOptions
from ace_analysis.errors import Cancelled, InputError
from ace_analysis.features.sparse_coder import SparseCoder
from ace_analysis.model.sites import Site

TIGHT = 1e-10

TARGETS: tuple[Target, ...] = (
    LogitTarget(7),
    LogitDifference(position=9),
    HeadTarget(2, 1),
    HeadTarget(3, 3, position=6),
)


def frozen_rules(gate: FrozenGate) -> CDTOptions:
    return CDTOptions(bias="irrelevant", attention="frozen", mlp=gate)


def every_node(anatomy: Anatomy, length: int) -> list[Node]:
    layers = range(anatomy.n_blocks)
    heads = [Head(layer, head) for layer in layers for head in range(anatomy.n_heads)]
    return [*heads, *map(Mlp, layers), *map(Token, range(length))]


def largest_difference(scores: NodeScores, expected: dict[Node, float]) -> float:
    return max(abs(scores[node] - value) for node, value in expected.items())


def by_walking(anatomy: Anatomy, ids: Tensor, target: Target, gate: FrozenGate) -> dict[Node, float]:
    nodes = every_node(anatomy, ids.shape[1])
    walked = ContextualDecomposition(anatomy, frozen_rules(gate)).decompose(
        ids, sources=nodes, targets=target
    )
    return {node: walked.score(node) for node in nodes}


@pytest.mark.parametrize("gate", FROZEN_GATES)
@pytest.mark.parametrize("target", TARGETS, ids=str)
def test_it_is_the_frozen_decomposition_of_every_head_mlp_and_token(
    anatomy: Anatomy, ids: Tensor, target: Target, gate: FrozenGate
) -> None:
    scores = one_pass(anatomy, ids, target, options=OnePassOptions(nodes="frozen", gate=gate))
    walked = by_walking(anatomy, ids, target, gate)
    assert largest_difference(scores, walked) < TIGHT
    assert max(map(abs, walked.values())) > 1e-3


def test_so_it_is_with_layer_norms_and_without_gates(starcoder2: Any, ids: Tensor) -> None:
    anatomy, target = Anatomy.of(starcoder2), LogitDifference()
    for gate in FROZEN_GATES:
        scores = one_pass(anatomy, ids, target, options=OnePassOptions(nodes="frozen", gate=gate))
        assert largest_difference(scores, by_walking(anatomy, ids, target, gate)) < TIGHT


@pytest.mark.parametrize("gate", FROZEN_GATES)
@pytest.mark.parametrize("target", TARGETS, ids=str)
def test_tokens_and_constants_add_up_to_the_value(
    anatomy: Anatomy, ids: Tensor, target: Target, gate: FrozenGate
) -> None:
    scores = one_pass(anatomy, ids, target, options=OnePassOptions(nodes="frozen", gate=gate))
    assert abs(scores.unexplained) < TIGHT
    assert float(scores.tokens.sum()) + scores.bias == pytest.approx(scores.total, abs=TIGHT)


def test_constants_have_a_share_where_the_model_has_any(qwen2: Anatomy, starcoder2: Any, ids: Tensor) -> None:
    """Else the test above would pass for models whose constants were forgotten on both sides."""
    for each in (qwen2, Anatomy.of(starcoder2)):
        assert abs(one_pass(each, ids, LogitDifference()).bias) > 1e-3


def test_heads_of_the_last_layer_without_mlps_are_direct_logit_attribution(
    anatomy: Anatomy, ids: Tensor, without_mlps: Callable[[Anatomy], Anatomy]
) -> None:
    """With all frozen, the last norm too."""
    silent = without_mlps(anatomy)
    if silent.blocks[-1].after_attention is not None:
        pytest.skip("a norm stands between Gemma 2's heads and the residual stream")
    run, last = freeze(silent, ids, 4), silent.n_blocks - 1
    scores = one_pass(silent, ids, LogitTarget(7), options=OnePassOptions(nodes="frozen"))
    bound = LogitTarget(7).bind(run.resid, silent)
    weight = silent.blocks[last].attn.o.weight.unflatten(1, (silent.n_heads, -1))
    for head in range(silent.n_heads):
        written = run.blocks[last].z[:, head] @ weight[:, head].T
        assert scores[Head(last, head)] == pytest.approx(float(bound.readout.part(written)), abs=TIGHT)


def test_what_is_not_upstream_has_no_part(anatomy: Anatomy, ids: Tensor) -> None:
    scores = one_pass(anatomy, ids, HeadTarget(1, 0, position=5))
    assert scores.heads[1:].abs().max() == 0 and scores.mlps[1:].abs().max() == 0
    assert scores.tokens[6:].abs().max() == 0 and scores.tokens.shape == (ids.shape[1],)
    assert scores.heads[0].abs().min() > 0


def test_what_stands_behind_the_target_changes_nothing(anatomy: Anatomy, ids: Tensor) -> None:
    target = LogitTarget(3, position=5)
    whole, cut = one_pass(anatomy, ids, target), one_pass(anatomy, ids[:, :6], target)
    assert torch.equal(whole.heads, cut.heads) and torch.equal(whole.tokens[:6], cut.tokens)


def test_a_run_serves_more_than_one_target(anatomy: Anatomy, ids: Tensor) -> None:
    run = freeze(anatomy, ids, 4)
    for target in TARGETS:
        again, alone = scores_in(run, target), one_pass(anatomy, ids, target)
        assert (again.heads - alone.heads).abs().max() < TIGHT


def random_coder(anatomy: Anatomy, layer: int, d_sae: int = 40) -> SparseCoder:
    torch.manual_seed(0)
    width = anatomy.d_model
    return SparseCoder(
        W_enc=torch.randn(width, d_sae, dtype=torch.float64),
        b_enc=torch.zeros(d_sae),
        W_dec=torch.randn(d_sae, width, dtype=torch.float64),
        b_dec=torch.zeros(width),
        threshold=torch.full((d_sae,), 0.5),
        site=Site(layer),
    )


def test_a_latents_score_is_what_its_direction_adds_through_all_that_follows(
    anatomy: Anatomy, ids: Tensor
) -> None:
    """Of what an MLP writes, all but the latent's direction is made a baseline: what is left is its score."""
    layer, target, coder = 1, LogitTarget(7), random_coder(anatomy, 1)
    options = OnePassOptions(nodes="frozen", gate="gate_frozen", coder=coder)
    scores = one_pass(anatomy, ids, target, options=options)
    assert scores.latents is not None and scores.latents.shape == (ids.shape[1], coder.d_sae)
    assert scores.latents[0].abs().max() == 0  # position 0 carries no feature of the code
    position, latent = divmod(int(scores.latents.abs().argmax()), coder.d_sae)
    run = freeze(anatomy, ids, 4)
    activation = coder.encode(run.resid_post(layer))[position, latent]
    baseline = run.blocks[layer].mlp_write.clone()
    baseline[position] -= activation.double() * coder.W_dec[latent]
    rules = replace(frozen_rules("gate_frozen"), baselines={Mlp(layer): baseline})
    walked = ContextualDecomposition(anatomy, rules).decompose(ids, sources=[Mlp(layer)], targets=target)
    assert float(scores.latents[position, latent]) == pytest.approx(walked.score(Mlp(layer)), rel=1e-5)


def test_a_coder_behind_the_target_is_an_error(anatomy: Anatomy, ids: Tensor) -> None:
    options = OnePassOptions(coder=random_coder(anatomy, 3))
    with pytest.raises(InputError, match=r"expected a sparse coder upstream of output of.*3\.resid"):
        one_pass(anatomy, ids, HeadTarget(2, 1), options=options)


def test_a_latent_is_explained_as_any_number_is(anatomy: Anatomy, ids: Tensor) -> None:
    coder = random_coder(anatomy, 2)
    scores = one_pass(anatomy, ids, LatentTarget(coder, 5, position=8))
    run = freeze(anatomy, ids, 3)
    expected = float((run.resid[8] - coder.b_dec) @ coder.W_enc[:, 5] + coder.b_enc[5])
    assert scores.total == pytest.approx(expected, abs=TIGHT) and abs(scores.unexplained) < TIGHT
    assert scores.unit == "activation"


def test_a_cancel_is_noticed_on_the_way_back_too(anatomy: Anatomy, ids: Tensor) -> None:
    asked: list[bool] = []

    def sixth() -> bool:
        asked.append(True)
        return len(asked) == 6

    with pytest.raises(Cancelled):
        one_pass(anatomy, ids, LogitTarget(7), cancelled=sixth)
    assert len(asked) == 6  # four blocks forwards, and the second on the way back


@pytest.mark.parametrize("target", TARGETS, ids=str)
def test_small_nodes_are_scored_by_the_models_own_gradient(
    anatomy: Anatomy, ids: Tensor, target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the mixed rule, heads always, and MLPs where they are not much of the stream."""
    monkeypatch.setattr("ace_analysis.decomposition.relp.MUCH", float("inf"))
    scores = one_pass(anatomy, ids, target)
    run = freeze(anatomy, ids, 4)
    bound = bind(run, target)
    for layer in range(bound.site.layer):
        written = run.blocks[layer].mlp_write.detach()
        share = torch.zeros((), dtype=torch.float64, requires_grad=True)
        onwards = rerun(anatomy, run.resid_post(layer) + share * written, layer + 1, bound.site)
        (slope,) = torch.autograd.grad(bound.measure(onwards[None])[0], share)
        assert scores[Mlp(layer)] == pytest.approx(float(slope), abs=1e-8)


def rerun(anatomy: Anatomy, resid: Tensor, first: int, site: Site) -> Tensor:
    """The rest of the model from a residual stream on, with nothing frozen."""
    from ace_analysis.decomposition.frozen import linear, normed, scale_of
    from ace_analysis.decomposition.patterns import mixed, pattern_of, rotated, scores_of, split_heads

    rope = anatomy.rope(len(resid))
    for layer in range(first, site.layer + 1):
        block = anatomy.blocks[layer]
        attention, mlp = block.attn, block.mlp
        x = normed(resid, block.before_attention, scale_of(resid, block.before_attention))
        q, k, v = (
            split_heads(linear(x, part), attention.head_dim)
            for part in (attention.q, attention.k, attention.v)
        )
        pattern = pattern_of(scores_of(rotated(q, rope), rotated(k, rope), attention), attention)
        z = mixed(pattern, v)
        if site.stream == "z" and layer == site.layer:
            return z[:, site.head]
        written = linear(z.flatten(-2), attention.o)
        norm = block.after_attention
        resid = resid + (written if norm is None else normed(written, norm, scale_of(written, norm)))
        x = normed(resid, block.before_mlp, scale_of(resid, block.before_mlp))
        hidden = mlp.activation(linear(x, mlp.up if mlp.gate is None else mlp.gate))
        written = linear(hidden if mlp.gate is None else hidden * linear(x, mlp.up), mlp.down)
        norm = block.after_mlp
        resid = resid + (written if norm is None else normed(written, norm, scale_of(written, norm)))
    return resid


def test_so_they_are_with_layer_norms_and_without_gates(
    starcoder2: Any, ids: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    test_small_nodes_are_scored_by_the_models_own_gradient(
        Anatomy.of(starcoder2), ids, LogitDifference(), monkeypatch
    )


def test_an_mlp_that_is_much_of_the_stream_is_scored_by_the_frozen_network(
    anatomy: Anatomy, ids: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ace_analysis.decomposition.relp.MUCH", 0.0)
    mixed, frozen = (
        one_pass(anatomy, ids, LogitTarget(7), options=OnePassOptions(nodes=rule))
        for rule in ("mixed", "frozen")
    )
    assert torch.equal(mixed.mlps, frozen.mlps) and torch.equal(mixed.tokens, frozen.tokens)
    assert not torch.allclose(mixed.heads, frozen.heads)


def test_an_unknown_rule_for_nodes_is_an_error() -> None:
    unknown: Any = "open"
    with pytest.raises(InputError, match="nodes: expected one of mixed, frozen, got 'open'"):
        OnePassOptions(nodes=unknown)
