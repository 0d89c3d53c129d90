"""That a site's surprisal in a tree is that of its token in its own text, run alone by the plain model."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from transformers import AutoModelForCausalLM

from ace_analysis.errors import Cancelled, InputError, ModelError
from ace_analysis.evaluation.held_out import Harvested
from ace_analysis.evaluation.surprisal import (
    LanguageModel,
    SurprisalOptions,
    measure_surprisal,
    rebuilt_tree,
)
from ace_analysis.features.examples import Tree, TreeOptions, tree_of
from ace_analysis.features.harvest import read_shard
from ace_analysis.model.tokens import CodeTokenizer
from ace_analysis.source.corpus import CodeFunction
from ace_analysis.source.mutation import MutationGenerator


def text_of(tree: Tree, variant: int) -> list[int]:
    """The ids of one variant's whole text."""
    branch = [place for place in range(len(tree)) if tree.branch[place] == variant]
    before = range(tree.parents[branch[0]]) if variant else []
    return [tree.ids[place] for place in (*before, *branch)]


def slow_surprisal(plain: nn.Module, ids: list[int], place: int) -> tuple[float, float]:
    with torch.no_grad():
        logits = plain(input_ids=torch.tensor([ids])).logits[0, place - 1].float()
    told = logits.log_softmax(-1)
    token = ids[place]
    others = torch.cat([told[:token], told[token + 1 :]])
    return -float(told[token]), float(others.max() - told[token])


def test_a_tree_gives_what_each_text_alone_gives(
    tiny_model: Path, few_functions: list[CodeFunction], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ace_analysis.evaluation.surprisal._VOCABULARY_CHUNK", 100)
    from ace_analysis.evaluation.surprisal import _row_values
    from ace_analysis.features.examples import batch_of

    model = LanguageModel.load(str(tiny_model), device="cpu", dtype="float32")
    plain = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32)
    encode = model.scanner.tokenizer.encode
    tree = tree_of(few_functions[0], MutationGenerator(0), encode, TreeOptions(mutants=3, full=3))
    assert tree is not None and len({row.variant for row in tree.rows}) == 4
    batch = batch_of([tree])
    resid = model.scanner.resid_post(
        batch.ids, 3, attention_mask=batch.attention_mask, position_ids=batch.position_ids
    )
    found = _row_values(tree, resid[0], model)
    texts = {variant: text_of(tree, variant) for variant in range(4)}
    expected = [slow_surprisal(plain, texts[row.variant], tree.depth[row.positions[0]]) for row in tree.rows]
    np.testing.assert_allclose(found.T, expected, atol=2e-3)


@pytest.fixture(scope="module")
def model(tiny_qwen2: Path) -> LanguageModel:
    return LanguageModel.load(str(tiny_qwen2), device="cpu", dtype="float32")


def test_trees_are_rebuilt_from_what_a_shard_keeps(harvested: Harvested, tiny_qwen2: Path) -> None:
    tokenizer = CodeTokenizer.from_folder(tiny_qwen2)
    for path in harvested.shards:
        shard = read_shard(path)
        for index in range(len(shard.trees)):
            tree = rebuilt_tree(shard, index, tokenizer, harvested.options.tree)
            assert tree is not None and tree.name == shard.trees[index]["name"]


def test_every_row_of_a_function_has_a_score_and_a_surprisal_above_its_margin(
    harvested: Harvested, model: LanguageModel
) -> None:
    told: list[str] = []
    found = measure_surprisal(
        harvested.shards, model, harvested.options.tree, progress=lambda message, _: told.append(message)
    )
    rows = sum(len(read_shard(path).row_kind) for path in harvested.shards)
    assert len(found.surprisal) == len(found.margin) == rows and not np.isnan(found.surprisal).any()
    assert (found.surprisal > 0).all() and (found.surprisal > found.margin).all()
    assert found.left_out == 0 and told[-1] == f"surprisal: {found.functions} of {found.functions} functions"


def test_some_functions_are_run_whole_and_as_among_all(harvested: Harvested, model: LanguageModel) -> None:
    tree = harvested.options.tree
    everywhere = measure_surprisal(harvested.shards, model, tree).surprisal
    some = measure_surprisal(harvested.shards, model, tree, SurprisalOptions(functions=3)).surprisal
    ran = ~np.isnan(some)
    shards = [read_shard(path) for path in harvested.shards]
    number = np.concatenate([shard.row_tree.numpy() + 100 * at for at, shard in enumerate(shards)])
    assert len(np.unique(number[ran])) == 3 and not set(number[ran]) & set(number[~ran])
    np.testing.assert_allclose(some[ran], everywhere[ran], atol=1e-4)


def test_a_harvest_of_another_make_is_refused(harvested: Harvested, model: LanguageModel) -> None:
    other = replace(harvested.options.tree, mutants=1)
    with pytest.raises(InputError, match="of the harvest is as this version makes it; harvest again"):
        measure_surprisal(harvested.shards, model, other)


def test_a_shard_whose_trees_can_not_be_told_apart_is_refused(
    harvested: Harvested, model: LanguageModel
) -> None:
    shard = read_shard(harvested.shards[0])
    damaged = replace(shard, clean=torch.ones_like(shard.clean))
    with pytest.raises(InputError, match="functions has 1 runs of clean tokens"):
        rebuilt_tree(damaged, 0, model.scanner.tokenizer, harvested.options.tree)


def test_it_can_be_stopped(harvested: Harvested, model: LanguageModel) -> None:
    with pytest.raises(Cancelled):
        measure_surprisal(harvested.shards, model, harvested.options.tree, cancelled=lambda: True)


def test_a_model_whose_logits_are_made_otherwise_is_refused(model: LanguageModel) -> None:
    class Odd:
        base_model = nn.Module()

        def get_output_embeddings(self) -> nn.Module:
            return nn.Linear(2, 2)

    with pytest.raises(ModelError, match="expected a final `norm` and an unembedding without a bias"):
        LanguageModel(Odd(), model.scanner)
