"""The number that is explained, and where in the model it is read.

A target is a value that knows nothing of a text; bound to what a model computed, its nonlinear parts are
frozen where they were: the best alternative to a token, the latents that fired, the norm in front of the
unembedding, the cap on the logits. What remains is linear in the activation at the target's site and is what
a decomposition splits. `measure` keeps the real, nonlinear number for ablations.
"""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from ace_analysis.decomposition.anatomy import Anatomy, Linear
from ace_analysis.decomposition.logits import frozen_logit, logits_of, output_of
from ace_analysis.decomposition.readout import BoundTarget, LinearReadout
from ace_analysis.errors import InputError
from ace_analysis.features.bundle import Bundle
from ace_analysis.features.positions import sink_mask
from ace_analysis.features.sparse_coder import SparseCoder
from ace_analysis.model.sites import Site


@runtime_checkable
class Target(Protocol):
    """Something to explain. Only what is upstream of its site can have a part in it."""

    def site(self, anatomy: Anatomy) -> Site:
        """Where it is read: behind a block (`resid_post`), or a head's output before its projection (`z`).

        Raises:
            ModelError, InputError: the model does not hold that place.
        """
        ...

    def last_position(self, length: int) -> int:
        """The last position that is read in a text of `length` tokens; nothing behind it matters.

        Raises:
            InputError: the text has no such position.
        """
        ...

    def bind(self, activation: Float[Tensor, "pos width"], anatomy: Anatomy) -> BoundTarget:
        """Freeze what is nonlinear at the activation of one run."""
        ...


@dataclass(frozen=True, slots=True)
class LogitTarget:
    """One token's logit at one position; -1 is the last."""

    token: int
    position: int = -1

    def site(self, anatomy: Anatomy) -> Site:
        return _behind_all(anatomy)

    def last_position(self, length: int) -> int:
        return position_in(self.position, length)

    @torch.no_grad()
    def bind(self, activation: Float[Tensor, "pos d_model"], anatomy: Anatomy) -> BoundTarget:
        _, unembedding = output_of(anatomy)
        at = position_in(self.position, len(activation))
        token = _token(self.token, unembedding)
        x = activation[at]
        weights, constant = frozen_logit(anatomy, x, token)

        def measure(runs: Tensor) -> Tensor:
            return logits_of(anatomy, runs[:, at])[:, token]

        readout = LinearReadout((at,), weights[None], constant)
        return BoundTarget(f"logit of token {token}", "logit", self.site(anatomy), readout, measure, (token,))


@dataclass(frozen=True, slots=True)
class LogitDifference:
    """A token's logit minus that of an alternative, at one position; -1 is the last.

    `actual` None is the token that the model expects most, `alternative` None the one that it expects most
    beside `actual`.
    """

    actual: int | None = None
    alternative: int | None = None
    position: int = -1

    def site(self, anatomy: Anatomy) -> Site:
        return _behind_all(anatomy)

    def last_position(self, length: int) -> int:
        return position_in(self.position, length)

    @torch.no_grad()
    def bind(self, activation: Float[Tensor, "pos d_model"], anatomy: Anatomy) -> BoundTarget:
        _, unembedding = output_of(anatomy)
        at = position_in(self.position, len(activation))
        x = activation[at]
        logits = logits_of(anatomy, x[None])[0]
        actual = int(logits.argmax()) if self.actual is None else _token(self.actual, unembedding)
        if self.alternative is None:
            logits[actual] = float("-inf")
            other = int(logits.argmax())
        else:
            other = _token(self.alternative, unembedding)
        if actual == other:
            raise InputError(f"expected two different tokens to compare, got {actual} twice")
        (plus, c_plus), (minus, c_minus) = (frozen_logit(anatomy, x, token) for token in (actual, other))

        def measure(runs: Tensor) -> Tensor:
            values = logits_of(anatomy, runs[:, at])
            return values[:, actual] - values[:, other]

        readout = LinearReadout((at,), (plus - minus)[None], c_plus - c_minus)
        name = f"logit of token {actual} minus that of token {other}"
        return BoundTarget(name, "logit", self.site(anatomy), readout, measure, (actual, other))


@dataclass(frozen=True, slots=True, eq=False)
class LatentTarget:
    """A sparse coder's latent at one position, before its threshold: linear, and it has a sign."""

    coder: SparseCoder
    latent: int
    position: int = -1

    def site(self, anatomy: Anatomy) -> Site:
        return _coder_site(self.coder, anatomy)

    def last_position(self, length: int) -> int:
        return position_in(self.position, length)

    @torch.no_grad()
    def bind(self, activation: Float[Tensor, "pos d_model"], anatomy: Anatomy) -> BoundTarget:
        if not 0 <= self.latent < self.coder.d_sae:
            raise InputError(f"expected a latent from 0 to {self.coder.d_sae - 1}, got {self.latent}")
        at = position_in(self.position, len(activation))
        weights = self.coder.W_enc[:, self.latent].to(activation)
        constant = _encoder_constants(self.coder, torch.tensor([self.latent]))
        readout = LinearReadout((at,), weights[None], float(constant))
        name = f"latent {self.latent} before its threshold"
        return BoundTarget(name, "activation", self.site(anatomy), readout, readout)


