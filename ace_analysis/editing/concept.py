"""What is to be erased, as latents of a disentangler: named, found by their words, or by error features.

A latent's decoder row is what it writes. Through the final norm's gain and the unembedding that row reads as
tokens (the logit lens), which is how latents of a word are found without running anything. It says little
in early layers, whose writing later layers still transform.

Source: feature selection, Gur-Arieh et al. 2025 (PISCES, arXiv:2505.22586), section 3.2 (VocabProj).
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ace_analysis.decomposition.anatomy import Anatomy
from ace_analysis.errors import InputError, ModelError
from ace_analysis.features.sparse_coder import SparseCoder

TOP = 20
"""Among so many tokens of a latent a concept's own are looked for."""

_CHUNK = 64
"""Latents that are projected at once: each has a logit for all of the vocabulary."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Concept:
    """Latents of one disentangler; `promotes[i]` False: latent i lowers the concept's tokens.

    `tokens` are those that the concept was found by, if it was.
    """

    name: str
    latents: tuple[int, ...]
    promotes: tuple[bool, ...]
    tokens: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not self.latents:
            raise InputError(f"concept {self.name!r}: expected at least one latent, got none")
        if len(self.latents) != len(self.promotes):
            raise InputError(
                f"concept {self.name!r}: expected a sign for each of {len(self.latents)} latents, "
                f"got {len(self.promotes)}"
            )
        if len(set(self.latents)) != len(self.latents):
            raise InputError(f"concept {self.name!r}: expected each latent once, got {list(self.latents)}")

    def told(self) -> dict[str, Any]:
        """As it is written into plans and receipts."""
        return {"concept": self.name, "latents": list(self.latents), "promotes": list(self.promotes)}

    @classmethod
    def of_latents(cls, latents: Sequence[int], name: str = "latents") -> "Concept":
        """Latents that were chosen by hand; all count as promoting it."""
        return cls(name=name, latents=tuple(latents), promotes=(True,) * len(latents))


def vocabulary_projection(
    model: Any, directions: Float[Tensor, "n d_model"]
) -> Float[Tensor, "n vocabulary"]:
    """What directions of the residual stream add to the logits, as the last norm's gain weighs them.

    Raises ModelError where the model has no unembedding.
    """
    anatomy = Anatomy.of(model)
    if anatomy.unembedding is None or anatomy.final_norm is None:
        raise ModelError(
            f"expected a whole model with its unembedding, got {anatomy.name} without; use load_causal"
        )
    weight: Tensor = anatomy.unembedding.weight.detach()
    gain = anatomy.final_norm.gain.detach()
    moved = directions.to(weight.device, weight.dtype) * gain.to(weight.dtype)
    return (moved @ weight.T).float()


def concept_of_tokens(
    model: Any, coder: SparseCoder, tokens: Collection[int], *, limit: int = 5, name: str = "tokens"
) -> Concept:
    """The latents that write given tokens most: by the share of their TOP tokens, at either end.

    Ties go to the latent whose mean logit for the tokens, in standard deviations of its own, is farther out.

    Args:
        tokens: ids of the concept's tokens, all its spellings.
        limit: latents at most.

    Raises:
        InputError: no token, one that the model does not have, or no latent has one among its TOP.
    """
    wanted = _checked(tokens, _vocabulary(model))
    if limit < 1:
        raise InputError(f"expected a limit of at least 1 latent, got {limit}")
    found: list[tuple[int, float, int, bool]] = []
    for start in range(0, coder.d_sae, _CHUNK):
        found += _hits(model, coder.W_dec[start : start + _CHUNK], wanted, start)
    once: dict[int, bool] = {}
    for _, _, latent, promotes in sorted(found, reverse=True):
        once.setdefault(latent, promotes)
    if not once:
        raise InputError(
            f"no latent has one of the {len(wanted)} tokens among its first {TOP};"
            " name latents, or use a disentangler of a later layer"
        )
    latents = tuple(once)[:limit]
    promoting = tuple(once[each] for each in latents)
    return Concept(name=name, latents=latents, promotes=promoting, tokens=tuple(wanted.tolist()))


def _hits(model: Any, directions: Tensor, wanted: Tensor, start: int) -> list[tuple[int, float, int, bool]]:
    """(tokens among the first, how far out, latent, whether at the top) of latents from `start` on."""
    logits = vocabulary_projection(model, directions).cpu()
    # Only the wanted tokens are standardised: copies of all logits would be the largest thing in memory.
    z = (logits[:, wanted] - logits.mean(1, keepdim=True)) / logits.std(1, keepdim=True).clamp_min(1e-12)
    found = []
    for sign in (1.0, -1.0):
        top = logits.topk(min(TOP, logits.shape[1]), dim=1, largest=sign > 0).indices
        hits, far = torch.isin(top, wanted).sum(1), (sign * z).mean(1)
        for at in hits.nonzero().flatten().tolist():
            found.append((int(hits[at]), float(far[at]), start + at, sign > 0))
    return found


def _checked(tokens: Collection[int], vocabulary: int) -> Tensor:
    wanted = sorted(set(tokens))
    if not wanted or wanted[0] < 0 or wanted[-1] >= vocabulary:
        raise InputError(f"expected tokens from 0 to {vocabulary - 1}, got {wanted[:8]}")
    return torch.tensor(wanted, dtype=torch.long)


def concept_of_directions(
    coder: SparseCoder,
    directions: Float[Tensor, "n d_model"],
    *,
    limit: int = 5,
    name: str = "error features",
) -> Concept:
    """The latents whose decoder rows lie nearest to directions, such as error features' decoder rows.

    Raises InputError for directions of another width.
    """
    if directions.ndim != 2 or directions.shape[1] != coder.d_model or not len(directions):
        raise InputError(
            f"expected directions [n, {coder.d_model}], at least one, got {list(directions.shape)}"
        )
    rows = torch.nn.functional.normalize(coder.W_dec.float(), dim=1)
    near = (rows @ torch.nn.functional.normalize(directions.float(), dim=1).T).max(dim=1).values
    best = near.topk(min(limit, coder.d_sae)).indices.tolist()
    return Concept(name=name, latents=tuple(best), promotes=(True,) * len(best))


def token_spellings(spell: Any, vocabulary: int, words: Collection[str]) -> tuple[int, ...]:
    """Ids of all tokens that are one of the words, whatever blank, bracket or dot stands before it."""
    wanted = {word.strip() for word in words}
    found = tuple(at for at in range(vocabulary) if spell(at).strip(" \t\n([{.,=") in wanted)
    if not found:
        raise InputError(f"expected words that are one token, got {sorted(wanted)}; try a shorter word")
    return found


def _vocabulary(model: Any) -> int:
    head = Anatomy.of(model).unembedding
    if head is None:
        raise ModelError("expected a whole model with its unembedding, got one without; use load_causal")
    return len(head.weight)
