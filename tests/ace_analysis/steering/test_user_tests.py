"""The user's command decides, in a copy, within its time, and nothing of the project is touched."""

import os
import sys
from pathlib import Path

import pytest

from ace_analysis.errors import Cancelled, InputError
from ace_analysis.steering import user_tests
from ace_analysis.steering.user_tests import TestPlan, project_copy, project_root

RIGHT, WRONG = b"def one():\n    return 1\n", b"def one():\n    return 2\n"
CHECK = "from package.m import one\nassert one() == 1\n"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with a module and a script that tests it."""
    root = tmp_path / "project"
    (root / "package").mkdir(parents=True)
    (root / "pyproject.toml").touch()
    (root / "package/m.py").write_bytes(WRONG)
    (root / "check.py").write_text(CHECK)
    return root


def plan(project: Path, command: str = f"{sys.executable} check.py", seconds: float = 60.0) -> TestPlan:
    return TestPlan(command=command, path=project / "package/m.py", seconds=seconds)


def test_the_command_tells_right_from_wrong(project: Path) -> None:
    with project_copy(plan(project)) as copy:
        assert not copy.passes(WRONG)
        assert copy.passes(RIGHT)
        assert not copy.passes(WRONG)


def test_the_project_itself_is_not_touched(project: Path) -> None:
    command = f"{sys.executable} -c \"open('made', 'w')\""
    with project_copy(plan(project, command)) as copy:
        assert copy.passes(RIGHT)
    assert (project / "package/m.py").read_bytes() == WRONG
    assert sorted(path.name for path in project.iterdir()) == ["check.py", "package", "pyproject.toml"]


def test_a_project_that_is_installed_does_not_answer_for_the_copy(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(project))
    with project_copy(plan(project)) as copy:
        assert copy.passes(RIGHT)


def test_a_run_that_takes_too_long_has_failed_and_is_ended(project: Path) -> None:
    """Were it not ended, this test would not be either."""
    command = f'{sys.executable} -c "import time; time.sleep(36000)"'
    with project_copy(plan(project, command, seconds=0.5)) as copy:
        assert not copy.passes(RIGHT)


def test_a_run_can_be_stopped(project: Path) -> None:
    command = f'{sys.executable} -c "import time; time.sleep(60)"'
    with project_copy(plan(project, command)) as copy, pytest.raises(Cancelled, match="while tests ran"):
        copy.passes(RIGHT, lambda: True)


def test_a_command_that_is_none_is_told(project: Path) -> None:
    told = "expected a command that runs, got 'no-such-program-here'"
    with project_copy(plan(project, "no-such-program-here")) as copy, pytest.raises(InputError, match=told):
        copy.passes(RIGHT)
    with pytest.raises(InputError, match="expected a command for the tests, got none"):
        _ = plan(project, " ").arguments
    with pytest.raises(InputError, match=r"expected a command for the tests .*, got"):
        _ = plan(project, "pytest 'x").arguments


def test_what_only_makes_a_copy_slow_is_left_out(project: Path) -> None:
    for name in (".git", ".venv", "node_modules", "package/__pycache__", ".mypy_cache"):
        (project / name).mkdir()
        (project / name / "big").touch()
    (project / "check.py").write_text(
        "import os\nassert '.git' not in os.listdir() and len(os.listdir()) == 3\n"
    )
    command = f"{sys.executable} check.py"
    with project_copy(plan(project, command)) as copy:
        assert copy.passes(RIGHT)


@pytest.mark.skipif(os.name != "posix", reason="a script that is a program")
def test_a_program_of_the_projects_environment_is_run_though_the_copy_has_none(project: Path) -> None:
    script = project / ".venv/bin/check"
    script.parent.mkdir(parents=True)
    script.write_text(f"#!/bin/sh\nexec {sys.executable} check.py\n")
    script.chmod(0o755)
    with project_copy(plan(project, ".venv/bin/check")) as copy:
        assert copy.passes(RIGHT) and not copy.passes(WRONG)
    with project_copy(plan(project, ".venv/bin/gone")) as copy, pytest.raises(InputError, match="gone"):
        copy.passes(RIGHT)


def test_a_project_too_large_to_copy_is_told(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(user_tests, "LARGEST_PROJECT", 10)
    with pytest.raises(InputError, match="to copy for its tests"), project_copy(plan(project)):
        pass


def test_the_root_is_the_nearest_folder_that_looks_like_one(project: Path, tmp_path: Path) -> None:
    assert project_root(project / "package/m.py") == project.resolve()
    (project / "package/setup.cfg").touch()
    assert project_root(project / "package/m.py") == (project / "package").resolve()
