"""Error latents as a concept to erase, and what an erasure is held against.

The error latents of a bundle say where code looks wrong. Two ways to take them away are made here: what all
blocks write loses the latents' directions (an exact projection), and PISCES turns such latents round in the
rows of one MLP, with latents of its disentangler that the same contrast finds. The controls change as much:
as many latents that are no error latents, and the same change along directions or at rows by chance.

Source: weight orthogonalisation against error features, Tahimic & Cheng 2025 (arXiv:2510.02917), section 5;
PISCES: Gur-Arieh et al. 2025 (arXiv:2505.22586).
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ace_analysis.decomposition.anatomy import Anatomy
from ace_analysis.editing.deltas import RowDelta
from ace_analysis.editing.pisces import PISCES, Component
from ace_analysis.errors import InputError
from ace_analysis.evaluation.recipe import natural_of, pairs_of
from ace_analysis.features.bundle import Bundle
from ace_analysis.features.candidates import strongest
from ace_analysis.features.discovery import DiscoveryOptions, discover
from ace_analysis.features.examples import BUG, Tree, TreeOptions, tree_of
from ace_analysis.features.table import SiteTable
from ace_analysis.model.hooks import hooks
from ace_analysis.model.scan import ResidualScanner
from ace_analysis.model.tokens import CodeTokenizer
from ace_analysis.source.corpus import CodeFunction
from ace_analysis.source.mutation import MutationGenerator

ALL = "all"


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class ErrorArm:
    """An edit to be measured. `concept`: the latents that it is about; `kind`: the bugs that these are of."""

    name: str
    deltas: tuple[RowDelta, ...] = ()
    kind: str = ALL
    concept: str = ALL

    @property
    def identity(self) -> str:
        """The same for the same change of weights; "base" for none."""
        if not self.deltas:
            return "base"
        digest = hashlib.sha256()
        for each in self.deltas:
            digest.update(repr((each.layer, each.module, each.rows)).encode())
            for thin in (each.left, each.right):
                digest.update(thin.contiguous().numpy().tobytes())
        return digest.hexdigest()[:24]


def error_latents(bundle: Bundle, kind: str, limit: int) -> tuple[int, ...]:
    """The strongest latents of a bundle that fire more on wrong code: of one type of bugs, or of ALL.

    Raises InputError for a type that has none.
    """
    fitting = [
        each
        for each in bundle.catalog
        if each.significant and each.direction == "buggy" and (kind == ALL or kind in each.kinds)
    ]
    found = strongest(fitting, limit, both_directions=False)
    if not found:
        known = ", ".join(sorted({kind for each in bundle.catalog for kind in each.kinds})) or "none"
        raise InputError(f"expected a kind that has error latents ({known}), got {kind!r}")
    return tuple(each.feature_idx for each in found)


def other_latents(
    table: SiteTable, latents: Sequence[int], left_out: Sequence[int], seed: int = 0
) -> tuple[int, ...]:
    """For each latent another that fires about as often at clean sites and is none of `left_out`."""
    fires = torch.from_numpy((table.latents[0][table.clean] > 0).sum(axis=0)).flatten().float()
    order = torch.randperm(len(fires), generator=torch.Generator().manual_seed(seed))
    taken = set(left_out) | set(latents)
    found: list[int] = []
    for latent in latents:
        distance = (fires[order] - fires[latent]).abs()
        nearest = order[distance.argsort(stable=True)].tolist()
        found.append(next(each for each in nearest if each not in taken))
        taken.add(found[-1])
    return tuple(found)


def removal(
    model: Any, directions: Float[Tensor, "n d_model"], layer: int, component: Component = "resid_writers"
) -> tuple[RowDelta, ...]:
    """All directions taken out of what is written: W (I - Q Q^T), Q an orthonormal basis of them.

    Changes along orthonormal directions add up, so each matrix has one delta of as many directions.
    """
    basis = torch.linalg.qr(directions.double().T).Q.T
    plans = [PISCES(model).remove_direction(each, layer, component).deltas for each in basis]
    return tuple(
        RowDelta(
            layer=same[0].layer,
            module=same[0].module,
            rows=same[0].rows,
            left=torch.cat([each.left for each in same], dim=1),
            right=torch.cat([each.right for each in same]),
        )
        for same in zip(*plans, strict=True)
    )


def aside(deltas: Sequence[RowDelta], seed: int = 0) -> tuple[RowDelta, ...]:
    """The same change along orthonormal directions by chance: each matrix changes by the same norm.

    All matrices share the directions, as those of a removal do.
    """
    generator = torch.Generator().manual_seed(seed)
    made: dict[tuple[int, int], Tensor] = {}
    found = []
    for each in deltas:
        shape = (each.right.shape[0], each.right.shape[1])
        if shape not in made:
            noise = torch.randn(shape, generator=generator, dtype=torch.float64)
            made[shape] = torch.linalg.qr(noise.T).Q.T.to(each.right.dtype)
        right = made[shape] * each.right.norm(dim=1, keepdim=True)
        found.append(
            RowDelta(layer=each.layer, module=each.module, rows=each.rows, left=each.left, right=right)
        )
    return tuple(found)


class MlpScanner(ResidualScanner):
    """Gives what a block's MLP writes where a scanner gives the stream, so that a harvest reads that."""

    @classmethod
    def of(cls, scanner: ResidualScanner) -> "MlpScanner":
        return cls(scanner.decoder, scanner.tokenizer, scanner.info)

    def resid_post(self, ids: Tensor, layer: int, **named: Any) -> Tensor:
        seen: list[Tensor] = []
        module = Anatomy.of(self).blocks[layer].mlp.module
        with hooks(after=[(module, lambda _, __, output: seen.append(output))]):
            super().resid_post(ids, layer, **named)
        return seen[0]


