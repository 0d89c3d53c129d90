"""A disentangler is made of a harvest's functions, stopped and gone on with, measured and kept."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from ace_analysis.editing.disentangler import load_disentangler
from ace_analysis.errors import Cancelled, FingerprintError, InputError
from ace_analysis.evaluation.disentangler import (
    DisentanglerOptions,
    Telling,
    make_disentangler,
    mlp_out,
)
from ace_analysis.features.examples import TreeOptions
from ace_analysis.features.harvest import HarvestOptions, harvest, read_shard
from ace_analysis.features.training import TrainingOptions
from ace_analysis.model.hooks import hooks
from ace_analysis.model.loading import load_scanner
from ace_analysis.source.corpus import CodeFunction

FEW = DisentanglerOptions(
    layer=2,
    distinct=5000,
    training=TrainingOptions(d_sae=48, k=4.0, tokens=6400, batch=64, checkpoint_steps=5),
    loss_functions=2,
    device="cpu",
    dtype="float32",
)


@pytest.fixture(scope="module")
def folder(
    tiny_qwen2: Path, few_functions: list[CodeFunction], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    folder = tmp_path_factory.mktemp("three-splits")
    scanner = load_scanner(str(tiny_qwen2), device="cpu", dtype="float32")
    options = HarvestOptions(layer=1, tree=TreeOptions(), functions=4)
    for split in ("train", "validation", "test"):
        harvest(few_functions, scanner, folder / split, options)
        about = folder / split / "harvest.json"
        told = json.loads(about.read_text()) | {"model": str(tiny_qwen2)}
        about.write_text(json.dumps(told))
    return folder


def test_what_is_kept_is_what_the_mlp_wrote(tiny_qwen2: Path) -> None:
    scanner = load_scanner(str(tiny_qwen2), device="cpu", dtype="float32")
    texts = [torch.arange(5, 12), torch.arange(30, 33)]
    got = mlp_out(scanner, texts, 2)
    seen: list[torch.Tensor] = []
    block = scanner.decoder.layers[2]  # type: ignore[index]
    with hooks(after=[(block.mlp.down_proj, lambda _, __, out: seen.append(out[0]))]):
        scanner.resid_post(texts[1][None], 2)
    assert [len(each) for each in got] == [7, 3]
    assert torch.allclose(got[1], seen[0], atol=1e-5)


def test_it_is_made_kept_and_read_again(folder: Path, tmp_path: Path) -> None:
    made = make_disentangler(folder, tmp_path / "work", FEW)
    assert (made.layer, made.coder.site.stream, made.coder.d_sae) == (2, "mlp_out", 48)
    assert 0 < made.card["explained_variance"] <= 1 and made.card["ce"]["tokens"] > 0
    made.save(tmp_path / "kept")
    read = load_disentangler(tmp_path / "kept")
    assert torch.equal(read.coder.W_dec, made.coder.W_dec)
    assert read.card["training"]["tokens"] == 6400
    shards = sorted((tmp_path / "work/train").glob("shard-*"))
    assert all(not read_shard(path).keep[:4].any() for path in shards)


def test_a_stopped_one_goes_on_and_ends_the_same(folder: Path, tmp_path: Path) -> None:
    whole = make_disentangler(folder, tmp_path / "whole", FEW)
    calls = 0

    def at_the_40th() -> bool:
        nonlocal calls
        calls += 1
        return calls == 40

    with pytest.raises(Cancelled):
        make_disentangler(folder, tmp_path / "stopped", FEW, Telling(cancelled=at_the_40th))
    resumed = make_disentangler(folder, tmp_path / "stopped", FEW)
    assert torch.equal(resumed.coder.W_enc, whole.coder.W_enc)


def test_other_options_and_layers_that_are_none_are_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(Cancelled, match="what is complete is kept"):
        make_disentangler(folder, tmp_path, FEW, Telling(cancelled=lambda: True))
    with pytest.raises(FingerprintError, match="begun with another distinct"):
        make_disentangler(folder, tmp_path, replace(FEW, distinct=77))
    with pytest.raises(InputError):
        make_disentangler(folder, tmp_path / "other", replace(FEW, layer=4))


def test_few_tokens_are_of_few_functions(folder: Path, tmp_path: Path) -> None:
    few = replace(FEW, distinct=60, longest=400, loss_functions=0)
    made = make_disentangler(folder, tmp_path / "work", few)
    whole = make_disentangler(folder, tmp_path / "whole", replace(few, distinct=5000))
    assert len(sorted((tmp_path / "work/train").glob("shard-*"))) == 1
    assert len(sorted((tmp_path / "whole/train").glob("shard-*"))) > 1
    tokens = [each.card["training"]["distinct_tokens"] for each in (made, whole)]
    assert 0 < tokens[0] < tokens[1] / 2
