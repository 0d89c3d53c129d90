"""A line is filled in right where greedy writing gives it, and holes are the trees' own planted bugs."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from ace_analysis.editing.deltas import with_deltas
from ace_analysis.errors import Cancelled
from ace_analysis.evaluation.disentangler import Telling
from ace_analysis.evaluation.editing_errors import ALL, removal
from ace_analysis.evaluation.editing_repair import Hole, holes_of, read_holes, told_repair
from ace_analysis.features.examples import TreeOptions, planted_in
from ace_analysis.model.causal import CausalModel, load_causal
from ace_analysis.source.corpus import CodeFunction
from ace_analysis.source.mutation import MutationGenerator
from ace_analysis.steering.prompts import middle_prompt

BEFORE, AFTER = "def f(a, b):\n    ", "\n    return a\n"
TREE = TreeOptions(mutants=12)


@pytest.fixture
def causal(tiny_qwen2: Path) -> CausalModel:
    return load_causal(str(tiny_qwen2), "cpu", "float32")


def hole(right: str, wrong: str, **other: str) -> Hole:
    told = {"project": "p", "kind": "comparison", "before": BEFORE, "after": AFTER}
    return Hole(right=right, wrong=wrong, **{**told, **other})


@torch.no_grad()
def written(causal: CausalModel, count: int) -> list[int]:
    """What the model writes greedily between BEFORE and AFTER, token after token."""
    ids = middle_prompt(causal.tokenizer, BEFORE, AFTER)
    start = len(ids)
    for _ in range(count):
        ids.append(int(causal.model(input_ids=torch.tensor([ids])).logits[0, -1].argmax()))
    return ids[start:]


@torch.no_grad()
def nats(causal: CausalModel, text: str, ends: set[int]) -> float:
    """Of a line between BEFORE and AFTER and its end, by one plain forward."""
    prompt = middle_prompt(causal.tokenizer, BEFORE, AFTER)
    ids = causal.tokenizer.encode(text).ids[1:]
    logprobs = causal.model(input_ids=torch.tensor([[*prompt, *ids]])).logits[0].log_softmax(-1)
    own = sum(float(logprobs[len(prompt) - 1 + at, each]) for at, each in enumerate(ids))
    return own + float(logprobs[-1, sorted(ends)].logsumexp(0))


def line_ends(causal: CausalModel) -> set[int]:
    vocabulary = range(causal.tokenizer.vocabulary_size)
    return {each for each in vocabulary if causal.tokenizer.spell(each)[:1] in ("\n", "\r")}


def test_a_line_is_filled_in_right_where_greedy_writing_gives_it_and_its_end(causal: CausalModel) -> None:
    tokenizer, ids = causal.tokenizer, written(causal, 8)
    count = next(n for n in range(1, 8) if tokenizer.encode(tokenizer.decode(ids[:n])).ids[1:] == ids[:n])
    right = tokenizer.decode(ids[:count])
    holes = [hole(right, "a = b"), hole("a < b", right)]
    causal.model.config.eos_token_id = ids[count]
    assert read_holes(replace(causal), holes, Telling())["filled"] == [True, False]
    causal.model.config.eos_token_id = ids[count] + 1
    assert read_holes(replace(causal), holes, Telling())["filled"] == [False, False]


def test_the_gain_is_the_log_probability_of_the_right_line_above_the_wrong_ones(causal: CausalModel) -> None:
    ends = line_ends(causal) | set(causal.end_ids)
    ends |= {e for t in ("<|endoftext|>", "<|im_end|>", "<|fim_pad|>") if (e := causal.tokenizer.id_of(t))}
    read = read_holes(causal, [hole("a < b", "a > b"), hole("a < b", "b = a")], Telling())
    for gain, wrong in zip(read["gain"], ("a > b", "b = a"), strict=True):
        assert gain == pytest.approx(nats(causal, "a < b", ends) - nats(causal, wrong, ends), abs=1e-3)
    assert read["type"] == ["comparison"] * 2 and read["project"] == ["p"] * 2


def test_an_edit_on_the_model_is_measured(causal: CausalModel, few_functions: list[CodeFunction]) -> None:
    holes = holes_of(few_functions, TREE, 6)
    before = read_holes(causal, holes, Telling())
    directions = torch.randn(4, 32, generator=torch.Generator().manual_seed(0))
    with with_deltas(causal.model, removal(causal.model, directions, 3)):
        after = read_holes(causal, holes, Telling())
    assert before["gain"] != after["gain"] and read_holes(causal, holes, Telling()) == before


def test_holes_are_planted_bugs_of_one_line_and_filling_them_gives_the_function(
    few_functions: list[CodeFunction],
) -> None:
    holes = holes_of(few_functions, TREE, 1000)
    planted = {
        (each.header + pair.positive, each.header + pair.negative, str(pair.mutation_type))
        for each in few_functions
        for pair in planted_in(each, MutationGenerator(TREE.seed), TREE)
    }
    assert len(holes) > 10
    for each in holes:
        texts = (each.before + line + each.after for line in (each.right, each.wrong))
        assert (*texts, each.kind) in planted and "\n" not in each.right + each.wrong


def test_functions_take_turns_until_there_are_enough_holes(few_functions: list[CodeFunction]) -> None:
    some, all_ = holes_of(few_functions, TREE, 8), holes_of(few_functions, TREE, 1000)
    assert some == all_[:8] and len({each.before[:40] for each in some}) > 1
    assert holes_of(few_functions, TREE, 0) == []


def test_own_and_other_types_are_told_apart_with_their_changes() -> None:
    before = {"type": ["a", "a", "b"], "project": ["x", "y", "y"], "filled": [True] * 3, "gain": [1, 1, 0]}
    after = {**before, "filled": [False, True, True], "gain": [-1, 1, -2]}
    told = told_repair("a", before, after)
    assert set(told) == {"own", "others", "a", "b"} and told["own"] == told["a"]
    assert told["own"]["filled"]["value"] == 0.5 and told["own"]["filled_change"]["value"] == -0.5
    assert told["others"]["bugs"] == 1 and told["others"]["filled_change"]["value"] == 0
    assert told["others"]["preferred_change"]["value"] == -0.5
    assert set(told_repair(ALL, before, after)) == {"own", "a", "b"}


def test_a_caller_that_stops_is_heard_between_lines(causal: CausalModel) -> None:
    with pytest.raises(Cancelled):
        read_holes(causal, [hole("a < b", "a > b")], Telling(cancelled=lambda: True))
