"""A tree of continuations gives each of them what it gets when it is read alone."""

import random
from pathlib import Path
from typing import Any

import pytest
import torch

from ace_analysis.errors import InputError, ModelError
from ace_analysis.model.hooks import hooks
from ace_analysis.steering.token_tree import AGAIN, ROOT, TokenTree

PROMPT = [5, 9, 17, 4, 33, 21, 8, 11, 6, 40, 12]
BRANCHES = [[3, 7, 9], [3, 7, 10, 14], [3], [], [8, 8, 8, 8, 8], [3, 7, 9]]
ENDS = (1, 2)


def load(folder: Path) -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float64).eval()


def alone(model: Any, branch: list[int]) -> list[float]:
    with torch.no_grad():
        rows = model(torch.tensor([PROMPT + branch])).logits[0].log_softmax(-1)
    steps = rows[len(PROMPT) - 1 :]
    closing = steps[-1, list(ENDS)].logsumexp(-1).item()
    return [*(steps[i, token].item() for i, token in enumerate(branch)), closing]


def test_each_branch_scores_as_when_it_is_read_alone(tiny_model):
    model = load(tiny_model)
    scores = TokenTree(model, PROMPT).score(BRANCHES, ENDS)
    for branch, score in zip(BRANCHES, scores, strict=True):
        assert score == pytest.approx(alone(model, branch), abs=1e-6)


@pytest.mark.parametrize("common", [0, 6, len(PROMPT), len(PROMPT) + 2])
def test_what_another_text_begins_with_need_not_be_read_again(tiny_model, common):
    model = load(tiny_model)
    text = [*PROMPT, 50, 51, 52]
    other = TokenTree(model, [*text[:common], 60, 61])
    other.score(BRANCHES, ENDS)
    read: list[int] = []
    with hooks(before=[(model.base_model.layers[0], lambda _, given: read.append(given[0].shape[1]))]):
        tree = TokenTree(model, PROMPT, like=other)
    assert read == [max(1, len(PROMPT) - common)]
    for branch, score in zip(BRANCHES, tree.score(BRANCHES, ENDS), strict=True):
        assert score == pytest.approx(alone(model, branch), abs=1e-6)


@pytest.mark.parametrize("behind", [[3], [3, 7, 10, 14, 2], [8, 9]])
def test_a_branch_read_with_the_text_changes_nothing_and_is_not_read_again(tiny_model, behind):
    model = load(tiny_model)
    tree = TokenTree(model, PROMPT, behind=behind)
    for _ in range(2):
        branches = [*BRANCHES, behind]
        for branch, score in zip(branches, tree.score(branches, ENDS), strict=True):
            assert score == pytest.approx(alone(model, branch), abs=1e-6)
        tree.clear()
        assert len(tree) == len(behind)
    prefixes = {tuple(branch[: n + 1]) for branch in BRANCHES for n in range(len(branch))}
    tree.score(BRANCHES, ENDS)
    assert len(tree) == len(prefixes | {tuple(behind[: n + 1]) for n in range(len(behind))})


def test_what_may_follow_a_branch_read_with_the_text_is_known_along_it(tiny_qwen2):
    model = load(tiny_qwen2)
    tree = TokenTree(model, PROMPT, behind=[3, 7, 10])
    with torch.no_grad():
        rows = model(torch.tensor([[*PROMPT, 3, 7, 10]])).logits[0].log_softmax(-1)
    assert torch.allclose(tree.along, rows[len(PROMPT) - 1 :], atol=1e-6)


def test_the_order_of_branches_changes_nothing(tiny_qwen2):
    model = load(tiny_qwen2)
    expected = TokenTree(model, PROMPT).score(BRANCHES, ENDS)
    order = list(range(len(BRANCHES)))
    random.Random(1).shuffle(order)
    shuffled = TokenTree(model, PROMPT).score([BRANCHES[i] for i in order], ENDS)
    for place, i in enumerate(order):
        assert shuffled[place] == pytest.approx(expected[i], abs=1e-6)


def test_what_branches_share_is_read_once(tiny_qwen2):
    tree = TokenTree(load(tiny_qwen2), PROMPT)
    tree.score(BRANCHES, ENDS)
    assert len(tree) == len({tuple(branch[: n + 1]) for branch in BRANCHES for n in range(len(branch))})


def test_a_tree_grown_layer_by_layer_is_the_same_tree(tiny_model):
    model = load(tiny_model)
    whole, stepwise = TokenTree(model, PROMPT), TokenTree(model, PROMPT)
    whole.grow([3, 8, 7, 9], [ROOT, ROOT, 0, 1])
    first = stepwise.grow([3, 8], [ROOT, ROOT])
    second = stepwise.grow([7, 9], first)
    torch.testing.assert_close(whole.log_probs([2, 3]), stepwise.log_probs(second), atol=1e-9, rtol=0)


def test_a_cleared_tree_is_as_new(tiny_model):
    model = load(tiny_model)
    tree = TokenTree(model, PROMPT)
    fresh = tree.log_probs([ROOT])
    tree.score([[30, 31, 32], [33]], ENDS)
    tree.clear()
    assert len(tree) == 0
    torch.testing.assert_close(tree.log_probs([ROOT]), fresh)
    for branch, score in zip(BRANCHES, tree.score(BRANCHES, ENDS), strict=True):
        assert score == pytest.approx(alone(model, branch), abs=1e-6)


def test_the_last_token_read_again_is_the_last_token(tiny_model):
    tree = TokenTree(load(tiny_model), PROMPT)
    (last,) = tree.grow(PROMPT[-1:], [AGAIN])
    torch.testing.assert_close(tree.log_probs([last]), tree.log_probs([ROOT]), atol=1e-6, rtol=0)
    first = tree.grow([3, 3], [last, ROOT])
    again, behind = tree.log_probs(first)
    torch.testing.assert_close(again, behind, atol=1e-6, rtol=0)


def test_a_text_of_no_tokens_is_refused(tiny_qwen2):
    with pytest.raises(InputError, match="at least one token"):
        TokenTree(load(tiny_qwen2), [])


@pytest.mark.parametrize("parent", [0, 1, -3])
def test_a_parent_that_is_not_before_its_child_is_refused(tiny_qwen2, parent):
    with pytest.raises(InputError, match="expected a parent from -2 to -1 for token 0"):
        TokenTree(load(tiny_qwen2), PROMPT).grow([3], [parent])


def test_a_model_with_another_kind_of_attention_is_refused(tiny_qwen2):
    model = load(tiny_qwen2)
    tree = TokenTree(model, PROMPT)
    model.config.layer_types = ["chunked_attention"] * 4
    with pytest.raises(ModelError, match="full or sliding attention, got"):
        tree.grow([3], [ROOT])
