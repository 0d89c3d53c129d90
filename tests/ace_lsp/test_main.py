import subprocess
import sys
from pathlib import Path

import pytest

import ace_analysis


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "ace_lsp", *arguments]
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)


def test_the_version_is_said_on_stdout():
    done = run("--version")
    assert (done.returncode, done.stdout) == (0, f"ace-lsp {ace_analysis.__version__}\n")


def test_the_help_names_every_way_in():
    done = run("--help")
    assert done.returncode == 0
    for option in ("--stdio", "--pipe", "--socket", "--tcp", "--log-file", "--log-level", "--version"):
        assert option in done.stdout


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--nonsense"], "unrecognized arguments"),
        (["--tcp", "x"], "expected a port, or host:port, got 'x'"),
        (["--tcp", "70000"], "got '70000'"),
        (["--stdio", "--tcp", "1"], "not allowed with argument"),
        (["--log-level", "loud"], "invalid choice"),
    ],
)
def test_bad_arguments_end_with_2_and_say_what_is_wrong(arguments, told):
    done = run(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert told in done.stderr


def test_a_log_file_that_cannot_be_written_is_named(tmp_path: Path):
    done = run("--log-file", str(tmp_path / "no" / "log"))
    assert done.returncode == 2
    assert "log: No such file or directory" in done.stderr


@pytest.mark.parametrize("way", [["--pipe", "/nowhere/pipe"], ["--socket", "1"]], ids=str)
def test_a_client_that_cannot_be_reached_ends_the_server_with_1(way):
    done = run(*way)
    assert done.returncode == 1
    assert "can't connect" in done.stderr


def test_an_input_that_ends_at_once_ends_the_server_with_1_and_without_noise():
    done = run("--stdio", "--clientProcessId", "1")
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "")
