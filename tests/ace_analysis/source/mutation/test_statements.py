"""Mistakes in conditions, returns, guards and indexes, and where they are marked."""

import pytest


@pytest.mark.parametrize(
    ("kind", "body", "expected"),
    [
        ("missing_not", "if not a: pass", {"if a: pass"}),
        ("missing_not", "if a: pass", {"if not a: pass"}),
        ("missing_not", "while a.b(): pass", {"while not a.b(): pass"}),
        ("missing_not", "x = not a", {"x = a"}),
        ("missing_not", "return not(a)", {"return (a)"}),
        ("missing_not", "x = a if b else c", {"x = a if not b else c"}),
        ("missing_not", "if a and b: pass", {"if not a and b: pass", "if a and not b: pass"}),
        ("none_return", "return a + 1", {"return None", "a + 1"}),
        ("none_return", "return a, b", {"return None", "a, b"}),
        ("wrong_index", "a[0]", {"a[1]", "a[-1]"}),
        ("wrong_index", "a[-1]", {"a[0]", "a[-2]"}),
        (
            "wrong_index",
            "for i in range(a): b[i]",
            {"for i in range(a): b[i + 1]", "for i in range(a): b[i - 1]"},
        ),
        ("wrong_index", "a[b + 1]", {"a[b]", "a[b + 2]"}),
        ("wrong_index", "a[1:]", {"a[0:]", "a[2:]"}),
        ("wrong_index", "a[::2]", set()),
        ("removed_guard", "if a: return b\nreturn c", {"return c"}),
        ("removed_guard", "if a:\n    # why\n    raise b\n\nd = c", {"d = c"}),
    ],
)
def test_what_is_planted(mutants, kind, body, expected):
    assert mutants(body, kind) == expected


@pytest.mark.parametrize(
    ("kind", "body", "expected"),
    [
        ("missing_not", "if not a: pass", {"if"}),
        ("missing_not", "while not a: pass", {"while"}),
        ("missing_not", "return not a", {"return"}),
        ("missing_not", "x = not a.b", {"a"}),
        ("missing_not", "if a: pass", {"not"}),
        ("none_return", "return self.x", {"None", "x"}),
        ("none_return", "return a", {"None", "a"}),
        ("removed_guard", "if a: return b\nx = g(c)", {"g"}),
        ("removed_guard", "if a: return b\nfor x in c: pass", {"for"}),
        ("wrong_index", "a[0]", {"1", "-"}),
        ("wrong_index", "a[-1]", {"0", "-"}),
    ],
)
def test_where_it_is_marked(marked, kind, body, expected):
    assert marked(body, kind) == expected


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("removed_guard", "for x in a:\n    if x: continue"),
        ("removed_guard", "if a:\n    return\nelse:\n    c()\nd()"),
        ("removed_guard", "if a: return b"),
        ("none_return", "yield a\nreturn b"),
    ],
)
def test_what_nobody_gets_wrong_is_left_alone(mutants, kind, body):
    assert mutants(body, kind) == set()
