"""Bug data in its form, and data that is not."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from ace_analysis.errors import InputError
from ace_analysis.evaluation.repair_tasks import (
    MUTANTS,
    Half,
    changed_lines,
    read_clean,
    read_tasks,
)

RIGHT = "def f(a, b):\n    if a < b:\n        return b - a\n    return a - b\n"
WRONG = RIGHT.replace("a < b", "a > b")


def row(name: str, **changed: Any) -> dict[str, Any]:
    return {"id": name, "buggy": WRONG, "fixed": RIGHT, "tests": "assert f(1, 2) == 1", "meta": {}, **changed}


def write(folder: Path, stem: str, rows: list[dict[str, Any]]) -> None:
    text = "".join(json.dumps(each) + "\n" for each in rows)
    if stem.endswith(".gz"):
        (folder / stem).write_bytes(gzip.compress(text.encode()))
    else:
        (folder / f"{stem}.jsonl").write_text(text)


def test_a_task_names_the_line_and_both_of_its_forms(tmp_path):
    write(tmp_path, "quixbugs", [row("quixbugs/f")])
    (task,) = read_tasks(tmp_path, "quixbugs").tasks
    assert (task.line, task.wrong, task.right) == (1, "    if a > b:", "    if a < b:")
    assert task.half is Half.REPORT


def test_what_is_no_one_line_bug_with_tests_is_left_out_and_counted(tmp_path):
    rows = [
        row("d/logic", meta={"group": "logic"}),
        row("d/syntax", meta={"group": "syntax"}),
        row("d/inserted", meta={"group": "logic"}, fixed=RIGHT + "\n\nx = 1\n"),
        row("d/two", meta={"group": "logic"}, fixed=RIGHT.replace("a - b", "b - a")),
        row("d/broken", meta={"group": "logic"}, buggy=RIGHT.replace("a < b:", "a < b")),
        row("d/untested", meta={"group": "logic"}, tests=" "),
        row("d/without", meta={"group": "logic"}, tests=None),
        row("d/long", meta={"group": "logic"}, buggy=WRONG + "x = 1\n" * 60, fixed=RIGHT + "x = 1\n" * 60),
    ]
    write(tmp_path, "debugbench_single.jsonl.gz", rows)
    found = read_tasks(tmp_path, "debugbench")
    assert [task.id for task in found.tasks] == ["d/logic"]
    assert found.left_out == {
        "another group": 1,
        "not one changed line": 2,
        "does not parse": 1,
        "no tests": 2,
        "over 60 lines": 1,
    }


def test_a_line_end_at_the_end_of_one_text_alone_is_no_change(tmp_path):
    write(tmp_path, "quixbugs", [row("q/1", buggy=WRONG.rstrip("\n")), row("q/2", fixed=RIGHT + "\n")])
    assert [task.line for task in read_tasks(tmp_path, "quixbugs").tasks] == [1, 1]


def test_the_halves_share_no_problem_and_together_are_everything(tmp_path):
    write(tmp_path, "llmbugs", [row(f"l/{n}", meta={"problem": f"p{n // 2}"}) for n in range(40)])
    halves = {half: read_tasks(tmp_path, "llmbugs", half).tasks for half in Half}
    problems = [{task.problem for task in tasks} for tasks in halves.values()]
    assert all(problems)
    assert not problems[0] & problems[1]
    assert {t.id for tasks in halves.values() for t in tasks} == {f"l/{n}" for n in range(40)}


def test_the_order_does_not_depend_on_that_of_the_file(tmp_path):
    rows = [row(f"q/{n}") for n in range(9)]
    write(tmp_path, "quixbugs", rows)
    first = read_tasks(tmp_path, "quixbugs").tasks
    write(tmp_path, "quixbugs", rows[::-1])
    assert read_tasks(tmp_path, "quixbugs").tasks == first


def test_mutants_are_the_same_each_time_and_differ_in_one_line(tmp_path):
    rows = [row(f"mbpp/{n}", buggy=None, fixed=RIGHT.replace("f(", f"f{n}(")) for n in range(8)]
    write(tmp_path, "clean_mbpp", [*rows, row("mbpp/none", buggy=None, fixed="x = y")])
    found = read_tasks(tmp_path, MUTANTS)
    assert found.tasks == read_tasks(tmp_path, MUTANTS).tasks
    assert len(found.tasks) == 8
    assert len({task.id.split("/")[-1] for task in found.tasks}) > 1
    assert all(changed_lines(task.buggy, task.fixed) == [task.line] for task in found.tasks)
    assert found.left_out == {"nothing to mutate": 1}


def test_clean_programs_are_read_with_their_tests(tmp_path):
    write(tmp_path, "clean_mbpp", [row(f"mbpp/{n}", buggy=None) for n in range(10)])
    both = [read_clean(tmp_path, half) for half in Half]
    assert sum(map(len, both)) == len(read_clean(tmp_path)) == 10
    assert all(each.text == RIGHT and each.tests for each in both[0])


@pytest.mark.parametrize("stem", ["ours", "ours.jsonl.gz"])
def test_any_file_of_this_form_is_a_set_all_of_which_is_for_reporting(tmp_path, stem):
    needed = {"id", "buggy", "fixed", "tests"}
    rows = [{name: row(f"Ours/{n}")[name] for name in needed} for n in range(20)]
    write(tmp_path, stem, rows)
    for name in ("ours", "ours.jsonl", "ours.jsonl.gz", str(tmp_path / "ours")):
        assert len(read_tasks(tmp_path, name, Half.REPORT).tasks) == 20
    validation = read_tasks(tmp_path, "ours", Half.VALIDATION)
    assert (validation.tasks, validation.left_out) == ((), {"in the other half": 20})


def test_a_set_that_is_named_with_its_files_ending_keeps_its_halves(tmp_path):
    write(tmp_path, "llmbugs", [row(f"l/{n}", meta={"problem": f"p{n}"}) for n in range(20)])
    for half in Half:
        tasks = read_tasks(tmp_path, "llmbugs", half).tasks
        assert 0 < len(tasks) < 20 and read_tasks(tmp_path, "llmbugs.jsonl", half).tasks == tasks


def test_a_set_that_is_not_there_is_named(tmp_path):
    with pytest.raises(InputError, match=r"quixbugs.jsonl or quixbugs.jsonl.gz .* sets are quixbugs"):
        read_tasks(tmp_path, "quixbugs")


@pytest.mark.parametrize("line", ["nonsense", "[]", '{"buggy": "x"}'])
def test_a_line_that_is_no_task_is_named(tmp_path, line):
    (tmp_path / "quixbugs.jsonl").write_text(f"{json.dumps(row('q/1'))}\n{line}\n")
    with pytest.raises(InputError, match=r"quixbugs.jsonl:2: expected a JSON object with an `id`"):
        read_tasks(tmp_path, "quixbugs")


@pytest.mark.parametrize("missing", ["buggy", "fixed"])
def test_a_task_without_its_texts_is_named(tmp_path, missing):
    write(tmp_path, "quixbugs", [row("q/1", **{missing: None})])
    with pytest.raises(InputError, match=f":1: expected text as `{missing}` of q/1, got NoneType"):
        read_tasks(tmp_path, "quixbugs")


def test_tests_that_are_no_text_are_named(tmp_path):
    write(tmp_path, "quixbugs", [row("q/1", tests=["assert f(1, 2) == 1"])])
    with pytest.raises(InputError, match=":1: expected text as `tests` of q/1, got list"):
        read_tasks(tmp_path, "quixbugs")
