"""A disentangler that is not the one that was written is refused."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from ace_analysis.editing.disentangler import (
    ABOUT,
    Disentangler,
    disentanglers_of,
    find_disentangler,
    load_disentangler,
)
from ace_analysis.errors import BundleError, FingerprintError, StorageError
from ace_analysis.features.sparse_coder import SparseCoder
from ace_analysis.model.sites import Site


def made(layer: int = 2) -> Disentangler:
    coder = SparseCoder(
        W_enc=torch.ones(4, 6),
        b_enc=torch.zeros(6),
        W_dec=torch.ones(6, 4),
        b_dec=torch.zeros(4),
        threshold=torch.zeros(6),
        site=Site(layer, "mlp_out"),
    )
    return Disentangler(coder=coder, model="m", fingerprint="f" * 64, card={"l0": 2.5})


def test_it_is_found_by_its_layer_and_the_last_without(tmp_path: Path) -> None:
    for layer in (9, 22, 10):
        made(layer).save(tmp_path / "disentanglers" / f"layer-{layer}")
    assert list(disentanglers_of(tmp_path)) == [9, 10, 22]
    assert find_disentangler(tmp_path).layer == 22
    found = find_disentangler(tmp_path, 9)
    assert (found.layer, found.card, found.model) == (9, {"l0": 2.5}, "m")
    with pytest.raises(BundleError, match=r"of layer 9, 10, 22, got layer 3; .* --layer 3`"):
        find_disentangler(tmp_path, 3)


def test_another_coder_has_another_identity_and_the_same_one_read_again_has_not(tmp_path: Path) -> None:
    one = made()
    again = load_disentangler(one.save(tmp_path / "d"))
    assert again.identity() == one.identity()
    others = [made(3), replace(one, fingerprint="e" * 64)]
    for name in ("W_enc", "b_enc", "W_dec", "b_dec", "threshold"):
        changed = getattr(one.coder, name) + 0.5
        others.append(replace(one, coder=replace(one.coder, **{name: changed})))
    assert len({each.identity() for each in (one, *others)}) == 1 + len(others)


def test_a_bundle_without_one_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="`ace train disentangler`, or remove a direction"):
        find_disentangler(tmp_path)
    with pytest.raises(BundleError, match="expected a disentangler, found no such file"):
        load_disentangler(tmp_path)


def test_a_changed_or_unreadable_one_is_refused(tmp_path: Path) -> None:
    folder = made().save(tmp_path / "d")
    about = json.loads((folder / ABOUT).read_text())
    (folder / ABOUT).write_text(json.dumps(about | {"sha256": "0" * 64}))
    with pytest.raises(BundleError, match="damaged, expected the SHA-256 0000"):
        load_disentangler(folder)
    (folder / ABOUT).write_text(json.dumps({"format": 1}))
    with pytest.raises(BundleError, match="damaged or incomplete"):
        load_disentangler(folder)
    (folder / ABOUT).write_text(json.dumps({"format": 2}))
    with pytest.raises(BundleError, match="expected format 1"):
        load_disentangler(folder)
    (folder / ABOUT).write_text("{")
    with pytest.raises(BundleError, match="expected JSON"):
        load_disentangler(folder)


def test_another_model_is_refused() -> None:
    made().check_fingerprint("f" * 64)
    with pytest.raises(FingerprintError, match="expected the model that this disentangler was made for"):
        made().check_fingerprint("0" * 64)


def test_a_folder_that_can_t_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / ABOUT).mkdir()
    with pytest.raises(StorageError, match="can't be written"):
        made().save(tmp_path)
