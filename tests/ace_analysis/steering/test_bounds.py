"""An edit can't be likelier than its bound, and the bound costs no pass of its own."""

import torch

from ace_analysis.model.causal import CausalModel
from ace_analysis.steering.bounds import bounds_of
from ace_analysis.steering.token_tree import ROOT, TokenTree

PROMPT, LINE = "def f(values):\n    ", "return values[0] + 1"
OTHERS = ("return values[1] + 1", "return values", "values += 1", "return values[0] + 1 + 2")


def test_no_text_is_likelier_than_its_bound(qwen: CausalModel) -> None:
    tokenizer = qwen.tokenizer
    tree = TokenTree(qwen.model, tokenizer.encode(PROMPT).ids)
    ids, *others = ([*each.ids[1:]] for each in tokenizer.encode_many([LINE, *OTHERS]))
    nodes = tree.grow(ids, [ROOT, *range(len(ids) - 1)])
    rows = tree.log_probs([ROOT, *nodes])
    tree.clear()
    ends = frozenset({tokenizer.prefix_id})

    bounds = bounds_of(rows, ids, others, ends)

    whole = [sum(values) for values in tree.score(others, ends)]
    assert all(exact <= bound + 1e-4 for exact, bound in zip(whole, bounds, strict=True))


def test_a_text_that_ends_within_the_first_is_bounded_exactly() -> None:
    rows = torch.log(torch.tensor([[0.5, 0.25, 0.25], [0.125, 0.75, 0.125], [0.25, 0.25, 0.5]]))
    ends = frozenset({2})

    shorter, other, same = bounds_of(rows, [0, 1], [[0], [1, 0], [0, 1]], ends)

    assert torch.allclose(
        torch.tensor([shorter, other, same]),
        torch.log(torch.tensor([0.5 * 0.125, 0.25, 0.5 * 0.75 * 0.5])),
    )
