"""The whole model as it writes: what explanations and repairs ask for the next token.

A scan stops behind the layer that it reads and has no unembedding. Here is the rest: the plain Hugging Face
causal language model with its own attention kernels (SDPA where the architecture has it), in eval mode. It
costs memory that a scan does not need (Qwen2.5-Coder-0.5B: 2.0 GB in fp32, 1.0 GB in bf16), so an engine
loads it only when something asks for it, and once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import nn

from ace_analysis.errors import ModelError
from ace_analysis.model.devices import chosen_device, chosen_dtype
from ace_analysis.model.edits import put_on
from ace_analysis.model.embedding import widen
from ace_analysis.model.info import ModelInfo
from ace_analysis.model.loading import config_of, info_of
from ace_analysis.model.mapped import let_go_of
from ace_analysis.model.quiet import quiet_transformers
from ace_analysis.model.scan import ResidualScanner, blocks_of
from ace_analysis.model.store import StoredModel, resolve_model
from ace_analysis.model.tokens import CodeTokenizer

MEGABYTE = 1e6


@dataclass(frozen=True, eq=False)
class CausalModel:
    """A causal language model, its tokenizer for source code, and what is known of its weights."""

    model: Any
    tokenizer: CodeTokenizer
    info: ModelInfo

    @property
    def decoder(self) -> nn.Module:
        """Its blocks without the unembedding."""
        return self.model.base_model

    @property
    def blocks(self) -> nn.ModuleList:
        """Its blocks, first to last."""
        return blocks_of(self.decoder)

    @property
    def megabytes(self) -> float:
        """Memory that the weights take; matrices that are used twice (a tied embedding) count once."""
        held = {each.data_ptr(): each.nbytes for each in (*self.model.parameters(), *self.model.buffers())}
        return sum(held.values()) / MEGABYTE

    @cached_property
    def scanner(self) -> ResidualScanner:
        """The same blocks, to be read at one layer: no weight is held twice."""
        return ResidualScanner(self.decoder, self.tokenizer, self.info)

    @cached_property
    def end_ids(self) -> frozenset[int]:
        """Tokens that end a text, by the model's own configuration."""
        found: set[int] = {self.tokenizer.prefix_id}
        for config in (self.model.config, getattr(self.model, "generation_config", None)):
            ends = getattr(config, "eos_token_id", None)
            found.update([ends] if isinstance(ends, int) else ends or ())
        return frozenset(found)


def load_causal(
    name: str,
    device: str | torch.device = "auto",
    dtype: str | torch.dtype = "auto",
    held: ResidualScanner | None = None,
) -> CausalModel:
    """The whole of a model, ready to be asked for the next token.

    While it is loaded, a process holds little more than the weights: bf16 weights that are wanted in fp32 are
    read as they are stored and widened one after the other.

    Args:
        name: a known model, an alias, a hub name that is in the local cache, a folder or a GGUF file.
        device: "auto", "cpu", "cuda", ...
        dtype: "auto" (bf16 where the device multiplies it, else fp32), "float32", "bfloat16", ...
        held: a scanner of the same model: its blocks are taken instead of a copy of them.

    Raises:
        ModelError: what transformers doesn't know as a causal language model.
    """
    stored = resolve_model(name)
    on = chosen_device(device)
    number = chosen_dtype(dtype, on)
    with quiet_transformers():
        config = config_of(stored)
        model, shared = _model(stored, config, number, _blocks_held(held, stored, number))
    put_on(stored.edit, model, first=shared)
    tokenizer = CodeTokenizer.from_folder(stored.folder)
    return CausalModel(model.eval().to(on), tokenizer, info_of(stored, config, on, number))


def _model(
    stored: StoredModel, config: Any, dtype: torch.dtype, held: Sequence[nn.Module]
) -> tuple[Any, int]:
    """Hugging Face's model, and how many of its first blocks are those that are held."""
    from transformers import AutoModelForCausalLM

    def load(number: torch.dtype) -> Any:
        try:
            return AutoModelForCausalLM.from_pretrained(
                stored.folder, config=config, dtype=number, local_files_only=True
            )
        except ValueError as error:
            raise ModelError(
                f"expected a causal language model in {stored.folder}, got: {error}; choose another model"
            ) from error

    if dtype == torch.float32 and config.dtype in (torch.bfloat16, torch.float16):
        narrow = load(config.dtype)
        shared = _share(narrow, held)
        if widen(narrow, dtype, lambda: let_go_of(stored.folder)):
            return narrow, shared
    model = load(dtype)
    return model, _share(model, held)


def _blocks_held(
    held: ResidualScanner | None, stored: StoredModel, dtype: torch.dtype
) -> Sequence[nn.Module]:
    """A scanner's blocks, if they have the very weights that are to be loaded."""
    if held is None or held.info.fingerprint != stored.fingerprint:
        return ()
    same = held.info.dtype == dtype and held.info.device.type == "cpu"
    return tuple(blocks_of(held.decoder)) if same else ()


def _share(model: Any, held: Sequence[nn.Module]) -> int:
    for own, other in zip(blocks_of(model), held, strict=False):
        theirs = dict(other.named_parameters())
        for name, parameter in own.named_parameters():
            parameter.data = theirs[name].data
    return len(held)
