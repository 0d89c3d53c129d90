"""Where a training stood, as safetensors: weights, Adam's moments, counters.

sae_lens keeps its own as a torch file, which is a pickle; ACE reads and writes none.
"""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ace_analysis.errors import StorageError

_COUNTERS = ("act_freq_scores", "n_forward_passes_since_fired")


def save_checkpoint(trainer: Any, path: Path) -> None:
    """Write where a sae_lens trainer stands; the file is replaced only by a complete one."""
    tensors: dict[str, Tensor] = {f"sae.{n}": t for n, t in trainer.sae.state_dict().items()}
    tensors |= {name: getattr(trainer, name) for name in _COUNTERS}
    for index, state in trainer.optimizer.state_dict()["state"].items():
        tensors |= {f"adam.{index}.{name}": value for name, value in state.items()}
    numbers = {
        "n_training_samples": trainer.n_training_samples,
        "n_training_steps": trainer.n_training_steps,
        "n_frac_active_samples": trainer.n_frac_active_samples,
        "scaling_factor": trainer.activation_scaler.scaling_factor,
    }
    partial = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        contiguous = {name: tensor.detach().contiguous().clone() for name, tensor in tensors.items()}
        save_file(contiguous, partial, {"trainer": json.dumps(numbers)})
        partial.replace(path)
    except (OSError, SafetensorError) as error:
        raise StorageError(f"{path}: the checkpoint can't be written ({error})") from error


def restore_checkpoint(trainer: Any, path: Path) -> None:
    """Put a trainer that was made with the same options where the checkpoint stood, on its own device."""
    with safe_open(path, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        numbers = json.loads((file.metadata() or {})["trainer"])
    trainer.sae.load_state_dict({n.removeprefix("sae."): t for n, t in tensors.items() if n[:4] == "sae."})
    for name in _COUNTERS:
        setattr(trainer, name, tensors[name].to(getattr(trainer, name).device))
    trainer.activation_scaler.scaling_factor = numbers.pop("scaling_factor")
    for name, value in numbers.items():
        setattr(trainer, name, value)
    trainer.optimizer.load_state_dict(_adam_state(trainer.optimizer, tensors))
    for _ in range(trainer.n_training_steps):
        trainer.lr_scheduler.step()


def _adam_state(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> dict[str, Any]:
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        if name.startswith("adam."):
            _, index, moment = name.split(".")
            state.setdefault(int(index), {})[moment] = tensor
    return {**optimizer.state_dict(), "state": state}
