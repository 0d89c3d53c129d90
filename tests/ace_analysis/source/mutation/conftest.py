"""A rule's mutants of a few lines, as the body of a function."""

from collections.abc import Callable

import pytest

from ace_analysis.source.mutation import MutationGenerator, MutationPair
from ace_analysis.source.sites import candidate_sites

PARAMETERS = "a, b, c, d"


def pairs_in(body: str, kind: str, parameters: str) -> list[MutationPair]:
    text = f"def f({parameters}):\n" + "".join(f"    {line}\n" for line in body.split("\n"))
    return [pair for pair in MutationGenerator().mutations_of(text, check=True) if pair.mutation_type == kind]


@pytest.fixture
def pairs_of() -> Callable[..., list[MutationPair]]:
    return lambda body, kind, parameters=PARAMETERS: pairs_in(body, kind, parameters)


@pytest.fixture
def mutants() -> Callable[..., set[str]]:
    """The mutated bodies, without their indentation."""
    return lambda body, kind, parameters=PARAMETERS: {
        "\n".join(line[4:] for line in pair.negative.splitlines()[1:])
        for pair in pairs_in(body, kind, parameters)
    }


@pytest.fixture
def marked() -> Callable[..., set[str]]:
    """The candidate sites that the mutants' spans begin at."""
    return lambda body, kind, parameters=PARAMETERS: {
        site_at(pair) for pair in pairs_in(body, kind, parameters)
    }


def site_at(pair: MutationPair) -> str:
    sites = {site.span.start: site.text for site in candidate_sites(pair.negative)}
    return sites.get(pair.negative_span.start, "(no site)")
