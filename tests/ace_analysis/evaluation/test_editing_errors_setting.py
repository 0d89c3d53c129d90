"""What a setting does is told without running the model again, and is what the edited model then does."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from ace_analysis.decomposition.anatomy import Anatomy
from ace_analysis.editing.concept import Concept
from ace_analysis.editing.deltas import with_deltas
from ace_analysis.editing.pisces import PISCES
from ace_analysis.editing.plan import EditPlan
from ace_analysis.evaluation.editing_errors import trees_of
from ace_analysis.evaluation.editing_errors_setting import MlpReading, read_mlp
from ace_analysis.features.examples import Tree, TreeOptions
from ace_analysis.features.sparse_coder import SparseCoder
from ace_analysis.model.causal import CausalModel, load_causal
from ace_analysis.source.corpus import CodeFunction

from .conftest import coder_along

LAYER, LATENTS = 2, (1, 2)


@pytest.fixture
def causal(tiny_qwen2: Path) -> CausalModel:
    return load_causal(str(tiny_qwen2), "cpu", "float32")


@pytest.fixture
def trees(causal: CausalModel, few_functions: list[CodeFunction]) -> list[Tree]:
    return trees_of(few_functions, causal.tokenizer, TreeOptions(mutants=4), 3)


@pytest.fixture
def coder() -> SparseCoder:
    return coder_along(torch.randn(24, 32, generator=torch.Generator().manual_seed(3)), LAYER)


def read(causal: CausalModel, trees: list[Tree]) -> MlpReading:
    return read_mlp(causal.scanner, trees, LAYER, lambda *_: None)


def erasure(causal: CausalModel, coder: SparseCoder, mu: float, signs: torch.Tensor | None) -> EditPlan:
    return PISCES(causal.model, coder).erase(Concept.of_latents(LATENTS), mu, 0.5, signs=signs)


def test_neurons_times_rows_are_what_is_written(causal: CausalModel, trees: list[Tree]) -> None:
    found = read(causal, trees)
    rows = Anatomy.of(causal.model).blocks[LAYER].mlp.down.weight.T
    assert len(found.written) == sum(len(each) - 1 for each in trees)
    torch.testing.assert_close(found.neurons @ rows, found.written, atol=1e-5, rtol=1e-4)


def test_shares_are_those_of_the_edited_model_read_again(
    causal: CausalModel, trees: list[Tree], coder: SparseCoder
) -> None:
    before = read(causal, trees)
    plan = erasure(causal, coder, 2.0, before.signs(coder, LATENTS))
    with with_deltas(causal.model, plan.deltas):
        after = read(causal, trees)
    own = list(LATENTS)
    others = [at for at in range(coder.d_sae) if at not in LATENTS]
    was, now = coder.encode(before.written), coder.encode(after.written)
    told = before.quality(plan, coder, LATENTS)
    fall = 1 - float(now[:, own].sum() / was[:, own].sum())
    kept = 1 - float((now - was)[:, others].abs().sum() / was[:, others].sum())
    stays = 1 - float((after.written - before.written).norm() / before.written.norm())
    assert told.efficacy == pytest.approx(min(max(fall, 0), 1), abs=1e-4)
    assert told.specificity == pytest.approx(min(max(kept, 0), 1), abs=1e-4)
    assert told.coherence == pytest.approx(min(max(stays, 0), 1), abs=1e-4)


def test_an_edit_that_changes_nothing_erases_nothing_and_keeps_all(
    causal: CausalModel, trees: list[Tree], coder: SparseCoder
) -> None:
    plan = erasure(causal, coder, 1.0, None)
    nothing = EditPlan(tuple(replace(each, left=each.left * 0) for each in plan.deltas), plan.parameters)
    told = read(causal, trees).quality(nothing, coder, LATENTS)
    assert (told.efficacy, told.specificity, told.coherence) == (0.0, 1.0, 1.0)


def test_signs_are_those_of_the_neurons_where_the_latents_fire(coder: SparseCoder) -> None:
    written = torch.stack([coder.W_dec[1], -coder.W_dec[1], coder.W_dec[1]])
    neurons = torch.tensor([[1.0, -1.0], [-5.0, 5.0], [2.0, -3.0]])
    signs = MlpReading(neurons, written).signs(coder, [1])
    assert signs is not None and signs.tolist() == [1.0, -1.0]
    silent = replace(coder, threshold=torch.full((24,), 1e9))
    assert MlpReading(neurons, written).signs(silent, [1]) is None
