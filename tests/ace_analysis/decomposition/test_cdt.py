"""What contextual decomposition promises (numbers as in the notes on the method: completeness and so on).

Each invariant holds under some rules and not under others; the test's name or docstring says which.
"""

import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from ace_analysis.decomposition import rules
from ace_analysis.decomposition.anatomy import Anatomy
from ace_analysis.decomposition.cdt import ContextualDecomposition
from ace_analysis.decomposition.frozen import FrozenRun, freeze, linear, normed
from ace_analysis.decomposition.nodes import Head, Mlp, Node, Token
from ace_analysis.decomposition.rules import ATTENTION_RULES, BIAS_RULES, MLP_RULES
from ace_analysis.decomposition.targets import HeadTarget, LogitDifference, LogitTarget
from ace_analysis.decomposition.walk import CDTOptions, walk
from ace_analysis.errors import Cancelled, InputError, ModelError

TIGHT = 1e-10
LAYERS, HEADS, LENGTH = 4, 4, 14

EVERY_RULE = [
    CDTOptions(bias=bias, attention=attention, mlp=mlp, cancel_signs=signs)
    for bias, attention, mlp, signs in itertools.product(
        BIAS_RULES, ATTENTION_RULES, MLP_RULES, (False, True)
    )
]


def named(options: CDTOptions) -> str:
    signs = "-signs" if options.cancel_signs else ""
    return f"{options.bias}-{options.attention}-{options.mlp}{signs}"


def tokens(*positions: int) -> frozenset[Node]:
    return frozenset(map(Token, positions))


def blocks_of(anatomy: Anatomy, ids: Tensor, source: frozenset[Node], options: CDTOptions) -> list[Any]:
    run = freeze(anatomy, ids, anatomy.n_blocks)
    return list(zip(run.blocks, walk(run, [source], options), strict=True))


@pytest.mark.parametrize("options", EVERY_RULE, ids=named)
def test_1_the_parts_add_up_to_the_activation_at_every_hook_under_every_rule(
    anatomy: Anatomy, ids: Tensor, options: CDTOptions
) -> None:
    source = tokens(3, 4) | {Head(1, 2), Mlp(2)}
    for frozen, walked in blocks_of(anatomy, ids, source, options):
        after = frozen.resid_pre + frozen.attention_write + frozen.mlp_write
        hooks = [
            (walked.z, frozen.z),
            (walked.attention_write, frozen.attention_write),
            (walked.mlp_write, frozen.mlp_write),
            (walked.resid_post, after),
        ]
        for parts, activation in hooks:
            assert (parts.total[0] - activation).abs().max() < TIGHT
        assert walked.resid_post.relevant.abs().max() > 0


def test_1_so_they_do_with_layer_norms_and_biases_everywhere(starcoder2: Any, ids: Tensor) -> None:
    """Under every rule."""
    for options in EVERY_RULE:
        for frozen, walked in blocks_of(Anatomy.of(starcoder2), ids, tokens(3, 4), options):
            after = frozen.resid_pre + frozen.attention_write + frozen.mlp_write
            assert (walked.resid_post.total[0] - after).abs().max() < TIGHT


@pytest.mark.parametrize("attention", ATTENTION_RULES)
@pytest.mark.parametrize("mlp", MLP_RULES)
def test_2_all_relevant_is_the_whole_value_with_the_proportional_bias(
    anatomy: Anatomy, ids: Tensor, attention: rules.AttentionRule, mlp: rules.MlpRule
) -> None:
    options = CDTOptions(bias="proportional", attention=attention, mlp=mlp)
    result = ContextualDecomposition(anatomy, options).decompose(ids)
    constant = result.targets[0].readout.constant
    assert result.relevant + constant == pytest.approx(result.value, abs=TIGHT)
    assert result.unexplained == pytest.approx(constant, abs=TIGHT)


def test_2_all_relevant_leaves_the_effect_of_the_biases_with_the_irrelevant_bias(
    qwen2: Anatomy, ids: Tensor
) -> None:
    """Frozen patterns, frozen gates; a proportional bias leaves nothing."""
    options = CDTOptions(bias="irrelevant", attention="frozen", mlp="gate_frozen")
    left = ContextualDecomposition(qwen2, options).decompose(ids).unexplained
    none = ContextualDecomposition(qwen2, replace(options, bias="proportional")).decompose(ids).unexplained
    assert abs(left) > 1e-3 and abs(none) < TIGHT


