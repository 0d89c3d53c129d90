"""The circuit behind a wrong name of the real model, measured by really ablating all others."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ace_analysis.cli import app
from ace_analysis.report.circuit import circuit_from_json

pytestmark = [pytest.mark.model, pytest.mark.slow]

CODE = """\
def clamp(value, low, high):
    if value < low:
        return high
    return value
"""
"""Its first return gives the wrong bound."""

SETTINGS = "[circuit_discovery]\ntarget_layers = [8, 9]\n"
"""The two blocks in front of where a finding is read: a search in seconds."""


def test_ace_circuit_finds_writes_and_draws_the_few_parts_that_are_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("clamp.py").write_text(CODE, encoding="utf-8")
    Path("ace.toml").write_text(SETTINGS, encoding="utf-8")
    done = CliRunner().invoke(app, ["circuit", "-q", "clamp.py:3:15", "--json", "-o", "page.html"])
    assert done.exit_code == 0, done.stderr
    told = json.loads(done.stdout)
    found = circuit_from_json(told)

    assert found.target == "evidence that 'high' is wrong here" and found.unit == "log-odds"
    assert found.upstream == 2 * (14 + 1) and {node.layer for node in found.parts} <= {8, 9}
    assert 0 < len(found.parts) < 20
    assert abs(found.faithfulness - 1) <= 0.1 and told["faithfulness"] == found.faithfulness
    assert abs(found.clean - found.nothing) > 0.5
    assert max(node.lost or 0.0 for node in found.parts) > 0.1, (
        "without the best, it is farther from the whole"
    )

    page = Path("page.html").read_text(encoding="utf-8")
    assert all(node.name in page for node in found.parts) and "<script" not in page and "http-equiv" in page
