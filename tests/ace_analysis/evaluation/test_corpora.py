"""Whole projects are held out, nothing is on two sides, and what was begun is gone on with."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from ace_analysis.errors import FingerprintError, InputError, StorageError
from ace_analysis.evaluation.corpora import (
    FUNCTIONS_PER_FILE,
    SPLITS,
    CorpusRequest,
    about_projects,
    corpus_in,
    gather,
    sides_of,
)

FUNCTION = """
def {name}(values):
    total = {number}
    for value in values:
        if value > {number}:
            total += value
    return total
"""
Make = Callable[..., Path]


@pytest.fixture
def projects(tmp_path: Path) -> Make:
    """A folder of projects, each with the given number of files of six functions."""

    def make(*names: str, files: int = 1) -> Path:
        root = tmp_path / "projects"
        for at, name in enumerate(names):
            for file in range(files):
                path = root / name / f"f{file}.py"
                path.parent.mkdir(parents=True, exist_ok=True)
                numbers = [1000 * at + 10 * file + k for k in range(6)]
                path.write_text("".join(FUNCTION.format(name=f"f{n}", number=n) for n in numbers))
        return root

    return make


NAMES = ("alpha", "beta", "gamma", "delta", "epsilon")


def request(*names: Path | str, **options: object) -> CorpusRequest:
    return CorpusRequest(names=tuple(map(str, names)), projects=True, **options)  # pyright: ignore


def test_no_project_and_no_function_is_on_two_sides(projects: Make) -> None:
    corpus = gather(request(projects(*NAMES)))
    sides = [{each.project for each in corpus.functions[split]} for split in SPLITS]
    assert all(sides) and sum(map(len, sides)) == len(set.union(*sides)) == len(NAMES)


def test_a_copied_function_is_kept_on_the_held_out_side_alone(projects: Make) -> None:
    root = projects(*NAMES)
    for name in NAMES:
        (root / name / "copied.py").write_text(FUNCTION.format(name="copied", number=77))
    corpus = gather(request(root))
    copies = [(s, f) for s in SPLITS for f in corpus.functions[s] if "copied" in f.text]
    assert len(copies) == 1 and copies[0][0] == "test"


def test_no_file_and_no_project_gives_more_than_its_share(projects: Make) -> None:
    corpus = gather(request(projects(*NAMES, files=3), per_project=7))
    everything = [each for split in SPLITS for each in corpus.functions[split]]
    for name in NAMES:
        own = [each.path.split("::")[0] for each in everything if each.project == name]
        assert len(own) == 7
        assert max(own.count(path) for path in own) <= FUNCTIONS_PER_FILE


def test_training_has_at_most_so_many_functions(projects: Make) -> None:
    assert len(gather(request(projects(*NAMES), functions=2)).functions["train"]) == 2


def test_relatives_of_held_out_projects_do_not_train(projects: Make, tmp_path: Path) -> None:
    told: list[str] = []
    root = projects(*NAMES, "httpx", "httpx2", "jedi", "parso")
    corpus = gather(request(root), lambda text, _: told.append(text))
    used = {each.project: split for split in SPLITS for each in corpus.functions[split]}
    assert used["httpx2"] == "test" and used["parso"] == "validation"
    assert {each.project: each.relative for each in corpus.left_out} == {"httpx": "httpx2", "jedi": "parso"}
    assert not {"httpx", "jedi"} & set(used) and set(NAMES) <= set(used)
    assert all(each.functions == FUNCTIONS_PER_FILE for each in corpus.left_out)
    assert "left out 2 projects with relatives on another side of the split" in told
    assert corpus_in(tmp_path / "h", request(root)) == corpus_in(tmp_path / "h", request(root))
    assert corpus_in(tmp_path / "h", request(root)).left_out == corpus.left_out


def test_a_side_that_only_relatives_would_fill_is_refused(projects: Make) -> None:
    with pytest.raises(InputError, match=r"no project is left for train: httpx \(train\), a relative of"):
        gather(request(projects("httpx", "httpx2", "parso")))


def test_sides_are_never_empty_with_three_projects() -> None:
    for number in range(20):
        sides = sides_of({f"p{number}-{k}": k + 1 for k in range(3)})
        assert set(sides.values()) == set(SPLITS)


def test_too_few_projects_are_refused(projects: Make) -> None:
    with pytest.raises(InputError, match=r"got 2 with functions.*--projects"):
        gather(request(projects("alpha", "beta")))


def test_what_is_no_corpus_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"expected a folder, a \.jsonl file or `installed`"):
        gather(request(tmp_path / "missing"))


def test_json_lines_name_their_projects(tmp_path: Path) -> None:
    path = tmp_path / "code.jsonl"
    rows = [{"code": FUNCTION.format(name=f"f{n}", number=n), "project": f"p{n % 4}"} for n in range(12)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    corpus = gather(request(path))
    assert {each.project for split in SPLITS for each in corpus.functions[split]} == {"p0", "p1", "p2", "p3"}


def test_a_folder_goes_on_with_the_functions_that_it_was_begun_with(projects: Make, tmp_path: Path) -> None:
    root, folder = projects(*NAMES), tmp_path / "harvest"
    first = corpus_in(folder, request(root))
    for path in root.rglob("*.py"):
        path.unlink()
    assert corpus_in(folder, request(root)) == first
    with pytest.raises(FingerprintError, match="another per_project"):
        corpus_in(folder, request(root, per_project=1))


def test_a_folder_that_can_t_be_written_is_told(projects: Make, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="corpus can't be written"):
        corpus_in(tmp_path / "file", request(projects(*NAMES)))


def test_versions_and_licences_are_read_from_a_corpus_or_a_plain_table(tmp_path: Path) -> None:
    path = tmp_path / "about.json"
    for content in ({"a": ["1.0", "MIT"]}, {"request": {}, "projects": {"a": ["1.0", "MIT"]}}):
        path.write_text(json.dumps(content).replace("MIT", "MIT License"))
        assert about_projects(path) == {"a": ("1.0", "MIT")}
    path.write_text('{"a": 3}')
    with pytest.raises(InputError, match="version, licence"):
        about_projects(path)
