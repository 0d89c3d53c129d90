"""Labelled examples: one function with many planted bugs, packed as one tree of tokens.

A mutant shares everything before its first changed token with the clean function, and attention is causal.
So the clean tokens are run once and each mutant adds only a *branch*: the tokens from the first changed one
on. A branch attends to the clean tokens before it and to itself, at the positions that it would have in the
mutant's own text, so its activations are those of the whole mutant, at a fraction of the cost.

    clean:   d e f   f ( a , b ) : \\n   return   a   +   b \\n
    branch:                                          -   b \\n

A prompt here is built exactly as a scan builds it (header, then the scope's own text), because a readout is
only as good as the match between the two.
"""

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from ace_analysis.features.positions import DEFAULT_SLOTS, site_positions
from ace_analysis.model.tokens import TokenizedText
from ace_analysis.source.corpus import CodeFunction
from ace_analysis.source.document import TextSpan
from ace_analysis.source.mutation import MutationGenerator, MutationPair
from ace_analysis.source.sites import CandidateSite, candidate_sites

CLEAN, BUG, NEAR_BUG = 0, 1, 2
"""Labels of a row: a site of the clean function, the planted bug, another site of the same mutant.

A branch has rows of the latter for the sites that the bug changes, a `full` mutant for all of them.
"""

NO_TYPE = "clean"


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeOptions:
    """How trees are made.

    `mutants` per function at most, of which `full` run to the end of the function and the rest to the end
    of the line behind the bug's, or `branch_tokens`. `max_tokens` of the clean prompt; longer functions are
    left out.
    """

    slots: tuple[int | str, ...] = DEFAULT_SLOTS
    mutants: int = 12
    full: int = 0
    branch_tokens: int = 32
    max_tokens: int = 512
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Row:
    """One site, read in one variant of the function.

    `positions` are indices into the tree, one a slot. `origin` is the row of the same site in the clean
    function (-1 where there is none); `variant` is 0 for the clean function and counts the mutants from 1.
    """

    positions: tuple[int, ...]
    kind: str
    label: int
    variant: int
    origin: int
    mutation: str = NO_TYPE


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """The clean function's tokens, then the branches'.

    `parents[i]` is how many clean tokens come before token i's branch (its own index in the clean part),
    `branch[i]` names its branch (0: clean), `depth[i]` is its position in the text that it belongs to.
    """

    project: str
    name: str
    lines: int
    ids: tuple[int, ...]
    branch: tuple[int, ...]
    parents: tuple[int, ...]
    depth: tuple[int, ...]
    rows: tuple[Row, ...]

    def __len__(self) -> int:
        return len(self.ids)


Encode = Callable[[str], TokenizedText]


def tree_of(
    function: CodeFunction, generator: MutationGenerator, encode: Encode, options: TreeOptions
) -> Tree | None:
    """The tree of one function; None where it is too long or has nothing to mutate."""
    clean = _Variant.of(function, function.text, encode, options)
    if len(clean.tokens.ids) > options.max_tokens or not clean.sites:
        return None
    pairs = planted_in(function, generator, options)
    rows = [Row(tuple(p), s.kind, CLEAN, 0, i) for i, (s, p) in enumerate(_readable(clean))]
    trunk = _Trunk(clean, {site.span.start: i for i, (site, _) in enumerate(_readable(clean))}, options)
    tree = Tree(
        project=function.project,
        name=function.path,
        lines=function.text.count("\n") + 1,
        ids=tuple(clean.tokens.ids),
        branch=(0,) * len(clean.tokens.ids),
        parents=tuple(range(len(clean.tokens.ids))),
        depth=tuple(range(len(clean.tokens.ids))),
        rows=tuple(rows),
    )
    for number, pair in enumerate(pairs):
        mutant = _Variant.of(function, pair.negative, encode, options)
        tree = _grown(tree, trunk, mutant, pair, whole=number < options.full)
    return tree if tree.branch[-1] else None


def planted_in(
    function: CodeFunction, generator: MutationGenerator, options: TreeOptions
) -> list[MutationPair]:
    """The bugs that a function's tree has, as texts; the same ones each time."""
    rng = random.Random(f"{options.seed}:{function.project}:{function.path}:{len(function.text)}")
    return _spread(generator.mutations_of(function.text), options.mutants, rng)


@dataclass(frozen=True, slots=True)
class _Variant:
    """The clean function or a mutant of it, tokenized, with its sites and where they are read."""

    tokens: TokenizedText
    sites: tuple[CandidateSite, ...]
    positions: list[list[int]]
    header: int

    @classmethod
    def of(cls, function: CodeFunction, text: str, encode: Encode, options: TreeOptions) -> "_Variant":
        prompt = function.header + text
        tokens = encode(prompt)
        sites = candidate_sites(text)
        shift = len(function.header)
        spans = [site.span.shifted(shift) for site in sites]
        positions = site_positions(prompt, tokens.spans, spans, options.slots).tolist()
        return cls(tokens, sites, positions, shift)


def _readable(variant: _Variant) -> list[tuple[CandidateSite, list[int]]]:
    pairs = zip(variant.sites, variant.positions, strict=True)
    return [(site, positions) for site, positions in pairs if positions[0] >= 0]


