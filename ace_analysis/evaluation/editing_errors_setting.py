"""How hard to turn error latents round, chosen on functions to learn from by what one MLP then writes.

An erasure changes what the MLP writes by the neurons' activations times the change of their rows, so one pass
over the functions is enough for every mu and tau. At the paper's mu of 4 and more latents that fire
rarely can fire *more*: where a neuron has the other sign than it mostly has, a turned row writes for them.
So milder settings are tried, too. Of three shares efficacy is how much less the latents fire, specificity how
much all others fire as before, coherence how much of what is written stays.

Source: the objective, Gur-Arieh et al. 2025 (PISCES, arXiv:2505.22586), section 4; shares read off the MLP
instead of the model's answers are ours.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from ace_analysis.decomposition.anatomy import Anatomy
from ace_analysis.editing.pisces import aligned_signs
from ace_analysis.editing.plan import EditPlan
from ace_analysis.editing.search import Quality
from ace_analysis.features.examples import Tree, batch_of, batches
from ace_analysis.features.sparse_coder import SparseCoder
from ace_analysis.model.hooks import hooks
from ace_analysis.model.scan import ResidualScanner

MUS = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0)
TAUS = (0.9, 0.7, 0.5, 0.3, 0.1)
TOKENS_AT_ONCE = 2048


@dataclass(frozen=True, slots=True, eq=False)
class MlpReading:
    """What one MLP's neurons are and what it writes, at all tokens of some trees but the first of each."""

    neurons: Float[Tensor, "token neuron"]
    written: Float[Tensor, "token d_model"]

    def signs(self, coder: SparseCoder, latents: Sequence[int]) -> Float[Tensor, " neuron"] | None:
        """The sign that each neuron mostly has where one of the latents fires; None where none does."""
        fires = (coder.encode(self.written)[:, list(latents)] > 0).any(dim=1)
        return aligned_signs(self.neurons[fires]) if bool(fires.any()) else None

    def quality(self, plan: EditPlan, coder: SparseCoder, latents: Sequence[int]) -> Quality:
        """What an erasure does to the latents, to all others, and to what is written."""
        own = torch.zeros(coder.d_sae, dtype=torch.bool)
        own[list(latents)] = True
        moved = torch.zeros_like(self.written)
        for each in plan.deltas:
            neurons = self.neurons if each.rows is None else self.neurons[:, list(each.rows)]
            moved += neurons @ each.left.float() @ each.right.float()
        before, after = coder.encode(self.written), coder.encode(self.written + moved)
        return Quality(
            efficacy=_left(after[:, own].sum(), before[:, own].sum()),
            specificity=_left((after - before)[:, ~own].abs().sum(), before[:, ~own].sum()),
            coherence=_left(moved.norm(), self.written.norm()),
        )


def _left(part: Tensor, whole: Tensor) -> float:
    """1 less a share, from 0 to 1; 0 of nothing."""
    return float(np.clip(1 - float(part) / float(whole), 0.0, 1.0)) if float(whole) > 0 else 0.0


@torch.no_grad()
def read_mlp(
    scanner: ResidualScanner, trees: Sequence[Tree], layer: int, tell: Callable[[str, float | None], None]
) -> MlpReading:
    """One pass over the trees, up to a layer's MLP."""
    mlp = Anatomy.of(scanner).blocks[layer].mlp
    inner: list[Tensor] = []
    outer: list[Tensor] = []
    neurons: list[Tensor] = []
    written: list[Tensor] = []
    watched = [(cast(nn.Module, mlp.down), lambda _, arguments: inner.append(arguments[0]))]
    with hooks(before=watched, after=[(mlp.module, lambda _, __, output: outer.append(output))]):
        for number, group in enumerate(batches(trees, TOKENS_AT_ONCE)):
            tell("reading an MLP", number / len(trees))
            batch = batch_of(group)
            scanner.resid_post(
                batch.ids, layer, attention_mask=batch.attention_mask, position_ids=batch.position_ids
            )
            for row, tree in enumerate(group):
                neurons.append(inner[0][row, 1 : len(tree)].float().cpu())
                written.append(outer[0][row, 1 : len(tree)].float().cpu())
            inner.clear()
            outer.clear()
    return MlpReading(torch.cat(neurons), torch.cat(written))
