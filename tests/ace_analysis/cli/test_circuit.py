"""`ace circuit` from a place to a table, JSON and a picture."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from ace_analysis.cli import app
from ace_analysis.cli import circuit as command
from ace_analysis.cli.scanning import Progress, ScanRequest
from ace_analysis.engine import circuits
from ace_analysis.errors import Cancelled
from ace_analysis.report.circuit import TARGET, Circuit, CircuitEdge, CircuitNode, circuit_from_json
from ace_analysis.report.finding import Finding, ScopeReport
from ace_analysis.settings import EngineSettings
from ace_analysis.source.document import TextSpan

CIRCUIT = Circuit(
    target="evidence that '<' is wrong here",
    unit="log-odds",
    clean=2.0,
    nothing=-2.0,
    alone=1.0,
    nodes=(
        CircuitNode(name="L1H0", kind="head", layer=1, score=2.0, lost=1.5),
        CircuitNode(name="T3", kind="token", layer=-1, score=0.5, text="x\x1b["),
    ),
    edges=(CircuitEdge("L1H0", TARGET, 2.0), CircuitEdge("T3", "L1H0", 0.5)),
    upstream=10,
    curve=(),
    ablation="zero",
    method="one pass",
    notes=("Edges are estimates.",),
    place="a\x1b.py:2:13",
)


class Loaded:
    """What stands behind the command: it remembers what was asked."""

    def __init__(self) -> None:
        self.engine = object()
        self.settings: list[EngineSettings] = []
        self.asked: list[tuple[Any, ...]] = []

    def load(self, settings: EngineSettings, progress: Progress) -> "Loaded":
        self.settings.append(settings)
        progress("loading", None)
        return self

    def scan(self, request: ScanRequest, cancelled: Any, on_scope: Any) -> tuple[ScopeReport, ...]:
        """One finding, of the comparison."""
        span = TextSpan(request.document.text.index("<"), request.document.text.index("<") + 1)
        finding = Finding(span=span, kind="comparison", score=0.9, threshold=0.5, evidence=())
        return (ScopeReport(scope=span, name="f", findings=(finding,), sites=()),)


@pytest.fixture
def loaded() -> Loaded:
    return Loaded()


@pytest.fixture
def run(loaded: Loaded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """The command in a folder with one file, and a circuit that is found at once."""
    monkeypatch.chdir(tmp_path)
    Path("a.py").write_text("def f(a, b):\n    return a < b\n", encoding="utf-8")

    def found(engine: Any, document: Any, offset: int, options: Any, **rest: Any) -> Circuit:
        loaded.asked.append((engine, document, offset, options, rest))
        return CIRCUIT

    monkeypatch.setattr(circuits, "circuit_at", found)

    def invoke(*arguments: str) -> Any:
        return CliRunner().invoke(app, ["circuit", *arguments], obj=loaded.load, prog_name="ace")

    return invoke


def test_a_person_reads_the_size_the_faithfulness_and_the_nodes(run: Callable[..., Any]) -> None:
    done = run("a.py:2:13")
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith("a\\x1b.py:2:13: evidence that '<' is wrong here\n")
    for text in ("1 of 10 heads and MLPs", "+1.00 of +2.00 log-odds", "faithfulness 0.75", "L1H0", "T3"):
        assert text in done.stdout, text
    assert "\x1b" not in done.stdout and done.stderr == "ace: loading\n"


def test_json_is_the_circuit(run: Callable[..., Any]) -> None:
    done = run("a.py:2:13", "--json", "--quiet")
    assert circuit_from_json(json.loads(done.stdout)) == CIRCUIT and done.stderr == ""


def test_beside_the_finding_of_a_line_it_is_told_what_to_type(run: Callable[..., Any]) -> None:
    done = run("a.py:2:15")
    assert done.exit_code == 0 and "ace: note: no finding at 2:15" in done.stderr
    assert "for that line's, ace circuit a.py:2:13\n" in done.stderr
    assert "note" not in run("a.py:2:15", "--expectation").stderr


def test_options_reach_the_search(run: Callable[..., Any], loaded: Loaded) -> None:
    arguments = ["--method", "cd-t", "--how", "zero", "--tolerance", "0.2", "--expectation", "--model", "m"]
    assert run("a.py:2:13", *arguments).exit_code == 0
    ((engine, document, offset, options, rest),) = loaded.asked
    assert engine is loaded.engine and document.text[offset] == "<"
    assert (options.method, options.ablation.how, options.tolerance) == ("cd-t", "zero", 0.2)
    assert rest["expectation"] is True and loaded.settings[0].model.name == "m"


def test_without_a_method_the_settings_say_which_and_in_which_layers(
    run: Callable[..., Any], loaded: Loaded
) -> None:
    assert run("a.py:2:13").exit_code == 0
    wanted = "[circuit_discovery]\nuse_attention_shortcut = false\ntarget_layers = [1, 2]\n"
    Path("ace.toml").write_text(wanted, encoding="utf-8")
    assert run("a.py:2:13").exit_code == 0
    assert run("a.py:2:13", "--method", "one-pass").exit_code == 0
    options = [each[3] for each in loaded.asked]
    assert [each.method for each in options] == ["one-pass", "cd-t", "one-pass"]
    assert [each.layers for each in options] == [(), (1, 2), (1, 2)]


@pytest.mark.parametrize(("name", "start"), [("graph.svg", "<svg"), ("page.html", "<!doctype html>")])
def test_a_picture_is_drawn(run: Callable[..., Any], name: str, start: str) -> None:
    assert run("a.py:2:13", "-o", name).exit_code == 0
    text = Path(name).read_text(encoding="utf-8")
    assert text.startswith(start) and "L1H0" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["a.py:2:99"], "a.py:2:99: expected a column from 0 to 15"),
        (["a.py:2:2"], "got white space at line 2"),
        (["a.py:2"], "expected FILE:LINE:COL"),
        (["b.py:1:0"], "b.py"),
        (["a.py:2:13", "-o", "a.png"], "--output: expected a name with .html or .svg, got a.png"),
        (["a.py:2:13", "-o", "nowhere/a.svg"], "nowhere/a.svg: can't be written there (no such folder)"),
        (["a.py:2:13", "-o", "taken.svg"], "taken.svg: the picture can't be written"),
    ],
)
def test_what_can_not_be_done_is_one_line_and_2(
    run: Callable[..., Any], arguments: list[str], message: str
) -> None:
    Path("taken.svg").mkdir()
    done = run(*arguments, "--quiet")
    assert done.exit_code == 2 and done.stdout == ""
    assert done.stderr.startswith("ace: error: ") and message in done.stderr


def test_a_picture_without_a_folder_is_refused_before_the_search(
    run: Callable[..., Any], loaded: Loaded
) -> None:
    assert run("a.py:2:13", "-o", "nowhere/a.svg").exit_code == 2
    assert not loaded.settings and not loaded.asked


def test_without_a_place_the_usage_is_told(run: Callable[..., Any]) -> None:
    done = run()
    assert done.exit_code == 2 and "FILE:LINE:COL" in done.stderr


def test_an_interrupted_search_ends_with_130(
    run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*_: Any, **__: Any) -> None:
        raise Cancelled("stopped")

    monkeypatch.setattr(circuits, "circuit_at", stopped)
    done = run("a.py:2:13", "--quiet")
    assert done.exit_code == 130 and "interrupted" in done.stderr


def test_the_help_says_what_faithfulness_is(run: Callable[..., Any]) -> None:
    assert "Faithfulness" in run("--help").stdout and command.EPILOG
