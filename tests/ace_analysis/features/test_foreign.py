"""Autoencoders of others, compared with what sae_lens itself computes."""

import io
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sae_lens import (
    SAE,
    BatchTopKTrainingSAE,
    BatchTopKTrainingSAEConfig,
    GatedSAE,
    GatedSAEConfig,
    JumpReLUSAE,
    JumpReLUSAEConfig,
    StandardSAE,
    StandardSAEConfig,
    TopKSAE,
    TopKSAEConfig,
)
from sae_lens.saes.sae import SAEMetadata
from safetensors.torch import save_file

from ace_analysis.errors import BundleError, InputError, ModelNotFound
from ace_analysis.features.foreign import coder_of_sae, load_weight_file
from ace_analysis.features.storage import load_sparse_coder
from ace_analysis.model.sites import Site

D_IN, D_SAE = 12, 30
HOOK = SAEMetadata(hook_name="blocks.3.hook_resid_post")
KINDS = {
    "standard": (StandardSAE, StandardSAEConfig),
    "jumprelu": (JumpReLUSAE, JumpReLUSAEConfig),
    "gated": (GatedSAE, GatedSAEConfig),
    "topk": (TopKSAE, TopKSAEConfig),
    "batchtopk": (BatchTopKTrainingSAE, BatchTopKTrainingSAEConfig),
}


def sae_of(kind: str, **changes: Any) -> Any:
    """A sae_lens autoencoder with random weights, biases and thresholds."""
    torch.manual_seed(1)
    make, configure = KINDS[kind]
    extra = {"k": 5} if "topk" in kind else {}
    sae = make(configure(**{"d_in": D_IN, "d_sae": D_SAE, "metadata": HOOK, **extra, **changes}))
    with torch.no_grad():
        for name, parameter in sae.named_parameters():
            noise = torch.randn_like(parameter) * (1.0 if name.startswith("W") else 0.4)
            parameter.copy_(noise)
    return sae


@pytest.fixture(params=[True, False], ids=["subtracts b_dec", "does not"])
def subtracts(request: pytest.FixtureRequest) -> bool:
    return request.param


@pytest.mark.parametrize("kind", ["standard", "jumprelu", "gated", "topk"])
def test_a_converted_autoencoder_encodes_and_decodes_as_before(kind: str, subtracts: bool) -> None:
    sae = sae_of(kind, apply_b_dec_to_input=subtracts)
    coder, x = coder_of_sae(sae), torch.randn(64, D_IN)
    wanted = sae.encode(x)
    assert 0.02 < (wanted > 0).float().mean() < 0.9
    assert torch.allclose(coder.encode(x), wanted, atol=1e-5)
    assert torch.allclose(coder.decode(coder.encode(x)), sae.decode(wanted), atol=1e-4)
    assert coder.site == Site(3)


def test_a_top_k_whose_activations_are_scaled_by_the_decoder_is_folded() -> None:
    sae = sae_of("topk", rescale_acts_by_decoder_norm=True)
    coder, x = coder_of_sae(sae), torch.randn(64, D_IN)
    assert torch.allclose(coder.encode(x), sae.encode(x), atol=1e-4)
    assert torch.allclose(coder.decode(coder.encode(x)), sae.decode(sae.encode(x)), atol=1e-4)


def test_a_batch_top_k_in_training_is_what_it_will_be_saved_as(tmp_path: Path) -> None:
    sae = sae_of("batchtopk")
    sae.topk_threshold = torch.tensor(1.5, dtype=torch.double)
    sae.save_inference_model(tmp_path)
    saved, x = SAE.load_from_disk(tmp_path), torch.randn(64, D_IN)
    coder = coder_of_sae(sae)
    assert torch.allclose(coder.encode(x), saved.encode(x), atol=1e-4)
    assert torch.allclose(coder.decode(coder.encode(x)), saved.decode(saved.encode(x)), atol=1e-4)


@pytest.mark.parametrize("kind", ["standard", "jumprelu", "gated", "topk", "batchtopk"])
def test_a_folder_that_sae_lens_wrote_is_read(tmp_path: Path, kind: str) -> None:
    sae = sae_of(kind)
    sae.save_inference_model(tmp_path) if kind == "batchtopk" else sae.save_model(tmp_path)
    x = torch.randn(16, D_IN)
    wanted = SAE.load_from_disk(tmp_path).encode(x)
    assert torch.allclose(load_sparse_coder(tmp_path).encode(x), wanted, atol=1e-4)


def test_a_site_can_be_given_where_the_metadata_names_none() -> None:
    sae = sae_of("standard", metadata=SAEMetadata())
    assert coder_of_sae(sae, Site(5)).site == Site(5)
    with pytest.raises(InputError, match="expected a hook name in the autoencoder's metadata, got none"):
        coder_of_sae(sae)


