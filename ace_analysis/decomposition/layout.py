"""What each family of models calls its parts, and which families' computations the rules describe."""

from dataclasses import dataclass
from typing import Any

from ace_analysis.errors import ModelError


@dataclass(frozen=True, slots=True)
class Layout:
    """What a family calls the parts of its blocks; None for a part that it lacks.

    `norms_add_one`: Gemma's RMSNorm multiplies by `1 + weight`.
    """

    gate: str | None = "gate_proj"
    up: str = "up_proj"
    down: str = "down_proj"
    activation: str = "act_fn"
    after_attention: str | None = None
    before_mlp: str = "post_attention_layernorm"
    after_mlp: str | None = None
    norms_add_one: bool = False


LAYOUTS: dict[str, Layout] = {
    "qwen2": Layout(),
    "llama": Layout(),
    "mistral": Layout(),
    "gemma2": Layout(
        after_attention="post_attention_layernorm",
        before_mlp="pre_feedforward_layernorm",
        after_mlp="post_feedforward_layernorm",
        norms_add_one=True,
    ),
    "starcoder2": Layout(gate=None, up="c_fc", down="c_proj", activation="act"),
}
"""Model type, as its configuration says it, to layout. Another family can compute what no rule here knows."""


def layout_of(config: Any, name: str) -> Layout:
    """The layout of a Hugging Face configuration.

    Raises:
        ModelError: no rule is known for this type of model.
    """
    if config.model_type not in LAYOUTS:
        raise ModelError(
            f"expected a model of one of the types {', '.join(LAYOUTS)}, got {config.model_type!r} ({name}): "
            "its blocks may compute what no rule of the decomposition describes"
        )
    return LAYOUTS[config.model_type]
