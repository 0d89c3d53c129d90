"""Rows on a tree are written as each would be alone, steered or not."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from ace_analysis.errors import Cancelled, FingerprintError
from ace_analysis.features.sparse_coder import SparseCoder
from ace_analysis.model.causal import CausalModel
from ace_analysis.model.hooks import hooks
from ace_analysis.model.sites import Site
from ace_analysis.steering.gating import FeatureGate
from ace_analysis.steering.generation import GenerationOptions
from ace_analysis.steering.token_tree import TokenTree
from ace_analysis.steering.vector import SteeringVector
from ace_analysis.steering.writing import RowPlan, Writer, WritingOptions, Written

PROMPT = "def mean(values):\n    total = "
FREE = WritingOptions(stop=None, max_new_tokens=7)


def written(causal: CausalModel, plans: list[RowPlan], options: WritingOptions = FREE) -> tuple[Written, ...]:
    prompt = causal.tokenizer.encode(PROMPT).ids
    return Writer(causal, TokenTree(causal.model, prompt), prompt).write(plans, options)


@pytest.fixture
def vector(causal: CausalModel) -> SteeringVector:
    return SteeringVector.from_prompts(causal, "return total", "return index", 1).scaled(3.0)


@pytest.mark.parametrize("strength", [0.0, 1.0, -2.0])
def test_a_row_is_what_the_plain_loop_writes(
    causal: CausalModel, vector: SteeringVector, strength: float
) -> None:
    ids = torch.tensor([causal.tokenizer.encode(PROMPT).ids])
    plain = vector.apply(causal, ids, strength, GenerationOptions(max_new_tokens=7))
    (row,) = written(causal, [RowPlan(vector=vector, strength=strength)])
    assert list(row.ids) == plain[0, ids.shape[1] :].tolist()


def test_rows_do_not_depend_on_each_other(causal: CausalModel, vector: SteeringVector) -> None:
    other = vector.random_like(seed=2)
    plans = [
        RowPlan(),
        RowPlan(vector=vector, strength=1.0),
        RowPlan(vector=vector, strength=2.0),
        RowPlan(vector=other, strength=1.0),
        RowPlan(),
    ]
    together = written(causal, plans)
    alone = [written(causal, [plan])[0] for plan in plans]
    assert [row.ids for row in together] == [row.ids for row in alone]
    assert [row.logprob for row in together] == pytest.approx([row.logprob for row in alone], abs=1e-3)


def test_drawn_rows_differ_and_come_again_with_the_same_seed(causal: CausalModel) -> None:
    plans = [RowPlan(temperature=1.0)] * 4
    first, again = written(causal, plans), written(causal, plans)
    assert first == again and len({row.ids for row in first}) > 1


def test_the_log_probability_is_the_models(causal: CausalModel) -> None:
    (row,) = written(causal, [RowPlan()])
    prompt = causal.tokenizer.encode(PROMPT).ids
    with torch.no_grad():
        logits = causal.model(torch.tensor([[*prompt, *row.ids]])).logits[0].log_softmax(-1)
    expected = sum(float(logits[len(prompt) - 1 + at, token]) for at, token in enumerate(row.ids))
    assert row.logprob == pytest.approx(expected, abs=1e-3)


def test_a_row_ends_at_its_lines_end_and_at_an_end_token(causal: CausalModel) -> None:
    free = written(causal, [RowPlan(temperature=1.0)] * 6, WritingOptions(stop=None, max_new_tokens=20))
    lines = written(causal, [RowPlan(temperature=1.0)] * 6, WritingOptions(max_new_tokens=20))
    for whole, line in zip(free, lines, strict=True):
        assert "\n" not in line.text and whole.text.startswith(line.text)
        assert line.finished == ("\n" in whole.text or "\r" in whole.text)
    stop = free[0].ids[2]
    ended = written(causal, [RowPlan(temperature=1.0)], WritingOptions(stop=None, ends=frozenset({stop})))
    assert ended[0].finished and stop not in ended[0].ids


@pytest.mark.parametrize("cut", [0, 3, 9])
def test_a_draft_changes_in_how_many_passes_rows_are_written_and_nothing_else(
    causal: CausalModel, vector: SteeringVector, cut: int
) -> None:
    """The draft is what a row writes by itself, with one token changed."""
    options = WritingOptions(stop=None, max_new_tokens=9)
    plans = [
        RowPlan(),
        RowPlan(temperature=1.0),
        RowPlan(vector=vector, strength=1.0),
        RowPlan(temperature=0.7),
    ]
    plain, passes = counted(causal, plans, options)
    assert passes == 9
    draft = list(plain[0].ids)
    if cut < len(draft):
        draft[cut] = draft[cut] ^ 1
    drafted, fewer = counted(causal, plans, replace(options, draft=tuple(draft)))
    assert [row.ids for row in drafted] == [row.ids for row in plain]
    assert [row.logprob for row in drafted] == pytest.approx([row.logprob for row in plain], abs=1e-3)
    assert counted(causal, plans[:1], replace(options, draft=tuple(draft)))[1] <= (6 if cut < 9 else 2)
    assert fewer <= passes
    with_prompt, fewest = counted(causal, plans, replace(options, draft=tuple(draft)), tuple(draft))
    assert [row.ids for row in with_prompt] == [row.ids for row in plain] and fewest <= fewer


def counted(
    causal: CausalModel, plans: list[RowPlan], options: WritingOptions, behind: tuple[int, ...] = ()
) -> tuple[tuple[Written, ...], int]:
    """What is written, and in how many passes behind the prompt."""
    prompt = causal.tokenizer.encode(PROMPT).ids
    tree = TokenTree(causal.model, prompt, behind=behind)
    passes: list[int] = []
    with hooks(before=[(causal.blocks[0], lambda module, arguments: passes.append(1))]):
        rows = Writer(causal, tree, prompt).write(plans, options)
    return rows, len(passes)


def test_it_is_asked_before_every_pass_whether_to_go_on(causal: CausalModel) -> None:
    asked: list[int] = []

    def cancelled() -> bool:
        asked.append(1)
        return len(asked) == 3

    prompt = causal.tokenizer.encode(PROMPT).ids
    writer = Writer(causal, TokenTree(causal.model, prompt), prompt)
    with pytest.raises(Cancelled, match="nothing was kept"):
        writer.write([RowPlan()], FREE, cancelled)
    assert len(asked) == 3


def test_hooks_are_gone_after_a_cancel(causal: CausalModel, vector: SteeringVector) -> None:
    def count() -> int:
        return sum(len(each._forward_hooks) + len(each._forward_pre_hooks) for each in causal.model.modules())

    before = count()
    prompt = causal.tokenizer.encode(PROMPT).ids
    writer = Writer(causal, TokenTree(causal.model, prompt), prompt)
    with pytest.raises(Cancelled):
        writer.write([RowPlan(vector=vector, strength=1.0)], FREE, lambda: True)
    assert count() == before


def test_another_models_vector_is_refused(causal: CausalModel, tiny_models: Callable[..., object]) -> None:
    stranger = SteeringVector(direction=torch.ones(32), layer=1, model="other", fingerprint="0" * 64)
    with pytest.raises(FingerprintError, match="made from other"):
        written(causal, [RowPlan(vector=stranger, strength=1.0)])


@pytest.mark.parametrize("opens", [True, False])
def test_a_gate_decides_which_tokens_of_a_row_are_steered(
    causal: CausalModel, vector: SteeringVector, opens: bool
) -> None:
    coder = SparseCoder(
        torch.zeros(32, 4),
        torch.ones(4),
        torch.zeros(4, 32),
        torch.zeros(32),
        torch.full((4,), 0.0 if opens else 1e9),
        Site(0),
    )
    gate = FeatureGate(coder, (0, 2), causal.info.name, causal.info.fingerprint)
    plain, gated, free = written(
        causal,
        [
            RowPlan(),
            RowPlan(vector=vector, strength=2.0, gate=gate),
            RowPlan(vector=vector.scaled(1.0), strength=2.0),
        ],
    )
    assert gated.ids == (free.ids if opens else plain.ids)
