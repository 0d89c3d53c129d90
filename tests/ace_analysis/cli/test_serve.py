"""`ace serve` and `ace worker` become other processes with the same pipes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from ace_analysis.cli import serve

ACE = [sys.executable, "-c", "from ace_analysis.cli import main; main()"]


def framed(message: dict) -> bytes:
    body = json.dumps({"jsonrpc": "2.0", **message}).encode()
    return b"Content-Length: %d\r\n\r\n" % len(body) + body


def test_the_worker_answers_on_the_same_pipes_and_ends_with_its_input() -> None:
    asked = framed({"id": 1, "method": "nothing/known"})
    done = subprocess.run([*ACE, "worker"], input=asked, capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(b"Content-Length: ")
    assert b"expected one of ace/load" in done.stdout


def test_a_file_of_the_project_is_not_taken_for_a_library(tmp_path: Path) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit('the project was imported')\n", encoding="utf-8")
    done = subprocess.run(
        [Path(sys.executable).with_name("ace"), "worker"],
        input=b"",
        capture_output=True,
        timeout=60,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr


def test_arguments_are_passed_on_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    became: list[list[str]] = []
    monkeypatch.setattr(os, "execv", lambda path, command: became.append(command))
    serve.become("ace_lsp", ["--tcp", "--port", "0"])
    assert became == [[sys.executable, "-P", "-m", "ace_lsp", "--tcp", "--port", "0"]]


def test_where_exec_would_end_the_process_a_child_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve.subprocess, "call", lambda command: 7)
    with pytest.raises(typer.Exit) as caught:
        serve.become("ace_lsp", [], by_exec=False)
    assert caught.value.exit_code == 7


def test_serve_is_the_language_server() -> None:
    done = subprocess.run([*ACE, "serve", "--version"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
