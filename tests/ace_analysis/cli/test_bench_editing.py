"""What the bench of editing says of requests that can't be run."""

from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ace_analysis.cli import app
from ace_analysis.cli.bench_editing import ERROR_HEADINGS, HEADINGS, _cell, _errors_cell, _tell, _tell_errors
from ace_analysis.cli.editing_benching import identity_of
from ace_analysis.source.corpus import CodeFunction


def run(*arguments: str) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, ["bench", "editing", *arguments], prog_name="ace")
    return done.exit_code, done.stdout, done.stderr


def test_a_folder_without_a_harvest_says_what_to_run(tmp_path: Path) -> None:
    code, out, err = run(str(tmp_path), "--word", "np", "--quiet")
    assert code == 2 and not out and "ace train harvest" in err


def test_numbers_that_are_none_are_refused(tmp_path: Path) -> None:
    code, _, err = run(str(tmp_path), "--word", "np", "--mu", "4,x")
    assert code == 2 and "expected numbers with commas" in err


def test_help_names_its_options() -> None:
    code, out, _ = run("--help")
    assert code == 0 and all(option in out for option in ("--word", "--mu", "--tau", "--json"))
    assert all(option in out for option in ("--errors", "--kind", "--problems", "--pass-at-1"))


def test_words_or_errors_are_erased_and_not_both(tmp_path: Path) -> None:
    for arguments in ((), ("--word", "np", "--errors")):
        code, _, err = run(str(tmp_path), *arguments)
        assert code == 2 and "expected --word or --errors" in err


@pytest.mark.parametrize("what", [["--errors"], ["--word", "np"]])
def test_problems_to_solve_need_a_folder(tmp_path: Path, what: list[str]) -> None:
    code, _, err = run(str(tmp_path), *what, "--pass-at-1", "3", "--quiet")
    assert code == 2 and "expected a folder with problems to solve 3 of" in err


def test_errors_without_functions_say_what_to_run(tmp_path: Path) -> None:
    code, out, err = run(str(tmp_path), "--errors", "--quiet")
    assert code == 2 and not out and "expected the functions of a harvest" in err


def test_what_is_kept_of_functions_is_kept_of_these_only() -> None:
    one = CodeFunction(project="p", path="a.py::f", text="def f():\n    return 1\n", header="")
    other = replace(one, text="def f():\n    return 2\n")
    assert identity_of([one, other]) == identity_of([one, other])
    assert len({identity_of(each) for each in ([one], [other], [one, other], [other, one])}) == 4


def test_what_erased_errors_do_is_told_in_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    share = {"value": 0.25, "low": 0.1, "high": 0.5}
    arm = {
        "activation_fall": None,
        "detection": {"own": {"pair": share}},
        "perplexity": share,
        "pass_at_1": {"problems": 12, "pass_at_1": share, "difference": {**share, "low": None}},
    }
    _tell_errors({"bugs": {"boolean": 3, "arithmetic": 4}, "loss_tokens": 1234, "arms": {"as it is": arm}})
    shown = capsys.readouterr().out
    assert "7 planted bugs, 1,234 tokens of held-out code; 12 problems" in shown
    assert "10.00% to 50.00%" in shown and all(each in shown for each in ("as it is", "pass@1"))
    assert _errors_cell(arm, "detection/others/pair") == _errors_cell(arm, "activation_fall") == "-"
    assert "detection/own/pair" in ERROR_HEADINGS


def test_what_a_model_still_does_has_a_table_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    share = {"value": 0.25, "low": 0.1, "high": 0.5}
    measured = {
        "concept": {"concept": "np", "latents": [1]},
        "texts": {"places": 3, "with": 2, "without": 4},
        "arms": {"PISCES": dict.fromkeys(HEADINGS, share)},
        **{"mu": 4.0, "tau": 0.5, "rows": 7},
    }
    _tell(measured)
    assert "still does" not in capsys.readouterr().out
    repair = {"own": {"filled": share, "preferred": share}}
    _tell(measured | {"behaviour": {"PISCES": {"repair": repair}}})
    shown = capsys.readouterr().out
    assert "what it still does" in shown and "line mended" in shown and shown.count("25.00%") == 6


def test_a_cell_tells_its_interval_where_there_is_one() -> None:
    assert _cell({"value": 0.5, "low": 0.25, "high": 0.75}) == "50.00%\n25.00% to 75.00%"
    assert _cell({"value": 0.5, "low": None, "high": None}) == "50.00%"
    assert _cell({"value": None, "low": None, "high": None}) == "-"
    assert "probability_fall" in HEADINGS
