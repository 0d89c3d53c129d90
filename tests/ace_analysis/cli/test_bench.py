"""`ace bench` from the command line to its numbers, with a tiny random model."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from ace_analysis.cli import app, benching
from ace_analysis.cli.bench import COLUMNS

SCORERS = ("random", "surprisal", "surprisal - best other", "sparse features")


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Result]:
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(app, ["bench", *arguments], prog_name="ace")

    return run


@pytest.fixture
def measured() -> dict[str, Any]:
    """What a detection run tells."""
    interval = {"value": 0.5, "low": 0.25, "high": 0.75}
    row = {
        **dict.fromkeys(COLUMNS, interval),
        "pair": None,
        "top_3": {"value": 1.0, "low": None, "high": None},
    }
    parts = [
        {"name": name, "mutants": 1200, "scorers": dict.fromkeys(SCORERS, row)}
        for name in ("all", "classic", "comparison")
    ]
    sample = {"name": "all functions", "projects": 3, "functions": 40, "lines": 1000, "parts": parts}
    return {"version": 1, "notes": ["no dense probe"], "samples": [sample]}


def test_detection_tells_tables_on_stdout_and_notes_on_stderr(
    bench: Callable[..., Result], measured: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(
        benching, "run_detection", lambda request, progress: asked.append(request) or measured
    )
    done = bench("detection", "--harvest", "h", "--bundle", "b", "--surprisal", "3")
    assert done.exit_code == 0, done.output
    assert asked == [benching.DetectionRequest(harvest=Path("h"), bundle="b", functions=100, surprisal=3)]
    assert done.stderr == "ace: note: no dense probe\n"
    for text in (
        *SCORERS,
        *COLUMNS.values(),
        "0.25–0.75",
        "1,200 mutants",
        "comparison (1,200)",
        "40 functions",
    ):
        assert text in done.stdout, text


def test_detection_as_json_is_all_that_stdout_carries(
    bench: Callable[..., Result], measured: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(benching, "run_detection", lambda request, progress: measured)
    assert json.loads(bench("detection", "--json").stdout) == measured


def test_speed_tells_ratios_and_seconds(
    bench: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    editing = {"seconds": 1.25, "lines": 1000, "scopes": 33, "scopes_read_after_edit": 1}
    measured = {
        "model": "tiny",
        "device": "cpu",
        "scan": {"ratio": 0.93, "scan": 930.0, "plain": 1000.0},
        "editing": {**editing, "scopes_read_unchanged": 0, "worker_resident_bytes": 2**30},
        "hover": {"lines": 40, "medians": {"explained": 0.875, "hover": 0.0625}},
        "fix": {"lines": 41, "medians": {"fix": 7.5}, "worst": {"cancel": 0.125, "rest": 0.375}},
        "initialize": {"ratio": 1.125},
    }
    monkeypatch.setattr(benching, "run_speed", lambda rounds, progress: measured)
    done = bench("speed")
    for text in (
        "0.93",
        "930 and 1,000",
        "1.25 s",
        "1,000 lines, 33 scopes",
        "0.88 s",
        "0.062 s",
        "41 lines",
        "7.5 s",
        "0.12 s and 0.38 s",
        "1.12",
        "1,024 MB",
        "tiny",
    ):
        assert text in done.stdout, text
    measured["editing"]["worker_resident_bytes"] = None
    assert "unknown on this system" in bench("speed").stdout
    assert json.loads(bench("speed", "--json").stdout) == measured


def test_mutants_are_told_by_type(bench: Callable[..., Result], tmp_path: Path) -> None:
    row = {"fixed": "def f(a, b):\n    return a - b\n", "tests": "assert f(3, 1) == 2"}
    Path(tmp_path, "tested.jsonl").write_text(json.dumps(row) + "\n", encoding="utf-8")
    told = json.loads(bench("mutants", "tested.jsonl", "--json").stdout)
    assert told["functions"] == 1 and told["types"]["all"]["run"] >= 1
    assert told["types"]["all"]["share"] == pytest.approx(
        told["types"]["all"]["survived"] / told["types"]["all"]["run"]
    )
    assert "arithmetic" in bench("mutants", "tested.jsonl", "--quiet").stdout


def test_what_can_not_be_measured_is_one_line_and_2(bench: Callable[..., Result], tmp_path: Path) -> None:
    done = bench("detection", "--bundle", str(tmp_path / "nowhere"))
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith("ace: error: ")
