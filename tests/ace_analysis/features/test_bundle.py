"""Bundles on disk, calibration, and which bundle fits which model."""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ace_analysis.errors import BundleError, FingerprintError, InputError, StorageError
from ace_analysis.features import bundle as bundle_module
from ace_analysis.features.bundle import (
    Bundle,
    Calibration,
    ErrorFeature,
    Readout,
    find_bundle,
)
from ace_analysis.features.bundle_files import (
    BUNDLE_FILE,
    CARD_FILE,
    CATALOG_FILE,
    CORPUS_FILE,
    PROBE_FILE,
    READOUT_FILE,
    SUMS,
)
from ace_analysis.features.labels import LABELS_FILE
from ace_analysis.features.sparse_coder import SparseCoder
from ace_analysis.features.storage import CODER_FILE
from ace_analysis.model.sites import Site

FEATURE = ErrorFeature(
    feature_idx=4,
    t_statistic=3.5,
    paired_t=5.1,
    q_value=0.004,
    separation=0.3,
    rate_buggy=0.039,
    rate_matched=0.004,
    density=0.002,
    kinds=("comparison", "number"),
    replicated=True,
    label="off by one at a range's end",
)


def calibration_of(**changes: object) -> Calibration:
    values = {"scale": 0.7, "offset": -2.0, "prior": 0.02, "thresholds": {0.5: 3.0, 1.0: 2.0, 4.0: 0.0}}
    return Calibration(**{**values, **changes})


def bundle_of(**changes: object) -> Bundle:
    torch.manual_seed(0)
    coder = SparseCoder(
        torch.randn(6, 10), torch.randn(10), torch.randn(10, 6), torch.randn(6), torch.rand(10), Site(2)
    )
    values = {
        "folder": Path("memory"),
        "model": "tiny",
        "fingerprint": "f" * 64,
        "layer": 2,
        "coder": coder,
        "readout": Readout(
            weights=torch.randn(2, 10), kind_bias={"name": -3.0, "number": -2.5}, slots=(0, "line_end")
        ),
        "calibration": calibration_of(),
        "catalog": (FEATURE,),
        "max_tokens": 512,
        "card": "# Card\n\nMeasured: é.\n",
        "labels": {4: ("<", " é")},
    }
    return Bundle(**{**values, **changes})


# --- on disk --------------------------------------------------------------------------------------------


def test_a_bundle_comes_back_as_it_was(tmp_path: Path) -> None:
    before = bundle_of()
    after = before.save(tmp_path / "b", dtype="fp32")
    for name in ("model", "fingerprint", "layer", "calibration", "catalog", "max_tokens", "card", "labels"):
        assert getattr(after, name) == getattr(before, name), name
    assert after.readout.slots == before.readout.slots
    assert after.readout.kind_bias == before.readout.kind_bias
    assert torch.equal(after.readout.weights, before.readout.weights)
    assert torch.equal(after.coder.W_enc, before.coder.W_enc)
    assert after.identity() == before.identity() and after.folder == tmp_path / "b"


