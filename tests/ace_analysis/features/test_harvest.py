"""What is on disk is what the model gave, and a harvest that was stopped ends as if it had not been."""

import errno
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError

from ace_analysis.errors import Cancelled, FingerprintError, InputError, StorageError
from ace_analysis.features.examples import Tree, tree_of
from ace_analysis.features.harvest import (
    HarvestOptions,
    Shard,
    drop_projects,
    harvest,
    keep_trees,
    read_shard,
    run_trees,
    write_shard,
)
from ace_analysis.model.loading import load_scanner
from ace_analysis.model.scan import ResidualScanner
from ace_analysis.source.corpus import CodeFunction
from ace_analysis.source.mutation import MutationGenerator


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def shards_of(folder: Path) -> list[Path]:
    return sorted(folder.glob("shard-*.safetensors"))


def test_the_clean_functions_activations_are_those_of_the_function_alone(
    tiny_harvest: Path, tiny_scanner: ResidualScanner, some_functions: list[CodeFunction]
) -> None:
    shard = read_shard(shards_of(tiny_harvest)[0])
    tokens = tiny_scanner.tokenizer.encode(some_functions[0].header + some_functions[0].text).ids
    alone = tiny_scanner.resid_post(torch.tensor([tokens]), 1)[0]
    assert shard.ids[: len(tokens)].tolist() == tokens and shard.clean[: len(tokens)].all()
    torch.testing.assert_close(shard.resid[: len(tokens)].float(), alone, rtol=1e-2, atol=1e-2)


def test_rows_point_into_their_own_function_and_first_tokens_are_left_out(tiny_harvest: Path) -> None:
    for shard in map(read_shard, shards_of(tiny_harvest)):
        starts = (shard.clean & (shard.ids == shard.ids[0])).nonzero().flatten()
        assert len(starts) == len(shard.trees)
        assert not shard.keep[starts].any() and shard.keep.any()
        tree_of_token = torch.bucketize(shard.row_slots.long(), starts, right=True) - 1
        assert (tree_of_token == shard.row_tree[:, None]).all()
        known = shard.row_origin >= 0
        origin = shard.row_origin[known].long()
        assert (shard.row_variant[origin] == 0).all()
        assert (shard.row_tree[origin] == shard.row_tree[known]).all()


def test_a_harvest_that_was_stopped_goes_on_to_the_same_files(
    tiny_harvest: Path,
    tiny_scanner: ResidualScanner,
    some_functions: list[CodeFunction],
    harvest_options: HarvestOptions,
    tmp_path: Path,
) -> None:
    with pytest.raises(Cancelled, match="1 of 3 shards are complete"):
        harvest(
            some_functions,
            tiny_scanner,
            tmp_path,
            harvest_options,
            cancelled=lambda: any(tmp_path.glob("shard-*")),
        )
    assert [path.name for path in tmp_path.glob("shard-*")] == ["shard-00000.safetensors"]
    told: list[str] = []
    harvest(
        some_functions, tiny_scanner, tmp_path, harvest_options, progress=lambda text, _: told.append(text)
    )
    assert contents(tmp_path) == contents(tiny_harvest)
    assert told[-1] == "harvesting shard 3 of 3"


@pytest.mark.parametrize(
    ("changed", "named"),
    [({"layer": 0}, "layer"), ({"functions": 3}, "functions")],
    ids=["layer", "functions"],
)
def test_another_option_is_refused_by_name(
    tiny_harvest: Path,
    tiny_scanner: ResidualScanner,
    harvest_options: HarvestOptions,
    changed: dict[str, int],
    named: str,
) -> None:
    with pytest.raises(FingerprintError, match=f"another {named};"):
        harvest([], tiny_scanner, tiny_harvest, replace(harvest_options, **changed))


