"""Vectors of many pairs: the difference of means, by kind, told honestly on projects that were held out."""

from collections.abc import Sequence

import pytest
import torch

from ace_analysis.errors import Cancelled, InputError
from ace_analysis.features.positions import site_positions
from ace_analysis.model.causal import CausalModel
from ace_analysis.source.mutation import MutationGenerator, MutationPair
from ace_analysis.steering.training import ALL, PairOptions, coherence, vectors_from_pairs

LAYER = 1
FUNCTIONS = tuple(
    f"def f{index}(a, b):\n    if a {sign} b and b > {index}:\n        return a + b\n    return b - {index}\n"
    for index, sign in enumerate(("<", "<=", ">", ">=", "==", "!="))
)


@pytest.fixture
def pairs() -> tuple[list[MutationPair], list[str]]:
    """Pairs of six projects with one function each."""
    found: list[MutationPair] = []
    projects: list[str] = []
    for index, text in enumerate(FUNCTIONS):
        new = MutationGenerator(pairs_per_snippet=8).generate_pairs([text])
        found += new
        projects += [f"project-{index}"] * len(new)
    return found, projects


def test_the_direction_is_the_mean_difference_of_the_projects_that_were_not_held_out(
    causal: CausalModel, pairs: tuple[list[MutationPair], list[str]]
) -> None:
    options = PairOptions(behind=0, held_out=0.3, rows=3)
    vector = vectors_from_pairs(causal, *pairs, LAYER, options)[ALL]

    def at(text: str, span: object) -> torch.Tensor:
        tokens = causal.tokenizer.encode(text)
        place = site_positions(text, tokens.spans, [span], (0,))  # pyright: ignore
        return causal.scanner.resid_post(torch.tensor([tokens.ids]), LAYER)[0, int(place[0, 0])]

    rows = {project: [] for project in pairs[1]}
    for pair, project in zip(*pairs, strict=True):
        rows[project].append(at(pair.positive, pair.positive_span) - at(pair.negative, pair.negative_span))
    seen = vector.about["projects"]
    assert seen == 4
    sums = {name: (torch.stack(each).sum(0), len(each)) for name, each in rows.items()}
    from itertools import combinations

    means = [
        sum(sums[name][0] for name in four) / sum(sums[name][1] for name in four)  # pyright: ignore
        for four in combinations(sums, 4)
    ]
    assert any(torch.allclose(mean, vector.direction, rtol=1e-3, atol=1e-3) for mean in means)


def test_each_kind_with_enough_pairs_has_a_vector_of_its_own(
    causal: CausalModel, pairs: tuple[list[MutationPair], list[str]]
) -> None:
    vectors = vectors_from_pairs(causal, *pairs, LAYER, PairOptions(held_out=0.5, least=2))
    kinds = {pair.mutation_type.value for pair in pairs[0]}
    assert ALL in vectors and set(vectors) - {ALL} <= kinds and len(vectors) > 1
    for kind, vector in vectors.items():
        assert vector.about["mutation_type"] == kind and vector.fingerprint == causal.info.fingerprint
        assert 0 <= vector.about["agreeing"] <= 1 and -1 <= vector.about["cosine"] <= 1


def test_the_same_pairs_give_the_same_vectors(
    qwen: CausalModel, pairs: tuple[list[MutationPair], list[str]]
) -> None:
    one, two = (vectors_from_pairs(qwen, *pairs, LAYER)[ALL] for _ in range(2))
    assert torch.equal(one.direction, two.direction) and one.about == two.about


def test_coherence_tells_agreement_from_noise() -> None:
    direction = torch.tensor([1.0, 0.0])
    along = torch.tensor([[2.0, 0.0], [1.0, 0.0]])
    assert coherence(direction, along) == {"held_out_pairs": 2, "agreeing": 1.0, "cosine": 1.0}
    mixed = coherence(direction, torch.tensor([[1.0, 0.0], [-1.0, 0.0]]))
    assert (mixed["agreeing"], mixed["cosine"]) == (0.5, 0.0)


def test_one_project_has_nothing_to_hold_out(
    qwen: CausalModel, pairs: tuple[list[MutationPair], list[str]]
) -> None:
    with pytest.raises(InputError, match="at least two projects"):
        vectors_from_pairs(qwen, pairs[0], ["one"] * len(pairs[0]), LAYER)


@pytest.mark.parametrize(
    ("cut", "told"), [(slice(0, 3), "expected a project for each pair"), (None, "plant more bugs")]
)
def test_too_little_is_told(
    qwen: CausalModel, pairs: tuple[list[MutationPair], list[str]], cut: slice | None, told: str
) -> None:
    found: Sequence[MutationPair] = pairs[0] if cut is None else pairs[0][cut]
    with pytest.raises(InputError, match=told):
        vectors_from_pairs(qwen, found, pairs[1], LAYER, PairOptions(least=10_000))


def test_it_can_be_cancelled(qwen: CausalModel, pairs: tuple[list[MutationPair], list[str]]) -> None:
    with pytest.raises(Cancelled):
        vectors_from_pairs(qwen, *pairs, LAYER, cancelled=lambda: True)