def test_saving_again_replaces_all(tmp_path: Path) -> None:
    bundle_of().save(tmp_path)
    after = bundle_of(model="other", catalog=(), labels={}).save(tmp_path)
    assert (after.model, after.catalog, after.labels) == ("other", (), {})
    assert not [path.name for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_extras_come_with_a_bundle_and_go_with_the_next(tmp_path: Path) -> None:
    extras = {CORPUS_FILE: b"corpus", PROBE_FILE: b"probe"}
    first = bundle_of().save(tmp_path, extras=extras)
    assert all((tmp_path / name).read_bytes() == content for name, content in extras.items())
    assert first.identity() == bundle_of(coder=first.coder).identity()
    bundle_of().save(tmp_path)
    assert not any((tmp_path / name).exists() for name in extras)


def test_fields_that_a_later_release_adds_to_the_catalog_are_passed_over(tmp_path: Path) -> None:
    bundle_of().save(tmp_path)
    path = tmp_path / CATALOG_FILE
    catalog = json.loads(path.read_text(encoding="utf-8"))
    catalog["features"][0]["half_life"] = 3
    path.write_text(json.dumps(catalog), encoding="utf-8")
    assert Bundle.load(without_sums(tmp_path)).catalog == (FEATURE,)


@pytest.mark.parametrize("name", [CODER_FILE, READOUT_FILE, CATALOG_FILE])
def test_a_bundle_without_one_of_its_files_is_incomplete(tmp_path: Path, name: str) -> None:
    bundle_of().save(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(BundleError, match=f"{name}: this file of the bundle is missing; install ace-lsp"):
        Bundle.load(tmp_path)
    with pytest.raises(BundleError, match=f"{name}|damaged or incomplete"):
        Bundle.load(without_sums(tmp_path))


def without_sums(folder: Path) -> Path:
    """The same bundle as one that was made before bundles had sums."""
    path = folder / BUNDLE_FILE
    about = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({name: value for name, value in about.items() if name != SUMS}))
    return folder


def test_a_bundle_of_the_time_before_sums_is_read(tmp_path: Path) -> None:
    saved = bundle_of().save(tmp_path)
    assert Bundle.load(without_sums(tmp_path)).identity() == saved.identity()


def test_a_bundle_without_labels_can_be_used(tmp_path: Path) -> None:
    bundle_of().save(tmp_path)
    without_sums(tmp_path)
    (tmp_path / LABELS_FILE).unlink()
    assert Bundle.load(tmp_path).labels == {}


@pytest.mark.parametrize("name", [CODER_FILE, READOUT_FILE, CATALOG_FILE, LABELS_FILE])
def test_a_file_of_other_bytes_is_damage(tmp_path: Path, name: str) -> None:
    bundle_of().save(tmp_path)
    (tmp_path / name).write_bytes(b"\xff\x00 nothing of ours")
    with pytest.raises(BundleError, match=f"{name}: damaged, expected the SHA-256"):
        Bundle.load(tmp_path)
    with pytest.raises(BundleError, match=r"damaged or incomplete|expected a file of format"):
        Bundle.load(without_sums(tmp_path))


def edited(folder: Path, **changes: object) -> Path:
    """A saved bundle whose bundle.json says something else; None drops an entry."""
    bundle_of().save(folder)
    about = json.loads((folder / BUNDLE_FILE).read_text(encoding="utf-8"))
    about = {name: value for name, value in {**about, **changes}.items() if value is not None}
    (folder / BUNDLE_FILE).write_text(json.dumps(about), encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": 99}, "expected format 1, got 99; update ace-lsp"),
        ({"fingerprint": None}, "fingerprint missing"),
        ({"layer": None, "model": None}, "model, layer missing"),
        ({"slots": None}, "damaged or incomplete"),
        ({"slots": [0]}, "a readout of 1 slots needs weights"),
        ({"slots": [0, "start"]}, "slots: expected offsets from 0 on or 'line_end', got 'start'"),
        ({"calibration": {"scale": 1}}, "damaged or incomplete"),
        ({"layer": 3}, "the bundle is for layer 3, its coder for 2"),
    ],
)
def test_a_bundle_that_says_something_impossible_is_refused(
    tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    with pytest.raises(BundleError, match=message):
        Bundle.load(edited(tmp_path, **changes))


@pytest.mark.parametrize("content", ["", "[1]", "{"])
def test_a_description_that_is_no_object_is_refused(tmp_path: Path, content: str) -> None:
    bundle_of().save(tmp_path)
    (tmp_path / BUNDLE_FILE).write_text(content)
    with pytest.raises(BundleError, match=r"bundle.json: expected (JSON|format 1)"):
        Bundle.load(tmp_path)


def test_an_empty_folder_is_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"bundle.json: expected a bundle, found no such file"):
        Bundle.load(tmp_path)


def test_a_readout_of_another_width_is_refused() -> None:
    readout = Readout(weights=torch.zeros(1, 4), kind_bias={}, slots=(0,))
    with pytest.raises(BundleError, match="the readout has 4 latents and the sparse coder 10"):
        bundle_of(readout=readout)


def test_a_folder_that_cannot_be_written_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError, match="can't be written"):
        bundle_of().save(tmp_path / "file")
    (tmp_path / CARD_FILE).mkdir()
    with pytest.raises(StorageError, match="the bundle can't be written"):
        bundle_of().save(tmp_path)


# --- identity -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        lambda b: replace(b, fingerprint="e" * 64),
        lambda b: replace(b, max_tokens=100),
        lambda b: replace(b, readout=replace(b.readout, weights=b.readout.weights + 1)),
        lambda b: replace(b, readout=replace(b.readout, kind_bias={"name": 0.0})),
        lambda b: replace(b, coder=replace(b.coder, threshold=b.coder.threshold + 1)),
        lambda b: replace(b, coder=replace(b.coder, k=3)),
        lambda b: replace(b, calibration=calibration_of(thresholds={1.0: -9.0})),
    ],
)
def test_whatever_changes_a_score_changes_the_identity(change: Callable[[Bundle], Bundle]) -> None:
    assert change(bundle_of()).identity() != bundle_of().identity()


def test_what_changes_no_score_leaves_the_identity() -> None:
    other = bundle_of(
        card="other", folder=Path("elsewhere"), catalog=(), calibration=calibration_of(scale=2.0)
    )
    assert other.identity() == bundle_of().identity()


# --- calibration ----------------------------------------------------------------------------------------


