"""What a stop and a wrong mixture of names say."""

from pathlib import Path

import pytest
import typer

from ace_analysis.cli import training
from ace_analysis.cli.training import (
    BundleChoice,
    CoderChoice,
    HarvestChoice,
    Outlet,
    run_bundle,
    run_harvest,
)
from ace_analysis.errors import Cancelled, InputError
from ace_analysis.features.harvest import ABOUT


def choice(*names: str) -> HarvestChoice:
    return HarvestChoice(
        model="m",
        layer=1,
        names=names,
        projects=False,
        per_project=1,
        functions=1,
        mutants=1,
        device="cpu",
        dtype="auto",
    )


def test_a_stop_says_what_is_kept_and_which_command_goes_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def stopped(*_: object, **__: object) -> dict[str, int]:
        raise Cancelled("the harvest was stopped; 3 of 9 shards are complete")

    monkeypatch.setattr(training, "make_harvest", stopped)
    monkeypatch.setattr("sys.argv", ["ace", "train", "harvest", "a folder", "--out", "x"])
    with pytest.raises(typer.Exit) as ended:
        run_harvest(choice("a folder"), tmp_path, Outlet(as_json=True, quiet=True))
    assert ended.value.exit_code == 130
    said = capsys.readouterr()
    assert "3 of 9 shards" in said.err and "ace train harvest 'a folder' --out x" in said.err
    assert not said.out


def test_a_harvest_among_corpora_is_refused(tmp_path: Path) -> None:
    (tmp_path / "h" / "train").mkdir(parents=True)
    (tmp_path / "h" / "train" / ABOUT).touch()
    names = choice(str(tmp_path / "h"), "installed")
    both = BundleChoice(harvest=names, coder=CoderChoice(width=8, k=2.0, tokens=None), about=None)
    with pytest.raises(InputError, match="one harvest or some corpora"):
        run_bundle(both, tmp_path / "out", Outlet(as_json=False, quiet=True))
