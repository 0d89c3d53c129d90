"""What the benchmarks run, from a bundle and a harvest to a report, with a tiny random model."""

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from ace_analysis.cli import benching
from ace_analysis.cli.benching import DetectionRequest, chosen_bundle, run_curve, run_detection
from ace_analysis.errors import BundleError, InputError
from ace_analysis.evaluation import held_out
from ace_analysis.evaluation.baselines import ProbeOptions, fit_dense_probe
from ace_analysis.evaluation.made_of import MadeOf
from ace_analysis.evaluation.probe_file import probe_bytes
from ace_analysis.evaluation.surprisal import Surprisal, measure_surprisal
from ace_analysis.features.bundle import Bundle, Calibration, Readout
from ace_analysis.features.bundle_files import CORPUS_FILE, PROBE_FILE
from ace_analysis.features.examples import TreeOptions
from ace_analysis.features.harvest import HarvestOptions, harvest
from ace_analysis.features.sparse_coder import SparseCoder
from ace_analysis.model.loading import load_scanner
from ace_analysis.model.sites import Site
from ace_analysis.settings import EngineSettings, ModelSettings, cache_dir
from ace_analysis.source.corpus import functions_of_text
from ace_analysis.source.installed import InstalledProject
from ace_analysis.source.sites import SiteKind

WIDTH, LAYER = 32, 1
SLOTS = (0, 1)