def test_another_model_is_refused(
    tiny_harvest: Path, tiny_llama: Path, harvest_options: HarvestOptions
) -> None:
    other = load_scanner(str(tiny_llama), device="cpu", dtype="float32", n_blocks=2)
    with pytest.raises(FingerprintError, match="another fingerprint, model"):
        harvest([], other, tiny_harvest, harvest_options)


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left"), SafetensorError("No space left")])
def test_a_full_disk_is_told_and_leaves_no_shard(
    monkeypatch: pytest.MonkeyPatch, tiny_harvest: Path, tmp_path: Path, error: Exception
) -> None:
    shard = read_shard(shards_of(tiny_harvest)[0])

    def full(*_: object) -> None:
        raise error

    monkeypatch.setattr("ace_analysis.features.harvest.save_file", full)
    with pytest.raises(StorageError, match=r"No space left.*what is complete is kept"):
        write_shard(tmp_path / "shard-00000.safetensors", shard)
    assert not list(tmp_path.glob("shard-*"))


def test_a_folder_that_can_t_be_made_is_told(
    tiny_scanner: ResidualScanner, harvest_options: HarvestOptions, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="can't be written"):
        harvest([], tiny_scanner, tmp_path / "file", harvest_options)


def test_a_shard_reads_back_as_it_was_written(
    shard_of: Callable[[torch.Tensor, torch.Tensor], Shard], tmp_path: Path
) -> None:
    shard = shard_of(torch.randn(5, 3), torch.tensor([False, True, True, True, False]))
    write_shard(tmp_path / "shard-00000.safetensors", shard)
    again = read_shard(tmp_path / "shard-00000.safetensors")
    assert again.trees == shard.trees
    assert torch.equal(again.resid, shard.resid) and torch.equal(again.keep, shard.keep)


ONE_BY_ONE = 1
"""A token budget that lets no tree share a batch, so that numbers don't depend on what is beside it."""


@pytest.fixture
def trees(
    tiny_scanner: ResidualScanner, some_functions: list[CodeFunction], harvest_options: HarvestOptions
) -> list[Tree]:
    encode = tiny_scanner.tokenizer.encode
    found = (tree_of(f, MutationGenerator(0), encode, harvest_options.tree) for f in some_functions)
    return [tree for tree in found if tree]


def assert_same(one: Shard, other: Shard) -> None:
    for name in Shard.__slots__:
        if name == "trees":
            assert one.trees == other.trees
        else:
            first, second = getattr(one, name), getattr(other, name)
            assert first.dtype == second.dtype and torch.equal(first, second), name


def test_a_shard_without_a_project_is_the_shard_that_never_had_it(
    trees: list[Tree], tiny_scanner: ResidualScanner, harvest_options: HarvestOptions
) -> None:
    options = replace(harvest_options, token_budget=ONE_BY_ONE)
    whole = run_trees(trees, tiny_scanner, options)
    for project in ("project0", "project1"):
        others = [tree for tree in trees if tree.project != project]
        assert 0 < len(others) < len(trees)
        assert_same(drop_projects(whole, {project}), run_trees(others, tiny_scanner, options))


def test_dropping_is_nothing_for_strangers_and_everything_for_all(tiny_harvest: Path) -> None:
    shard = read_shard(shards_of(tiny_harvest)[0])
    assert_same(drop_projects(shard, {"another"}), shard)
    empty = drop_projects(shard, {"project0", "project1"})
    assert not empty.trees and not len(empty.ids) and not len(empty.row_label)
    assert empty.resid.shape == (0, shard.resid.shape[1])


def test_trees_that_can_t_be_told_apart_are_refused(
    tiny_harvest: Path, shard_of: Callable[[torch.Tensor, torch.Tensor], Shard]
) -> None:
    shard = read_shard(shards_of(tiny_harvest)[0])
    with pytest.raises(InputError, match="one choice for each of 2 trees, got 1"):
        keep_trees(shard, [True])
    with pytest.raises(InputError, match="expected a shard of 1 trees, got tokens of 2; harvest again"):
        drop_projects(replace(shard, trees=shard.trees[:1]), {"a"})
