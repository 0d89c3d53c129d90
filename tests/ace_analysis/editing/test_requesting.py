"""A request says one thing that goes, in known names and values, and what it needs with that."""

import re

import pytest

from ace_analysis.editing.requesting import EditRequest, request_from
from ace_analysis.errors import InputError


def test_a_request_reads_back_from_json_and_nulls_mean_the_default() -> None:
    asked = {"words": ["None"], "texts": ["x = None"], "layer": None, "search": True, "limit": 3, "mu": 7}
    expected = EditRequest(words=("None",), texts=("x = None",), search=True, limit=3, mu=7.0)
    assert request_from(asked) == expected
    removal = {"direction": "latent:3", "component": "resid_writers", "embedding": True, "strength": 2}
    assert request_from(removal) == EditRequest(
        direction="latent:3", component="resid_writers", embedding=True, strength=2.0
    )


def test_latents_and_a_kind_can_come_with_a_text_or_without() -> None:
    for what in ({"latents": [1]}, {"kind": "comparison"}):
        assert request_from(what).texts == ()
        assert request_from({**what, "texts": ["a = b"]}).texts == ("a = b",)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({}, "expected one of words, latents, kind and direction, to say what is to go"),
        ({"words": ["a"], "latents": [1], "texts": ["a"]}, "expected one of words, latents, kind and direct"),
        ({"words": ["a"]}, "expected texts that have the words together with them, got none: without a text"),
        ({"direction": "latent:1", "texts": ["a"]}, "expected no texts with a direction: it is removed"),
        ({"latents": [1], "embedding": True}, "expected a direction with embedding: an erasure changes one"),
        ({"latents": [1], "search": True}, "expected words with search: it looks for what makes them least"),
        ({"kind": "a", "limit": 0}, "expected a limit of at least 1 latent, got 0"),
    ],
)
def test_what_does_not_go_together_is_refused(data: dict, said: str) -> None:
    with pytest.raises(InputError, match=re.escape(said)):
        request_from(data)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"word": "a"}, "expected one of words, texts, latents, kind, direction,"),
        ({"word": "a"}, "got 'word'"),
        ({"words": "a"}, "words: expected a list of texts, got 'a'"),
        ({"texts": [1]}, "texts: expected a list of texts, got [1]"),
        ({"latents": ["1"]}, "latents: expected a list of whole numbers, got ['1']"),
        ({"latents": [True]}, "latents: expected a list of whole numbers, got [True]"),
        ({"kind": 3}, "kind: expected a text, got 3"),
        ({"mu": "big"}, "mu: expected a number, got 'big'"),
        ({"limit": 1.5}, "limit: expected a whole number, got 1.5"),
        ({"measure": 1}, "measure: expected true or false, got 1"),
    ],
)
def test_unknown_names_and_values_that_are_none_are_refused(data: dict, said: str) -> None:
    with pytest.raises(InputError, match=re.escape(said)):
        request_from(data)
