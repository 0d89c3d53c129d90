"""The loop writes what the model finds likeliest, and stops when it is asked to."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from ace_analysis.errors import Cancelled, InputError
from ace_analysis.model.causal import CausalModel
from ace_analysis.steering.generation import GenerationOptions, chosen, generate
from ace_analysis.steering.subject import Subject

Ids = Callable[[str], Tensor]


def test_greedy_text_is_the_likeliest_token_each_time(causal: CausalModel, ids_of: Ids) -> None:
    ids = ids_of("def f(x):")
    output = generate(Subject.of(causal), ids, GenerationOptions(max_new_tokens=4))
    for length in range(ids.shape[1], output.shape[1]):
        with torch.no_grad():
            logits = causal.model(output[:, :length]).logits[0, -1]
        assert int(logits.argmax()) == int(output[0, length])


def test_the_same_seed_draws_the_same_text(causal: CausalModel, ids_of: Ids) -> None:
    ids = ids_of("def f(x):")

    def drawn(seed: int) -> list[int]:
        options = GenerationOptions(max_new_tokens=8, temperature=1.0, seed=seed)
        return generate(Subject.of(causal), ids, options)[0].tolist()

    assert drawn(1) == drawn(1) and len({tuple(drawn(seed)) for seed in range(4)}) > 1


def test_a_row_that_stopped_is_filled_up_while_others_go_on(causal: CausalModel, ids_of: Ids) -> None:
    ids = ids_of("def f(x):")
    other = ids.clone()
    other[0, 2] = ids[0, 3]
    plain = generate(Subject.of(causal), torch.cat([ids, other]), GenerationOptions(max_new_tokens=6))
    stop = int(plain[0, ids.shape[1]])
    options = GenerationOptions(max_new_tokens=6, stop_ids=frozenset({stop}))
    output = generate(Subject.of(causal), torch.cat([ids, other]), options)
    assert set(output[0, ids.shape[1] :].tolist()) == {stop}
    alone = generate(Subject.of(causal), ids, options)
    assert alone.shape[1] == ids.shape[1] + 1


def test_it_is_asked_before_every_token_whether_to_go_on(causal: CausalModel, ids_of: Ids) -> None:
    asked: list[int] = []

    def cancelled() -> bool:
        asked.append(1)
        return len(asked) > 3

    with pytest.raises(Cancelled, match="nothing was kept"):
        options = GenerationOptions(max_new_tokens=9, cancelled=cancelled)
        generate(Subject.of(causal), ids_of("x"), options)
    assert len(asked) == 4


@pytest.mark.parametrize("shape", [(0, 3), (1, 0), (3,)])
def test_no_prompt_is_refused(causal: CausalModel, shape: tuple[int, ...], unchecked_shapes: None) -> None:
    with pytest.raises(InputError, match="at least one token"):
        generate(Subject.of(causal), torch.zeros(shape, dtype=torch.long), GenerationOptions())


def test_only_the_likeliest_tokens_are_drawn_from() -> None:
    logprobs = torch.tensor([0.5, 0.3, 0.15, 0.05]).log()
    drawn = {chosen(logprobs, 1.0, 0.75, torch.Generator().manual_seed(seed)) for seed in range(60)}
    assert drawn == {0, 1}
    assert chosen(logprobs, 0.0, 1.0, torch.Generator()) == 0
