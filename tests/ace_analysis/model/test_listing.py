"""What is listed is here, what is removed is ours, and what can't be had again is not cleared by the way."""

import json
import shutil
from pathlib import Path

import pytest
from huggingface_hub import constants

from ace_analysis.errors import InputError, ModelNotFound
from ace_analysis.model.catalogue import KNOWN
from ace_analysis.model.conversions import downloads_dir, models_dir
from ace_analysis.model.edits import EDITS
from ace_analysis.model.listing import (
    BUNDLES,
    MODELS,
    OTHER,
    RESULTS,
    clear,
    delete,
    details_of,
    kept_sizes,
    list_models,
    removable,
)
from ace_analysis.model.store import resolve_model
from ace_analysis.settings import DEFAULT_MODEL


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("ACE_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "cache"


@pytest.fixture
def converted(tiny_gguf: Path) -> Path:
    return resolve_model(str(tiny_gguf)).folder


def filled(cache: Path) -> None:
    for name, size in ((RESULTS, 3), (BUNDLES, 5), (MODELS, 7), ("old", 11)):
        (cache / name).mkdir(parents=True)
        (cache / name / "file").write_bytes(b"x" * size)


def test_the_catalogue_is_listed_with_what_a_download_takes() -> None:
    listed = {model.name: model for model in list_models()}
    assert set(listed) == set(KNOWN)
    assert not listed[DEFAULT_MODEL].installed and listed[DEFAULT_MODEL].bytes == 491_400_064


def test_what_was_converted_is_listed_with_its_folder(converted: Path) -> None:
    (tiny,) = [model for model in list_models() if model.name == "tiny"]
    assert tiny.installed and tiny.folder == str(converted) and tiny.bytes > 0


def test_an_alias_whose_model_is_in_the_hubs_cache_is_listed(tiny_gemma2: Path, tmp_path: Path) -> None:
    root = tmp_path / "hub/models--google--gemma-2-2b"
    shutil.copytree(tiny_gemma2, root / "snapshots" / ("0" * 40))
    (root / "refs").mkdir()
    (root / "refs/main").write_text("0" * 40)
    (gemma,) = [model for model in list_models() if model.name == "gemma-2-2b"]
    assert gemma.installed and gemma.about == "google/gemma-2-2b, in the Hugging Face hub's cache"


def test_details_tell_the_architecture(tiny_model: Path) -> None:
    details = details_of(str(tiny_model))
    architecture = json.loads((tiny_model / "config.json").read_text())["architectures"][0]
    assert (details.architecture, details.n_layers, details.d_model) == (architecture, 4, 32)


def test_a_removed_model_is_gone(converted: Path) -> None:
    assert delete(removable("Tiny")) > 0
    assert not converted.exists()
    with pytest.raises(ModelNotFound):
        removable("tiny")


def test_an_unfinished_download_is_removable() -> None:
    downloads_dir().mkdir(parents=True)
    partial = downloads_dir() / f"{KNOWN[DEFAULT_MODEL].file}.partial"
    partial.write_bytes(b"12345")
    assert removable(DEFAULT_MODEL) == {partial: 5}
    assert delete(removable(DEFAULT_MODEL)) == 5 and not partial.exists()


def test_what_is_not_ours_is_not_removable(tiny_qwen2: Path) -> None:
    with pytest.raises(ModelNotFound, match=r"expected a model that ACE keeps in .* hf cache rm"):
        removable(str(tiny_qwen2))


def test_sizes_cover_everything_below_the_cache_folder(cache: Path) -> None:
    filled(cache)
    assert kept_sizes() == {RESULTS: 3, BUNDLES: 5, MODELS: 7, EDITS: 0, OTHER: 11}


def test_an_empty_cache_has_no_size() -> None:
    assert set(kept_sizes().values()) == {0}


@pytest.mark.parametrize("part", [RESULTS, BUNDLES, MODELS, OTHER])
def test_clearing_one_part_leaves_the_others(part: str, cache: Path) -> None:
    filled(cache)
    before = kept_sizes()
    assert clear(part) == before[part]
    assert kept_sizes() == {**before, part: 0}


def test_clearing_models_removes_conversions_and_keeps_locks(converted: Path) -> None:
    clear(MODELS)
    assert not converted.exists()
    assert {path.suffix for path in models_dir().iterdir()} == {".lock"}


def test_edits_are_cleared_by_nothing_and_told_to_be_undone(tmp_path, monkeypatch):
    monkeypatch.setenv("ACE_CACHE_DIR", str(tmp_path))
    description = tmp_path / EDITS / "mine" / "model.json"
    description.parent.mkdir(parents=True)
    edits = [{"sha256": "ab" * 32}]
    described = {"format": 1, "base": "qwen2.5-coder-0.5b-instruct", "base_fingerprint": "f", "edits": edits}
    description.write_text(json.dumps(described), encoding="utf-8")
    for part in (MODELS, RESULTS, BUNDLES, OTHER):
        clear(part)
    assert description.is_file() and kept_sizes()[EDITS] > 0
    with pytest.raises(InputError, match="a part that can be had again, got 'edits'"):
        clear(EDITS)
    with pytest.raises(InputError, match="is undone and not removed: ace edit undo mine"):
        removable("mine")
    (listed,) = [each for each in list_models() if each.name == "mine"]
    assert listed.about == "qwen2.5-coder-0.5b-instruct with 1 edit, and that model's bundle"
    assert not listed.installed
    description.write_text("{", encoding="utf-8")
    assert next(each.about for each in list_models() if each.name == "mine").endswith("lie beside it")
