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
TESTS = (HERE / "host/index.js").read_text()
NAMES = re.findall(r'^test\("(.+?)",', TESTS, re.MULTILINE)
OF_FOLDERS = re.findall(r'^testOfFolders\("(.+?)",', TESTS, re.MULTILINE)
SECONDS = 1200.0

pytestmark = [pytest.mark.editor, pytest.mark.timeout(SECONDS + 240)]


Run = Callable[..., dict[str, dict[str, Any]]]


@pytest.fixture(scope="module")
def run_in_host(
    make_vscode: Callable[..., Any],
    start_server: Callable[..., Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Run:
    """Runs the tests on a workspace that `make` writes into an empty folder; what each of them came to."""

    def ran(make: Callable[[Path], Path], **environment: str) -> dict[str, dict[str, Any]]:
        place = tmp_path_factory.mktemp("host")
        return _ran(place, make(place), environment, make_vscode, start_server)

    return ran


def _ran(
    place: Path,
    workspace: Path,
    environment: dict[str, str],
    make_vscode: Callable[..., Any],
    start_server: Callable[..., Path],
) -> dict[str, dict[str, Any]]:
    results, starts, journal = place / "results.jsonl", place / "starts", place / "journal.jsonl"
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
        **environment,
    }
    with code.running("--enable-smoke-test-driver"):
        done = code.drive("host.mjs", SECONDS, TESTS=str(HERE / "host"))
    assert results.exists(), f"exit code {done.returncode}\n{done.stdout}{done.stderr}\n{code.logs()}"
    told = [json.loads(line) for line in results.read_text().splitlines()]
    return {each["name"]: {**each, "logs": code.logs()} for each in told}


@pytest.fixture(scope="module")
def outcomes(run_in_host: Run) -> dict[str, dict[str, Any]]:
    """VS Code is started once for all of them."""

    def project(place: Path) -> Path:
        workspace = place / "project"
        workspace.mkdir()
        (workspace / "pyproject.toml").write_text("[tool.ace.check]\nmax_false_alarms = 2.5\n")
        return workspace

    return run_in_host(project)


@pytest.fixture(scope="module")
def outcomes_of_folders(run_in_host: Run) -> dict[str, dict[str, Any]]:
    """The same in a workspace of two folders, the second one inside the first, each with settings."""

    def folders(place: Path) -> Path:
        for name, rate in (("outer", 0.5), ("outer/inner", 4)):
            settings = place / name / ".vscode/settings.json"
            settings.parent.mkdir(parents=True)
            settings.write_text(json.dumps({"ace.check.maxFalseAlarms": rate}))
        workspace = place / "both.code-workspace"
        workspace.write_text(json.dumps({"folders": [{"path": "outer"}, {"path": "outer/inner"}]}))
        return workspace

    return run_in_host(folders, ACE_HOST_FOLDERS="1")


@pytest.mark.parametrize("name", OF_FOLDERS)
def test_in_a_workspace_of_two_folders(outcomes_of_folders: dict[str, dict[str, Any]], name: str) -> None:
    test_in_the_extension_host(outcomes_of_folders, name)


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