def test_an_autoencoder_of_something_that_is_no_blocks_stream_is_refused() -> None:
    sae = sae_of("standard", metadata=SAEMetadata(hook_name="hook_embed"))
    with pytest.raises(InputError, match="expected an autoencoder of a block's stream, got one of 'hook_em"):
        coder_of_sae(sae)


@pytest.mark.parametrize(
    ("normalization", "message"),
    [
        ("expected_average_only_in", "call its fold_activation_norm_scaling_factor"),
        ("layer_norm", "differs from token to token and can't be folded"),
    ],
)
def test_a_scale_that_is_not_folded_in_is_refused(normalization: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        coder_of_sae(sae_of("standard", normalize_activations=normalization))


def test_a_folded_scale_is_part_of_the_weights() -> None:
    sae = sae_of("standard", normalize_activations="expected_average_only_in")
    sae.fold_activation_norm_scaling_factor(0.25)
    x = torch.randn(8, D_IN)
    assert torch.allclose(coder_of_sae(sae).encode(x), sae.encode(x), atol=1e-5)


def test_an_architecture_that_is_no_jump_relu_is_refused() -> None:
    from sae_lens.saes.matching_pursuit_sae import MatchingPursuitSAE, MatchingPursuitSAEConfig

    sae = MatchingPursuitSAE(MatchingPursuitSAEConfig(d_in=D_IN, d_sae=D_SAE))
    with pytest.raises(InputError, match=r"expected an autoencoder of architecture standard, .* 'matching_p"):
        coder_of_sae(sae)


@pytest.mark.parametrize("content", ["{}", "not json", '{"architecture": "no such"}'])
def test_a_broken_sae_lens_folder_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "cfg.json").write_text(content)
    with pytest.raises(BundleError, match="expected an autoencoder that sae_lens saved"):
        load_sparse_coder(tmp_path)


# --- loose files ----------------------------------------------------------------------------------------


def gemma_scope_weights() -> dict[str, np.ndarray]:
    """What a params.npz of Gemma Scope holds, small."""
    random = np.random.default_rng(0)
    return {
        "W_dec": random.normal(size=(D_SAE, D_IN)).astype(np.float32),
        "W_enc": random.normal(size=(D_IN, D_SAE)).astype(np.float32),
        "b_dec": random.normal(size=D_IN).astype(np.float32),
        "b_enc": random.normal(size=D_SAE).astype(np.float32),
        "threshold": random.uniform(size=D_SAE).astype(np.float32),
    }


def by_hand(weights: dict[str, np.ndarray], x: torch.Tensor) -> torch.Tensor:
    parts = {name: torch.from_numpy(part) for name, part in weights.items()}
    pre = x @ parts["W_enc"] + parts["b_enc"]
    return pre * (pre > parts["threshold"])


def write_npz(path: Path, weights: dict[str, np.ndarray]) -> None:
    np.savez(path, **weights)


def write_pt(path: Path, weights: dict[str, np.ndarray]) -> None:
    torch.save({name: torch.from_numpy(part) for name, part in weights.items()}, path)


def write_safetensors(path: Path, weights: dict[str, np.ndarray]) -> None:
    save_file({name: torch.from_numpy(part) for name, part in weights.items()}, path)


@pytest.mark.parametrize(
    ("name", "write"),
    [("params.npz", write_npz), ("sae.pt", write_pt), ("sae.safetensors", write_safetensors)],
)
def test_named_weights_are_read_from_any_of_the_three_formats(
    tmp_path: Path, name: str, write: Callable[[Path, dict[str, np.ndarray]], None]
) -> None:
    weights = gemma_scope_weights()
    write(tmp_path / name, weights)
    coder, x = load_sparse_coder(tmp_path / name, site=Site(12)), torch.randn(20, D_IN)
    assert torch.allclose(coder.encode(x), by_hand(weights, x), atol=1e-5)
    assert coder.site == Site(12)


def test_names_in_lower_case_and_without_thresholds_are_read_too(tmp_path: Path) -> None:
    weights = gemma_scope_weights()
    renamed = {name.replace("W_", "w_"): part for name, part in weights.items() if name != "threshold"}
    write_npz(tmp_path / "params.npz", renamed)
    coder = load_weight_file(tmp_path / "params.npz", Site(0), apply_b_dec_to_input=True)
    x = torch.randn(20, D_IN)
    wanted = ((x - coder.b_dec) @ coder.W_enc + coder.b_enc).relu()
    assert torch.allclose(coder.encode(x), wanted, atol=1e-5)


