"""Steer only where something is wrong: a gate that is open on tokens on which chosen latents fire.

Steering every token breaks right code more often than it mends wrong code (Tahimic & Cheng, arXiv:2510.02917:
4.0 % mended, 14.7 % broken). A latent that fires on a few per cent of wrong places and on hardly any other is
the condition itself, as in Sieve (Tilde Research, 2024).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ace_analysis.errors import FingerprintError, InputError
from ace_analysis.features.bundle import Bundle
from ace_analysis.features.sparse_coder import SparseCoder
from ace_analysis.model.edits import base_of
from ace_analysis.model.info import ModelInfo


@dataclass(frozen=True, eq=False)
class FeatureGate:
    """Open where at least one of the latents fires."""

    coder: SparseCoder
    latents: tuple[int, ...]
    model: str
    fingerprint: str

    @classmethod
    def of(cls, bundle: Bundle, latents: Sequence[int] | None = None) -> "FeatureGate":
        """The gate of a bundle's latents; by default of its error features that held on other projects.

        Raises:
            InputError: no latents, or ones that the bundle's coder doesn't have.
        """
        chosen = tuple(
            latents
            if latents is not None
            else (each.feature_idx for each in bundle.catalog if each.replicated)
        )
        if not chosen or not all(0 <= each < bundle.coder.d_sae for each in chosen):
            raise InputError(
                f"expected latents from 0 to {bundle.coder.d_sae - 1} for a gate, got {list(chosen)[:5]}"
            )
        return cls(bundle.coder, chosen, bundle.model, bundle.fingerprint)

    @property
    def layer(self) -> int:
        """The block whose output the latents are read from."""
        return self.coder.site.layer

    def check(self, info: ModelInfo, layer: int) -> None:
        """Refuse another model, and a vector whose layer comes before the gate knows anything."""
        if base_of(info.fingerprint) != self.fingerprint:
            raise FingerprintError(
                f"this gate was made for {self.model} with fingerprint {self.fingerprint[:16]}, the model"
                f" here is {info.name} with {info.fingerprint[:16]}; take the bundle of this model"
            )
        if layer < self.layer:
            raise InputError(
                f"expected a vector at layer {self.layer} or behind it, where the gate is read, got {layer}"
            )

    def fires(self, resid: Float[Tensor, "batch pos d_model"]) -> Bool[Tensor, "batch pos"]:
        if self.coder.k is None:
            return (self._own.to(resid.device).encode(resid) > 0).any(dim=-1)
        latents = torch.tensor(self.latents, device=resid.device)
        return (self.coder.to(resid.device).encode(resid)[..., latents] > 0).any(dim=-1)

    @cached_property
    def _own(self) -> SparseCoder:
        """The gate's latents alone."""
        return self.coder.narrowed(torch.tensor(self.latents))
