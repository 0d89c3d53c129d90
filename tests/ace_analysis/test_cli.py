"""The command line as it is installed: quick to start, and free of torch until a model is needed."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import ace_analysis

ACE = Path(sys.executable).with_name("ace")
HEAVY = ("torch", "numpy", "transformers", "sae_lens", "transformer_lens", "tokenizers", "safetensors")


def run(*arguments: str, cwd: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    inherited = {name: value for name, value in os.environ.items() if name not in ("FORCE_COLOR", "NO_COLOR")}
    return subprocess.run(
        [ACE, *arguments],
        cwd=cwd,
        env={**inherited, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        stdin=subprocess.DEVNULL,
        encoding="utf-8",
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["--version"],
        ["check", "--help"],
        ["check", "--schema"],
        ["check", "empty"],
        ["check", "nowhere"],
        ["serve", "--help"],
    ],
)
def test_no_heavy_library_is_imported_for(arguments: list[str], tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    code = (
        f"import sys; sys.argv = ['ace', *{arguments!r}]\n"
        "from ace_analysis.cli import main\n"
        "try:\n    main()\nfinally:\n    print('LOADED', *sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    loaded = set(done.stderr.split("LOADED")[-1].split())
    assert "typer" in loaded, done.stderr
    assert not loaded & set(HEAVY)


def test_the_version_is_the_distributions() -> None:
    done = run("--version")
    assert (done.returncode, done.stdout) == (0, f"ace {ace_analysis.__version__}\n")


def test_the_help_names_every_command() -> None:
    done = run("--help")
    for name in ("check", "model", "cache", "train", "bench", "serve", "worker"):
        assert f" {name} " in done.stdout


def test_the_help_of_check_says_how_it_ends_and_what_json_means() -> None:
    text = " ".join(run("check", "--help").stdout.split())
    for part in ("Exit code.", "130", "--json writes one object", "# ace: ignore[off-by-one]", "--schema"):
        assert part in text


def test_without_a_command_the_help_is_shown() -> None:
    assert "Usage: ace" in run().stdout + run().stderr


def test_a_terminal_that_knows_ascii_alone_costs_nothing(tmp_path: Path) -> None:
    (tmp_path / "ünï.py").write_bytes(b"\0")
    done = run("check", "ünï.py", cwd=tmp_path, PYTHONIOENCODING="ascii")
    assert done.returncode == 2
    assert "\\xfcn\\xef.py: expected Python source" in done.stderr


def test_a_name_that_is_no_text_can_be_reported(tmp_path: Path) -> None:
    try:
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.py")).write_bytes(b"\0")
    except OSError:
        pytest.skip("this file system takes text only")
    done = run("check", ".", "--json", cwd=tmp_path)
    assert done.returncode == 2
    (file,) = json.loads(done.stdout)["files"]
    assert file["path"] == "\\xff.py"


def test_a_reader_that_leaves_early_is_no_traceback(tmp_path: Path) -> None:
    command = f"{ACE} check --schema | head -c 1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, cwd=tmp_path)
    assert done.stdout == "{"
    assert "Traceback" not in done.stderr
