"""Sparse coders written and read."""

import json
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from ace_analysis.errors import BundleError, InputError, StorageError
from ace_analysis.features.sparse_coder import SparseCoder
from ace_analysis.features.storage import (
    CODER_FILE,
    CoderDtype,
    is_own_coder,
    load_own_coder,
    load_sparse_coder,
    save_sparse_coder,
)
from ace_analysis.model.sites import Site


@pytest.fixture
def coder() -> SparseCoder:
    torch.manual_seed(0)
    return SparseCoder(
        torch.randn(16, 40),
        torch.randn(40),
        torch.randn(40, 16),
        torch.randn(16),
        torch.rand(40),
        Site(9, "z", 2),
        apply_b_dec_to_input=False,
        k=7,
    )


@pytest.mark.parametrize(("dtype", "largest_error"), [("fp32", 0.0), ("bf16", 2**-8), ("int8", 0.5 / 127)])
def test_a_coder_comes_back_within_the_rounding_of_its_format(
    coder: SparseCoder, tmp_path: Path, dtype: CoderDtype, largest_error: float
) -> None:
    save_sparse_coder(tmp_path, coder, dtype)
    back = load_sparse_coder(tmp_path)
    for name, axis in (("W_enc", 0), ("W_dec", 1)):
        before, after = getattr(coder, name), getattr(back, name)
        assert after.dtype == torch.float32
        largest = before.abs().amax(dim=axis, keepdim=True)
        assert ((before - after).abs() <= largest_error * largest + 1e-9).all()
    for name in ("b_enc", "b_dec", "threshold"):
        assert torch.equal(getattr(coder, name), getattr(back, name))
    assert (back.site, back.apply_b_dec_to_input, back.k) == (coder.site, False, 7)


def test_int8_takes_a_quarter_of_fp32(coder: SparseCoder, tmp_path: Path) -> None:
    sizes = {}
    for dtype in ("fp32", "bf16", "int8"):
        tensors = load_file(save_sparse_coder(tmp_path / dtype, coder, dtype))
        sizes[dtype] = sum(tensors[name].nbytes for name in ("W_enc", "W_dec"))
    assert sizes["fp32"] == 2 * sizes["bf16"] == 4 * sizes["int8"]


def test_a_latent_of_zeros_survives_int8(coder: SparseCoder, tmp_path: Path) -> None:
    coder.W_dec[3] = 0.0
    save_sparse_coder(tmp_path, coder, "int8")
    assert torch.equal(load_own_coder(tmp_path).W_dec[3], torch.zeros(16))


def test_a_coder_is_read_in_the_dtype_that_is_asked_for(coder: SparseCoder, tmp_path: Path) -> None:
    save_sparse_coder(tmp_path, coder)
    back = load_own_coder(tmp_path / CODER_FILE, dtype=torch.bfloat16)
    assert back.dtype == torch.bfloat16 and back.b_enc.dtype == torch.float32


def test_nothing_but_the_coder_is_left_behind(coder: SparseCoder, tmp_path: Path) -> None:
    save_sparse_coder(tmp_path, coder)
    save_sparse_coder(tmp_path, coder, "int8")
    assert [path.name for path in tmp_path.iterdir()] == [CODER_FILE]


@pytest.mark.usefixtures("unchecked_shapes")
def test_an_unknown_dtype_is_refused(coder: SparseCoder, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="dtype: expected fp32, bf16 or int8, got 'int4'"):
        save_sparse_coder(tmp_path, coder, "int4")  # pyright: ignore[reportArgumentType]


def test_a_folder_that_cannot_be_written_is_a_storage_error(coder: SparseCoder, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError, match="can't be written"):
        save_sparse_coder(tmp_path / "file", coder)


# --- files that are not ours or not whole ---------------------------------------------------------------


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=f"{CODER_FILE}: expected a sparse coder, found no such file"):
        load_own_coder(tmp_path)


def test_a_file_cut_short_is_damaged(coder: SparseCoder, tmp_path: Path) -> None:
    path = save_sparse_coder(tmp_path, coder)
    os.truncate(path, path.stat().st_size // 2)
    assert not is_own_coder(tmp_path)
    with pytest.raises(BundleError, match="damaged or incomplete"):
        load_own_coder(tmp_path)


@pytest.mark.parametrize("missing", ["W_enc", "threshold"])
def test_a_file_without_a_part_is_damaged(coder: SparseCoder, tmp_path: Path, missing: str) -> None:
    path = save_sparse_coder(tmp_path, coder)
    tensors = load_file(path)
    del tensors[missing]
    save_file(tensors, path, {"format": "ace-sparse-coder", "version": "1", "coder": json.dumps(ABOUT)})
    with pytest.raises(BundleError, match=f"damaged or incomplete .*{missing}"):
        load_own_coder(path)


ABOUT = {"layer": 1, "stream": "resid_post", "head": None, "apply_b_dec_to_input": True, "k": None}


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        (None, "expected a file of format ace-sparse-coder, got None"),
        ({"format": "other"}, "expected a file of format ace-sparse-coder, got 'other'"),
        ({"format": "ace-sparse-coder", "version": "9"}, "expected version 1 of the format, got 9; update"),
        ({"format": "ace-sparse-coder", "version": "1", "coder": "{}"}, "damaged or incomplete"),
        ({"format": "ace-sparse-coder", "version": "1", "coder": "["}, "damaged or incomplete"),
    ],
)
def test_a_file_of_another_format_is_refused(
    tmp_path: Path, metadata: dict[str, str] | None, message: str
) -> None:
    path = tmp_path / CODER_FILE
    save_file({name: torch.zeros(1) for name in ("W_enc", "W_dec")}, path, metadata)
    with pytest.raises(BundleError, match=message):
        load_own_coder(path)


def test_a_folder_with_nothing_that_is_known_says_what_it_looked_for(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"expected sparse_coder.safetensors, sae_lens' cfg.json or params"):
        load_sparse_coder(tmp_path)


def test_a_loose_file_needs_a_site(tmp_path: Path) -> None:
    path = tmp_path / "params.npz"
    path.touch()
    with pytest.raises(InputError, match="doesn't say where its activations come from; pass site"):
        load_sparse_coder(path)
