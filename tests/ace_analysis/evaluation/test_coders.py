"""What fits together is used, and what does not is refused by name."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest
import torch

from ace_analysis.errors import Cancelled, FingerprintError, InputError, SettingsError
from ace_analysis.evaluation import coders
from ace_analysis.evaluation.coders import LARGEST_CODER, Harvests, dtype_of, given_coder, trained_coder
from ace_analysis.features.harvest import ABOUT, HarvestOptions, Shard, write_shard
from ace_analysis.features.sparse_coder import SparseCoder
from ace_analysis.features.storage import save_sparse_coder
from ace_analysis.features.training import TrainingOptions
from ace_analysis.model.devices import chosen_device
from ace_analysis.model.sites import Site

D_MODEL = 8
OPTIONS = TrainingOptions(d_sae=16, k=2.0, tokens=32 * 60, batch=32)


def make(folder: Path, layer: int = 1, fingerprint: str = "abc") -> None:
    """One split's harvest: a shard of random tokens."""
    folder.mkdir(parents=True)
    about = {"fingerprint": fingerprint, "model": "m", **asdict(HarvestOptions(layer=layer))}
    (folder / ABOUT).write_text(json.dumps(about))
    none, every = torch.zeros(0, dtype=torch.int32), torch.ones(200, dtype=torch.bool)
    shard = Shard(
        resid=torch.randn(200, D_MODEL, generator=torch.Generator().manual_seed(0)).bfloat16(),
        ids=torch.arange(200, dtype=torch.int32),
        keep=every,
        clean=every.clone(),
        row_slots=torch.zeros(0, 4, dtype=torch.int32),
        **{f"row_{name}": none.clone() for name in ("kind", "label", "variant", "tree", "origin", "type")},
        trees=(),
    )
    write_shard(folder / "shard-00000.safetensors", shard)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for split in ("train", "validation", "test"):
        make(tmp_path / "harvest" / split)
    return tmp_path / "harvest"


def coder(layer: int = 1, d_model: int = D_MODEL, d_sae: int = 4) -> SparseCoder:
    bias, threshold = torch.zeros(2, d_sae).unbind()
    matrix = torch.ones(d_model, d_sae)
    return SparseCoder(
        matrix, bias.clone(), matrix.T.clone(), torch.zeros(d_model), threshold.clone(), Site(layer)
    )


def test_training_harvests_may_lie_in_several_folders(folder: Path) -> None:
    make(folder / "train-more")
    harvests = Harvests.read(folder)
    assert [path.parent.name for path in harvests.train_shards] == ["train", "train-more"]
    assert (harvests.model, harvests.ordinary_tokens()) == ("m", 400)


def test_a_folder_without_harvests_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="ace train harvest"):
        Harvests.read(tmp_path)


@pytest.mark.parametrize("other", [{"layer": 2}, {"fingerprint": "other"}], ids=["layer", "model"])
def test_splits_of_different_harvests_are_refused(folder: Path, other: dict[str, object]) -> None:
    make(folder / "train-other", **other)  # pyright: ignore[reportArgumentType]
    with pytest.raises(FingerprintError, match="train-other: expected the model, layer and slots"):
        Harvests.read(folder)


def test_a_coder_is_trained_once_and_another_one_refused_by_name(folder: Path, tmp_path: Path) -> None:
    harvests, work = Harvests.read(folder), tmp_path / "work"
    first = trained_coder(harvests, work, OPTIONS)
    told: list[str] = []
    again = trained_coder(harvests, work, OPTIONS, lambda text, _: told.append(text))
    assert torch.equal(first.W_enc, again.W_enc) and not told
    assert not list(work.glob("checkpoint*"))
    with pytest.raises(FingerprintError, match="begun with another d_sae;"):
        trained_coder(harvests, work, TrainingOptions(d_sae=8, k=2.0, tokens=32 * 60, batch=32))


def test_a_coder_is_trained_on_the_device_that_is_named(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def seen(*_: object, device: str, **__: object) -> None:
        asked.append(device)
        raise Cancelled("seen enough")

    monkeypatch.setattr(coders, "train_sparse_coder", seen)
    for device in ("cpu", "auto"):
        with pytest.raises(Cancelled):
            trained_coder(Harvests.read(folder), tmp_path / "work", OPTIONS, device=device)
    assert asked == ["cpu", str(chosen_device("auto"))]


def test_a_device_that_is_none_is_refused_before_anything_is_written(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match='expected a device such as "auto"'):
        trained_coder(Harvests.read(folder), tmp_path / "work", OPTIONS, device="nowhere")
    assert not (tmp_path / "work").exists()


def test_a_coder_that_can_t_ship_is_refused_before_it_is_trained(folder: Path, tmp_path: Path) -> None:
    most = LARGEST_CODER // (2 * D_MODEL)
    with pytest.raises(InputError, match=f"expected at most {most}"):
        trained_coder(Harvests.read(folder), tmp_path / "work", TrainingOptions(d_sae=most + 1))
    assert not (tmp_path / "work").exists()


def test_bf16_is_taken_where_it_is_small_enough() -> None:
    assert dtype_of(coder()) == "bf16"
    assert dtype_of(coder(d_sae=LARGEST_CODER // (4 * D_MODEL) + 1)) == "int8"


def test_a_given_coder_has_to_read_the_harvests_layer(folder: Path, tmp_path: Path) -> None:
    harvests = Harvests.read(folder)
    for name, one in (("fits", coder()), ("layer", coder(layer=2)), ("width", coder(d_model=4))):
        save_sparse_coder(tmp_path / name, one)
    assert given_coder(harvests, tmp_path / "fits").d_sae == 4
    for name in ("layer", "width"):
        with pytest.raises(InputError, match=r"expected a sparse coder of blocks\.1\.hook_resid_post with 8"):
            given_coder(harvests, tmp_path / name)
