"""The exact weights, on disk, while they are not in memory.

The paper keeps them in the CPU's memory and copies the head under test to the GPU; where the model is too
large for memory that is no help. They are in the model's own files already, so those are read, a head at a
time and through a memory map. Weights that are in no file (a model built or edited in memory) are written to
one. Either way what is read is compared with the model's own weights first, bit for bit.
"""

import re
import shutil
import tempfile
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ace_analysis.errors import ModelError
from ace_analysis.model.disk import storing
from ace_analysis.quantization.parts import Part
from ace_analysis.settings import cache_dir

_BLOCK_WEIGHT = re.compile(r"(?:.*\.)?(\d+)\.(.+)\.weight")
_WHOLE = slice(None)


@dataclass(frozen=True, slots=True)
class Original:
    """A matrix in a file, and the dtype that the model had it in. `stamp` tells whether the file changed."""

    file: Path
    key: str
    dtype: torch.dtype
    stamp: tuple[int, int]

    def read(self, rows: slice = _WHOLE, columns: slice = _WHOLE) -> Float[Tensor, "rows columns"]:
        """Part of the matrix as the model had it, or all of it; only these bytes are read.

        Raises:
            ModelError: the file is gone or has changed since.
        """
        self.check()
        with safe_open(self.file, framework="pt") as file:
            # A copy: else the map, and every page of it that was read, would stay as long as the tensor.
            return file.get_slice(self.key)[rows, columns].to(self.dtype, copy=True)

    def check(self) -> None:
        """Refuse a file that is not the one that was compared with the model."""
        try:
            stamp = _stamp(self.file)
        except OSError as error:
            raise ModelError(
                f"expected the exact weights in {self.file}, got: {error}; load the model again"
            ) from error
        if stamp != self.stamp:
            raise ModelError(
                f"expected {self.file} as it was when the model was quantized, got another one; load the"
                " model again"
            )


class Originals:
    """Where each part's exact weights are. What had to be written is removed with this object, or `close`."""

    def __init__(self, folder: Path | None) -> None:
        self._files = _block_weights(folder) if folder is not None else {}
        self._written: Path | None = None
        self.written_bytes = 0

    def keep(self, parts: Sequence[Part]) -> list[Original]:
        """The exact weights of some parts, in the model's files if they are there, else newly written.

        Raises:
            StorageError: they had to be written, and the disk is full or not writable.
        """
        found = [self._find(part) for part in parts]
        absent = [part for part, original in zip(parts, found, strict=True) if original is None]
        written = iter(self._write(absent) if absent else ())
        return [original if original is not None else next(written) for original in found]

    def close(self) -> None:
        """Remove what was written."""
        if self._written is not None:
            shutil.rmtree(self._written, ignore_errors=True)
        self._written, self.written_bytes = None, 0

    def _find(self, part: Part) -> Original | None:
        weight = part.linear.weight.detach()
        for name in part.names:
            for file, key in self._files.get((part.layer, name), ()):
                original = Original(file, key, weight.dtype, _stamp(file))
                if _is_same(original, weight):
                    return original
        return None

    def _write(self, parts: Sequence[Part]) -> list[Original]:
        weights = {str(part): part.linear.weight.detach() for part in parts}
        size = sum(weight.nbytes for weight in weights.values())
        # Not the system's folder for temporary files: that is memory on many machines.
        home = cache_dir() / "originals"
        with storing(home, size):
            if self._written is None:
                self._written = Path(tempfile.mkdtemp(dir=home))
                weakref.finalize(self, shutil.rmtree, self._written, ignore_errors=True)
            file = self._written / f"block-{parts[0].layer}.safetensors"
            save_file({name: weight.contiguous().cpu() for name, weight in weights.items()}, file)
        self.written_bytes += size
        stamp = _stamp(file)
        return [Original(file, name, weight.dtype, stamp) for name, weight in weights.items()]


def _block_weights(folder: Path) -> dict[tuple[int, str], list[tuple[Path, str]]]:
    """Block and name inside it, to the files and keys that may hold that weight."""
    found: dict[tuple[int, str], list[tuple[Path, str]]] = {}
    for path in sorted(folder.glob("*.safetensors")):
        try:
            with safe_open(path, framework="pt") as file:
                keys = list(file.keys())
        except (OSError, SafetensorError):
            continue  # not a file of weights; what it should have held is written instead
        for key in keys:
            if (match := _BLOCK_WEIGHT.fullmatch(key)) is not None:
                found.setdefault((int(match[1]), match[2]), []).append((path, key))
    return found


def _is_same(original: Original, weight: Tensor) -> bool:
    with safe_open(original.file, framework="pt") as file:
        shape = tuple(file.get_slice(original.key).get_shape())
        if shape != tuple(weight.shape):
            return False
        stored = file.get_tensor(original.key).to(device=weight.device, dtype=weight.dtype)
        return bool(torch.equal(stored, weight))


def _stamp(file: Path) -> tuple[int, int]:
    status = file.stat()
    return status.st_size, status.st_mtime_ns
