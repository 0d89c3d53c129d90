"""Which file and which line an argument means, and what the engine is told."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from ace_analysis.cli.fixing import EngineRepairer, FixPlan, FixRequest, TestCommand, _options, target_of
from ace_analysis.settings import EngineSettings
from ace_analysis.source.document import CodeDocument
from ace_analysis.source.replacing import SourceFile


@pytest.mark.parametrize(
    ("text", "path", "line"),
    [
        ("m.py", "m.py", None),
        ("m.py:12", "m.py", 12),
        ("a/m.py:12:5", "a/m.py", 12),
        ("m.py:12:", "m.py", 12),
        ("C:\\code\\m.py:3", "C:\\code\\m.py", 3),
        ("C:\\code\\m.py", "C:\\code\\m.py", None),
    ],
)
def test_a_line_stands_behind_the_file(text: str, path: str, line: int | None) -> None:
    assert target_of(text) == (Path(path), line)


@pytest.mark.skipif(os.name != "posix", reason="no colons in file names")
def test_a_file_whose_name_looks_like_one_is_meant_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "m.py:12").touch()
    assert target_of("m.py:12") == (Path("m.py:12"), None)


@pytest.fixture
def request_for(tmp_path: Path) -> Callable[..., FixRequest]:
    def make(**changes: object) -> FixRequest:
        path = tmp_path / "m.py"
        path.write_bytes(b"# coding: latin-1\nx = '\xe9'\n")
        source = SourceFile.read(path, 1000)
        plan = FixPlan(path=path, line=2, settings=EngineSettings(), **changes)  # pyright: ignore
        return FixRequest(
            document=CodeDocument(uri="m.py", text=source.text), place=2, plan=plan, source=source
        )

    return make


def test_the_engine_is_told_the_plan(request_for: Callable[..., FixRequest]) -> None:
    request = request_for(candidates=7, most=2, test=TestCommand(command="pytest", seconds=3.0))
    options = _options(request)
    assert (options.candidates, options.most) == (7, 2)
    assert options.test is not None
    assert (options.test.command, options.test.path, options.test.seconds) == (
        "pytest",
        request.plan.path,
        3.0,
    )


def test_tests_read_the_file_in_its_own_encoding(request_for: Callable[..., FixRequest]) -> None:
    request = request_for()
    assert _options(request).encode("# coding: latin-1\né") == b"# coding: latin-1\n\xe9"


def test_the_engines_answer_is_handed_on(request_for: Callable[..., FixRequest]) -> None:
    class Engine:
        def fix(self, document: CodeDocument, place: int, **rest: object) -> tuple[object, ...]:
            print("a library prints")  # noqa: T201
            return document.uri, place, rest["cancelled"], rest["progress"]

    never, silent = (lambda: False), (lambda message, fraction: None)
    answer = EngineRepairer(Engine()).fix(request_for(), never, silent)  # pyright: ignore
    assert answer == ("m.py", 2, never, silent)
