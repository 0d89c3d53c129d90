"""`ace bench precision`: its options, and what it tells."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from ace_analysis.cli import app
from ace_analysis.cli import precision as runs
from ace_analysis.evaluation.precision import PrecisionOptions


@pytest.fixture
def measured() -> dict[str, Any]:
    """What a run tells, on a machine without a GPU."""
    agreed = {"spearman": 0.98765, "pearson": 0.99, "lowest_spearman": None, "error": 0.0123, "scores": 1500}
    quantization = {
        "background": "int8",
        "relative_error": 0.0078,
        **{"bytes_before": 800 * 2**20, "bytes_after": 400 * 2**20},
        **{"resident_before": None, "resident_after": None, "device_before": None, "device_after": None},
    }
    row = {
        "quantization": quantization,
        "agreement": {"one-pass": agreed, "some heads, rounded": agreed},
        "seconds": {"one-pass": 3.0},
    }
    return {
        **{"model": "tiny", "blocks": 10, "cases": 3, "tokens": 1234},
        **{"seconds": {"one-pass": 2.0}, "rows": [row]},
    }


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["bench", "precision", *arguments], prog_name="ace")


def test_options_are_what_is_measured(measured: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(
        runs, "run_precision", lambda request, progress, cancelled: asked.append(request) or measured
    )
    assert run("--json").exit_code == 0
    done = run(
        *("--findings", "1", "--background", "fp8", "--background", "int8", "--heads", "2"),
        *("--no-edges", "--most-tokens", "32", "--seed", "4", "--json"),
    )
    options = PrecisionOptions(backgrounds=("fp8", "int8"), heads=2, edges=False)
    assert asked == [
        runs.PrecisionRequest(measure=PrecisionOptions()),
        runs.PrecisionRequest(findings=1, most_tokens=32, seed=4, measure=options),
    ]
    assert json.loads(done.stdout) == measured


def test_tables_tell_memory_agreement_and_time(
    measured: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "run_precision", lambda request, progress, cancelled: measured)
    shown = run("--quiet").stdout
    for text in ("tiny, 10 blocks", "800 to 400", "7.8e-03", "int8 beside fp32, 3 texts of 1,234 tokens"):
        assert text in shown, text
    line = next(line for line in shown.splitlines() if line.startswith("one-pass"))
    assert line.split() == ["one-pass", "0.9877", "-", "0.9900", "0.0123", "1,500", "3.0", "1.50"]
    assert "some heads, rounded" in shown


def test_an_unknown_background_is_one_line_and_2(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = run("--background", "int4")
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith("ace: error: expected backgrounds among fp64, fp32,")
