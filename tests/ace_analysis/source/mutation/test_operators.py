"""Mistakes in operators and constants, and what nobody gets wrong."""

import pytest


@pytest.mark.parametrize(
    ("kind", "body", "expected"),
    [
        ("comparison", "a < b", {"a <= b", "a > b"}),
        ("comparison", "a == b", {"a != b"}),
        ("comparison", "a in b", {"a not in b"}),
        ("comparison", "a not  in b", {"a in b"}),
        ("comparison", "a is not None", {"a is None"}),
        ("comparison", "a < b < c", {"a <= b < c", "a > b < c", "a < b <= c", "a < b > c"}),
        ("arithmetic", "a + b", {"a - b"}),
        ("arithmetic", "a -= b", {"a += b"}),
        ("arithmetic", "a // b", {"a / b", "a % b"}),
        ("boolean", "a and b", {"a or b"}),
        ("boolean", "a = True", {"a = False"}),
        ("off_by_one", "a = 3", {"a = 2", "a = 4"}),
        ("off_by_one", "a + 0", {"a + 1"}),
    ],
)
def test_what_is_planted(mutants, kind, body, expected):
    assert mutants(body, kind) == expected


@pytest.mark.parametrize(
    ("kind", "body", "expected"),
    [
        ("comparison", "a not in b", {"in"}),
    ],
)
def test_where_it_is_marked(marked, kind, body, expected):
    assert marked(body, kind) == expected


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("arithmetic", "'a' + b"),
        ("arithmetic", "[0] * a"),
        ("arithmetic", "'%s' % a"),
        ("arithmetic", "str(a) + b"),
        ("off_by_one", "a = [1, 2, 3, 4, 5, 6]"),
        ("off_by_one", "a = 0x10 + 100000"),
    ],
)
def test_what_nobody_gets_wrong_is_left_alone(mutants, kind, body):
    assert mutants(body, kind) == set()
