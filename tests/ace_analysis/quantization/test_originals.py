"""The exact weights are read from where they are, and nothing else passes for them."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from ace_analysis.errors import ModelError, StorageError
from ace_analysis.quantization.originals import Originals
from ace_analysis.quantization.parts import Parts
from ace_analysis.settings import cache_dir

from .conftest import Load


def kept_in() -> list[Path]:
    return sorted((cache_dir() / "originals").glob("*/*"))


def test_weights_are_read_from_the_models_own_files(load: Load, tiny_model: Path) -> None:
    parts = Parts.of(load(tiny_model))
    originals = Originals(parts.folder)
    for block in parts.blocks:
        for part, original in zip(block, originals.keep(block), strict=True):
            assert original.file.parent == tiny_model
            assert torch.equal(original.read(), part.linear.weight)
    assert originals.written_bytes == 0


def test_only_the_rows_and_columns_that_are_asked_for_are_read(qwen2: Any, tiny_qwen2: Path) -> None:
    block = Parts.of(qwen2).blocks[2]
    for part, original in zip(block, Originals(tiny_qwen2).keep(block), strict=True):
        weight = part.linear.weight
        assert torch.equal(original.read(rows=slice(4, 12)), weight[4:12])
        assert torch.equal(original.read(columns=slice(4, 12)), weight[:, 4:12])


def test_a_model_in_a_narrower_dtype_gets_what_it_had(tiny_qwen2: Path, qwen2: Any) -> None:
    block = Parts.of(qwen2.to(torch.bfloat16)).blocks[0]
    originals = Originals(tiny_qwen2)
    for part, original in zip(block, originals.keep(block), strict=True):
        assert original.file.parent == tiny_qwen2 and torch.equal(original.read(), part.linear.weight)


def test_weights_in_several_files_are_found(qwen2: Any, tmp_path: Path) -> None:
    qwen2.save_pretrained(tmp_path, max_shard_size="20KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 2
    originals = Originals(tmp_path)
    for block in Parts.of(qwen2).blocks:
        originals.keep(block)
    assert originals.written_bytes == 0


def test_weights_that_were_changed_in_memory_are_written_and_no_others(qwen2: Any, tiny_qwen2: Path) -> None:
    block = Parts.of(qwen2).blocks[1]
    with torch.no_grad():
        block[0].linear.weight[0, 0] += 1
    originals = Originals(tiny_qwen2)
    found = originals.keep(block)
    assert originals.written_bytes == block[0].linear.weight.nbytes
    assert [original.file.parent == tiny_qwen2 for original in found] == [False] + [True] * 6
    assert torch.equal(found[0].read(), block[0].linear.weight)


def test_a_model_built_in_memory_is_written_to_the_cache_and_removed_at_the_end(qwen2: Any) -> None:
    parts = Parts.of(qwen2)
    originals = Originals(None)
    kept = [originals.keep(block) for block in parts.blocks]
    assert len(kept_in()) == 4
    assert originals.written_bytes == sum(part.linear.weight.nbytes for part in parts)
    for block, found in zip(parts.blocks, kept, strict=True):
        assert all(
            torch.equal(each.read(), part.linear.weight) for part, each in zip(block, found, strict=True)
        )
    originals.close()
    assert kept_in() == [] and originals.written_bytes == 0


def test_what_was_written_goes_with_its_owner(qwen2: Any) -> None:
    originals = Originals(None)
    originals.keep(Parts.of(qwen2).blocks[0])
    assert kept_in()
    del originals
    assert kept_in() == []


def test_a_full_disk_is_told(qwen2: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda folder: _Full())
    with pytest.raises(StorageError, match=r"expected 0 MB free in .*originals, got 0 MB; make room"):
        Originals(None).keep(Parts.of(qwen2).blocks[0])


class _Full:
    free = 0


def test_a_file_that_is_no_file_of_weights_is_passed_over(qwen2: Any, tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"not weights")
    originals = Originals(tmp_path)
    originals.keep(Parts.of(qwen2).blocks[0])
    assert originals.written_bytes > 0


def test_a_file_of_another_shape_is_passed_over(qwen2: Any, tmp_path: Path) -> None:
    save_file({"model.layers.0.self_attn.q_proj.weight": torch.zeros(2, 2)}, tmp_path / "a.safetensors")
    originals = Originals(tmp_path)
    originals.keep(Parts.of(qwen2).blocks[0])
    assert originals.written_bytes > 0


def test_a_file_that_changes_is_noticed(qwen2: Any, tmp_path: Path) -> None:
    qwen2.save_pretrained(tmp_path)
    original = Originals(tmp_path).keep(Parts.of(qwen2).blocks[0])[0]
    weights = load_file(original.file)
    save_file({**weights, "more": torch.zeros(1)}, original.file)
    with pytest.raises(ModelError, match="as it was when the model was quantized, got another one; load"):
        original.read()


def test_a_file_that_is_gone_is_noticed(qwen2: Any, tmp_path: Path) -> None:
    qwen2.save_pretrained(tmp_path)
    original = Originals(tmp_path).keep(Parts.of(qwen2).blocks[0])[0]
    original.file.unlink()
    with pytest.raises(ModelError, match=r"expected the exact weights in .*, got: .*; load the model again"):
        original.read()
