"""The smallest part that makes sense to write anew."""

import pytest

from ace_analysis.errors import InputError
from ace_analysis.source.document import TextSpan
from ace_analysis.steering.regions import Level, region_of

TEXT = """def f(a, b):
    total = a + b
    call(
        a,
        b,
    )
    if a > b:
        return total
    return (a
            - b)
"""


def at(part: str, level: Level | None = None) -> tuple[str, Level]:
    start = TEXT.index(part)
    region = region_of(TEXT, TextSpan(start, start + len(part)), level)
    return region.source(TEXT), region.level


def test_a_place_on_a_line_means_the_line_without_its_indentation() -> None:
    assert at("+") == ("total = a + b", Level.LINE)
    assert at("return total") == ("return total", Level.LINE)


def test_a_line_that_is_part_of_a_statement_brings_the_statement() -> None:
    assert at("        b,\n") == ("call(\n        a,\n        b,\n    )", Level.STATEMENT)
    assert at("- b)") == ("return (a\n            - b)", Level.STATEMENT)


def test_the_head_of_a_block_is_written_without_its_body() -> None:
    assert at("a > b") == ("if a > b:", Level.LINE)
    assert at("def f") == ("def f(a, b):", Level.LINE)


def test_a_selection_of_several_lines_is_taken_whole() -> None:
    source, level = at("total = a + b\n    call(")
    assert level is Level.BLOCK and source.startswith("total = a + b") and source.endswith("call(")


def test_an_expression_is_what_holds_the_place_closest() -> None:
    assert at("+", Level.EXPRESSION) == ("a + b", Level.EXPRESSION)
    assert at("a > b", Level.EXPRESSION) == ("a > b", Level.EXPRESSION)


def test_a_block_is_the_compound_statement_around() -> None:
    assert at("return total", Level.BLOCK) == ("if a > b:\n        return total", Level.BLOCK)


def test_the_line_alone_can_be_asked_for() -> None:
    assert at("        a,\n", Level.LINE) == ("a,", Level.LINE)


def test_windows_line_ends_stay_outside() -> None:
    text = "x = 1\r\ny = 2\r\n"
    region = region_of(text, TextSpan(7, 8))
    assert region.source(text) == "y = 2"


@pytest.mark.parametrize("place", [TextSpan(0, 0), TextSpan(3, 4)])
def test_an_empty_line_has_nothing_to_write(place: TextSpan) -> None:
    with pytest.raises(InputError, match="an empty line"):
        region_of("\n\n   \n", place)


PROSE = '''"""About."""


def f(a):  # code, too
    """First line.

    Second line.
    """
    # A remark.
    return f"""
    {a}
    """
'''


@pytest.mark.parametrize(
    ("part", "kind"),
    [("About", "docstring"), ("First", "docstring"), ("Second", "docstring"), ("remark", "comment")],
)
@pytest.mark.parametrize("level", [None, Level.LINE, Level.EXPRESSION])
def test_prose_has_no_code_to_write_anew(part: str, kind: str, level: Level | None) -> None:
    start = PROSE.index(part)
    with pytest.raises(InputError, match=f"got a {kind}; name another line"):
        region_of(PROSE, TextSpan(start, start + 2), level)


@pytest.mark.parametrize("part", ["# code, too", "{a}"])
def test_a_comment_behind_code_and_a_string_that_is_a_value_are_code(part: str) -> None:
    start = PROSE.index(part)
    assert region_of(PROSE, TextSpan(start, start + 1)).source(PROSE)


def test_a_place_outside_the_text_is_refused() -> None:
    with pytest.raises(InputError, match=r"within 3 code points, got 2\.\.9"):
        region_of("x=1", TextSpan(2, 9))


def test_broken_syntax_still_has_lines() -> None:
    text = "def f(:\n    return (a\n"
    assert region_of(text, TextSpan(14, 15)).source(text) == "return (a"
