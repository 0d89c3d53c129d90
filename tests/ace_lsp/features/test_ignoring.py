"""Each edit is held against what reads the comments: `ignores_of`."""

import tokenize
from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ace_analysis.source.document import CodeDocument, TextSpan
from ace_analysis.source.ignores import ignores_of
from ace_lsp.features.ignoring import Insertion, ignore_finding, ignore_in_file
from ace_lsp.positions import LineIndex

KIND = "comparison"


def on_line(text: str, place: str = "<") -> str | None:
    start = text.index(place)
    edit = ignore_finding(LineIndex(text), TextSpan(start, start + len(place)), KIND)
    return edit.applied(text) if edit is not None else None


def in_file(text: str) -> str | None:
    edit = ignore_in_file(LineIndex(text), KIND)
    return edit.applied(text) if edit is not None else None


def hidden(text: str, place: str = "<", kind: str = KIND) -> bool:
    document = CodeDocument(uri="", text=text)
    start = text.index(place)
    return ignores_of(document).hide(document, TextSpan(start, start + len(place)), kind)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("x = a < b\ny = 1\n", "x = a < b  # ace: ignore[comparison]\ny = 1\n"),
        ("x = a < b", "x = a < b  # ace: ignore[comparison]"),
        ("x = a < b  \r\ny = 1\r\n", "x = a < b  # ace: ignore[comparison]  \r\ny = 1\r\n"),
        ("x = a < b  # noqa: E501\n", "x = a < b  # noqa: E501  # ace: ignore[comparison]\n"),
        (
            "x = a < b  # ace: ignore[boolean]  # why\n",
            "x = a < b  # ace: ignore[boolean,comparison]  # why\n",
        ),
        (
            "x = a < b  # ace: ignore[boolean, constant]\n",
            "x = a < b  # ace: ignore[boolean, constant, comparison]\n",
        ),
        ("x = a < b  # ace: ignore[]\n", "x = a < b  # ace: ignore[comparison]\n"),
        (
            "x = '# ace: ignore[boolean]', a < b\n",
            "x = '# ace: ignore[boolean]', a < b  # ace: ignore[comparison]\n",
        ),
        ("x = '😋é', a < b\n", "x = '😋é', a < b  # ace: ignore[comparison]\n"),
    ],
)
def test_a_finding_is_ignored_on_its_line(before, after):
    assert on_line(before) == after
    assert hidden(after) and not hidden(before)


def test_what_is_ignored_already_stays_so():
    after = on_line("x = a < b  # ace: ignore[boolean]\n")
    assert hidden(after, kind="boolean") and hidden(after) and not hidden(after, kind="constant")


@pytest.mark.parametrize(
    "text",
    ["x = f'''{a < b}\n'''\n", "x = a < \\\n    b\n", "x = '''\n{a < b}\n'''\n"],
    ids=["string over lines", "continued line", "inside a string"],
)
def test_where_no_comment_can_stand_there_is_no_edit(text):
    assert on_line(text) is None


def test_of_a_finding_over_lines_the_first_line_that_takes_a_comment_is_used():
    text = "x = a \\\n    < b\n"
    start = text.index("a \\")
    edit = ignore_finding(LineIndex(text), TextSpan(start, text.index("b")), KIND)
    assert edit == Insertion(len(text) - 1, "  # ace: ignore[comparison]")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("x = a < b\n", "# ace: ignore-file[comparison]\nx = a < b\n"),
        (
            "#!/usr/bin/python\r\nx = a < b\r\n",
            "#!/usr/bin/python\r\n# ace: ignore-file[comparison]\r\nx = a < b\r\n",
        ),
        ("# coding: latin-1\nx = a < b\n", "# coding: latin-1\n# ace: ignore-file[comparison]\nx = a < b\n"),
        (
            "# hello\n# coding: latin-1\nx = a < b\n",
            "# hello\n# coding: latin-1\n# ace: ignore-file[comparison]\nx = a < b\n",
        ),
        ("\ufeffx = a < b\n", "\ufeff# ace: ignore-file[comparison]\nx = a < b\n"),
        ('"""Doc."""\nx = a < b\n', '# ace: ignore-file[comparison]\n"""Doc."""\nx = a < b\n'),
        (
            "# one\n# ace: ignore-file[boolean]\nx = a < b\n",
            "# one\n# ace: ignore-file[boolean,comparison]\nx = a < b\n",
        ),
        ("x = a < b", "# ace: ignore-file[comparison]\nx = a < b"),
        ("\r# two\rx = a < b\r", "# ace: ignore-file[comparison]\r\r# two\rx = a < b\r"),
    ],
)
def test_a_kind_is_ignored_in_the_whole_file(before, after):
    assert in_file(before) == after
    assert hidden(after) and not hidden(before)


@pytest.mark.parametrize("top", ["", "#!/bin/x\n", "# a\n"])
def test_the_declared_encoding_still_counts(top):
    text = f"{top}# -*- coding: latin-1 -*-\nx = a < b\n"
    after = in_file(text)
    assert after is not None
    assert tokenize.detect_encoding(BytesIO(after.encode()).readline)[0] == "iso-8859-1"


def test_a_file_that_ends_within_what_has_to_stay_has_no_edit():
    assert in_file("#!/usr/bin/python") is None


LINES = st.lists(
    st.sampled_from(
        ["x = 1", "", "# note", "'''", "y = \\", "def f():", "    pass", "# coding: utf-8", "s = '#'"]
    ),
    max_size=6,
)


@given(
    LINES,
    LINES,
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.sampled_from(["", "  # noqa", "  # ace: ignore[boolean]"]),
)
def test_an_edit_that_is_offered_hides_the_finding_and_removes_nothing(above, below, eol, comment):
    text = eol.join([*above, f"z = a < b{comment}", *below])
    for after in (on_line(text), in_file(text)):
        if after is not None:
            assert hidden(after)
            assert all(char in after for char in set(text))
            assert len(after) > len(text)
