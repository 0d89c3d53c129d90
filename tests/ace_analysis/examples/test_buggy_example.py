"""The example that the demo checks: it must run, and its bugs must be bugs."""

import ast
from importlib import import_module
from pathlib import Path

import pytest

import ace_analysis
from ace_analysis.source.sites import candidate_sites

PATH = Path(ace_analysis.__file__).with_name("examples") / "buggy_example.py"
example = import_module("ace_analysis.examples.buggy_example")


def test_it_parses_and_says_that_its_bugs_are_on_purpose() -> None:
    tree = ast.parse(PATH.read_text(encoding="utf-8"))
    assert "on purpose" in (ast.get_docstring(tree) or "")
    assert "#" not in PATH.read_text(encoding="utf-8")


def test_it_has_enough_to_look_at() -> None:
    assert len(candidate_sites(PATH.read_text(encoding="utf-8"))) > 50


def test_every_bug_is_one() -> None:
    account = example.Account("a", balance=10.0)
    account.deposit(5.0)
    assert account.balance != 15.0
    rich = example.Account("b", balance=10.0)
    with pytest.raises(ValueError, match="insufficient funds"):
        rich.withdraw(5.0)
    poor = example.Account("c", balance=1.0)
    poor.withdraw(5.0)
    assert poor.balance == -4.0
    assert example.is_leap_year(2024) is not True
    assert example.bounding_box([(0.0, 5.0), (1.0, 7.0)]) != (0.0, 5.0, 1.0, 7.0)
    assert example.count_words("a a") != {"a": 2}
    assert example.is_sorted([2, 1]) is not False
    assert example.find_user([{"name": "ann"}], "ann") is None
    assert example.clamp(-1.0, 0.0, 2.0) != 0.0
    assert example.total_price([{"price": 2.0, "quantity": 3.0}]) != 6.0
