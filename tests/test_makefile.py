"""`make demo` maps what `ace check` says to success and failure; nothing is installed here."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="needs make")


def demo(environment: Path, check: str) -> subprocess.CompletedProcess[str]:
    """Run `make demo` in an environment that is ready and whose `ace check` is the given shell text."""
    program = environment / "bin/ace"
    program.parent.mkdir(parents=True)
    program.write_text(f'#!/bin/sh\n[ "$1" = check ] || exit 0\n{check}\n', encoding="utf-8")
    program.chmod(0o755)
    for stamp in (".ready", ".engine"):
        (environment / stamp).touch()
    return subprocess.run(
        ["make", "demo", f"VENV={environment}"], cwd=ROOT, capture_output=True, text=True, timeout=60
    )


def test_the_demo_succeeds_when_findings_were_printed(tmp_path: Path) -> None:
    done = demo(tmp_path / "env", "echo 'example.py:3:4 off-by-one'; exit 1")
    assert done.returncode == 0, done.stderr
    assert "example.py:3:4 off-by-one" in done.stdout


def test_the_demo_fails_and_says_so_when_there_was_no_finding(tmp_path: Path) -> None:
    done = demo(tmp_path / "env", "echo 'no findings'; exit 0")
    assert done.returncode != 0
    assert "no finding in ace_analysis/examples/buggy_example.py" in done.stderr


@pytest.mark.parametrize(
    "check",
    ["echo 'example.py: not readable'; exit 2", "echo Traceback >&2; exit 1", "exit 137"],
    ids=["could not be done", "crashed before anything was printed", "killed"],
)
def test_the_demo_fails_when_the_check_did(tmp_path: Path, check: str) -> None:
    done = demo(tmp_path / "env", check)
    assert done.returncode != 0
    assert "ace check failed with status" in done.stderr


def test_the_help_lists_every_target(tmp_path: Path) -> None:
    done = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True)
    listed = {line.split()[0] for line in done.stdout.splitlines() if line.startswith("  ")}
    assert {"demo", "test", "lint", "types", "fix", "bench", "contracts", "model", "clean", "help"} <= listed
    assert {"editors-setup", "test-editors"} <= listed
