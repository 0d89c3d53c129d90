"""Sparse coders on disk: our own safetensors, in bf16 or in int8 with one scale per latent.

A coder that came from elsewhere is read by `features.foreign`; `load_sparse_coder` tells the two apart.
"""

import contextlib
import json
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ace_analysis.errors import BundleError, InputError, StorageError
from ace_analysis.features.sparse_coder import SparseCoder
from ace_analysis.model.sites import Site

CODER_FILE = "sparse_coder.safetensors"
FORMAT = "ace-sparse-coder"
VERSION = 1

CoderDtype = Literal["fp32", "bf16", "int8"]
_LATENT_AXIS = {"W_enc": 1, "W_dec": 0}
"""Which axis of a matrix counts the latents: int8 has one scale for each of them."""

_MATRIX_DTYPE = {"fp32": torch.float32, "bf16": torch.bfloat16}
_LARGEST_INT8 = 127


def save_sparse_coder(folder: Path, coder: SparseCoder, dtype: CoderDtype = "bf16") -> Path:
    """Write `folder/sparse_coder.safetensors`, whole or not at all; biases and thresholds stay fp32."""
    if dtype not in (*_MATRIX_DTYPE, "int8"):
        raise InputError(f"dtype: expected fp32, bf16 or int8, got {dtype!r}")
    tensors = {name: getattr(coder, name).float().cpu() for name in ("b_enc", "b_dec", "threshold")}
    for name, axis in _LATENT_AXIS.items():
        matrix = getattr(coder, name).float().cpu()
        if dtype == "int8":
            tensors[name], tensors[f"{name}.scale"] = _to_int8(matrix, axis)
        else:
            tensors[name] = matrix.to(_MATRIX_DTYPE[dtype])
    about = {
        "layer": coder.site.layer,
        "stream": coder.site.stream,
        "head": coder.site.head,
        "apply_b_dec_to_input": coder.apply_b_dec_to_input,
        "k": coder.k,
        "dtype": dtype,
    }
    metadata = {"format": FORMAT, "version": str(VERSION), "coder": json.dumps(about)}
    path = folder / CODER_FILE
    part = folder / f".{CODER_FILE}.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, part, metadata)
        part.replace(path)
    except (OSError, SafetensorError) as error:
        with contextlib.suppress(OSError):
            part.unlink()
        raise StorageError(f"{path}: the sparse coder can't be written ({error})") from error
    return path


def load_sparse_coder(
    path_or_release: str | Path,
    sae_id: str | None = None,
    *,
    site: Site | None = None,
    apply_b_dec_to_input: bool = False,
) -> SparseCoder:
    """A sparse coder from our bundle, a sae_lens folder, a loose weight file or a published release.

    Args:
        path_or_release: a folder, a .npz, .safetensors or .pt file, or a release's name in sae_lens.
        sae_id: which autoencoder of the release, for example "layer_12/width_16k/canonical".
        site: where its activations come from, for files that don't say.
        apply_b_dec_to_input: whether the encoder subtracts the decoder's bias, for files that don't say.
    """
    path = Path(path_or_release)
    if is_own_coder(path):
        return load_own_coder(path)
    # sae_lens takes seconds to import, and a scan never needs it.
    from ace_analysis.features import foreign

    if path.is_dir() and (path / foreign.SAE_LENS_CONFIG).is_file():
        return foreign.load_sae_lens_folder(path, site)
    file = path / foreign.GEMMA_SCOPE_FILE if path.is_dir() else path
    if file.is_file():
        if site is None:
            raise InputError(
                f"{file}: this file doesn't say where its activations come from; pass site=Site(layer)"
            )
        return foreign.load_weight_file(file, site, apply_b_dec_to_input=apply_b_dec_to_input)
    if path.is_dir():
        names = f"{CODER_FILE}, sae_lens' {foreign.SAE_LENS_CONFIG} or {foreign.GEMMA_SCOPE_FILE}"
        raise BundleError(f"{path}: expected {names} in this folder, found none of them")
    return foreign.load_release(str(path_or_release), sae_id, site)


def load_own_coder(
    path: Path, *, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
) -> SparseCoder:
    """Read a coder that `save_sparse_coder` wrote, from its file or the folder that holds it."""
    path = path / CODER_FILE if path.is_dir() else path
    if not path.is_file():
        raise BundleError(f"{path}: expected a sparse coder, found no such file")
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            metadata = file.metadata() or {}
            about = _checked(path, metadata)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        matrices = {name: _matrix(tensors, name, dtype) for name in _LATENT_AXIS}
        vectors = {name: tensors[name].float() for name in ("b_enc", "b_dec", "threshold")}
        site = Site(about["layer"], about["stream"], about["head"])
        rest = {"apply_b_dec_to_input": about["apply_b_dec_to_input"], "k": about["k"]}
        coder = SparseCoder(**matrices, **vectors, site=site, **rest)
    except (SafetensorError, OSError, KeyError, TypeError, ValueError, InputError) as error:
        raise BundleError(f"{path}: this sparse coder is damaged or incomplete ({error})") from error
    return coder.to(device=device)


def is_own_coder(path: Path) -> bool:
    """Whether a file or folder holds a coder in our own format."""
    file = path / CODER_FILE if path.is_dir() else path
    if not file.is_file() or file.suffix != ".safetensors":
        return False
    try:
        with safe_open(file, framework="pt", device="cpu") as opened:
            return (opened.metadata() or {}).get("format") == FORMAT
    except (SafetensorError, OSError):
        return False


def _checked(path: Path, metadata: dict[str, str]) -> dict[str, Any]:
    if metadata.get("format") != FORMAT:
        raise BundleError(f"{path}: expected a file of format {FORMAT}, got {metadata.get('format')!r}")
    if metadata.get("version") != str(VERSION):
        raise BundleError(
            f"{path}: expected version {VERSION} of the format, got {metadata.get('version')}; update ace-lsp"
        )
    return json.loads(metadata["coder"])


def _matrix(tensors: dict[str, Tensor], name: str, dtype: torch.dtype) -> Tensor:
    matrix, scale = tensors[name], tensors.get(f"{name}.scale")
    if scale is not None:
        matrix = matrix.float() * scale.unsqueeze(1 - _LATENT_AXIS[name])
    return matrix.to(dtype)


def _to_int8(matrix: Tensor, latent_axis: int) -> tuple[Tensor, Tensor]:
    """Rounded to 255 steps per latent, and the steps' sizes."""
    largest = matrix.abs().amax(dim=1 - latent_axis)
    scale = torch.where(largest > 0, largest, 1.0) / _LARGEST_INT8
    return (matrix / scale.unsqueeze(1 - latent_axis)).round().to(torch.int8), scale
