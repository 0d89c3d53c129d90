"""Small transformers whose weights are set by hand, so that the circuit of a task is known and not inferred.

A trained model's "true" circuit is another method's opinion. Here each part does what it was built for: heads
that move a token's identity to where it is needed, an MLP that compares, and beside them parts that read the
same tokens, write just as much, and write it where nothing reads. The architecture is Qwen2's, with its
grouped heads, rotary positions, biases and gates, so every method runs on these models as on the real one. A
random rotation of the residual stream hides the construction, so that no part is aligned with any axis, and
all parts leak a little into what others read, as trained ones do.
"""

from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

LAYERS, HEADS, KV_HEADS = 3, 4, 2
POSITIONAL = 4
"""Pairs of a head's dimensions that turn with the position; the others hardly turn at all."""
THETA = 1e20
JUNK = 16
MLP_WIDTH = 32
LEAK = 0.02
"""What parts that were not built write into everything else, of what they write into `junk`."""
SHARP = 60.0
"""Large enough that attention made by hand falls on one token."""


@dataclass(frozen=True, slots=True)
class Place:
    """A head of the model under construction."""

    layer: int
    head: int

    @property
    def shared(self) -> int:
        """The key-value head that it uses."""
        return self.head // (HEADS // KV_HEADS)


@dataclass(slots=True, eq=False)
class HandBuilt:
    """Weights under construction, in a basis in which each subspace of the residual stream has its axes.

    The subspaces: `token` (who stands here), `previous` (who stands before), `moved` (what a head has brought
    here), `flag` (one axis), `out` (what is predicted, read by the unembedding) and `junk`, which nothing
    that matters reads.
    """

    vocabulary: int
    seed: int
    generator: torch.Generator = field(init=False)
    weights: dict[str, Tensor] = field(init=False)
    built: set[Place] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.generator = torch.Generator().manual_seed(self.seed)
        head, width = self.head_dim, self.d_model
        shapes = {
            "q": (LAYERS, HEADS, head, width),
            "bq": (LAYERS, HEADS, head),
            "k": (LAYERS, KV_HEADS, head, width),
            "bk": (LAYERS, KV_HEADS, head),
            "v": (LAYERS, KV_HEADS, head, width),
            "o": (LAYERS, HEADS, width, head),
            "gate": (LAYERS, MLP_WIDTH, width),
            "up": (LAYERS, MLP_WIDTH, width),
            "down": (LAYERS, width, MLP_WIDTH),
        }
        self.weights = {name: torch.zeros(shape, dtype=torch.float64) for name, shape in shapes.items()}

    @property
    def head_dim(self) -> int:
        return 2 * (POSITIONAL + self.vocabulary)

    @property
    def d_model(self) -> int:
        return 4 * self.vocabulary + 1 + JUNK

    def axes(self, name: str) -> slice:
        """Where a subspace lies."""
        starts = {"token": 0, "previous": 1, "moved": 2, "out": 3}
        if name in starts:
            start = starts[name] * self.vocabulary
            return slice(start, start + self.vocabulary)
        start = 4 * self.vocabulary
        return slice(start, start + 1) if name == "flag" else slice(start + 1, start + 1 + JUNK)

    def attends_to(self, place: Place, tokens: list[int]) -> None:
        """Wherever it stands, the head looks at the tokens of this list."""
        axis = POSITIONAL
        self.weights["bq"][place.layer, place.head, axis] = SHARP
        self.weights["k"][place.layer, place.shared, axis, [self.axes("token").start + t for t in tokens]] = (
            1.0
        )

    def attends_to_the_token_before(self, place: Place) -> None:
        """By position alone: a score of cos(distance - 1), and a slow cosine against its later maxima."""
        half = self.head_dim // 2
        frequency = torch.tensor(THETA, dtype=torch.float64) ** (-torch.arange(2) / half)
        self.weights["bk"][place.layer, place.shared, :2] = 10.0
        self.weights["bq"][place.layer, place.head, :2] = SHARP * frequency.cos()
        self.weights["bq"][place.layer, place.head, half : half + 2] = -SHARP * frequency.sin()

    def attends_where(self, place: Place, own: str, theirs: str) -> None:
        """Where another position's subspace `theirs` holds the token that the own `own` holds."""
        content = slice(POSITIONAL, POSITIONAL + self.vocabulary)
        eye = torch.eye(self.vocabulary, dtype=torch.float64)
        self.weights["q"][place.layer, place.head, content, self.axes(own)] = SHARP / 4 * eye
        self.weights["k"][place.layer, place.shared, content, self.axes(theirs)] = eye

    def copies(self, place: Place, to: str, gain: float) -> None:
        """The head brings along which token it looks at, and writes it into a subspace."""
        content = slice(POSITIONAL, POSITIONAL + self.vocabulary)
        eye = torch.eye(self.vocabulary, dtype=torch.float64)
        self.weights["v"][place.layer, place.shared, content, self.axes("token")] = eye
        self.weights["o"][place.layer, place.head, self.axes(to), content] = gain * eye
        self.built.add(place)

    def flags(self, place: Place, sign_of: dict[int, float], gain: float) -> None:
        """The head writes onto the one axis of `flag` the sign of the token that it looks at."""
        for token, sign in sign_of.items():
            self.weights["v"][place.layer, place.shared, 0, self.axes("token").start + token] = sign
        self.weights["o"][place.layer, place.head, self.axes("flag"), 0] = gain
        self.built.add(place)

    def compares(self, layer: int, table: Float[Tensor, "token token"], gain: float) -> None:
        """An MLP: a neuron for each token in `moved`, times the flag, writes that token's row into `out`."""
        axis = torch.arange(self.vocabulary)
        self.weights["gate"][layer, axis, self.axes("moved").start + axis] = 1.0
        self.weights["up"][layer, axis, self.axes("flag")] = 1.0
        self.weights["down"][layer, self.axes("out"), : self.vocabulary] = gain * table.T.double()

    def finished(self, mlps: set[int]) -> Any:
        """The model; parts that were not built read at random, and write into `junk` for the most part."""
        for layer in range(LAYERS):
            for head in range(HEADS):
                if Place(layer, head) not in self.built:
                    self._distract(Place(layer, head))
            if layer not in mlps:
                self._distract_mlp(layer)
        return self._model()

    def _random(self, *shape: int) -> Tensor:
        return torch.randn(*shape, generator=self.generator, dtype=torch.float64)

    def _distract(self, place: Place) -> None:
        alone = all(other.layer != place.layer or other.shared != place.shared for other in self.built)
        layer, head, shared = place.layer, place.head, place.shared
        if alone:
            for name in ("k", "v"):
                self.weights[name][layer, shared] = self._random(self.head_dim, self.d_model) / 8
        self.weights["q"][layer, head] = self._random(self.head_dim, self.d_model) / 8
        self.weights["o"][layer, head] = self._beside(self.head_dim) / 40

    def _distract_mlp(self, layer: int) -> None:
        for name in ("gate", "up"):
            self.weights[name][layer] = self._random(MLP_WIDTH, self.d_model) / 8
        self.weights["down"][layer] = self._beside(MLP_WIDTH) / 32

    def _beside(self, width: int) -> Tensor:
        """Random writes into `junk`, and a little of it everywhere."""
        writes = LEAK * self._random(self.d_model, width)
        writes[self.axes("junk")] = self._random(JUNK, width)
        return writes

    def _model(self) -> Any:
        from transformers import Qwen2Config, Qwen2ForCausalLM

        # An attribute that the architecture reads where a configuration has it.
        extra: dict[str, Any] = {"head_dim": self.head_dim}
        config = Qwen2Config(
            vocab_size=self.vocabulary,
            hidden_size=self.d_model,
            intermediate_size=MLP_WIDTH,
            num_hidden_layers=LAYERS,
            num_attention_heads=HEADS,
            num_key_value_heads=KV_HEADS,
            rope_parameters={"rope_type": "default", "rope_theta": THETA},
            rms_norm_eps=1e-12,
            tie_word_embeddings=False,
            max_position_embeddings=64,
            dtype="float64",
            **extra,
        )
        model: Any = Qwen2ForCausalLM(config).double().eval().requires_grad_(False)
        turned = torch.linalg.qr(self._random(self.d_model, self.d_model)).Q
        eye = torch.eye(self.d_model, dtype=torch.float64)
        _set(model.model.embed_tokens.weight, eye[self.axes("token")] @ turned.T)
        _set(model.lm_head.weight, eye[self.axes("out")] @ turned.T)
        for layer, block in enumerate(model.model.layers):
            part = {name: weight[layer] for name, weight in self.weights.items()}
            for name in ("q", "k", "v"):
                projection = getattr(block.self_attn, f"{name}_proj")
                _set(projection.weight, part[name].flatten(0, 1) @ turned.T)
                bias = part.get(f"b{name}")
                _set(projection.bias, torch.zeros_like(projection.bias) if bias is None else bias.flatten())
            _set(block.self_attn.o_proj.weight, turned @ torch.cat(list(part["o"]), dim=1))
            _set(block.mlp.gate_proj.weight, part["gate"] @ turned.T)
            _set(block.mlp.up_proj.weight, part["up"] @ turned.T)
            _set(block.mlp.down_proj.weight, turned @ part["down"])
        return model


def _set(parameter: Tensor, value: Tensor) -> None:
    parameter.data.copy_(value)
