"""`ace train disentangler` refuses what it can't train on, and says how it is used."""

from pathlib import Path

from typer.testing import CliRunner

from ace_analysis.cli import app


def run(*arguments: str) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, ["train", "disentangler", *arguments], prog_name="ace")
    return done.exit_code, done.stdout, done.stderr


def test_a_folder_without_a_harvest_says_what_to_run(tmp_path: Path) -> None:
    code, out, err = run(str(tmp_path), "--layer", "2", "--out", str(tmp_path / "out"), "--quiet")
    assert code == 2 and not out and "run `ace train harvest`" in err
    assert not (tmp_path / "out").exists()


def test_a_layer_has_to_be_named(tmp_path: Path) -> None:
    code, _, err = run(str(tmp_path), "--out", str(tmp_path / "out"))
    assert code == 2 and "--layer" in err


def test_help_names_its_options() -> None:
    code, out, _ = run("--help")
    assert code == 0
    assert all(option in out for option in ("--layer", "--distinct", "--width", "--json"))