class Trap:
    """Touches a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return (Path.touch, (self.path,))


def test_a_torch_file_that_would_run_code_is_refused_and_runs_none(tmp_path: Path) -> None:
    torch.save({"W_enc": Trap(tmp_path / "ran")}, tmp_path / "sae.pt")
    with pytest.raises(BundleError, match="expected plain weights that can be read without running code"):
        load_sparse_coder(tmp_path / "sae.pt", site=Site(0))
    assert not (tmp_path / "ran").exists()


def test_a_numpy_archive_that_would_run_code_is_refused_and_runs_none(tmp_path: Path) -> None:
    array = io.BytesIO()
    np.lib.format.write_array_header_1_0(array, {"descr": "|O", "fortran_order": False, "shape": (1,)})
    array.write(pickle.dumps(Trap(tmp_path / "ran")))
    with zipfile.ZipFile(tmp_path / "params.npz", "w") as archive:
        archive.writestr("W_enc.npy", array.getvalue())
    with pytest.raises(BundleError, match="expected plain weights that can be read without running code"):
        load_sparse_coder(tmp_path / "params.npz", site=Site(0))
    assert not (tmp_path / "ran").exists()


def test_a_torch_file_of_something_else_is_refused(tmp_path: Path) -> None:
    torch.save([torch.zeros(2)], tmp_path / "sae.pt")
    with pytest.raises(BundleError, match="expected named weights, got list"):
        load_sparse_coder(tmp_path / "sae.pt", site=Site(0))


def test_weights_of_other_names_are_listed(tmp_path: Path) -> None:
    write_npz(tmp_path / "params.npz", {"encoder": np.zeros(3)})
    with pytest.raises(BundleError, match="expected weights W_enc, b_enc, W_dec, b_dec, got encoder"):
        load_sparse_coder(tmp_path / "params.npz", site=Site(0))


@pytest.mark.usefixtures("unchecked_shapes")
def test_weights_that_do_not_fit_together_are_refused(tmp_path: Path) -> None:
    write_npz(tmp_path / "params.npz", {**gemma_scope_weights(), "b_dec": np.zeros(3)})
    with pytest.raises(BundleError, match="these weights don't fit together"):
        load_sparse_coder(tmp_path / "params.npz", site=Site(0))


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    (tmp_path / "sae.onnx").touch()
    with pytest.raises(InputError, match=r"expected a .npz, .safetensors or .pt file, got .onnx"):
        load_sparse_coder(tmp_path / "sae.onnx", site=Site(0))


# --- releases -------------------------------------------------------------------------------------------

RELEASE, SAE_ID = "gemma-scope-2b-pt-res-canonical", "layer_12/width_16k/canonical"
REVISION = "0" * 40


@pytest.fixture
def hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty Hugging Face cache, and no way to the hub."""
    import huggingface_hub.constants as constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return tmp_path / "hub"


def put_into_cache(hub_cache: Path, repo: str, name: str) -> Path:
    """The place where the cache keeps a repository's file."""
    root = hub_cache / f"models--{repo.replace('/', '--')}"
    (root / "refs").mkdir(parents=True, exist_ok=True)
    (root / "refs/main").write_text(REVISION)
    path = root / "snapshots" / REVISION / name
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def test_gemma_scope_is_read_offline_from_the_hubs_cache(hub_cache: Path) -> None:
    from sae_lens.loading.pretrained_saes_directory import get_pretrained_saes_directory

    folder = get_pretrained_saes_directory()[RELEASE].saes_map[SAE_ID]
    weights = gemma_scope_weights()
    write_npz(put_into_cache(hub_cache, "google/gemma-scope-2b-pt-res", f"{folder}/params.npz"), weights)
    coder, x = load_sparse_coder(RELEASE, SAE_ID), torch.randn(20, D_IN)
    assert torch.allclose(coder.encode(x), by_hand(weights, x), atol=1e-5)
    assert coder.site == Site(12) and not coder.apply_b_dec_to_input


def test_another_release_is_read_through_sae_lens(hub_cache: Path, tmp_path: Path) -> None:
    sae = sae_of("jumprelu")
    sae.save_model(tmp_path / "saved")
    for name in ("cfg.json", "sae_weights.safetensors"):
        cached = put_into_cache(hub_cache, "someone/saes", f"layer_3/{name}")
        cached.write_bytes((tmp_path / "saved" / name).read_bytes())
    x = torch.randn(8, D_IN)
    coder = load_sparse_coder("someone/saes", "layer_3")
    assert torch.allclose(coder.encode(x), sae.encode(x), atol=1e-5)


def test_a_release_that_is_not_in_the_cache_says_so(hub_cache: Path) -> None:
    with pytest.raises(ModelNotFound, match="not in the Hugging Face cache and not to be had") as caught:
        load_sparse_coder(RELEASE, SAE_ID)
    assert "params.npz" in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("sae_id", [None, "layer_99"])
def test_a_release_without_a_known_id_lists_some(hub_cache: Path, sae_id: str | None) -> None:
    with pytest.raises(ModelNotFound, match="expected an sae_id such as layer_0/width_16k/canonical"):
        load_sparse_coder(RELEASE, sae_id)


def test_a_name_that_is_neither_a_file_nor_a_release_says_so(hub_cache: Path) -> None:
    with pytest.raises(ModelNotFound, match="there is neither a file nor a release of that name"):
        load_sparse_coder("no-such-thing", "id")
