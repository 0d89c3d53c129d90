"""Whatever is steered, in one shape: its blocks, a pass with a cache, and whose weights it has."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import nn

from ace_analysis.errors import ModelError
from ace_analysis.model.causal import CausalModel
from ace_analysis.model.info import ModelInfo
from ace_analysis.model.scan import ResidualScanner, blocks_of
from ace_analysis.model.tokens import CodeTokenizer


@dataclass(frozen=True, eq=False)
class Subject:
    """A causal language model that can be run, hooked and recognised."""

    plain: Any
    """The Hugging Face causal model that runs; inside TransformerLens' bridge, the one that it wraps."""
    info: ModelInfo

    @classmethod
    def of(cls, model: Any) -> "Subject":
        """A model from `load_causal` or `load_hooked_model`.

        Raises:
            ModelError: a model whose fingerprint is not known, or one that can't write.
        """
        if isinstance(model, Subject):
            return model
        if isinstance(model, CausalModel):
            return cls(model.model, model.info)
        info, plain = getattr(model, "ace", None), getattr(model, "original_model", None)
        if not isinstance(info, ModelInfo) or plain is None:
            raise ModelError(
                "expected a model from load_hooked_model or load_causal, which know their fingerprint,"
                f" got {type(model).__name__}"
            )
        return cls(plain, info)

    @property
    def blocks(self) -> nn.ModuleList:
        return blocks_of(self.plain.base_model)

    @property
    def device(self) -> torch.device:
        return next(self.plain.parameters()).device

    @cached_property
    def tokenizer(self) -> CodeTokenizer:
        return CodeTokenizer.from_folder(self.info.folder)

    @cached_property
    def scanner(self) -> ResidualScanner:
        """The same blocks, to be read at one layer."""
        return ResidualScanner(self.plain.base_model, self.tokenizer, self.info)
