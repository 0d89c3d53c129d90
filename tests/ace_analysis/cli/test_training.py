"""What a stop and a wrong mixture of names say."""

import json
from dataclasses import asdict
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
    run_merge,
)
from ace_analysis.errors import Cancelled, InputError
from ace_analysis.evaluation.corpora import Corpus
from ace_analysis.evaluation.merging import Merged
from ace_analysis.features.harvest import ABOUT
from ace_analysis.source.corpus import Split
from ace_analysis.source.families import LeftOut


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


def test_what_was_left_out_of_a_harvest_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    gone = LeftOut(project="jedi", split="train", relative="parso", relative_split="test", functions=7)
    corpus = Corpus(functions={"train": (), "validation": (), "test": ()}, left_out=(gone,))
    monkeypatch.setattr(training, "make_harvest", lambda *_, **__: corpus)
    run_harvest(choice("x"), tmp_path, Outlet(as_json=False, quiet=True))
    assert "left out: jedi (train), a relative of parso (test)" in capsys.readouterr().err
    run_harvest(choice("x"), tmp_path, Outlet(as_json=True, quiet=True))
    told = json.loads(capsys.readouterr().out)
    assert told["left_out"] == [asdict(gone)] and told["functions"] == {
        "train": 0,
        "validation": 0,
        "test": 0,
    }


def test_what_was_put_together_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    gone = LeftOut(project="jedi", split="train", relative="parso", relative_split="test", functions=7)
    counts: dict[Split, int] = {"train": 1200, "validation": 3, "test": 4}
    merged = Merged(folder=tmp_path / "out", functions=counts, copies=5, left_out=(gone,))
    monkeypatch.setattr(training, "merge_harvests", lambda *_: merged)
    run_merge([tmp_path], tmp_path / "out", Outlet(as_json=False, quiet=True))
    said = capsys.readouterr().err
    assert "1,200 for train, 3 for validation, 4 for test" in said
    assert "5 functions that were there twice" in said and "jedi (train), a relative of parso" in said
    run_merge([tmp_path], tmp_path / "out", Outlet(as_json=True, quiet=True))
    told = json.loads(capsys.readouterr().out)
    assert told["copies"] == 5 and told["left_out"] == [asdict(gone)] and told["functions"] == counts


def test_a_harvest_among_corpora_is_refused(tmp_path: Path) -> None:
    (tmp_path / "h" / "train").mkdir(parents=True)
    (tmp_path / "h" / "train" / ABOUT).touch()
    names = choice(str(tmp_path / "h"), "installed")
    both = BundleChoice(harvest=names, coder=CoderChoice(width=8, k=2.0, tokens=None), about=None)
    with pytest.raises(InputError, match="one harvest or some corpora"):
        run_bundle(both, tmp_path / "out", Outlet(as_json=False, quiet=True))
