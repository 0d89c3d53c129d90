"""The user's own tests as the last word: their command, run on a copy of the project with a candidate in it.

Nothing of the project is touched. The copy comes first on Python's path, so that an installed project does
not answer for the copy. The command runs with the user's rights, which is why somebody has to ask for it:
this is no jail, and a candidate is code that a model wrote.
"""

import os
import shlex
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ace_analysis.errors import Cancelled, InputError
from ace_analysis.model.scan import never
from ace_analysis.settings import environment_with

LEFT_OUT = (
    ".git",
    ".hg",
    ".venv",
    "venv",
    "node_modules",
    "__pycache__",
    ".*_cache",
    ".tox",
    ".nox",
    "*.pyc",
)
LARGEST_PROJECT = 500_000_000
ROOT_MARKS = ("pyproject.toml", "setup.py", "setup.cfg", "ace.toml", ".git", ".hg", "pytest.ini", "tox.ini")
_POLL = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class TestPlan:
    """What to run. Making one is the consent to run it.

    Attributes:
        command: split as a shell would, run without one; from the project's root.
        path: the file that is being repaired.
        seconds: how long one run may take.
    """

    __test__ = False  # not a test, whatever pytest makes of the name

    command: str
    path: Path
    seconds: float = 60.0

    @property
    def arguments(self) -> list[str]:
        try:
            found = shlex.split(self.command, posix=os.name == "posix")
        except ValueError as error:
            raise InputError(f"expected a command for the tests ({error}), got {self.command!r}") from error
        if not found:
            raise InputError("expected a command for the tests, got none")
        return found


class ProjectCopy:
    """A copy of the project that a file belongs to, in which the file can be replaced and the command run."""

    def __init__(self, plan: TestPlan, folder: Path) -> None:
        self._plan = plan
        self._project = root = project_root(plan.path)
        _check_size(root)
        self._root = folder / root.name
        shutil.copytree(root, self._root, symlinks=True, ignore=shutil.ignore_patterns(*LEFT_OUT))
        self._file = self._root / plan.path.resolve().relative_to(root)

    def passes(self, data: bytes, cancelled: Callable[[], bool] = never) -> bool:
        """Whether the command succeeds with these bytes in the file.

        Raises:
            InputError: the command can't be started.
            Cancelled: when `cancelled()` turns true; what ran is ended.
        """
        self._file.write_bytes(data)
        paths = os.pathsep.join(str(each) for each in (self._root, self._root / "src"))
        try:
            process = subprocess.Popen(
                self._arguments(),
                cwd=self._root,
                env=environment_with({"PYTHONPATH": paths, "PYTHONDONTWRITEBYTECODE": "1"}),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError as error:
            raise InputError(
                f"expected a command that runs, got {self._plan.command!r}: {error.strerror or error}"
            ) from error
        try:
            return _wait(process, self._plan.seconds, cancelled) == 0
        finally:
            _end(process)

    def _arguments(self) -> list[str]:
        """A program that the copy leaves out, such as `.venv/bin/pytest`, is the project's own."""
        program, *others = self._plan.arguments
        own = self._project / program
        is_path = Path(program).name != program
        if is_path and not (self._root / program).exists() and own.exists():
            program = str(own)
        return [program, *others]


@contextmanager
def project_copy(plan: TestPlan) -> Iterator[ProjectCopy]:
    """A copy that is gone when the context is left."""
    with tempfile.TemporaryDirectory(prefix="ace-fix-", ignore_cleanup_errors=True) as folder:
        yield ProjectCopy(plan, Path(folder))


def project_root(path: Path) -> Path:
    """The nearest folder at or above a file's that looks like a project's; else the file's own."""
    folder = path.resolve().parent
    marked = (
        each for each in (folder, *folder.parents) if any((each / mark).exists() for mark in ROOT_MARKS)
    )
    return next(marked, folder)


def _check_size(root: Path) -> None:
    total, ignore = 0, shutil.ignore_patterns(*LEFT_OUT)
    for folder, folders, files in os.walk(root):
        out = ignore(folder, [*folders, *files])
        folders[:] = [each for each in folders if each not in out]
        for name in files:
            if name not in out and not (found := Path(folder, name)).is_symlink():
                total += found.stat().st_size
        if total > LARGEST_PROJECT:
            raise InputError(
                f"{root}: expected a project of at most {LARGEST_PROJECT // 10**6} MB to copy for its tests,"
                " got more; run the tests yourself, or keep data out of the project"
            )


def _wait(process: subprocess.Popen[bytes], seconds: float, cancelled: Callable[[], bool]) -> int | None:
    """The exit status; None where time ran out."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if cancelled():
            raise Cancelled("the repair was cancelled while tests ran; nothing was changed")
        try:
            return process.wait(_POLL)
        except subprocess.TimeoutExpired:
            continue
    return None


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the process and what it started."""
    try:
        if os.name == "posix":
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
    except (ProcessLookupError, PermissionError):
        pass
    process.wait()
