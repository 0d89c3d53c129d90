"""Cuts by indentation: every character in one piece, in order."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ace_analysis.source.parsing import parse
from ace_analysis.source.pieces import class_head, pieces_of


def is_broken(part: str) -> bool:
    return parse(part).root.has_error


lines = st.sampled_from(
    [
        "def f(a):",
        "    return a",
        "x = (",
        "@d",
        "class A:",
        "    def g(self):",
        "else:",
        "'''",
        ")",
        "",
        "# c",
    ]
)


@given(
    st.lists(lines, max_size=12), st.sampled_from(["", "    ", "\t"]), st.sampled_from(["\n", "\r\n", "\r"])
)
def test_pieces_put_together_are_the_text(found, indent, newline):
    text = newline.join(found)
    spans = list(pieces_of(text, indent, is_broken))
    assert "".join(text[start:end] for start, end in spans) == text
    assert all(start < end for start, end in spans)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x = 1\ndef f():\n    pass\ny = 2\n", ["x = 1\n", "def f():\n    pass\n", "y = 2\n"]),
        ("@a\n@b(\n    1)\ndef f():\n    pass\n", ["@a\n@b(\n    1)\ndef f():\n    pass\n"]),
        ("if a:\n    x = (\nelse:\n    y = 1\n", ["if a:\n    x = (\nelse:\n    y = 1\n"]),
        ("def f():\n    return (\n        1\n)\n", ["def f():\n    return (\n        1\n)\n"]),
        ("def f():\n    s = '''\nx = 1\n'''\n", ["def f():\n    s = '''\nx = 1\n'''\n"]),
    ],
)
def test_where_a_text_is_cut(text, expected):
    assert [text[start:end] for start, end in pieces_of(text, "", is_broken)] == expected


@pytest.mark.parametrize(
    ("piece", "name", "line", "rest"),
    [
        ("class A:\n    def f(self): pass\n", "A", "class A:", "    def f(self): pass\n"),
        (
            "@d\nclass A(B, m=g(1)):  # c\n  def f(self): pass\n",
            "A",
            "class A(B, m=g(1)):  # c",
            "  def f(self): pass\n",
        ),
        ("class A(\n    B,\n):\n    x = 1\n    @p\n    def f(self): pass\n", "A", "class A(", None),
        ("    class A[T]:\n        def f(self): pass\n", "A", "    class A[T]:", None),
    ],
)
def test_the_head_of_a_class(piece, name, line, rest):
    head = class_head(piece)
    assert head is not None
    assert (head.name, head.line) == (name, line)
    assert rest is None or piece[head.end :] == rest
    assert piece[head.end :].lstrip(" ").startswith(("def", "x = 1"))


@pytest.mark.parametrize(
    "piece", ["", "x = 1\n", "def f():\n    class A:\n        def g(self): pass\n", "class A:\n    x = 1\n"]
)
def test_what_is_no_class_with_methods_has_no_head(piece):
    assert class_head(piece) is None
