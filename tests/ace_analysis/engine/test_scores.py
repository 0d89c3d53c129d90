"""Scores as they are kept."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ace_analysis.engine.scores import KeptSite, from_bytes, key_of, to_bytes
from ace_analysis.features.scoring import LatentFiring
from ace_analysis.source.document import TextSpan
from ace_analysis.source.sites import SiteKind

spans = st.tuples(st.integers(0, 999), st.integers(0, 99)).map(lambda pair: TextSpan(pair[0], sum(pair)))
numbers = st.floats(-100, 100)
firings = st.builds(LatentFiring, st.integers(0, 9999), spans, numbers, numbers, numbers)
sites = st.builds(KeptSite, spans, st.sampled_from(SiteKind), numbers, st.lists(firings).map(tuple))


@settings(deadline=None)
@given(st.lists(sites).map(tuple))
def test_scores_come_back_as_they_were(scores: tuple[KeptSite, ...]) -> None:
    assert from_bytes(to_bytes(scores)) == scores


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"not json",
        b"3",
        b"[[1]]",
        b'[[0, 1, "no such kind", 0.5, []]]',
        b'[[5, 1, "name", 0.5, []]]',
        b'[[0, 1, "name", 0.5, [[1]]]]',
        b"\xff\xfe",
    ],
)
def test_bytes_that_are_no_scores_are_none(data: bytes) -> None:
    assert from_bytes(data) is None


@settings(deadline=None)
@given(
    st.lists(st.text(alphabet="ab\n\ud800", max_size=4), max_size=4), st.lists(st.text("ab\n", max_size=4))
)
def test_different_texts_have_different_keys(one: list[str], other: list[str]) -> None:
    assert (key_of(one) == key_of(other)) == (one == other)
