"""Nodes lie at the right code points, whatever the text."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ace_analysis.source.parsing import descendants, parse

ODD = "é漢字🐍👩‍👩‍👧\u0301\u200b\ufeff\u2028\x00\x0c\x0b\t\r\n"
pieces = st.one_of(
    st.sampled_from(
        ["def f(a):\n", "    return a\n", "x = 1\r\n", "'", '"""', "(", "# ", "f'{x}'", "if y:\r"]
    ),
    st.text(alphabet=st.sampled_from(ODD + "ab1= .:"), max_size=4),
)
programs = st.lists(pieces, max_size=12).map("".join)


@given(programs)
def test_every_node_spans_the_bytes_that_the_parser_saw(text):
    tree = parse(text)
    data = text.encode()
    for node in descendants(tree.root):
        span = tree.span(node)
        assert 0 <= span.start <= span.end <= len(text)
        assert tree.source(node).encode() == data[node.start_byte : node.end_byte]


@given(programs)
def test_children_lie_in_their_parents_in_source_order(text):
    tree = parse(text)
    for node in descendants(tree.root):
        spans = [tree.span(child) for child in node.children]
        assert all(a.end <= b.start for a, b in pairwise(spans))
        assert all(tree.span(node).start <= s.start and s.end <= tree.span(node).end for s in spans)


@pytest.mark.parametrize(
    "before", ["", "\ufeff", "# 🐍 漢字 é\n", "\f\n", "s = '👩‍👩‍👧'\r\n", "\tx = 1\n".lstrip()]
)
@pytest.mark.parametrize("line", ["naïve = läng", "a = b"])
def test_names_are_found_behind_odd_characters(before, line):
    text = before + line + "\n"
    tree = parse(text)
    names = [tree.source(n) for n in descendants(tree.root) if n.type == "identifier"]
    assert names[-2:] == line.split(" = ")


def test_a_lone_surrogate_costs_no_offset():
    text = "a = '\ud83d'\nb = c\n"
    tree = parse(text)
    assert [tree.source(n) for n in descendants(tree.root) if n.type == "identifier"] == ["a", "b", "c"]


def test_a_lone_carriage_return_ends_a_line():
    tree = parse("x = 1\rdef f(a):\r    return a\r")
    assert not tree.root.has_error
    assert [node.type for node in tree.root.children] == ["expression_statement", "function_definition"]


def test_deep_nesting_is_walked_without_recursion():
    depth = 3000
    tree = parse("(" * depth + "x" + ")" * depth)
    assert sum(node.type == "identifier" for node in descendants(tree.root)) <= 1


def test_what_is_skipped_is_not_entered():
    tree = parse("f(a)\n")
    skipped = [n.type for n in descendants(tree.root, skip=frozenset({"argument_list"}))]
    assert "argument_list" not in skipped
    assert skipped.count("identifier") == 1
