"""Where latents of a disentangler fire on a text, how strongly, and which way neurons point there.

Latents that were named by number or found by error features have no tokens that they could be looked for by;
where they fire is where their concept is. The signs of neurons are read off these places as `signs.py` reads
them off the places in front of a word, and for the same reason.

Source: the optional sign of Gur-Arieh et al. 2025 (PISCES, arXiv:2505.22586), section 3.3; that it is read
where latents fire is ours.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ace_analysis.decomposition.anatomy import Anatomy
from ace_analysis.editing.pisces import aligned_signs
from ace_analysis.errors import InputError
from ace_analysis.features.sparse_coder import SparseCoder
from ace_analysis.model.hooks import hooks


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Firing:
    """`activation`: of all latents together, on average over `tokens`; at `places` one of them fires."""

    activation: float
    tokens: int
    places: int
    neurons: Float[Tensor, "place neuron"]

    def signs(self) -> Float[Tensor, " neuron"]:
        """The sign that each neuron mostly has where one of the latents fires.

        Raises InputError where none fires anywhere.
        """
        if not self.places:
            raise InputError(
                f"expected a text on which one of the latents fires, got none in {self.tokens} tokens;"
                " name another text, or none for the paper's signs"
            )
        return aligned_signs(self.neurons)


@torch.no_grad()
def firing_on(model: Any, coder: SparseCoder, latents: Sequence[int], texts: Sequence[Tensor]) -> Firing:
    """Run texts and look at what the disentangler's MLP writes; the first token of each is left out.

    Args:
        model: a Hugging Face causal model or its decoder.
        texts: token ids [pos].

    Raises InputError for an unknown latent, or a layer that the model does not have.
    """
    anatomy, layer = Anatomy.of(model), coder.site.layer
    if not 0 <= layer < anatomy.n_blocks:
        raise InputError(f"expected a layer from 0 to {anatomy.n_blocks - 1}, got {layer}")
    if unknown := [each for each in latents if not 0 <= each < coder.d_sae]:
        raise InputError(f"expected latents from 0 to {coder.d_sae - 1}, got {unknown}")
    mlp = anatomy.blocks[layer].mlp
    neurons: list[Tensor] = []
    written: list[Tensor] = []
    total, places, tokens = 0.0, [], 0
    with hooks(
        before=[(cast(nn.Module, mlp.down), lambda _, arguments: neurons.append(arguments[0][0]))],
        after=[(mlp.module, lambda _, __, output: written.append(output[0]))],
    ):
        for ids in texts:
            model.base_model(input_ids=ids[None].to(anatomy.device), use_cache=False)
            code = coder.encode(written.pop()[1:].to(coder.device).float())[:, list(latents)]
            here = (code > 0).any(dim=1).cpu()
            places.append(neurons.pop()[1:].float().cpu()[here])
            total += float(code.sum())
            tokens += len(code)
    found = torch.cat(places) if places else torch.empty(0, mlp.down.weight.shape[1])
    return Firing(activation=total / max(tokens, 1), tokens=tokens, places=len(found), neurons=found)
