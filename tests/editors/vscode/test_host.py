"""Inside the extension host: host/index.js has the tests, and there is one here for each of them."""

import json
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
WORKER = HERE.parents[1] / "protocol/scripted_worker.py"
NAMES = re.findall(r'^test\("(.+?)",', (HERE / "host/index.js").read_text(), re.MULTILINE)
SECONDS = 300.0

pytestmark = [pytest.mark.editor, pytest.mark.timeout(SECONDS + 240)]


@pytest.fixture(scope="module")
def outcomes(
    make_vscode: Callable[..., Any],
    start_server: Callable[..., Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, dict[str, Any]]:
    """What each test came to; VS Code is started once for all of them."""
    place = tmp_path_factory.mktemp("host")
    workspace, journal = place / "project", place / "journal.jsonl"
    results, starts = place / "results.jsonl", place / "starts"
    workspace.mkdir()
    (workspace / "pyproject.toml").write_text("[tool.ace.check]\nmax_false_alarms = 2.5\n")
    code = make_vscode(
        workspace,
        path=[str(start_server(place / "bin", starts))],
        worker__command=[sys.executable, str(WORKER), str(journal)],
    )
    code.environment = {
        "ACE_HOST_RESULTS": str(results),
        "ACE_JOURNAL": str(journal),
        "ACE_STARTS": str(starts),
        "ACE_PYTHON": sys.executable,
    }
    with code.running("--enable-smoke-test-driver"):
        done = code.drive("host.mjs", SECONDS, TESTS=str(HERE / "host"))
    assert results.exists(), f"exit code {done.returncode}\n{done.stdout}{done.stderr}\n{code.logs()}"
    told = [json.loads(line) for line in results.read_text().splitlines()]
    return {each["name"]: {**each, "logs": code.logs()} for each in told}


@pytest.mark.parametrize("name", NAMES)
def test_in_the_extension_host(outcomes: dict[str, dict[str, Any]], name: str) -> None:
    assert name in outcomes, f"it did not get that far\n{list(outcomes.values())[-1]['logs']}"
    outcome = outcomes[name]
    assert outcome["error"] is None, f"{outcome['error']}\n{outcome['status']}\n{outcome['logs']}"


def test_the_oldest_version_that_the_extension_says_it_runs_in_is_the_one_tested(
    outcomes: dict[str, dict[str, Any]],
) -> None:
    manifest = json.loads((HERE.parents[2] / "editors/vscode/package.json").read_text())
    oldest = manifest["engines"]["vscode"].removeprefix("^")
    assert outcomes[""]["vscode"].rsplit(".", 1)[0] == oldest.rsplit(".", 1)[0] or "CODE_SERVER" in os.environ
