"""Activations of one layer, as fast as they can be had exactly.

The plain Hugging Face forward with its own attention kernels (SDPA where the architecture has it), stopped
behind the last block that is needed: no unembedding, no later block, no cache of keys and values. The numbers
are those that the hooked model shows at `hook_resid_post`; that is tested for each family of models.
"""

import threading
from collections.abc import Callable
from typing import Any, NoReturn

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from ace_analysis.errors import Cancelled, InputError, ModelError
from ace_analysis.model.hooks import hooks
from ace_analysis.model.info import ModelInfo
from ace_analysis.model.tokens import CodeTokenizer


def never() -> bool:
    """The cancel check of a caller that never cancels."""
    return False


class _Reached(Exception):
    """Ends a forward pass at the block whose output is wanted."""

    def __init__(self, resid: Tensor) -> None:
        super().__init__()
        self.resid = resid


class ResidualScanner:
    """Reads the residual stream; only the first `n_blocks` blocks need to be there."""

    def __init__(self, decoder: nn.Module, tokenizer: CodeTokenizer, info: ModelInfo) -> None:
        self.info = info
        self.tokenizer = tokenizer
        self._decoder: Any = decoder
        self._blocks = blocks_of(decoder)
        self._lock = threading.Lock()

    @property
    def decoder(self) -> nn.Module:
        """The Hugging Face decoder that is run: its blocks alone, without an unembedding."""
        return self._decoder

    @property
    def n_blocks(self) -> int:
        """How many blocks are held; at most `info.n_layers`."""
        return len(self._blocks)

    def resid_post(
        self,
        ids: Int[Tensor, "batch pos"],
        layer: int,
        *,
        attention_mask: Bool[Tensor, "batch pos pos"] | None = None,
        position_ids: Int[Tensor, "batch pos"] | None = None,
        cancelled: Callable[[], bool] = never,
    ) -> Float[Tensor, "batch pos d_model"]:
        """The residual stream behind block `layer`.

        Args:
            ids: token ids, right-padded; attention is causal, so padding changes nothing before it.
            layer: 0 is the first block.
            attention_mask: True where a token (row) may attend to another (column), for texts that branch.
                A token always attends to itself. None: every token attends to all before it.
            position_ids: where each token stands in its own text; None: its column.
            cancelled: asked before each block.
        """
        self._check(ids, layer, attention_mask, position_ids)
        ids = ids.to(self.info.device)
        inputs: dict[str, Any] = {}
        if attention_mask is not None or position_ids is not None:
            inputs = self._branching(ids, attention_mask, position_ids)

        return self._run(ids, layer, inputs, cancelled)

    def _run(
        self, ids: Tensor, layer: int, inputs: dict[str, Any], cancelled: Callable[[], bool]
    ) -> Float[Tensor, "batch pos d_model"]:
        def ask(module: nn.Module, arguments: Any) -> None:
            if cancelled():
                raise Cancelled("the scan was cancelled by the caller; nothing was kept")

        def stop(module: nn.Module, arguments: Any, output: Any) -> NoReturn:
            raise _Reached(output[0] if isinstance(output, tuple) else output)

        needed = self._blocks[: layer + 1]
        before, after = [(block, ask) for block in needed], [(needed[-1], stop)]
        # The lock: hooks belong to the module, so two passes at once would stop each other.
        with self._lock, torch.no_grad(), hooks(before=before, after=after):
            try:
                self._decoder(input_ids=ids, use_cache=False, **inputs)
            except _Reached as reached:
                return reached.resid
        raise ModelError(f"expected {self.info.name} to run block {layer}, but its forward pass ended before")

    def _check(
        self, ids: Tensor, layer: int, attention_mask: Tensor | None, position_ids: Tensor | None
    ) -> None:
        if ids.ndim != 2 or 0 in ids.shape:
            raise InputError(
                f"expected token ids [batch, pos] with at least one token, got {list(ids.shape)}"
            )
        if not 0 <= layer < self.n_blocks:
            raise InputError(
                f"expected a layer from 0 to {self.n_blocks - 1}, got {layer};"
                f" {self.n_blocks} of {self.info.name}'s {self.info.n_layers} blocks are loaded"
            )
        shape = (*ids.shape, ids.shape[1])
        if attention_mask is not None and (
            attention_mask.dtype != torch.bool or attention_mask.shape != shape
        ):
            got = f"{attention_mask.dtype} {list(attention_mask.shape)}"
            raise InputError(f"expected an attention mask torch.bool {list(shape)}, got {got}")
        if position_ids is not None and position_ids.shape != ids.shape:
            raise InputError(f"expected position ids {list(ids.shape)}, got {list(position_ids.shape)}")

    def _branching(self, ids: Tensor, mask: Tensor | None, positions: Tensor | None) -> dict[str, Any]:
        """The model's own arguments for a mask and positions of ours."""
        device, (batch, length) = ids.device, ids.shape
        if positions is None:
            positions = torch.arange(length, device=device).expand(batch, length)
        positions = positions.to(device)
        if mask is None:
            mask = torch.ones(length, length, dtype=torch.bool).tril().expand(batch, length, length)
        mask = mask.to(device) | torch.eye(length, dtype=torch.bool, device=device)
        return {"attention_mask": self._masks(mask, positions), "position_ids": positions}

    def _masks(self, mask: Tensor, positions: Tensor) -> Any:
        """A mask in the form that the model takes: one for all of its blocks, or one for each kind."""
        config = self._decoder.config
        window = getattr(config, "sliding_window", None)
        kinds = set(getattr(config, "layer_types", None) or ())
        if unknown := kinds - {"full_attention", "sliding_attention"}:
            raise ModelError(
                f"expected blocks with full or sliding attention, got {sorted(unknown)} in {self.info.name};"
                " run branches one by one, without an attention mask"
            )
        if window is None or kinds == {"full_attention"}:
            return self._as_taken(mask)
        near = positions[:, :, None] - positions[:, None, :] < window
        if not kinds:
            return self._as_taken(mask & near)
        masks = {"full_attention": mask, "sliding_attention": mask & near}
        return {kind: self._as_taken(each) for kind, each in masks.items()}

    def _as_taken(self, mask: Tensor) -> Tensor:
        """Boolean with a dimension for heads, or additive for attention that is computed step by step."""
        mask = mask[:, None]
        if self._decoder.config._attn_implementation == "sdpa":
            return mask
        lowest = torch.finfo(self.info.dtype).min
        return torch.zeros(mask.shape, dtype=self.info.dtype, device=mask.device).masked_fill(~mask, lowest)


def blocks_of(decoder: nn.Module) -> nn.ModuleList:
    """The list of a decoder's blocks: the first list that is as long as the configuration says."""
    config: Any = decoder.config
    for module in decoder.modules():
        if isinstance(module, nn.ModuleList) and len(module) == config.num_hidden_layers:
            return module
    raise ModelError(
        f"expected a list of {config.num_hidden_layers} blocks in {type(decoder).__name__}, found none;"
        " use a decoder-only model"
    )
