"""A bar on a terminal; elsewhere a line for each step and each tenth."""

import pytest
from rich.console import Console

from ace_analysis.cli import bar
from ace_analysis.cli.pulling import PullReporter


def test_a_pipe_gets_a_line_for_each_tenth(capsys: pytest.CaptureFixture[str]) -> None:
    with PullReporter() as progress:
        for step in range(101):
            progress(f"downloading m: {step} MB of 100 MB", step / 100)
        progress("converting m", None)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "ace: downloading m: 0 MB of 100 MB" and lines[-1] == "ace: converting m"
    assert len(lines) == 12


def test_a_pipe_gets_no_line_twice(capsys: pytest.CaptureFixture[str]) -> None:
    with PullReporter() as progress:
        for step in range(101):
            progress("verifying m", step / 100)
    assert capsys.readouterr().err == "ace: verifying m\n"


def test_quiet_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with PullReporter(quiet=True) as progress:
        progress("downloading", 0.5)
    assert capsys.readouterr().err == ""


def test_a_terminal_gets_a_bar_that_is_gone_at_the_end(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bar, "Console", lambda stderr: Console(stderr=stderr, force_terminal=True, width=80))
    with PullReporter() as progress:
        progress("downloading m", 0.5)
        progress("converting m", None)
    shown = capsys.readouterr().err
    assert "ace: " not in shown and shown.endswith("\x1b[2K")
