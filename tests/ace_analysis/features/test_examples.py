"""A branch has to be what its mutant alone would be; what it is labelled with has to be true."""

from collections.abc import Sequence

import pytest
import torch

from ace_analysis.features.examples import (
    BUG,
    CLEAN,
    NEAR_BUG,
    Tree,
    TreeOptions,
    batch_of,
    batches,
    tree_mask,
    tree_of,
)
from ace_analysis.model.scan import ResidualScanner
from ace_analysis.source.corpus import CodeFunction
from ace_analysis.source.mutation import MutationGenerator
from ace_analysis.source.sites import candidate_sites

LAYER = 1
WHOLE = TreeOptions(mutants=6, full=6)


def grown(functions: Sequence[CodeFunction], scanner: ResidualScanner, options: TreeOptions) -> list[Tree]:
    found = [tree_of(each, MutationGenerator(), scanner.tokenizer.encode, options) for each in functions]
    return [tree for tree in found if tree is not None]


def variant_ids(tree: Tree, number: int) -> list[int]:
    """The tokens of a mutant, as far as its branch goes."""
    own = [at for at in range(len(tree)) if tree.branch[at] == number]
    return [*tree.ids[: tree.parents[own[0]]], *(tree.ids[at] for at in own)]


@pytest.mark.parametrize("options", [TreeOptions(mutants=6), WHOLE], ids=["branches", "whole mutants"])
def test_every_slot_of_every_row_reads_what_the_mutant_alone_gives(
    tiny_scanner: ResidualScanner, some_functions: list[CodeFunction], options: TreeOptions
) -> None:
    trees = grown(some_functions, tiny_scanner, options)
    batch = batch_of(trees)
    together = tiny_scanner.resid_post(
        batch.ids, LAYER, attention_mask=batch.attention_mask, position_ids=batch.position_ids
    )
    for tree, resid in zip(trees, together, strict=True):
        for number in range(1, tree.branch[-1] + 1):
            alone = tiny_scanner.resid_post(torch.tensor([variant_ids(tree, number)]), LAYER)[0]
            places = [place for row in tree.rows if row.variant == number for place in row.positions]
            assert places
            depths = [tree.depth[place] for place in places]
            torch.testing.assert_close(resid[places], alone[depths], rtol=1e-4, atol=1e-4)


def test_a_whole_mutant_is_a_mutant_of_the_function_and_has_a_row_for_each_of_its_sites(
    tiny_scanner: ResidualScanner, some_functions: list[CodeFunction]
) -> None:
    for function, tree in zip(some_functions, grown(some_functions, tiny_scanner, WHOLE), strict=True):
        mutants = {pair.negative for pair in MutationGenerator().mutations_of(function.text)}
        for number in range(1, tree.branch[-1] + 1):
            text = tiny_scanner.tokenizer.decode(variant_ids(tree, number))[len(function.header) :]
            assert text in mutants
            rows = [row for row in tree.rows if row.variant == number]
            assert len(rows) == len(candidate_sites(text))


def test_each_mutant_has_one_bug_and_clean_rows_come_first(
    tiny_scanner: ResidualScanner, some_functions: list[CodeFunction]
) -> None:
    for tree in grown(some_functions, tiny_scanner, TreeOptions(mutants=6, full=3)):
        clean = [row for row in tree.rows if row.variant == 0]
        assert list(tree.rows[: len(clean)]) == clean
        assert [row.origin for row in clean] == list(range(len(clean)))
        assert {(row.label, row.mutation) for row in clean} == {(CLEAN, "clean")}
        for number in range(1, tree.branch[-1] + 1):
            rows = [row for row in tree.rows if row.variant == number]
            assert sum(row.label == BUG for row in rows) == 1
            assert all(row.label in (BUG, NEAR_BUG) and row.mutation != "clean" for row in rows)


def test_an_origin_is_a_clean_row_of_the_same_kind_of_site(
    tiny_scanner: ResidualScanner, some_functions: list[CodeFunction]
) -> None:
    for tree in grown(some_functions, tiny_scanner, WHOLE):
        for row in tree.rows:
            if row.origin >= 0 and row.label == NEAR_BUG:
                assert tree.rows[row.origin].variant == 0 and tree.rows[row.origin].kind == row.kind


def test_the_same_function_gives_the_same_tree(
    tiny_scanner: ResidualScanner, some_functions: list[CodeFunction]
) -> None:
    assert grown(some_functions, tiny_scanner, WHOLE) == grown(some_functions, tiny_scanner, WHOLE)


def test_a_function_that_is_too_long_or_has_no_site_has_no_tree(
    tiny_scanner: ResidualScanner, some_functions: list[CodeFunction]
) -> None:
    assert not grown(some_functions, tiny_scanner, TreeOptions(max_tokens=5))
    empty = CodeFunction(project="p", path="f", text="def f():\n    pass\n", header="")
    assert not grown([empty], tiny_scanner, WHOLE)


def test_branches_never_see_each_other_and_padding_sees_itself_alone(
    tiny_scanner: ResidualScanner, some_functions: list[CodeFunction]
) -> None:
    trees = grown(some_functions, tiny_scanner, WHOLE)
    for tree in trees:
        branch = torch.tensor(tree.branch)
        seen = tree_mask(tree)
        other = (branch[:, None] != branch[None, :]) & (branch[None, :] != 0)
        assert not (seen & other).any() and seen.diagonal().all()
    batch = batch_of(trees)
    for index, tree in enumerate(trees):
        padding = batch.attention_mask[index, len(tree) :]
        assert (padding.sum(dim=-1) == 1).all()


def test_batches_hold_every_tree_once_within_the_budget(
    tiny_scanner: ResidualScanner, some_functions: list[CodeFunction]
) -> None:
    trees = grown(some_functions, tiny_scanner, WHOLE)
    budget = 2 * max(map(len, trees))
    groups = list(batches(trees, budget))
    assert sorted(map(id, trees)) == sorted(id(tree) for group in groups for tree in group)
    assert all(len(group) * max(map(len, group)) <= budget for group in groups)
    assert all(len(group) == 1 for group in batches(trees, 1))
