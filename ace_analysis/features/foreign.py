"""Sparse autoencoders that others trained: sae_lens folders and releases, Gemma Scope, loose weight files.

Nothing here runs code from a file: numpy archives are read with `allow_pickle=False`, torch files with
`weights_only=True`. Gemma Scope is read from its archives directly, because that needs no network once the
file is in the Hugging Face cache, and half the memory.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from ace_analysis.errors import BundleError, InputError, ModelNotFound
from ace_analysis.features.sparse_coder import SparseCoder
from ace_analysis.model.sites import Site

SAE_LENS_CONFIG = "cfg.json"
GEMMA_SCOPE_FILE = "params.npz"
_WEIGHTS = ("W_enc", "b_enc", "W_dec", "b_dec")
_SHARED_THRESHOLD = ("batchtopk", "matryoshka_batchtopk")
"""Only met while training; what sae_lens saves of them is a JumpReLU."""


def coder_of_sae(sae: Any, site: Site | None = None) -> SparseCoder:
    """A sae_lens autoencoder (in training or trained) as a SparseCoder, with everything folded in.

    Args:
        sae: a `sae_lens.SAE` of architecture standard, jumprelu, gated, topk or (matryoshka_)batchtopk.
        site: where its activations come from; None: what its metadata says.
    """
    architecture = sae.cfg.architecture()
    if architecture not in _PARTS:
        raise InputError(
            f"expected an autoencoder of architecture {', '.join(_PARTS)}, got {architecture!r}; "
            "it can't be written as a JumpReLU"
        )
    _check_normalization(sae.cfg)
    parts = {name: getattr(sae, name).detach() for name in ("W_enc", "W_dec", "b_dec")}
    parts |= _PARTS[architecture](sae)
    parts = {name: part.detach().float().cpu().clone() for name, part in parts.items()}
    if getattr(sae.cfg, "rescale_acts_by_decoder_norm", False):
        norm = parts["W_dec"].norm(dim=-1)
        parts["W_enc"], parts["b_enc"] = parts["W_enc"] * norm, parts["b_enc"] * norm
        parts["W_dec"] = parts["W_dec"] / norm.clamp(min=1e-8).unsqueeze(1)
    parts["threshold"] = parts["threshold"].clamp(min=0.0)
    return SparseCoder(
        **parts,
        site=site or _site_of(sae.cfg.metadata),
        apply_b_dec_to_input=bool(sae.cfg.apply_b_dec_to_input),
        k=sae.cfg.k if architecture == "topk" else None,
    )


def load_sae_lens_folder(folder: Path, site: Site | None = None) -> SparseCoder:
    """A folder that sae_lens wrote."""
    from sae_lens import SAE

    try:
        sae = SAE.load_from_disk(folder, device="cpu")
    except (OSError, SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise BundleError(f"{folder}: expected an autoencoder that sae_lens saved ({error})") from error
    return coder_of_sae(sae, site)


def load_release(release: str, sae_id: str | None, site: Site | None = None) -> SparseCoder:
    """A published autoencoder by its sae_lens names; from the Hugging Face cache where it is there."""
    from sae_lens.loading.pretrained_saes_directory import get_pretrained_saes_directory

    known = get_pretrained_saes_directory().get(release)
    if known is None and "/" not in release:
        raise ModelNotFound(
            f"expected a folder, a weight file or a release that sae_lens knows, got {release!r}: "
            "there is neither a file nor a release of that name"
        )
    if sae_id is None or (known is not None and sae_id not in known.saes_map):
        ids = list(known.saes_map) if known is not None else []
        few = ", ".join(ids[:3]) + (f" or one of {len(ids) - 3} others" if len(ids) > 3 else "")
        raise ModelNotFound(
            f"{release}: expected an sae_id such as {few or 'a folder of it'}, got {sae_id!r}"
        )
    if known is not None and known.conversion_func == "gemma_2":
        return _load_gemma_scope(known.repo_id, known.saes_map[sae_id], site)
    from sae_lens import SAE

    return coder_of_sae(_fetched(lambda: SAE.from_pretrained(release, sae_id), f"{release}, {sae_id}"), site)


def load_weight_file(path: Path, site: Site, *, apply_b_dec_to_input: bool = False) -> SparseCoder:
    """Weights called W_enc, b_enc, W_dec, b_dec and, if it is there, threshold: .npz, .pt or .safetensors."""
    parts = {_renamed(name): part for name, part in _read_weights(path).items()}
    missing = [name for name in _WEIGHTS if name not in parts]
    if missing:
        raise BundleError(f"{path}: expected weights {', '.join(_WEIGHTS)}, got {', '.join(sorted(parts))}")
    w_enc, b_enc, w_dec, b_dec = (parts[name].float() for name in _WEIGHTS)
    threshold = parts.get("threshold", torch.zeros(1)).float().clamp(min=0.0)
    try:
        return SparseCoder(
            w_enc,
            b_enc,
            w_dec,
            b_dec,
            threshold.expand(len(b_enc)).clone(),
            site=site,
            apply_b_dec_to_input=apply_b_dec_to_input,
        )
    except (InputError, RuntimeError) as error:
        raise BundleError(f"{path}: these weights don't fit together ({error})") from error


def _load_gemma_scope(repo: str, folder: str, site: Site | None) -> SparseCoder:
    from huggingface_hub import hf_hub_download
    from sae_lens.loading.pretrained_sae_loaders import get_gemma_2_config_from_hf

    hook_name = get_gemma_2_config_from_hf(repo, folder, "cpu")["hook_name"]
    name = f"{folder}/{GEMMA_SCOPE_FILE}"
    path = _fetched(lambda: hf_hub_download(repo, name), f"{repo}, {name}")
    return load_weight_file(Path(path), site or Site.parse(hook_name))


def _fetched(fetch: Callable[[], Any], what: str) -> Any:
    """The result of `fetch`, or an error that says where it looked."""
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        return fetch()
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise ModelNotFound(
            f"{what}: not in the Hugging Face cache and not to be had from the hub ({_brief(error)}); "
            "download it on a machine with access and copy the cache"
        ) from error


def _check_normalization(config: Any) -> None:
    normalization = getattr(config, "normalize_activations", "none") or "none"
    if normalization == "expected_average_only_in":
        raise InputError(
            "expected an autoencoder whose input scale is folded in, got one with normalize_activations "
            "'expected_average_only_in'; call its fold_activation_norm_scaling_factor(scale) first"
        )
    if normalization != "none":
        raise InputError(
            f"expected an autoencoder that reads activations as they are, got one with normalize_activations "
            f"{normalization!r}, which differs from token to token and can't be folded into weights"
        )


def _site_of(metadata: Any) -> Site:
    if not metadata.hook_name:
        raise InputError(
            "expected a hook name in the autoencoder's metadata, got none; pass site=Site(layer)"
        )
    try:
        parsed = Site.parse(metadata.hook_name)
    except InputError as error:
        raise InputError(
            f"expected an autoencoder of a block's stream, got one of {metadata.hook_name!r} ({error})"
        ) from error
    return Site(parsed.layer, parsed.stream, metadata.hook_head_index)


def _standard(sae: Any) -> dict[str, Tensor]:
    return {"b_enc": sae.b_enc, "threshold": torch.zeros_like(sae.b_enc)}


def _jumprelu(sae: Any) -> dict[str, Tensor]:
    return {"b_enc": sae.b_enc, "threshold": sae.threshold}


def _shared(sae: Any) -> dict[str, Tensor]:
    return {"b_enc": sae.b_enc, "threshold": torch.ones_like(sae.b_enc) * float(sae.topk_threshold)}


def _gated(sae: Any) -> dict[str, Tensor]:
    """The gate `x @ W_enc + b_gate > 0`, said of the magnitude `e^r * (x @ W_enc) + b_mag`."""
    scale = sae.r_mag.exp()
    return {
        "W_enc": sae.W_enc * scale,
        "b_enc": sae.b_mag,
        "threshold": sae.b_mag - scale * sae.b_gate,
    }


_PARTS: Mapping[str, Callable[[Any], dict[str, Tensor]]] = {
    "standard": _standard,
    "jumprelu": _jumprelu,
    "gated": _gated,
    "topk": _standard,
    **dict.fromkeys(_SHARED_THRESHOLD, _shared),
}


def _renamed(name: str) -> str:
    return f"W_{name[2:]}" if name.startswith("w_") else name


def _read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a loose file, by name; nothing in it is run."""
    try:
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as archive:
                return {name: torch.from_numpy(archive[name]) for name in archive.files}
        if path.suffix == ".safetensors":
            return load_file(path)
        if path.suffix in (".pt", ".pth", ".bin"):
            content = torch.load(path, map_location="cpu", weights_only=True)
            if not isinstance(content, Mapping):
                raise BundleError(f"{path}: expected named weights, got {type(content).__name__}")
            return {str(name): part for name, part in content.items() if isinstance(part, Tensor)}
    except BundleError:
        raise
    except Exception as error:
        # Three readers, each with its own exceptions, pickle's among them: to a user they all mean the same.
        raise BundleError(
            f"{path}: expected plain weights that can be read without running code ({_brief(error)})"
        ) from error
    raise InputError(f"{path}: expected a .npz, .safetensors or .pt file, got {path.suffix or 'no suffix'}")


def _brief(error: Exception) -> str:
    """The first line of what other libraries say in many."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
