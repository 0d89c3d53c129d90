"""One harvest of several: nothing on two sides, nothing twice, and the rest bit for bit."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from ace_analysis.errors import FingerprintError, InputError, StorageError
from ace_analysis.evaluation import merging
from ace_analysis.evaluation.coders import Harvests
from ace_analysis.evaluation.corpora import functions_file, read_functions, write_functions
from ace_analysis.evaluation.held_out import projects_of, shards_in
from ace_analysis.evaluation.merging import merge_harvests
from ace_analysis.features.examples import TreeOptions
from ace_analysis.features.harvest import ABOUT, HarvestOptions, harvest, read_shard
from ace_analysis.model.loading import load_scanner
from ace_analysis.model.scan import ResidualScanner
from ace_analysis.source.corpus import CodeFunction, Split, functions_of_text

FUNCTION = """
def f{number}(values):
    total = {number}
    for value in values:
        if value > {number}:
            total += value
    return total
"""
Projects = dict[str, list[int]]
Make = Callable[..., Path]


def functions_of(projects: Projects) -> list[CodeFunction]:
    return [
        function
        for project, numbers in projects.items()
        for number in numbers
        for function in functions_of_text(
            FUNCTION.format(number=number), project=project, path=f"{number}.py"
        )
    ]


@pytest.fixture(scope="module")
def scanner(tiny_qwen2: Path) -> ResidualScanner:
    return load_scanner(str(tiny_qwen2), device="cpu", dtype="float32", n_blocks=2)


@pytest.fixture
def make(tmp_path: Path, scanner: ResidualScanner) -> Make:
    """A harvest of functions by number and project; `corpus` also writes what corpora are known by."""

    def of(
        name: str, sides: dict[Split, Projects], *, layer: int = 1, mutants: int = 2, corpus: bool = True
    ) -> Path:
        folder = tmp_path / name
        options = HarvestOptions(layer=layer, tree=TreeOptions(mutants=mutants), functions=2)
        for split, projects in sides.items():
            functions = functions_of(projects)
            harvest(functions, scanner, folder / split, options)
            if corpus:
                write_functions(folder / functions_file(split), functions)
        if corpus:
            about = {name: ["1.0", "MIT"] for projects in sides.values() for name in projects}
            (folder / "corpus.json").write_text(json.dumps({"projects": about}))
        return folder

    return of


def functions_in(folder: Path) -> list[tuple[str, str]]:
    return [(t["project"], t["name"]) for path in shards_in(folder) for t in read_shard(path).trees]


FIRST: dict[Split, Projects] = {
    "train": {"alpha": [1, 2, 3], "jedi": [4]},
    "validation": {"beta": [5]},
    "test": {"gamma": [6, 7]},
}


def test_two_harvests_become_one_that_a_bundle_can_be_made_of(make: Make, tmp_path: Path) -> None:
    second = make("second", {"train": {"delta": [11, 12]}, "test": {"epsilon": [13]}})
    merged = merge_harvests([make("first", FIRST), second], tmp_path / "out")
    assert merged.functions == {"train": 6, "validation": 1, "test": 3}
    assert merged.copies == 0 and merged.left_out == ()
    harvests = Harvests.read(tmp_path / "out")
    assert projects_of(harvests.train_shards) == {"alpha", "jedi", "delta"}
    assert [path.name for path in harvests.train_shards] == [f"shard-{n:05}.safetensors" for n in range(3)]
    assert projects_of(harvests.test.shards) == {"gamma", "epsilon"}
    about = json.loads((tmp_path / "out" / "corpus.json").read_text())
    assert about["projects"]["delta"] == ["1.0", "MIT"]


def test_shards_that_lose_nothing_are_the_same_files(make: Make, tmp_path: Path) -> None:
    first = make("first", FIRST)
    merge_harvests([first], tmp_path / "out")
    for split in FIRST:
        before, after = shards_in(first / split), shards_in(tmp_path / "out" / split)
        assert len(before) == len(after)
        assert all(one.samefile(other) for one, other in zip(before, after, strict=True))


def test_where_files_can_t_be_linked_they_are_copied(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise OSError("no links here")

    first = make("first", FIRST)
    monkeypatch.setattr(merging.os, "link", refused)
    merge_harvests([first], tmp_path / "out")
    one, other = shards_in(first / "train")[0], shards_in(tmp_path / "out" / "train")[0]
    assert one.read_bytes() == other.read_bytes() and not one.samefile(other)


def test_a_relative_of_what_another_harvest_holds_out_no_longer_trains(make: Make, tmp_path: Path) -> None:
    second = make("second", {"train": {"delta": [11]}, "test": {"parso": [13]}})
    merged = merge_harvests([make("first", FIRST), second], tmp_path / "out")
    (gone,) = merged.left_out
    assert (gone.project, gone.relative, gone.functions) == ("jedi", "parso", 1)
    assert projects_of(shards_in(tmp_path / "out" / "train")) == {"alpha", "delta"}
    kept = {each.project for each in read_functions(tmp_path / "out" / functions_file("train"))}
    assert kept == {"alpha", "delta"}


def test_a_project_that_another_harvest_holds_out_no_longer_trains(make: Make, tmp_path: Path) -> None:
    second = make("second", {"train": {"gamma": [21, 22], "delta": [23]}})
    merge_harvests([make("first", FIRST), second], tmp_path / "out")
    assert "gamma" not in projects_of(shards_in(tmp_path / "out" / "train"))
    assert "gamma" in projects_of(shards_in(tmp_path / "out" / "test"))


def test_a_function_that_is_there_twice_is_kept_once_and_held_out_first(make: Make, tmp_path: Path) -> None:
    second = make("second", {"train": {"alpha": [3, 8], "delta": [6]}})
    merged = merge_harvests([make("first", FIRST), second], tmp_path / "out")
    assert merged.copies == 2 and merged.functions == {"train": 5, "validation": 1, "test": 2}
    names = [name for split in FIRST for _, name in functions_in(tmp_path / "out" / split)]
    assert len(names) == len(set(names)) == 8
    assert ("gamma", "6.py::f6") in functions_in(tmp_path / "out" / "test")


def test_folders_without_a_corpus_are_merged_too(make: Make, tmp_path: Path) -> None:
    first = make("first", FIRST, corpus=False)
    merge_harvests([first], tmp_path / "out")
    assert not (tmp_path / "out" / functions_file("train")).exists()
    assert json.loads((tmp_path / "out" / "corpus.json").read_text())["projects"] == {}


@pytest.mark.parametrize(
    ("options", "named"), [({"layer": 0}, "layer"), ({"mutants": 3}, "tree")], ids=["layer", "mutants"]
)
def test_other_options_are_refused_by_name(
    make: Make, tmp_path: Path, options: dict[str, int], named: str
) -> None:
    second = make("second", {"train": {"delta": [11]}}, **options)
    with pytest.raises(FingerprintError, match=f"made with another {named} than .*train"):
        merge_harvests([make("first", FIRST), second], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_side_that_is_missing_or_would_be_empty_is_told(make: Make, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected a harvest with a folder validation"):
        merge_harvests([make("half", {"train": {"a": [1]}, "test": {"b": [2]}})], tmp_path / "out")
    with pytest.raises(InputError, match="got no folders"):
        merge_harvests([], tmp_path / "out")
    sides: dict[Split, Projects] = {"train": {"jedi": [1]}, "validation": {"b": [2]}, "test": {"parso": [3]}}
    with pytest.raises(InputError, match="no function is left for train"):
        merge_harvests([make("relatives", sides)], tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["half", "relatives"]


def test_a_folder_with_files_in_it_is_not_written_to(make: Make, tmp_path: Path) -> None:
    first = make("first", FIRST)
    with pytest.raises(StorageError, match="expected a folder that is new or empty"):
        merge_harvests([first], first)


def test_a_disk_that_can_t_be_written_is_told(make: Make, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="can't be put together"):
        merge_harvests([make("first", FIRST)], tmp_path / "file" / "out")


def test_a_harvest_that_does_not_say_what_it_was_made_with_is_refused(make: Make, tmp_path: Path) -> None:
    first = make("first", FIRST)
    (first / "train" / ABOUT).write_text("{}")
    with pytest.raises(InputError, match=r"expected what a harvest was made with"):
        merge_harvests([first], tmp_path / "out")
