"""The list names each function that was harvested, with the sum of the text that was read, and fits."""

import gzip
import hashlib
import json
from pathlib import Path

import pytest

from ace_analysis.errors import BundleError
from ace_analysis.evaluation.corpora import functions_file, write_functions
from ace_analysis.evaluation.held_out import Harvested
from ace_analysis.evaluation.made_of import MadeOf, made_of, read_made_of
from ace_analysis.features.bundle_files import CORPUS_FILE
from ace_analysis.features.harvest import read_shard
from ace_analysis.source.corpus import CodeFunction

MANY = {"p": tuple((f"folder/f{n // 5}.py::f{n}", hashlib.sha256(b"%d" % n).hexdigest()) for n in range(200))}


def written(made: MadeOf, folder: Path, largest: int = 10**6) -> MadeOf:
    (folder / CORPUS_FILE).write_bytes(made.packed(largest))
    read = read_made_of(folder)
    assert read is not None
    return read


def test_each_harvested_function_is_listed_with_the_sum_of_its_text(
    harvested: Harvested, few_functions: list[CodeFunction], tmp_path: Path
) -> None:
    write_functions(tmp_path / functions_file("train"), few_functions[:2])
    about = {"p0": ("1.0", "MIT"), "another": ("2.0", "ISC")}
    made = made_of({"train": harvested.shards, "validation": (), "test": ()}, tmp_path, about)
    in_shards = {(t["project"], t["name"]) for path in harvested.shards for t in read_shard(path).trees}
    listed = {
        (project, path): text for project, some in made.functions["train"].items() for path, text in some
    }
    assert set(listed) == in_shards and made.projects == {"p0": ("1.0", "MIT")}
    for number, function in enumerate(few_functions):
        if (function.project, function.path) in listed:
            expected = hashlib.sha256(function.text.encode()).hexdigest() if number < 2 else ""
            assert listed[function.project, function.path] == expected
    assert any(listed.values()) and not all(listed.values())


def test_two_functions_of_one_name_are_both_listed(
    harvested: Harvested, few_functions: list[CodeFunction], tmp_path: Path
) -> None:
    shards = {"train": harvested.shards, "validation": (), "test": ()}
    (project, some), *_ = made_of(shards, tmp_path, {}).functions["train"].items()
    name = some[0][0]
    twice = [CodeFunction(project=project, path=name, text=text, header="") for text in ("one", "other")]
    write_functions(tmp_path / functions_file("train"), twice)
    listed = made_of(shards, tmp_path, {}).functions["train"][project]
    assert len({text for path, text in listed if path == name}) == 2


def test_a_list_reads_back_and_is_the_same_bytes_each_time(tmp_path: Path) -> None:
    made = MadeOf(projects={"p": ("1.0", "MIT")}, functions={"train": {**MANY, "q": (("é.py::f", ""),)}})
    assert written(made, tmp_path) == made
    assert made.packed() == made.packed()
    assert made.projects_of("train") == {"p", "q"} and made.projects_of("test") == frozenset()


def test_where_functions_take_too_much_files_are_listed_with_their_counts(tmp_path: Path) -> None:
    made = MadeOf(projects={}, functions={"train": MANY})
    short = written(made, tmp_path, largest=2_000)
    assert not short.functions and len(short.files["train"]["p"]) == 40
    assert short.files["train"]["p"]["folder/f0.py"] == 5 and short.projects_of("train") == {"p"}
    assert len(short.packed()) < len(made.packed())


def test_a_bundle_without_a_list_has_none(tmp_path: Path) -> None:
    assert read_made_of(tmp_path) is None


@pytest.mark.parametrize(
    "content",
    [
        b"no gzip",
        gzip.compress(b"{"),
        gzip.compress(b'{"format": 2}'),
        gzip.compress(b"[]"),
        gzip.compress(json.dumps({"format": 1, "projects": {"a": 3}}).encode()),
        gzip.compress(b"{}")[:-4],
    ],
)
def test_a_broken_list_is_told(tmp_path: Path, content: bytes) -> None:
    (tmp_path / CORPUS_FILE).write_bytes(content)
    with pytest.raises(BundleError, match=f"{CORPUS_FILE}: expected the list of what the bundle was made of"):
        read_made_of(tmp_path)
