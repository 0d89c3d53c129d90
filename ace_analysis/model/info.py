"""What is known of a loaded model, whichever way it was loaded."""

from dataclasses import dataclass
from pathlib import Path

import torch


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelInfo:
    """A model's name, the fingerprint of its weights, and how it is held."""

    name: str
    fingerprint: str
    folder: Path
    device: torch.device
    dtype: torch.dtype
    n_layers: int
    d_model: int
    edited_from: str | None = None
    """What an edited model's weights and bundle are those of."""
