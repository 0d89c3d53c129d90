"""Changes of weights that take a direction or a concept away, worked out before anything is touched.

    remove_direction   W <- W - s W d d^T for every matrix that writes at a place: nothing along d any more
    erase              rows of W_out that feed a concept's latents get these latents set to -mu M

For a row v = W_out[i] and e_i = v . W_enc[:, f]: rows with |e_i| > tau max|e| are chosen; there
a = encode(v), a'_f = sign_f s_i mu M with M the largest |e| over chosen latents and rows,
v' = decode(a') + (v - decode(a)). The decoder is affine, so v' = v + sum_f (a'_f - a_f) W_dec[f]: what the
disentangler can't explain cancels, and the change has as many directions as latents.

Gemma 2 norms what a part writes. remove_direction takes that norm's gain into account, so that what arrives
in the stream has nothing along the direction; a disentangler reads what W_out writes, in front of that norm.

Source: Gur-Arieh et al. 2025 (PISCES, arXiv:2505.22586), section 3.3; weight orthogonalisation: Arditi et al.
2024 (arXiv:2406.11717), section 2.4.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Any, Literal, cast, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from ace_analysis.decomposition.anatomy import Anatomy, Linear, Norm
from ace_analysis.editing.concept import Concept
from ace_analysis.editing.deltas import EMBEDDING_LAYER, EditedModule, RowDelta, is_tied
from ace_analysis.editing.plan import EditPlan
from ace_analysis.errors import InputError, ModelError
from ace_analysis.features.sparse_coder import SparseCoder

Component = Literal["mlp_out", "attn_out", "resid_writers"]
COMPONENTS: tuple[Component, ...] = get_args(Component)
DISENTANGLED = "mlp_out"


class PISCES:
    """Plans edits of a model; nothing is changed before `apply_deltas`.

    Args:
        model: whatever `Anatomy.of` understands.
        disentangler: a sparse coder of what some block's W_out writes (its site's stream is mlp_out);
            only `erase` needs one.
    """

    def __init__(self, model: Any, disentangler: SparseCoder | None = None) -> None:
        self._model = model
        self._anatomy = Anatomy.of(model)
        if disentangler is not None:
            self._check_disentangler(disentangler)
        self.disentangler = disentangler

    def remove_direction(
        self,
        direction: Float[Tensor, " d_model"],
        layer: int,
        component: Component = "mlp_out",
        strength: float = 1.0,
        *,
        embedding: bool = False,
    ) -> EditPlan:
        """Take a direction out of what is written to the residual stream.

        Args:
            direction: of any length but 0.
            layer: the block; for "resid_writers" the last one: all blocks up to it are changed.
            strength: 1 removes it, 2 turns it round, 0 changes nothing.
            embedding: for "resid_writers", the embedding too. Where it is also the unembedding (tied), the
                logits can then no longer see the direction.

        Raises:
            InputError: a direction, layer, component or strength that can't be used.
        """
        unit = self._unit(direction)
        self._check_layer(layer)
        _check_removal(component, strength, embedding)
        deltas = []
        for at in range(layer + 1) if component == "resid_writers" else (layer,):
            deltas += self._block_removal(at, component, unit, strength)
        if embedding:
            weight = cast(Any, self._anatomy.embedding).weight.detach()
            deltas.append(_removal(EMBEDDING_LAYER, "embedding", weight, unit, strength))
        parameters = {
            "method": "remove_direction",
            "layer": layer,
            "component": component,
            "strength": strength,
            "embedding": embedding,
            "tied": embedding and is_tied(self._model),
        }
        return EditPlan(tuple(deltas), parameters)

    def erase(
        self,
        concept: Concept | Sequence[int],
        mu: float,
        tau: float,
        *,
        signs: Float[Tensor, " neuron"] | None = None,
    ) -> EditPlan:
        """Turn a concept round in the rows of W_out that write it.

        Args:
            concept: latents of the disentangler; those that lower the concept's tokens are set to +mu M.
            mu: how far, in units of the strongest row's activation; 0 and more. The paper tries 4 to 50.
            tau: rows are chosen above this share of the strongest one's activation; 0 to below 1.
            signs: +1 or -1 for each neuron, the sign that its activation mostly has on the concept's text
                (see `editing.signs`). None: +1, the paper's default, which can strengthen a concept where
                MLPs are gated: many of their neurons are negative.

        Raises:
            ModelError: no disentangler, or its block is not loaded.
            InputError: an unknown latent, or a mu, tau or signs that can't be used.
        """
        coder = self._coder()
        concept = concept if isinstance(concept, Concept) else Concept.of_latents(concept)
        self._check_erase(coder, concept, mu, tau)
        layer = coder.site.layer
        rows = self._anatomy.blocks[layer].mlp.down.weight.detach().T
        chosen, change = erasure(rows, coder, concept, (mu, tau), signs)
        right = coder.W_dec[list(concept.latents)].detach().to(change.device)
        delta = RowDelta(
            layer=layer,
            module="mlp.down",
            rows=tuple(chosen.tolist()),
            left=change.to(_kept(rows.dtype)).cpu(),
            right=right.to(_kept(rows.dtype)).cpu(),
        )
        how = {"mu": mu, "tau": tau, "signs": "activations" if signs is not None else "paper"}
        return EditPlan((delta,), {"method": "erase", "layer": layer, **concept.told(), **how})

    def _block_removal(
        self, layer: int, component: Component, unit: Tensor, strength: float
    ) -> Iterator[RowDelta]:
        block = self._anatomy.blocks[layer]
        parts: tuple[tuple[str, Linear, Norm | None, EditedModule, EditedModule], ...] = (
            ("attn_out", block.attn.o, block.after_attention, "attn.o", "attn.o.bias"),
            ("mlp_out", block.mlp.down, block.after_mlp, "mlp.down", "mlp.down.bias"),
        )
        for name, linear, norm, matrix, bias in parts:
            if component not in (name, "resid_writers"):
                continue
            axis = _in_front_of(norm, unit)
            yield _removal(layer, matrix, linear.weight.detach().T, axis, strength)
            if linear.bias is not None:
                yield _removal(layer, bias, linear.bias.detach()[None], axis, strength)

    def _unit(self, direction: Tensor) -> Float[Tensor, " d_model"]:
        if tuple(direction.shape) != (self._anatomy.d_model,):
            raise InputError(
                f"expected a direction of {self._anatomy.d_model} numbers, got {list(direction.shape)}"
            )
        length = float(direction.double().norm())
        if not 0 < length < float("inf"):
            raise InputError(f"expected a finite direction other than 0, got one of length {length}")
        return direction.detach().double().to(self._anatomy.device) / length

    def _check_layer(self, layer: int) -> None:
        if not 0 <= layer < self._anatomy.n_blocks:
            raise InputError(
                f"expected a layer from 0 to {self._anatomy.n_blocks - 1}, got {layer};"
                f" {self._anatomy.n_blocks} blocks of {self._anatomy.n_layers} are loaded"
            )

    def _check_disentangler(self, coder: SparseCoder) -> None:
        if coder.site.stream != DISENTANGLED:
            raise InputError(
                f"expected a disentangler of mlp_out, got a coder of {coder.site.stream};"
                " train one with `ace train disentangler`"
            )
        if coder.d_model != self._anatomy.d_model:
            raise InputError(
                f"expected a disentangler of {self._anatomy.d_model} dimensions, got one of {coder.d_model}"
            )
        self._check_layer(coder.site.layer)

    def _coder(self) -> SparseCoder:
        if self.disentangler is None:
            raise ModelError(
                "expected a disentangler to erase a concept with, got none;"
                " train one with `ace train disentangler`, or use remove_direction"
            )
        return self.disentangler

    def _check_erase(self, coder: SparseCoder, concept: Concept, mu: float, tau: float) -> None:
        unknown = [each for each in concept.latents if not 0 <= each < coder.d_sae]
        if unknown:
            raise InputError(f"expected latents from 0 to {coder.d_sae - 1}, got {unknown}")
        if not 0 <= mu < float("inf"):
            raise InputError(f"mu: expected 0 or a positive number, got {mu}")
        if not 0 <= tau < 1:
            raise InputError(f"tau: expected a share from 0 to below 1, got {tau}")


@torch.no_grad()
def erasure(
    rows: Float[Tensor, "neuron d_model"],
    coder: SparseCoder,
    concept: Concept,
    how: tuple[float, float],
    signs: Float[Tensor, " neuron"] | None = None,
) -> tuple[Tensor, Float[Tensor, "row latent"]]:
    """The neurons whose rows change, and a' - a there: `v' = v + (a' - a) @ W_dec[latents]`.

    Args:
        rows: W_out, a row for each neuron.
        how: mu and tau.
        signs: of neurons' activations on the concept.
    """
    if signs is not None and tuple(signs.shape) != (len(rows),):
        raise InputError(f"signs: expected one for each of {len(rows)} neurons, got {list(signs.shape)}")
    mu, tau = how
    latents = list(concept.latents)
    read = rows.double() @ coder.W_enc[:, latents].double().to(rows.device)
    strongest = read.abs().amax(dim=0)
    picked = (read.abs() > tau * strongest) & (strongest > 0)
    chosen = picked.any(dim=1).nonzero().flatten()
    before = coder.encode(rows[chosen].to(coder.device).float())[:, latents].double().to(rows.device)
    sign = torch.tensor([-1.0 if up else 1.0 for up in concept.promotes], dtype=torch.float64)
    target = (mu * strongest.max() * sign.to(rows.device)).expand(len(chosen), -1)
    if signs is not None:
        target = target * signs.to(rows.device)[chosen].double()[:, None]
    return chosen, torch.where(picked[chosen], target - before, 0.0)


def aligned_signs(
    activations: Float[Tensor, "token neuron"],
) -> Float[Tensor, " neuron"]:
    """The sign that each neuron's activation has on most tokens; +1 on a tie."""
    if activations.ndim != 2 or not len(activations):
        raise InputError(
            f"expected activations [token, neuron] of at least one token, got {list(activations.shape)}"
        )
    return torch.where(activations.sign().sum(dim=0) < 0, -1.0, 1.0)


def _check_removal(component: str, strength: float, embedding: bool) -> None:
    if component not in COMPONENTS:
        raise InputError(f"expected a component among {', '.join(COMPONENTS)}, got {component!r}")
    if not math.isfinite(strength):
        raise InputError(f"expected a finite strength, got {strength}")
    if embedding and component != "resid_writers":
        raise InputError(f"expected no embedding with {component!r}; only resid_writers changes it")


def _in_front_of(norm: Norm | None, unit: Tensor) -> Tensor:
    """The axis to remove in front of a norm so that `unit` is gone behind it: RMSNorm scales by its gain."""
    if norm is None:
        return unit
    if norm.centres:
        raise ModelError("expected RMSNorm or no norm behind what a part writes, got LayerNorm")
    moved = unit * norm.gain.detach().double()
    length = moved.norm()
    return moved / length if float(length) > 0 else unit


def _removal(layer: int, module: EditedModule, matrix: Tensor, axis: Tensor, strength: float) -> RowDelta:
    """-strength (W d) d^T, of rank one."""
    left = -strength * (matrix.double() @ axis.to(matrix.device))
    dtype = _kept(matrix.dtype)
    return RowDelta(
        layer=layer,
        module=module,
        rows=None,
        left=left[:, None].to(dtype).cpu(),
        right=axis[None].to(dtype).cpu(),
    )


def _kept(dtype: torch.dtype) -> torch.dtype:
    """Deltas are kept in fp32, and in fp64 where the model is."""
    return dtype if dtype == torch.float64 else torch.float32
