"""The search finds what a full grid finds, tries less, and goes on where it was."""

import pytest
import torch

from ace_analysis.editing.deltas import RowDelta
from ace_analysis.editing.plan import EditPlan
from ace_analysis.editing.search import Grid, Quality, search
from ace_analysis.errors import Cancelled, InputError


def plan(mu: float, tau: float) -> EditPlan:
    delta = RowDelta(layer=0, module="mlp.down", rows=(0,), left=torch.ones(1, 1), right=torch.ones(1, 2))
    return EditPlan((delta,), {"mu": mu, "tau": tau})


def measure(edit: EditPlan) -> Quality:
    """Efficacy and damage both grow with mu and with 1 - tau."""
    strength = edit.parameters["mu"] * (1.1 - edit.parameters["tau"])
    keeps = max(0.0, 1 - (strength / 30) ** 2)
    return Quality(efficacy=1 - 2 ** (-strength / 3), specificity=keeps, coherence=keeps**0.5)


class Kept:
    def __init__(self) -> None:
        self.values: dict[str, object] = {}

    def get(self, key: str) -> object | None:
        return self.values.get(key)

    def put(self, key: str, value: object) -> None:
        self.values[key] = value


def test_pruning_leaves_out_settings_and_never_the_best() -> None:
    found = search(plan, measure, Grid())
    every = {(mu, tau): measure(plan(mu, tau)).score for mu, tau in Grid().settings()}
    assert found.best.quality.score == max(every.values())
    assert found.left_out > 10 and len(found.tried) + found.left_out == len(every) == 100


def test_weaker_settings_come_first() -> None:
    settings = Grid(mus=(4.0, 50.0), taus=(0.2, 0.9)).settings()
    assert settings[0] == (4.0, 0.9) and settings[-1] == (50.0, 0.2)


def test_a_stopped_search_goes_on_without_measuring_twice() -> None:
    kept, calls = Kept(), 0

    def counted(edit: EditPlan) -> Quality:
        nonlocal calls
        calls += 1
        return measure(edit)

    grid = Grid(kept=kept, key="concept")
    with pytest.raises(Cancelled, match="stopped after 7 settings"):
        search(plan, counted, grid, cancelled=lambda: calls >= 7)
    told: list[str] = []
    found = search(plan, counted, grid, progress=lambda message, _: told.append(message))
    assert calls == len(found.tried) == len(kept.values)
    assert found == search(plan, measure, Grid())
    assert "best so far" in told[-1]


def test_a_score_with_a_share_of_0_is_0() -> None:
    assert Quality(efficacy=0.0, specificity=1.0, coherence=1.0).score == 0.0
    assert Quality(efficacy=0.5, specificity=1.0, coherence=1.0).score == pytest.approx(0.75)


def test_an_empty_grid_is_refused() -> None:
    with pytest.raises(InputError, match="at least one mu and one tau"):
        Grid(mus=())
