"""A direction of the residual stream that a model is nudged along while it writes.

Difference of means and addition at every decoded token are contrastive activation addition (Rimsky et al.,
arXiv:2312.06681, §3). A vector carries the fingerprint of the model that it was made from and is refused by
any other, since the same numbers mean nothing there. The controls that a claim about steering needs are a
method away: a random direction of the same length, and strength 0.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ace_analysis.errors import FingerprintError, InputError
from ace_analysis.model.edits import base_of
from ace_analysis.model.info import ModelInfo
from ace_analysis.settings import SteeringSettings
from ace_analysis.steering.applying import gate_watched, pushed, stream_changed
from ace_analysis.steering.gating import FeatureGate
from ace_analysis.steering.generation import GenerationOptions, generate
from ace_analysis.steering.subject import Subject


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SteeringVector:
    """A direction behind block `layer`, in the units of the stream.

    Attributes:
        direction: what a strength of 1 adds to each steered token.
        layer: the block whose output is changed; 0 is the first.
        model: name of the model that it was made from, for messages.
        fingerprint: of that model's weights.
        normalize: whether a steered token keeps the length that it had.
        about: how it was made, as JSON: the method, how many pairs, how coherent they were.
    """

    direction: Float[Tensor, " d_model"]
    layer: int
    model: str
    fingerprint: str
    normalize: bool = field(default_factory=lambda: SteeringSettings().normalize)
    about: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.direction.ndim != 1:
            raise InputError(f"direction: expected [d_model], got shape {list(self.direction.shape)}")
        if not bool(torch.isfinite(self.direction).all()):
            raise InputError("direction: expected finite numbers, got some that are not")

    @classmethod
    def from_prompts(
        cls,
        model: Any,
        positive_prompt: str | Sequence[str],
        negative_prompt: str | Sequence[str],
        layer: int,
        *,
        normalize: bool | None = None,
    ) -> "SteeringVector":
        """From where one prompt leaves the stream to where the other does: the difference at the last token.

        Args:
            model: from `load_hooked_model` or `load_causal`.
            positive_prompt: what to steer towards; of several prompts the mean counts.
            negative_prompt: what to steer away from.
            layer: the block behind which the stream is read, and later steered; 0 is the first.
            normalize: whether a steered token keeps its length; None: as the settings' default says.

        Raises:
            InputError: no prompts, or prompts that the model can't tell apart at this layer.
        """
        subject = Subject.of(model)
        means = [last_token_mean(subject, prompts, layer) for prompts in (positive_prompt, negative_prompt)]
        direction = means[0] - means[1]
        if not bool(direction.any()):
            raise InputError(
                "expected two different prompts, got ones that leave the stream at the same place"
            )
        counts = [1 if isinstance(each, str) else len(each) for each in (positive_prompt, negative_prompt)]
        chosen = SteeringSettings().normalize if normalize is None else normalize
        about = {"method": "difference of prompts", "positive": counts[0], "negative": counts[1]}
        return vector_for(subject.info, direction, layer, normalize=chosen, about=about)

    @classmethod
    def load(cls, path: str | Path) -> "SteeringVector":
        """A vector that `save` wrote."""
        from ace_analysis.steering.storage import load_vector

        return load_vector(Path(path))

    def save(self, path: str | Path) -> Path:
        """Write the vector as safetensors, with what is known of it beside it as JSON."""
        from ace_analysis.steering.storage import save_vector

        return save_vector(Path(path), self)

    @property
    def length(self) -> float:
        """Euclidean norm of the direction."""
        return float(self.direction.norm())

    def check_model(self, info: ModelInfo) -> None:
        """Refuse another model than the one that this vector was made from."""
        if base_of(info.fingerprint) != base_of(self.fingerprint):
            raise FingerprintError(
                f"this steering vector was made from {self.model} with fingerprint {self.fingerprint[:16]},"
                f" the model here is {info.name} with {info.fingerprint[:16]}; make it again from this model"
            )

    def random_like(self, seed: int = 0) -> "SteeringVector":
        """The control: a random direction of the same length."""
        drawn = torch.randn(len(self.direction), generator=torch.Generator().manual_seed(seed))
        direction = (drawn / drawn.norm() * self.length).to(self.direction)
        return replace(self, direction=direction, about={"method": "random direction", "seed": seed})

    def scaled(self, factor: float) -> "SteeringVector":
        return replace(self, direction=self.direction * factor)

    def apply(
        self,
        model: Any,
        input_ids: Int[Tensor, "batch pos"],
        strength: float | None = None,
        options: GenerationOptions | None = None,
        gate: FeatureGate | None = None,
    ) -> Int[Tensor, "batch longer"]:
        """Token ids of the prompts and of what the model writes behind them under the vector.

        The prompt is read as it is: steering begins at its last token, which chooses the first new one.

        Args:
            model: from `load_hooked_model` or `load_causal`.
            input_ids: prompts of equal length.
            strength: how much of the direction is added to a token; None: the settings' default.
            options: how much is written, and how; by default 32 tokens, the likeliest each time.
            gate: steers only the tokens on which its latents fire.
        """
        subject = Subject.of(model)
        start = input_ids.shape[-1] - 1
        with self.applied(subject, strength, gate=gate, start=start):
            return generate(subject, input_ids, options or GenerationOptions())

    @contextmanager
    def applied(
        self,
        model: Any,
        strength: float | Float[Tensor, " batch"] | None = None,
        *,
        gate: FeatureGate | None = None,
        start: int = 0,
    ) -> Iterator[None]:
        """Steer every pass of the model as long as this context lasts; vectors of nested contexts add up.

        Args:
            model: from `load_hooked_model` or `load_causal`.
            strength: one for all rows of a batch, or one for each; 0 leaves a row bit-identical.
            gate: steers only the tokens on which its latents fire.
            start: tokens before this position are left as they are, the ones in the cache counted.

        Raises:
            FingerprintError: the vector was made from another model.
            InputError: a layer that the model doesn't have, a gate that is read behind the vector's layer, or
                strengths that are no numbers or not as many as there are rows.
        """
        subject = Subject.of(model)
        self.check_model(subject.info)
        if not 0 <= self.layer < len(subject.blocks):
            raise InputError(f"expected a layer from 0 to {len(subject.blocks) - 1}, got {self.layer}")
        amount = torch.as_tensor(SteeringSettings().default_strength if strength is None else strength).cpu()
        if not bool(torch.isfinite(amount).all()):
            raise InputError(f"strength: expected finite numbers, got {amount.tolist()}")
        with ExitStack() as stack:
            is_open: Callable[[], Tensor | None] | None = None
            if gate is not None:
                gate.check(subject.info, self.layer)
                is_open = stack.enter_context(gate_watched(subject.blocks[gate.layer], gate.fires))
            change = self._change(amount.reshape(-1, 1).float(), start, is_open)
            stack.enter_context(stream_changed(subject.blocks, self.layer, change))
            yield

    def _change(
        self, amount: Float[Tensor, "#batch 1"], start: int, is_open: Callable[[], Tensor | None] | None
    ) -> Callable[[Tensor, int], Tensor | None]:
        def change(resid: Tensor, before: int) -> Tensor | None:
            if len(amount) not in (1, len(resid)):
                raise InputError(f"strength: expected one for {len(resid)} rows or each, got {len(amount)}")
            columns = torch.arange(before, before + resid.shape[1])
            strengths = amount * (columns >= start)[None]
            if is_open is not None and (mask := is_open()) is not None:
                strengths = strengths * mask.cpu()
            return pushed(resid, self.direction, strengths, normalize=self.normalize)

        return change


def vector_for(
    info: ModelInfo, direction: Tensor, layer: int, *, normalize: bool, about: Mapping[str, Any]
) -> SteeringVector:
    """A vector for the model that `info` tells of."""
    return SteeringVector(
        direction=direction.detach().float().cpu(),
        layer=layer,
        model=info.name,
        fingerprint=info.fingerprint,
        normalize=normalize,
        about=about,
    )


def last_token_mean(subject: Subject, prompts: str | Sequence[str], layer: int) -> Float[Tensor, " d_model"]:
    """Mean of the stream behind a block at the last token of each prompt."""
    texts = [prompts] if isinstance(prompts, str) else list(prompts)
    if not texts or not all(texts):
        raise InputError("expected at least one prompt that is not empty on either side, got none")
    rows = [
        subject.scanner.resid_post(torch.tensor([subject.tokenizer.encode(text).ids]), layer)[0, -1]
        for text in texts
    ]
    return torch.stack(rows).float().mean(dim=0)
