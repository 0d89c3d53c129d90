"""Real editors, started as a person would, with a server that is a real process.

The worker is tests/protocol/scripted_worker.py, a real process too but without a model, unless a test is
marked `model`. Nothing here installs anything: `make editors-setup` does, and what is missing is a skip with
its name.
"""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

TESTS = Path(__file__).parents[1]
SCRIPTED_WORKER = TESTS / "protocol/scripted_worker.py"

BUGGY = "def f(a):\n    return BUG\n"


@dataclass(frozen=True)
class Scripted:
    """A worker that finds the word BUG; its module says what else it does."""

    journal: Path

    @property
    def command(self) -> list[str]:
        return [sys.executable, str(SCRIPTED_WORKER), str(self.journal)]

    def heard(self, what: str) -> list[dict[str, Any]]:
        """What it was asked."""
        if not self.journal.exists():
            return []
        lines = (json.loads(line) for line in self.journal.read_text().splitlines())
        return [line for line in lines if line["what"] == what]


@pytest.fixture
def scripted(tmp_path: Path) -> Scripted:
    return Scripted(tmp_path / "journal.jsonl")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder to open: sample.py has one finding, and pyproject.toml accepts 2.5 false alarms."""
    return project_at(tmp_path / "project")


def project_at(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "sample.py").write_text(BUGGY)
    (folder / "pyproject.toml").write_text("[tool.ace.check]\nmax_false_alarms = 2.5\n")
    return folder
