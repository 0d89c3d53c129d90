"""What a harvest to measure on has to be, and the one that is made of what is installed."""

import json
import re
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from ace_analysis.errors import FingerprintError, InputError
from ace_analysis.evaluation import held_out
from ace_analysis.evaluation.held_out import Harvested, harvest_installed, installed_functions, projects_of
from ace_analysis.evaluation.made_of import MadeOf
from ace_analysis.features.bundle import Bundle, Calibration, Readout
from ace_analysis.features.bundle_files import CORPUS_FILE
from ace_analysis.features.sparse_coder import SparseCoder
from ace_analysis.model.loading import load_scanner
from ace_analysis.model.scan import ResidualScanner
from ace_analysis.model.sites import Site
from ace_analysis.source.corpus import split_of
from ace_analysis.source.installed import InstalledProject

WIDTH = 32


@pytest.fixture(scope="module")
def scanner(tiny_qwen2: Path) -> ResidualScanner:
    return load_scanner(str(tiny_qwen2), device="cpu", dtype="float32")


@pytest.fixture
def bundle(scanner: ResidualScanner) -> Bundle:
    """One that reads what the harvest of the fixture holds."""
    slots = (0, 1, 2, "line_end")
    biases = torch.zeros(3, WIDTH).clone().unbind()
    return Bundle(
        folder=Path("tiny"),
        model=scanner.info.name,
        fingerprint=scanner.info.fingerprint,
        layer=1,
        coder=SparseCoder(torch.eye(WIDTH), biases[0], torch.eye(WIDTH), biases[1], biases[2], Site(1)),
        readout=Readout(weights=torch.ones(len(slots), WIDTH), kind_bias={"name": 0.0}, slots=slots),
        calibration=Calibration(scale=1.0, offset=0.0, prior=0.5, thresholds={1.0: 0.0}),
    )


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, some_python: str) -> Callable[..., None]:
    """Pretend that projects of these names and numbers of files are installed, and nothing else."""

    def install(**files: int) -> None:
        projects = []
        for name, count in files.items():
            paths = [tmp_path / name / f"f{number}.py" for number in range(count)]
            for number, path in enumerate(paths):
                path.parent.mkdir(exist_ok=True)
                own = re.sub(r"\b(items|values|path)\b", rf"\1_{name}_{number}", some_python)
                path.write_text(own, encoding="utf-8")
            projects.append(
                InstalledProject(name=name, version="1", licence="MIT", root=tmp_path, files=tuple(paths))
            )
        monkeypatch.setattr(held_out, "installed_projects", lambda: tuple(projects))

    return install


def test_a_harvest_is_read_with_what_it_was_made_with(harvested: Harvested) -> None:
    assert harvested.options.layer == 1 and harvested.options.tree.full == 3
    assert harvested.options.tree.slots == (0, 1, 2, "line_end") and len(harvested.shards) > 1
    assert projects_of(harvested.shards) <= {"p0", "p1", "p2"}


def test_a_folder_without_a_harvest_is_refused(tmp_path: Path, harvested: Harvested) -> None:
    with pytest.raises(InputError, match="expected what a harvest was made with"):
        Harvested.read(tmp_path)
    about = (harvested.folder / "harvest.json").read_text(encoding="utf-8")
    (tmp_path / "harvest.json").write_text(about, encoding="utf-8")
    with pytest.raises(InputError, match="at least one complete shard, found none"):
        Harvested.read(tmp_path)
    (tmp_path / "harvest.json").write_text(json.dumps({"layer": 1}), encoding="utf-8")
    with pytest.raises(InputError, match="KeyError"):
        Harvested.read(tmp_path)


def test_only_a_bundle_that_reads_these_activations_is_measured(harvested: Harvested, bundle: Bundle) -> None:
    harvested.check(bundle)
    with pytest.raises(FingerprintError, match=r"expected layer 1 and slots .*harvest again"):
        replace(harvested, options=replace(harvested.options, layer=2)).check(bundle)
    with pytest.raises(FingerprintError):
        replace(harvested, fingerprint="another").check(bundle)


def test_only_whole_mutants_are_measured(harvested: Harvested) -> None:
    harvested.check_whole()
    tree = replace(harvested.options.tree, full=1)
    with pytest.raises(InputError, match="only 1 of up to 3 are"):
        replace(harvested, options=replace(harvested.options, tree=tree)).check_whole()


def test_installed_functions_are_held_out_and_spread_evenly(installed: Callable[..., None]) -> None:
    installed(stdlib=9, rich=2, networkx=9, requests=9)
    held = {name for name in ("stdlib", "rich", "networkx", "requests") if split_of(name) == "test"}
    found = installed_functions(9)
    counts = Counter(function.project for function in found)
    assert set(counts) == held and len(found) == 9
    assert max(counts.values()) - min(counts.values()) <= 1
    assert found == installed_functions(9)


def test_relatives_of_projects_on_another_side_are_left_out(installed: Callable[..., None]) -> None:
    installed(**{"stdlib": 2, "typing-extensions": 9, "rich": 2})
    assert split_of("typing-extensions") == "test"
    assert {function.project for function in installed_functions(9)} == {"rich"}


def test_what_is_to_be_avoided_is_left_out_with_its_relatives(installed: Callable[..., None]) -> None:
    installed(**{"rich": 2, "httpx2": 2, "requests": 2})
    held = {name for name in ("rich", "httpx2", "requests") if split_of(name) == "test"}
    assert {function.project for function in installed_functions(9)} == held
    rest = {function.project for function in installed_functions(9, avoid={"httpx", "rich"})}
    assert rest == held - {"rich", "httpx2"} != held


def test_a_bundle_is_not_measured_on_what_it_was_fitted_on(
    scanner: ResidualScanner, bundle: Bundle, installed: Callable[..., None], tmp_path: Path
) -> None:
    installed(**{"rich": 2, "httpx2": 2})
    known = MadeOf(projects={}, functions={"train": {"httpx": ()}, "test": {"rich": ()}})
    fitted = bundle.save(tmp_path / "bundle", extras={CORPUS_FILE: known.packed()})
    assert projects_of(harvest_installed(scanner, fitted, 4).shards) == {"rich"}


def test_a_function_that_two_projects_share_is_taken_once(
    installed: Callable[..., None], tmp_path: Path
) -> None:
    installed(rich=1, networkx=1)
    shutil.copy(tmp_path / "rich" / "f0.py", tmp_path / "networkx" / "f0.py")
    texts = [function.text for function in installed_functions(9)]
    assert texts and len(set(texts)) == len(texts)


def test_a_harvest_of_installed_functions_is_made_once(
    scanner: ResidualScanner, bundle: Bundle, installed: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    installed(rich=2)
    first = harvest_installed(scanner, bundle, 3, mutants=2)
    first.check(bundle)
    first.check_whole()
    assert projects_of(first.shards) == {"rich"}
    monkeypatch.setattr(scanner, "resid_post", None)
    assert harvest_installed(scanner, bundle, 3, mutants=2) == first


def test_where_nothing_held_out_is_installed_a_harvest_has_to_be_named(
    scanner: ResidualScanner, bundle: Bundle, installed: Callable[..., None]
) -> None:
    installed(stdlib=1)
    with pytest.raises(InputError, match="found none; name a harvest instead"):
        harvest_installed(scanner, bundle, 3)
