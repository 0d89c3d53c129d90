"""A fix is an edit of one version of one text."""

from ace_analysis.report.repair import Fix, Source, diff_of
from ace_analysis.source.document import CodeDocument, TextSpan


def fix(start: int, end: int, replacement: str) -> Fix:
    return Fix(span=TextSpan(start, end), replacement=replacement, source=Source.EDIT, score=0.0)


def test_only_the_span_is_replaced() -> None:
    assert fix(2, 4, "<").applied_to("a <= b") == "a < b"
    assert fix(2, 2, "z").applied_to("abc") == "abzc"


def test_the_diff_names_the_file_and_shows_the_lines_around() -> None:
    document = CodeDocument(uri="m.py", text="a = 1\nb = 2\nc = 3\n")
    shown = fix(10, 11, "5").diff(document)
    assert shown.splitlines() == [
        "--- a/m.py", "+++ b/m.py", "@@ -1,4 +1,4 @@", " a = 1", "-b = 2", "+b = 5", " c = 3", " ",
    ]  # fmt: skip


def test_line_ends_of_any_system_are_no_difference_to_look_at() -> None:
    assert "+b = 5\n" in diff_of("m.py", "a\r\nb = 2\r\n", "a\r\nb = 5\r\n")
    assert "\r" not in diff_of("m.py", "a\r\nb = 2\r\n", "a\r\nb = 5\r\n")


def test_equal_texts_have_no_diff() -> None:
    assert diff_of("m.py", "a\n", "a\n") == ""