@pytest.mark.parametrize("options", EVERY_RULE, ids=named)
def test_3_none_relevant_is_exactly_zero_everywhere_under_every_rule(
    anatomy: Anatomy, ids: Tensor, options: CDTOptions
) -> None:
    run = freeze(anatomy, ids, anatomy.n_blocks)
    nobody = frozenset({Token(0)})
    silent = replace(run.blocks[0], resid_pre=run.blocks[0].resid_pre.clone())
    silent.resid_pre[0] = 0  # the only source is a token whose embedding is zero
    quiet = FrozenRun(run.anatomy, run.gate, (silent, *run.blocks[1:]), run.resid)
    for block in walk(quiet, [nobody], options):
        assert not block.resid_post.relevant.any() and not block.z.relevant.any()


def test_3_positions_that_no_target_sees_have_no_part(anatomy: Anatomy, ids: Tensor) -> None:
    """Under the default rules."""
    result = ContextualDecomposition(anatomy).decompose(
        ids, relevant_positions=[9, 12], targets=LogitTarget(3, position=8)
    )
    assert result.relevant == 0.0 and not result.heads.any() and result.unexplained == result.value


@pytest.mark.parametrize("options", EVERY_RULE[::2], ids=named)
def test_4_a_head_of_the_last_layer_without_mlps_is_direct_logit_attribution(
    anatomy: Anatomy, ids: Tensor, without_mlps: Callable[[Anatomy], Anatomy], options: CDTOptions
) -> None:
    """Under every rule but the sign heuristic: nothing nonlinear is left, but the frozen last norm."""
    silent, target = without_mlps(anatomy), LogitTarget(7)
    run, last = freeze(silent, ids, LAYERS), LAYERS - 1
    block, frozen = silent.blocks[last], run.blocks[last]
    bound = target.bind(run.resid, silent)
    result = ContextualDecomposition(silent, options).decompose(
        ids, sources=[Head(last, head) for head in range(HEADS)], targets=target
    )
    weight = block.attn.o.weight.unflatten(1, (HEADS, -1))
    for head in range(HEADS):
        written = frozen.z[:, head] @ weight[:, head].T
        if block.after_attention is not None and frozen.after_attention_scale is not None:
            written = normed(written, block.after_attention, frozen.after_attention_scale)
        expected = float(bound.readout.part(written))
        assert result.score(Head(last, head)) == pytest.approx(expected, abs=TIGHT)


