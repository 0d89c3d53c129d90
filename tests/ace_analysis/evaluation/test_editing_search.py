"""A search on a given text finds what trying all settings finds, and goes on where it was stopped."""

from pathlib import Path
from typing import Any

import pytest
import torch

from ace_analysis.editing.preparing import Erasure, prepare
from ace_analysis.editing.requesting import EditRequest
from ace_analysis.editing.search import Grid
from ace_analysis.errors import Cancelled, InputError
from ace_analysis.evaluation import editing_search
from ace_analysis.evaluation.editing import Gauge, Tail
from ace_analysis.evaluation.editing_search import FOLDER, search_setting
from ace_analysis.model.causal import CausalModel, load_causal
from ace_analysis.model.disk import silent
from ace_analysis.model.scan import never
from ace_analysis.settings import cache_dir

GRID = Grid(mus=(1.0, 4.0, 20.0), taus=(0.9, 0.5))


class Reached(Exception):
    """Holds the erasure that is to be searched."""


def erasure_of(causal: CausalModel, text: str, word: str = "value") -> Erasure:
    found: list[Erasure] = []

    def searcher(erasure: Erasure, *_: Any) -> Any:
        found.append(erasure)
        raise Reached

    with pytest.raises(Reached):
        prepare(causal, EditRequest(words=(word,), texts=(text,), search=True), silent, never, searcher)
    return found[0]


@pytest.fixture
def erasure(disentangled: Path, some_python: str) -> Erasure:
    return erasure_of(load_causal(str(disentangled), "cpu", "float32"), some_python * 3)


def test_the_best_setting_is_that_of_trying_all(erasure: Erasure) -> None:
    texts = editing_search._texts(erasure)
    tail = Tail(erasure.causal.model, erasure.coder.site.layer, [each.ids for each in texts])
    gauge = Gauge(tail, texts, erasure.concept.tokens)
    before = gauge.measure()
    scores = {
        (mu, tau): gauge.quality(
            before, erasure.pisces.erase(erasure.concept, mu, tau, signs=erasure.signs)
        ).score
        for mu in GRID.mus
        for tau in GRID.taus
    }
    mu, tau, told = search_setting(erasure, silent, never, GRID)
    assert scores[mu, tau] == max(scores.values()) > 0
    assert told["score"] == pytest.approx(max(scores.values()), abs=1e-3)
    assert {"searched", "efficacy", "specificity", "coherence"} < set(told)


def test_the_model_is_as_before(erasure: Erasure) -> None:
    kept = {name: each.clone() for name, each in erasure.causal.model.state_dict().items()}
    search_setting(erasure, silent, never, GRID)
    assert all(torch.equal(each, kept[name]) for name, each in erasure.causal.model.state_dict().items())


def test_a_search_that_was_stopped_goes_on_and_one_for_another_text_does_not(
    erasure: Erasure, some_python: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured: list[int] = []
    real = Gauge.quality
    monkeypatch.setattr(Gauge, "quality", lambda *arguments: measured.append(1) or real(*arguments))
    with pytest.raises(Cancelled, match="what was measured is kept"):
        search_setting(erasure, silent, lambda: len(measured) >= 2, GRID)
    (file,) = (cache_dir() / FOLDER).iterdir()
    assert len(file.read_text().splitlines()) == len(measured) == 2
    steps: list[str] = []
    found = search_setting(erasure, lambda step, _: steps.append(step), never, GRID)
    assert len(measured) == len(file.read_text().splitlines()) <= 6
    assert any("best so far" in step for step in steps)
    count = len(measured)
    assert search_setting(erasure, silent, never, GRID) == found and len(measured) == count
    other = erasure_of(erasure.causal, some_python.replace("index", "place") * 3)
    search_setting(other, silent, never, GRID)
    assert len(measured) > count


def test_no_piece_that_is_searched_on_is_one_that_effects_are_told_of(
    erasure: Erasure, some_python: str
) -> None:
    texts = editing_search._texts(erasure)
    assert [each.has_concept for each in texts].count(True) == len(erasure.pieces) > 1
    assert any(not each.has_concept for each in texts)
    wanted = torch.tensor(erasure.concept.tokens)
    for each in texts:
        assert bool(torch.isin(each.ids[1:], wanted).any()) is each.has_concept


def test_without_other_code_there_is_no_search(erasure: Erasure, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(editing_search, "_can_stand_for_other_code", lambda *_: False)
    with pytest.raises(
        InputError, match="expected code without the words, to see what else an erasure costs"
    ):
        search_setting(erasure, silent, never, GRID)
