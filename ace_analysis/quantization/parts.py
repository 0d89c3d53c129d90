"""The linear maps of a model's blocks, and which of their rows and columns are a head's.

Found by walking the modules that are in use, so that TransformerLens' wrappers, Hugging Face's models and a
scanner's first blocks are all the same here; which file a weight came from is told by the same names.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

from torch import nn

from ace_analysis.errors import InputError, ModelError
from ace_analysis.model.scan import ResidualScanner, blocks_of
from ace_analysis.quantization.linear import FocusedLinear

Role = Literal["q", "k", "v", "o"]

_ROLES: dict[str, Role] = {"q_proj": "q", "k_proj": "k", "v_proj": "v", "o_proj": "o"}
_WRAPPED = "_original_component"


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """A linear map of a block; `names` are the module's names inside its block, wrappers left out."""

    layer: int
    names: tuple[str, ...]
    linear: nn.Linear

    @property
    def role(self) -> Role | None:
        """Which of attention's four maps it is; None for another."""
        return next((_ROLES[last] for name in self.names if (last := name.split(".")[-1]) in _ROLES), None)

    def __str__(self) -> str:
        return f"block {self.layer}'s {self.names[0]}"


@dataclass(frozen=True, slots=True)
class Heads:
    """How a block's attention is divided. Under grouped queries several heads share a key-value head."""

    n_heads: int
    n_kv_heads: int
    head_dim: int

    def kv_head_of(self, head: int) -> int:
        return head // (self.n_heads // self.n_kv_heads)

    def sharing(self, head: int) -> tuple[int, ...]:
        """All heads that read the same keys and values, this one included."""
        return tuple(each for each in range(self.n_heads) if self.kv_head_of(each) == self.kv_head_of(head))

    def slice_of(self, role: Role, head: int) -> slice:
        """A head's rows of q, its key-value head's rows of k and v, or its columns of o."""
        number = head if role in ("q", "o") else self.kv_head_of(head)
        return slice(number * self.head_dim, (number + 1) * self.head_dim)


@dataclass(frozen=True, slots=True, eq=False)
class Parts:
    """What of a model is quantized. `root` holds all of the model's modules."""

    root: nn.Module
    folder: Path | None
    heads: Heads
    blocks: tuple[tuple[Part, ...], ...]

    @classmethod
    def of(cls, model: Any) -> "Parts":
        """The parts of a hooked model, a Hugging Face causal model, its decoder alone or a scanner.

        Raises:
            ModelError: not such a model, one without separate q, k, v and o, or one that is quantized.
        """
        root, folder = _root_of(model)
        blocks = tuple(tuple(_parts_of(layer, block)) for layer, block in enumerate(blocks_of(root)))
        heads = _heads_of(root)
        for layer, block in enumerate(blocks):
            _check_attention(layer, block, heads)
        return cls(root=root, folder=folder, heads=heads, blocks=blocks)

    def check(self, layer: int, head: int) -> None:
        """Refuse a head that is not there."""
        if not 0 <= layer < len(self.blocks):
            raise InputError(f"expected a layer from 0 to {len(self.blocks) - 1}, got {layer}")
        if not 0 <= head < self.heads.n_heads:
            raise InputError(f"expected a head from 0 to {self.heads.n_heads - 1}, got {head}")

    def __iter__(self) -> Iterator[Part]:
        return (part for block in self.blocks for part in block)


def _root_of(model: Any) -> tuple[nn.Module, Path | None]:
    """The module that holds a model's weights, and the folder that they were read from if it is known."""
    info = getattr(model, "info", None) or getattr(model, "ace", None)
    if isinstance(model, ResidualScanner):
        return model.decoder, model.info.folder
    root: Any = getattr(model, "original_model", None)
    if root is None:
        root = model if isinstance(model, nn.Module) else getattr(model, "model", None)
    if not isinstance(root, nn.Module) or not hasattr(root, "config"):
        raise ModelError(
            "expected a model from load_hooked_model or load_scanner, or one of Hugging Face's decoders, "
            f"got {type(model).__name__}"
        )
    folder = getattr(info, "folder", None) or getattr(root.config, "name_or_path", None)
    return root, Path(folder) if folder and Path(folder).is_dir() else None


def _parts_of(layer: int, block: nn.Module) -> Iterator[Part]:
    names: dict[nn.Linear, list[str]] = {}
    for path, module in block.named_modules(remove_duplicate=False):
        if isinstance(module, FocusedLinear):
            raise ModelError(
                "expected a model that is not quantized, got one that is; restore() it with the quantizer"
                " that quantized it"
            )
        if not isinstance(module, nn.Linear):
            continue
        if type(module) is not nn.Linear:
            raise ModelError(
                f"expected plain linear maps, got {type(module).__name__} at {path} of block {layer}; load"
                " the model without other quantizers and adapters"
            )
        name = ".".join(step for step in path.split(".") if step != _WRAPPED)
        names.setdefault(module, []).append(name)
    for linear, found in names.items():
        yield Part(layer, tuple(sorted(dict.fromkeys(found), key=lambda name: -len(name))), linear)


def _heads_of(root: nn.Module) -> Heads:
    config = cast(Any, root).config
    n_heads = config.num_attention_heads
    return Heads(
        n_heads=n_heads,
        n_kv_heads=getattr(config, "num_key_value_heads", None) or n_heads,
        head_dim=getattr(config, "head_dim", None) or config.hidden_size // n_heads,
    )


def _check_attention(layer: int, block: tuple[Part, ...], heads: Heads) -> None:
    roles = {part.role: part.linear for part in block if part.role is not None}
    if set(roles) != set(_ROLES.values()):
        found = ", ".join(part.names[0] for part in block) or "none"
        raise ModelError(
            f"expected linear maps {', '.join(_ROLES)} in block {layer}, got {found}: a head can't be told"
            " apart from the others"
        )
    queries, pairs = heads.n_heads * heads.head_dim, heads.n_kv_heads * heads.head_dim
    got = (roles["q"].out_features, roles["k"].out_features, roles["v"].out_features, roles["o"].in_features)
    if got != (queries, pairs, pairs, queries):
        raise ModelError(
            f"expected q, k, v and o of block {layer} to have {queries}, {pairs}, {pairs} and {queries} rows"
            f" or columns ({heads}), got {got}"
        )