@pytest.fixture(scope="module")
def bundle(tiny_qwen2: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    torch.manual_seed(0)
    fingerprint = load_scanner(str(tiny_qwen2), device="cpu", dtype="float32", n_blocks=1).info.fingerprint
    made = Bundle(
        folder=Path("tiny"),
        model=str(tiny_qwen2),
        fingerprint=fingerprint,
        layer=LAYER,
        coder=SparseCoder(
            torch.randn(WIDTH, 48),
            torch.zeros(48),
            torch.randn(48, WIDTH),
            torch.zeros(WIDTH),
            torch.zeros(48),
            Site(LAYER),
        ),
        readout=Readout(
            weights=torch.randn(len(SLOTS), 48),
            # A kind without a bias, too: such sites are never shown.
            kind_bias={kind.value: 0.0 for kind in list(SiteKind)[1:]},
            slots=SLOTS,
        ),
        calibration=Calibration(scale=1.0, offset=0.0, prior=0.5, thresholds={1.0: 0.0}),
    )
    return made.save(tmp_path_factory.mktemp("bundle"))


@pytest.fixture(scope="module")
def folder(tiny_qwen2: Path, some_python: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A harvest of three splits, of different projects."""
    root = tmp_path_factory.mktemp("harvest")
    scanner = load_scanner(str(tiny_qwen2), device="cpu", dtype="float32", n_blocks=LAYER + 1)
    for split in ("train", "validation", "test"):
        text = some_python.replace("items", f"{split}_items")
        functions = [
            each
            for number in range(2)
            for each in functions_of_text(text, project=f"{split}{number}", path="f.py")
        ]
        tree = TreeOptions(slots=SLOTS, mutants=2, full=2)
        harvest(functions, scanner, root / split, HarvestOptions(layer=LAYER, tree=tree, functions=3))
    return root


@pytest.fixture(autouse=True)
def tiny_settings(tiny_qwen2: Path, monkeypatch: pytest.MonkeyPatch) -> EngineSettings:
    settings = EngineSettings(model=ModelSettings(name=str(tiny_qwen2), device="cpu", dtype="float32"))
    monkeypatch.setattr(benching, "load_settings", lambda start: settings)
    return settings


def quiet(message: str, fraction: float | None) -> None: ...


def test_all_scorers_are_measured_beside_each_other(bundle: Bundle, folder: Path) -> None:
    request = DetectionRequest(harvest=folder, bundle=str(bundle.folder), surprisal=100)
    measured = json.loads(json.dumps(run_detection(request, quiet), allow_nan=False))
    (sample,) = measured["samples"]
    scorers = {"random", "surprisal", "surprisal - best other", "dense probe", "sparse features"}
    assert set(sample["parts"][0]["scorers"]) == scorers
    assert sample["projects"] == 2 and measured["layer"] == LAYER
    assert [note.split(":")[0] for note in measured["notes"]] == ["dense probe"]


def test_surprisal_of_some_functions_adds_a_sample_of_all_scorers(bundle: Bundle, folder: Path) -> None:
    request = DetectionRequest(harvest=folder / "test", bundle=str(bundle.folder), surprisal=2)
    measured = run_detection(request, quiet)
    everywhere, some = measured["samples"]
    assert set(everywhere["parts"][0]["scorers"]) == {"random", "sparse features"}
    assert len(some["parts"][0]["scorers"]) == 4 and some["functions"] == 2
    assert measured["notes"] == [
        "no dense probe: this bundle has none; name a --harvest with train/ and validation/"
    ]


@pytest.fixture(scope="module")
def equipped(bundle: Bundle, folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The bundle with a probe and the list of what it was made of: the harvest's training projects."""
    shards = {split: sorted((folder / split).glob("*.safetensors")) for split in ("train", "validation")}
    probe = fit_dense_probe(shards["train"], shards["validation"], ProbeOptions(iterations=5))
    known = MadeOf(projects={}, functions={"train": {"train0": (("f.py::f", ""),)}})
    extras = {CORPUS_FILE: known.packed(), PROBE_FILE: probe_bytes(probe)}
    return bundle.save(tmp_path_factory.mktemp("equipped"), extras=extras)


def test_a_bundles_own_probe_is_measured_where_none_can_be_fitted(equipped: Bundle, folder: Path) -> None:
    request = DetectionRequest(harvest=folder / "test", bundle=str(equipped.folder), surprisal=0)
    measured = run_detection(request, quiet)
    assert "dense probe" in measured["samples"][0]["parts"][0]["scorers"]
    assert measured["notes"][0].startswith("dense probe: the bundle's, ")
    same = DetectionRequest(harvest=folder, bundle=str(equipped.folder), surprisal=0)
    assert run_detection(same, quiet)["notes"][0].startswith("dense probe: the harvest's, ")


def test_a_measurement_on_what_the_bundle_was_fitted_on_says_so(
    equipped: Bundle, folder: Path, tmp_path: Path
) -> None:
    shutil.copytree(folder / "train", tmp_path / "test")
    request = DetectionRequest(harvest=tmp_path, bundle=str(equipped.folder), surprisal=0)
    assert run_detection(request, quiet)["notes"][0] == (
        "not held out: the bundle was fitted on projects of the test or relatives: train0"
    )


def test_functions_without_surprisal_are_told(
    bundle: Bundle, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def measure(*arguments: Any, **options: Any) -> Surprisal:
        found = measure_surprisal(*arguments, **options)
        return dataclasses.replace(found, left_out=2)

    monkeypatch.setattr(benching, "measure_surprisal", measure)
    request = DetectionRequest(harvest=folder / "test", bundle=str(bundle.folder), surprisal=2)
    notes = run_detection(request, quiet)["notes"]
    assert notes[0] == "surprisal: 2 functions left out, this version makes other mutants"


def test_without_a_harvest_one_is_made_of_installed_packages(
    bundle: Bundle, some_python: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "f.py"
    path.write_text(some_python, encoding="utf-8")
    rich = InstalledProject(name="rich", version="1", licence="MIT", root=tmp_path, files=(path,))
    monkeypatch.setattr(held_out, "installed_projects", lambda: (rich,))
    request = DetectionRequest(bundle=str(bundle.folder), functions=3, surprisal=0)
    measured = run_detection(request, quiet)
    assert Path(measured["harvest"]).is_relative_to(cache_dir() / "results")
    assert set(measured["samples"][0]["parts"][0]["scorers"]) == {"random", "sparse features"}


def test_a_test_project_that_was_trained_on_is_refused(bundle: Bundle, folder: Path, tmp_path: Path) -> None:
    for split in ("test", "validation"):
        shutil.copytree(folder / split, tmp_path / split)
    shutil.copytree(folder / "test", tmp_path / "train")
    request = DetectionRequest(harvest=tmp_path, bundle=str(bundle.folder), surprisal=0)
    with pytest.raises(InputError, match=r"expected other projects than in .* both have test0"):
        run_detection(request, quiet)


def test_a_bundle_is_found_by_its_folder_its_name_and_its_model(
    bundle: Bundle, tiny_settings: EngineSettings
) -> None:
    with pytest.raises(BundleError, match="has no bundle yet"):
        chosen_bundle(None, tiny_settings)
    kept = cache_dir() / "bundles" / "mine"
    shutil.copytree(bundle.folder, kept)
    try:
        for name in (str(bundle.folder), "mine", None, tiny_settings.model.name):
            assert chosen_bundle(name, tiny_settings).fingerprint == bundle.fingerprint
    finally:
        shutil.rmtree(kept)


def test_speed_tells_both_sides_of_each_ratio(monkeypatch: pytest.MonkeyPatch, bundle: Bundle) -> None:
    from ace_analysis.engine import Engine
    from ace_analysis.evaluation.fix_speed import FixSpeed
    from ace_analysis.evaluation.hover_speed import HoverSpeed
    from ace_analysis.evaluation.server_speed import EditingSpeed, InitializeSpeed

    editing = EditingSpeed(
        edit_to_diagnostic=(1.0, 2.0, 4.0),
        lines=1000,
        scopes=33,
        scopes_read_after_edit=1,
        scopes_read_unchanged=0,
        worker_resident_bytes=None,
    )
    scanner = load_scanner(bundle.model, device="cpu", dtype="float32", n_blocks=LAYER + 1)
    monkeypatch.setattr(benching, "FUNCTIONS_FOR_SPEED", 2)
    monkeypatch.setattr(Engine, "load", lambda settings, progress: Engine(scanner, bundle))
    monkeypatch.setattr(benching, "measure_editing", lambda options, rounds: editing)
    start = InitializeSpeed(server=(3.0,), empty=(2.0,))
    monkeypatch.setattr(benching, "measure_initialize", lambda rounds: start)
    hover = HoverSpeed(lines=40, explained=(2.0, 1.0, 4.0), hover=(0.25,), edit=(1.0,))
    monkeypatch.setattr(benching, "measure_hover", lambda options, rounds: hover)
    fix = FixSpeed(lines=40, cold=9.0, fix=(3.0, 1.0, 8.0), cancel=(0.25, 0.125), rest=(0.5, 0.25))
    monkeypatch.setattr(benching, "measure_fix", lambda options, rounds: fix)
    measured = json.loads(json.dumps(benching.run_speed(1, quiet)))
    assert measured["fix"]["medians"] == {"fix": 3.0}
    assert measured["fix"]["worst"] == {"cancel": 0.25, "rest": 0.5}
    assert measured["hover"]["medians"] == {"explained": 2.0, "hover": 0.25, "edit": 1.0}
    assert measured["editing"]["seconds"] == 2.0 and measured["initialize"]["ratio"] == 1.5
    assert measured["scan"]["ratio"] == pytest.approx(
        measured["scan"]["scan"] / measured["scan"]["plain"], rel=1e-3
    )


def test_the_learning_curve_ends_with_all_training_functions(bundle: Bundle, folder: Path) -> None:
    points = run_curve(folder, str(bundle.folder), quiet)["points"]
    assert [point["functions"] for point in points] == sorted(point["functions"] for point in points)
    assert points[-1]["mutants"] > points[0]["mutants"] > 0
    assert set(points[-1]["detection"]["top_1"]) == {"value", "low", "high"}
