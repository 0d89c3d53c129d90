"""Error latents are taken out exactly, and what stands beside that changes as much."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ace_analysis.decomposition.anatomy import Anatomy
from ace_analysis.editing.deltas import RowDelta, matrix_of, with_deltas
from ace_analysis.errors import InputError
from ace_analysis.evaluation.disentangler import Telling, mlp_out
from ace_analysis.evaluation.editing_errors import (
    ErrorArm,
    MlpScanner,
    aside,
    choices_of,
    contrasted_latents,
    error_latents,
    other_latents,
    removal,
    trees_of,
)
from ace_analysis.evaluation.editing_errors_bench import FEW_PAIRS
from ace_analysis.evaluation.editing_errors_measured import read_sites
from ace_analysis.features.bundle import Bundle, ErrorFeature
from ace_analysis.features.examples import TreeOptions
from ace_analysis.features.sparse_coder import SparseCoder
from ace_analysis.model.causal import CausalModel, load_causal
from ace_analysis.source.corpus import CodeFunction

from .conftest import coder_along

TREE = TreeOptions(mutants=4)


@pytest.fixture
def causal(tiny_qwen2: Path) -> CausalModel:
    return load_causal(str(tiny_qwen2), "cpu", "float32")


def feature(latent: int, **other: Any) -> ErrorFeature:
    told = {"t_statistic": 5.0, "paired_t": 5.0, "q_value": 0.0, "separation": 0.1, "density": 0.01}
    return ErrorFeature(feature_idx=latent, rate_buggy=0.2, rate_matched=0.1, **{**told, **other})


def mlp_coder(latents: int = 24) -> SparseCoder:
    return coder_along(torch.randn(latents, 32, generator=torch.Generator().manual_seed(3)), 3)


def norm(each: RowDelta) -> float:
    return float(each.dense().double().norm())


def test_nothing_that_is_written_has_a_removed_direction_left(causal: CausalModel) -> None:
    directions = torch.randn(3, 32, generator=torch.Generator().manual_seed(1))
    deltas = removal(causal.model, directions, 3)
    anatomy = Anatomy.of(causal.model)
    with with_deltas(causal.model, deltas):
        left = [matrix_of(anatomy, e.layer, e.module).detach() @ directions.T for e in deltas]  # type: ignore[union-attr]
        assert max(float(each.abs().max()) for each in left) <= 1e-5
    assert {each.rank for each in deltas} == {3} and {each.layer for each in deltas} == {0, 1, 2, 3}


def test_a_change_aside_has_the_same_norm_in_each_matrix_and_other_directions(causal: CausalModel) -> None:
    deltas = removal(causal.model, torch.randn(2, 32, generator=torch.Generator().manual_seed(1)), 3)
    other = aside(deltas)
    assert [norm(each) for each in other] == pytest.approx([norm(each) for each in deltas], rel=1e-4)
    assert float((other[0].right @ deltas[0].right.T).abs().max()) < 0.9
    assert torch.equal(other[0].right, other[2].right)


def test_arms_are_told_apart_by_what_they_change(causal: CausalModel) -> None:
    deltas = removal(causal.model, torch.eye(32)[:1], 1)
    same, other = ErrorArm(name="a", deltas=deltas), ErrorArm(name="b", deltas=aside(deltas))
    assert ErrorArm(name="as it is").identity == "base"
    assert same.identity == ErrorArm(name="c", deltas=deltas).identity != other.identity


def test_error_latents_are_the_strongest_of_a_kind(tiny_bundle: Bundle) -> None:
    catalog = (
        feature(3, kinds=("boolean",)),
        feature(4, kinds=("boolean",), paired_t=9.0),
        feature(5, kinds=("constant",), significant=False),
        feature(6, paired_t=7.0),
    )
    bundle = replace(tiny_bundle, catalog=catalog)
    assert error_latents(bundle, "all", 2) == (4, 6) and error_latents(bundle, "boolean", 9) == (4, 3)
    with pytest.raises(InputError, match=r"expected a kind that has error latents \(boolean, constant\)"):
        error_latents(bundle, "constant", 2)


def test_other_latents_fire_as_often_and_are_none_of_those(
    causal: CausalModel, tiny_bundle: Bundle, few_functions: list[CodeFunction]
) -> None:
    trees = trees_of(few_functions, causal.tokenizer, TREE, 4)
    table = read_sites(causal.scanner, trees, tiny_bundle.coder, TREE, Telling())
    found = other_latents(table, (3, 9), (3, 9, 10))
    assert len(set(found)) == 2 and not set(found) & {3, 9, 10}
    fires = np.asarray((table.latents[0][table.clean] > 0).sum(axis=0)).ravel()
    far = np.abs(fires - fires[3])
    assert far[found[0]] == min(far[each] for each in range(64) if each not in (3, 9, 10))


def test_trees_come_from_all_projects_by_turns(
    causal: CausalModel, few_functions: list[CodeFunction]
) -> None:
    assert {each.project for each in trees_of(few_functions, causal.tokenizer, TREE, 3)} == {"p0", "p1", "p2"}
    with pytest.raises(InputError, match="expected functions with something to mutate"):
        trees_of([], causal.tokenizer, TREE, 3)


def test_a_choice_is_between_the_tokens_in_which_a_mutant_first_differs(
    causal: CausalModel, few_functions: list[CodeFunction]
) -> None:
    (tree,) = trees_of(few_functions[:1], causal.tokenizer, replace(TREE, full=4), 1)
    found = choices_of(tree)
    assert len(found) == max(tree.branch) and all(each.right != each.wrong for each in found)
    for number, each in enumerate(found, start=1):
        assert tree.ids[each.position] == each.right
        assert tree.ids[tree.branch.index(number)] == each.wrong and each.kind != "clean"


def test_a_scanner_of_an_mlp_gives_what_it_writes(causal: CausalModel) -> None:
    ids = torch.arange(5, 14)
    got = MlpScanner.of(causal.scanner).resid_post(ids[None], 2)[0]
    assert torch.allclose(got, mlp_out(causal.scanner, [ids], 2)[0], atol=1e-5)


def test_a_latent_that_fires_on_bugs_alone_is_found(
    causal: CausalModel, few_functions: list[CodeFunction]
) -> None:
    trees = trees_of(few_functions, causal.tokenizer, replace(TREE, mutants=12), 9)
    table = read_sites(MlpScanner.of(causal.scanner), trees, mlp_coder(), TREE, Telling())
    bugs = table.bugs
    slot = table.latents[0].tolil()
    slot[:, 7] = 0
    slot[bugs, 7] = 1.0 + 0.1 * (np.arange(len(bugs)) % 3)
    made = replace(table, latents=(slot.tocsr(), *table.latents[1:]))
    latents, significant = contrasted_latents(made, 3, FEW_PAIRS)
    assert latents[0] == 7 and significant <= len(latents) <= 3
    none = replace(table, latents=tuple(0 * each for each in table.latents))
    with pytest.raises(InputError, match="expected latents that fire more on"):
        contrasted_latents(none, 3, FEW_PAIRS)
