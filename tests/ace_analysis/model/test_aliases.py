"""Short names."""

import pytest

from ace_analysis.model.aliases import ALIASES, unaliased
from ace_analysis.model.catalogue import KNOWN


def test_an_alias_stands_for_its_hub_name_in_any_case() -> None:
    assert unaliased("gemma-2-2b") == unaliased("Gemma-2-2B") == "google/gemma-2-2b"


def test_a_name_that_is_no_alias_stands_for_itself() -> None:
    assert unaliased("some/Model") == "some/Model"


def test_no_alias_hides_a_known_model() -> None:
    assert not set(ALIASES) & set(KNOWN)


def test_the_table_can_be_pointed_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ALIASES, "gemma-2-2b", "/somewhere")
    assert unaliased("gemma-2-2b") == "/somewhere"