def trees_of(
    functions: Sequence[CodeFunction], tokenizer: CodeTokenizer, options: TreeOptions, count: int
) -> list[Tree]:
    """Functions with their mutants, by turns from all projects, until there are `count`."""
    return [tree for _, tree in planted(functions, tokenizer, options, count)]


def planted(
    functions: Sequence[CodeFunction], tokenizer: CodeTokenizer, options: TreeOptions, count: int
) -> list[tuple[CodeFunction, Tree]]:
    """What `trees_of` gives, each with the function that it is of.

    Raises InputError where nothing can be mutated.
    """
    by_project: dict[str, list[CodeFunction]] = {}
    for each in functions:
        by_project.setdefault(each.project, []).append(each)
    turns = max((len(each) for each in by_project.values()), default=0)
    ordered = (e[at] for at in range(turns) for _, e in sorted(by_project.items()) if at < len(e))
    generator = MutationGenerator(options.seed)
    found: list[tuple[CodeFunction, Tree]] = []
    for function in ordered:
        if len(found) == count:
            break
        tree = tree_of(function, generator, tokenizer.encode, options)
        if tree is not None:
            found.append((function, tree))
    if not found:
        raise InputError("expected functions with something to mutate, got none; harvest more functions")
    return found


@dataclass(frozen=True, slots=True)
class Choice:
    """Where a planted bug begins: the token at `position` is `right`, with the bug it would be `wrong`."""

    position: int
    right: int
    wrong: int
    kind: str


def choices_of(tree: Tree) -> list[Choice]:
    """One for each mutant of a function, at the first token in which it differs."""
    kinds = {row.variant: row.mutation for row in tree.rows if row.label == BUG}
    length = tree.branch.count(0)
    firsts = {number: tree.branch.index(number) for number in sorted(set(tree.branch) - {0})}
    return [
        Choice(tree.parents[at], tree.ids[tree.parents[at]], tree.ids[at], kinds[number])
        for number, at in firsts.items()
        if number in kinds and 0 < tree.parents[at] < length
    ]


def contrasted_latents(
    table: SiteTable, limit: int, options: DiscoveryOptions
) -> tuple[tuple[int, ...], int]:
    """Latents that fire more on planted bugs, by the paired and by the token-matched contrast.

    Returns them, and how many of them are significant; the others are the strongest candidates.
    """
    asked = replace(options, candidates=limit)
    found = discover(pairs_of(table), natural_of(table), options=asked).features
    chosen = strongest(found, limit, both_directions=False)
    if not chosen:
        raise InputError(
            f"expected latents that fire more on {len(table.bugs)} planted bugs, got none; run more functions"
        )
    return tuple(each.feature_idx for each in chosen), sum(each.significant for each in chosen)
