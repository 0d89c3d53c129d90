"""The walk of a contextual decomposition through the blocks, for a batch of sets of sources.

A row is one set of sources. Before the first layer of its sources a row's relevant part is zero, so a batch
starts at the first layer of any of its rows, from the residual stream that the model had there (the authors'
shortcut, App. C of arXiv:2407.00886).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from ace_analysis.decomposition import frozen, rules
from ace_analysis.decomposition.anatomy import Block
from ace_analysis.decomposition.decomposition import Decomposition
from ace_analysis.decomposition.frozen import FrozenRun, ask
from ace_analysis.decomposition.nodes import Head, Mlp, Node, Token
from ace_analysis.decomposition.patterns import split_heads
from ace_analysis.decomposition.rules import (
    ATTENTION_RULES,
    BIAS_RULES,
    MLP_RULES,
    AttentionRule,
    BiasRule,
    MlpRule,
)
from ace_analysis.errors import InputError
from ace_analysis.model.scan import never

Source = frozenset[Node]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CDTOptions:
    """The rules, each as `rules.py` states it, and what they were measured to do.

    Measured is agreement (Pearson) with exact zero ablation of all 150 heads and MLPs upstream of a
    finding, in the model that ships: with latents held as in the clean run | as they then fire (`ace bench
    attribution`). On the same three findings, which tells what to expect and not which is better by 0.1:

        proportional, decomposed, half (the defaults)            0.41 | 0.34
        proportional, decomposed, gamma_first, signs cancelled   0.68 | 0.50    the paper's
        the same without cancelling signs                        0.00 | 0.00
        proportional, decomposed, shapley                        0.04 | 0.10
        irrelevant, frozen, half                                 0.83 | 0.68    0.67 | 0.57 on 40 findings
        irrelevant, frozen, gate_frozen                          0.75 | 0.62    0.75 | 0.67 on 40 findings

    The last two are `one_pass` with everything frozen, in two passes instead of one for each node.

    Attributes:
        bias: "proportional", the paper's, or "irrelevant", under which relevance is linear in the sources.
        attention: "decomposed", the paper's, or "frozen": the one-pass's, which agrees better.
        mlp: "half" or "gate_frozen", which are linear; "gamma_first" or "shapley", which are not: in a real
            model a part that is larger than the whole grows with the square from block to block, so that up
            to ten of 150 nodes, those of the first blocks, have no finite score.
        cancel_signs: the paper's sign heuristic, which holds that growth back and all scores with it.
        baselines: what of a head's output before its projection, or of what an MLP writes, is not its own but
            stays irrelevant (the paper's mean over a task's texts), `[pos, width]` or `[width]`; none: zero.
        memory_bytes: the most that a batch may take; None: half of what is free.
    """

    bias: BiasRule = "proportional"
    attention: AttentionRule = "decomposed"
    mlp: MlpRule = "half"
    cancel_signs: bool = False
    baselines: Mapping[Node, Tensor] = field(default_factory=dict[Node, Tensor])
    memory_bytes: int | None = None

    def __post_init__(self) -> None:
        known: dict[str, tuple[str, ...]] = {
            "bias": BIAS_RULES,
            "attention": ATTENTION_RULES,
            "mlp": MLP_RULES,
        }
        for name, values in known.items():
            if getattr(self, name) not in values:
                raise InputError(f"{name}: expected one of {', '.join(values)}, got {getattr(self, name)!r}")


@dataclass(frozen=True, slots=True, eq=False)
class DecomposedBlock:
    """One block's activations in two parts, as they are when a row's sources have been set.

    `z_before` is what reaches the heads' outputs, before heads that are sources themselves are set.
    """

    layer: int
    z_before: Decomposition
    z: Decomposition
    attention_write: Decomposition
    mlp_write: Decomposition
    resid_post: Decomposition


def start_of(source: Source, n_blocks: int) -> int:
    """The first layer at which a set of sources is anything but zero; `n_blocks` where there is none."""
    return min((0 if isinstance(node, Token) else node.layer for node in source), default=n_blocks)


@torch.no_grad()
def walk(
    run: FrozenRun,
    sources: Sequence[Source],
    options: CDTOptions,
    *,
    cancelled: Callable[[], bool] = never,
) -> Iterator[DecomposedBlock]:
    """The blocks from the first that any source is in to the last of the run.

    Raises:
        Cancelled: when `cancelled()` turned true.
    """
    start = min(start_of(source, len(run.blocks)) for source in sources)
    if start >= len(run.blocks):
        return
    resid = _beginning(run, sources, start)
    rope = run.anatomy.rope(run.length)
    for layer in range(start, len(run.blocks)):
        ask(cancelled)
        done = _block(run, layer, resid, _Rows(sources, options, rope))
        resid = done.resid_post
        yield done


@dataclass(frozen=True, slots=True, eq=False)
class _Rows:
    sources: Sequence[Source]
    options: CDTOptions
    rope: tuple[Float[Tensor, "pos head_dim"], Float[Tensor, "pos head_dim"]]


def _beginning(run: FrozenRun, sources: Sequence[Source], layer: int) -> Decomposition:
    """The residual stream in front of a block: all of it irrelevant, but the tokens that are sources."""
    total = run.blocks[layer].resid_pre.expand(len(sources), -1, -1)
    relevant = torch.zeros_like(total)
    if layer == 0:
        for row, source in enumerate(sources):
            at = [node.position for node in source if isinstance(node, Token)]
            relevant[row, at] = total[row, at]
    return Decomposition(relevant, total - relevant)


def _block(run: FrozenRun, layer: int, resid: Decomposition, rows: _Rows) -> DecomposedBlock:
    block, options = run.anatomy.blocks[layer], rows.options
    z_before = _attention(block, run.blocks[layer].pattern, resid, rows)
    z = _set_heads(z_before, layer, rows)
    out = rules.linear(z.through(lambda each: each.flatten(-2)), block.attn.o, options.bias)
    attention_write = _through_norm(out, block.after_attention, options)
    middle = resid + attention_write
    mlp_write = _set_mlps(_mlp(block, middle, options), layer, rows)
    after = middle + mlp_write
    after = rules.cancel_signs(after) if options.cancel_signs else after
    return DecomposedBlock(layer, z_before, z, attention_write, mlp_write, after)


def _attention(
    block: Block, pattern: Float[Tensor, "head pos pos"], resid: Decomposition, rows: _Rows
) -> Decomposition:
    attention, options = block.attn, rows.options
    x = rules.norm(resid, block.before_attention, options.bias)

    def projected(part: frozen.Linear) -> Decomposition:
        return rules.linear(x, part, options.bias).through(lambda each: split_heads(each, attention.head_dim))

    v = projected(attention.v)
    if options.attention == "frozen":
        return rules.attention_frozen(pattern, v)
    q, k = (rules.rotate(projected(part), rows.rope) for part in (attention.q, attention.k))
    return rules.attention_decomposed(q, k, v, attention)


def _mlp(block: Block, middle: Decomposition, options: CDTOptions) -> Decomposition:
    mlp = block.mlp
    x = rules.norm(middle, block.before_mlp, options.bias)
    up = _stable(rules.linear(x, mlp.up, options.bias), options)
    if mlp.gate is None:
        hidden = rules.activation(up, mlp.activation, options.mlp)
    else:
        gate = _stable(rules.linear(x, mlp.gate, options.bias), options)
        hidden = rules.gated(gate, up, mlp.activation, options.mlp)
    out = _stable(rules.linear(hidden, mlp.down, options.bias), options)
    return _through_norm(out, block.after_mlp, options)


def _stable(x: Decomposition, options: CDTOptions) -> Decomposition:
    return rules.cancel_signs(x) if options.cancel_signs else x


def _through_norm(x: Decomposition, norm: frozen.Norm | None, options: CDTOptions) -> Decomposition:
    return x if norm is None else rules.norm(x, norm, options.bias)


def _set_heads(z: Decomposition, layer: int, rows: _Rows) -> Decomposition:
    """Heads that are sources: all of their output is relevant, but its baseline."""
    here = [
        (row, node)
        for row, source in enumerate(rows.sources)
        for node in source
        if isinstance(node, Head) and node.layer == layer
    ]
    if not here:
        return z
    relevant, total = z.relevant.clone(), z.total
    for row, node in here:
        own = total[row, :, node.head]
        relevant[row, :, node.head] = own - _baseline(node, own, rows.options)
    return Decomposition(relevant, total - relevant)


def _set_mlps(written: Decomposition, layer: int, rows: _Rows) -> Decomposition:
    """MLPs that are sources: all that they write is relevant, but its baseline."""
    node = Mlp(layer)
    here = [row for row, source in enumerate(rows.sources) if node in source]
    if not here:
        return written
    relevant, total = written.relevant.clone(), written.total
    for row in here:
        relevant[row] = total[row] - _baseline(node, total[row], rows.options)
    return Decomposition(relevant, total - relevant)


def _baseline(node: Node, own: Tensor, options: CDTOptions) -> Tensor:
    baseline = options.baselines.get(node)
    return torch.zeros_like(own) if baseline is None else baseline.to(own).expand_as(own)
