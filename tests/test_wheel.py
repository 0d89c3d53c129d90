"""The wheel: what a user gets who has no checkout."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DATA = ("bundles", "examples")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built without isolation: the build backend is one of the developers' tools, so no network is needed."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = folder.glob("ace_lsp-*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel's contents alone; what it depends on comes from the running environment."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--no-cache-dir"]
    done = subprocess.run([*command, "--target", str(folder), str(wheel)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def run_installed(installed: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run Python with the installed wheel first on its path, outside of the checkout."""
    environment = {**os.environ, "PYTHONPATH": str(installed), "PYTHONSAFEPATH": "1", "NO_COLOR": "1"}
    return subprocess.run(
        [sys.executable, *command],
        cwd=installed.parent,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )


def files_of(package: Path) -> set[str]:
    found = {path.relative_to(package).as_posix() for path in package.rglob("*") if path.is_file()}
    return {name for name in found if "__pycache__" not in name}


@pytest.mark.parametrize("package", ["ace_analysis", "ace_lsp"])
def test_the_code_comes_from_the_wheel_and_not_from_the_checkout(installed: Path, package: str) -> None:
    """Else the tests below would pass for a wrong reason."""
    done = run_installed(installed, "-c", f"import {package}; print({package}.__file__)")
    assert done.stdout.strip() == str(installed / package / "__init__.py"), done.stderr


@pytest.mark.parametrize("script", ["ace", "ace-lsp"])
def test_both_commands_tell_the_version_in_the_wheels_name(installed: Path, wheel: Path, script: str) -> None:
    done = run_installed(installed, str(installed / "bin" / script), "--version")
    assert done.returncode == 0, done.stderr
    assert wheel.name.split("-")[1] in done.stdout


def test_the_command_line_explains_itself(installed: Path) -> None:
    done = run_installed(installed, str(installed / "bin/ace"), "check", "--help")
    assert done.returncode == 0, done.stderr
    assert "--max-false-alarms" in done.stdout


@pytest.mark.parametrize("folder", DATA)
def test_data_comes_along_whole(installed: Path, folder: str) -> None:
    shipped, ours = installed / "ace_analysis" / folder, ROOT / "ace_analysis" / folder
    assert files_of(ours)
    assert files_of(shipped) == files_of(ours)


@pytest.mark.parametrize("package", ["ace_analysis", "ace_lsp"])
def test_type_checkers_are_told_that_the_packages_are_typed(installed: Path, package: str) -> None:
    assert (installed / package / "py.typed").is_file()


def test_the_wheel_holds_the_packages_and_the_licence_alone(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0].split("-")[0] for name in names} == {"ace_analysis", "ace_lsp"}
    assert any(name.endswith("licenses/LICENSE") for name in names)
