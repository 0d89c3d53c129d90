"""A trained sparse autoencoder, as used: activations in, a few named latents out, and back.

One form for all architectures. BatchTopK and ReLU autoencoders are JumpReLU ones with a shared or a zero
threshold, and so are gated ones, whose gate and magnitude share their directions (Rajamanoharan et al. 2024,
arXiv:2404.16014); only a per-token top-k needs a number of its own. Scaling of the inputs is folded into the
weights, so a coder reads activations as the model makes them.
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ace_analysis.errors import InputError
from ace_analysis.model.sites import Site


@dataclass(frozen=True, slots=True, eq=False)
class SparseCoder:
    """JumpReLU: `pre = (x - b_dec) @ W_enc + b_enc`, then `pre` where it exceeds its threshold, else 0.

    `b_dec` is left out of the first term without `apply_b_dec_to_input`. With `k`, at most that many latents
    fire on a token. Thresholds are at least 0, so a latent that fires has a positive activation.
    """

    W_enc: Float[Tensor, "d_model d_sae"]
    b_enc: Float[Tensor, " d_sae"]
    W_dec: Float[Tensor, "d_sae d_model"]
    b_dec: Float[Tensor, " d_model"]
    threshold: Float[Tensor, " d_sae"]
    site: Site
    apply_b_dec_to_input: bool = True
    k: int | None = None

    def __post_init__(self) -> None:
        if self.W_enc.ndim != 2:
            raise InputError(f"W_enc: expected [d_model, d_sae], got shape {list(self.W_enc.shape)}")
        d_model, d_sae = self.W_enc.shape
        expected = {"b_enc": (d_sae,), "W_dec": (d_sae, d_model), "b_dec": (d_model,), "threshold": (d_sae,)}
        for name, shape in expected.items():
            got = tuple(getattr(self, name).shape)
            if got != shape:
                raise InputError(
                    f"{name}: expected {list(shape)} beside W_enc of {[d_model, d_sae]}, got {list(got)}"
                )
        if bool((self.threshold < 0).any()):
            raise InputError("threshold: expected no value below 0; clamp it, a latent never fires below 0")
        if self.k is not None and not 0 < self.k <= d_sae:
            raise InputError(f"k: expected 1 to {d_sae} latents a token, got {self.k}")

    @property
    def d_model(self) -> int:
        return self.W_enc.shape[0]

    @property
    def d_sae(self) -> int:
        return self.W_enc.shape[1]

    @property
    def dtype(self) -> torch.dtype:
        """That of the two matrices; biases and thresholds are kept in fp32."""
        return self.W_enc.dtype

    @property
    def device(self) -> torch.device:
        return self.W_enc.device

    def encode(self, x: Float[Tensor, "*batch d_model"]) -> Float[Tensor, "*batch d_sae"]:
        """Activations of all latents, in fp32.

        Under bf16 weights the centred input is what is rounded: the mean is by far the largest part of `x`,
        and rounding it would cost more than all latents are worth.
        """
        centred = x.float() - self.b_dec if self.apply_b_dec_to_input else x
        pre = (centred.to(self.dtype) @ self.W_enc).float() + self.b_enc
        fires = pre > self.threshold
        if self.k is not None and self.k < self.d_sae:
            kept = torch.zeros_like(fires).scatter_(-1, pre.topk(self.k, dim=-1).indices, True)
            fires &= kept
        return torch.where(fires, pre, 0.0)

    def decode(self, latents: Float[Tensor, "*batch d_sae"]) -> Float[Tensor, "*batch d_model"]:
        """The activations that latents stand for, in fp32."""
        return (latents.to(self.dtype) @ self.W_dec).float() + self.b_dec

    def narrowed(self, latents: Int[Tensor, " n"]) -> "SparseCoder":
        """A coder of these latents alone: `encode` gives the same columns, cheaper. Not for a top-k coder."""
        if self.k is not None:
            raise InputError("a top-k coder can't be narrowed: whether a latent fires depends on all of them")
        at = latents.to(self.device)
        return replace(
            self,
            W_enc=self.W_enc[:, at].contiguous(),
            b_enc=self.b_enc[at],
            W_dec=self.W_dec[at],
            threshold=self.threshold[at],
        )

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> "SparseCoder":
        """On another device, or with its two matrices in another dtype."""
        return replace(
            self,
            W_enc=self.W_enc.to(device=device, dtype=dtype),
            W_dec=self.W_dec.to(device=device, dtype=dtype),
            b_enc=self.b_enc.to(device=device),
            b_dec=self.b_dec.to(device=device),
            threshold=self.threshold.to(device=device),
        )
