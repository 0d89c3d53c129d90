"""Mutants against tests, in processes of their own."""

import gzip
import json
from pathlib import Path

import pytest

from ace_analysis.errors import InputError
from ace_analysis.evaluation.mutants import SurvivalOptions, measure_survivors, read_tested
from ace_analysis.source.mutation import MutationType

FUNCTION = "def f(a, b):\n    if a < b:\n        return b - a\n    return a - b + 1\n"
STRONG = "\n".join(
    f"assert f({a}, {b}) == {b - a if a < b else a - b + 1}" for a in range(3) for b in range(3)
)


def write(folder: Path, rows: list[dict[str, object]], name: str = "set.jsonl") -> Path:
    path = folder / name
    text = "".join(json.dumps(row) + "\n" for row in rows)
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    return path


def test_good_tests_notice_every_mutant_and_empty_ones_none(tmp_path):
    strong = write(tmp_path, [{"fixed": FUNCTION, "tests": STRONG}], "strong.jsonl")
    weak = write(tmp_path, [{"fixed": FUNCTION, "tests": "assert f"}], "weak.jsonl.gz")
    options = SurvivalOptions(mutants_per_function=4)
    assert measure_survivors(strong, options).share == 0
    report = measure_survivors(weak, options)
    assert report.share == 1
    assert sum(report.run.values()) == len(report.survivors) == 4
    assert {report.share_of(pair.mutation_type) for pair in report.survivors} == {1.0}


def test_a_type_that_was_not_run_has_no_share(tmp_path):
    report = measure_survivors(write(tmp_path, []))
    assert report.share == 0
    assert report.share_of(MutationType.COMPARISON) is None


def test_functions_whose_own_tests_fail_are_left_out(tmp_path):
    path = write(tmp_path, [{"fixed": FUNCTION, "tests": "assert f(1, 2) == 5"}])
    report = measure_survivors(path)
    assert (report.functions, report.failing, report.run) == (0, 1, {})


def test_the_same_seed_runs_the_same_mutants(tmp_path):
    path = write(tmp_path, [{"fixed": FUNCTION, "tests": "assert f"}] * 2)
    options = SurvivalOptions(functions=1, mutants_per_function=2, seed=5)
    assert measure_survivors(path, options).survivors == measure_survivors(path, options).survivors


def test_progress_is_reported_for_each_function(tmp_path):
    seen: list[float | None] = []
    path = write(tmp_path, [{"fixed": FUNCTION, "tests": "assert f"}] * 2)
    measure_survivors(path, SurvivalOptions(mutants_per_function=1), lambda _, share: seen.append(share))
    assert seen == [0.0, 0.5]


@pytest.mark.parametrize("line", ["nonsense", "[]", '{"fixed": "x"}'])
def test_a_line_without_code_and_tests_is_named(tmp_path, line):
    path = tmp_path / "set.jsonl"
    path.write_text(f"{json.dumps({'fixed': 'x = 1', 'tests': 'x'})}\n{line}\n")
    with pytest.raises(InputError, match=r"set.jsonl:2: expected a JSON object with `fixed` and `tests`"):
        list(read_tested(path))
