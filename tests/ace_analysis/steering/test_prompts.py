"""A middle is written with what is around it, nearest first."""

import pytest

from ace_analysis.model.causal import CausalModel
from ace_analysis.steering.prompts import FimTokens, end_ids, line_end_ids, middle_prompt

BEFORE, AFTER = "def mean(values):\n    total = 0.0\n", "    return total\n"


def test_a_model_with_the_tokens_knows_what_follows(filling: CausalModel) -> None:
    tokenizer = filling.tokenizer
    fim = FimTokens.of(tokenizer)
    assert fim is not None
    prompt = middle_prompt(tokenizer, BEFORE, AFTER)
    assert (prompt[0], prompt[-1]) == (fim.prefix, fim.middle)
    cut = prompt.index(fim.suffix)
    assert tokenizer.decode(prompt[1:cut]) == BEFORE
    assert tokenizer.decode(prompt[cut + 1 : -1]) == AFTER


def test_another_model_writes_from_what_stands_before(causal: CausalModel) -> None:
    tokenizer = causal.tokenizer
    assert FimTokens.of(tokenizer) is None
    prompt = middle_prompt(tokenizer, BEFORE, AFTER)
    assert prompt[0] == tokenizer.prefix_id and tokenizer.decode(prompt) == BEFORE


@pytest.mark.parametrize("most", [12, 20, 40])
def test_of_a_long_text_the_nearest_is_kept(filling: CausalModel, most: int) -> None:
    prompt = middle_prompt(filling.tokenizer, BEFORE * 9, AFTER * 9, most)
    fim = FimTokens.of(filling.tokenizer)
    assert fim is not None and len(prompt) == most
    cut = prompt.index(fim.suffix)
    assert (BEFORE * 9).endswith(filling.tokenizer.decode(prompt[1:cut]))
    assert (AFTER * 9).startswith(filling.tokenizer.decode(prompt[cut + 1 : -1]))


def test_a_short_side_leaves_its_room_to_the_other(filling: CausalModel) -> None:
    assert len(middle_prompt(filling.tokenizer, BEFORE * 20, "x", 50)) == 50
    assert len(middle_prompt(filling.tokenizer, "x", AFTER * 40, 50)) == 50


def test_control_tokens_in_the_text_are_text(filling: CausalModel) -> None:
    prompt = middle_prompt(filling.tokenizer, "x = '<|fim_middle|>'\n", "")
    fim = FimTokens.of(filling.tokenizer)
    assert fim is not None and prompt.count(fim.middle) == 1


def test_line_ends_are_known_by_their_text(causal: CausalModel) -> None:
    ends = line_end_ids(causal.tokenizer)
    assert ends
    assert all(causal.tokenizer.spell(each)[0] in "\r\n" for each in ends)
    assert set(causal.tokenizer.encode("x\n").ids[-1:]) <= ends


def test_a_middle_ends_where_a_text_does(qwen: CausalModel) -> None:
    ends = end_ids(qwen.tokenizer, qwen.end_ids)
    assert qwen.end_ids <= ends and qwen.tokenizer.id_of("<|im_end|>") in ends
