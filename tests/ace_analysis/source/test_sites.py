"""Which tokens are candidate sites, and which can't be wrong on their own."""

import ast
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ace_analysis.source.document import TextSpan
from ace_analysis.source.sites import SiteKind, candidate_sites

STDLIB = Path(ast.__file__).parent


def kinds(text: str) -> list[tuple[str, str]]:
    return [(site.text, site.kind.value) for site in candidate_sites(text)]


def words(text: str) -> list[str]:
    return [site.text for site in candidate_sites(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("if a < b: pass", [("if", "statement"), ("a", "name"), ("<", "comparison"), ("b", "name")]),
        ("a is not b", [("a", "name"), ("is not", "comparison"), ("b", "name")]),
        ("a not in b", [("a", "name"), ("not in", "comparison"), ("b", "name")]),
        ("x += 1", [("x", "name"), ("+=", "arithmetic"), ("1", "number")]),
        ("x = -y", [("-", "arithmetic"), ("y", "name")]),
        ("x = not y or True", [("not", "boolean"), ("y", "name"), ("or", "boolean"), ("True", "constant")]),
        ("o.m(k=v)", [("o", "name"), ("m", "attribute"), ("k", "keyword"), ("v", "name")]),
        ("self.a = self.b", [("b", "attribute")]),
        ("f'{a} {b!r:>{w}}'", [("a", "name"), ("b", "name"), ("w", "name")]),
        ("async def f():\n    async for x in y: pass", [("for", "statement"), ("y", "name")]),
        (
            "[x for x in y if x]",
            [("x", "name"), ("for", "statement"), ("y", "name"), ("if", "statement"), ("x", "name")],
        ),
    ],
)
def test_each_kind_of_site(text, expected):
    assert kinds(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "import a.b as c",
        "from a import b",
        "from __future__ import annotations",
        "@a.b(c)\ndef f(): pass",
        "def f(a, *b, c: d, **e) -> g: pass",
        "x: int",
        "# a < b",
        "'a < b'",
        "for_ = 'x'",
        "a, (b, c) = ''",
        "[a, b] = ''",
        "global a, b",
    ],
)
def test_what_only_binds_or_only_speaks_holds_no_site(text):
    assert words(text) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("with a as (b, c), d as e.x: pass", ["with", "a", "d"]),
        ("for (p, q) in a: pass", ["for", "a"]),
        ("match a:\n    case P(x=0) | [1, r]: pass", ["a"]),
        ("try: pass\nexcept E as e: pass", ["E"]),
        ("def f(a=b, c=3): pass", ["b", "3"]),
        ("(y := f(x))", ["f", "x"]),
        ("f(*a, **b)", ["f", "a", "b"]),
        ("lambda a, b=c: a", ["c", "a"]),
        ("a.b.c = d.e", ["a", "b", "d", "e"]),
    ],
)
def test_only_what_is_read_is_a_site(text, expected):
    assert words(text) == expected


@pytest.mark.parametrize("name", ["heapq.py", "textwrap.py", "shlex.py"])
def test_sites_come_in_order_and_do_not_overlap(name):
    text = (STDLIB / name).read_text(encoding="utf-8")
    sites = candidate_sites(text)
    assert len(sites) > 100
    assert all(a.span.end <= b.span.start for a, b in pairwise(sites))
    assert all(text[s.span.start : s.span.end] == s.text for s in sites)


@given(st.text(alphabet=st.sampled_from("🐍é漢 \t\n#"), max_size=8), st.sampled_from(["\n", "\r\n"]))
def test_a_comment_before_moves_sites_by_its_length(words_before, newline):
    before = "# " + words_before.replace("\n", " ") + newline
    text = f"def f(a):{newline}    return a < '漢🐍' + a{newline}"
    moved = [
        (s.span.start - len(before), s.span.end - len(before), s.kind) for s in candidate_sites(before + text)
    ]
    assert moved == [(s.span.start, s.span.end, s.kind) for s in candidate_sites(text)]


def test_a_span_is_read_as_if_it_were_alone():
    text = "x = 1\ndef f(a):\n    return a\ny = (\n"
    span = TextSpan(6, 29)
    alone = candidate_sites(text[6:29])
    assert [s.text for s in alone] == ["return", "a"]
    assert [s.span.shifted(6) for s in alone] == [s.span for s in candidate_sites(text, span)]


def test_an_indented_method_has_the_sites_of_a_function():
    function = "def f(self, a):\n    if a > 0:\n        return self.b\n    return a\n"
    method = "".join(f"    {line}\n" for line in function.splitlines())
    assert kinds(method) == kinds(function)


def test_numbers_longer_than_a_constant_are_no_sites():
    assert kinds("a = 123456 + 1234567") == [("123456", "number"), ("+", "arithmetic")]


def test_broken_code_holds_no_sites_but_the_rest_does():
    found = words("def f(a):\n    return a\n\ndef g(:\n    return b\n")
    assert found[:2] == ["return", "a"]


def test_kinds_are_words():
    assert {kind.value for kind in SiteKind} == {kind.name.lower() for kind in SiteKind}


@pytest.mark.parametrize(
    "build",
    [
        lambda n: "x = " + "(" * n + "a" + " + b)" * n + "\n",
        lambda n: "x = " + " + ".join(f"a{i}" for i in range(n)) + "\n",
        lambda n: "x = " + ".".join(f"a{i}()" for i in range(n)) + "\n",
    ],
    ids=["nested", "a sum", "a chain of calls"],
)
def test_the_work_for_a_deep_expression_grows_with_its_length_and_no_faster(
    lines_run: Callable[[Callable[[], object]], int], build: Callable[[int], str]
) -> None:
    """Eight times the length: 8 times the work if linear, 64 if quadratic."""
    short, long = build(200), build(1600)
    assert lines_run(lambda: candidate_sites(long)) < 10 * lines_run(lambda: candidate_sites(short))