def ablated_linearly(anatomy: Anatomy, run: FrozenRun, head: Head) -> Tensor:
    """The residual stream with one head taken out; patterns and norms are those of the clean run."""
    resid = run.blocks[0].resid_pre
    for layer, (block, frozen) in enumerate(zip(anatomy.blocks, run.blocks, strict=True)):
        x = normed(resid, block.before_attention, frozen.attention_scale)
        v = linear(x, block.attn.v).unflatten(-1, (block.attn.n_kv_heads, -1))
        v = v.repeat_interleave(HEADS // block.attn.n_kv_heads, dim=1)
        z = torch.einsum("hqk,khd->qhd", frozen.pattern, v)
        if layer == head.layer:
            z[:, head.head] = 0
        written = linear(z.flatten(-2), block.attn.o)
        if block.after_attention is not None and frozen.after_attention_scale is not None:
            written = normed(written, block.after_attention, frozen.after_attention_scale)
        resid = resid + written
    return resid


LINEAR = CDTOptions(bias="irrelevant", attention="frozen", mlp="gate_frozen")


def linear_case(
    anatomy: Anatomy, ids: Tensor, without_mlps: Callable[[Anatomy], Anatomy], options: CDTOptions
) -> tuple[list[float], list[float]]:
    """Each head's relevance, and what taking it out costs, in a network that is linear."""
    silent, target = without_mlps(anatomy), LogitTarget(7)
    run = freeze(silent, ids, LAYERS)
    bound = target.bind(run.resid, silent)
    heads = [Head(layer, head) for layer in range(LAYERS) for head in range(HEADS)]
    result = ContextualDecomposition(silent, options).decompose(ids, sources=heads, targets=target)
    with torch.no_grad():
        costs = [float(bound.readout.part(run.resid - ablated_linearly(silent, run, head))) for head in heads]
    return [result.score(head) for head in heads], costs


def test_5_in_a_linear_network_relevance_is_the_ablation(
    anatomy: Anatomy, ids: Tensor, without_mlps: Callable[[Anatomy], Anatomy]
) -> None:
    """Frozen patterns and norms, no MLPs, the bias irrelevant, no sign heuristic."""
    scores, costs = linear_case(anatomy, ids, without_mlps, LINEAR)
    assert scores == pytest.approx(costs, abs=TIGHT)
    assert max(map(abs, costs)) > 1e-2


@pytest.mark.parametrize(
    "options",
    [replace(LINEAR, bias="proportional"), replace(LINEAR, cancel_signs=True)],
    ids=["the proportional bias", "the sign heuristic"],
)
def test_5_which_it_is_not_with(
    qwen2: Anatomy, ids: Tensor, without_mlps: Callable[[Anatomy], Anatomy], options: CDTOptions
) -> None:
    """Else the test above would pass for a wrong reason."""
    scores, costs = linear_case(qwen2, ids, without_mlps, options)
    wrong = max(abs(score - cost) for score, cost in zip(scores, costs, strict=True))
    assert wrong > 0.02 * max(map(abs, costs))


def test_6_where_the_irrelevant_path_is_the_ablated_run_relevance_is_the_causal_effect(
    anatomy: Anatomy, ids: Tensor
) -> None:
    """gamma_first, the last block's MLP alone between source and target, and the norm frozen."""
    layer = LAYERS - 1
    options = CDTOptions(bias="irrelevant", attention="frozen", mlp="gamma_first")
    run = freeze(anatomy, ids, LAYERS)
    block, frozen = anatomy.blocks[layer], run.blocks[layer]
    walked = list(walk(run, [frozenset({Head(layer, 1)})], options))[-1]
    x = normed(frozen.resid_pre + walked.attention_write.irrelevant[0], block.before_mlp, frozen.mlp_scale)
    gate: Any = block.mlp.gate
    with torch.no_grad():
        hidden = block.mlp.activation(linear(x, gate)) * linear(x, block.mlp.up)
        written = linear(hidden, block.mlp.down)
    if block.after_mlp is not None and frozen.after_mlp_scale is not None:
        written = normed(written, block.after_mlp, frozen.after_mlp_scale)
    assert torch.allclose(walked.mlp_write.irrelevant[0], written, rtol=0, atol=TIGHT)


def test_7_relevance_of_single_tokens_does_not_add_up(anatomy: Anatomy, ids: Tensor) -> None:
    """Under the paper's rules: interactions belong to no token alone."""
    options = CDTOptions(attention="decomposed", mlp="gamma_first")
    result = ContextualDecomposition(anatomy, options).decompose(ids, sources=map(Token, range(LENGTH)))
    assert abs(float(result.relevance[:, 0].sum()) - result.relevant) > 1e-2
    assert result.relevant + result.targets[0].readout.constant == pytest.approx(result.value, abs=TIGHT)


def test_7_but_with_everything_frozen_and_biases_irrelevant_it_does(anatomy: Anatomy, ids: Tensor) -> None:
    result = ContextualDecomposition(anatomy, LINEAR).decompose(ids, sources=map(Token, range(LENGTH)))
    assert float(result.relevance[:, 0].sum()) == pytest.approx(result.relevant, abs=TIGHT)


@pytest.mark.parametrize("options", [CDTOptions(), LINEAR], ids=["default", "linear"])
def test_8_a_batch_of_sources_is_what_they_are_one_by_one(
    anatomy: Anatomy, ids: Tensor, options: CDTOptions
) -> None:
    sources = [Head(2, 1), Token(3), Mlp(1), Head(0, 0), frozenset({Head(1, 1), Mlp(2), Token(5)})]
    decomposition = ContextualDecomposition(anatomy, options)
    together = decomposition.decompose(ids, sources=sources).relevance[:, 0]
    alone = [float(decomposition.decompose(ids, sources=[each]).relevance[0, 0]) for each in sources]
    assert together.tolist() == pytest.approx(alone, abs=TIGHT)


def test_8_so_it_is_when_the_memory_holds_one_row_only(anatomy: Anatomy, ids: Tensor) -> None:
    from ace_analysis.decomposition.memory import Footprint

    sources: list[Node] = [Head(2, 1), Token(3), Mlp(1)]
    footprint = Footprint.of(anatomy, LENGTH, LAYERS)
    small = CDTOptions(memory_bytes=footprint.once + footprint.row)
    one_by_one = ContextualDecomposition(anatomy, small).decompose(ids, sources=sources)
    at_once = ContextualDecomposition(anatomy).decompose(ids, sources=sources)
    assert one_by_one.relevance[:, 0].tolist() == pytest.approx(at_once.relevance[:, 0].tolist(), abs=TIGHT)


def test_the_pass_that_starts_at_a_sources_layer_is_the_pass_from_the_start(
    anatomy: Anatomy, ids: Tensor
) -> None:
    """A second row whose source is a token makes the whole batch start at the embedding."""
    decomposition = ContextualDecomposition(anatomy)
    late = decomposition.decompose(ids, sources=[Head(3, 0)]).score(Head(3, 0))
    early = decomposition.decompose(ids, sources=[Head(3, 0), Token(0)]).score(Head(3, 0))
    assert late == pytest.approx(early, abs=TIGHT)


def test_heads_that_share_keys_and_values_are_told_apart(qwen2: Anatomy, ids: Tensor) -> None:
    """Grouped heads, under the default rules: two heads of a group have scores of their own."""
    result = ContextualDecomposition(qwen2).decompose(ids, sources=[Head(1, 0), Head(1, 1)])
    assert abs(result.score(Head(1, 0)) - result.score(Head(1, 1))) > 1e-4


def test_a_baseline_is_no_part_of_a_source(anatomy: Anatomy, ids: Tensor) -> None:
    """Under every rule: with all of its output as its baseline, a node is nothing."""
    run = freeze(anatomy, ids, LAYERS)
    own: dict[Node, Tensor] = {Head(1, 2): run.blocks[1].z[:, 2], Mlp(0): run.blocks[0].mlp_write}
    for options in EVERY_RULE:
        decomposition = ContextualDecomposition(anatomy, replace(options, baselines=own))
        result = decomposition.decompose(ids, sources=list(own))
        assert result.relevance.abs().max() < TIGHT


# --- the call of the public library --------------------------------------------------------------------


def test_it_is_called_as_promised_on_a_hooked_model(tiny_model: Path, ids: Tensor) -> None:
    from ace_analysis.model.loading import load_hooked_model

    model = load_hooked_model(str(tiny_model), device="cpu", dtype="float32")
    result = ContextualDecomposition(model).decompose(ids, relevant_positions=[0, 1, 2])
    layers, heads = result.get_top_layers(k=3), result.get_top_heads(k=10)
    assert len(layers) == 3 and len(heads) == 10 and isinstance(heads[0][0], Head)
    assert [abs(score) for _, score in heads] == sorted((abs(score) for _, score in heads), reverse=True)
    assert result.value == pytest.approx(result.relevant + result.unexplained, abs=1e-6)
    assert not result.every_position and result.note == ""
    with torch.no_grad():
        logits = model(ids)[0, -1]
    best = logits.topk(2).values
    assert result.value == pytest.approx(float(best[0] - best[1]), abs=1e-3)


def test_without_sources_every_position_is_relevant_and_the_result_says_so(
    anatomy: Anatomy, ids: Tensor
) -> None:
    result = ContextualDecomposition(anatomy).decompose(ids)
    named_all = ContextualDecomposition(anatomy).decompose(ids, relevant_positions=range(LENGTH))
    assert result.every_position and "every position counts as relevant" in result.note
    assert not named_all.every_position and torch.equal(result.heads, named_all.heads)


def test_what_flows_from_all_positions_is_the_one_passs_score(anatomy: Anatomy, ids: Tensor) -> None:
    """Frozen rules with the proportional bias: all of a node's output is then relevant."""
    from ace_analysis.decomposition.relp import OnePassOptions, one_pass

    options = CDTOptions(bias="proportional", attention="frozen", mlp="half")
    result = ContextualDecomposition(anatomy, options).decompose(ids)
    scores = one_pass(anatomy, ids, LogitDifference(), options=OnePassOptions(nodes="frozen"))
    assert torch.allclose(result.heads, scores.heads, rtol=0, atol=TIGHT)
    assert torch.allclose(result.mlps, scores.mlps, rtol=0, atol=TIGHT)
    assert torch.allclose(result.tokens, scores.tokens, rtol=0, atol=TIGHT)


def test_more_than_one_target_is_read_in_one_walk(anatomy: Anatomy, ids: Tensor) -> None:
    targets = [LogitTarget(7), HeadTarget(2, 1), LogitDifference(position=4)]
    decomposition = ContextualDecomposition(anatomy)
    sources: list[Node] = [Head(0, 1), Mlp(1), Head(3, 2)]
    together = decomposition.decompose(ids, sources=sources, targets=targets)
    for column, target in enumerate(targets):
        alone = decomposition.decompose(ids, sources=sources, targets=target)
        assert together.relevance[:, column].tolist() == pytest.approx(
            alone.relevance[:, 0].tolist(), abs=TIGHT
        )
    assert together.score(Head(3, 2), target=1) == 0.0


def test_a_head_is_not_upstream_of_itself(anatomy: Anatomy, ids: Tensor) -> None:
    result = ContextualDecomposition(anatomy).decompose(
        ids, sources=[Head(2, 1), Head(1, 1)], targets=HeadTarget(2, 1)
    )
    assert result.score(Head(2, 1)) == 0.0 and result.score(Head(1, 1)) != 0.0


def test_negative_positions_count_from_the_end(anatomy: Anatomy, ids: Tensor) -> None:
    decomposition = ContextualDecomposition(anatomy)
    last = decomposition.decompose(ids, relevant_positions=[-1])
    assert last.relevant == decomposition.decompose(ids, relevant_positions=[LENGTH - 1]).relevant


@pytest.mark.parametrize("position", [LENGTH, -LENGTH - 1])
def test_a_position_outside_the_text_is_an_error(anatomy: Anatomy, ids: Tensor, position: int) -> None:
    with pytest.raises(InputError, match=rf"a position in a text of {LENGTH} tokens, got {position}"):
        ContextualDecomposition(anatomy).decompose(ids, relevant_positions=[position])


@pytest.mark.parametrize("node", [Head(LAYERS, 0), Head(0, HEADS), Mlp(LAYERS), Token(LENGTH)], ids=str)
def test_a_source_that_is_not_there_is_an_error(anatomy: Anatomy, ids: Tensor, node: Node) -> None:
    with pytest.raises(InputError, match=f"expected nodes of 4 loaded blocks with 4 heads.*got {node}"):
        ContextualDecomposition(anatomy).decompose(ids, sources=[node])


def test_no_source_is_an_error(anatomy: Anatomy, ids: Tensor) -> None:
    with pytest.raises(InputError, match="expected at least one source, got none"):
        ContextualDecomposition(anatomy).decompose(ids, sources=[])


def test_positions_and_sources_together_are_an_error(anatomy: Anatomy, ids: Tensor) -> None:
    with pytest.raises(InputError, match="expected relevant positions or sources, got both"):
        ContextualDecomposition(anatomy).decompose(ids, relevant_positions=[0], sources=[Mlp(0)])


def test_a_text_too_long_for_the_memory_is_an_error_before_the_run(anatomy: Anatomy, ids: Tensor) -> None:
    options = CDTOptions(memory_bytes=1000)
    with pytest.raises(InputError, match=r"fits into 0 MB, got 14 tokens, which take \d+ MB; use a shorter"):
        ContextualDecomposition(anatomy, options).decompose(ids)


def test_first_blocks_alone_have_no_logit_to_explain(tiny_qwen2: Path, ids: Tensor) -> None:
    from ace_analysis.model.loading import load_scanner

    scanner = load_scanner(str(tiny_qwen2), device="cpu", dtype="float32", n_blocks=2)
    with pytest.raises(ModelError, match="with its unembedding to explain a logit, got 2 of 4 blocks"):
        ContextualDecomposition(scanner).decompose(ids)
    heads = ContextualDecomposition(scanner).decompose(ids, targets=HeadTarget(1, 0)).get_top_heads(2)
    assert {head.layer for head, _ in heads} == {0}


def test_a_cancel_is_noticed_between_blocks(anatomy: Anatomy, ids: Tensor) -> None:
    asked: list[bool] = []

    def after_the_clean_run() -> bool:
        asked.append(True)
        return len(asked) == LAYERS + 2

    with pytest.raises(Cancelled):
        ContextualDecomposition(anatomy).decompose(ids, sources=[Token(1)], cancelled=after_the_clean_run)
    assert len(asked) == LAYERS + 2
