"""Where the parts of a model are, whichever way it was loaded.

A decomposition follows every linear map, norm and pattern by itself, so it needs the modules and not only
their outputs. TransformerLens wraps them, a scanner holds the first blocks alone, quantization replaces them:
here each of those becomes one shape. Nothing is copied. Modules are looked up and weights are read at every
use, so a model whose linear maps were replaced is seen as it is; anything with `.weight` and `.bias` counts
as one.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, cast, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ace_analysis.decomposition.layout import Layout, layout_of
from ace_analysis.errors import ModelError
from ace_analysis.model.scan import ResidualScanner, blocks_of


@runtime_checkable
class Linear(Protocol):
    """A linear map: `x @ weight.T + bias`. `weight` may be a property that dequantizes."""

    weight: Any
    bias: Any


@dataclass(frozen=True, slots=True, eq=False)
class Norm:
    """RMSNorm, or LayerNorm where `centres`."""

    module: nn.Module
    adds_one: bool

    @property
    def centres(self) -> bool:
        """Whether the mean is subtracted."""
        return isinstance(self.module, nn.LayerNorm)

    @property
    def eps(self) -> float:
        for name in ("variance_epsilon", "eps"):
            if hasattr(self.module, name):
                return float(getattr(self.module, name))
        raise ModelError(f"expected a norm with an epsilon, got {type(self.module).__name__}")

    @property
    def gain(self) -> Float[Tensor, " d_model"]:
        weight: Tensor = cast(Any, self.module).weight
        return 1.0 + weight if self.adds_one else weight

    @property
    def bias(self) -> Float[Tensor, " d_model"] | None:
        return getattr(self.module, "bias", None)


@dataclass(frozen=True, slots=True, eq=False)
class Attention:
    """Rotary attention, grouped where there are fewer key-value heads than heads.

    Scores are multiplied by `scaling`, then capped to `soft_cap * tanh(score / soft_cap)`. With a window, a
    token attends to itself and to `window - 1` tokens before it.
    """

    module: nn.Module
    n_heads: int
    n_kv_heads: int
    head_dim: int
    scaling: float
    soft_cap: float | None
    window: int | None

    @property
    def q(self) -> Linear:
        return _linear(self.module, "q_proj")

    @property
    def k(self) -> Linear:
        return _linear(self.module, "k_proj")

    @property
    def v(self) -> Linear:
        return _linear(self.module, "v_proj")

    @property
    def o(self) -> Linear:
        return _linear(self.module, "o_proj")


@dataclass(frozen=True, slots=True, eq=False)
class FeedForward:
    """`down(activation(gate(x)) * up(x))`, or `down(activation(up(x)))` where there is no gate."""

    module: nn.Module
    layout: Layout

    @property
    def gate(self) -> Linear | None:
        return None if self.layout.gate is None else _linear(self.module, self.layout.gate)

    @property
    def up(self) -> Linear:
        return _linear(self.module, self.layout.up)

    @property
    def down(self) -> Linear:
        return _linear(self.module, self.layout.down)

    @property
    def activation(self) -> Callable[[Tensor], Tensor]:
        return cast(Callable[[Tensor], Tensor], _part(self.module, self.layout.activation))


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """One block; `after_attention` and `after_mlp` are Gemma 2's norms of what a part writes."""

    attn: Attention
    mlp: FeedForward
    before_attention: Norm
    before_mlp: Norm
    after_attention: Norm | None
    after_mlp: Norm | None


