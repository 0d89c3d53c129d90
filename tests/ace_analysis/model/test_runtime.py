"""The process is set up before torch is there, and the user's own choice stands."""

import os
import subprocess
import sys

import pytest

from ace_analysis.model.runtime import BEFORE_TORCH, prepare


def test_what_the_user_has_set_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    prepare()
    assert os.environ["OMP_WAIT_POLICY"] == "ACTIVE"


def test_importing_anything_of_the_package_sets_the_process_up_without_torch() -> None:
    shown = "print(os.environ['OMP_WAIT_POLICY'], 'torch' in sys.modules)"
    code = f"import os, sys, ace_analysis.model.sites; {shown}"
    bare = {name: value for name, value in os.environ.items() if name not in BEFORE_TORCH}
    done = subprocess.run([sys.executable, "-c", code], env=bare, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["PASSIVE", "False"]