@settings(deadline=None)
@given(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6))
def test_probabilities_lie_between_0_and_1_and_rise_with_the_log_odds(one: float, other: float) -> None:
    low, high = sorted((calibration_of().probability(one), calibration_of().probability(other)))
    assert 0 <= low <= high <= 1
    assert (one <= other) <= (calibration_of().probability(one) <= calibration_of().probability(other))


def test_a_probability_is_the_scaled_log_odds() -> None:
    assert calibration_of().probability(4.0) == pytest.approx(1 / (1 + math.exp(-(0.7 * 4.0 - 2.0))))


@settings(deadline=None)
@given(st.floats(0.01, 100), st.floats(0.01, 100))
def test_more_false_alarms_never_raise_the_threshold(one: float, other: float) -> None:
    few, many = sorted((one, other))
    assert calibration_of().threshold(few) >= calibration_of().threshold(many)
    assert calibration_of().threshold(many) >= calibration_of().loosest


@pytest.mark.parametrize(
    ("rate", "threshold"), [(0.5, 3.0), (1.0, 2.0), (4.0, 0.0), (2.0, 1.0), (0.01, 3.0), (99.0, 0.0)]
)
def test_thresholds_are_linear_in_the_log_rate_and_clamped_outside(rate: float, threshold: float) -> None:
    assert calibration_of().threshold(rate) == pytest.approx(threshold)


@pytest.mark.parametrize("rate", [0.0, -1.0, math.nan])
def test_a_rate_that_is_none_is_refused(rate: float) -> None:
    with pytest.raises(InputError, match="max_false_alarms: expected a rate above 0"):
        calibration_of().threshold(rate)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"thresholds": {}}, "thresholds: expected at least one rate above 0"),
        ({"thresholds": {0.0: 1.0}}, "thresholds: expected at least one rate above 0"),
        ({"scale": 0.0}, "scale: expected a number above 0"),
    ],
)
def test_a_calibration_that_cannot_be_is_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        calibration_of(**changes)


@pytest.mark.usefixtures("unchecked_shapes")
@pytest.mark.parametrize(
    ("weights", "slots", "message"),
    [
        (torch.zeros(3, 2), (0,), "a readout of 1 slots needs weights"),
        (torch.zeros(2), (0, 1), "a readout of 2 slots needs weights"),
        (torch.zeros(1, 2), (-1,), "slots: expected offsets from 0 on or 'line_end', got -1"),
    ],
)
def test_a_readout_that_cannot_be_is_refused(
    weights: torch.Tensor, slots: tuple[int | str, ...], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        Readout(weights=weights, kind_bias={}, slots=slots)


@pytest.mark.parametrize(("t", "direction"), [(2.0, "buggy"), (-2.0, "correct")])
def test_a_features_direction_is_the_code_that_it_fires_more_on(t: float, direction: str) -> None:
    assert replace(FEATURE, t_statistic=t).direction == direction


# --- which bundle ---------------------------------------------------------------------------------------


@pytest.fixture
def shelves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """The user's bundles and those that ship, both empty."""
    monkeypatch.setenv("ACE_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(bundle_module, "SHIPPED", tmp_path / "shipped")
    return tmp_path / "cache" / "bundles", tmp_path / "shipped"


def test_a_bundle_is_found_by_its_models_fingerprint_whatever_the_model_is_called(
    shelves: tuple[Path, Path],
) -> None:
    bundle_of(fingerprint="a", model="one").save(shelves[1] / "one")
    bundle_of(fingerprint="b", model="two").save(shelves[1] / "two")
    assert find_bundle("/some/folder", "b").model == "two"


def test_the_users_own_bundle_comes_first(shelves: tuple[Path, Path]) -> None:
    for shelf in shelves:
        bundle_of(fingerprint="a").save(shelf / "tiny")
    assert find_bundle("tiny", "a").folder == shelves[0] / "tiny"


def test_a_bundle_of_the_same_name_for_other_weights_is_refused(shelves: tuple[Path, Path]) -> None:
    bundle_of(fingerprint="a" * 64).save(shelves[1] / "tiny")
    with pytest.raises(FingerprintError, match=r"made for tiny with fingerprint aaaa.*has bbbb.*pull"):
        find_bundle("tiny", "b" * 64)


def test_a_model_without_a_bundle_is_told_one_command_on_one_line(shelves: tuple[Path, Path]) -> None:
    bundle_of(model="another").save(shelves[1] / "another")
    with pytest.raises(BundleError, match="ace train bundle --model tiny CORPUS") as caught:
        find_bundle("tiny", "a")
    assert "\n" not in str(caught.value)


def test_a_loaded_bundle_refuses_another_model() -> None:
    bundle_of().check_fingerprint("f" * 64)
    with pytest.raises(FingerprintError, match="memory: this bundle was made for tiny"):
        bundle_of().check_fingerprint("0" * 64)
