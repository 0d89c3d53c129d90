"""Comments that say what not to report."""

import re

import pytest

from ace_analysis.source.document import CodeDocument, TextSpan
from ace_analysis.source.ignores import EVERY, FIRST_LINES, KNOWN_KINDS, Ignores, ignores_of


def of(text: str) -> tuple[CodeDocument, Ignores]:
    document = CodeDocument(uri="x.py", text=text)
    return document, ignores_of(document)


def hidden(text: str, at: str, kind: str = "comparison") -> bool:
    document, ignores = of(text)
    start = document.text.index(at)
    return ignores.hide(document, TextSpan(start, start + len(at)), kind)


def test_nothing_is_hidden_where_nothing_is_said() -> None:
    assert of("a < b  # ace is a card\n")[1] == Ignores()
    assert not hidden("a < b\n", "<")


@pytest.mark.parametrize(
    "comment",
    ["# ace: ignore", "#ace:ignore", "#  ace :  ignore", "# noqa  # ace: ignore", "# ace: ignore because"],
)
@pytest.mark.parametrize("kind", KNOWN_KINDS)
def test_a_bare_ignore_hides_every_kind_on_its_line(comment: str, kind: str) -> None:
    text = f"x > y\na < b  {comment}\n"
    assert hidden(text, "<", kind)
    assert not hidden(text, ">", kind)


def test_a_kind_of_another_release_is_hidden_by_a_bare_ignore() -> None:
    assert hidden("a < b  # ace: ignore\n", "<", "kind-of-tomorrow")


@pytest.mark.parametrize(
    "listed", ["comparison", "boolean, comparison", "COMPARISON", " comparison boolean "]
)
def test_listed_kinds_alone_are_hidden(listed: str) -> None:
    text = f"a < b  # ace: ignore[{listed}]\n"
    assert hidden(text, "<", "comparison")
    assert not hidden(text, "<", "off-by-one")


def test_two_comments_on_a_line_add_up() -> None:
    text = "a < b  # ace: ignore[boolean] # ace: ignore[comparison]\n"
    assert hidden(text, "<", "comparison") and hidden(text, "<", "boolean")


def test_a_finding_over_two_lines_is_hidden_from_either() -> None:
    text = "x = (a is  # ace: ignore\n     not b)\n"
    assert hidden(text, "is  # ace: ignore\n     not")


@pytest.mark.parametrize("line", range(1, FIRST_LINES + 1))
def test_ignore_file_in_the_first_lines_hides_all(line: int) -> None:
    text = "\n" * (line - 1) + "# ace: ignore-file\na < b\n"
    _, ignores = of(text)
    assert ignores.whole_file
    assert hidden(text, "<")


def test_ignore_file_further_down_is_told_and_hides_nothing() -> None:
    text = "\n" * FIRST_LINES + "# ace: ignore-file\na < b\n"
    _, ignores = of(text)
    assert not ignores.whole_file
    assert ignores.notes == ("line 11: # ace: ignore-file counts in the first 10 lines only",)


def test_ignore_file_with_kinds_hides_those_everywhere() -> None:
    text = "# ace: ignore-file[comparison]\na < b\n"
    _, ignores = of(text)
    assert not ignores.whole_file
    assert hidden(text, "<", "comparison") and not hidden(text, "<", "boolean")


def test_only_comments_count() -> None:
    text = 'a < b; s = "# ace: ignore"\n"""\n# ace: ignore-file\n"""\n'
    assert not hidden(text, "<")
    assert of(text)[1] == Ignores()


def test_broken_syntax_does_not_matter() -> None:
    assert hidden("def f(:\n  a < b  # ace: ignore\n", "<")


@pytest.mark.parametrize(
    ("comment", "note"),
    [
        ("# ace: ignroe", "line 2: expected # ace: ignore or # ace: ignore-file, got '# ace: ignroe'"),
        ("# ace:", "line 2: expected # ace: ignore or # ace: ignore-file, got '# ace:'"),
        ("# ace: ignore[", "line 2: expected kinds, as in ignore\\[off-by-one\\], got '# ace: ignore\\['"),
        ("# ace: ignore[]", "line 2: expected kinds, as in ignore\\[off-by-one\\]"),
        ("# ace: ignore[name", "line 2: expected kinds, as in ignore\\[off-by-one\\]"),
    ],
)
def test_what_is_not_understood_is_noted_and_hides_nothing(comment: str, note: str) -> None:
    text = f"x\na < b  {comment}\n"
    _, ignores = of(text)
    assert len(ignores.notes) == 1
    assert re.match(note, ignores.notes[0])
    assert not hidden(text, "<")


def test_an_unknown_kind_is_noted_with_the_nearest_and_the_known_ones_count() -> None:
    text = "a < b  # ace: ignore[comparsion, boolean]\n"
    _, ignores = of(text)
    (note,) = ignores.notes
    assert note.startswith("line 1: unknown kind 'comparsion' in # ace: ignore; did you mean 'comparison'?")
    assert not hidden(text, "<", "comparison") and hidden(text, "<", "boolean")


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_lines_are_counted_by_all_line_endings(newline: str) -> None:
    text = newline.join(["s = '\U0001f600'", "\x0c", "a < b  # ace: ignore", "c > d", ""])
    assert hidden(text, "<")
    assert not hidden(text, ">")


def test_every_holds_all_known_kinds() -> None:
    assert set(KNOWN_KINDS) == EVERY
