"""What the bench of editing says of requests that can't be run."""

from pathlib import Path

from typer.testing import CliRunner

from ace_analysis.cli import app
from ace_analysis.cli.bench_editing import HEADINGS, _cell


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


def test_a_cell_tells_its_interval_where_there_is_one() -> None:
    assert _cell({"value": 0.5, "low": 0.25, "high": 0.75}) == "50.00%\n25.00% to 75.00%"
    assert _cell({"value": 0.5, "low": None, "high": None}) == "50.00%"
    assert _cell({"value": None, "low": None, "high": None}) == "-"
    assert "probability_fall" in HEADINGS
