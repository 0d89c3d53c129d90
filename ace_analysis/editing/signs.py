"""Which way neurons point where a concept is about to be written.

A neuron of a gated MLP is as often negative as positive, and a negative one writes its row turned round. An
erasure that takes all for positive then strengthens the concept instead: on Qwen2.5-Coder-0.5B it does. So
the signs are read off some text that has the concept.

Source: the optional sign of Gur-Arieh et al. 2025 (PISCES, arXiv:2505.22586), section 3.3.
"""

from collections.abc import Collection, Sequence
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ace_analysis.decomposition.anatomy import Anatomy
from ace_analysis.editing.pisces import aligned_signs
from ace_analysis.errors import InputError
from ace_analysis.model.hooks import hooks


@torch.no_grad()
def signs_on(
    model: Any, layer: int, texts: Sequence[Tensor], tokens: Collection[int]
) -> Float[Tensor, " neuron"]:
    """The sign that each neuron of a block's MLP mostly has where one of the tokens comes next.

    Args:
        model: a Hugging Face causal model or its decoder.
        texts: token ids [pos].
        tokens: the concept's.

    Raises:
        InputError: no text has one of the tokens behind its first, or a layer that the model does not have.
    """
    anatomy = Anatomy.of(model)
    if not 0 <= layer < anatomy.n_blocks:
        raise InputError(f"expected a layer from 0 to {anatomy.n_blocks - 1}, got {layer}")
    wanted = torch.tensor(sorted(set(tokens)), dtype=torch.long)
    with_concept = [ids for ids in texts if bool(torch.isin(ids[1:], wanted).any())]
    if not with_concept:
        raise InputError(
            f"expected a text in which one of the concept's {len(wanted)} tokens comes, got none;"
            " name texts that have it"
        )
    seen: list[Tensor] = []
    down = cast(nn.Module, anatomy.blocks[layer].mlp.down)
    with hooks(before=[(down, lambda _, arguments: seen.append(arguments[0][0]))]):
        for ids in with_concept:
            model.base_model(input_ids=ids[None].to(anatomy.device), use_cache=False)
    here = [torch.isin(ids[1:], wanted) for ids in with_concept]
    return aligned_signs(torch.cat([each[:-1][at] for each, at in zip(seen, here, strict=True)]).cpu())
