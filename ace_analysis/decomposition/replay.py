"""One text's clean pass, kept so that later passes can begin at any block, with parts of them replaced.

An ablation of a part of block 20 leaves blocks 0 to 19 as they were, so it need not run them again. What each
block was called with (its input, positions, mask) is recorded once; a later pass calls the real blocks with
the recorded arguments and a changed input, for many changes at once in the batch axis. Nothing of the model
is computed by code of ours: this is what the decompositions are measured against.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, NoReturn

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ace_analysis.decomposition.anatomy import Anatomy
from ace_analysis.errors import Cancelled, InputError, ModelError
from ace_analysis.model.hooks import hooks
from ace_analysis.model.scan import ResidualScanner, blocks_of, never


class _Ended(Exception):
    """Ends a recorded pass behind the last block that is wanted."""


@dataclass(frozen=True, slots=True, eq=False)
class RealBlock:
    """The modules of one block as the model calls them, with whatever wraps them.

    `z` is the projection whose input is all heads' outputs side by side, and `attention` what puts out what
    is added to the residual stream; `middle` is the norm whose input is the stream between the two parts, and
    what `mlp` puts out is added, too. In Gemma 2's blocks the norms behind the parts are what adds.
    """

    module: nn.Module
    z: nn.Module
    attention: nn.Module
    middle: nn.Module
    mlp: nn.Module


@dataclass(frozen=True, slots=True, eq=False)
class RealModel:
    """A model that is run by its own code, block by block."""

    decoder: nn.Module
    blocks: tuple[RealBlock, ...]
    anatomy: Anatomy

    @classmethod
    def of(cls, model: Any) -> "RealModel":
        """Of a hooked model, a Hugging Face causal model, its decoder alone or a ResidualScanner.

        Raises:
            ModelError: a family that is not supported, or a part that is missing.
        """
        if isinstance(model, RealModel):
            return model
        anatomy = Anatomy.of(model)
        decoder = _decoder_of(model)
        parts = zip(blocks_of(decoder), anatomy.blocks, strict=True)
        return cls(decoder, tuple(_block(module, block) for module, block in parts), anatomy)

    def checked(self, ids: Int[Tensor, "..."]) -> Int[Tensor, "1 pos"]:
        """Token ids of one text, on the model's device.

        Raises:
            InputError: not one text of at least one token.
        """
        rows = ids[None] if ids.ndim == 1 else ids
        if rows.ndim != 2 or rows.shape[0] != 1 or rows.shape[1] == 0:
            raise InputError(
                f"expected the token ids of one text, [pos] or [1, pos], got {list(ids.shape)};"
                " give the texts one by one"
            )
        return rows.to(self.anatomy.device)


@dataclass(frozen=True, slots=True, eq=False)
class CleanRun:
    """What a text's pass through the first `n_blocks` blocks left.

    Attributes:
        resid: the residual stream in front of each block, and behind the last one; each [1, pos, d_model].
        z: the heads' outputs of each block, [pos, head, head_dim].
        mlp: what each block's MLP adds, [pos, d_model].
        calls: the other arguments that each block was called with.
    """

    model: RealModel
    ids: Int[Tensor, "1 pos"]
    resid: tuple[Float[Tensor, "1 pos d_model"], ...]
    z: tuple[Float[Tensor, "pos head head_dim"], ...]
    mlp: tuple[Float[Tensor, "pos d_model"], ...]
    calls: tuple[dict[str, Any], ...]

    @property
    def n_blocks(self) -> int:
        return len(self.z)

    @property
    def length(self) -> int:
        """Tokens of the text."""
        return self.ids.shape[1]

    def rerun(
        self,
        hidden: Float[Tensor, "batch pos d_model"],
        start: int,
        *,
        changes: AbstractContextManager[None] | None = None,
        cancelled: Callable[[], bool] = never,
    ) -> Float[Tensor, "batch pos d_model"]:
        """The residual stream behind the last recorded block, from another one in front of block `start`.

        Args:
            hidden: the residual stream in front of block `start`, a row per variant.
            start: from 0 up to `n_blocks`.
            changes: hooks that are set while the blocks run, from `model.hooks.hooks`.
            cancelled: asked before each block.

        Raises:
            Cancelled: the caller asked to stop.
        """
        with changes if changes is not None else hooks():
            for block, call in zip(self.model.blocks[start : self.n_blocks], self.calls[start:], strict=True):
                if cancelled():
                    raise Cancelled("the pass was cancelled by the caller; nothing was kept")
                hidden = _tensor(block.module(hidden, **call))
        return hidden


@dataclass(slots=True, eq=False)
class _Recorder:
    """Takes down what passes by."""

    n_heads: int
    resid: list[Tensor] = field(default_factory=list)
    z: list[Tensor] = field(default_factory=list)
    mlp: list[Tensor] = field(default_factory=list)
    calls: list[dict[str, Any]] = field(default_factory=list)

    def block(self, module: nn.Module, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> None:
        call = dict(keywords)
        hidden = arguments[0] if arguments else call.pop("hidden_states")
        self.resid.append(hidden)
        self.calls.append(call)

    def heads(self, module: nn.Module, arguments: tuple[Any, ...]) -> None:
        self.z.append(arguments[0][0].unflatten(-1, (self.n_heads, -1)))

    def writes(self, module: nn.Module, arguments: tuple[Any, ...], output: Any) -> None:
        self.mlp.append(_tensor(output)[0])

    def end(self, module: nn.Module, arguments: tuple[Any, ...], output: Any) -> NoReturn:
        self.resid.append(_tensor(output))
        raise _Ended


def record(
    model: RealModel,
    ids: Int[Tensor, "..."],
    n_blocks: int | None = None,
    *,
    cancelled: Callable[[], bool] = never,
) -> CleanRun:
    """Run a text once, through the first `n_blocks` blocks (None: all that are loaded).

    Raises:
        InputError: not the ids of one text, or more blocks than are loaded.
        Cancelled: the caller asked to stop.
    """
    ids = model.checked(ids)
    n_blocks = len(model.blocks) if n_blocks is None else n_blocks
    if not 1 <= n_blocks <= len(model.blocks):
        raise InputError(
            f"expected 1 to {len(model.blocks)} blocks, as many as are loaded of {model.anatomy.name},"
            f" got {n_blocks}"
        )

    def ask(module: nn.Module, arguments: tuple[Any, ...]) -> None:
        if cancelled():
            raise Cancelled("the pass was cancelled by the caller; nothing was kept")

    run, chosen = _Recorder(model.anatomy.n_heads), model.blocks[:n_blocks]
    before = [*((each.module, ask) for each in chosen), *((each.z, run.heads) for each in chosen)]
    after = [*((each.mlp, run.writes) for each in chosen), (chosen[-1].module, run.end)]
    before_call = [(each.module, run.block) for each in chosen]
    with torch.no_grad(), hooks(before=before, before_call=before_call, after=after):
        try:
            model.decoder(input_ids=ids, use_cache=False)
        except _Ended:
            return CleanRun(model, ids, tuple(run.resid), tuple(run.z), tuple(run.mlp), tuple(run.calls))
    raise ModelError(f"expected {model.anatomy.name} to run {n_blocks} blocks, but its pass ended before")


def same_length(clean: int, other: int) -> None:
    """Refuse a counterfactual text whose tokens don't stand opposite those of the clean one.

    Raises:
        InputError: the two texts have different numbers of tokens.
    """
    if clean != other:
        raise InputError(
            f"expected a counterfactual of {clean} tokens, as the clean text has, got {other};"
            " change the text so that it keeps its number of tokens, or ablate with zeros or means"
        )


def _decoder_of(model: Any) -> nn.Module:
    """What Anatomy.of has accepted, without what stands around its decoder."""
    if isinstance(model, ResidualScanner):
        return model.decoder
    plain: Any = getattr(model, "original_model", None)
    if plain is None:
        plain = model if isinstance(model, nn.Module) else model.model
    return plain.get_decoder() if plain.get_output_embeddings() is not None else plain


def _block(module: nn.Module, parts: Any) -> RealBlock:
    inner: Any = module
    while (wrapped := getattr(inner, "_original_component", None)) is not None:
        inner = wrapped
    layout, z = parts.mlp.layout, parts.attn.module.o_proj
    return RealBlock(
        module=module,
        z=z,
        attention=z if layout.after_attention is None else getattr(inner, layout.after_attention),
        middle=getattr(inner, layout.before_mlp),
        mlp=inner.mlp if layout.after_mlp is None else getattr(inner, layout.after_mlp),
    )


def _tensor(output: Any) -> Tensor:
    return output[0] if isinstance(output, tuple) else output
