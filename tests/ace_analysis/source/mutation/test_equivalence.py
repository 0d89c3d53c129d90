"""What is known to change nothing is never planted."""

import pytest


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("comparison", "if a > b: b = a"),
        ("comparison", "if (a > b): b = a"),
        ("comparison", "x = a if a > b else b"),
        ("comparison", "if a > b:\n    return a\nreturn b"),
        ("comparison", "if a > b:\n    x = a\nelse:\n    x = b"),
        ("comparison", "x = -a if a < 0 else a"),
    ],
)
def test_of_two_equal_values_either_is_the_larger(mutants, kind, body):
    assert not any(">=" in text or "<=" in text for text in mutants(body, kind))


@pytest.mark.parametrize(
    ("kind", "body", "never"),
    [
        ("comparison", "len(a) > 0", "len(a) != 0"),
        ("comparison", "len(a) >= 0", "len(a) > -1"),
        ("off_by_one", "len(a) >= 0", "len(a) >= -1"),
        ("comparison", "len(a) == 0", "len(a) <= 0"),
        ("comparison", "a is None", "a == None"),
        ("comparison", "a == None", "a is None"),
        ("arithmetic", "a + 0", "a - 0"),
        ("arithmetic", "a += 0", "a -= 0"),
        ("arithmetic", "a * 1", "a / 1"),
        ("arithmetic", "2 * 2", "2 + 2"),
        ("arithmetic", "int(a / b)", "int(a // b)"),
        ("boolean", "a and a", "a or a"),
        ("off_by_one", "range(a, b, 1)", "range(a, b, 0)"),
        ("off_by_one", "a // 1", "a // 0"),
        ("swapped_arguments", "g(a, a)", "g(a, a)"),
        ("none_return", "return None", "None"),
        ("none_return", "return False", "return None"),
        ("wrong_keyword", "g(p=a, q=a)", "g(q=a, p=a)"),
    ],
)
def test_a_known_equivalent_is_never_planted(mutants, kind, body, never):
    assert never not in mutants(body, kind)
