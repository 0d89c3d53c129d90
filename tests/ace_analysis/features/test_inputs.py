"""What counts as an input, where two of them differ, and when they are pairs."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers

from ace_analysis.errors import InputError
from ace_analysis.features.inputs import changed_tokens, pairs_of, tokenized_inputs
from ace_analysis.model.tokens import CodeTokenizer, TokenizedText

ROWS = st.lists(st.integers(0, 3), min_size=1, max_size=12)


@pytest.fixture
def tokenizer() -> CodeTokenizer:
    words = {word: index for index, word in enumerate(["<s>", "?", "a", "b", "<", ">"])}
    words_only = Tokenizer(models.WordLevel(words, unk_token="?"))
    words_only.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return CodeTokenizer(words_only, 0)


def rows_of(*rows: list[int]) -> list[TokenizedText]:
    return [TokenizedText(row, []) for row in rows]


@given(ROWS, ROWS)
def test_outside_of_the_changed_tokens_two_rows_are_equal(right: list[int], wrong: list[int]) -> None:
    changed = changed_tokens(right, wrong)
    assert set(changed.right) <= set(range(len(right))) and set(changed.wrong) <= set(range(len(wrong)))
    if right == wrong:
        assert not changed.right and not changed.wrong
        return
    assert changed.right and changed.wrong
    if len(right) == len(wrong):
        assert changed.right == changed.wrong == [i for i in range(len(right)) if right[i] != wrong[i]]
        return
    longer, at = (right, changed.right) if len(right) > len(wrong) else (wrong, changed.wrong)
    assert at == list(range(at[0], at[-1] + 1)) and len(at) >= abs(len(right) - len(wrong))
    shorter = wrong if longer is right else right
    assert longer[: at[0]] == shorter[: at[0]] and (
        longer[at[-1] + 1 :] == shorter[len(shorter) - (len(longer) - at[-1] - 1) :]
        or at[-1] + 1 == len(longer)
    )


def test_where_tokens_are_missing_the_one_that_follows_stands_for_them() -> None:
    changed = changed_tokens([0, 1, 2, 3], [0, 1, 3])
    assert changed.right == [2] and changed.wrong == [2]


def test_missing_tokens_at_the_end_are_stood_for_by_the_last_one() -> None:
    assert changed_tokens([0, 1, 2], [0, 1]).wrong == [1]


def test_inputs_of_equal_number_that_mostly_agree_are_pairs() -> None:
    changes = pairs_of(rows_of([0, 1, 2, 3], [0, 4, 5]), rows_of([0, 1, 9, 3], [0, 4, 4, 5]), None)
    assert changes is not None
    assert [change.wrong for change in changes] == [[2], [2]]


@pytest.mark.parametrize("wrong", [[[7, 8, 9, 6], [0, 4, 4, 5]], [[0, 1, 9, 3]]])
def test_inputs_that_share_little_or_differ_in_number_are_no_pairs(
    wrong: list[list[int]],
) -> None:
    assert pairs_of(rows_of([0, 1, 2, 3], [0, 4, 5]), rows_of(*wrong), None) is None


def test_a_caller_can_say_what_are_pairs() -> None:
    right, wrong = rows_of([0, 1, 2], [3, 4]), rows_of([7, 8, 9], [3, 5])
    changes = pairs_of(right, wrong, True)
    assert changes is not None and changes[0].wrong == [0, 1, 2]
    assert pairs_of(right, rows_of([0, 1, 3], [3, 5]), False) is None


def test_pairs_of_different_numbers_are_refused() -> None:
    with pytest.raises(InputError, match="as many right as wrong inputs, got 1 and 2"):
        pairs_of(rows_of([1]), rows_of([1], [2]), True)


@pytest.mark.parametrize("paired", [True, None])
def test_a_pair_without_a_difference_is_refused(paired: bool | None) -> None:
    with pytest.raises(InputError, match="have to differ, those at 1 don't: leave them out"):
        pairs_of(rows_of([1, 2], [3]), rows_of([1, 3], [3]), paired)


def test_texts_get_the_prefix_token_and_spans(tokenizer: CodeTokenizer) -> None:
    (row,) = tokenized_inputs("a < b", tokenizer)
    assert row.ids == [0, 2, 4, 3] and len(row.spans) == 4
    assert [each.ids for each in tokenized_inputs(["a", "b"], tokenizer)] == [[0, 2], [0, 3]]


@pytest.mark.parametrize(
    "ids",
    [
        torch.tensor([[1, 2], [3, 4]]),
        [torch.tensor([1, 2]), torch.tensor([3, 4])],
        [[1, 2], [3, 4]],
    ],
)
def test_ids_come_as_a_matrix_or_as_rows(ids: object) -> None:
    assert [row.ids for row in tokenized_inputs(ids, None)] == [[1, 2], [3, 4]]  # pyright: ignore


def test_one_row_of_ids_is_one_input() -> None:
    assert [row.ids for row in tokenized_inputs(torch.tensor([1, 2]), None)] == [[1, 2]]


@pytest.mark.parametrize("rows", [[torch.zeros(3)], [[]], [None], ["a", [1]], [torch.zeros(1, 2).long()]])
def test_anything_else_is_refused_and_named(rows: list, tokenizer: CodeTokenizer) -> None:
    with pytest.raises(InputError, match=r"expected texts or rows of token ids, got .* as input [01]"):
        tokenized_inputs(rows, tokenizer)


def test_texts_need_a_tokenizer() -> None:
    with pytest.raises(InputError, match="texts need a model from load_hooked_model"):
        tokenized_inputs(["a"], None)
