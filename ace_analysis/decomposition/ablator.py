"""A text ready to have any set of its parts taken out, many sets in one batch.

Ablations of one node, of everything but a circuit, and of a circuit's complement at each point of a curve are
the same thing: rows of a batch, each with its own set of heads and MLPs whose outputs are replaced.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from ace_analysis.decomposition.anatomy import Anatomy
from ace_analysis.decomposition.nodes import Head, Mlp, Node
from ace_analysis.decomposition.replay import CleanRun, RealModel
from ace_analysis.decomposition.targets import BoundTarget
from ace_analysis.errors import InputError
from ace_analysis.model.hooks import hooks
from ace_analysis.model.scan import never
from ace_analysis.model.sites import Site

Part = Head | Mlp
"""A node that can be taken out; tokens can't."""

TOKENS_PER_BATCH_CPU = 1024
TOKENS_PER_BATCH_GPU = 32768
"""More would gain little speed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batching:
    """How much runs at once.

    Attributes:
        rows: variants of the text in one batch; None: as many as gain speed and fit `max_bytes`.
        max_bytes: of activations, at once.
        progress: told what share of the variants is done.
    """

    rows: int | None = None
    max_bytes: int = 2**30
    progress: Callable[[str, float | None], None] | None = None

    def __post_init__(self) -> None:
        if self.rows is not None and self.rows < 1:
            raise InputError(f"rows: expected at least 1, got {self.rows}")

    def rows_of(self, model: RealModel, length: int) -> int:
        """How many variants of a text of `length` tokens run at once."""
        if self.rows is not None:
            return self.rows
        tokens = TOKENS_PER_BATCH_CPU if model.anatomy.device.type == "cpu" else TOKENS_PER_BATCH_GPU
        return max(1, min(tokens // length, self.max_bytes // row_bytes(model, length)))


@dataclass(frozen=True, slots=True, eq=False)
class Replacement:
    """What stands in the place of each head's and each MLP's output, and of the embedding."""

    embedding: Float[Tensor, "pos d_model"]
    z: tuple[Float[Tensor, "pos head head_dim"], ...]
    mlp: tuple[Float[Tensor, "pos d_model"], ...]

    @classmethod
    def zeros(cls, run: CleanRun) -> "Replacement":
        z, mlp = (tuple(torch.zeros_like(each) for each in part) for part in (run.z, run.mlp))
        return cls(torch.zeros_like(run.resid[0][0]), z, mlp)

    @classmethod
    def outputs(cls, run: CleanRun) -> "Replacement":
        """Those of another run, token by token."""
        return cls(run.resid[0][0], run.z, run.mlp)

    @classmethod
    def means(cls, run: CleanRun, others: Sequence[CleanRun] = ()) -> "Replacement":
        """Means over the positions of other runs, or of this one; the prefix token keeps its own.

        All texts begin with the same token, so its output is its own mean (and unlike that of any other).
        """

        def mean_of(clean: Tensor, parts: list[Tensor]) -> Tensor:
            mean = torch.cat([part[1:] for part in parts]).mean(dim=0)
            return torch.cat([clean[:1], mean.expand_as(clean[1:])])

        runs = [other for other in others or (run,) if other.length > 1]
        if run.length == 1 or not runs:
            return cls.outputs(run)
        return cls(
            mean_of(run.resid[0][0], [other.resid[0][0] for other in runs]),
            tuple(mean_of(z, [other.z[at] for other in runs]) for at, z in enumerate(run.z)),
            tuple(mean_of(mlp, [other.mlp[at] for other in runs]) for at, mlp in enumerate(run.mlp)),
        )


def upstream_nodes(anatomy: Anatomy, site: Site) -> tuple[Part, ...]:
    """All heads and MLPs that can have a part in what is read at a site, by layer."""
    last = site.layer if site.stream == "z" else site.layer + 1
    return tuple(
        node
        for layer in range(last)
        for node in (*(Head(layer, head) for head in range(anatomy.n_heads)), Mlp(layer))
    )


@dataclass(frozen=True, slots=True, eq=False)
class Ablator:
    """A clean run, a target bound to it and replacements: ready to take out any set of nodes."""

    run: CleanRun
    bound: BoundTarget
    replacement: Replacement
    batching: Batching = field(default_factory=Batching)

    @property
    def clean(self) -> float:
        """The target's value in the clean run."""
        with torch.no_grad():
            return float(self.bound.measure(activation_at(self.run, self.bound.site)[None])[0])

    @torch.no_grad()
    def values(
        self, sets: Sequence[Collection[Node]], *, cancelled: Callable[[], bool] = never
    ) -> tuple[Float[Tensor, " set"], Float[Tensor, " set"]]:
        """The target's real value, and that of its linear form, without each set of nodes.

        Sets are run from the first block that they change, those that begin alike in one batch.

        Raises:
            InputError: a node that is not upstream of the target.
            Cancelled: the caller asked to stop.
        """
        for node in {node for each in sets for node in each}:
            self._check(node)
        first = [min((_layer_of(node) for node in each), default=self.run.n_blocks) for each in sets]
        order = sorted(range(len(sets)), key=first.__getitem__)
        real, linear = torch.zeros(2, len(sets), dtype=torch.float64)
        done = 0
        for chunk in _chunks(order, self.batching.rows_of(self.run.model, self.run.length)):
            activation = self._run([sets[at] for at in chunk], first[chunk[0]], cancelled)
            real[chunk] = self.bound.measure(activation).double().cpu()
            linear[chunk] = self.bound.readout(activation).double().cpu()
            done += len(chunk)
            if self.batching.progress is not None:
                self.batching.progress("ablating", done / len(sets))
        return real, linear

    def _check(self, node: Node) -> None:
        anatomy, site = self.run.model.anatomy, self.bound.site
        fits = isinstance(node, Mlp) or (isinstance(node, Head) and node.head < anatomy.n_heads)
        if not fits or _layer_of(node) >= site.layer + (site.stream != "z"):
            raise InputError(
                f"expected heads and MLPs upstream of {self.bound.name}, read at {site}, got {node};"
                " take nodes from upstream_nodes(anatomy, site)"
            )

    def changes(
        self, sets: Sequence[Collection[Node]], start: int = 0, seen: list[Tensor] | None = None
    ) -> AbstractContextManager[None]:
        """Hooks that take out each set in its row of the batch, while a block of `with` lasts.

        `seen` gets what a target reads that is a head.
        """
        model, site = self.run.model, self.bound.site
        before, after = [], []
        for layer in range(start, self.run.n_blocks):
            heads, mlps = _masks(sets, layer, model.anatomy)
            if heads.any():
                before.append((model.blocks[layer].z, _put_heads(heads, self.replacement.z[layer])))
            if mlps.any():
                after.append((model.blocks[layer].mlp, _put_mlp(mlps, self.replacement.mlp[layer])))
        if site.stream == "z" and seen is not None:
            before.append((model.blocks[site.layer].z, lambda module, arguments: seen.append(arguments[0])))
        return hooks(before=before, after=after)

    def _run(
        self, sets: Sequence[Collection[Node]], start: int, cancelled: Callable[[], bool]
    ) -> Float[Tensor, "set pos width"]:
        """What is read at the target's site, without each set."""
        site, seen = self.bound.site, list[Tensor]()
        start = min(start, site.layer if site.stream == "z" else self.run.n_blocks)
        hidden = self.run.resid[start].expand(len(sets), -1, -1)
        out = self.run.rerun(hidden, start, changes=self.changes(sets, start, seen), cancelled=cancelled)
        if site.head is None:
            return out
        return seen[0].unflatten(-1, (self.run.model.anatomy.n_heads, -1))[:, :, site.head]


