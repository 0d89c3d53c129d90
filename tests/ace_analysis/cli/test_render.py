"""What people see, for lines that are hard to show."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from ace_analysis.cli.render import LONGEST_LINE, HumanRenderer, excerpt
from ace_analysis.report.finding import Evidence, FileReport, Finding
from ace_analysis.report.run import CheckedFile, CheckRun
from ace_analysis.source.document import CodeDocument, TextSpan


def shown(text: str, marked: str) -> tuple[str, str]:
    """The excerpt around the first occurrence of `marked`."""
    start = text.index(marked)
    return excerpt(CodeDocument(uri="x", text=text), TextSpan(start, start + len(marked)))


@pytest.mark.parametrize(
    ("text", "marked"),
    [
        ("if a < b:\n", "<"),
        ("\tif a <= b:\n", "<="),
        ("x = '\U0001f600' + bad\n", "bad"),
        ("x = '漢字' + bad\r\n", "bad"),
        ("x = 'e\u0301' + bad\n", "bad"),
        ("x = '\x1b[31m' + bad\n", "bad"),
        ("\x0cbad\n", "bad"),
        ("first\nbad", "bad"),
        ("a" * 5000 + " bad " + "b" * 5000, "bad"),
        ("bad" + "b" * 5000, "bad"),
        ("a" * 5000 + "bad", "bad"),
        ("x = 漢字\n", "漢字"),
    ],
)
def test_the_carets_stand_below_the_place(text: str, marked: str) -> None:
    source, carets = shown(text, marked)
    indent = len(carets) - len(carets.lstrip())
    # The column of cells at which the marked text starts in the shown line.
    starts = [
        i for i in range(len(source)) if cell_len(source[:i]) == indent and source.startswith(marked, i)
    ]
    assert starts, (source, carets)
    assert carets.count("^") == cell_len(marked)
    assert len(source) <= 4 * LONGEST_LINE


@given(st.text(max_size=400), st.data())
def test_any_line_can_be_shown(text: str, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, len(text)))
    source, carets = excerpt(CodeDocument(uri="x", text=text), TextSpan(start, end))
    assert carets.strip() and set(carets.strip()) == {"^"}
    assert not any(char in source for char in "\x1b\n\r\x07\u202e")


def test_a_place_over_several_lines_is_marked_on_its_first() -> None:
    assert shown("x = (a is\n  not b)\n", "is\n  not") == ("x = (a is", "       ^^")


def test_a_place_at_the_end_of_a_line_has_a_caret_behind_it() -> None:
    document = CodeDocument(uri="x", text="ab\ncd")
    assert excerpt(document, TextSpan(2, 3)) == ("ab", "  ^")
    assert excerpt(document, TextSpan(5, 5)) == ("cd", "  ^")


def written(checked: CheckedFile | None, run: CheckRun | None = None, **options: object) -> str:
    console = Console(file=io.StringIO(), markup=False, emoji=False, **options)  # type: ignore[arg-type]
    renderer = HumanRenderer(console)
    if checked is not None:
        renderer.file(checked)
    if run is not None:
        renderer.summary(run)
    return console.file.getvalue()  # type: ignore[attr-defined]


def checked(text: str, count: int) -> CheckedFile:
    fired = tuple(
        Evidence(f"blocks.9.hook_resid_post/{number}", TextSpan(0, 1), float(number), 1.0, 0.1)
        for number in range(count)
    )
    finding = Finding(span=TextSpan(0, 1), kind="comparison", score=0.5, threshold=0.1, evidence=fired)
    return CheckedFile(
        report=FileReport(path="x.py", findings=(finding,)), document=CodeDocument(uri="x", text=text)
    )


def test_the_strongest_latents_come_first_and_the_rest_is_counted() -> None:
    text = written(checked("a\n", 5))
    assert [line.split()[2] for line in text.splitlines() if "latent" in line] == ["4", "3", "2"]
    assert "= and 2 more" in text


def test_a_latent_on_a_line_end_says_so() -> None:
    assert "on the line's end at 1:1" in written(checked("\na", 1))


def test_what_looks_like_markup_or_emoji_is_shown_as_it_stands() -> None:
    assert "[bold]x[/bold] :smile:" in written(checked("[bold]x[/bold] :smile:\n", 0))


def test_long_lines_are_not_broken() -> None:
    text = written(checked("a" * 150 + "\n", 1), width=40)
    assert f"1 | {'a' * 150}\n" in text


def test_the_summary_counts_in_words() -> None:
    run = CheckRun(max_false_alarms=1.0, files=(checked("a", 0), checked("b", 0)))
    assert written(None, run) == "2 findings in 2 files, 2 files checked.\n"
