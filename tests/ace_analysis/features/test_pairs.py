import numpy as np
import pytest

from ace_analysis.errors import InputError
from ace_analysis.features.pairs import NaturalSites, PairActivations, TokenMeans


def pairs_of(n: int = 4, **changes: object) -> PairActivations:
    columns: dict = {
        "buggy": np.ones((n, 2)),
        "clean": np.zeros((n, 2)),
        "tokens": np.arange(n),
        "kinds": ["name"] * n,
        "projects": ["p"] * n,
        "groups": [f"g{i}" for i in range(n)],
    }
    return PairActivations(**{**columns, **changes})


def test_groups_of_one_name_in_two_projects_are_two_clusters() -> None:
    pairs = pairs_of(projects=["p", "p", "q", "q"], groups=["a", "a", "a", "b"])
    assert pairs.clusters.tolist() == [0, 0, 1, 2]


def test_mutated_and_original_sites_have_to_match() -> None:
    with pytest.raises(InputError, match=r"got \(4, 2\) and \(4, 3\)"):
        pairs_of(clean=np.zeros((4, 3)))


@pytest.mark.parametrize("column", ["tokens", "kinds", "projects", "groups"])
def test_each_column_needs_an_entry_for_each_pair(column: str) -> None:
    with pytest.raises(InputError, match=f"{column} needs one entry for each of the 4 pairs"):
        pairs_of(**{column: ["x"]})


def test_each_natural_site_needs_a_token() -> None:
    with pytest.raises(InputError, match="got 1 tokens for 2 sites"):
        NaturalSites(latents=np.zeros((2, 3)), tokens=[1])


def test_token_means_are_those_of_the_tokens_that_are_wanted_and_frequent_enough() -> None:
    latents = np.array([[1.0, 0.0], [3.0, 0.0], [8.0, 8.0], [0.0, 4.0], [0.0, 2.0]])
    natural = NaturalSites(latents=latents, tokens=np.array([7, 7, 5, 9, 9]))
    means = TokenMeans.of(natural, np.array([7, 5, 1]), minimum=2)
    assert means.tokens.tolist() == [7] and means.sites.tolist() == [2.0]
    assert means.mean.toarray().tolist() == [[2.0, 0.0]]
    assert means.variance.toarray().tolist() == [[2.0, 0.0]]
    assert means.rate.toarray().tolist() == [[1.0, 0.0]]
    assert means.rows_of(np.array([5, 7, 1])).tolist() == [-1, 0, -1]


def test_without_a_frequent_token_nothing_is_matched() -> None:
    means = TokenMeans.of(NaturalSites(latents=np.ones((1, 2)), tokens=[3]), np.array([3]), minimum=3)
    assert means.rows_of(np.array([3, 4])).tolist() == [-1, -1]