def _spread(pairs: Sequence[MutationPair], count: int, rng: random.Random) -> list[MutationPair]:
    """Up to `count` pairs, going round the mutation types so that common types don't crowd out rare ones."""
    by_type: dict[str, list[MutationPair]] = {}
    for pair in rng.sample(list(pairs), len(pairs)):
        by_type.setdefault(pair.mutation_type, []).append(pair)
    queues = rng.sample(list(by_type.values()), len(by_type))
    chosen: list[MutationPair] = []
    while len(chosen) < count and any(queues):
        for queue in queues:
            if queue and len(chosen) < count:
                chosen.append(queue.pop())
    return rng.sample(chosen, len(chosen))


@dataclass(frozen=True, slots=True)
class _Trunk:
    """What branches grow from: the clean function, and the row of each of its sites by the site's start."""

    clean: _Variant
    origins: dict[int, int]
    options: TreeOptions


def _grown(tree: Tree, trunk: _Trunk, mutant: _Variant, pair: MutationPair, *, whole: bool) -> Tree:
    """`tree` with the mutant's branch and its rows; unchanged where the bug has no site that can be read."""
    readable = _readable(mutant)
    bug = next((i for i, (s, _) in enumerate(readable) if s.span.start == pair.negative_span.start), None)
    split = _first_difference(trunk.clean.tokens.ids, mutant.tokens.ids)
    if bug is None or split == 0 or split >= len(mutant.tokens.ids):
        return tree
    end = len(mutant.tokens.ids) if whole else _branch_end(mutant, readable[bug][1], split, trunk.options)
    start, number = len(tree.ids), tree.branch[-1] + 1
    shift = len(pair.negative) - len(pair.positive)
    rows = list(tree.rows)
    for index, (site, positions) in enumerate(readable):
        if max(positions) >= end or (max(positions) < split and not whole):
            continue
        label = BUG if index == bug else NEAR_BUG
        places = tuple(p if p < split else p - split + start for p in positions)
        origin = _origin(site.span, pair, trunk.origins, shift)
        rows.append(Row(places, site.kind, label, number, origin, pair.mutation_type))
    length = end - split
    return replace(
        tree,
        ids=(*tree.ids, *mutant.tokens.ids[split:end]),
        branch=(*tree.branch, *[number] * length),
        parents=(*tree.parents, *[split] * length),
        depth=(*tree.depth, *range(split, end)),
        rows=tuple(rows),
    )


def _branch_end(mutant: _Variant, positions: Sequence[int], split: int, options: TreeOptions) -> int:
    """Behind all that the bug's site reads, then to the end of the next line, at most `branch_tokens`."""
    needed = max(positions) + 1
    limit = max(needed, split + options.branch_tokens)
    ends = sorted({max(p) for p in mutant.positions if max(p) >= needed})
    wanted = ends[0] + 1 if ends else needed
    return min(len(mutant.tokens.ids), limit, max(needed, wanted))


def _first_difference(one: Sequence[int], other: Sequence[int]) -> int:
    pairs = enumerate(zip(one, other, strict=False))
    return next((i for i, (a, b) in pairs if a != b), min(len(one), len(other)))


def _origin(span: TextSpan, pair: MutationPair, origins: dict[int, int], shift: int) -> int:
    if span.start == pair.negative_span.start:
        return origins.get(pair.positive_span.start, -1)
    before = span.start if span.start < pair.negative_span.start else span.start - shift
    return origins.get(before, -1)


@dataclass(frozen=True, slots=True, eq=False)
class TreeBatch:
    """Trees side by side, padded on the right, ready to be run."""

    trees: tuple[Tree, ...]
    ids: Int[Tensor, "batch pos"]
    position_ids: Int[Tensor, "batch pos"]
    attention_mask: Bool[Tensor, "batch pos pos"]


def batch_of(trees: Sequence[Tree], pad_id: int = 0) -> TreeBatch:
    """One batch. A padding token attends to itself alone, so that no row of the mask is empty."""
    width = max(len(tree) for tree in trees)
    shape = (len(trees), width)
    ids = torch.full(shape, pad_id, dtype=torch.long)
    depth = torch.zeros(shape, dtype=torch.long)
    mask = torch.eye(width, dtype=torch.bool).expand(len(trees), width, width).clone()
    for index, tree in enumerate(trees):
        size = len(tree)
        ids[index, :size] = torch.tensor(tree.ids)
        depth[index, :size] = torch.tensor(tree.depth)
        mask[index, :size, :size] |= tree_mask(tree)
    return TreeBatch(tuple(trees), ids, depth, mask)


def tree_mask(tree: Tree) -> Bool[Tensor, "pos pos"]:
    """True where a token (row) may attend to another (column): clean ones before it, its own branch's."""
    branch, parents = torch.tensor(tree.branch), torch.tensor(tree.parents)
    order = torch.arange(len(tree))
    causal = order[:, None] >= order[None, :]
    same = branch[:, None] == branch[None, :]
    clean_before = (branch == 0)[None, :] & (order[None, :] < parents[:, None])
    return causal & (same | clean_before)


def batches(trees: Iterable[Tree], token_budget: int) -> Iterator[list[Tree]]:
    """Trees of similar length together, so that little is padded; at most `token_budget` tokens a batch."""
    batch: list[Tree] = []
    for tree in sorted(trees, key=len):
        if batch and (len(batch) + 1) * len(tree) > token_budget:
            yield batch
            batch = []
        batch.append(tree)
    if batch:
        yield batch
