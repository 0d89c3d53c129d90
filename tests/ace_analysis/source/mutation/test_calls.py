"""Mistakes at calls, and where they are marked."""

import pytest

from ace_analysis.source.mutation import MutationGenerator


@pytest.mark.parametrize(
    ("kind", "body", "expected"),
    [
        ("swapped_arguments", "g(a, b, c)", {"g(b, a, c)", "g(a, c, b)"}),
        ("swapped_arguments", "g(a, 2)", {"g(2, a)"}),
        ("wrong_keyword", "g(p=a, q=b)", {"g(q=a, p=b)"}),
        ("wrong_keyword", "g(p=a)\ng(q=b)", {"g(q=a)\ng(q=b)", "g(p=a)\ng(p=b)"}),
        ("wrong_attribute", "a.x\na.y", {"a.y\na.y", "a.x\na.x"}),
        ("wrong_attribute", "a.append(b)", {"a.extend(b)"} | {"a.appendleft(b)"}),
    ],
)
def test_what_is_planted(mutants, kind, body, expected):
    assert mutants(body, kind) == expected


@pytest.mark.parametrize(
    ("kind", "body", "expected"),
    [
        ("swapped_arguments", "g(a, b)", {"b"}),
        ("swapped_arguments", "g(a, self.b)", {"b"}),
        ("swapped_arguments", "g([], a)", {"a"}),
        ("wrong_keyword", "g(p=a, q=b)", {"q"}),
    ],
)
def test_where_it_is_marked(marked, kind, body, expected):
    assert marked(body, kind) == expected


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("swapped_arguments", "max(a, b)"),
        ("swapped_arguments", "math.gcd(a, b)"),
        ("swapped_arguments", "getattr(a, 'b')"),
        ("swapped_arguments", "g(*a, *b)"),
        ("wrong_keyword", "g(p=a)"),
    ],
)
def test_what_nobody_gets_wrong_is_left_alone(mutants, kind, body):
    assert mutants(body, kind) == set()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("def f(a=True): pass\n", {"def f(a=False): pass\n"}),
        ("def f(a: int = 3): pass\n", {"def f(a: int = 4): pass\n", "def f(a: int = 2): pass\n"}),
    ],
)
def test_another_default_value_is_a_wrong_keyword(text, expected):
    found = [p for p in MutationGenerator().mutations_of(text) if p.mutation_type == "wrong_keyword"]
    assert {pair.negative for pair in found} == expected