def activation_at(run: CleanRun, site: Site) -> Float[Tensor, "pos width"]:
    """What the clean run shows at a target's site."""
    if site.stream == "z" and site.head is not None:
        return run.z[site.layer][:, site.head]
    return run.resid[site.layer + 1][0]


def row_bytes(model: RealModel, length: int) -> int:
    """About what one variant of a text of `length` tokens takes while a block runs."""
    config: Any = model.decoder.config
    heads = config.num_attention_heads
    per_token = 8 * config.hidden_size + 4 * config.intermediate_size + 3 * heads * length
    return length * per_token * model.anatomy.dtype.itemsize


def _layer_of(node: Node) -> int:
    return node.layer if isinstance(node, Head | Mlp) else -1


def _chunks(order: list[int], size: int) -> Iterator[list[int]]:
    return (order[start : start + size] for start in range(0, len(order), size))


def _masks(
    sets: Sequence[Collection[Node]], layer: int, anatomy: Anatomy
) -> tuple[Bool[Tensor, "set head"], Bool[Tensor, " set"]]:
    """Which heads and which MLPs of a layer are taken out, for each set."""
    heads = torch.zeros(len(sets), anatomy.n_heads, dtype=torch.bool)
    mlps = torch.zeros(len(sets), dtype=torch.bool)
    for row, nodes in enumerate(sets):
        for node in nodes:
            if node == Mlp(layer):
                mlps[row] = True
            elif isinstance(node, Head) and node.layer == layer:
                heads[row, node.head] = True
    return heads.to(anatomy.device), mlps.to(anatomy.device)


def _put_heads(mask: Bool[Tensor, "set head"], z: Float[Tensor, "pos head head_dim"]) -> Any:
    def put(module: nn.Module, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
        own = arguments[0].unflatten(-1, z.shape[1:])
        return (torch.where(mask[:, None, :, None], z, own).flatten(-2), *arguments[1:])

    return put


def _put_mlp(mask: Bool[Tensor, " set"], mlp: Float[Tensor, "pos d_model"]) -> Any:
    def put(module: nn.Module, arguments: tuple[Any, ...], output: Tensor) -> Tensor:
        return torch.where(mask[:, None, None], mlp, output)

    return put
