"""The door to the engine: what comes through it, and what happens where there is none."""

import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from ace_analysis.cli.scanning import EngineScanner, ScanRequest, interruptible, results_alone_on_stdout
from ace_analysis.report.finding import ScopeReport
from ace_analysis.source.document import CodeDocument, TextSpan


def test_the_first_ctrl_c_asks_and_the_second_ends() -> None:
    with pytest.raises(KeyboardInterrupt), interruptible() as asked:
        assert not asked()
        signal.raise_signal(signal.SIGINT)
        assert asked()
        signal.raise_signal(signal.SIGINT)


def test_the_handler_from_before_is_back_afterwards() -> None:
    before = signal.getsignal(signal.SIGINT)
    with interruptible():
        assert signal.getsignal(signal.SIGINT) is not before
    assert signal.getsignal(signal.SIGINT) is before


def test_a_process_that_ignores_the_signal_goes_on_ignoring_it() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with interruptible() as asked:
            signal.raise_signal(signal.SIGINT)
            assert not asked()
    finally:
        signal.signal(signal.SIGINT, before)


def test_outside_of_the_main_thread_nobody_asks() -> None:
    said: list[bool] = []

    def look() -> None:
        with interruptible() as asked:
            said.append(asked())

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert said == [False]


def test_an_error_inside_is_not_taken_for_one_of_ours() -> None:
    with pytest.raises(ValueError, match="mine"), interruptible():
        raise ValueError("mine")


def test_what_libraries_print_goes_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    with results_alone_on_stdout():
        print("chatter")  # noqa: T201 - what a library does
    assert capsys.readouterr() == ("", "chatter\n")


def run_without(library: str, tmp_path: Path) -> subprocess.CompletedProcess[str]:
    """Run `ace check` where a library can't be imported."""
    (tmp_path / "a.py").write_text("x = 1\n", encoding="utf-8")
    code = (
        f"import sys; sys.modules[{library!r}] = None; sys.argv = ['ace', 'check', 'a.py'];"
        "from ace_analysis.cli import main; main()"
    )
    return subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)


def test_without_the_engines_libraries_one_line_says_how_to_install_them(tmp_path: Path) -> None:
    done = run_without("torch", tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "pip install 'ace-lsp[engine]'" in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_missing_part_of_ours_is_a_mistake_and_not_a_missing_installation(tmp_path: Path) -> None:
    done = run_without("ace_analysis.engine", tmp_path)
    assert done.returncode == 2
    assert "pip install" not in done.stderr
    assert "this is a mistake in ACE" in done.stderr


def test_a_request_reaches_the_engine_as_it_is_meant(capsys: pytest.CaptureFixture[str]) -> None:
    """With the real options, and something in the engine's place that remembers."""
    heard: dict[str, Any] = {}

    class Remembering:
        def info(self) -> dict[str, str]:
            return {"model": "m"}

        def scan(self, document: CodeDocument, **rest: Any) -> tuple[ScopeReport, ...]:
            print("chatter")  # noqa: T201 - what a library does
            heard.update(rest, document=document)
            return ()

    scanner = EngineScanner(Remembering())  # type: ignore[arg-type]
    only = (TextSpan(0, 1),)
    document = CodeDocument(uri="x", text="x")
    request = ScanRequest(document=document, max_false_alarms=3.0, sites=True, only=only)
    assert scanner.scan(request, lambda: True, lambda report: None) == ()
    assert scanner.info() == {"model": "m"}
    options = heard["options"]
    assert (options.sites, options.max_false_alarms, options.only, options.first) == (True, 3.0, only, None)
    assert heard["document"] is document and heard["cancelled"]()
    assert capsys.readouterr() == ("", "chatter\n")