@dataclass(frozen=True, slots=True, eq=False)
class Anatomy:
    """A model's parts. `blocks` are those that are loaded: a scanner may hold fewer than `n_layers`.

    `unembedding` and `final_norm` are None where the model can't be run to its logits.
    """

    name: str
    blocks: tuple[Block, ...]
    embedding: nn.Module
    rotary: nn.Module
    final_norm: Norm | None
    unembedding: Linear | None
    logit_cap: float | None
    n_layers: int
    d_model: int

    @classmethod
    def of(cls, model: Any) -> "Anatomy":
        """The parts of a hooked model, a Hugging Face causal model, its decoder alone or a scanner.

        Raises:
            ModelError: a family whose computations are not known here, or a part that is missing.
        """
        name, causal, decoder = _plain(model)
        config = decoder.config
        layout = layout_of(config, name)
        n_layers = model.info.n_layers if isinstance(model, ResidualScanner) else config.num_hidden_layers
        blocks = tuple(_block(_unwrapped(each), config, layout) for each in blocks_of(decoder))
        head = _unwrapped(causal.get_output_embeddings()) if causal is not None else None
        norm = Norm(_part(decoder, "norm"), layout.norms_add_one) if head is not None else None
        return cls(
            name=name,
            blocks=blocks,
            embedding=_unwrapped(decoder.get_input_embeddings()),
            rotary=_part(decoder, "rotary_emb"),
            final_norm=norm,
            unembedding=cast(Any, head),
            logit_cap=getattr(config, "final_logit_softcapping", None),
            n_layers=n_layers,
            d_model=config.hidden_size,
        )

    @property
    def n_blocks(self) -> int:
        """How many blocks are loaded."""
        return len(self.blocks)

    @property
    def n_heads(self) -> int:
        """Heads of a block; the same in all."""
        return self.blocks[0].attn.n_heads

    @property
    def device(self) -> torch.device:
        return self.blocks[0].before_attention.gain.device

    @property
    def dtype(self) -> torch.dtype:
        """What is computed in: fp64 where the weights are fp64, else fp32."""
        stored = self.blocks[0].before_attention.gain.dtype
        return stored if stored == torch.float64 else torch.float32

    def embed(self, ids: Int[Tensor, "batch pos"]) -> Float[Tensor, "batch pos d_model"]:
        """The residual stream in front of the first block, scaled where the family scales it."""
        return self.embedding(ids.to(self.device)).to(self.dtype)

    def rope(self, length: int) -> tuple[Float[Tensor, "pos head_dim"], Float[Tensor, "pos head_dim"]]:
        """Cosines and sines of the rotary embedding at the first positions."""
        positions = torch.arange(length, device=self.device)[None]
        like = torch.empty(0, dtype=self.dtype, device=self.device)
        cos, sin = self.rotary(like, positions)
        return cos[0], sin[0]


def _plain(model: Any) -> tuple[str, Any | None, Any]:
    """A name for messages, the causal model (None where there is only a decoder), and the decoder."""
    if isinstance(model, ResidualScanner):
        return model.info.name, None, model.decoder
    info = getattr(model, "ace", None) or getattr(model, "info", None)
    plain = getattr(model, "original_model", None)
    if plain is None:
        plain = model if isinstance(model, nn.Module) else getattr(model, "model", None)
    if not isinstance(plain, nn.Module) or not hasattr(plain, "config"):
        raise ModelError(
            "expected a model from load_hooked_model or load_scanner, or one of Hugging Face's decoders, "
            f"got {type(model).__name__}"
        )
    name = getattr(info, "name", type(plain).__name__)
    is_causal = cast(Any, plain).get_output_embeddings() is not None
    return name, plain if is_causal else None, cast(Any, plain).get_decoder() if is_causal else plain


def _block(block: nn.Module, config: Any, layout: Layout) -> Block:
    def norm(name: str) -> Norm:
        return Norm(_part(block, name), layout.norms_add_one)

    return Block(
        attn=_attention(_part(block, "self_attn"), config),
        mlp=FeedForward(_part(block, "mlp"), layout),
        before_attention=norm("input_layernorm"),
        before_mlp=norm(layout.before_mlp),
        after_attention=norm(layout.after_attention) if layout.after_attention else None,
        after_mlp=norm(layout.after_mlp) if layout.after_mlp else None,
    )


def _attention(module: nn.Module, config: Any) -> Attention:
    attention: Any = module
    has_kinds = bool(getattr(config, "layer_types", None))
    return Attention(
        module=module,
        n_heads=config.num_attention_heads,
        n_kv_heads=config.num_key_value_heads,
        head_dim=attention.head_dim,
        scaling=float(attention.scaling),
        soft_cap=getattr(attention, "attn_logit_softcapping", None),
        window=getattr(attention if has_kinds else config, "sliding_window", None),
    )


def _unwrapped(module: nn.Module) -> nn.Module:
    """The module that TransformerLens' wrappers hold."""
    while (inner := getattr(module, "_original_component", None)) is not None:
        module = inner
    return module


def _part(parent: nn.Module, name: str) -> nn.Module:
    found = getattr(parent, name, None)
    if found is None:
        raise ModelError(f"expected a part {name!r} in {type(parent).__name__}, found none")
    return _unwrapped(found)


def _linear(parent: nn.Module, name: str) -> Linear:
    return cast(Any, _part(parent, name))
