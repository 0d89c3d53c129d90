"""Which families the rules describe."""

from types import SimpleNamespace

import pytest

from ace_analysis.decomposition.layout import LAYOUTS, layout_of
from ace_analysis.errors import ModelError


def test_each_type_has_its_layout() -> None:
    assert {name: layout_of(SimpleNamespace(model_type=name), "x") for name in LAYOUTS} == LAYOUTS


def test_another_type_is_an_error_that_names_the_model() -> None:
    with pytest.raises(ModelError, match=r"got 'gemma3_text' \(gemma-3-270m\): its blocks may compute"):
        layout_of(SimpleNamespace(model_type="gemma3_text"), "gemma-3-270m")
