"""A place that was pasted from a person's list is answered with what to type."""

import pytest

from ace_analysis.cli.pasting import COUNTED, advice, command_at, one_before
from ace_analysis.cli.scanning import ScanRequest
from ace_analysis.errors import Cancelled
from ace_analysis.source.document import CodeDocument

TEXT = "BUG = 1\na = BUG0 + BUG1\nb = 1\n"
DOCUMENT = CodeDocument(uri="a.py", text=TEXT)
SHOWN = ScanRequest(document=DOCUMENT, max_false_alarms=1.0)


def test_the_nearest_finding_of_the_same_line_is_named(engine) -> None:
    plus, equals = TEXT.index("+"), TEXT.index("= BUG0")
    assert advice(engine, SHOWN, plus, "ace explain a.py:", lambda: False) == (
        f"no finding at 2:9; {COUNTED}: for that line's, ace explain a.py:2:11"
    )
    assert (advice(engine, SHOWN, equals, "c ", lambda: False) or "").endswith(" c 2:4")
    assert engine.asked[0].max_false_alarms == 1.0 and engine.asked[0].only is not None


@pytest.mark.parametrize("text", ["BUG0", "UG1", "b = 1"])
def test_in_a_finding_and_on_a_line_without_one_nothing_is_said(engine, text: str) -> None:
    assert advice(engine, SHOWN, TEXT.index(text), "c ", lambda: False) is None


def test_advice_can_be_cancelled(engine) -> None:
    with pytest.raises(Cancelled):
        advice(engine, SHOWN, TEXT.index("+"), "c ", lambda: True)


@pytest.mark.parametrize(("column", "said"), [(3, "2:2"), (6, "2:5"), (0, ""), (4, ""), (99, "")])
def test_blanks_behind_code_are_told_the_place_before(column: int, said: str) -> None:
    told = one_before(CodeDocument(uri="a.py", text="\nabc  d\n"), 2, column)
    assert told == (f"; {COUNTED}: the place before it is {said}" if said else "")


@pytest.mark.parametrize(
    ("place", "command"),
    [("a.py:1:2", "ace explain a.py:"), ("a b.py:1:2", "ace explain 'a b.py':"), ("-:1:2", "ace explain -:")],
)
def test_the_command_is_one_that_a_shell_takes(place: str, command: str) -> None:
    assert command_at("explain", place) == command