@dataclass(frozen=True, slots=True, eq=False)
class ReadoutTarget:
    """A finding's log-odds: a bundle's readout at the positions of one candidate site.

    Frozen are the latents that fired, and which positions carry an attention sink and count as 0. `measure`
    lets latents fire or not as they will.

    Attributes:
        positions: where each slot of the readout is read, as `site_positions` gives them; below 0: a slot
            that counts as 0.
        kind: the candidate site's kind.
    """

    bundle: Bundle
    positions: tuple[int, ...]
    kind: str

    def site(self, anatomy: Anatomy) -> Site:
        return _coder_site(self.bundle.coder, anatomy)

    def last_position(self, length: int) -> int:
        readable = [position for position in self.positions if position >= 0]
        if not readable:
            raise InputError("expected a site that is read at one token at least, got none: it has no score")
        return position_in(max(readable), length)

    @torch.no_grad()
    def bind(self, activation: Float[Tensor, "pos d_model"], anatomy: Anatomy) -> BoundTarget:
        readout, coder = self.bundle.readout, self.bundle.coder
        if len(self.positions) != len(readout.slots) or self.kind not in readout.kind_bias:
            raise InputError(
                f"expected a position for each of {len(readout.slots)} slots and a kind among "
                f"{', '.join(readout.kind_bias)}, got {len(self.positions)} positions and {self.kind!r}"
            )
        self.last_position(len(activation))
        keep = sink_mask(activation).tolist()
        slots = [slot for slot, at in enumerate(self.positions) if at >= 0 and keep[at]]
        at = [self.positions[slot] for slot in slots]
        bias = readout.kind_bias[self.kind]
        slot_weights = readout.weights[slots].to(activation.device)
        fires = coder.encode(activation[at]) > 0
        active = slot_weights * fires.to(slot_weights.device)
        weights = active.to(activation) @ coder.W_enc.T.to(activation)
        every = torch.arange(coder.d_sae)
        constant = bias + float((active.double() @ _encoder_constants(coder, every)[:, None]).sum())

        def measure(runs: Tensor) -> Tensor:
            return bias + (coder.encode(runs[:, at]) * slot_weights).sum(dim=(1, 2))

        linear = LinearReadout(tuple(at), weights, constant)
        return BoundTarget("log-odds of the finding", "log-odds", self.site(anatomy), linear, measure)


@dataclass(frozen=True, slots=True)
class HeadTarget:
    """A later head: how much of its output, before its projection, points the way that the whole does.

    Its value is 1 by construction; a node's score is the share of the head's output, along that output, that
    comes from the node. `position` None: at all positions, weighed by the output's squared norm.
    """

    layer: int
    head: int
    position: int | None = None

    def site(self, anatomy: Anatomy) -> Site:
        if not (0 <= self.layer < anatomy.n_blocks and 0 <= self.head < anatomy.n_heads):
            raise InputError(
                f"expected a layer from 0 to {anatomy.n_blocks - 1} and a head from 0 to "
                f"{anatomy.n_heads - 1} of {anatomy.name}, got {self.layer} and {self.head}"
            )
        return Site(self.layer, "z", self.head)

    def last_position(self, length: int) -> int:
        return length - 1 if self.position is None else position_in(self.position, length)

    @torch.no_grad()
    def bind(self, activation: Float[Tensor, "pos head_dim"], anatomy: Anatomy) -> BoundTarget:
        last = self.last_position(len(activation))
        read = range(len(activation)) if self.position is None else (last,)
        z = activation[list(read)]
        readout = LinearReadout(tuple(read), z / z.square().sum().clamp(min=torch.finfo(z.dtype).tiny))
        name = f"output of head L{self.layer}H{self.head}"
        return BoundTarget(name, "share of the head", self.site(anatomy), readout, readout)


def _behind_all(anatomy: Anatomy) -> Site:
    output_of(anatomy)
    return Site(anatomy.n_layers - 1)


def _encoder_constants(coder: SparseCoder, latents: Tensor) -> Float[Tensor, " latent"]:
    """What each latent's pre-activation is at an activation of zero, in fp64."""
    latents = latents.to(coder.device)
    constants = coder.b_enc[latents].double()
    if coder.apply_b_dec_to_input:
        constants = constants - coder.b_dec.double() @ coder.W_enc[:, latents].double()
    return constants


def _coder_site(coder: SparseCoder, anatomy: Anatomy) -> Site:
    site = coder.site
    if site.stream != "resid_post":
        raise InputError(f"expected a sparse coder of resid_post, got one of {site.stream}")
    if site.layer >= anatomy.n_blocks:
        raise InputError(
            f"expected a sparse coder of one of the {anatomy.n_blocks} loaded blocks of {anatomy.name}, "
            f"got one behind block {site.layer}; load more blocks"
        )
    return site


def position_in(position: int, length: int) -> int:
    """A position counted from the start; below 0 it counts from the end.

    Raises:
        InputError: the text has no such position.
    """
    at = position + length if position < 0 else position
    if not 0 <= at < length:
        raise InputError(f"expected a position in a text of {length} tokens, got {position}")
    return at


def _token(token: int, unembedding: Linear) -> int:
    size = unembedding.weight.shape[0]
    if not 0 <= token < size:
        raise InputError(f"expected a token id from 0 to {size - 1}, got {token}")
    return token
