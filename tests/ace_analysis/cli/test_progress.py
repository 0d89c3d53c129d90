"""What is told on stderr while a check runs."""

import pytest

from ace_analysis.cli import progress
from ace_analysis.cli.progress import Reporter
from ace_analysis.report.finding import FileReport
from ace_analysis.report.run import CheckedFile
from ace_analysis.source.document import CodeDocument


def a_file(**fields) -> CheckedFile:
    return CheckedFile(report=FileReport(path="a.py", **fields), document=CodeDocument(uri="a.py", text=""))


def test_a_step_is_told_once_however_often_it_is_reported(capsys: pytest.CaptureFixture[str]) -> None:
    with Reporter(lambda file: None) as reporter:
        for fraction in (None, 0.1, 0.2):
            reporter.loading("loading the model", fraction)
        reporter.loading("ready", 1.0)
    assert capsys.readouterr().err == "ace: loading the model\nace: ready\n"


def test_files_are_counted_now_and_then(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: now)
    with Reporter(lambda file: None) as reporter:
        for done in range(30):
            now = float(done)
            reporter.checking("a.py", done, 1000)
    lines = capsys.readouterr().err.splitlines()
    assert lines == ["ace: 10 of 1,000 files checked", "ace: 20 of 1,000 files checked"]


def test_errors_are_told_even_quietly_and_notes_are_not(capsys: pytest.CaptureFixture[str]) -> None:
    shown: list[CheckedFile] = []
    with Reporter(shown.append, quiet=True) as reporter:
        reporter.loading("loading", None)
        reporter.note("a note")
        reporter.checked(a_file(error="broken", notes=("odd",)))
    assert capsys.readouterr().err == "ace: error: a.py: broken\n"
    assert len(shown) == 1


def test_notes_name_their_file(capsys: pytest.CaptureFixture[str]) -> None:
    with Reporter(lambda file: None) as reporter:
        reporter.checked(a_file(notes=("line 3: odd",)))
    assert capsys.readouterr().err == "ace: note: a.py: line 3: odd\n"


def test_a_bar_on_a_terminal_is_gone_before_results_are_written(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    bars: list[bool] = []
    with Reporter(lambda file: bars.append(reporter._bar.on_terminal)) as reporter:
        reporter.loading("loading", 0.5)
        reporter.checking("a.py", 1, 2)
        reporter.checked(a_file())
        bars.append(reporter._bar.on_terminal)
    bars.append(reporter._bar.on_terminal)
    assert bars == [False, True, False]
    assert "a.py" in capsys.readouterr().err


def test_a_mistake_leaves_its_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    with Reporter(lambda file: None) as reporter:
        reporter.mistake(RuntimeError("boom"))
    assert "RuntimeError: boom" in capsys.readouterr().err
